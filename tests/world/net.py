"""
A network in memory: hosts, and what joins them, on one time that stands until it is moved.

A L{Host} is what a program takes for its reactor: its clock, its ports, its TCP connections (L{tests.world.wire}) and
its datagrams. Everything that happens is a timed call of one host, and calls of one moment run in the order in which
they were made: a test plays out the same each time. L{Net.seconds}, L{Net.segment}, L{Host.skew}, L{Host.crash} and
L{End.reset} are for making trouble.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IReactorFromThreads,
    IReactorTCP,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.world.disk import PowerLost
from tests.world.wire import CHUNK, End


class Net:
    """
    What joins the hosts.

    @ivar now: the true time, seconds since 1970-01-01 UTC.
    @ivar seconds: how long anything is under way.
    @ivar segment: octets that a protocol is given at a time, at most.
    @ivar hosts: by IP address.
    @ivar ends: both ends of every connection there ever was, in order, the caller's first.
    @ivar made: numbers the timed calls.
    @ivar parted: until when two hosts do not reach each other, by both addresses: what is said on a connection comes
        later, whoever calls is not heard, datagrams are lost.
    @ivar turns: how many timed calls were done.
    @ivar before: told before each of them, when nothing is under way in any host.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.seconds = 0.0
        self.segment = CHUNK
        self.hosts: dict[str, Host] = {}
        self.ends: list[End] = []
        self.made = count()
        self.parted: dict[frozenset[str], float] = {}
        self.turns = 0
        self.before: Callable[[], object] = lambda: None

    def host(self, address: str, skew: float = 0.0) -> "Host":
        """A new host. @param skew: by how many seconds its clock is fast."""
        host = self.hosts[address] = Host(self, address, skew)
        return host

    def apart(self, one: str, other: str) -> float:
        """Until when two hosts are apart; in the past where they are not."""
        return self.parted.get(frozenset((one, other)), 0.0)

    def run(self, seconds: float) -> None:
        """Let time pass, from one timed call to the next."""
        end = self.now + seconds
        while (due := self._due()) is not None and due[0] <= end:
            self._turn(*due)
        self._pass(end)

    def until(self, done: Callable[[], object], seconds: float = 600.0) -> None:
        """Let time pass until something holds. @raise AssertionError: it does not within so many seconds."""
        end = self.now + seconds
        while not done():
            due = self._due()
            if due is None or due[0] > end:
                raise AssertionError(f"does not come about within {seconds:g} s")
            self._turn(*due)

    def _due(self) -> "tuple[float, int, Host, DelayedCall] | None":
        """What is to be done next: when, and the first made of those that are due then."""
        self.before()
        calls = ((c.getTime() - host.skew, c.made, host, c) for host in self.hosts.values() for c in host.calls)
        return min(calls, default=None)

    def _turn(self, when: float, made: int, host: "Host", call: DelayedCall) -> None:
        """Do it."""
        self._pass(max(self.now, when))
        host.calls.remove(call)
        call.called = 1
        self.turns += 1
        with suppress(PowerLost):  # the disk has told whom it may concern
            call.func(*call.args, **call.kw)

    def _pass(self, now: float) -> None:
        """It is later."""
        self.now = now
        for host in self.hosts.values():
            host.look()


@implementer(IReactorTCP, IReactorUDP, IReactorFromThreads)
class Host(Clock):
    """
    One machine.

    @ivar skew: seconds by which its clock is fast.
    @ivar ports: factories by port number.
    @ivar letterboxes: what takes datagrams, likewise.
    @ivar boots: how often it was started.
    """

    def __init__(self, net: Net, address: str, skew: float) -> None:
        super().__init__()
        self.net = net
        self.address = address
        self.skew = skew
        self.ports: dict[int, Factory] = {}
        self.letterboxes: dict[int, DatagramProtocol] = {}
        self.boots = 1
        self._ephemeral = 49151
        self.look()

    def look(self) -> None:
        """Look at the clock."""
        self.rightNow = self.net.now + self.skew

    def callLater(self, when: float, what: Callable[..., object], *args: Any, **kwargs: Any) -> DelayedCall:
        """As a clock does."""
        call = super().callLater(when, what, *args, **kwargs)
        call.made = next(self.net.made)
        return call

    def crash(self) -> None:
        """The machine stops, without a word to anybody; it can be used again at once."""
        for call in self.calls:
            call.canceller = call.resetter = lambda call: None  # for whoever still has it
        self.calls.clear()
        self.ports.clear()
        self.letterboxes.clear()
        self.boots += 1
        for end in self.net.ends:
            if end.host is self:
                end.connected = False

    def callFromThread(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Soon."""
        self.callLater(0, function, *args, **kwargs)

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> "Port":
        """Take connections. @param interface: this host's address, or nothing."""
        if port in self.ports or interface not in ("", self.address):
            raise CannotListenError(interface, port, OSError("address in use, or not ours"))
        self.ports[port] = factory
        factory.doStart()
        return Port(self, port)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> "Connector":
        """Connect to an IP address."""
        self._ephemeral += 1
        return Connector(self, IPv4Address("TCP", host, port), factory, timeout, self._ephemeral)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> "Letterbox":
        """Take datagrams. @param interface: this host's address, or nothing."""
        if port in self.letterboxes or interface not in ("", self.address):
            raise CannotListenError(interface, port, OSError("address in use, or not ours"))
        self.letterboxes[port] = protocol
        letterbox = Letterbox(self, port)
        protocol.makeConnection(letterbox)
        return letterbox


@implementer(IUDPTransport)
class Letterbox:
    """A port for datagrams. What is written to nobody is lost."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self._number = number

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send it."""
        assert addr is not None
        there = self._host.net.hosts.get(addr[0])
        if there is not None and there.net.apart(self._host.address, there.address) <= there.net.now:
            there.callLater(there.net.seconds, self._deliver, there, addr[1], packet)

    def _deliver(self, there: Host, port: int, packet: bytes) -> None:
        if port in there.letterboxes:
            there.letterboxes[port].datagramReceived(packet, (self._host.address, self._number))

    def stopListening(self) -> "Deferred[None]":
        """No more."""
        if self._number in self._host.letterboxes:
            self._host.letterboxes.pop(self._number).doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """Where."""
        return IPv4Address("UDP", self._host.address, self._number)

    def connect(self, host: str, port: int) -> None:
        """Nobody here does."""
        raise NotImplementedError

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """There is none."""

    def getBroadcastAllowed(self) -> bool:
        """There is none."""
        return False


@implementer(IListeningPort)
class Port:
    """A port that is listened on."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self._number = number

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> "Deferred[None]":
        """No more."""
        if self._number in self._host.ports:
            self._host.ports.pop(self._number).doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """Where."""
        return IPv4Address("TCP", self._host.address, self._number)


@implementer(IConnector)
class Connector:
    """An attempt to connect, and the connection that comes of it."""

    def __init__(self, host: Host, goal: IPv4Address, factory: ClientFactory, timeout: float, port: int) -> None:
        self._host = host
        self._boots = host.boots
        self._goal = goal
        self._factory = factory
        self._end: End | None = None
        self._open = True  # neither connected nor failed
        self._late = host.callLater(timeout, self._failed, TimeoutError())
        factory.doStart()
        factory.startedConnecting(self)
        here = IPv4Address("TCP", host.address, port)
        there = host.net.hosts.get(goal.host)
        if there is not None and host.net.apart(host.address, there.address) <= host.net.now:
            there.callLater(host.net.seconds, self._knock, there, here)

    def getDestination(self) -> IPv4Address:
        """Where to."""
        return self._goal

    def connect(self) -> None:
        """There is one attempt."""
        raise NotImplementedError

    def stopConnecting(self) -> None:
        """Give up."""
        self._failed(UserError())

    def disconnect(self) -> None:
        """Give up, or close."""
        if self._end is None:
            self.stopConnecting()
        else:
            self._end.loseConnection()

    def _knock(self, there: Host, here: IPv4Address) -> None:
        """At the other host."""
        if self._boots != self._host.boots:
            return  # who called is no more
        listening = there.ports.get(self._goal.port)
        protocol = listening.buildProtocol(here) if listening else None
        if protocol is None:
            self._host.callLater(there.net.seconds, self._failed, ConnectionRefusedError(111))
            return
        ours, theirs = End(self._host, here, self._goal), End(there, self._goal, here)
        ours.peer, theirs.peer = theirs, ours
        there.net.ends += [ours, theirs]
        theirs.say(ours.post, self._answered, ours)
        theirs.meet(protocol)

    def _answered(self, end: "End") -> None:
        """Back at the caller."""
        if not self._open:
            end.reset()
            return
        self._open = False
        self._late.cancel()
        self._end = end
        protocol = self._factory.buildProtocol(self._goal)
        if protocol is None:
            end.reset()
            return
        end.ended = self._lost
        end.meet(protocol)

    def _lost(self, reason: Failure) -> None:
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    def _failed(self, error: Exception) -> None:
        if self._open:
            self._open = False
            if self._late.active():
                self._late.cancel()
            self._factory.clientConnectionFailed(self, Failure(error))
            self._factory.doStop()
