"""
One end of a TCP connection in memory: the transport of a protocol, as Twisted's is.

Octets leave a sender's buffer only as far as the other side reads: C{WINDOW} of them are under way or unread, the rest
waits with the sender, and its producer is paused. What is sent to a connection that is closed, or closed with octets
unread, resets it (RFC 9293 3.6.1), so a last word that a sloppy end would lose is lost here too.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from tests.world.net import Host

WINDOW = 65536  # octets under way or unread, each way of a connection
BUFFER = 65536  # octets unsent above which a producer is paused
CHUNK = 65536  # octets that a protocol is given at a time, unless a test wants fewer


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

    def __init__(self, host: "Host", here: IPv4Address, there: IPv4Address) -> None:
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
        begins = max(net.now, net.apart(self.host.address, self.peer.host.address))
        self._latest = max(self._latest, begins + net.seconds)
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
