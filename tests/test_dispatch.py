"""The queue service, in memory, with a clock that stands at the seed's afternoon."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.dispatch import PAUSE, Dispatcher
from epost.errand import Desk, Errand, Open
from epost.interfaces import ICarrier, IChannel, IReplies, IRouter, ISenderLog, Parcel, Report
from epost.lanes import REST, Lanes, Limits
from epost.mail.address import Address, parseAddress
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused, Reply
from epost.mail.retry import HOUR, Patience
from epost.mail.route import Held, Hop, Local, Nowhere, Onward, Route
from epost.returns import Letterhead
from tests.storage.memory import MemoryInbox, MemorySpool

QUEUED = 1246865254.0  # 2009-07-06 16:27:34 +0900
GATE = Onward("192.168.0.103:25", (Hop("192.168.0.103"),), forwards=True)
OK = Reply(250, ("Message received ok.",))
NO = Reply(550, ("Please, mail from a valid IP or Domain address.",))
LATER = Reply(451, ("Try again later.",))
FULL = Reply(450, ("Sorry. e-mail address box is full.",), "4.2.2")

Answer = Callable[[Parcel], "tuple[Reply, ...] | Deferred[Report]"]


@implementer(IRouter)
class TableRouter:
    """Routes by address, else by domain, else to the gateway. @ivar faults: what the next calls raise."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.faults: list[Exception] = []

    def expand(self, address: Address) -> tuple[Address, ...]:
        """By a table."""
        return tuple(map(parseAddress, self.aliases.get(str(address), ()))) or (address,)

    def route(self, address: Address) -> Route:
        """By a table."""
        if self.faults:
            raise self.faults.pop(0)
        found = self.routes.get(str(address)) or self.routes.get(address.domain)
        if found is None and address.domain == "test.jp":
            return Local(address.local.lower(), "test.jp")
        return found or GATE


@implementer(ISenderLog)
@dataclass
class RecorderLog:
    """Keeps what is logged, in order, in a short form."""

    lines: list[str] = field(default_factory=list)

    def trying(self, name: Name, domain: str, now: float, then: float, tries: int) -> None:
        """Times after queueing."""
        self.lines.append(f"{name} {domain} now+{now - QUEUED:.0f} then+{then - QUEUED:.0f} {tries}")

    def connecting(self, name: Name, host: str) -> None:
        """A connection."""
        self.lines.append(f"{name} ConnectHost({host})")

    def heard(self, name: Name, reply: Reply) -> None:
        """A reply."""
        self.lines += [f"{name} < {line}" for line in reply.written(False)]

    def said(self, name: Name, command: str) -> None:
        """A command."""
        self.lines.append(f"{name} > {command}")

    def returning(
        self, name: Name, sender: Address, domain: str, server: str, now: float, then: float, tries: int
    ) -> None:
        """A return."""
        self.lines.append(
            f"{name} return {sender} {domain} [{server}] now+{now - QUEUED:.0f} then+{then - QUEUED:.0f} {tries}"
        )


@implementer(IReplies)
class Away:
    """user1 is away. @ivar told: what arrived for him, by which address and with which header."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []

    def awaits(self, box: Local, envelope: Envelope) -> bool:
        """Only who has an address may get a reply."""
        return box.user == "user1" and envelope.sender is not None

    def arrived(self, box: Local, recipient: Address, envelope: Envelope, header: bytes) -> None:
        """Note it."""
        self.told.append((str(recipient), header))


@implementer(ICarrier)
class ScriptedCarrier:
    """
    Answers parcels by script.

    @ivar answer: gives the replies for a parcel, or a Deferred that the test fires.
    @ivar sent: every parcel with its content, in order.
    @ivar channels: every channel that was made.
    """

    def __init__(self, log: RecorderLog, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self.answer: Answer = lambda parcel: (OK,) * len(parcel.recipients)
        self.sent: list[tuple[Parcel, bytes]] = []
        self.channels: list[ScriptedChannel] = []

    def channel(self, route: Onward) -> "ScriptedChannel":
        """Remember it."""
        self.channels.append(ScriptedChannel(self, route))
        return self.channels[-1]

    def probe(self, route: Onward, address: Address, sender: Address | None) -> Deferred[Reply]:
        """Nobody asks here."""
        return succeed(OK)


@implementer(IChannel)
@dataclass(eq=False)
class ScriptedChannel:
    """A channel that logs as a real one does, as far as a 550 to MAIL goes. @ivar sent: parcels on it."""

    carrier: ScriptedCarrier
    route: Onward
    sent: int = 0
    name: Name | None = None
    quits: int = 0

    def send(self, parcel: Parcel) -> Deferred[Report]:
        """Answer by script."""
        log, self.name = self.carrier.log, parcel.name
        if not self.sent:
            log.connecting(parcel.name, self.route.hops[0].host if self.route.hops else self.route.destination)
        self.sent += 1
        self.carrier.sent.append((parcel, b"".join(parcel.content.parts())))
        log.said(parcel.name, f"MAIL From: <{parcel.envelope.sender or ''}>")
        replies = self.carrier.answer(parcel)
        return replies if isinstance(replies, Deferred) else succeed(Report(replies, "host:25"))

    def quit(self) -> None:
        """Say so."""
        self.quits += 1
        if self.name is not None:
            self.carrier.log.said(self.name, "QUIT")


class DispatchCase(SynchronousTestCase):
    """A back-end's queue."""

    limits = Limits()

    def setUp(self) -> None:
        """The seed's afternoon, in Japan."""
        self.addCleanup(self.zone, os.environ.get("TZ"))
        self.zone("Asia/Tokyo")
        self.clock = Clock()
        self.clock.advance(QUEUED)
        self.spool, self.inbox, self.router, self.log = MemorySpool(), MemoryInbox(), TableRouter(), RecorderLog()
        self.carrier = ScriptedCarrier(self.log, self.clock)
        self.letterhead = Letterhead(lambda sender: "test.jp", "192.168.0.103")
        self.number = 185
        self.away = Away()
        self.copied: list[str] = []
        self.start()

    def zone(self, name: str | None) -> None:
        """Change the local time."""
        os.environ.pop("TZ", None)
        if name is not None:
            os.environ["TZ"] = name
        time.tzset()

    def start(self, patience: Patience | None = None) -> None:
        """Start a dispatcher on what stands in the spool."""
        self.dispatcher = Dispatcher(
            self.spool,
            self.inbox,
            self.router,
            self.carrier,
            self.log,
            self.clock,
            self.letterhead,
            patience,
            self.limits,
            replies=self.away,
            copied=self.copied.append,
        )
        self.dispatcher.startService()
        self.clock.advance(0)

    def restart(self) -> None:
        """The process dies and another one starts; what was under way is heard of no more."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.spool = self.spool.reborn()
        self.start()

    def accept(
        self,
        *recipients: str,
        sender: str | None = "baito@test.jp",
        content: bytes = b"a: b\r\n\r\n",
        client: str = "192.168.0.7",
    ) -> Entry:
        """The intake, or where there is no client L{epost.letters}, has made a message durable and hands it over."""
        self.number += 1
        name = numbered(self.number)
        path = parseAddress(sender) if sender else None
        envelope = Envelope(path, tuple(map(parseAddress, recipients)), client=client)
        now = self.clock.seconds()
        draft = self.spool.draft(name, envelope, now)
        draft.write(content)
        self.successResultOf(draft.commit())
        entry = Entry(name, envelope, now, len(content))
        self.dispatcher.accepted(entry)
        return entry

    def refuse(self, *replies: Reply) -> None:
        """The other side gives these replies, to all recipients, one a transaction, the last one for ever."""
        script = list(replies)
        self.carrier.answer = lambda parcel: (
            ((script.pop(0) if len(script) > 1 else script[0]),) * len(parcel.recipients)
        )

    def box(self, user: str) -> dict[str, bytes]:
        """A mailbox in test.jp."""
        return self.inbox.boxes.get(Local(user, "test.jp"), {})

    def pump(self, seconds: Iterable[float]) -> None:
        """Let time pass."""
        self.clock.pump(seconds)


class SeedTests(DispatchCase):
    """The seed, told by the dispatcher."""

    def test_fakesKeepTheirPromise(self) -> None:
        """The fakes of this file have the interfaces that they claim."""
        verifyObject(IRouter, self.router)
        verifyObject(ISenderLog, self.log)
        verifyObject(ICarrier, self.carrier)
        verifyObject(IChannel, self.carrier.channel(GATE))

    def test_story(self) -> None:
        """Refused at once, refused again after two minutes, returned: the senderlog's lines in the seed's order."""
        pending: list[Deferred[Report]] = []

        def answer(parcel: Parcel) -> Deferred[Report]:
            pending.append(Deferred())
            return pending[-1]

        self.carrier.answer = answer
        self.accept("user2@test-sample00.jp", content=b"subject:test4\r\n\r\n")
        self.clock.advance(1)
        pending.pop().callback(Report((NO,), "192.168.0.103:25"))
        self.assertEqual(
            self.log.lines,
            [
                "B0000000186 test-sample00.jp now+0 then+0 0",
                "B0000000186 ConnectHost(192.168.0.103)",
                "B0000000186 > MAIL From: <baito@test.jp>",
                "B0000000186 > QUIT",
                "B0000000186 test-sample00.jp now+1 then+0 0",
            ],
        )
        self.assertEqual([str(entry.name) for entry in self.spool.entries.values()], ["B0000000186-R0001"])
        self.log.lines.clear()
        self.clock.advance(118.9)
        self.assertEqual(self.log.lines, [])
        self.clock.advance(0.1)
        self.clock.advance(1)
        pending.pop().callback(Report((NO,), "192.168.0.103:25"))
        self.assertEqual(
            self.log.lines,
            [
                "B0000000186-R0001 test-sample00.jp now+120 then+120 1",
                "B0000000186-R0001 ConnectHost(192.168.0.103)",
                "B0000000186-R0001 > MAIL From: <baito@test.jp>",
                "B0000000186-R0001 > QUIT",
                "B0000000186-R0001 test-sample00.jp now+121 then+121 1",
                "B0000000186-R0001 return baito@test.jp test.jp [192.168.0.103] now+121 then+121 1",
            ],
        )
        self.assertEqual(self.spool.count(), 0)
        notice = self.box("baito")["B0000000186-R0001-E001"].decode()
        self.assertTrue(
            notice.startswith(
                "Return-Path: <>\r\nDelivered-To: baito@test.jp\r\nSubject: Delivery failure\r\n"
                "From: postmaster@test.jp\r\nTo: baito@test.jp\r\nDate: Mon, 06 Jul 2009 16:29:35 +0900\r\n"
                "Message-Id: <B0000000186@test.jp>\r\n"
            )
        )
        self.assertIn("\r\nuser2@test-sample00.jp\r\n\r\n> 550 Please, mail from a valid IP", notice)
        self.assertIn("\r\nContent-Type: message/rfc822\r\n\r\nsubject:test4\r\n", notice)

    def test_inside(self) -> None:
        """Mail to colleagues never touches the gateway, and writes only the GetTryServer lines."""
        self.accept("bucho@test.jp", "kacho@test.jp")
        self.assertEqual(
            self.log.lines,
            ["B0000000186 test.jp now+0 then+0 0", "B0000000186 test.jp now+0 then+0 0"],
        )
        self.assertEqual(
            self.box("bucho"),
            {"B0000000186": b"Return-Path: <baito@test.jp>\r\nDelivered-To: bucho@test.jp\r\na: b\r\n\r\n"},
        )
        self.assertEqual(list(self.box("kacho")), ["B0000000186"])
        self.assertEqual((self.spool.count(), self.carrier.channels), (0, []))


class OutcomeTests(DispatchCase):
    """What becomes of each recipient."""

    def test_onlyTheFailedAgain(self) -> None:
        """Of three recipients of one destination only the one that was put off is tried again."""
        self.carrier.answer = lambda parcel: tuple(LATER if str(r) == "b@x.jp" else OK for r in parcel.recipients)
        self.accept("a@x.jp", "b@x.jp", "c@x.jp")
        self.refuse(OK)
        self.clock.advance(120)
        self.assertEqual([[str(r) for r in p.recipients] for p, _ in self.carrier.sent][1], ["b@x.jp"])
        self.assertEqual(len(self.carrier.sent[0][0].recipients), 3)
        self.assertEqual(str(self.carrier.sent[1][0].name), "B0000000186-R0001")
        self.assertEqual(self.spool.count(), 0)

    def test_domainsOfOneTransaction(self) -> None:
        """Where one transaction carries several domains the lines stand once for each, and again for what failed."""
        self.carrier.answer = lambda parcel: tuple(NO if r.domain == "y.jp" else OK for r in parcel.recipients)
        self.accept("a@x.jp", "b@y.jp", "c@x.jp")
        lines = [line for line in self.log.lines if "now" in line]
        self.assertEqual([line.split()[1] for line in lines], ["x.jp", "y.jp", "y.jp"])

    def test_severalDestinations(self) -> None:
        """Each destination has its own attempt count; the file's name carries the highest of them."""
        mx = Onward("mx.jp")
        self.router.routes["mx.jp"] = mx
        self.carrier.answer = lambda parcel: (LATER,) if parcel.recipients[0].domain == "mx.jp" else (NO,)
        self.start(Patience(refused=(60, 6000), deferred=(100, 6000)))
        self.accept("a@mx.jp", "b@x.jp")
        self.clock.advance(60)
        self.assertEqual([str(entry.name) for entry in self.spool.entries.values()], ["B0000000186-R0002"])
        self.log.lines.clear()
        self.clock.advance(40)
        self.assertEqual(self.log.lines[0], "B0000000186-R0001 mx.jp now+100 then+100 1")

    def test_oneNoticeForAll(self) -> None:
        """Recipients that fail together are told of in one notice, each with the reply that it got."""
        self.router.routes |= {
            "nowhere.jp": Nowhere(Reply(550, ("No such domain.",), "5.1.2")),
            "mx.jp": Onward("mx.jp"),
        }
        self.carrier.answer = lambda parcel: tuple(Reply(554, (f"not {r.local}",)) for r in parcel.recipients)
        self.accept("a@mx.jp", "b@mx.jp", "c@nowhere.jp", "bucho@test.jp")
        self.assertEqual(list(self.box("baito")), ["B0000000186-E001"])
        notice = self.box("baito")["B0000000186-E001"]
        for said in (
            b"a@mx.jp\r\n\r\n> 554 not a\r\n",
            b"b@mx.jp\r\n\r\n> 554 not b\r\n",
            b"> 550 5.1.2 No such domain.",
        ):
            self.assertIn(said, notice)
        self.assertNotIn(b"bucho", notice)
        self.assertEqual((len(self.box("bucho")), self.spool.count()), (1, 0))

    def test_secondNotice(self) -> None:
        """Recipients that fail later are told of in a second notice, under its own number and Message-Id."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        self.accept("a@mx.jp", "b@x.jp")
        self.clock.advance(120)
        names = sorted(self.box("baito"), key=lambda name: name[-4:])
        self.assertEqual([name[-4:] for name in names], ["E001", "E002"])
        self.assertIn(f"Message-Id: <{names[1]}@test.jp>".encode(), self.box("baito")[names[1]])

    def test_onceInAMailbox(self) -> None:
        """Several recipients that lead to one mailbox make one copy, also where they are tried at different times."""
        self.router.routes |= {"x@test.jp": Local("bucho", "test.jp"), "y@test.jp": Held("gateway.dat:1")}
        self.accept("bucho@test.jp", "x@test.jp", "y@test.jp")
        self.assertEqual(list(self.box("bucho")), ["B0000000186"])
        self.router.routes["y@test.jp"] = Local("bucho", "test.jp")
        self.inbox.boxes.clear()
        self.dispatcher.lookAgain()
        self.assertEqual((self.box("bucho"), self.spool.count()), ({}, 0))

    def test_fullBox(self) -> None:
        """A mailbox that takes nothing now is tried again as another host is."""
        self.inbox.ticks.faults.append(FULL)
        self.accept("bucho@test.jp")
        self.assertEqual((self.box("bucho"), self.spool.count()), ({}, 1))
        self.clock.advance(120)
        self.assertEqual(list(self.box("bucho")), ["B0000000186-R0001"])

    def test_warningOfAFullBox(self) -> None:
        """What we warn somebody of goes into a full mailbox: it may say just that. Nothing else does, no reply."""
        self.inbox.full = FULL
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        self.accept("baito@test.jp", sender=None)  # a notice from elsewhere
        self.accept("a@mx.jp")  # a notice of ours
        self.assertEqual(self.box("baito"), {})
        self.accept("baito@test.jp", sender=None, client="")
        self.accept("baito@test.jp", sender=None, client="", content=b"Auto-Submitted: auto-replied\r\n\r\n")
        self.assertEqual(list(self.box("baito")), ["B0000000188"])
        self.inbox.full = None
        self.clock.advance(120)
        later = [f"{name}-R0001" for name in ("B0000000186", "B0000000187-E001", "B0000000189")]
        self.assertEqual(sorted(self.box("baito")), sorted([*later, "B0000000188"]))

    def test_manyRecipients(self) -> None:
        """No transaction has more than 100 recipients."""
        self.accept(*(f"u{n}@x.jp" for n in range(250)))
        self.assertEqual([len(parcel.recipients) for parcel, _ in self.carrier.sent], [100, 100, 50])
        self.assertEqual(self.spool.count(), 0)

    def test_expires(self) -> None:
        """Where nobody answers tries go on until patience ends; then the sender is told with the last reply."""
        self.start(Patience(expire=2 * HOUR, warn=HOUR * 99))
        self.refuse(LATER)
        self.accept("a@x.jp")
        self.pump([60] * 119)
        self.assertEqual([p.name.retry for p, _ in self.carrier.sent], [0, 1, 2, 3, 4, 5])
        self.assertIn(b"> 451 Try again later.", self.box("baito")["B0000000186-R0005-E001"])

    def test_held(self) -> None:
        """Held mail rests, over a restart too, is not warned of, and goes when the table has changed."""
        self.router.routes["hold.example"] = Held("gateway.dat:3")
        entry = self.accept("a@hold.example")
        self.assertEqual(self.dispatcher.counts().held, 1)
        self.assertEqual(self.spool.entries[entry.name.stem].attempts[0].host, "gateway.dat:3")
        self.clock.advance(10 * 24 * HOUR)
        self.restart()
        self.dispatcher.lookAgain()
        self.assertEqual((self.carrier.sent, self.dispatcher.counts().held, self.box("baito")), ([], 1, {}))
        del self.router.routes["hold.example"]
        self.dispatcher.lookAgain()
        self.assertEqual((len(self.carrier.sent), self.spool.count()), (1, 0))
        self.assertEqual(len(self.spool.entries), 0)

    def test_longOriginal(self) -> None:
        """A message that is longer than the letterhead has it returns its header alone."""
        self.letterhead = Letterhead(lambda sender: "test.jp", "", octets=100)
        self.start(Patience(refused=()))
        self.refuse(NO)
        for size in (10, 1000):
            self.accept("x@x.jp", content=b"Subject: s\r\n\r\n" + b"b" * size)
        short, long = self.box("baito").values()
        self.assertIn(b"b" * 10, short)
        self.assertNotIn(b"b" * 10, long)
        self.assertIn(b"Subject: s\r\n", long)

    def test_roomIsLetGo(self) -> None:
        """What kept room for copies hears when they are made, or could not be, and not before."""
        self.inbox.ticks.manual = True
        self.accept("user1@test.jp", "bucho@test.jp")
        self.assertEqual(self.copied, [])
        self.inbox.ticks.tick()
        self.assertEqual(self.copied, ["B0000000186"])
        self.inbox.ticks.faults.append(FULL)
        self.accept("user1@test.jp", "bucho@test.jp")
        self.inbox.ticks.tick()
        self.assertEqual(self.copied, ["B0000000186", "B0000000187"])

    def test_roomOfWhatIsGone(self) -> None:
        """Nor is any kept for what was lost while it waited for its turn."""
        self.limits = Limits(open=1)
        self.start()
        self.inbox.ticks.manual = True
        self.accept("user1@test.jp", "bucho@test.jp")
        self.spool.remove(self.accept("user1@test.jp", "bucho@test.jp"))
        self.inbox.ticks.tick()
        self.assertEqual(sorted(self.copied), ["B0000000186", "B0000000187"])

    def test_manyMailboxes(self) -> None:
        """What goes into mailboxes is recorded in one write, each with its outcome; a full one holds up no other."""
        records: list[tuple[Attempt, ...]] = []
        record = self.spool.record
        self.patch(self.spool, "record", lambda entry, *more: (records.append(more), record(entry, *more))[1])
        deliver = self.inbox.deliver
        self.patch(
            self.inbox,
            "deliver",
            lambda box, *rest: fail(Refused(LATER)) if box.user == "kacho" else deliver(box, *rest),
        )
        entry = self.accept("user1@test.jp", "kacho@test.jp", "bucho@test.jp")
        (together,) = records
        self.assertEqual([attempt.host for attempt in together], [f"{u}@test.jp" for u in ("user1", "kacho", "bucho")])
        self.assertEqual([len(self.box(user)) for user in ("user1", "kacho", "bucho")], [1, 0, 1])
        self.assertEqual(list(self.spool.entries[entry.name.stem].pending()), [1])

    def test_heldBesideOthers(self) -> None:
        """What is held holds up nobody else of the same message."""
        self.router.routes["hold.example"] = Held("gateway.dat:3")
        self.refuse(LATER, OK)
        self.accept("a@hold.example", "b@x.jp", "bucho@test.jp")
        self.clock.advance(120)
        self.assertEqual([p.name.retry for p, _ in self.carrier.sent], [0, 1])
        self.assertEqual((len(self.box("bucho")), self.spool.count()), (1, 1))
        self.router.routes.clear()
        self.dispatcher.lookAgain()
        self.assertEqual(self.spool.count(), 0)


class AwayTests(DispatchCase):
    """Who is away is told of what arrives."""

    def test_told(self) -> None:
        """Once it is durable in his mailbox, with its header; nobody is of a notice or for others."""
        verifyObject(IReplies, self.away)
        self.inbox.ticks.manual = True
        self.accept("user1@test.jp", "user2@test.jp")
        self.assertEqual(self.away.told, [])
        self.inbox.ticks.tick()
        self.assertEqual(self.away.told, [("user1@test.jp", b"a: b\r\n\r\n")])
        self.accept("user1@test.jp", "user2@test.jp", sender=None)
        self.inbox.ticks.tick()
        self.assertEqual(len(self.away.told), 1)

    def test_notDelivered(self) -> None:
        """What the mailbox does not take is told of when it does, once."""
        self.inbox.ticks.faults.append(LATER)
        self.accept("user1@test.jp")
        self.assertEqual(self.away.told, [])
        self.pump([HOUR])
        self.assertEqual(len(self.away.told), 1)


class NoticeTests(DispatchCase):
    """Who is told what."""

    def test_warning(self) -> None:
        """After four hours the sender is told of the delay, once, and until when tries go on."""
        self.refuse(LATER)
        self.accept("a@x.jp")
        self.pump([600] * 23)
        self.assertEqual(self.box("baito"), {})
        self.pump([600] * 12)
        (name,) = self.box("baito")
        self.assertTrue(name.endswith("-W001"))
        self.assertIn(b"Attempts go on until Sat, 11 Jul 2009 16:27:34 +0900.", self.box("baito")[name])
        self.assertEqual(self.spool.count(), 1)

    def test_senderOutside(self) -> None:
        """A notice to a sender elsewhere is a message of the queue, from nobody, under its own name."""
        self.refuse(NO, OK)
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.accept("a@mx.jp", sender="s@elsewhere.jp")
        parcel, content = self.carrier.sent[1]
        self.assertEqual((str(parcel.name), parcel.envelope.sender), ("B0000000186-E001", None))
        self.assertEqual([str(r) for r in parcel.recipients], ["s@elsewhere.jp"])
        self.assertIn(b"> 550 Please, mail", content)
        self.assertEqual(self.spool.count(), 0)

    def test_noticeUndeliverable(self) -> None:
        """A notice that cannot be delivered is not returned: it goes to dead, with the reason."""
        self.router.routes |= {"mx.jp": Onward("mx.jp"), "elsewhere.jp": Onward("elsewhere.jp")}
        self.refuse(NO)
        self.accept("a@mx.jp", sender="s@elsewhere.jp")
        self.assertEqual(list(self.spool.dead), ["B0000000186-E001"])
        self.assertEqual(
            self.spool.dead["B0000000186-E001"][1],
            "s@elsewhere.jp: 550 Please, mail from a valid IP or Domain address.",
        )
        self.assertEqual((self.spool.count(), len(self.carrier.sent)), (0, 2))

    def test_fromNobody(self) -> None:
        """Mail of others without a sender goes to dead too, when the last of its recipients has ended."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.carrier.answer = lambda parcel: (NO,) if parcel.recipients[0].domain == "mx.jp" else (LATER,)
        self.accept("a@mx.jp", "b@x.jp", sender=None)
        self.assertEqual((self.spool.count(), self.spool.dead), (1, {}))
        self.refuse(OK)
        self.clock.advance(120)
        self.assertEqual((self.spool.count(), list(self.spool.dead)), (0, ["B0000000186-R0001"]))

    def test_automaticReply(self) -> None:
        """One of ours that cannot be delivered to all is given up with a line in the log; nobody lacks it."""
        told: list[str] = []

        def hear(event: LogEvent) -> None:
            told.append(str(formatEvent(event)))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(Reply(550, ("no\x1b[2J",)))
        content = b"Subject: x\r\nAuto-Submitted: auto-replied\r\n\r\n"
        self.accept("a@mx.jp", "bucho@test.jp", sender=None, content=content, client="")
        self.assertEqual((len(self.box("bucho")), self.spool.count(), self.spool.dead), (1, 0, {}))
        self.assertEqual(told, ["B0000000186: an automatic reply is given up: a@mx.jp: 550 no\\x1b[2J"])

    def test_noAutomaticReply(self) -> None:
        """A warning of ours, and whatever others wrote without a sender, goes to dead, whatever it says it is."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        reply, warning = (b"Auto-Submitted: auto-%b\r\n\r\n" % kind for kind in (b"replied", b"generated"))
        self.accept("a@mx.jp", sender=None, content=warning, client="")
        self.accept("a@mx.jp", sender=None, content=reply)
        self.assertEqual(sorted(self.spool.dead), ["B0000000186", "B0000000187"])

    def test_fullBoxOfTheSender(self) -> None:
        """Where the sender's mailbox takes nothing the notice waits in the queue, and is delivered later."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        self.inbox.ticks.faults += [FULL, FULL]
        self.accept("a@mx.jp")
        self.assertEqual(list(self.spool.entries), ["B0000000186-E001"])
        self.clock.advance(120)
        self.assertEqual(list(self.box("baito")), ["B0000000186-E001-R0001"])

    def test_alias(self) -> None:
        """A sender that is an alias of several is told through all of them."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.router.aliases["sales@test.jp"] = ("bucho@test.jp", "kacho@test.jp")
        self.refuse(NO)
        self.accept("a@mx.jp", sender="sales@test.jp")
        self.assertEqual((len(self.box("bucho")), len(self.box("kacho"))), (1, 1))

    def test_noticeFirst(self) -> None:
        """The original is kept until the notice about it is durable; a crash between repeats it under one name."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        entry = self.accept("bucho@test.jp", "a@mx.jp")
        self.inbox.ticks.manual = True
        self.clock.advance(1)
        entry = self.accept("a@mx.jp")
        self.assertIn(entry.name.stem, self.spool.entries)
        self.inbox.ticks.tick()
        self.assertNotIn(entry.name.stem, self.spool.entries)
        entry = self.accept("a@mx.jp")
        self.inbox.ticks.waiting.clear()  # the machine dies
        self.inbox.ticks.manual = False
        sent = len(self.carrier.sent)
        self.restart()
        self.assertEqual(len(self.carrier.sent), sent)
        self.assertIn(f"{entry.name}-E001", self.box("baito"))
        self.assertEqual(self.spool.count(), 0)

    def test_diskFull(self) -> None:
        """Where not even the queue takes the notice the original stays, and the notice is written later."""
        self.router.routes["mx.jp"] = Onward("mx.jp")
        self.refuse(NO)
        entry = self.accept("kacho@test.jp", "x@x.jp", sender="s@elsewhere.jp")
        self.assertIn(entry.name.stem, self.spool.entries)
        pending: Deferred[Report] = Deferred()
        self.carrier.answer = lambda parcel: pending
        second = self.accept("a@mx.jp", sender="s@elsewhere.jp")
        self.spool.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        pending.callback(Report((NO,), "mx.jp:25"))
        self.assertEqual(self.spool.entries[second.name.stem].abandoned(), {0: NO})
        self.refuse(OK)
        self.clock.advance(PAUSE)
        self.assertNotIn(second.name.stem, self.spool.entries)
        self.assertEqual(str(self.carrier.sent[-1][0].name), f"{second.name}-E001")


class QueueTests(DispatchCase):
    """Many messages."""

    limits = Limits(concurrency=4, perDestination=2, open=12)

    def setUp(self) -> None:
        """Destinations answer when the test says so."""
        super().setUp()
        self.pending: list[tuple[Parcel, Deferred[Report]]] = []
        self.carrier.answer = self.wait

    def wait(self, parcel: Parcel) -> Deferred[Report]:
        """No answer yet."""
        self.pending.append((parcel, Deferred()))
        return self.pending[-1][1]

    def reply(self, reply: Reply = OK, domain: str | None = None) -> bool:
        """Answer the oldest parcel. @return: whether there was one."""
        for item in self.pending:
            if domain in (None, item[0].recipients[0].domain):
                self.pending.remove(item)
                item[1].callback(Report((reply,) * len(item[0].recipients), "host:25"))
                return True
        return False

    def mx(self, *domains: str) -> None:
        """These domains are destinations of their own, looked up in the DNS."""
        self.router.routes |= {domain: Onward(domain) for domain in domains}

    def table(self, *domains: str) -> None:
        """These domains are destinations of their own, named by a table."""
        self.router.routes |= {domain: Onward(domain, (Hop(domain),), forwards=True) for domain in domains}

    def test_limits(self) -> None:
        """No destination has more connections than its limit, and all together not more than theirs."""
        self.table("a.jp", "b.jp", "c.jp")
        for _ in range(5):
            self.accept("x@a.jp")
        self.assertEqual(len(self.pending), 2)
        for domain in ("b.jp", "c.jp", "b.jp", "c.jp"):
            self.accept(f"x@{domain}")
        self.assertEqual(len(self.pending), 4)
        self.assertEqual(self.dispatcher.counts().connections, 4)

    def test_sameConnection(self) -> None:
        """What waits for a destination goes over the connections that are open, and QUIT is said once on each."""
        for _ in range(5):
            self.accept("x@a.jp")
        while self.reply():
            pass
        self.assertEqual([channel.sent for channel in self.carrier.channels], [3, 2])
        self.clock.advance(REST)
        self.assertEqual([channel.quits for channel in self.carrier.channels], [1, 1])
        self.assertEqual((self.spool.count(), self.dispatcher.counts().connections), (0, 0))

    def test_rest(self) -> None:
        """At a destination where much goes on a connection is kept for a moment; the one used last is used first."""
        for _ in range(3):
            self.accept("x@a.jp")
        while self.reply():
            pass
        self.clock.advance(REST / 2)
        self.accept("x@a.jp")
        self.reply()
        self.assertEqual([(c.sent, c.quits) for c in self.carrier.channels], [(3, 0), (1, 0)])
        self.clock.advance(REST / 2)
        self.assertEqual([(c.sent, c.quits) for c in self.carrier.channels], [(3, 0), (1, 1)])
        self.clock.advance(REST / 2)
        self.assertEqual([(c.sent, c.quits) for c in self.carrier.channels], [(3, 1), (1, 1)])
        self.accept("x@a.jp")
        self.reply()
        self.assertEqual([(c.sent, c.quits) for c in self.carrier.channels][2:], [(1, 1)])  # alone: QUIT at once

    def test_restGivesWay(self) -> None:
        """Who rests leaves where its place is needed."""
        self.table("a.jp", "b.jp", "c.jp")
        for _ in range(2):
            self.accept("x@a.jp")
        self.reply()
        self.reply()
        for domain in ("b.jp", "c.jp", "b.jp", "c.jp"):
            self.accept(f"x@{domain}")
        self.assertEqual([parcel.recipients[0].domain for parcel, _ in self.pending], ["b.jp", "c.jp", "b.jp", "c.jp"])
        self.assertEqual([c.quits for c in self.carrier.channels[:2]], [1, 1])

    def test_stopWhileResting(self) -> None:
        """A stop waits for nobody who rests."""
        for _ in range(2):
            self.accept("x@a.jp")
        self.reply()
        self.reply()
        self.successResultOf(self.dispatcher.stopService())
        self.assertEqual([c.quits for c in self.carrier.channels], [1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slowDestinationStarvesNobody(self) -> None:
        """A destination that never answers, with any number of messages, holds up no other."""
        self.mx("slow.jp", "fast.jp")
        for _ in range(100):
            self.accept("x@slow.jp")
        counts = self.dispatcher.counts()
        self.assertEqual((len(self.pending), counts.open + counts.waiting), (2, 6))
        for _ in range(30):
            self.accept("y@fast.jp")
            self.assertTrue(self.reply(domain="fast.jp"))
        self.assertEqual(self.spool.count(), 100)
        self.assertEqual(self.dispatcher.counts().parked, 94)
        while self.reply():
            self.clock.advance(0)
        self.assertEqual((self.spool.count(), self.dispatcher.counts().parked), (0, 0))
        self.assertEqual([c.sent for c in self.carrier.channels if c.route == Onward("slow.jp")], [50, 50])

    def test_tarpits(self) -> None:
        """Hosts found by the DNS that never answer, at any number of domains, leave room for those that are ours."""
        self.limits = Limits(concurrency=8, perDestination=2, open=24)
        self.start()
        domains = [f"d{number}.example" for number in range(40)]
        self.mx(*domains)
        for _ in range(2):
            for domain in domains:
                self.accept(f"x@{domain}")
        self.assertEqual((len(self.pending), self.dispatcher.counts().connections), (6, 6))
        self.accept("y@ours.jp")
        for _ in range(30):
            self.accept("y@ours.jp")
            self.assertTrue(self.reply(domain="ours.jp"))
        self.assertEqual(self.spool.count(), 81)
        # It gives way to nobody, since nobody could have its place.
        self.assertEqual(sum(channel.route == GATE for channel in self.carrier.channels), 2)
        while self.reply():
            self.assertLessEqual(self.dispatcher.counts().open, 18 + 1)
            self.clock.advance(0.1)
        self.assertEqual((self.spool.count(), self.dispatcher.counts().parked), (0, 0))

    def test_oursTakeAll(self) -> None:
        """Destinations that a table names may have every connection, and the others get their turn all the same."""
        self.table("a.jp", "b.jp")
        self.mx("c.example", "d.example")
        for domain in ("a.jp", "a.jp", "b.jp", "b.jp"):
            self.accept(f"x@{domain}")
        for _ in range(60):
            for domain in ("a.jp", "b.jp", "c.example", "d.example"):
                self.accept(f"x@{domain}")
            self.clock.advance(0.1)
        self.assertEqual({p.recipients[0].domain for p, _ in self.pending}, {"a.jp", "b.jp"})
        for _ in range(81):
            self.clock.advance(0.1)
            self.reply()
        self.assertIn("c.example", [parcel.recipients[0].domain for parcel, _ in self.carrier.sent])
        while self.reply():
            self.assertLessEqual(sum("example" in p.recipients[0].domain for p, _ in self.pending), 3)
            self.clock.advance(0.1)
        self.assertEqual(self.spool.count(), 0)

    def test_turnsOfBothKinds(self) -> None:
        """Whoever waited first has the first place that becomes free, of whichever kind he is."""
        self.table("a.jp", "b.jp", "e.jp")
        self.mx("c.example")
        for first, second in (("c.example", "e.jp"), ("e.jp", "c.example")):
            for domain in ("a.jp", "a.jp", "b.jp", "b.jp", first, second):
                self.accept(f"x@{domain}")
            self.reply(domain="a.jp")
            self.assertEqual([p.recipients[0].domain for p, _ in self.pending], ["a.jp", "b.jp", "b.jp", first])
            while self.reply():
                self.clock.advance(REST)

    def test_restGivesWayToItsKind(self) -> None:
        """Who rests at a host of ours does not leave for a destination that has its share; one of that kind does."""
        self.mx("a.example", "b.example", "c.example")
        self.accept("x@ours.jp")
        self.accept("x@ours.jp")
        self.reply()
        self.reply()  # one has said QUIT, one rests
        for domain in ("a.example", "a.example", "b.example"):
            self.accept(f"x@{domain}")
        self.reply(domain="a.example")  # rests
        self.accept("x@c.example")
        self.assertEqual({p.recipients[0].domain for p, _ in self.pending}, {"a.example", "b.example", "c.example"})
        resting = [channel for channel in self.carrier.channels if channel.route == GATE and not channel.quits]
        self.assertEqual(len(resting), 1)

    def test_slowDestinationOfSomeRecipients(self) -> None:
        """Recipients elsewhere get their copy although the message has no room at its other destination."""
        self.mx("slow.jp", "fast.jp")
        for _ in range(20):
            self.accept("x@slow.jp", "y@fast.jp")
            self.reply(domain="fast.jp")
        self.assertEqual(sum(p.recipients[0].domain == "fast.jp" for p, _ in self.carrier.sent), 20)
        while self.reply():
            self.clock.advance(0)
        self.assertEqual(self.spool.count(), 0)
        self.assertEqual(len(self.carrier.sent), 40)

    def test_parkedIsNeverForgotten(self) -> None:
        """What is parked is called back when its destination has nothing to do, also where it could not move up."""
        recalled: list[Name] = []
        lanes = Lanes(self.carrier, self.limits, self.clock, Deferred.fromCoroutine, recalled.extend)
        entry = Entry(numbered(1), Envelope(None, (parseAddress("x@a.jp"),)), QUEUED, 1)
        self.spool.entries[entry.name.stem], self.spool.contents[entry.name.stem] = entry, b""
        desk = Desk(self.spool, self.log, self.clock, Patience(), lambda message: None)
        while lanes.put(GATE, Errand(desk, Open(entry, 0), GATE, (0,), entry.name)):
            pass
        names = [numbered(number) for number in range(2, 22)]
        self.assertTrue(all(lanes.park(GATE, name) for name in names))
        while self.reply():
            pass
        self.clock.advance(REST)
        self.assertEqual((recalled, lanes.workers, lanes.parked()), (names, 0, 0))
        self.assertFalse(lanes.park(GATE, names[0]))

    def test_tablesChangeMeanwhile(self) -> None:
        """A message that is under way when the tables change is routed anew when it is closed."""
        self.router.routes["hold.example"] = Held("gateway.dat:3")
        self.accept("a@hold.example", "b@x.jp")
        self.router.routes.clear()
        self.dispatcher.lookAgain()
        self.assertEqual(len(self.pending), 1)
        self.reply()
        self.assertEqual([str(r) for parcel, _ in self.pending for r in parcel.recipients], ["a@hold.example"])

    def test_lookedAtTwice(self) -> None:
        """A message that is looked at before it is due is tried once, not twice, when it is due."""
        self.router.routes["hold.example"] = Held("gateway.dat:3")
        self.accept("a@hold.example", "b@x.jp")
        self.reply(LATER)
        self.clock.advance(10)
        self.dispatcher.lookAgain()
        self.dispatcher.lookAgain()
        self.clock.advance(110)
        self.assertEqual((len(self.carrier.sent), len(self.pending)), (2, 1))

    def test_turns(self) -> None:
        """Where all connections are taken by destinations with much to do, others get their turn all the same."""
        self.table("a.jp", "b.jp", "c.jp")
        for _ in range(60):
            self.accept("x@a.jp")
            self.accept("x@b.jp")
        self.accept("x@c.jp")
        for _ in range(81):
            self.clock.advance(0.1)
            self.reply()
        self.assertIn("c.jp", [parcel.recipients[0].domain for parcel, _ in self.carrier.sent])
        while self.reply():
            self.clock.advance(0)
        self.assertEqual(self.spool.count(), 0)

    def test_largeQueue(self) -> None:
        """At start a large queue is taken over by name; only as many messages are read as memory may hold."""
        self.dispatcher.stopService()
        for _ in range(1500):
            self.accept("x@a.jp")
        loads = []
        self.spool = self.spool.reborn()
        load = self.spool.load
        self.spool.load = lambda name: loads.append(name) or load(name)
        self.start()
        self.pump([0] * 10)
        self.assertLess(len(loads), 60)
        self.assertLessEqual(self.dispatcher.counts().open, 12)
        while self.reply():
            self.clock.advance(0)
        self.assertEqual(self.spool.count(), 0)
        self.assertEqual(len({str(parcel.name) for parcel, _ in self.carrier.sent}), len(self.carrier.sent))

    def test_restart(self) -> None:
        """What was under way when the process died is tried again, and nothing before it is due."""
        self.accept("x@a.jp")
        self.reply(LATER)
        self.accept("y@a.jp")
        self.carrier.sent.clear()
        self.restart()
        self.assertEqual([str(p.name) for p, _ in self.carrier.sent], ["B0000000187"])
        self.clock.advance(120)
        self.assertEqual([str(p.name) for p, _ in self.carrier.sent], ["B0000000187", "B0000000186-R0001"])

    def test_faultStopsNothing(self) -> None:
        """A bug that one message meets is logged with its name, puts that message off, and the queue goes on."""
        self.router.faults.append(ValueError("a bug"))
        first = self.accept("x@a.jp")
        second = self.accept("x@a.jp")
        self.assertEqual([p.name for p, _ in self.carrier.sent], [second.name])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(300)
        self.assertEqual([p.name for p, _ in self.carrier.sent], [second.name, first.name])

    def test_faultOfAChannel(self) -> None:
        """A channel that breaks its promise and fails puts the message off; others get a new one."""
        first, second = self.accept("x@a.jp"), self.accept("x@a.jp")
        third = self.accept("x@a.jp")
        self.pending.pop(0)[1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([p.name for p, _ in self.carrier.sent], [first.name, second.name, third.name])
        while self.reply():
            pass
        self.assertEqual(list(self.spool.entries), [first.name.stem])
        self.clock.advance(300)
        self.assertEqual(self.carrier.sent[-1][0].name, first.name)

    def test_stop(self) -> None:
        """Stopping waits for what is under way, begins nothing, and leaves the rest in the spool."""
        for _ in range(5):
            self.accept("x@a.jp")
        stopped = self.dispatcher.stopService()
        self.assertNoResult(stopped)
        self.reply()
        self.reply()
        self.successResultOf(stopped)
        self.assertEqual((len(self.carrier.sent), self.spool.count()), (2, 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopBounded(self) -> None:
        """Attempts that do not end are abandoned after the grace, and their messages stay."""
        self.accept("x@a.jp")
        stopped = self.dispatcher.stopService()
        self.clock.advance(10)
        self.successResultOf(stopped)
        self.assertEqual((self.spool.count(), self.carrier.channels[0].quits), (1, 1))
        self.restart()
        self.assertEqual(len(self.carrier.sent), 2)
