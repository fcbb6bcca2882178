"""The server session. Dialogues are in test_dialogs; here is the contract with the shell."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.smtp import wording
from epost.smtp.event import Closed, Content, Data, Discard, End, Event, Hello, Mail, Rcpt, Want
from epost.smtp.server import ServerSession
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

    @settings(deadline=None)
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
