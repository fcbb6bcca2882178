"""The receiving side with TLS and logins, over sockets of the loopback interface: order, attackers, and the end."""

import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from epost.interfaces import Outcome
from epost.mail import trace
from epost.mail.address import parseAddress
from epost.net.crowd import Crowd
from epost.net.receiver import ReceiverFactory
from epost.net.tls import Pairs, ServerContexts
from epost.net.transaction import Patience
from epost.smtp import session, wording
from epost.smtp.settings import ServerSettings
from tests.login.fakes import Anybody, OneLogin
from tests.net.certificates import Authority, put
from tests.net.test_receiver import House
from tests.recorders import ReceiveLogRecorder

ROOT = Authority()
BUCHO = parseAddress("bucho@test.jp")
PLAIN = "AUTH PLAIN AGJ1Y2hvAHNlY3JldA=="
RULES = ServerSettings("mx.test", "4.58", "CAAIGADJA", startTls=True)
PEOPLE = replace(RULES, auth=True, submission=True)
MODERN = r"TLSv1.3 TLS_\w+"


class Remembering(House):
    """A house that remembers who handed messages over."""

    def __init__(self) -> None:
        super().__init__()
        self.clients = []

    def open(self, name, client, envelope, size=0):
        """See L{House}."""
        self.clients.append(client)
        return super().open(name, client, envelope)


class Slow(Anybody):
    """Logins that take a while."""

    def begin(self, *arguments):
        """See L{ILogins}."""
        super().begin(*arguments)
        return SlowLogin(self)


class SlowLogin(OneLogin):
    """See L{Slow}."""

    def step(self, response):
        """See L{ILogin}."""
        answer: Deferred[Outcome] = Deferred()
        reactor.callLater(0.1, answer.callback, super().step(response))
        return answer


class Talk:
    """A client that blocks: to be used in a thread. @ivar end: its socket."""

    def __init__(self, port: int, implicit: bool = False, buffer: int = 0) -> None:
        """@param buffer: octets that may wait to be read; 0: as many as the system has."""
        self.end = socket.socket()
        if buffer:
            self.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.end.settimeout(10)
        self.end.connect(("127.0.0.1", port))
        self._read = b""
        if implicit:
            self.secure()

    def secure(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> "Talk":
        """The handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        self.end = context.wrap_socket(self.end, suppress_ragged_eofs=False)
        return self

    def reply(self) -> str:
        """The last line of the next reply; empty at the end."""
        while not (found := re.match(rb"(?:\d{3}-.*\r\n)*(\d{3} .*)\r\n", self._read)):
            try:
                more = self.end.recv(65536)
            except ConnectionError:
                return ""
            if not more:
                return ""
            self._read += more
        self.whole, self._read = found[0].decode(), self._read[found.end() :]
        return found[1].decode()

    def say(self, *lines: str) -> str:
        """Lines, each when the one before has its reply. @return: the last reply."""
        for line in lines:
            self.end.sendall(f"{line}\r\n".encode())
            reply = self.reply()
        return reply

    def begin(self, port: int = 0) -> "Talk":
        """Up to a handshake behind STARTTLS."""
        self.reply()
        assert self.say("EHLO pc", "STARTTLS")[:3] == "220"
        return self.secure()

    def over(self) -> bool:
        """Whether the server has ended the connection as TLS wants it."""
        try:
            return self.end.recv(1000) == b""
        except (ConnectionError, ssl.SSLError):
            return False


class SecureCase(TestCase):
    """A server of each kind of port. @ivar buffer: octets that the system takes from it and has not sent."""

    buffer = 1 << 20

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.certify()
        pairs = Pairs(str(self.folder / "x.toml"), 1, (("chain", "key"),))
        self.contexts = ServerContexts(pairs, reactor)
        self.assertTrue(self.contexts.load())
        self.house = Remembering()
        self.log = ReceiveLogRecorder()
        self.crowd = Crowd("mx.test", connections=120, perAddress=120)
        self.patience = Patience(handshake=10.0)
        self.logins = Anybody({b"\0bucho\0secret": BUCHO})
        self.start()

    def start(self) -> None:
        """Listen."""
        factory = ReceiverFactory(
            RULES, self.house, self.house, self.log, self.crowd, self.patience, reactor, trace.date, self.contexts
        )
        self.factory = factory
        self.port = self.listen(factory)
        self.submission = self.listen(factory.beside(PEOPLE, self.logins))
        self.submissions = self.listen(factory.beside(PEOPLE, self.logins, implicit=True))

    def listen(self, factory: ReceiverFactory) -> int:
        """@return: the port."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer)  # of each connection too
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def certify(self) -> None:
        """Another certificate."""
        for name, octets in zip(("chain", "key"), ROOT.issue("mx.test"), strict=True):
            put(self.folder, name, octets)

    async def play(self, story: Callable[[], None]) -> list[str]:
        """A client's story, in a thread. @return: what the daemon's log has of it, when everybody has left."""
        with capturedLogs() as events:
            await deferToThread(story)
            while len(self.crowd) or "Deferred" in str([call.func for call in reactor.getDelayedCalls()]):
                done: Deferred[None] = Deferred()
                reactor.callLater(0.01, done.callback, None)
                await done
            self.factory.refusals.flush()
        self.assertEqual([call for call in reactor.getDelayedCalls() if "Receiver" in str(call.func)], [])
        return "\n".join(map(formatEvent, events)).split("\n") if events else []


class StartTlsTests(SecureCase):
    """TLS behind STARTTLS, and at once."""

    async def test_afresh(self) -> None:
        """Behind the handshake nothing is remembered; what is handed over bears version and cipher."""

        def story() -> None:
            talk = Talk(self.port).begin()
            self.assertEqual(talk.say("MAIL FROM:<a@b.c>")[:3], "503")
            talk.say("EHLO again")
            self.assertNotIn("STARTTLS", talk.whole)
            self.assertEqual(talk.say("MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA")[:3], "354")
            self.assertEqual(talk.say("hello\r\n.")[:3], "250")
            self.assertEqual(talk.say("QUIT")[:3], "221")
            self.assertTrue(talk.over())

        await self.play(story)
        (client,) = self.house.clients
        self.assertRegex(client.tls, MODERN)
        self.assertEqual((client.helo, client.submission, client.account), ("again", False, None))
        said = self.log.heard[1]
        self.assertEqual(
            [line for line in said if line[:4] in ("EHLO", "STAR", "QUIT")],
            ["EHLO pc", "STARTTLS", "EHLO again", "QUIT"],
        )
        self.assertEqual(self.log.ended, [1])

    async def test_injected(self) -> None:
        """What comes in clear behind STARTTLS, in one segment with it, is obeyed nowhere: 421 and the end."""

        def story() -> None:
            talk = Talk(self.port)
            talk.reply()
            talk.say("EHLO pc")
            talk.end.sendall(b"STARTTLS\r\nMAIL FROM:<evil@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n")
            self.assertEqual(talk.reply()[:9], "421 4.5.1")
            self.assertEqual(talk.reply(), "")

        await self.play(story)
        self.assertNotIn("MAIL FROM:<evil@b.c>", self.log.heard[1])
        self.assertEqual(self.house.sizes, [])

    async def test_clearInsteadOfHandshake(self) -> None:
        """What comes in clear behind the 220 ends the connection and is told in one line."""

        def story() -> None:
            talk = Talk(self.port)
            talk.reply()
            talk.say("EHLO pc", "STARTTLS")
            talk.end.sendall(b"MAIL FROM:<evil@b.c>\r\n")
            talk.end.settimeout(10)
            self.assertEqual(talk.reply(), "")

        told = await self.play(story)
        self.assertEqual(len(told), 1, told)
        self.assertIn("127.0.0.1 TLS handshake failed: ", told[0])
        self.assertEqual(self.house.sizes, [])

    async def test_http(self) -> None:
        """A browser on the port for TLS is told nothing and leaves one line."""

        def story() -> None:
            talk = Talk(self.submissions)
            talk.end.sendall(b"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n")
            self.assertEqual(talk.reply(), "")

        self.assertEqual(await self.play(story), ["127.0.0.1 TLS handshake failed: http request"])

    async def test_refused(self) -> None:
        """Where all places are taken a port for TLS hangs up before it has cost a handshake."""
        self.crowd.perAddress = 0

        def story() -> None:
            self.assertRaises(OSError, Talk, self.submissions, True)

        (told,) = await self.play(story)
        self.assertIn("refused", told)

    async def test_large(self) -> None:
        """Megabytes, pipelined behind their commands as far as that goes, are the same behind TLS 1.2 and 1.3."""
        content = b"".join(b"%07d %b\r\n" % (number, b"x" * 70) for number in range(40_000))

        def story() -> None:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                talk = Talk(self.port)
                talk.reply()
                talk.say("EHLO pc", "STARTTLS")
                talk.secure(version)
                talk.say("EHLO pc")
                talk.end.sendall(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n")
                self.assertEqual([talk.reply()[:3] for _ in range(3)], ["250", "250", "354"])
                talk.end.sendall(content + b".\r\nNOOP\r\nQUIT\r\n")
                self.assertEqual([talk.reply()[:3] for _ in range(3)], ["250", "250", "221"])
                self.assertTrue(talk.over())

        await self.play(story)
        self.assertEqual([draft.content == content for draft in self.house.drafts], [True, True])

    async def test_swapped(self) -> None:
        """Another certificate is shown to the next client; whoever is connected notices nothing."""

        def story() -> None:
            first = Talk(self.submissions, implicit=True)
            before = first.end.getpeercert(True)
            first.reply()
            self.certify()
            self.assertTrue(self.contexts.reload())
            second = Talk(self.submissions, implicit=True)
            self.assertNotEqual(second.end.getpeercert(True), before)
            self.assertEqual([talk.say("EHLO x", "NOOP")[:3] for talk in (first,)], ["250"])
            for talk in (first, second):
                talk.end.close()

        await self.play(story)

    async def test_shutDown(self) -> None:
        """At the end of the daemon who is connected inside TLS hears 421, and who is in a handshake is cut."""
        talks: list[Talk] = []

        def story() -> None:
            talks.append(Talk(self.submissions, implicit=True))
            talks[0].reply()
            talks.append(Talk(self.submissions))
            while len(self.crowd) < 2:  # who is not let in yet is refused, not cut
                time.sleep(0.01)
            reactor.callFromThread(lambda: self.crowd.disperse(reactor, 10.0))
            self.assertEqual(talks[0].reply(), wording.shuttingDown("mx.test").written(False)[0])
            self.assertTrue(talks[0].over())
            self.assertEqual(talks[1].reply(), "")
            talks[0].end.close()

        told = await self.play(story)
        self.assertIn("127.0.0.1 TLS handshake cut off: 421 ", "\n".join(told))

    async def test_renegotiation(self) -> None:
        """A client of TLS 1.2 that wants another handshake does not get one."""

        def story() -> None:
            talk = Talk(self.submissions)
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            client = SSL.Connection(context, talk.end)
            talk.end.setblocking(True)
            client.set_connect_state()
            client.do_handshake()
            self.assertEqual(client.recv(3), b"220")
            self.assertTrue(client.renegotiate())
            with self.assertRaises(SSL.Error):
                for _ in range(10):
                    client.do_handshake()
                    client.recv(1000)
            talk.end.close()

        await self.play(story)


class StallTests(SecureCase):
    """Handshakes that go nowhere."""

    buffer = 4096

    async def test_byTheHundred(self) -> None:
        """They are cut when patience ends, and told in two lines; meanwhile and afterwards others are served."""
        self.factory.patience = Patience(handshake=3.0)
        port = self.listen(self.factory.beside(PEOPLE, self.logins, implicit=True))

        def story() -> None:
            stalled = []
            for number in range(100):
                stalled.append(Talk(port))
                if number % 2:
                    stalled[-1].end.sendall(b"\x16\x03\x01\x02\x00\x01")  # the begin of a ClientHello
            self.assertEqual(Talk(port, implicit=True).reply()[:3], "220")
            for talk in stalled:
                self.assertEqual(talk.reply(), "")

        told = await self.play(story)
        kind = "TLS handshake cut off"
        self.assertEqual(told, [f"127.0.0.1 {kind}: it took longer than 3 s", f"99 more from 127.0.0.1: {kind}"])

    async def test_giveWay(self) -> None:
        """Where all places are taken by stalled handshakes, they are who gives way."""
        self.crowd.connections = 3

        def story() -> None:
            stalled = [Talk(self.submissions) for _ in range(3)]
            for _ in stalled:
                talk = Talk(self.submissions, implicit=True)
                self.assertEqual(talk.reply()[:3], "220")
                self.assertEqual(talk.say("QUIT")[:3], "221")
                talk.end.close()
            for talk in stalled:
                talk.end.close()

        await self.play(story)

    async def test_choked(self) -> None:
        """A client that has not read our replies before STARTTLS can still have its handshake."""
        self.patch(session, "IDLE", 1000)

        def story() -> None:
            talk = Talk(self.port, buffer=2048)
            talk.reply()
            talk.end.sendall(b"EHLO\tpc\r\n" * 400 + b"STARTTLS\r\n")
            for code in ["250"] * 400 + ["220"]:
                self.assertEqual(talk.reply()[:3], code)
            talk.secure()
            self.assertEqual(talk.say("EHLO pc")[:3], "250")
            talk.end.close()

        await self.play(story)


class LoginTests(SecureCase):
    """Who logs in."""

    async def test_pipelined(self) -> None:
        """What is sent behind AUTH in one segment waits, however long that takes, and is for who logged in."""
        self.logins = Slow(self.logins.known)
        self.start()

        def story() -> None:
            talk = Talk(self.submissions, implicit=True)
            talk.reply()
            talk.say("EHLO pc")
            talk.end.sendall(f"{PLAIN}\r\nMAIL FROM:<bucho@test.jp>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n".encode())
            self.assertEqual([talk.reply()[:3] for _ in range(4)], ["235", "250", "250", "354"])
            self.assertEqual(talk.say(".")[:3], "250")
            talk.end.close()

        told = await self.play(story)
        (client,) = self.house.clients
        self.assertEqual((client.account, client.submission), (BUCHO, True))
        self.assertRegex(told[0], f"127.0.0.1 logged in as bucho@test.jp, {MODERN}")
        self.assertIn("AUTH PLAIN ***", self.log.heard[1])
        self.assertNotIn("c2Vj", str(self.log.heard))

    async def test_wrong(self) -> None:
        """Behind a refused login nothing is taken, and neither log has what was sent."""

        def story() -> None:
            talk = Talk(self.submissions, implicit=True)
            talk.reply()
            talk.say("EHLO pc")
            talk.end.sendall(b"AUTH PLAIN AGJ1Y2hvAHdyb25n\r\nAHNlY29uZAB0cnk=\r\nMAIL FROM:<bucho@test.jp>\r\n")
            self.assertEqual([talk.reply()[:3] for _ in range(3)], ["535", "500", "530"])
            talk.end.close()

        told = await self.play(story)
        self.assertEqual(self.house.sizes, [])
        for secret in ("AGJ1Y2hv", "AHNlY29u", "wrong", "second"):
            self.assertNotIn(secret, str(self.log.heard) + str(told))

    async def test_challenged(self) -> None:
        """A login in two steps; then AUTH and STARTTLS are out of turn."""

        def story() -> None:
            talk = Talk(self.submissions, implicit=True)
            talk.reply()
            self.assertEqual(talk.say("EHLO pc", "AUTH PLAIN"), "334 ")
            self.assertEqual(talk.say("AGJ1Y2hvAHNlY3JldA==")[:3], "235")
            self.assertEqual(talk.say(PLAIN)[:3], "503")
            self.assertEqual(talk.say("STARTTLS")[:3], "503")
            talk.end.close()

        await self.play(story)

    async def test_startTlsForgetsLogin(self) -> None:
        """Who has logged in in clear, where that is allowed, is nobody inside TLS."""

        def story() -> None:
            talk = Talk(self.submission)
            talk.reply()
            self.assertEqual(talk.say("EHLO pc", PLAIN)[:3], "235")
            self.assertEqual(talk.say("STARTTLS")[:3], "220")
            talk.secure()
            self.assertEqual(talk.say("EHLO pc", "MAIL FROM:<bucho@test.jp>")[:3], "530")
            talk.end.close()
            talk = Talk(both)
            talk.reply()
            self.assertEqual(talk.say("EHLO pc", PLAIN)[:3], "235")
            self.assertEqual(talk.say("STARTTLS")[:3], "220")
            talk.secure()
            self.logins.changed = True
            self.assertEqual(talk.say("EHLO pc", "MAIL FROM:<bucho@test.jp>")[:3], "250")
            talk.end.close()

        both = self.listen(self.factory.beside(replace(RULES, auth=True), self.logins))
        await self.play(story)

    async def test_changedMeanwhile(self) -> None:
        """Whoever has logged in and is welcome no more is told so at MAIL and at DATA, and his connection ends."""
        lines = ("MAIL FROM:<bucho@test.jp>", "RCPT TO:<d@e.f>", "DATA")
        words = "421 4.7.0 mx.test Log in again, closing connection."

        def story(before: int) -> None:
            talk = Talk(self.submissions, implicit=True)
            talk.reply()
            self.assertEqual(
                talk.say("EHLO pc", PLAIN, *lines[:before])[:3], "354" if before == 3 else "250" if before else "235"
            )
            self.logins.changed = True
            if before == 3:  # what is on its way is taken
                self.assertEqual(talk.say(".")[:3], "250")
            self.assertEqual(talk.say(lines[before % 3]), words)
            self.assertTrue(talk.over())
            talk.end.close()
            self.logins.changed = False

        for before in (0, 2, 3):
            await self.play(partial(story, before))
        self.assertEqual(len(self.house.clients), 1)

    async def test_lostMeanwhile(self) -> None:
        """A client that leaves while its login is undecided harms nobody."""
        self.logins = Slow(self.logins.known)
        self.start()

        def story() -> None:
            talk = Talk(self.submissions, implicit=True)
            talk.reply()
            talk.say("EHLO pc")
            talk.end.sendall(f"{PLAIN}\r\n".encode())
            talk.end.close()

        await self.play(story)

    async def test_otherPort(self) -> None:
        """Where other servers connect there is no AUTH unless a setting says so; connections are numbered together."""

        def story() -> None:
            for port in (self.port, self.submission, self.submissions):
                talk = Talk(port, implicit=port == self.submissions)
                talk.reply()
                talk.say("EHLO pc")
                self.assertEqual("AUTH" in talk.whole, port != self.port)
                talk.end.close()

        await self.play(story)
        self.assertEqual(sorted(self.log.heard), [1, 2, 3])
