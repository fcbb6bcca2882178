"""The network in memory behaves as Twisted's transports do where mail depends on it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, serverFromString
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IPullProducer,
    IPushProducer,
    IReactorFromThreads,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.world.net import Net
from tests.world.wire import BUFFER, WINDOW

NOW = 1246865254.0


class Side(Protocol):
    """One side. @ivar heard: what came. @ivar at: when the last of it came. @ivar gone: the type of the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.pieces: list[bytes] = []
        self.at = 0.0
        self.gone: type[BaseException] | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data
        self.pieces.append(data)
        self.at = self.transport.host.seconds()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.gone = reason.type


@implementer(IHalfCloseableProtocol)
class HalfSide(Side):
    """One that goes on when the other side has said its last. @ivar over: whether it has."""

    over = False

    def readConnectionLost(self) -> None:
        """It has."""
        self.over = True

    def writeConnectionLost(self) -> None:
        """We have."""


@implementer(IPushProducer, IPullProducer)
class Source:
    """A producer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Keep it."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Keep it."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Keep it."""
        self.told.append("stop")


class NetTests(SynchronousTestCase):
    """L{Net}, its hosts and their connections."""

    def setUp(self) -> None:
        """Two hosts, a tenth of a second from each other, one of them listening."""
        self.net = Net(NOW)
        self.net.seconds = 0.1
        self.here, self.there = self.net.host("192.0.2.1"), self.net.host("192.0.2.2")
        self.kind: type[Side] = Side
        self.accepted: list[Side] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self.accept
        endpoint = serverFromString(self.there, "tcp:25:interface=192.0.2.2:backlog=9")
        self.port = self.successResultOf(endpoint.listen(factory))

    def accept(self, address: Any) -> Side:
        """A connection comes."""
        self.accepted.append(self.kind())
        return self.accepted[-1]

    def dial(self, address: str = "192.0.2.2", port: int = 25) -> "Deferred[Side]":
        """Connect as the carrier does."""
        factory = Factory.forProtocol(Side)
        factory.noisy = False
        return TCP4ClientEndpoint(self.here, address, port, timeout=30).connect(factory)

    def pair(self) -> tuple[Side, Side]:
        """A connection: the caller's side and the other."""
        dialled = self.dial()
        self.net.run(1)
        return self.successResultOf(dialled), self.accepted[-1]

    def test_roles(self) -> None:
        """What is to pass for Twisted's has all of its methods."""
        ours, _ = self.pair()
        for role in (IReactorTCP, IReactorUDP, IReactorTime, IReactorFromThreads):
            verifyObject(role, self.here)
        for role in (ITCPTransport, IConsumer):
            verifyObject(role, ours.transport)
        verifyObject(IListeningPort, self.port)
        verifyObject(IUDPTransport, self.here.listenUDP(53, DatagramProtocol()))

    def test_time(self) -> None:
        """A connection takes the way there and back; octets take the way, in the order in which they were written."""
        dialled = self.dial()
        self.net.run(0.19)
        self.assertNoResult(dialled)
        self.net.run(0.01)
        ours = self.successResultOf(dialled)
        ours.transport.write(b"one")
        self.net.run(0.05)
        self.net.seconds = 0.01  # what is said later does not overtake
        ours.transport.write(b"two")
        self.net.run(1)
        self.assertEqual(self.accepted[0].heard, b"onetwo")
        self.assertAlmostEqual(self.accepted[0].at, NOW + 0.3)

    def test_segments(self) -> None:
        """Octets arrive in pieces of any size that a test wants."""
        ours, theirs = self.pair()
        self.net.segment = 4
        ours.transport.write(b"0123456789")
        self.net.run(1)
        self.assertEqual(theirs.pieces, [b"0123", b"4567", b"89"])

    def test_window(self) -> None:
        """Of a side that does not read only so much is taken; the rest waits with the sender and its producer."""
        ours, theirs = self.pair()
        source = Source()
        ours.transport.registerProducer(source, True)
        self.assertRaises(RuntimeError, ours.transport.registerProducer, source, True)
        theirs.transport.pauseProducing()
        ours.transport.write(bytes(WINDOW - 1))
        self.net.run(9)
        ours.transport.write(bytes(2))
        self.net.run(9)
        self.assertEqual((len(ours.transport.unsent), len(theirs.transport.unread), source.told), (1, WINDOW, []))
        ours.transport.write(bytes(BUFFER - 1))
        self.assertEqual(source.told, [])
        ours.transport.write(b"x")
        self.net.run(9)
        self.assertEqual((len(ours.transport.unsent), theirs.heard), (BUFFER + 1, b""))
        self.assertEqual(source.told, ["pause"])
        theirs.transport.resumeProducing()
        self.net.run(9)
        self.assertEqual((len(theirs.heard), source.told), (WINDOW + BUFFER + 1, ["pause", "resume"]))

    def test_pull(self) -> None:
        """A producer that is pulled is asked whenever everything has left, and told when the connection ends."""
        ours, theirs = self.pair()
        source = Source()
        ours.transport.registerProducer(source, False)
        self.assertEqual(source.told, ["resume"])
        ours.transport.write(b"x")
        self.net.run(1)
        self.assertEqual(source.told, ["resume"] * 2)
        theirs.transport.abortConnection()
        self.net.run(1)
        self.assertEqual(source.told, ["resume", "resume", "stop"])

    def test_close(self) -> None:
        """What was written before a close arrives; then both sides know that all is well."""
        ours, theirs = self.pair()
        ours.transport.write(bytes(3 * WINDOW))
        ours.transport.loseConnection()
        self.net.run(9)
        self.assertEqual(len(theirs.heard), 3 * WINDOW)
        self.assertEqual((ours.gone, theirs.gone), (ConnectionDone, ConnectionDone))

    def test_closeWithOctetsUnread(self) -> None:
        """A close with octets unread, or before some that come, resets the connection, and the last word is lost."""
        for pause in (True, False):
            ours, theirs = self.pair()
            if pause:
                theirs.transport.pauseProducing()
            ours.transport.write(bytes(100))
            self.net.run(0.15 if pause else 0.05)
            theirs.transport.write(b"last word")
            theirs.transport.loseConnection()
            self.net.run(0.1)
            ours.transport.write(b"more")
            self.net.run(9)
            self.assertEqual(ours.gone, ConnectionLost if pause else ConnectionDone)
            self.assertEqual(ours.heard, b"" if pause else b"last word")

    def test_halfClose(self) -> None:
        """Who closes only his half still hears; who goes on saying things to nobody is reset."""
        self.kind = HalfSide
        ours, theirs = self.pair()
        theirs.transport.write(b"last word")
        theirs.transport.loseWriteConnection()
        ours.transport.write(b"more")
        self.net.run(9)
        self.assertEqual((ours.heard, ours.gone, theirs.heard), (b"last word", ConnectionDone, b"more"))
        self.assertTrue(theirs.over)
        theirs.transport.loseConnection()
        self.net.run(9)
        self.assertEqual(theirs.gone, ConnectionDone)

    def test_abort(self) -> None:
        """An abort is at once here, and lost octets there, though a close was under way."""
        for closing in (False, True):
            ours, theirs = self.pair()
            ours.transport.write(b"never sent")
            if closing:
                ours.transport.loseConnection()
            ours.transport.abortConnection()
            self.net.run(1)
            self.assertEqual((ours.gone, theirs.gone, theirs.heard), (ConnectionAborted, ConnectionLost, b""))

    def test_noConnection(self) -> None:
        """Nobody listens; nobody is there; nobody waits any more."""
        refused, silent, cancelled = self.dial(port=26), self.dial("192.0.2.3"), self.dial("192.0.2.3")
        cancelled.cancel()
        self.failureResultOf(cancelled)
        self.net.run(1)
        self.failureResultOf(refused, ConnectionRefusedError)
        self.net.run(28.9)
        self.assertNoResult(silent)
        self.net.run(0.1)
        self.failureResultOf(silent, TimeoutError)
        self.successResultOf(self.port.stopListening())
        late = self.dial()
        self.net.run(1)
        self.failureResultOf(late, ConnectionRefusedError)
        self.assertEqual(self.here.calls, [])

    def test_datagrams(self) -> None:
        """They go there and back, and are lost where nobody takes them."""
        letters: list[tuple[bytes, tuple[str, int]]] = []
        there, here = DatagramProtocol(), DatagramProtocol()
        there.noisy = here.noisy = False
        there.datagramReceived = lambda packet, address: there.transport.write(packet.upper(), address)
        here.datagramReceived = lambda packet, address: letters.append((packet, address))
        port = self.there.listenUDP(53, there)
        self.here.listenUDP(4000, here)
        for address in (("192.0.2.2", 53), ("192.0.2.2", 54), ("192.0.2.3", 53)):
            here.transport.write(b"who?", address)
        self.net.run(0.2)
        self.assertEqual(letters, [(b"WHO?", ("192.0.2.2", 53))])
        self.assertRaises(CannotListenError, self.there.listenUDP, 53, here)
        port.stopListening()
        here.transport.write(b"who?", ("192.0.2.2", 53))
        self.net.run(1)
        self.assertEqual(len(letters), 1)

    def test_oneListener(self) -> None:
        """A port is somebody's."""
        self.assertRaises(CannotListenError, self.there.listenTCP, 25, Factory())
        self.assertRaises(CannotListenError, self.there.listenTCP, 26, Factory(), interface="192.0.2.1")

    def test_crash(self) -> None:
        """A machine that stops says nothing; whoever speaks to it when it is up again learns of it."""
        ours, theirs = self.pair()
        self.there.crash()
        self.net.run(60)
        self.assertEqual((ours.gone, self.there.ports), (None, {}))
        ours.transport.write(b"hello?")
        self.net.run(1)
        self.assertEqual((ours.gone, theirs.gone), (ConnectionLost, None))

    def test_crashOfTheCaller(self) -> None:
        """Who calls and is no more is not connected, and no timed call of his earlier life comes."""
        dialled = self.dial()
        self.here.crash()
        self.net.run(60)
        self.assertNoResult(dialled)
        self.assertEqual((self.accepted, self.net.ends), ([], []))

    def test_skew(self) -> None:
        """A clock may be wrong, and be set right; calls come when it shows their time."""
        self.there.skew = -4.0
        rang: list[float] = []
        self.there.callLater(10, lambda: rang.append(self.there.seconds()))
        self.net.run(9)
        self.assertEqual((self.here.seconds(), self.there.seconds()), (NOW + 9, NOW + 5))
        self.assertEqual(rang, [])
        self.net.run(5)
        self.assertEqual(rang, [NOW + 10])

    def test_fair(self) -> None:
        """What is due at one moment is done in the order in which it was made, whosever it is."""
        done: list[int] = []
        for number, host in enumerate((self.there, self.here, self.there)):
            host.callLater(1, done.append, number)
        self.net.run(1)
        self.assertEqual(done, [0, 1, 2])
