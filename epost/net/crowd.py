"""
Who is connected: the limits of connections, and who gives way.

When all places are taken, the connection that has been idle longest before DATA is closed with 421 and the new one is
let in; one that is handing over a message never is. A machine that the tables name may have any number of connections,
but the limit in all holds for it too. The last tenth of the places is for such machines alone: strangers who hand over
their messages as slowly as they may can take all that strangers have, and mail between our own machines goes on.

RFC 5321 3.8 and 4.3.2 (421 may be said at any time).
"""

from collections import Counter, OrderedDict
from functools import lru_cache
from ipaddress import ip_network
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from epost.mail.reply import Reply
from epost.smtp import wording

KEPT = 10  # one of so many places is kept for machines that the tables name
SITE = 4  # times as many connections as a /64 a /48 may have, as with failed logins


class Member(Protocol):
    """What the crowd asks of a connection."""

    def leave(self, reply: Reply) -> None:
        """End with a 421, now or when the message at hand has its answer."""

    @property
    def transport(self) -> "Cut":
        """Its transport."""


class Cut(Protocol):
    """What can be cut."""

    def abortConnection(self) -> None:
        """At once."""


class Crowd:
    """
    The connections of one daemon, over all of its ports.

    @ivar host: our name, for the 421.
    @ivar connections: places in all.
    @ivar perAddress: places for one IP address; of IPv6 for a /64, and for a /48 L{SITE} times as many.
    """

    def __init__(self, host: str, connections: int, perAddress: int) -> None:
        self.host = host
        self.connections = connections
        self.perAddress = perAddress
        self._idle: OrderedDict[Member, None] = OrderedDict()  # before DATA, the longest idle first
        self._busy: set[Member] = set()  # with a message in hand, or about to leave: they do not give way
        self._addresses: Counter[str] = Counter()
        self._closed: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def arrived(self, member: Member, address: str, exempt: bool) -> Reply | None:
        """
        A new connection.

        @param exempt: whether the tables name it: it has no limit per address, and the places that are kept.
        @return: why it must leave, or L{None}.
        """
        reply = self._refusal(address, exempt)
        for owner in owners(address):
            self._addresses[owner] += 1
        if reply is None:
            self._idle[member] = None
        else:
            self._busy.add(member)
        return reply

    def _refusal(self, address: str, exempt: bool) -> Reply | None:
        if self._closed is not None:
            return wording.shuttingDown(self.host)
        if not exempt:
            places = self.perAddress
            for owner in owners(address):
                if self._addresses[owner] >= places:
                    return wording.tooManyConnections(self.host)
                places *= SITE
        if len(self) >= self.connections - (0 if exempt else self.connections // KEPT):
            if not self._idle:
                return wording.busy(self.host)
            victim, _ = self._idle.popitem(last=False)
            self._busy.add(victim)
            victim.leave(wording.busy(self.host))
        return None

    def left(self, member: Member, address: str) -> None:
        """A connection is gone."""
        self._idle.pop(member, None)
        self._busy.discard(member)
        for owner in owners(address):
            self._addresses[owner] -= 1
            if not self._addresses[owner]:
                del self._addresses[owner]
        if self._closed is not None and not len(self) and not self._closed.called:
            self._closed.callback(None)

    def working(self, member: Member) -> None:
        """It hands over a message."""
        self._idle.pop(member, None)
        self._busy.add(member)

    def idle(self, member: Member) -> None:
        """Its message is done: from now on it counts as idle."""
        if member in self._busy:
            self._busy.discard(member)
            self._idle[member] = None

    def heard(self, member: Member) -> None:
        """It has said something, so others are idle for longer."""
        if member in self._idle:
            self._idle.move_to_end(member)

    def disperse(self, clock: IReactorTime, patience: float) -> "Deferred[None]":
        """
        The daemon stops: say 421 to everybody, and cut who is still there after a while.

        @param patience: seconds.
        @return: fires when all are gone.
        """
        self._closed = Deferred()
        if not len(self):
            self._closed.callback(None)
            return self._closed
        for member in list(self._idle) + list(self._busy):
            member.leave(wording.shuttingDown(self.host))
        late = clock.callLater(patience, self._cut)
        return self._closed.addCallback(_cancel, late)

    def _cut(self) -> None:
        for member in [*self._idle, *self._busy]:
            member.transport.abortConnection()


@lru_cache(maxsize=4096)
def owners(address: str) -> tuple[str, ...]:
    """
    Whose address it is, as far as one can tell: of IPv6 everybody has a whole /64 (RFC 6177), and perhaps the /48
    around it, which may be many small customers too.
    """
    if ":" not in address:
        return (address,)
    network = ip_network((address, 64), strict=False)
    return str(network), str(network.supernet(new_prefix=48))


def _cancel(result: None, call: IDelayedCall) -> None:
    if call.active():
        call.cancel()
