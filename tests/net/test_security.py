"""Mail over TLS to servers of every kind, over sockets of the loopback interface, with real certificates."""

from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.interfaces import Parcel, Report
from epost.mail.address import parseAddress
from epost.mail.envelope import Envelope
from epost.mail.name import numbered
from epost.mail.route import Hop, Onward
from epost.net.caller import Caller, Patience
from epost.net.carrier import CLEAR_SECONDS, Carrier
from epost.net.places import Lately, Place
from epost.net.security import Level, Levels, Outgoing, Trust
from epost.net.tls import Pairs, ServerContexts
from epost.net.writing import Outbox
from tests.net.certificates import Authority, put
from tests.net.test_carrier import Lines, Names, Wire
from tests.storage.memory import MemoryContent

A = parseAddress("baito@test.jp")
B = parseAddress("user2@test-sample00.jp")
ROOT = Authority()
STRANGER = Authority("Nobody's Root")
AFTER = b"250-mx\r\n250-SIZE 5000\r\n250 8BITMIME"  # what is offered inside TLS
MODERN = r"TLSv1.3 TLS_\w+ "


@implementer(IOpenSSLServerConnectionCreator)
class Old:
    """A server that knows TLS 1.1 and no later one."""

    def __init__(self, chain: bytes, key: bytes) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        self.context.set_max_proto_version(SSL.TLS1_1_VERSION)
        folder = Path(chain.decode()).parent
        self.context.use_certificate_file(str(folder / "chain"))
        self.context.use_privatekey_file(str(folder / "key"))

    def serverConnectionForTLS(self, protocol):
        """A connection."""
        return SSL.Connection(self.context, None)


class Server(LineReceiver):
    """
    A server. What it does at STARTTLS its factory's C{kind} says: C{good}, or how it goes wrong.

    @ivar secured: whether this is said inside TLS.
    """

    secured = False
    content = False

    def connectionMade(self) -> None:
        """A greeting."""
        self.factory.servers.append(self)
        self.lines: list[bytes] = []
        self.octets = 0
        self.gone = Deferred()
        self.sendLine(b"220 mx")

    def connectionLost(self, reason) -> None:
        """It is over."""
        self.gone.callback(None)

    def rawDataReceived(self, data: bytes) -> None:
        """What comes instead of commands."""

    def lineReceived(self, line: bytes) -> None:
        """A command, or a line of content."""
        if self.content:
            self.content = line != b"."
            self.octets += len(line) + 2 - line.startswith(b".")
            if not self.content:
                self.sendLine(b"250 taken")
            return
        self.lines.append(line)
        kind = self.factory.kind
        if self.secured and kind == "refuses inside":
            self.sendLine(b"550 not you")
        elif self.secured and kind == "late":
            self.transport.abortConnection()
        elif line[:4] == b"EHLO":
            if self.secured:
                self.sendLine(b"250 mx" if kind == "large" else AFTER)
            else:
                self.sendLine(b"250-mx\r\n250-PIPELINING\r\n250" + (b" SIZE 9" if kind == "plain" else b" STARTTLS"))
        elif line == b"STARTTLS":
            getattr(self, "start_" + kind.replace(" ", "_"), self.start)()
        elif line == b"DATA":
            self.content = True
            self.sendLine(b"354 go")
        else:
            self.sendLine(b"250 ok")

    def start(self) -> None:
        """As it should be."""
        self.secured = True
        self.sendLine(b"220 go")
        self.transport.startTLS(self.factory.contexts, True)

    def start_refuses(self) -> None:
        """Not now."""
        self.sendLine(b"454 TLS not available")

    def start_strange(self) -> None:
        """No reply to STARTTLS."""
        self.sendLine(b"250 fine")

    def start_silent(self) -> None:
        """The connection ends in place of a reply."""
        self.transport.abortConnection()

    def start_stalls(self) -> None:
        """No handshake comes."""
        self.setRawMode()
        self.sendLine(b"220 go")

    def start_garbage(self) -> None:
        """Something else than TLS comes, later than the reply."""
        self.setRawMode()
        self.sendLine(b"220 go")
        reactor.callLater(0.05, self.transport.write, b"250 what\r\n" * 10)

    def start_closes(self) -> None:
        """The end comes instead of a handshake."""
        self.setRawMode()
        self.sendLine(b"220 go")
        reactor.callLater(0.05, self.transport.loseConnection)

    def start_injects(self) -> None:
        """A reply for inside TLS comes in clear, in one write with the invitation."""
        self.secured = True
        self.transport.write(b"220 go\r\n250-evil\r\n250 SIZE 1\r\n")
        self.transport.startTLS(self.factory.contexts, True)


class SecurityCase(TestCase):
    """A carrier, and servers."""

    timeout = 20

    def setUp(self) -> None:
        self.log = Lines()
        self.names = Names()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.folder = folder
        self.roots = str(folder / put(folder, "roots.pem", ROOT.pem))

    def serve(self, kind: str, chain: bytes = b"", key: bytes = b"", old: bool = False) -> Hop:
        """
        A server.

        @return: where it is, under the name C{mx.test}.
        """
        if not chain:
            chain, key = ROOT.issue("mx.test")
        put(self.folder, "chain", chain)
        put(self.folder, "key", key)
        factory = self.factory = Factory.forProtocol(Server)
        factory.noisy = False
        factory.kind, factory.servers = kind, []
        factory.contexts = ServerContexts(Pairs(str(self.folder / "x"), 1, (("chain", "key"),)), reactor)
        self.assertTrue(factory.contexts.load())
        if old:
            factory.contexts = Old(str(self.folder / "chain").encode(), b"")
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.close, port, factory.servers)
        self.names.answers["mx_test"] = ("127.0.0.1",)
        return Hop("mx.test", port.getHost().port)

    async def close(self, port, servers) -> None:
        """Nothing of a server stays."""
        await port.stopListening()
        for server in servers:
            server.transport.abortConnection()
            await server.gone

    def carrier(self, level: str, patience: Patience = Patience(handshake=0.2), hello: str = "EHLO") -> Carrier:  # noqa: B008
        """A carrier of ours that trusts C{ROOT}."""
        levels = Levels(Level(level))
        return Carrier(
            reactor, self.names, self.log, "test.jp", hello, patience, levels=levels, trust=Trust(self.roots)
        )

    async def send(self, hop: Hop, level: str, times: int = 1, **more) -> Report:
        """Send a message, some times over channels of their own. @return: what came of the last."""
        carrier = self.carrier(level, **more)
        for _ in range(times):
            channel = carrier.channel(Onward("x", (hop,), True))
            report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), MemoryContent(b"x\r\n")))
            self.channel = channel
            channel.quit()
        return report

    def said(self) -> list[str]:
        """senderlog without the message's name."""
        return [line.partition(" ")[2] for line in self.log.lines]


class GoodTests(SecurityCase):
    """TLS comes about."""

    async def test_verified(self) -> None:
        """A trusted root and the right name: verified, at both levels; senderlog has the whole story."""
        for level in ("may", "verify"):
            hop = self.serve("good")
            self.log.lines.clear()
            report = await self.send(hop, level)
            self.assertEqual((report.replies[0].code, report.host), (250, str(hop)))
            self.assertRegex(report.tls, rf"\A{MODERN}verified\Z")
            said = self.said()
            expected = ["ConnectHost(mx.test)", "< 220 mx", "EHLO test.jp", "< 250-mx", "< 250-PIPELINING"]
            expected += ["< 250 STARTTLS", "STARTTLS", "< 220 go", report.tls, "EHLO test.jp", "< 250-mx"]
            self.assertEqual(said[: len(expected)], expected)

    async def test_startsAfresh(self) -> None:
        """What was announced in clear is forgotten: SIZE of inside is used, PIPELINING of outside is not."""
        await self.send(self.serve("good"), "may")
        inside = self.factory.servers[0].lines[2:]
        self.assertEqual(inside[:2], [b"EHLO test.jp", b"MAIL FROM:<baito@test.jp> SIZE=3 BODY=8BITMIME"])
        said = self.said()
        self.assertLess(said.index("< 250 ok"), said.index("RCPT TO:<user2@test-sample00.jp>"))

    async def test_unverified(self) -> None:
        """Whoever it is will do where it may, and what is wrong with the certificate stands in senderlog."""
        for pair, flaw in (
            (STRANGER.issue("mx.test"), "who signed the certificate is not known"),
            (ROOT.issue("other.test"), "the certificate is for other.test, not for mx.test"),
            (ROOT.issue("*.mx.test"), "the certificate is for *.mx.test, not for mx.test"),
            (ROOT.issue(), "the certificate is for no name, not for mx.test"),
            (ROOT.issue("mx.test", expired=True), "the certificate has expired"),
        ):
            self.log.lines.clear()
            report = await self.send(self.serve("good", *pair), "may")
            self.assertEqual(report.replies[0].code, 250)
            self.assertRegex(report.tls, rf"\A{MODERN}unverified\Z")
            self.assertIn(f"{report.tls}: {flaw}", self.said())

    async def test_address(self) -> None:
        """A hop that is an IP address is verified by that, and SNI is not sent."""
        for names, level, code in ((("127.0.0.1",), "verify", 250), (("mx.test",), "verify", 454)):
            hop = Hop("127.0.0.1", self.serve("good", *ROOT.issue(*names)).port)
            report = await self.send(hop, level)
            self.assertEqual(report.replies[0].code, code)

    async def test_kept(self) -> None:
        """Over a kept connection the next message goes without another handshake, and its report says the same."""
        hop = self.serve("good")
        channel = self.carrier("verify").channel(Onward("x", (hop,), True))
        for number in (1, 2):
            report = await channel.send(Parcel(numbered(number), Envelope(A, (B,)), (B,), MemoryContent(b"x\r\n")))
            self.assertTrue(report.tls.endswith(" verified"), report)
        self.assertEqual(self.said().count("STARTTLS"), 1)
        channel.quit()

    async def test_large(self) -> None:
        """Megabytes go through TLS part by part, twice over one connection, dots and all."""
        channel = self.carrier("verify").channel(Onward("x", (self.serve("large"),), True))
        octets = b".\r\nabcdefgh\r\n" * 200000
        for _ in range(2):
            content = MemoryContent(octets, 65535)
            report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), content))
            self.assertEqual(report.replies[0].code, 250)
        self.assertEqual(len(self.factory.servers), 1)
        self.assertEqual(self.factory.servers[0].octets, 2 * (len(octets) + len(".\r\n") - 1))
        channel.quit()

    async def test_sizeInside(self) -> None:
        """The limit that is announced inside TLS counts."""
        channel = self.carrier("verify").channel(Onward("x", (self.serve("good"),), True))
        report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), MemoryContent(b"x" * 5001)))
        self.assertEqual(report.replies[0].enhanced, "5.3.4")
        channel.quit()

    async def test_clear(self) -> None:
        """Where it is not offered, not wanted, or HELO is our word, mail goes in clear."""
        for kind, level, more in (("plain", "may", {}), ("good", "none", {}), ("good", "may", {"hello": "HELO"})):
            report = await self.send(self.serve(kind), level, **more)
            self.assertEqual((report.replies[0].code, report.tls), (250, ""))
            self.assertNotIn("STARTTLS", self.said())

    async def test_refusedInside(self) -> None:
        """What the server says inside TLS is its answer: no second try in clear."""
        report = await self.send(self.serve("refuses inside"), "may")
        self.assertEqual((report.replies[0].code, len(self.factory.servers)), (550, 1))


FAILING = {
    "refuses": "STARTTLS was answered 454 TLS not available",
    "strange": "STARTTLS was answered 451 STARTTLS was answered 250",
    "silent": "connection lost before the reply to STARTTLS",
    "stalls": "no TLS handshake within 0.2 s",
    "garbage": "TLS handshake: ",
    "closes": "connection lost in the TLS handshake",
    "late": "connection lost before the reply to EHLO",
    "injects": "octets came behind the reply to STARTTLS",
}


class FailingTests(SecurityCase):
    """TLS does not come about."""

    async def test_fallsBack(self) -> None:
        """Where it need not, the message goes in clear over a new connection, and the next one at once."""
        for kind, why in FAILING.items():
            hop = self.serve(kind)
            with capturedLogs() as told:
                report = await self.send(hop, "may", times=2)
            self.assertEqual((report.replies[0].code, report.tls), (250, ""), kind)
            clear = [server for server in self.factory.servers if b"MAIL FROM:<baito@test.jp>" in server.lines]
            self.assertEqual((len(self.factory.servers), len(clear)), (3, 2), kind)
            self.assertNotIn(self.factory.servers[0], clear)
            (line,) = [formatEvent(event) for event in told if "without TLS" in formatEvent(event)]
            self.assertIn(why, line)
            self.assertTrue(line.startswith(f"mx.test[127.0.0.1]:{hop.port}: "), line)

    async def test_deferred(self) -> None:
        """Where it must, the message waits, and the reply of our own says why; nothing of it was said."""
        for kind, why in FAILING.items():
            report = await self.send(self.serve(kind), "verify")
            reply = report.replies[0]
            status = "4.7.4" if kind in ("refuses", "strange", "silent") else "4.7.5"
            self.assertEqual((reply.code, reply.enhanced, report.tls), (454, status, ""), kind)
            self.assertIn(why, reply.lines[0])
            self.assertEqual(self.said()[-1], f"no TLS: {reply}")
            self.assertFalse([line for server in self.factory.servers for line in server.lines if b"MAIL" in line])

    async def test_untrusted(self) -> None:
        """Where it must, a certificate that is not good enough makes the message wait."""
        for pair, flaw in (
            (STRANGER.issue("mx.test"), "who signed the certificate is not known"),
            (ROOT.issue("other.test"), "the certificate is for other.test, not for mx.test"),
            (ROOT.issue("mx.test", expired=True), "the certificate has expired"),
        ):
            hop = self.serve("good", *pair)
            report = await self.send(hop, "verify")
            expected = f"454 4.7.5 mx.test[127.0.0.1]:{hop.port}: {flaw}"
            self.assertEqual(str(report.replies[0]), expected)
            self.assertEqual([server.lines[2:] for server in self.factory.servers], [[]])

    async def test_notOffered(self) -> None:
        """Where it must and is not offered, the message waits, and the host hears QUIT."""
        for kind, hello in (("plain", "EHLO"), ("good", "HELO")):
            report = await self.send(self.serve(kind), "verify", hello=hello)
            self.assertEqual(report.replies[0].enhanced, "4.7.4")
            self.assertIn("STARTTLS is not offered", report.replies[0].lines[0])
            self.assertEqual(self.said()[-1], f"no TLS: {report.replies[0]}")

    async def test_oldVersion(self) -> None:
        """TLS 1.1 is none."""
        hop = self.serve("good", old=True)
        self.assertEqual((await self.send(hop, "may")).tls, "")
        report = await self.send(hop, "verify")
        self.assertIn("TLS handshake: ", report.replies[0].lines[0])
        self.assertIn("version", report.replies[0].lines[0])

    async def test_nextHost(self) -> None:
        """A host whose TLS is not good enough is as one that does not answer: the next is tried."""
        bad, good = self.serve("stalls"), self.serve("good")
        channel = self.carrier("verify").channel(Onward("x", (bad, good), True))
        report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), MemoryContent(b"x\r\n")))
        self.assertEqual((report.replies[0].code, report.host), (250, str(good)))
        channel.quit()

    async def test_probe(self) -> None:
        """Whoever is asked about a recipient is looked at as closely."""
        hop = self.serve("good", *STRANGER.issue("mx.test"))
        route = Onward("x", (hop,), True)
        self.assertEqual((await self.carrier("verify").probe(route, B, None)).enhanced, "4.7.5")
        self.assertEqual((await self.carrier("may").probe(route, B, None)).code, 250)

    async def test_probeGivesUp(self) -> None:
        """Where its patience ends in a handshake the connection is dropped, and no answer is none."""
        route = Onward("x", (self.serve("stalls"),), True)
        asked = await self.carrier("may", Patience(probe=0.2)).probe(route, B, None)
        self.assertEqual(str(asked), "451 4.4.1 x: no answer within 0.2 s")
        await self.factory.servers[0].gone


class FarewellTests(SynchronousTestCase):
    """The end of a TLS connection."""

    def test_noAnswer(self) -> None:
        """Who does not say good-bye to our good-bye, or goes on talking, is not waited for."""
        clock, transport = Clock(), Wire()
        caller = Caller(clock, Lines(), Patience(), "mx.test", Outbox(clock))
        caller.makeConnection(transport)
        caller.tls = "TLSv1.3 X verified"
        caller.hangUp()
        self.assertTrue(transport.disconnecting)
        for _ in range(5):
            caller.dataReceived(b"250 what\r\n")
            clock.advance(1)
        self.assertTrue(transport.aborted)
        self.assertEqual(clock.getDelayedCalls(), [])


class LevelsTests(SynchronousTestCase):
    """L{Levels} tells what a destination wants."""

    def test_byDomainOrHost(self) -> None:
        """By the recipient's domain where the DNS names the hosts, else by the host; never by what the DNS says."""
        levels = Levels(Level.MAY, {"example.jp": Level.VERIFY, "relay.test": Level.NONE, "10.0.0.1": Level.VERIFY})
        for route, hop, level in (
            (Onward("example.jp"), Hop("mx.example.jp"), Level.VERIFY),
            (Onward("example.jp"), Hop("relay.test"), Level.VERIFY),
            (Onward("other.jp"), Hop("relay.test"), Level.MAY),
            (Onward("relay.test:25", (Hop("relay.test"),), True), Hop("relay.test"), Level.NONE),
            (Onward("x", (Hop("10.0.0.1", 2525),), True), Hop("10.0.0.1", 2525), Level.VERIFY),
        ):
            self.assertIs(levels.of(route, hop), level)

    def test_interface(self) -> None:
        """It is what startTLS takes."""
        verifyObject(IOpenSSLClientConnectionCreator, Outgoing(Trust(), "mx.test", Level.MAY))

    def test_forgets(self) -> None:
        """That a host's TLS has failed is forgotten after ten minutes."""
        clock = Clock()
        clear = Lately(clock, CLEAR_SECONDS)
        place = Place(Hop("mx.test"), "192.0.2.1")
        clear.add(place)
        clock.advance(CLEAR_SECONDS - 1)
        self.assertIn(place, clear)
        clock.advance(1)
        self.assertNotIn(place, clear)
