"""
A network in memory: hosts, and TCP between them, on one time that stands until it is moved.

A L{Host} is what a program takes for its reactor: its clock, its ports, its connections. Octets leave a sender's buffer
only as far as the other side reads: C{WINDOW} of them are under way or unread, the rest waits with the sender, and its
producer is paused as in Twisted. What is sent to a connection that is closed, or closed with octets unread, resets it
(RFC 9293 3.6.1), so a last word that a sloppy end would lose is lost here too.

Everything that happens is a timed call of one host, and calls of one moment run in the order in which they were made:
a test plays out the same each time. L{Net.seconds}, L{Net.segment}, L{Host.skew}, L{End.reset} are for making trouble.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IReactorFromThreads,
    IReactorTCP,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

WINDOW = 65536  # octets under way or unread, each way of a connection
BUFFER = 65536  # octets unsent above which a producer is paused
CHUNK = 65536  # octets that a protocol is given at a time, unless a test wants fewer


class Net:
    """
    What joins the hosts.

    @ivar now: the true time, seconds since 1970-01-01 UTC.
    @ivar seconds: how long anything is under way.
    @ivar segment: octets that a protocol is given at a time, at most.
    @ivar hosts: by IP address.
    @ivar ends: both ends of every connection there ever was, in order, the caller's first.
    @ivar made: numbers the timed calls.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.seconds = 0.0
        self.segment = CHUNK
        self.hosts: dict[str, Host] = {}
        self.ends: list[End] = []
        self.made = count()

    def host(self, address: str, skew: float = 0.0) -> "Host":
        """A new host. @param skew: by how many seconds its clock is fast."""
        host = self.hosts[address] = Host(self, address, skew)
        return host

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
        calls = ((c.getTime() - host.skew, c.made, host, c) for host in self.hosts.values() for c in host.calls)
        return min(calls, default=None)

    def _turn(self, when: float, made: int, host: "Host", call: DelayedCall) -> None:
        """Do it."""
        self._pass(max(self.now, when))
        host.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)

    def _pass(self, now: float) -> None:
        """It is later."""
        self.now = now
        for host in self.hosts.values():
            host.look()


@implementer(IReactorTCP, IReactorFromThreads)
class Host(Clock):
    """
    One machine.

    @ivar skew: seconds by which its clock is fast.
    @ivar ports: factories by port number.
    """

    def __init__(self, net: Net, address: str, skew: float) -> None:
        super().__init__()
        self.net = net
        self.address = address
        self.skew = skew
        self.ports: dict[int, Factory] = {}
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
        self.calls.clear()
        self.ports.clear()
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
        self._goal = goal
        self._factory = factory
        self._end: End | None = None
        self._open = True  # neither connected nor failed
        self._late = host.callLater(timeout, self._failed, TimeoutError())
        factory.doStart()
        factory.startedConnecting(self)
        here = IPv4Address("TCP", host.address, port)
        there = host.net.hosts.get(goal.host)
        if there is not None:
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


@implementer(ITCPTransport, IConsumer)
class End:
    """
    One end of a connection: the transport of a protocol.

    @ivar peer: the other one.
    @ivar protocol: whose transport it is; L{None} until it is connected.
    @ivar unsent: what was written and has not left.
    @ivar unread: what has come and was not read.
    @ivar connected: whether L{protocol} has not been told of the end.
    @ivar ended: told of the end, behind the protocol.
    """

    peer: "End"

    def __init__(self, host: Host, here: IPv4Address, there: IPv4Address) -> None:
        self.host = host
        self.protocol: Protocol | None = None
        self.unsent = bytearray()
        self.unread = bytearray()
        self.connected = True
        self.disconnecting = False
        self.ended: Callable[[Failure], object] = lambda reason: None
        self._here = here
        self._there = there
        self._reading = True
        self._over = False  # the other side sends nothing more
        self._shutting = self._shut = False  # nor do we, when all is sent
        self._window = WINDOW  # octets that may still be sent
        self._latest = 0.0  # nothing that we say arrives before this, true time
        self._producer: Any = None
        self._streaming = self._waits = False
        self._sending = self._turning = self._aborting = False

    def meet(self, protocol: Protocol) -> None:
        """The connection stands."""
        self.protocol = protocol
        protocol.makeConnection(self)

    # What is under way.

    def say(self, heard: Callable[..., object], *args: object) -> None:
        """Let something happen at the other end, in the order in which it is said."""
        net = self.host.net
        self._latest = max(self._latest, net.now + net.seconds)
        self.peer.host.callLater(self._latest - net.now, heard, *args)

    def post(self, happens: Callable[..., object], *args: object) -> None:
        """Something has arrived."""
        if self.connected:
            happens(*args)

    def reset(self) -> None:
        """The connection breaks: each side learns it at once or when it arrives, and what was under way is gone."""
        if self.connected:
            self.say(self.peer.post, self.peer.lost, ConnectionLost())
            self.lost(ConnectionAborted())

    def lost(self, error: Exception) -> None:
        """It has ended."""
        if not self.connected:
            return
        self.connected = False
        self.unsent.clear()
        self.unread.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self.protocol is not None:
            reason = Failure(error)
            self.protocol.connectionLost(reason)
            self.ended(reason)

    def _arrived(self, octets: bytes) -> None:
        """Octets have come."""
        if self.connected:
            self.unread += octets
            self._look()
        else:
            self.say(self.peer.post, self.peer.lost, ConnectionLost())  # nobody is there to take them

    def _ended(self) -> None:
        """The other side has said its last."""
        if self.connected:
            self._over = True
            self._look()

    def _opened(self, octets: int) -> None:
        """So many were read over there."""
        self._window += octets
        if self.unsent:
            self._begin()

    # Reading.

    def _look(self) -> None:
        if self._reading and self.connected and not self._turning and (self.unread or self._over):
            self._turning = True
            self.host.callLater(0, self._read)

    def _read(self) -> None:
        self._turning = False
        if not self.connected or not self._reading or self.disconnecting:
            return
        if self.unread:
            octets = bytes(self.unread[: self.host.net.segment])
            del self.unread[: len(octets)]
            self.say(self.peer.post, self.peer._opened, len(octets))
            self.protocol.dataReceived(octets)
            self._look()
        elif self._over and IHalfCloseableProtocol.providedBy(self.protocol):
            self._over = False
            self.protocol.readConnectionLost()
        elif self._over:
            self._goodbye()

    # Writing.

    def _begin(self) -> None:
        if self.connected and not self._sending:
            self._sending = True
            self.host.callLater(0, self._send)

    def _send(self) -> None:
        """What the window takes; when all has left whoever waits for that has its turn."""
        self._sending = False
        if not self.connected or self._aborting:
            return
        if self.unsent and self._window:
            octets = bytes(self.unsent[: self._window])
            del self.unsent[: len(octets)]
            self._window -= len(octets)
            self.say(self.peer._arrived, octets)
        if self.unsent:
            return
        if self._producer is not None and (not self._streaming or self._waits):
            self._waits = False
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._goodbye()
        elif self._shutting and not self._shut:
            self._shut = True
            self.say(self.peer._ended)

    def _goodbye(self) -> None:
        """Close. With octets unread that resets the connection."""
        if self.unread:
            self.say(self.peer.post, self.peer.lost, ConnectionLost())
        elif not self._shut:
            self.say(self.peer._ended)
        self.lost(ConnectionDone())

    # ITCPTransport, IConsumer

    def write(self, data: bytes) -> None:
        if not self.connected or self._shut:
            return
        self.unsent += data
        if self._producer is not None and self._streaming and len(self.unsent) > BUFFER and not self._waits:
            self._waits = True
            self._producer.pauseProducing()
        self._begin()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting, self._reading = True, False
            self._begin()

    def loseWriteConnection(self) -> None:
        self._shutting = True
        self._begin()

    def abortConnection(self) -> None:
        if self.connected and not self._aborting:
            self._aborting, self._reading = True, False
            self.host.callLater(0, self.reset)

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting and not self._aborting:
            self._reading = True
            self._look()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._waits = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.disconnecting:
            self._begin()

    def getHost(self) -> IPv4Address:
        return self._here

    def getPeer(self) -> IPv4Address:
        return self._there

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass
