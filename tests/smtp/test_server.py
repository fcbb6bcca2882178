"""The server session. Dialogues are in test_dialogs; here is the contract with the shell."""

import base64
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.smtp import session as its
from epost.smtp import wording
from epost.smtp.event import (
    Auth,
    Closed,
    Content,
    Data,
    Discard,
    End,
    Event,
    Hello,
    Mail,
    Rcpt,
    Response,
    StartTls,
    Want,
)
from epost.smtp.server import ServerSession
from epost.smtp.session import EXCHANGE_OCTETS
from epost.smtp.settings import ServerSettings

SETTINGS = ServerSettings("dc.epost.test", "4.58", "CAAIGADJA", errors=1000)
NAME = numbered(186)
TO_DATA = b"EHLO c.example\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"
WHOLE = TO_DATA + b"hello\r\n.\r\n"


def session(given: ServerSettings = SETTINGS) -> ServerSession:
    """A session whose greeting is out."""
    made = ServerSession(given, "192.0.2.1")
    made.greet("Mon, 06 Jul 2009 16:27:31 +0900")
    made.outgoing()
    made.transcript()
    return made


def yes(event: Event) -> Reply:
    """The answer that goes on."""
    match event:
        case Mail():
            return wording.senderOk(event.path)
        case Rcpt():
            return wording.recipientOk(event.path)
        case Data():
            return wording.startInput(NAME)
        case _:
            return wording.received(NAME, True)


def run(made: ServerSession, octets: bytes, until: type | None = None) -> list[Event]:
    """Feed octets, say yes to everything; stop where an event of type C{until} is undecided."""
    made.receive(octets)
    events: list[Event] = []
    while not isinstance(event := made.nextEvent(), Want):
        events.append(event)
        if isinstance(event, Closed) or (until and isinstance(event, until)):
            break
        if isinstance(event, Mail | Rcpt | Data | End):
            made.answer(yes(event))
    return events


class ServerSessionTests(SynchronousTestCase):
    """L{ServerSession} never decides and never runs ahead."""

    def test_waitsForAnswer(self) -> None:
        """While MAIL is undecided nothing behind it is read or answered; the answer lets the next one come."""
        made = session()
        run(made, WHOLE + b"QUIT\r\n", until=Mail)
        made.outgoing()
        for _ in range(3):
            self.assertIs(made.nextEvent(), Want.ANSWER)
        self.assertEqual(made.outgoing(), b"")
        made.answer(wording.senderOk(None))
        self.assertIsInstance(made.nextEvent(), Rcpt)
        self.assertIs(made.nextEvent(), Want.ANSWER)

    def test_contentBehindUndecidedData(self) -> None:
        """Content that came before 354 was said waits in the buffer and is content then."""
        made = session()
        run(made, WHOLE, until=Data)
        self.assertEqual(made.unread, len(b"hello\r\n.\r\n"))
        made.answer(wording.startInput(NAME))
        self.assertEqual(made.nextEvent(), Content(b"hello\r\n"))
        self.assertEqual(made.nextEvent(), End())
        self.assertEqual(made.unread, 0)

    def test_nothingToAnswer(self) -> None:
        """To answer without a question is a bug of the shell and is told."""
        self.assertRaises(ValueError, session().answer, wording.done())

    def test_refusedSender(self) -> None:
        """A refused MAIL opens no transaction."""
        made = session()
        run(made, b"HELO x\r\nMAIL FROM:<a@b.c>\r\n", until=Mail)
        made.answer(wording.invalidSender())
        self.assertFalse(made.inTransaction)
        self.assertEqual(run(made, b"RSET\r\n"), [])

    def test_flags(self) -> None:
        """The shell can see where the session stands, to choose a timeout and whom to send away."""
        made = session()
        self.assertEqual((made.inTransaction, made.inContent), (False, False))
        run(made, TO_DATA, until=Rcpt)
        self.assertEqual((made.inTransaction, made.inContent), (True, False))
        made.answer(wording.done())
        run(made, b"hel")
        self.assertEqual((made.inTransaction, made.inContent), (True, True))
        run(made, b"lo\r\n.\r\n", until=End)
        self.assertEqual((made.inTransaction, made.inContent), (True, False))
        made.answer(wording.received(NAME, True))
        self.assertEqual((made.inTransaction, made.inContent), (False, False))

    def test_client(self) -> None:
        """Hello tells who the client is; the name that it gave cannot change a field or a line that it stands in."""
        made = session()
        [hello] = run(made, b"EHLO [192.0.2.1]\r\n")
        self.assertEqual((hello.client.helo, hello.client.extended), ("[192.0.2.1]", True))
        run(made, b'HELO a (b)\t<c>"\xff;' + b"x" * 400 + b"\r\n")
        self.assertEqual(made.client.helo[:12], "a??b???c????")
        self.assertLessEqual(len(made.client.helo), 255)
        self.assertFalse(made.client.extended)

    def test_discards(self) -> None:
        """RSET, HELO, QUIT and a fault make the transaction void, once; elsewhere there is no Discard."""
        for octets in (
            b"RSET\r\nRSET\r\n",
            b"HELO y\r\nRSET\r\n",
            b"DATA\r\nbare\nlf\r\n.\r\nRSET\r\n",
            b"QUIT\r\nRSET\r\n",
        ):
            made = session()
            run(made, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\n")
            self.assertEqual(run(made, octets).count(Discard()), 1, octets)
        self.assertNotIn(Discard(), run(session(), b"RSET\r\n" + WHOLE + b"RSET\r\nQUIT\r\n"))

    def test_lost(self) -> None:
        """At the end of file what came whole is worked off, half a command is nothing, and a transaction is void."""
        made = session()
        made.lost()
        events = run(made, WHOLE + b"MAIL FROM:<>\r\nRCPT TO:<half")
        self.assertEqual(
            [type(event) for event in events], [Hello, Mail, Rcpt, Data, Content, End, Mail, Discard, Closed]
        )
        self.assertTrue(made.farewell)
        self.assertEqual(made.nextEvent(), Closed())

    def test_close(self) -> None:
        """Closed by the shell: the reply is said at once, what is unread is forgotten, a late answer has no effect."""
        for until, after in ((Mail, [Discard(), Closed()]), (Rcpt, [Discard(), Closed()]), (End, [Closed()])):
            made = session()
            run(made, WHOLE + b"NOOP\r\n", until=until)
            made.outgoing()
            made.close(wording.timedOut("dc.epost.test"))
            self.assertEqual(made.outgoing(), b"421 4.4.2 dc.epost.test Timeout exceeded, closing connection.\r\n")
            self.assertEqual([made.nextEvent() for _ in after], after)
            made.answer(wording.done())
            made.close(wording.busy("dc.epost.test"))
            made.receive(b"NOOP\r\n")
            self.assertEqual((made.unread, made.outgoing(), made.nextEvent(), made.farewell), (0, b"", Closed(), False))

    def test_closeBeforeAnything(self) -> None:
        """A client of whom there are too many hears greeting and 421."""
        made = session()
        made.close(wording.tooManyConnections("dc.epost.test"))
        self.assertEqual(made.nextEvent(), Closed())

    def test_quit(self) -> None:
        """What is pipelined behind QUIT is not read."""
        made = session()
        run(made, b"QUIT\r\nNOOP\r\n")
        self.assertEqual(made.outgoing(), b"221 dc.epost.test closing connection.\r\n")
        self.assertTrue(made.farewell)

    def test_errorsByTheShell(self) -> None:
        """A refusal by the shell counts as one by the session; a 4xx does not count."""
        made = session(replace(SETTINGS, errors=2))
        made.receive(b"HELO x\r\n" + b"MAIL FROM:<a@b.c>\r\n" * 4)
        for reply in (wording.notNow(), wording.invalidSender(), wording.notNow(), wording.invalidSender()):
            while made.nextEvent() is not Want.ANSWER:
                pass
            made.answer(reply)
        self.assertEqual(made.nextEvent(), Closed())
        self.assertTrue(made.outgoing().endswith(b"421 dc.epost.test Too many errors, closing connection.\r\n"))

    def test_onlyTalk(self) -> None:
        """Who says a thousand commands and hands over no message is told to leave; a message forgives all before it."""
        talk = b"EHLO x\r\n" * 600
        self.patch(its, "IDLE", 10_000)
        made = session()
        run(made, talk + b"RSET\r\n" * 500)
        self.assertFalse(made.transcript()[-1].startswith("421"))
        run(made, b"NOOP\r\n")
        self.assertEqual(made.transcript()[-1], "421 4.7.0 dc.epost.test Too many errors, closing connection.")
        made = session()
        for _ in range(3):
            made.transcript()
            run(made, talk)
            run(made, WHOLE)
            self.assertTrue(made.transcript()[-1].startswith("250"))

    def test_anotherServer(self) -> None:
        """A machine of the tables may hand over what it took and what it wrote in front of that, and is told so."""
        given = replace(SETTINGS, messageOctets=1000)
        for known, limit in ((False, 1000), (True, 1000 + 65536)):
            made = ServerSession(given, "192.0.2.1", known)
            run(made, b"EHLO x\r\n")
            self.assertIn(f"SIZE {limit}\r\n".encode(), made.outgoing())
            for size, expected in ((limit, b"354"), (limit + 1, b"552")):
                run(made, b"RSET\r\nMAIL FROM:<a@b.c> SIZE=%d\r\nRCPT TO:<d@e.f>\r\nDATA\r\n" % size)
                self.assertIn(b"\r\n" + expected, made.outgoing())
                if expected == b"354":
                    run(made, b"x" * (limit - 2) + b"\r\n.\r\n")
                    self.assertTrue(made.outgoing().startswith(b"250"))

    def test_faultIsToldAtOnce(self) -> None:
        """The shell can drop a faulty content before its end; the client hears of it behind the end."""
        made = session()
        run(made, TO_DATA)
        made.outgoing()
        self.assertEqual(run(made, b"bare\nlf"), [Discard()])
        self.assertEqual(run(made, b"more\r\n" * 20000), [])
        self.assertEqual((made.unread, made.outgoing()), (0, b""))
        self.assertEqual(run(made, b".\r\n"), [])
        self.assertEqual(made.outgoing()[:9], b"554 5.6.0")

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([b"EHLO x\r\n", b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<d@e.f>\r\n", b"DATA\r\n"]),
                st.sampled_from([b"\r\n.\r\n", b"\n.\n", b"RSET\r\n", b"MAIL FROM:\r\n", b"x" * 700, WHOLE]),
            ),
            max_size=30,
        )
    )
    def test_anyOctets(self, chunks: list[bytes]) -> None:
        """Whatever comes, nothing is raised, memory is bounded, and chunks change neither output nor log."""
        results = []
        for feed in (chunks, [b"".join(chunks)], [bytes([octet]) for octet in b"".join(chunks)]):
            made = session()
            out, log, told = b"", [], []
            for chunk in feed:
                told += [type(event) for event in run(made, chunk) if not isinstance(event, Content | Closed)]
                out += made.outgoing()
                log += made.transcript()
                self.assertLessEqual(made.unread, 512 + 53 + 1)
            results.append((out, log, told, made.nextEvent()))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])


AUTH = replace(SETTINGS, auth=True, startTls=True, submission=True)
BUCHO = parseAddress("bucho@test.jp")
PLAIN = b"AUTH PLAIN AGJ1Y2hvAHNlY3JldA==\r\n"


class SecureTests(SynchronousTestCase):
    """Where TLS begins and who logs in; what is said is in the dialogues."""

    def test_nothingBehindStartTls(self) -> None:
        """Whatever comes in one read with STARTTLS ends the session: it is neither obeyed in clear nor inside TLS."""
        for behind in (b"MAIL FROM:<a@b.c>\r\n", b"EHLO x\r\n", b"\x16\x03\x01", b"x"):
            made = session(AUTH)
            self.assertEqual([type(event) for event in run(made, b"EHLO x\r\nSTARTTLS\r\n" + behind)], [Hello, Closed])
            said = made.outgoing().splitlines()
            self.assertEqual(said[-1][:9], b"421 4.5.1")
            self.assertNotIn(b"220 2.0.0 Ready to start TLS.", said)

    def test_pipelinedBeforeStartTls(self) -> None:
        """What comes before it, in one read, is answered; STARTTLS is answered last and the session has ended."""
        made = session(AUTH)
        events = run(made, b"EHLO x\r\nNOOP\r\nSTARTTLS\r\n")
        self.assertEqual([type(event) for event in events], [Hello, StartTls, Closed])
        self.assertEqual(made.outgoing().splitlines()[-2:], [b"250 2.0.0 Ok.", b"220 2.0.0 Ready to start TLS."])
        made.receive(b"EHLO x\r\n")
        self.assertEqual((made.nextEvent(), made.outgoing()), (Closed(), b""))

    def login(self) -> ServerSession:
        """A session inside TLS, before a login."""
        made = ServerSession(AUTH, "192.0.2.1", tls="TLSv1.3 X", mechanisms=("PLAIN", "LOGIN"))
        run(made, b"EHLO x\r\n")
        made.outgoing()
        made.transcript()
        return made

    def test_waitsForLogin(self) -> None:
        """While a login is undecided nothing behind it is read; a refusal logs nobody in, and MAIL is refused."""
        made = self.login()
        [event] = run(made, PLAIN + b"MAIL FROM:<a@b.c>\r\n", until=Auth)
        self.assertEqual(event, Auth("PLAIN", b"\0bucho\0secret"))
        for _ in range(3):
            self.assertIs(made.nextEvent(), Want.ANSWER)
        made.answer(wording.badCredentials())
        self.assertIs(made.nextEvent(), Want.DATA)
        self.assertEqual([line[:3] for line in made.outgoing().splitlines()], [b"535", b"530"])
        self.assertIsNone(made.client.account)

    def test_account(self) -> None:
        """Who has logged in is the account, until the end, whatever else the client says."""
        made = self.login()
        run(made, PLAIN, until=Auth)
        made.answer(wording.loggedIn(), account=BUCHO)
        for line in (b"RSET\r\n", b"EHLO y\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"HELO z\r\n"):
            run(made, line)
            self.assertEqual((made.client.account, made.client.tls, made.client.submission), (BUCHO, "TLSv1.3 X", True))

    def test_challenge(self) -> None:
        """A challenge goes out whole, however long it is, and the next line is a response and no command."""
        made = self.login()
        run(made, b"AUTH LOGIN\r\n", until=Auth)
        made.challenge(b"x" * 3000)
        self.assertEqual(made.outgoing(), b"334 " + base64.b64encode(b"x" * 3000) + b"\r\n")
        self.assertEqual(run(made, b"QUIT\r\n", until=Response), [Response(base64.b64decode(b"QUIT"))])
        self.assertRaises(ValueError, self.login().challenge, b"")
        run(made := self.login(), PLAIN, until=Auth)
        made.close(wording.timedOut("x"))
        made.outgoing()
        made.challenge(b"late")
        made.answer(wording.loggedIn(), account=BUCHO)
        self.assertEqual((made.outgoing(), made.client.account), (b"", None))

    def test_megabyte(self) -> None:
        """A line of a login that does not end is held up to its limit, and refused when it ends."""
        for begin in (b"AUTH PLAIN ", b""):
            made = self.login()
            if not begin:
                run(made, b"AUTH LOGIN\r\n", until=Auth)
                made.challenge(b"")
            made.receive(begin)
            for _ in range(1000):
                run(made, b"A" * 1000)
                self.assertLessEqual(made.unread, EXCHANGE_OCTETS + 1000)
            self.assertEqual(run(made, b"\r\n"), [])
            self.assertEqual(made.outgoing().splitlines()[-1][:9], b"500 5.5.6")

    def test_idleHoldsNoSecret(self) -> None:
        """No text of an event that is about a login has what the client wrote: a log of a defect has none either."""
        self.assertNotIn("secret", repr(Auth("PLAIN", b"secret")) + repr(Response(b"secret")))

    def test_octetsOfAccount(self) -> None:
        """An answer to MAIL may allow less than others have, for this one message."""
        for octets, code in ((20, b"552"), (0, b"250"), (100, b"250"), (10**9, b"250")):
            made = session()
            run(made, b"EHLO x\r\nMAIL FROM:<a@b.c>\r\n", until=Mail)
            made.answer(wording.senderOk(None), octets)
            run(made, b"RCPT TO:<d@e.f>\r\nDATA\r\n")
            made.outgoing()
            run(made, b"x" * 40 + b"\r\n.\r\n")
            self.assertEqual(made.outgoing()[:3], code, octets)
            run(made, WHOLE.partition(b"\r\n")[2])
            self.assertEqual(made.outgoing().splitlines()[-1][:3], b"250")


class NoPartnerTests(SynchronousTestCase):
    """Who talks and hands over nothing, and who speaks something else, is not listened to for long."""

    def test_foreign(self) -> None:
        """A request of HTTP ends the session at its first line; after EHLO it is a wrong command like others."""
        for line in (b"POST / HTTP/1.1", b"get /", b"Host: x"):
            made = session()
            made.receive(line + b"\r\n" + WHOLE)
            self.assertEqual(run(made, b""), [Closed()])
            self.assertTrue(made.outgoing().startswith(b"421 "))
            made = session()
            run(made, b"EHLO c.example\r\n" + line + b"\r\n")
            self.assertIn(b"500 ", made.outgoing())

    def test_idle(self) -> None:
        """Beyond 20 between messages, commands that do nothing are errors; not of machines that tables name."""
        for line in (b"EHLO c\r\n", b"HELO c\r\n", b"HELP\r\n", b"NOOP\r\n", b"RSET\r\n", b"VRFY a\r\n"):
            made = session(replace(SETTINGS, errors=3))
            made.receive(line * 100)
            run(made, b"")
            self.assertEqual(made.outgoing().count(b"421 "), 1, line)
            made = ServerSession(replace(SETTINGS, errors=3), "192.0.2.1", known=True)
            run(made, line * 100)
            self.assertNotIn(b"421 ", made.outgoing(), line)

    def test_forgiven(self) -> None:
        """
        A message that is taken forgives them, and RSET behind MAIL is none of them, whatever became of the message: a
        relay that a full disk refuses all has to be told that, and nothing else.
        """
        made = session(replace(SETTINGS, errors=3))
        run(made, b"EHLO c.example\r\n")
        for _ in range(30):
            run(made, b"RSET\r\nNOOP\r\n" + WHOLE.partition(b"\r\n")[2])
        self.assertNotIn(b"421 ", made.outgoing())
        made = session(replace(SETTINGS, errors=3))
        run(made, b"EHLO c.example\r\n" + b"MAIL FROM:<a@b.c>\r\nRSET\r\n" * 50)
        self.assertNotIn(b"421 ", made.outgoing())
        later = Reply(451, ("Local error in processing.",), "4.3.0")
        mail, rcpt = b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<d@e.f>\r\n"
        said = {Mail: mail, Rcpt: mail + rcpt, End: mail + rcpt + b"DATA\r\nhello\r\n.\r\n"}
        for refused, octets in said.items():
            made = session(replace(SETTINGS, errors=3))
            run(made, b"EHLO c.example\r\n")
            for _ in range(SETTINGS.commands):
                run(made, octets, until=refused)
                made.answer(later)
                run(made, b"RSET\r\n")
            heard = made.outgoing()
            self.assertEqual((heard.count(b"451 4.3.0"), heard.count(b"421 ")), (SETTINGS.commands, 0), refused)
