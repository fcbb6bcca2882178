"""Reading without a detour, on real sockets: what Twisted's reactor does for a connection is done here too."""

import os
import socket
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.net.reading import Reading, close, wires
from epost.net.writing import Outbox


class Why:
    """The reason of an end, as a value: an exception would be thrown. @ivar value: it."""

    def __init__(self, value: BaseException) -> None:
        self.value = value


class Talk(Protocol):
    """Does with each read what it is told. @ivar ended: fires with the reason."""

    def __init__(self, told: "Callable[[Talk, bytes], object]") -> None:
        self.told = told
        self.ended: Deferred[Why] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.told(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(Why(reason.value))


@implementer(IHalfCloseableProtocol)
class HalfTalk(Talk):
    """Goes on when the other side has nothing more to say."""

    def readConnectionLost(self) -> None:
        self.transport.write(b"still here")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """It is us."""


class ReadingTests(TestCase):
    """L{Reading}."""

    def setUp(self) -> None:
        """A port at which what is told is done."""
        self.reading = Reading(reactor)
        self.talks: list[Talk] = []
        self.kind: type[Talk] = Talk
        self.told: Callable[[Talk, bytes], object] = lambda talk, data: talk.transport.write(data)

        def made() -> Talk:
            self.talks.append(self.kind(lambda talk, data: self.told(talk, data)))
            return self.talks[-1]

        endpoint = serverFromString(self.reading, "tcp:0:interface=127.0.0.1")
        self.port = self.successResultOf(endpoint.listen(Factory.forProtocol(made)))
        self.addCleanup(self.port.stopListening)

    def client(self) -> socket.socket:
        """A connection of somebody else's."""
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(client.close)
        client.settimeout(10)
        return client

    async def turns(self, enough: Callable[[], object]) -> None:
        """Let the reactor turn until something is so."""
        while not enough():
            turned: Deferred[None] = Deferred()
            reactor.callLater(0.001, turned.callback, None)
            await turned

    async def hears(self, client: socket.socket, expected: bytes) -> None:
        """Wait until somebody else has heard something."""
        client.setblocking(False)
        heard = b""

        def enough() -> bool:
            nonlocal heard
            try:
                heard += client.recv(100)
            except BlockingIOError:
                return False
            return heard == expected

        await self.turns(enough)

    def test_roles(self) -> None:
        """It claims its roles."""
        verifyObject(IReadDescriptor, self.reading)
        self.assertTrue(IReactorFDSet.providedBy(self.reading))

    async def test_close(self) -> None:
        """An end of ours is one in order: the other side hears all of it, and no reset."""
        client = self.client()
        self.told = lambda talk, data: talk.transport.write(data)
        client.send(b"QUIT")
        await self.hears(client, b"QUIT")
        (talk,) = self.talks
        close(talk.transport)
        self.assertIsInstance(self.successResultOf(talk.ended).value, ConnectionDone)
        self.assertNotIn(talk.transport, self.reading._readers.values())
        client.setblocking(True)
        self.assertEqual([client.recv(100), client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)], [b"", 0])

    async def test_echo(self) -> None:
        """What comes is read, by us and not by the reactor, and the end is told as it was."""
        client = self.client()
        client.sendall(b"abc")
        await self.turns(lambda: self.talks)
        self.assertNotIn(self.talks[0].transport, reactor.getReaders())
        self.assertIn(self.reading, reactor.getReaders())
        await self.hears(client, b"abc")
        client.close()
        self.assertIsInstance((await self.talks[0].ended).value, ConnectionDone)

    async def test_reset(self) -> None:
        """A connection that was cut is lost, and not done."""
        client = self.client()
        await self.turns(lambda: self.talks)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        self.assertIsInstance((await self.talks[0].ended).value, ConnectionLost)

    async def test_together(self) -> None:
        """What is said to several leaves when all of them were read."""
        said: list[int] = []
        seen: list[list[int]] = []

        def told(talk: Talk, data: bytes) -> None:
            seen.append(list(said))
            self.reading.outbox.put(talk.transport, data, lambda gone: said.append(1))

        self.told = told
        clients = [self.client() for _ in range(5)]
        await self.turns(lambda: len(self.talks) == 5)
        for client in clients:
            client.sendall(b"x")
        self.reading.doRead()
        self.assertEqual((len(said), seen), (5, [[]] * 5))

    async def test_defect(self) -> None:
        """A defect ends its connection, is logged, and no other connection suffers."""

        def told(talk: Talk, data: bytes) -> None:
            if data == b"bad":
                raise ZeroDivisionError
            talk.transport.write(data)

        self.told = told
        bad, good = self.client(), self.client()
        await self.turns(lambda: len(self.talks) == 2)
        bad.sendall(b"bad")
        good.sendall(b"good")
        ends = [talk.ended for talk in self.talks]
        await self.turns(lambda: any(end.called for end in ends))
        self.assertEqual([end.called for end in ends], [True, False])
        self.assertIsInstance((await ends[0]).value, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await self.hears(good, b"good")
        good.close()
        await ends[1]

    async def test_defectAtTheEnd(self) -> None:
        """So does a defect when a connection ends."""

        class Broken(Talk):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                super().connectionLost(reason)
                raise ZeroDivisionError

        self.kind = Broken
        bad = self.client()
        await self.turns(lambda: self.talks)
        self.kind = Talk
        good = self.client()
        await self.turns(lambda: len(self.talks) == 2)
        bad.close()
        await self.talks[0].ended
        good.sendall(b"good")
        await self.hears(good, b"good")
        good.close()
        await self.talks[1].ended
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_endedByAnother(self) -> None:
        """Who was ended by what came on another connection in the same turn is not read any more."""
        heard: list[Talk] = []

        def told(talk: Talk, data: bytes) -> None:
            heard.append(talk)
            for other in self.talks:
                if other is not talk:
                    other.transport.connectionLost(Failure(ConnectionLost()))

        self.told = told
        clients = [self.client() for _ in range(3)]
        await self.turns(lambda: len(self.talks) == 3)
        for client in clients:
            client.sendall(b"x")
        self.reading.doRead()
        self.assertEqual(len(heard), 1)
        heard[0].transport.abortConnection()
        await heard[0].ended

    async def test_sameNumber(self) -> None:
        """Where a socket was closed and nobody said so, the next one that gets its number is read all the same."""
        ours, theirs = socket.socketpair()
        left = FileDescriptor(self.reading)
        left.fileno = ours.fileno
        left.startReading()
        number = ours.fileno()
        ours.close()
        theirs.close()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self.addCleanup(end.close)
        if ours.fileno() != number:
            self.addCleanup(os.close, os.dup2(ours.fileno(), number))
        heard: list[bytes] = []
        following = FileDescriptor(self.reading)
        following.fileno = lambda: number
        following.doRead = lambda: heard.append(os.read(number, 100))
        following.startReading()
        theirs.sendall(b"x")
        self.reading.doRead()
        following.stopReading()
        self.assertEqual(heard, [b"x"])

    async def test_paused(self) -> None:
        """A connection that is paused is not read, and afterwards is."""
        heard: list[bytes] = []
        self.told = lambda talk, data: heard.append(data)
        client = self.client()
        await self.turns(lambda: self.talks)
        transport = self.talks[0].transport
        transport.pauseProducing()
        transport.pauseProducing()
        client.sendall(b"x")
        self.reading.doRead()
        self.assertEqual(heard, [])
        transport.resumeProducing()
        transport.resumeProducing()
        await self.turns(lambda: heard)
        client.close()
        await self.talks[0].ended

    async def test_halfClosed(self) -> None:
        """Who can go on when the other side is silent does."""
        self.kind = HalfTalk
        client = self.client()
        await self.turns(lambda: self.talks)
        client.shutdown(socket.SHUT_WR)
        await self.talks[0].ended
        self.assertEqual(client.recv(100), b"still here")

    async def test_connected(self) -> None:
        """Connections that we make are read here as well."""
        heard: list[bytes] = []
        ours = Talk(lambda talk, data: heard.append(data))
        endpoint = TCP4ClientEndpoint(self.reading, "127.0.0.1", self.port.getHost().port)
        await endpoint.connect(Factory.forProtocol(lambda: ours))
        self.assertNotIn(ours.transport, reactor.getReaders())
        ours.transport.write(b"abc")
        await self.turns(lambda: heard == [b"abc"])
        ours.transport.loseConnection()
        await ours.ended
        await self.talks[0].ended

    async def test_nothingLeft(self) -> None:
        """Where there is nothing to be read the reactor knows nothing of us."""
        self.assertIn(self.reading, reactor.getReaders())
        await self.port.stopListening()
        self.assertNotIn(self.reading, reactor.getReaders())


class WiresTests(SynchronousTestCase):
    """L{wires}."""

    def test_real(self) -> None:
        """A reactor that has sockets is taken over."""
        found, outbox = wires(reactor)
        self.assertIsInstance(found, Reading)
        self.assertIs(outbox, found.outbox)

    def test_memory(self) -> None:
        """One that has none is left alone."""
        clock = Clock()
        found, outbox = wires(clock)
        self.assertIs(found, clock)
        self.assertIsInstance(outbox, Outbox)
