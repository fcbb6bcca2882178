"""The receiving side on a network in memory: the dialogues, receivelog, patience, back-pressure, and untimely ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.interfaces import IAdmission, IDraft, IIntake, IReceiveLog
from epost.mail import trace
from epost.mail.address import Address
from epost.mail.decision import Because, Decision, Spent
from epost.mail.decision import Client as Peer
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused, Reply
from epost.net.crowd import Crowd
from epost.net.receiver import ReceiverFactory
from epost.net.transaction import Patience
from epost.smtp import session
from epost.smtp.event import Content, End
from epost.smtp.settings import ServerSettings
from epost.storage.journal import ReceiveLog
from tests.japan import QUEUED, useJapanTime
from tests.recorders import ReceiveLogRecorder
from tests.seed import RECEIVELOG, read
from tests.smtp.dialogs import Dialog, Scripted, everyFile, load
from tests.world.client import Client
from tests.world.net import Net
from tests.world.wire import BUFFER, CHUNK, WINDOW
from tests.world.wire import End as Wire

# What needs TLS or logins is in test_secure: this network has none.
EVERY = {path.stem: load(path) for path in everyFile()}
DIALOGS = {name: d for name, d in EVERY.items() if not (d.tls or d.settings.startTls or d.settings.auth)}
SERVER, CLIENT = "192.0.2.25", "192.0.2.9"
OK = Reply(250, ("fine",), "2.0.0")
BYE = "421 4.3.2 mx.test Service shutting down, closing connection."
SLOW = "421 4.4.2 mx.test Timeout exceeded, closing connection."
OPEN = ("EHLO pc", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>")


@implementer(IDraft)
class Draft:
    """
    A message that is being received.

    @ivar discarded: how often it was.
    @ivar committed: likewise.
    """

    def __init__(self, name: Name, envelope: Envelope, end: "Callable[[], Deferred[None]]") -> None:
        self.name = name
        self.envelope = envelope
        self.content = b""
        self.discarded = self.committed = 0
        self._end = end

    def write(self, part: bytes) -> None:
        """Add it."""
        self.content += part

    def commit(self) -> "Deferred[None]":
        """As the house wants it."""
        self.committed += 1
        return self._end()

    def discard(self) -> None:
        """Count it."""
        self.discarded += 1


@implementer(IAdmission, IIntake)
class House:
    """
    What stands behind a receiver: says yes to everything, unless a test puts something else in place of an attribute.

    @ivar mail: gives the reply to MAIL.
    @ivar number: gives a message's number, or raises L{Refused}.
    @ivar rcpt: gives the reply to RCPT, or a Deferred of it.
    @ivar data: is called at DATA, and may raise L{Refused}.
    @ivar end: gives what C{commit} returns.
    @ivar drafts: all messages.
    @ivar sizes: what was announced of each, at MAIL and at DATA.
    @ivar back: the recipients for whom what was counted was given back. It is counted for each.
    """

    def __init__(self) -> None:
        self.mail: Callable[[], Reply] = lambda: OK
        self.number: Callable[[], int] = lambda: 186 + len(self.drafts)
        self.rcpt: Callable[[], Reply | Deferred[Reply]] = lambda: OK
        self.data: Callable[[], object] = lambda: None
        self.end: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.drafts: list[Draft] = []
        self.sizes: list[int] = []
        self.back: list[str] = []

    def exempt(self, client: Peer) -> bool:
        """Nobody."""
        return False

    def sender(self, client: Peer, path: Address | None, blank: bool) -> Decision:
        """MAIL."""
        return decided(self.mail())

    def recipient(
        self, client: Peer, path: Address | None, sender: Decision, forward: Address, taken: Sequence[Address] = ()
    ) -> "Decision | Deferred[Decision]":
        """RCPT."""
        reply = self.rcpt()

        def counted(reply: Reply) -> Decision:
            return replace(decided(reply), spent=Spent(forward, True, ())) if reply.accepts else decided(reply)

        return reply.addCallback(counted) if isinstance(reply, Deferred) else counted(reply)

    def giveBack(self, spent: Sequence[Spent]) -> None:
        """What was counted."""
        self.back += [str(each.account) for each in spent]

    def name(self, size: int) -> Name:
        """Behind MAIL."""
        self.sizes.append(size)
        return numbered(self.number())

    def open(self, name: Name, client: Peer, envelope: Envelope, size: int = 0) -> Draft:
        """DATA."""
        self.sizes.append(size)
        self.data()
        self.drafts.append(Draft(name, envelope, lambda: self.end()))
        return self.drafts[-1]


def decided(reply: Reply) -> Decision:
    """A decision."""
    return Decision(reply, Because("matrix", 0, ""))


class Played(Scripted):
    """
    A dialogue, played at the server core.

    @ivar answers: what its shell answered, in order.
    """

    def __init__(self, dialog: Dialog) -> None:
        self.answers: list[Reply] = []
        super().__init__(dialog)
        self.feed(dialog.client)
        self.lost()

    def _next(self) -> Reply:
        self.answers.append(super()._next())
        return self.answers[-1]

    def contents(self) -> list[bytes]:
        """Of the messages whose end came."""
        ends = [place for place, event in enumerate(self.events) if isinstance(event, End)]
        before = [self.events[place - 1] for place in ends]
        return [event.part if isinstance(event, Content) else b"" for event in before]


def scripted(answers: list[Reply]) -> House:
    """A house that gives these answers, and each message the number that its 354 names."""
    house, left = House(), list(answers)

    def number() -> int:
        texts = [reply.lines[0] for reply in left if reply.code == 354]
        return int(texts[0].partition("<B")[2].partition(">")[0]) if texts else 1

    def data() -> None:
        reply = left.pop(0)
        if reply.code != 354:
            raise Refused(reply)

    def end() -> "Deferred[None]":
        reply = left.pop(0)
        return succeed(None) if reply.accepts else fail(Refused(reply))

    house.mail = house.rcpt = lambda: left.pop(0)
    house.number, house.data, house.end = number, data, end
    return house


@implementer(IHalfCloseableProtocol)
class Stubborn(Client):
    """A client that does not hang up. @ivar over: whether the other side has said that it will say no more."""

    over = False

    def readConnectionLost(self) -> None:
        """So what."""
        self.over = True

    def writeConnectionLost(self) -> None:
        """We never say so."""


class ReceiverCase(SynchronousTestCase):
    """A server and its clients."""

    def serve(self, house: House, settings: ServerSettings, now: float, folder: str = "") -> None:
        """Let a server stand on the net. @param folder: of a real receivelog."""
        useJapanTime(self)
        self.house = house
        self.net = Net(now)
        self.server = self.net.host(SERVER)
        self.log = ReceiveLog(folder, self.server) if folder else ReceiveLogRecorder()
        self.crowd = Crowd(settings.host, connections=9, perAddress=8)
        self.factory = ReceiverFactory(
            settings, house, house, self.log, self.crowd, Patience(), self.server, trace.date
        )
        self.server.listenTCP(25, self.factory)

    @property
    def wire(self) -> Wire:
        """The server's end of the connection that was made last."""
        return self.net.ends[-1]

    def left(self) -> tuple[int, list[DelayedCall]]:
        """Connections, and timed calls but the one of the daemon's log."""
        self.factory.refusals.flush()
        return len(self.crowd), self.server.calls


class DialogTests(ReceiverCase):
    """The dialogue files hold on the net too, however their octets arrive."""

    def begin(self, dialog: Dialog, folder: str = "") -> Client:
        """The server of a dialogue, and its client connected."""
        now = parsedate_to_datetime(dialog.date).timestamp()
        self.serve(scripted(Played(dialog).answers), dialog.settings, now, folder)
        return Client(self.net.host(dialog.address), SERVER)

    def end(self, client: Client) -> None:
        """The client has said all."""
        self.net.run(1)
        client.transport.loseConnection()
        self.net.run(1)

    def compare(self, name: str, dialog: Dialog, client: Client) -> None:
        """The client heard what the file has; log and messages are those of the server core."""
        played = Played(dialog)
        self.assertEqual(client.heard.decode().splitlines(), dialog.server.decode().splitlines(), name)
        self.assertEqual(self.log.heard, {1: played.log}, name)
        self.assertEqual(self.log.ended, [1], name)
        drafts = self.house.drafts
        self.assertEqual([draft.content for draft in drafts if draft.committed], played.contents(), name)
        self.assertEqual({draft.committed + draft.discarded for draft in drafts} - {1}, set(), name)
        self.assertEqual(self.left(), (0, []), name)

    def test_inTurn(self) -> None:
        """A client that waits for each answer gets the lines of the file, each at its turn."""
        for name, dialog in DIALOGS.items():
            client, heard = self.begin(dialog), 0
            for turn in dialog.turns:
                client.write(turn.client)
                self.net.run(0)
                self.assertEqual(tuple(client.heard[heard:].decode().splitlines()), turn.server, name)
                heard = len(client.heard)
            self.end(client)
            self.compare(name, dialog, client)

    def test_atOnce(self) -> None:
        """So does one that says all at once, whether it arrives whole, in pieces, or octet by octet."""
        for name, dialog in DIALOGS.items():
            for segment in (CHUNK, 100, 7, 1) if len(dialog.client) < 5000 else (CHUNK, 1000):
                client = self.begin(dialog)
                self.net.segment = segment
                client.write(dialog.client)
                self.end(client)
                self.compare(f"{name}, {segment}", dialog, client)

    def test_receivelogOfTheSeed(self) -> None:
        """The seed's sessions, told by receivelog as in the seed's listing."""
        seed = [line.replace("00153008", "00000001") for line in read(RECEIVELOG).splitlines()]
        self.assertEqual(self.lines("seed-quit")[3:], [line.replace("16:23:57", "16:27:31") for line in seed[:4]])
        self.assertEqual(self.lines("seed-baito"), seed[4:13])
        self.assertEqual(self.lines("seed-baito-again")[:6], seed[13:])

    def test_receivelog(self) -> None:
        """The other sessions of the pair in the same form: each command, then its answer, no content."""
        for name in ("seed-bucho-backend", "seed-bucho-gateway", "seed-outside"):
            front = f"[06/Jul/2009:{DIALOGS[name].date[17:25]}], 00000001, "
            told = [*DIALOGS[name].transcript, "CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C"]
            self.assertEqual(self.lines(name), [front + line for line in told])

    def lines(self, name: str) -> list[str]:
        """What receivelog has of a dialogue."""
        folder = self.mktemp()
        client = self.begin(DIALOGS[name], folder)
        client.write(DIALOGS[name].client)
        self.net.run(0)
        self.log.flush()
        return (Path(folder) / "090706.log").read_text().splitlines()


class ReceiverTests(ReceiverCase):
    """L{Receiver} when things go otherwise than in a dialogue."""

    def setUp(self) -> None:
        """A server that takes everything."""
        # So many recipients that the limit of commands is far away, and as many that do nothing.
        self.patch(session, "IDLE", 100_000)
        self.serve(House(), ServerSettings("mx.test", "1", "E", recipients=100_000), QUEUED)
        self.office = self.net.host(CLIENT)

    def client(self, *lines: str, kind: type[Client] = Client) -> Client:
        """A client that has heard the greeting and said these lines."""
        client = kind(self.office, SERVER)
        client.reply()
        if lines:
            client.say(*lines)
        return client

    def slow(self) -> "list[Deferred[None]]":
        """From now on commits wait for the test. @return: they."""
        commits: list[Deferred[None]] = []

        def end() -> "Deferred[None]":
            commits.append(Deferred())
            return commits[-1]

        self.house.end = end
        return commits

    def test_roles(self) -> None:
        """All play their roles."""
        self.client(*OPEN, "DATA")
        for role, thing in (
            (IAdmission, self.house),
            (IIntake, self.house),
            (IDraft, self.house.drafts[0]),
            (IReceiveLog, self.log),
            (IPushProducer, self.wire.protocol),
        ):
            verifyObject(role, thing)

    def test_unix(self) -> None:
        """Whoever has no address is somebody all the same: without a client an envelope is what we wrote ourselves."""
        receiver = self.factory.buildProtocol(UNIXAddress(None))
        self.assertEqual(receiver.session.client.address, "unix")

    def test_mapped(self) -> None:
        """An IPv4-mapped address counts as IPv4 (spec 3)."""
        receiver = self.factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.9", 4000))
        self.assertEqual((receiver.peer, receiver.session.client.address), (CLIENT, CLIENT))

    # Patience.

    def test_patience(self) -> None:
        """Who is silent for five minutes, or three within content, is told so with 421, and nothing is left of him."""
        for lines, seconds in (
            ((), 300),
            (OPEN[:1], 300),
            (OPEN[:2], 300),
            (OPEN, 300),
            ((*OPEN, "DATA"), 180),
        ):
            client = self.client(*lines)
            self.net.run(seconds - 1)
            self.assertEqual((client.hear(), client.gone), ([], None), lines)
            self.net.run(1)
            self.assertEqual(client.hear(), [SLOW if lines else SLOW.replace("4.4.2 ", "")], lines)
            self.assertTrue(client.gone.check(ConnectionDone), lines)
            self.assertEqual(self.left(), (0, []), lines)
        (draft,) = self.house.drafts
        self.assertEqual((draft.discarded, draft.committed), (1, 0))

    def test_patienceBeginsAnew(self) -> None:
        """Every piece of what is said begins it anew."""
        client = self.client("EHLO pc")
        for _ in range(3):
            self.net.run(299)
            self.assertEqual(client.hear("NOOP"), ["250 2.0.0 Ok."])
        client.say(*OPEN[1:], "DATA")
        for _ in range(3):
            self.net.run(179)
            self.assertEqual(client.hear("a line"), [])
        self.assertEqual(client.hear("."), ["250 2.0.0 Message received ok. <B0000000186>"])
        self.net.run(299)
        self.assertIsNone(client.gone)

    def test_weAreSlow(self) -> None:
        """A commit may take longer than a client may: it is not the client who is silent."""
        (commits, client) = self.slow(), self.client(*OPEN, "DATA")
        self.assertEqual(client.hear("."), [])
        self.net.run(2000)
        commits[0].callback(None)
        self.assertEqual(client.hear(), ["250 2.0.0 Message received ok. <B0000000186>"])
        self.net.run(299)
        self.assertIsNone(client.gone)
        self.net.run(1)
        self.assertIsNotNone(client.gone)

    def test_lastWordsUntaken(self) -> None:
        """Who has our last words and does not close has five seconds for it."""
        client = self.client("EHLO pc", kind=Stubborn)
        self.net.run(300)
        self.assertTrue(client.over)
        self.net.run(4)
        self.assertIsNone(client.gone)
        self.net.run(1)
        self.assertTrue(client.gone.check(ConnectionLost))
        self.assertEqual(self.left(), (0, []))

    def test_lastWordsArrive(self) -> None:
        """Who is still sending when we have had enough hears why: the connection is not reset over our last words."""
        self.net.seconds = 0.05
        client = self.client("EHLO pc")
        client.write(b"nonsense\r\n" * 50000)
        self.net.run(30)
        told = client.hear()
        self.assertEqual(told[-2], "500 5.5.2 Syntax error, command unrecognized.")
        self.assertEqual(told[-1], "421 4.7.0 mx.test Too many errors, closing connection.")
        self.assertEqual(self.left(), (0, []))

    def test_slowContent(self) -> None:
        """Content may take ten minutes and a second for each 1,000 octets; who gives less is told 421 in the end."""
        slow, steady = self.client(*OPEN, "DATA"), self.client(*OPEN, "DATA")
        for _ in range(12):
            slow.write(b"x")
            steady.write(b"x" * 78 + b"\r\n" + b"y" * 99_920)
            self.net.run(100)
        self.assertEqual(slow.hear(), [SLOW])
        self.assertEqual(steady.hear("", "."), ["250 2.0.0 Message received ok. <B0000000187>"])

    # Back-pressure.

    def test_unreadReplies(self) -> None:
        """Of a client that sends and never reads we read no more; when it reads everything goes on, nothing is lost."""
        client = self.client("EHLO pc")
        (help_,) = client.hear("HELP")
        client.transport.pauseProducing()
        count = 100_000
        client.write(b"HELP\r\n" * count)
        self.net.run(60)
        oneRead = CHUNK // len("HELP\r\n") * len(help_ + "\r\n")
        self.assertGreater(len(self.wire.unsent), BUFFER)
        self.assertLess(len(self.wire.unsent), BUFFER + 2 * oneRead)
        self.assertGreater(len(client.transport.unsent), count * 6 - WINDOW - 3 * CHUNK)
        self.assertLessEqual(self.wire.protocol.session.unread, 2 * CHUNK)
        client.transport.resumeProducing()
        self.net.run(60)
        self.assertEqual(client.hear(), [help_] * count)
        self.assertEqual(client.hear("NOOP"), ["250 2.0.0 Ok."])

    def test_neverReads(self) -> None:
        """One that never reads again is cut, and what we kept for it is gone."""
        client = self.client("EHLO pc")
        client.transport.pauseProducing()
        client.write(b"HELP\r\n" * 100_000)
        self.net.run(305)
        self.assertEqual(self.left(), (0, []))
        self.assertEqual((len(self.wire.unsent), self.wire.connected), (0, False))

    def test_floodWhileUndecided(self) -> None:
        """What a client sends while its message is made durable is held to two reads; the replies come in order."""
        commits, client = self.slow(), self.client(*OPEN, "DATA")
        count = 60_000
        client.write(b"text\r\n.\r\n" + b"NOOP\r\n" * count)
        self.net.run(60)
        self.assertGreater(len(client.transport.unsent), count * 6 - WINDOW - 3 * CHUNK)
        self.assertLessEqual(self.wire.protocol.session.unread, 2 * CHUNK)
        commits[0].callback(None)
        told = client.hear()
        self.assertEqual(told, ["250 2.0.0 Message received ok. <B0000000186>"] + ["250 2.0.0 Ok."] * count)

    def test_manyMessagesWhileUndecided(self) -> None:
        """Of one that pipelines whole messages without end two reads are kept, however many of them are done."""
        commits, client = self.slow(), self.client("EHLO pc")
        message, count = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\n", 10_000
        client.write(message * count)
        for _ in range(1000):
            self.net.run(0.1)
            commits.pop().callback(None)
            self.assertLessEqual(self.wire.protocol.session.unread, 2 * CHUNK)
        while commits or self.net.run(1) or commits:
            commits.pop().callback(None)
        told = client.hear()
        self.assertEqual(
            ([line[:3] for line in told], len(self.house.drafts)), (["250", "250", "354", "250"] * count, count)
        )

    def test_manyMessagesUnheard(self) -> None:
        """Nor does one get replies without end that does not read them: its next message waits."""
        client = self.client("EHLO pc")
        client.transport.pauseProducing()
        commits = self.slow()
        message, count = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\n", 10_000
        client.write(message * count)
        for _ in range(count):
            self.net.run(0.1)
            if not commits:
                break
            commits.pop().callback(None)
        self.assertLess(len(self.wire.unsent), BUFFER + 1000)
        self.assertLessEqual(self.wire.protocol.session.unread, 2 * CHUNK)
        client.transport.resumeProducing()
        while commits or self.net.run(1) or commits:
            commits.pop().callback(None)
        self.assertEqual((len(client.hear()), len(self.house.drafts)), (4 * count, count))

    def test_pipelinedWhileUndecided(self) -> None:
        """The next message's commands wait for the end of this one, and keep their order."""
        commits, client = self.slow(), self.client(*OPEN, "DATA")
        said = ("one", ".", "MAIL FROM:<g@h.i>", "RCPT TO:<j@k.l>", "RCPT TO:<m@n.o>", "DATA")
        self.assertEqual(client.hear(*said), [])
        self.assertEqual(len(self.house.drafts), 1)
        commits[0].callback(None)
        received = "250 2.0.0 Message received ok."
        start = "354 Start mail input;id <B0000000187> end with <CRLF>.<CRLF>"
        self.assertEqual(client.hear(), [f"{received} <B0000000186>", *["250 2.0.0 fine"] * 3, start])
        self.assertEqual(client.hear("two", ".", "QUIT"), [])
        commits[1].callback(None)
        self.assertEqual(client.hear(), [f"{received} <B0000000187>", "221 2.0.0 mx.test closing connection."])
        one, two = self.house.drafts
        self.assertEqual((one.content, two.content), (b"one\r\n", b"two\r\n"))
        self.assertEqual(str(two.envelope.sender), "g@h.i")
        self.assertEqual([str(path) for path in two.envelope.recipients], ["j@k.l", "m@n.o"])

    def test_slowRecipients(self) -> None:
        """Recipients whose decision takes time are decided one after the other, and answered in order."""
        asked: list[Deferred[Reply]] = []

        def rcpt() -> "Deferred[Reply]":
            asked.append(Deferred())
            return asked[-1]

        client = self.client(*OPEN[:2])
        self.house.rcpt = rcpt
        self.assertEqual(client.hear("RCPT TO:<d@e.f>", "RCPT TO:<g@h.i>", "NOOP"), [])
        self.assertEqual(len(asked), 1)
        asked[0].callback(Reply(550, ("no",), "5.1.1"))
        self.assertEqual(client.hear(), ["550 5.1.1 no"])
        asked[1].callback(OK)
        self.assertEqual(client.hear(), ["250 2.0.0 fine", "250 2.0.0 Ok."])
        client.say("DATA")
        self.assertEqual([str(path) for path in self.house.drafts[0].envelope.recipients], ["g@h.i"])

    def test_brokenRecipient(self) -> None:
        """A recipient whose decision breaks is put off, and the others of the message stay."""
        client = self.client(*OPEN)
        self.house.rcpt = lambda: fail(RuntimeError("a bug"))
        self.assertEqual(client.hear("RCPT TO:<g@h.i>")[0][:3], "451")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        client.say("DATA")
        self.assertEqual([str(path) for path in self.house.drafts[0].envelope.recipients], ["d@e.f"])

    # The client is gone.

    def test_lostDuringTheCommit(self) -> None:
        """A client that is gone before its 250 changes nothing: the message is ours, and nobody is answered."""
        for leave in ("loseConnection", "abortConnection"):
            for outcome in (None, Refused(Reply(452, ("full",), "4.3.1"))):
                self.setUp()
                commits, client = self.slow(), self.client(*OPEN, "DATA")
                client.hear("text", ".")
                getattr(client.transport, leave)()
                self.net.run(1)
                self.assertEqual((len(self.crowd), self.log.ended, self.server.calls), (0, [1], []))
                commits[0].errback(outcome) if outcome else commits[0].callback(None)
                self.net.run(600)
                (draft,) = self.house.drafts
                self.assertEqual((draft.committed, draft.discarded, draft.content), (1, 0, b"text\r\n"))
                self.assertEqual((self.log.heard[1][-1][:3], self.server.calls), ("354", []))

    def test_lostDuringTheCommitWithMoreBehind(self) -> None:
        """What a lost client had pipelined behind that message is not done."""
        commits, client = self.slow(), self.client(*OPEN, "DATA")
        client.hear("text", ".", "MAIL FROM:<g@h.i>", "RCPT TO:<j@k.l>", "DATA", "more", ".")
        client.transport.abortConnection()
        self.net.run(1)
        commits[0].callback(None)
        self.net.run(600)
        self.assertEqual(len(self.house.drafts), 1)

    def test_lostInContent(self) -> None:
        """Half a message is nothing."""
        for leave in ("loseConnection", "abortConnection"):
            self.setUp()
            client = self.client(*OPEN, "DATA")
            client.hear("half")
            getattr(client.transport, leave)()
            self.net.run(1)
            (draft,) = self.house.drafts
            self.assertEqual((draft.committed, draft.discarded), (0, 1))
            self.assertEqual(self.left(), (0, []))

    def test_lostWhileARecipientIsAsked(self) -> None:
        """The answer comes and nobody is there."""
        client, answer = self.client(*OPEN[:2]), Deferred()
        self.house.rcpt = lambda: answer
        client.hear("RCPT TO:<d@e.f>")
        client.transport.abortConnection()
        self.net.run(1)
        answer.callback(OK)
        self.net.run(600)
        self.assertEqual(self.left(), (0, []))

    # We cannot.

    def test_commitFails(self) -> None:
        """A commit that fails is told, and the client may try again on the same connection."""
        client = self.client("EHLO pc")
        for reply in (
            Reply(451, ("Local error in processing.",), "4.3.0"),
            Reply(452, ("Insufficient system storage.",), "4.3.1"),
            Reply(554, ("too many Received: headers.",), "5.4.6"),
        ):
            self.house.end = lambda reply=reply: fail(Refused(reply))
            client.say(*OPEN[1:], "DATA")
            self.assertEqual(client.hear("."), [f"{reply.code} {reply.enhanced} {reply.lines[0]}"])
        self.house.end = lambda: succeed(None)
        client.say(*OPEN[1:], "DATA")
        self.assertEqual(client.hear("."), ["250 2.0.0 Message received ok. <B0000000189>"])

    def test_commitBreaks(self) -> None:
        """A defect of ours means not now, and stands in the log."""
        self.house.end = lambda: fail(RuntimeError("a bug"))
        client = self.client(*OPEN, "DATA")
        told = "451 4.3.0 Requested action aborted: local error in processing."
        self.assertEqual(client.hear("."), [told])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(client.hear("NOOP"), ["250 2.0.0 Ok."])

    def test_noNumber(self) -> None:
        """Where there is no number for a message MAIL is put off, and there is no transaction."""

        def number() -> int:
            raise Refused(Reply(451, ("no",), "4.3.0"))

        self.house.number = number
        client = self.client("EHLO pc")
        told = client.hear("MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>")
        self.assertEqual(told, ["451 4.3.0 no", "503 5.5.1 Bad sequence of commands, send MAIL first."])

    def test_announcedSize(self) -> None:
        """Whoever gives the number is told what size was announced, and so is who takes the content."""
        client = self.client("EHLO pc")
        client.hear("MAIL FROM:<a@b.c> SIZE=1234", "RCPT TO:<d@e.f>", "DATA", ".")
        client.hear("MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA", ".")
        self.assertEqual(self.house.sizes, [1234, 1234, 0, 0])

    def test_noRoom(self) -> None:
        """Where there is no room DATA is put off; the recipients stay, and a second DATA may do."""

        def data() -> None:
            raise Refused(Reply(452, ("full",), "4.3.1"))

        self.house.data = data
        client = self.client(*OPEN)
        self.assertEqual(client.hear("DATA"), ["452 4.3.1 full"])
        self.house.data = lambda: None
        client.say("DATA")
        self.assertEqual([str(path) for path in self.house.drafts[0].envelope.recipients], ["d@e.f"])

    # What was counted for a message, and is given back where it comes to nothing.

    def test_taken(self) -> None:
        """Nothing is given back of a message that was taken, whatever becomes of its client and of the next one."""
        commits, client = self.slow(), self.client(*OPEN, "DATA")
        client.hear(".")
        client.transport.loseConnection()
        self.net.run(1)
        commits[0].callback(None)
        self.net.run(1)
        self.assertIsNotNone(client.gone)
        self.house.end = lambda: succeed(None)
        for last in ("RSET", "EHLO pc", "QUIT"):
            client = self.client(*OPEN, "DATA")
            client.hear("text", ".", last)
            client.transport.loseConnection()
            self.net.run(10)
        self.assertEqual(self.house.back, [])

    def test_takenBefore(self) -> None:
        """What was counted for the message before stays so where only the next one comes to nothing."""
        client = self.client(*OPEN, "DATA")
        client.hear(".", "MAIL FROM:<a@b.c>", "RCPT TO:<j@k.l>", "RSET")
        self.assertEqual(self.house.back, ["j@k.l"])

    def test_givenBack(self) -> None:
        """It is given back once, for each recipient, however the message came to nothing."""
        both = (*OPEN, "RCPT TO:<j@k.l>")
        for lines in (("RSET",), ("EHLO pc",), ("QUIT",), ("DATA", "bare\n", "."), ("DATA", "half"), ()):
            self.house.back.clear()
            client = self.client(*both)
            client.hear(*lines)
            client.hear("RSET")
            client.transport.loseConnection()
            self.net.run(10)
            self.assertEqual((lines, self.house.back), (lines, ["d@e.f", "j@k.l"]))

    def test_givenBackUncommitted(self) -> None:
        """So it is where the message cannot be stored, also when its client has gone, and for a next one anew."""
        self.house.end = lambda: fail(Refused(Reply(452, ("full",), "4.3.1")))
        client = self.client(*OPEN, "DATA")
        self.assertEqual((client.hear("."), self.house.back), (["452 4.3.1 full"], ["d@e.f"]))
        commits = self.slow()
        client.hear(*OPEN[1:], "DATA", ".")
        self.assertEqual(self.house.back, ["d@e.f"])
        client.transport.loseConnection()
        self.net.run(1)
        commits[0].errback(Refused(Reply(451, ("no",), "4.3.0")))
        self.net.run(10)
        self.assertEqual(self.house.back, ["d@e.f"] * 2)

    def test_givenBackRefusedAtData(self) -> None:
        """Where DATA is put off the recipients stay counted: a second DATA may do."""

        def data() -> None:
            raise Refused(Reply(452, ("full",), "4.3.1"))

        self.house.data = data
        client = self.client(*OPEN)
        client.hear("DATA")
        self.assertEqual(self.house.back, [])
        client.hear("RSET")
        self.assertEqual(self.house.back, ["d@e.f"])

    def test_givenBackTooLate(self) -> None:
        """Whose recipient is counted when he has gone, or was told to leave, has it back."""
        for told in (False, True):
            self.house.back.clear()
            self.house.rcpt = lambda: OK
            client, answer = self.client(*OPEN), Deferred()
            self.house.rcpt = lambda answer=answer: answer
            client.hear("RCPT TO:<j@k.l>")
            if told:
                self.crowd.disperse(self.server, 10)
            else:
                client.transport.loseConnection()
            self.net.run(1)
            answer.callback(OK)
            self.net.run(10)
            self.assertEqual((sorted(self.house.back), self.server.calls), (["d@e.f", "j@k.l"], []))

    # Taking leave.

    def test_disperse(self) -> None:
        """A daemon that stops tells the idle at once and lets messages at hand come to their end."""
        commits = self.slow()
        idle, begun = self.client("EHLO pc"), self.client(*OPEN)
        sending, waiting = self.client(*OPEN, "DATA"), self.client(*OPEN, "DATA")
        waiting.hear("text", ".")
        gone = self.crowd.disperse(self.server, 10)
        self.assertEqual((idle.hear(), begun.hear()), ([BYE], [BYE]))
        self.assertEqual((sending.hear(), waiting.hear()), ([], []))
        sending.hear("text", ".")
        for commit in commits:
            commit.callback(None)
        received = "250 2.0.0 Message received ok."
        self.assertEqual(sending.hear(), [f"{received} <B0000000186>", BYE])
        self.assertEqual(waiting.hear(), [f"{received} <B0000000187>", BYE])
        self.successResultOf(gone)
        self.assertTrue(all(client.gone for client in (idle, begun, sending, waiting)))
        self.assertEqual(self.server.calls, [])

    def test_disperseThePipelining(self) -> None:
        """What was pipelined behind the message at hand is not begun."""
        commits, client = self.slow(), self.client(*OPEN, "DATA")
        client.hear(".", "MAIL FROM:<g@h.i>", "RCPT TO:<j@k.l>", "DATA")
        self.crowd.disperse(self.server, 10)
        commits[0].callback(None)
        self.assertEqual(client.hear(), ["250 2.0.0 Message received ok. <B0000000186>", BYE])

    def test_disperseTheFaulty(self) -> None:
        """Whose content has come to nothing is told at once: its end is not waited for."""
        client = self.client(*OPEN, "DATA")
        self.crowd.disperse(self.server, 10)
        self.assertEqual(client.hear("good"), [])
        self.assertEqual(client.hear("bare\nlf", "more"), [BYE])

    def test_disperseTheStubborn(self) -> None:
        """Who does not come to an end is cut: in content, in a commit, and behind our last words."""
        self.slow()
        clients = [self.client(*OPEN, "DATA"), self.client(*OPEN, "DATA"), self.client("EHLO pc", kind=Stubborn)]
        clients[1].hear(".")
        gone = self.crowd.disperse(self.server, 3)
        self.net.run(2)
        self.assertNoResult(gone)
        self.net.run(1)
        self.successResultOf(gone)
        self.assertEqual([draft.discarded for draft in self.house.drafts], [1, 0])
        self.assertEqual(self.server.calls, [])

    def test_leaveWhileUndecided(self) -> None:
        """Whose recipient is being decided is told to leave at once; the answer comes too late and is not said."""
        client, answer = self.client(*OPEN[:2]), Deferred()
        self.house.rcpt = lambda: answer
        client.hear("RCPT TO:<d@e.f>", "DATA")
        self.crowd.disperse(self.server, 10)
        self.assertEqual(client.hear(), [BYE])
        answer.callback(OK)
        self.net.run(10)
        self.assertEqual((client.hear(), self.server.calls), ([], []))

    def test_tooMany(self) -> None:
        """One connection too many of an address is refused, and has another chance when one of the others has left."""
        clients = [self.client() for _ in range(8)]
        last = Client(self.office, SERVER)
        self.assertEqual(last.hear()[-1:], ["421 mx.test Service not available, too many connections."])
        self.assertIsNotNone(last.gone)
        self.assertEqual(len(self.crowd), 8)
        clients[0].say("QUIT")
        self.net.run(1)
        self.assertEqual(self.client("EHLO pc").said[0][:3], "220")

    def test_refusedBeforeTheGreeting(self) -> None:
        """The 421 stands in the place of the greeting (RFC 5321 3.1; docs/operate.md)."""
        for _ in range(8):
            self.client()
        told = ["421 mx.test Service not available, too many connections."]
        self.assertEqual(Client(self.office, SERVER).hear(), told)

    def test_toldTogether(self) -> None:
        """Whoever connects as often as he likes does not fill the daemon's log: the first of a minute has its line."""
        for _ in range(8):
            self.client()
        with capturedLogs() as events:
            for _ in range(5):
                Client(self.office, SERVER).hear()
            told = "refused: 421 4.7.0 mx.test Service not available, too many connections."
            self.assertEqual([formatEvent(event) for event in events], [f"{CLIENT} {told}"])
            self.net.run(60)
            self.assertEqual([formatEvent(event) for event in events[1:]], [f"4 more from {CLIENT}: {told}"])

    def test_silenceIsCounted(self) -> None:
        """Nor does whoever is silent in as many connections as he may have."""
        with capturedLogs() as events:
            for _ in range(8):
                self.client()
            self.net.run(300 + 60)
            told = "was silent, or slow with its content, for too long"
            self.assertEqual(
                [formatEvent(event) for event in events], [f"{CLIENT} {told}", f"7 more from {CLIENT}: {told}"]
            )

    def test_whoGivesWay(self) -> None:
        """Where all places are taken the one that was silent longest gives way; whose message is at hand does not."""
        others = [self.net.host(f"192.0.2.{number}") for number in (10, 11)]
        busy = self.client(*OPEN, "DATA")
        idle = [self.client() for _ in range(7)]
        idle[0].hear("NOOP")
        for host in others:
            client = Client(host, SERVER)
            self.assertEqual(client.reply()[0][:3], "220")
        self.assertEqual([[line[:3] for line in client.hear()] for client in idle], [[], ["421"], *[[]] * 5])
        self.assertEqual(busy.hear("."), ["250 2.0.0 Message received ok. <B0000000186>"])
