"""The sending side over transports in memory: hosts in order, kept connections, patience, content, senderlog."""

import errno
import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.interfaces import ICarrier, IChannel, IExchanges, ISenderLog, Parcel
from epost.mail.address import parseAddress
from epost.mail.envelope import Envelope
from epost.mail.name import numbered
from epost.mail.reply import Refused, Reply
from epost.mail.route import Hop, Onward
from epost.net.carrier import DEAD_SECONDS, HOSTS, MESSAGES, Carrier
from epost.net.places import Place
from epost.smtp.replies import KEPT_LINES
from tests.storage.memory import MemoryContent

A = parseAddress("baito@test.jp")
B = parseAddress("user2@test-sample00.jp")
ROUTE = Onward("test-sample00.jp", (Hop("192.168.0.103"), Hop("192.168.0.104", 2525)), True)
OPEN = b"220 mx\r\n", b"250 mx\r\n"
TAKEN = b"250 a\r\n", b"250 b\r\n", b"354 go\r\n", b"250 taken\r\n"


@implementer(ISenderLog)
class Lines:
    """A senderlog that is a list."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def trying(self, name, domain, now, then, tries) -> None:
        """Not the carrier's."""

    def returning(self, name, sender, domain, server, now, then, tries) -> None:
        """Not the carrier's."""

    def connecting(self, name, host) -> None:
        """A connection."""
        self.lines.append(f"{name} ConnectHost({host})")

    def said(self, name, command) -> None:
        """A command."""
        self.lines.append(f"{name} {command}")

    def heard(self, name, reply) -> None:
        """A reply."""
        self.lines += [f"{name} < {line}" for line in reply.written(False)]


@implementer(IExchanges)
class Names:
    """A DNS that is a dictionary. Every other host is its own address."""

    def __init__(self, **answers) -> None:
        self.answers = answers

    def hops(self, domain):
        """Exchanges."""
        return self._told(domain.replace(".", "_").replace("-", "_"), ())

    def addresses(self, host):
        """Addresses."""
        return self._told(host.replace(".", "_"), (host,))

    def _told(self, key, default):
        answer = self.answers.get(key, default)
        return fail(Refused(answer)) if isinstance(answer, Reply) else succeed(answer)


class Wire(StringTransport):
    """A transport that tells how it was ended."""

    aborted = False

    def abortConnection(self) -> None:
        """Ended at once."""
        self.aborted = True
        super().abortConnection()


class Net:
    """What can be connected to: every address but the refusing and the silent ones."""

    def __init__(self) -> None:
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.strange: dict[str, Exception] = {}
        self.dialled: list[str] = []
        self.transports: list[StringTransport] = []

    def __call__(self, address, port, seconds):
        self.dialled.append(address)
        self._last = address
        return self

    def connect(self, factory):
        """As an endpoint."""
        if self._last in self.refusing:
            return fail(ConnectionRefusedError(errno.ECONNREFUSED))
        if self._last in self.silent:
            return Deferred()
        if self._last in self.strange:
            return fail(self.strange[self._last])
        protocol = factory.buildProtocol(None)
        transport = Wire()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.transports.append(transport)
        return succeed(protocol)

    def hear(self, *parts: bytes) -> None:
        """The server that was connected last says something."""
        for part in parts:
            self.transports[-1].protocol.dataReceived(part)

    def lose(self, which: int = -1) -> None:
        """A connection is lost."""
        self.transports[which].protocol.connectionLost(Failure(ConnectionLost()))


class CarrierTests(SynchronousTestCase):
    """L{Carrier} and its channels."""

    def setUp(self) -> None:
        self.clock, self.log, self.net = Clock(), Lines(), Net()
        self.names = Names()
        self.carrier = Carrier(self.clock, self.names, self.log, "test.jp", "HELO", dial=self.net)
        self.channel = self.carrier.channel(ROUTE)

    def send(self, content: bytes = b"x\r\n", number: int = 186, channel=None):
        """Send a message."""
        parcel = Parcel(numbered(number), Envelope(A, (B,)), (B,), MemoryContent(content))
        return (channel or self.channel).send(parcel)

    def test_interfaces(self) -> None:
        """All play their roles."""
        for role, thing in (
            (ICarrier, self.carrier),
            (IChannel, self.channel),
            (ISenderLog, self.log),
            (IExchanges, self.names),
        ):
            verifyObject(role, thing)

    def test_seed(self) -> None:
        """The seed's refusal, in the seed's lines."""
        sent = self.send()
        self.net.hear(*OPEN, b"550 Please, mail from a valid IP or Domain address.\r\n")
        report = self.successResultOf(sent)
        self.channel.quit()
        self.assertEqual((report.replies[0].code, report.host), (550, "192.168.0.103:25"))
        lines = """ConnectHost(192.168.0.103)
            < 220 mx
            HELO test.jp
            < 250 mx
            MAIL From: <baito@test.jp>
            < 550 Please, mail from a valid IP or Domain address.
            QUIT"""
        self.assertEqual(self.log.lines, [f"B0000000186 {line.strip()}" for line in lines.split("\n")])
        self.assertEqual(self.net.transports[0].value().split(b"\r\n")[-2], b"QUIT")
        self.assertFalse(self.net.transports[0].disconnecting)
        self.net.hear(b"221 bye\r\n")
        self.assertTrue(self.net.transports[0].disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept(self) -> None:
        """The next message goes over the same connection: no ConnectHost, no greeting; RSET behind a refusal only."""
        for number in (1, 2):
            sent = self.send(number=number)
            self.net.hear(*(OPEN if number == 1 else ()), *TAKEN)
            self.assertEqual(self.successResultOf(sent).replies[0].code, 250)
        self.assertIn("B0000000002 MAIL From: <baito@test.jp>", self.log.lines)
        self.send(number=3)
        self.net.hear(b"550 no\r\n")
        sent = self.send(number=4)
        self.net.hear(b"250 reset\r\n", *TAKEN)
        self.assertEqual(self.successResultOf(sent).replies[0].code, 250)
        self.assertIn("B0000000004 RSET", self.log.lines)
        self.assertEqual(sum("RSET" in line for line in self.log.lines), 1)
        self.assertEqual(len(self.net.transports), 1)

    def test_keptIsReplaced(self) -> None:
        """A kept connection that is over, by the time or by 421, is replaced and nobody is told of it."""

        def lost() -> None:
            self.net.lose()

        def told() -> None:
            self.net.hear(b"421 idle\r\n")

        for before, after in ((lost, None), (told, None), (None, lost), (None, told)):
            channel = self.carrier.channel(ROUTE)
            self.send(channel=channel)
            self.net.hear(*OPEN, *TAKEN)
            if before:
                before()
            sent = self.send(channel=channel)
            if after:
                after()
            self.net.hear(*OPEN, *TAKEN)
            report = self.successResultOf(sent)
            self.assertEqual((report.host, report.replies[0].code), ("192.168.0.103:25", 250))

    def test_keptBreaksUnderMessage(self) -> None:
        """A kept connection that breaks in the middle of a message has had its turn: the next host is tried."""
        self.send()
        self.net.hear(*OPEN, *TAKEN)
        sent = self.send()
        self.net.hear(b"250 a\r\n")
        self.net.lose()
        self.net.hear(*OPEN, *TAKEN)
        self.assertEqual(self.successResultOf(sent).host, "192.168.0.104:2525")

    def test_enough(self) -> None:
        """After so many messages a connection is given up with QUIT."""
        for number in range(MESSAGES + 1):
            self.send(number=number)
            self.net.hear(*(OPEN if number % MESSAGES == 0 else ()), *TAKEN)
        self.assertEqual(len(self.net.transports), 2)
        self.assertTrue(self.net.transports[0].value().endswith(b"QUIT\r\n"))

    def test_nextHost(self) -> None:
        """The next host is tried after a refused connection, a 4xx greeting, a lost or a silent connection."""

        def greet() -> None:
            self.net.hear(b"450 later\r\n")

        def loseLate() -> None:
            self.net.hear(*OPEN, *TAKEN[:3])
            self.net.lose()

        def babble() -> None:
            self.net.hear(b"hello\r\n")

        for failing in (greet, lambda: self.net.lose(), loseLate, babble, lambda: self.clock.advance(301)):
            self.setUp()
            sent = self.send()
            self.net.hear()
            failing()
            self.assertNoResult(sent)
            self.net.hear(*OPEN, *TAKEN)
            self.assertEqual(self.successResultOf(sent).host, "192.168.0.104:2525", failing)

    def test_refusalEnds(self) -> None:
        """A 5xx greeting and a 4xx to MAIL are answers: no other host is asked."""
        for replies, code in (((b"554 go away\r\n",), 554), ((*OPEN, b"450 later\r\n"), 450)):
            self.setUp()
            sent = self.send()
            self.net.hear(*replies)
            self.assertEqual(self.successResultOf(sent).replies[0].code, code)
            self.assertEqual(len(self.net.transports), 1)

    def test_dead(self) -> None:
        """What did not answer is tried last for a minute; where all are dead they are tried all the same."""
        self.net.refusing = {"192.168.0.103"}
        self.send()
        self.send(channel=self.carrier.channel(ROUTE))
        self.assertEqual(self.net.dialled, ["192.168.0.103", "192.168.0.104", "192.168.0.104"])
        self.net.refusing.add("192.168.0.104")
        report = self.successResultOf(self.send(channel=self.carrier.channel(ROUTE)))
        self.assertEqual(self.net.dialled[3:], ["192.168.0.104", "192.168.0.103"])
        self.assertEqual(str(report.replies[0]), "451 4.4.1 192.168.0.103:25: connection refused")
        self.clock.advance(DEAD_SECONDS)
        self.send(channel=self.carrier.channel(ROUTE))
        self.assertEqual(self.net.dialled[5], "192.168.0.103")

    def test_names(self) -> None:
        """Exchanges are looked up; a domain that is none is final, a hop of ours that is none is not."""
        gone = Reply(550, ("no such domain",), "5.1.2")
        self.names.answers = {"example_jp": (Hop("mx.example.jp"),), "mx_example_jp": ("192.0.2.1", "2001:db8::1")}
        self.net.refusing = {"192.0.2.1"}
        sent = self.send(channel=self.carrier.channel(Onward("example.jp")))
        self.assertEqual(self.net.dialled, ["192.0.2.1", "2001:db8::1"])
        self.net.hear(*OPEN, *TAKEN)
        self.assertEqual(self.successResultOf(sent).host, "mx.example.jp:25")
        self.names.answers = {"example_jp": gone, "relay": gone}
        report = self.successResultOf(self.send(channel=self.carrier.channel(Onward("example.jp"))))
        self.assertEqual((report.replies, report.host), ((gone,), ""))
        report = self.successResultOf(self.send(channel=self.carrier.channel(Onward("x", (Hop("relay"),)))))
        self.assertEqual((report.replies[0].code, report.replies[0].enhanced), (451, "4.3.5"))

    def test_places(self) -> None:
        """A host with hundreds of addresses has no more places than a destination may have hosts; the dead last."""
        addresses = tuple(f"192.0.2.{number}" for number in range(200))
        self.names.answers = {"example_jp": (Hop("mx.example.jp"),), "mx_example_jp": addresses}
        self.net.refusing = set(addresses)
        for attempt in (1, 2):
            report = self.successResultOf(self.send(channel=self.carrier.channel(Onward("example.jp"))))
            self.assertEqual(report.replies[0].enhanced, "4.4.1")
            self.assertEqual(self.net.dialled, list(addresses[: attempt * HOSTS]))

    def test_tarpits(self) -> None:
        """Hosts that never greet have five minutes each, as the RFC wants, but after ten there is no further one."""
        addresses = tuple(f"192.0.2.{number}" for number in range(HOSTS))
        self.names.answers = {"mx_example_jp": addresses}
        sent = self.send(channel=self.carrier.channel(Onward("example.jp", (Hop("mx.example.jp"),))))
        self.clock.pump([300, 299])
        self.assertNoResult(sent)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(sent).replies[0].enhanced, "4.4.2")
        self.assertEqual(self.net.dialled, list(addresses[:2]))

    def test_tarpitBehindAKeptConnection(self) -> None:
        """The time that a kept connection took before it broke counts as well."""
        self.send()
        self.net.hear(*OPEN, *TAKEN)
        sent = self.send()
        self.net.hear(b"250 a\r\n")
        self.clock.advance(299)
        self.net.hear(b"250 b\r\n")
        self.clock.advance(119)
        self.net.hear(b"354 go\r\n")
        self.clock.advance(599)
        self.net.lose()
        self.assertEqual(self.successResultOf(sent).replies[0].enhanced, "4.4.2")
        self.assertEqual(len(self.net.dialled), 1)

    def test_strangeAddresses(self) -> None:
        """An address that cannot be dialled is one that does not answer: the next is tried, and nothing is logged."""
        self.net.strange = {
            "fe80::1%x": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "192.0.2.1": OSError(errno.EINVAL, "Invalid argument"),
            "192.0.2.2": UnicodeError("label too long"),
        }
        self.names.answers = {"relay": tuple(self.net.strange)}
        report = self.successResultOf(self.send(channel=self.carrier.channel(Onward("x", (Hop("relay"),), True))))
        self.assertEqual(str(report.replies[0]), "451 4.4.1 relay[192.0.2.2]:25: cannot be dialled: label too long")
        self.assertEqual(self.net.dialled, list(self.net.strange))

    def test_strangeAddressForReal(self) -> None:
        """What the reactor makes of an address with a zone that this machine does not have is no traceback."""
        carrier = Carrier(reactor, self.names, self.log, "test.jp")
        place = Place(Hop("relay"), "fe80::1%nosuchzone")
        called = Deferred.fromCoroutine(carrier.call(Onward("x"), place, None))
        self.assertEqual(self.failureResultOf(called, Refused).value.reply.enhanced, "4.4.1")

    def test_loopback(self) -> None:
        """The DNS cannot make us dial ourselves, by name, by address or by literal; a table or a setting can."""
        here = ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1")
        self.names.answers = {"example_jp": (Hop("mx.example.jp"),), "mx_example_jp": here}
        self.names.answers |= {"[127_0_0_1]": (Hop("127.0.0.1"),), "127_0_0_1": ("127.0.0.1",)}
        for domain in ("example.jp", "[127.0.0.1]"):
            report = self.successResultOf(self.send(channel=self.carrier.channel(Onward(domain))))
            self.assertEqual((report.replies[0].code, report.replies[0].enhanced), (550, "5.4.6"))
        self.assertEqual(self.net.dialled, [])
        self.names.answers["mx_example_jp"] = ("127.0.0.1", "192.0.2.1")
        self.send(channel=self.carrier.channel(Onward("example.jp")))
        self.send(channel=self.carrier.channel(Onward("x", (Hop("127.0.0.1"),), True)))
        self.assertEqual(self.net.dialled, ["192.0.2.1", "127.0.0.1"])

    def test_backPressure(self) -> None:
        """Long content leaves part by part, as fast as the transport takes it; a stop of three minutes ends it."""
        content = (b"." * 70 + b"\r\n") * 5000
        sent = self.send(content)
        self.net.hear(*OPEN, *TAKEN[:3])
        transport = self.net.transports[0]
        self.assertLess(len(transport.value()), 2 * 65536)
        while transport.producer is not None:
            transport.producer.resumeProducing()
        self.net.hear(TAKEN[3])
        self.assertEqual(self.successResultOf(sent).replies[0].code, 250)
        self.assertTrue(transport.value().endswith(b"." * 71 + b"\r\n.\r\n"))
        sent = self.send(content)
        self.net.hear(*TAKEN[:3])
        self.clock.advance(181)
        self.assertTrue(transport.aborted)

    def test_longReply(self) -> None:
        """Of a reply no more than twenty lines are reported, whether it is a yes or a no."""
        for code, channel in ((250, self.channel), (550, self.carrier.channel(ROUTE))):
            sent = self.send(channel=channel)
            self.net.hear(*OPEN, *TAKEN[:3], b"%d-x\r\n" % code * 150, b"%d x\r\n" % code)
            self.assertEqual(self.successResultOf(sent).replies[0].lines, ("x",) * KEPT_LINES)

    def test_earlyReply(self) -> None:
        """A refusal before the end of the content counts, an early 250 does not; the connection is given up."""
        for reply, code in ((b"552 too big\r\n", 552), (b"250 taken\r\n", 451)):
            self.setUp()
            channel = self.carrier.channel(Onward("x", (Hop("192.0.2.1"),)))
            sent = self.send(b"x" * 300000, channel=channel)
            self.net.hear(*OPEN, *TAKEN[:3], reply)
            self.assertEqual(self.successResultOf(sent).replies[0].code, code)
            self.assertTrue(self.net.transports[0].aborted)

    def test_replyBeforeCommand(self) -> None:
        """A reply that comes before its command was written belongs to nobody, and ends the connection."""
        sent = self.send(channel=self.carrier.channel(Onward("x", (Hop("192.0.2.1"),))))
        self.net.hear(*OPEN, b"250 a\r\n250 b\r\n354 go\r\n250 taken\r\n")
        self.assertEqual(self.successResultOf(sent).replies[0].code, 451)

    def test_unreadable(self) -> None:
        """Content that cannot be read goes nowhere, has no end, and is reported."""

        class Unreadable(MemoryContent):
            def parts(self):
                yield b"x" * 70000
                raise Refused(Reply(451, ("gone",), "4.3.0"))

        sent = self.channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), Unreadable(b"")))
        self.net.hear(*OPEN, *TAKEN[:3])
        self.net.transports[0].producer.resumeProducing()
        self.assertEqual(self.successResultOf(sent).replies[0].lines, ("gone",))
        self.assertTrue(self.net.transports[0].aborted)
        self.assertNotIn(b"\r\n.\r\n", self.net.transports[0].value())

    def test_bug(self) -> None:
        """A bug is logged and reported as 4xx: a message without a report would never be tried again."""

        class Broken(MemoryContent):
            def parts(self):
                raise ZeroDivisionError

        sent = self.channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), Broken(b"")))
        self.net.hear(*OPEN)
        self.assertEqual(self.successResultOf(sent).replies[0].code, 451)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_quitWhileBusy(self) -> None:
        """QUIT waits for the message that is under way."""
        sent = self.send()
        self.channel.quit()
        self.net.hear(*OPEN, *TAKEN)
        self.assertEqual(self.successResultOf(sent).replies[0].code, 250)
        self.assertTrue(self.net.transports[0].value().endswith(b".\r\nQUIT\r\n"))
        self.clock.advance(6)
        self.assertTrue(self.net.transports[0].aborted)

    def test_probe(self) -> None:
        """A probe asks from the null path, says QUIT, and is not told to senderlog."""
        asked = self.carrier.probe(ROUTE, B, None)
        self.net.hear(*OPEN, b"250 a\r\n", b"550 User unknown.\r\n")
        self.assertEqual(self.successResultOf(asked).code, 550)
        said = self.net.transports[0].value().split(b"\r\n")
        self.assertEqual(said[1:], [b"MAIL From: <>", b"RCPT To: <user2@test-sample00.jp>", b"QUIT", b""])
        self.assertEqual(self.log.lines, [])

    def test_probeForASender(self) -> None:
        """So does one for a sender; what that is refused at MAIL is an answer."""
        asked = self.carrier.probe(ROUTE, B, parseAddress("a@b.example"))
        self.net.hear(*OPEN, b"553 not you\r\n")
        self.assertEqual(self.successResultOf(asked).code, 553)
        self.assertIn(b"MAIL From: <a@b.example>\r\n", self.net.transports[0].value())

    def test_probeUnanswered(self) -> None:
        """Whatever is wrong but the recipient is 4xx: a refused greeting or MAIL, nobody there, silence."""
        for replies in ((b"554 go away\r\n",), (*OPEN, b"550 no null path\r\n"), OPEN, ()):
            self.setUp()
            asked = self.carrier.probe(ROUTE, B, None)
            self.net.hear(*replies)
            self.clock.advance(20)
            self.assertTrue(self.successResultOf(asked).transient, replies)
        self.setUp()
        self.net.silent = {"192.168.0.103"}
        asked = self.carrier.probe(ROUTE, B, None)
        self.clock.advance(20)
        self.assertTrue(self.successResultOf(asked).transient)

    def test_probeWhileConnecting(self) -> None:
        """The patience of a probe ends a connection that is being made, too."""
        clock = MemoryReactorClock()
        asked = Carrier(clock, self.names, self.log, "test.jp").probe(ROUTE, B, None)
        clock.advance(20)
        self.assertEqual(str(self.successResultOf(asked)), "451 4.4.1 test-sample00.jp: no answer within 20 s")
        self.assertTrue(clock.connectors[0].stoppedConnecting)


class Sink(LineReceiver):
    """A server that takes everything."""

    def connectionMade(self) -> None:
        """A greeting."""
        self.factory.sink.append(self)
        self.content, self.inContent = bytearray(), False
        self.sendLine(b"220 mx")

    def lineReceived(self, line: bytes) -> None:
        """A command, or a line of content."""
        if self.inContent and line == b".":
            self.inContent = False
            self.sendLine(b"250 taken")
        elif self.inContent:
            self.content += line.removeprefix(b".") + b"\r\n"
        else:
            self.inContent = line == b"DATA"
            answers = {b"DATA": b"354 go", b"EHLO": b"250-mx\r\n250 PIPELINING", b"QUIT": b"221 bye"}
            self.sendLine(answers.get(line[:4], b"250 ok"))


class SocketTests(TestCase):
    """The same over sockets of the loopback interface."""

    async def test_largeMessages(self) -> None:
        """A megabyte full of dots arrives octet for octet, twice over one connection, after a refused one."""
        factory = ServerFactory.forProtocol(Sink)
        factory.sink = []
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        unused = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        refusing = unused.getHost().port
        await unused.stopListening()
        hops = Hop("127.0.0.1", refusing), Hop("127.0.0.1", port.getHost().port)
        channel = Carrier(reactor, Names(), Lines(), "test.jp").channel(Onward("x", hops, True))
        content = b".\r\n..\r\nab\r\n" * 100000
        for _ in range(2):
            report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), MemoryContent(content, 65535)))
            self.assertEqual((report.replies[0].code, report.host), (250, str(hops[1])))
        self.assertEqual(len(factory.sink), 1)
        self.assertTrue(factory.sink[0].content == content * 2)
        gone = Deferred()
        factory.sink[0].connectionLost = gone.callback
        channel.quit()
        await self.assertFailure(gone, ConnectionDone)

    async def test_refused(self) -> None:
        """Where nobody listens the reply says so, in an administrator's words."""
        port = reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
        hop = Hop("127.0.0.1", port.getHost().port)
        await port.stopListening()
        channel = Carrier(reactor, Names(), Lines(), "test.jp").channel(Onward("x", (hop,), True))
        report = await channel.send(Parcel(numbered(1), Envelope(A, (B,)), (B,), MemoryContent(b"")))
        self.assertEqual(str(report.replies[0]), f"451 4.4.1 {hop}: connection refused")
