"""Writing without a detour, and together, on real sockets: at once where it can be, in order always."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from epost.net.writing import LOT, Outbox, write


class Hearing(Protocol):
    """Keeps what it hears, and tells when it has it all. @ivar wanted: octets."""

    wanted = 0

    def __init__(self) -> None:
        self.octets = b""
        self.full: Deferred[bytes] = Deferred()
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.octets += data
        if len(self.octets) >= self.wanted and not self.full.called:
            self.full.callback(self.octets)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class SocketTests(TestCase):
    """Two ends of one connection."""

    async def connected(self) -> tuple[Hearing, Hearing]:
        """A server's end and a client's."""
        server, client = Hearing(), Hearing()
        port = reactor.listenTCP(0, Factory.forProtocol(lambda: server), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(Factory.forProtocol(lambda: client))
        await server.made

        async def gone() -> None:
            for end in (client, server):
                end.transport.abortConnection()
                await end.lost

        self.addCleanup(lambda: Deferred.fromCoroutine(gone()))
        return server, client

    async def test_atOnce(self) -> None:
        """What is short is on its way when the call returns: the reactor has nothing to do for it."""
        for sender, hearer in (ends := await self.connected(), reversed(ends)):
            hearer.wanted = 8
            write(sender.transport, b"250 ok\r\n")
            self.assertNotIn(sender.transport, reactor.getWriters())
            self.assertEqual(await hearer.full, b"250 ok\r\n")

    async def test_order(self) -> None:
        """More than a socket takes, then more: all of it arrives, in order."""
        server, client = await self.connected()
        parts = [b"%07d\n" % n * 50000 for n in range(10)] + [b"end"]
        client.wanted = sum(map(len, parts))
        for part in parts:
            write(server.transport, part)
        self.assertIn(server.transport, reactor.getWriters())
        self.assertEqual(await client.full, b"".join(parts))

    async def test_gone(self) -> None:
        """A peer that has gone is told as always, by connectionLost; the write itself is silent."""
        server, client = await self.connected()
        client.transport.abortConnection()
        await client.lost
        write(server.transport, b"x" * 100)
        write(server.transport, b"y" * 100)
        await server.lost
        write(server.transport, b"z")
        self.assertNotIn(server.transport, reactor.getWriters())

    async def test_together(self) -> None:
        """What is put waits for the end of the turn, of each connection in order; then whoever put it is told."""
        (one, hearer), (two, other) = await self.connected(), await self.connected()
        hearer.wanted, other.wanted = 4, 2
        outbox, told = Outbox(reactor), []
        outbox.put(one.transport, b"ab")
        outbox.put(two.transport, b"xy", lambda gone: told.append((gone, two)))
        outbox.put(one.transport, b"cd", lambda gone: told.append((gone, one)))
        self.assertEqual(told, [])
        self.assertEqual(await hearer.full, b"abcd")
        self.assertEqual(await other.full, b"xy")
        self.assertEqual(told, [(True, two), (True, one)])

    async def test_many(self) -> None:
        """The first does not wait for more than so many, whatever the turn has still to do."""
        server, client = await self.connected()
        outbox, told = Outbox(Clock()), []
        for n in range(LOT):
            self.assertEqual(told, [])
            outbox.put(server.transport, b"%02d" % n, told.append)
        self.assertEqual(told, [True] * LOT)
        client.wanted = LOT * 2
        self.assertEqual(await client.full, b"".join(b"%02d" % n for n in range(LOT)))

    async def test_dropped(self) -> None:
        """What is dropped does not leave; what another connection has to say does."""
        (one, hearer), (two, other) = await self.connected(), await self.connected()
        hearer.wanted = other.wanted = 2
        outbox = Outbox(Clock())
        outbox.put(one.transport, b"no")
        outbox.put(two.transport, b"xy")
        outbox.drop(one.transport)
        outbox.flush()
        write(one.transport, b"ok")
        self.assertEqual(await hearer.full, b"ok")
        self.assertEqual(await other.full, b"xy")

    async def test_defect(self) -> None:
        """A defect in what comes behind one write is logged, and the others leave."""
        (one, hearer), (two, other) = await self.connected(), await self.connected()
        hearer.wanted = other.wanted = 2
        outbox = Outbox(Clock())
        outbox.put(one.transport, b"ab", lambda gone: 1 / 0)
        outbox.put(two.transport, b"xy")
        outbox.flush()
        self.assertEqual(await hearer.full, b"ab")
        self.assertEqual(await other.full, b"xy")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OtherTests(SynchronousTestCase):
    """Transports that are no plain socket."""

    def test_common(self) -> None:
        """They get it by their own write."""
        transport = StringTransport()
        write(transport, b"abc")
        self.assertEqual(transport.value(), b"abc")

    def test_outbox(self) -> None:
        """They have no use for the end of the turn: whether it is gone they cannot tell."""
        transport, told = StringTransport(), []
        Outbox(Clock()).put(transport, b"abc", told.append)
        self.assertEqual((transport.value(), told), (b"abc", [False]))
