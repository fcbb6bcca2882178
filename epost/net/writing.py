"""
Writing without a detour, and together.

Twisted's C{write} keeps the octets until the next turn of the reactor: for each reply two calls of epoll_ctl and one
more pass through its machinery, which together cost more than the reply. Most replies are short and the socket has
room, so here the system gets them directly; what the socket does not take goes the common way, in the right order.

A peer on this machine, or behind a network card, that sleeps has to be woken for what is sent to it, and that is most
of what a short reply costs. So what one turn of the reactor has to say to all of its connections leaves at the turn's
end, one right behind the other: who was woken by the first is still awake for the others.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

LOT = 32  # writes that leave together at most, as the first waits for the last

_PLAIN = (tcp.Server, tcp.Client)

_log = Logger()

Then = Callable[[bool], None]


class Outbox:
    """
    What is said in this turn of the reactor.

    Of one connection the order is kept. Whoever ends one of another way than by C{then} flushes first, or drops.

    @param clock: its calls for now come behind the events that a turn has begun with.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[tuple[Any, bytes, Then | None]] = []
        self._due = False  # whether the turn's end was asked for

    def put(self, transport: Any, octets: bytes, then: Then | None = None) -> None:
        """
        Write at the end of the turn; at once where the transport is no plain TCP connection.

        @param then: called behind that with what L{write} returned.
        """
        if type(transport) not in _PLAIN:
            transport.write(octets)
            if then is not None:
                then(False)
            return
        self._waiting.append((transport, octets, then))
        if not self._due:
            self._due = True
            self._clock.callLater(0, self.end)
        elif len(self._waiting) >= LOT:
            self.flush()

    def drop(self, transport: Any) -> None:
        """What was put for a transport is not to leave."""
        self._waiting = [each for each in self._waiting if each[0] is not transport]

    def flush(self) -> None:
        """Write now."""
        waiting, self._waiting = self._waiting, []
        for transport, octets, then in waiting:
            try:
                gone = write(transport, octets)
                if then is not None:
                    then(gone)
            except Exception:  # a defect in one connection must not leave the others without their replies
                _log.failure("writing to {transport}", transport=transport)

    def begin(self) -> None:
        """Whoever calls this will call L{end} in the same turn: it need not be asked for."""
        self._due = True

    def end(self) -> None:
        """The turn has ended."""
        self._due = False
        if self._waiting:
            self.flush()


def write(transport: Any, octets: bytes) -> bool:
    """
    Write to a connection. Back-pressure works as with C{transport.write}.

    @param transport: any ITransport. Where it is no plain TCP connection, or something waits in it already, this is
        its C{write}.
    @return: whether all of it is known to be with the system.
    """
    # Nothing public tells whether something waits: these three are what doWrite looks at.
    busy = type(transport) not in _PLAIN or transport.dataBuffer or transport._tempDataLen or transport.TLS
    if not busy and transport.connected and not transport.disconnecting:
        try:
            sent = transport.socket.send(octets)
        except OSError:  # there is no room, or nobody any more: the common way finds out
            sent = 0
        if sent == len(octets):
            return True
        octets = octets[sent:]
    transport.write(octets)
    return False
