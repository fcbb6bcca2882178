"""What becomes of a message between 354 and 250."""

from collections.abc import Set
from dataclasses import replace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.drafts import Draft, Promising
from epost.intake import Intake, Marks
from epost.interfaces import IDraft, IExpansion, IIntake, IReplies, IRoom
from epost.mail.address import Address, parseAddress
from epost.mail.copy import Copy
from epost.mail.decision import Client
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.heading import Heading
from epost.mail.reply import Refused, Reply
from epost.mail.route import Held, Local, Onward, Route
from epost.smtp import wording
from tests.japan import QUEUED, useJapanTime
from tests.recorders import SenderLogRecorder
from tests.storage.memory import MemoryDraft, MemoryInbox, MemoryRoom, MemorySerial, MemorySpool, Ticks

OFFICE = Client("192.168.0.10", "pc.test.jp")
RECEIVED = (
    b"Received: from pc.test.jp (unverified [192.168.0.10]) by test.jp\r\n"
    b"\t(E-POST ESMTP Receiver (4.56)) with SMTP id <B0000000186@test.jp>;\r\n"
    b"\tMon, 06 Jul 2009 16:27:34 +0900\r\n"
)


@implementer(IExpansion)
class Town:
    """
    C{all@test.jp} is user1 and bucho, C{chief@test.jp} is bucho; test.jp is here, hold.example held; C{staff@test.jp}
    is a list of two, and kacho's mail goes to C{home.example} as well, tanaka's there alone.
    """

    def expand(self, address: Address) -> tuple[Address, ...]:
        names = {"all": ["user1", "bucho"], "chief": ["bucho"]}.get(address.local)
        return tuple(parseAddress(f"{name}@test.jp") for name in names) if names else (address,)

    def direct(self, address: Address) -> Route | None:
        led = address.local in ("all", "chief", "staff", "kacho", "tanaka")
        return None if led else self.route(address)

    def copies(self, envelope: Envelope) -> tuple[Copy, ...]:
        named = {path.local for path in envelope.recipients}
        plain = {
            end.key: end
            for path in envelope.recipients
            if path.local not in ("staff", "tanaka")
            for end in self.expand(path)
        }
        found = [Copy(replace(envelope, recipients=tuple(plain.values())))] if plain else []
        if "staff" in named:
            members = (parseAddress("a@x.example"), parseAddress("user1@test.jp"))
            changed = Envelope(parseAddress("staff-bounces@test.jp"), members)
            found.append(Copy(changed, b"List-Id: <staff.test.jp>\r\n", "staff.test.jp"))
        for local in ("kacho", "tanaka"):
            if local in named:
                by = parseAddress(f"{local}@test.jp")
                changed = replace(envelope, recipients=(parseAddress(f"{local}@home.example"),))
                passed = () if local in ("kacho",) else (Local(local, "test.jp"),)
                found.append(Copy(changed, f"Delivered-To: {by}\r\n".encode(), by=by, kept=not passed, passed=passed))
        return tuple(found)

    def routes(self, copy: Copy) -> Set[Route]:
        return {self.route(address) for address in copy.envelope.recipients}

    def route(self, address: Address) -> Route:
        if address.domain == "hold.example":
            return Held("gateway.dat:3")
        return Local(address.key[0], "test.jp") if address.domain == "test.jp" else Onward(address.domain)


@implementer(IReplies)
class Away:
    """tanaka and bucho are away. @ivar told: what arrived for them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, bytes]] = []
        self.ours: list[bool] = []  # of each, whether its sender is

    def awaits(self, box: Local, envelope: Envelope) -> bool:
        return box.user in ("tanaka", "bucho") and envelope.sender is not None

    def arrived(self, box: Local, recipient: Address, envelope: Envelope, header: bytes) -> None:
        self.told.append((box.user, str(recipient), str(envelope.sender), header))
        self.ours.append(envelope.ours)


class IntakeTests(SynchronousTestCase):
    """L{Intake} stores what was accepted where it belongs."""

    def setUp(self) -> None:
        useJapanTime(self)
        self.clock = Clock()
        self.clock.advance(QUEUED)
        self.spool, self.inbox, self.log = MemorySpool(), MemoryInbox(), SenderLogRecorder()
        self.accepted: list[Entry] = []
        self.mailboxes = True
        self.room = MemoryRoom()
        self.away = Away()

    def intake(self) -> Intake:
        return Intake(
            Marks("test.jp", "4.56", received=2),
            MemorySerial(186),
            self.spool,
            self.inbox if self.mailboxes else None,
            Town(),
            self.log,
            self.clock,
            self.accepted.append,
            self.room,
            self.away,
        )

    def take(
        self, content: bytes, *recipients: str, sender: str | None = "sato@test-sample00.jp", size: int = 0
    ) -> IDraft:
        """Begin a message and write its content, an octet at a time."""
        intake = self.intake()
        path = parseAddress(sender) if sender else None
        ours = path is not None and path.domain == "test.jp"
        envelope = Envelope(path, tuple(map(parseAddress, recipients)), ours=ours)
        draft = intake.open(intake.name(0), OFFICE, envelope, size)
        for place in range(len(content)):
            draft.write(content[place : place + 1])
        return draft

    def test_noRoom(self) -> None:
        """A message that the disk has no room for gets no name; one that it has room for does."""
        self.room.octets = 1000
        with self.assertRaises(Refused) as caught:
            self.intake().name(1001)
        self.assertEqual(caught.exception.reply, wording.diskFull())
        self.assertEqual(str(self.intake().name(1000)), "B0000000186")

    def test_noRoomForCopies(self) -> None:
        """At DATA the size counts for each copy: one in the queue, and one in each mailbox."""
        for octets, recipients in (
            (1000, ["user1@test.jp"]),
            (1000, ["a@x.example", "b@x.example"]),
            (3000, ["all@test.jp"]),
            (5000, ["staff@test.jp", "all@test.jp"]),  # two of the queue; user1 twice, and bucho
        ):
            self.room.octets = octets
            self.take(b"", *recipients, size=1000).discard()
            self.room.octets -= 1
            if octets > 1000:
                refused = self.assertRaises(Refused, self.take, b"", *recipients, size=1000)
                self.assertEqual(refused.reply, wording.diskFull(), recipients)
        self.room.octets = 10**6
        for files, refuses in ((2, False), (1, True)):
            self.room.files = files
            if refuses:
                self.assertRaises(Refused, self.take, b"", "all@test.jp")
            else:
                self.take(b"", "all@test.jp").discard()
        self.assertEqual((self.spool.entries, self.room.promises), ({}, {}))

    def test_roomIsKept(self) -> None:
        """At the end of data room for the mailboxes is kept for what is accepted; what finds none is refused whole."""
        self.successResultOf(self.take(b"a: b\r\n\r\n", "all@test.jp").commit())
        entry = self.accepted[0]
        self.assertEqual(self.room.promises, {"B0000000186": (entry.size * 2, 2)})
        self.room.end("B0000000186")
        self.accepted.clear()
        self.room.octets = entry.size * 2 - 1
        for recipients in (["all@test.jp"], ["staff@test.jp", "all@test.jp"]):
            self.spool.entries.clear()
            draft = self.take(b"a: b\r\n\r\n", *recipients)
            self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply, wording.diskFull())
            self.assertEqual((self.spool.entries, self.accepted, self.room.promises), ({}, [], {}))
        self.room.octets = 10**6
        self.spool.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        self.failureResultOf(self.take(b"a: b\r\n", "all@test.jp").commit(), Refused)
        self.assertEqual(self.room.promises, {})
        self.successResultOf(self.take(b"a: b\r\n", "a@x.example", "b@x.example").commit())
        self.assertEqual(self.room.promises, {})

    def test_filledMeanwhile(self) -> None:
        """Content that comes while the disk fills up is given up at once, and refused at its end."""
        for recipients in (["user1@test.jp"], ["all@test.jp"], ["staff@test.jp", "kacho@test.jp"]):
            self.room.octets = 10
            draft = self.take(b"a: b\r\n\r\n", *recipients)
            self.room.octets = -1
            draft.write(b"x" * 10)
            self.room.octets = 10**6
            draft.write(b"x" * 10)
            self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply, wording.diskFull())
            self.assertEqual((self.spool.entries, self.inbox.boxes, self.accepted), ({}, {}, []))
        store = MemoryDraft(Ticks(), lambda content: None)
        given = Draft(self.room, store, b"", Heading(9), lambda size: None)
        self.room.octets = -1
        given.write(b"a")
        self.assertTrue(store.discarded)
        self.room.octets = 10
        draft = self.take(b"", "user1@test.jp")
        self.room.octets = -1
        draft.write(b"a: b\r\n\r\n")  # all of it came with the first part, for which there was room
        self.successResultOf(draft.commit())

    def test_roles(self) -> None:
        """The parts claim their roles."""
        verifyObject(IIntake, self.intake())
        for recipient in ("user1@test.jp", "all@test.jp", "staff@test.jp"):
            verifyObject(IDraft, self.take(b"", recipient))
        verifyObject(IDraft, Promising(self.room, "B1", 2, self.take(b"", "user1@test.jp")))
        verifyObject(IRoom, self.room)
        verifyObject(IExpansion, Town())

    def test_oneMailboxNeedsNoSpool(self) -> None:
        """What leads to one mailbox alone stands there, with its trace, when the 250 is due; the log tells it."""
        draft = self.take(b"Subject: a\r\n\r\nb\r\n", "user1@test.jp")
        self.assertEqual(self.inbox.boxes, {})
        self.successResultOf(draft.commit())
        front = b"Return-Path: <sato@test-sample00.jp>\r\nDelivered-To: user1@test.jp\r\n"
        self.assertEqual(
            self.inbox.boxes,
            {Local("user1", "test.jp"): {"B0000000186": front + RECEIVED + b"Subject: a\r\n\r\nb\r\n"}},
        )
        self.assertEqual((self.spool.entries, self.accepted), ({}, []))
        self.assertEqual(self.log.calls, [("trying", "B0000000186", "test.jp", QUEUED, QUEUED, 0)])

    def test_oneMailboxByTwoNames(self) -> None:
        """Two recipients that are one mailbox get one copy, and no spool file."""
        self.successResultOf(self.take(b"a\r\n", "bucho@test.jp", "chief@test.jp").commit())
        self.assertEqual([list(box) for box in self.inbox.boxes.values()], [["B0000000186"]])
        self.assertEqual(self.spool.entries, {})

    def test_everythingElseIsQueued(self) -> None:
        """A recipient outside, or several mailboxes: one spool file, each recipient once, and the dispatcher knows."""
        draft = self.take(b"Subject: a\r\n\r\nb\r\n", "all@test.jp", "chief@test.jp", "user2@test-sample00.jp")
        self.assertEqual(self.accepted, [])
        self.successResultOf(draft.commit())
        (entry,) = self.accepted
        self.assertEqual(
            [str(path) for path in entry.envelope.recipients],
            ["user1@test.jp", "bucho@test.jp", "user2@test-sample00.jp"],
        )
        self.assertEqual(self.spool.entries, {"B0000000186": entry})
        self.assertEqual(self.spool.contents["B0000000186"], RECEIVED + b"Subject: a\r\n\r\nb\r\n")
        self.assertEqual(entry.size, len(self.spool.contents["B0000000186"]))

    def test_held(self) -> None:
        """What a table holds is queued with the line that does; beside other recipients the dispatcher sees to it."""
        self.successResultOf(self.take(b"a\r\n", "a@hold.example", "b@hold.example").commit())
        (held,) = self.accepted
        self.assertEqual(held.attempts, (Attempt(QUEUED, 0.0, "gateway.dat:3", "", ()),))
        self.assertEqual(self.spool.entries, {"B0000000186": held})
        self.successResultOf(self.take(b"a\r\n", "a@hold.example", "user2@test-sample00.jp").commit())
        self.assertEqual(self.accepted[1].attempts, ())

    def test_noMailboxesHere(self) -> None:
        """A daemon without mailboxes queues everything."""
        self.mailboxes = False
        self.successResultOf(self.take(b"a\r\n", "user2@test-sample00.jp").commit())
        self.assertEqual(len(self.accepted), 1)

    def test_missingFieldsOfOurs(self) -> None:
        """One of ours gets Message-Id, Date and From behind its own lines, as in the seed; a stranger gets nothing."""
        self.successResultOf(
            self.take(b"subject:test4\r\n\r\nhello\r\n", "user2@test-sample00.jp", sender="baito@test.jp").commit()
        )
        self.assertEqual(
            self.spool.contents["B0000000186"],
            RECEIVED
            + b"subject:test4\r\n"
            + b"Message-Id: <B0000000186@test.jp>\r\n"
            + b"Date: Mon, 06 Jul 2009 16:27:34 +0900\r\n"
            + b"From: baito@test.jp\r\n"
            + b"\r\nhello\r\n",
        )

    def test_circles(self) -> None:
        """A message with too many Received fields is refused at its end, and nothing of it is kept."""
        draft = self.take(b"Received: x\r\n" * 3 + b"\r\n", "user2@test-sample00.jp")
        refused = self.failureResultOf(draft.commit(), Refused).value
        self.assertEqual((refused.reply.code, refused.reply.enhanced), (554, "5.4.6"))
        self.assertEqual((self.spool.entries, self.accepted), ({}, []))

    def test_circlesOfOurs(self) -> None:
        """What a server of the tables took and put its own field on is taken, or it would have to be returned."""
        intake = self.intake()
        paths = (parseAddress("sato@test-sample00.jp"), (parseAddress("user2@test-sample00.jp"),))
        for fields, code in ((12, None), (13, 554)):
            draft = intake.open(intake.name(0), replace(OFFICE, known=True), Envelope(*paths))
            draft.write(b"Received: x\r\n" * fields + b"\r\n")
            if code is None:
                self.successResultOf(draft.commit())
            else:
                self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply.code, code)

    def test_theDiskFails(self) -> None:
        """What the disk could not keep is neither logged nor queued."""
        self.spool.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        refused = self.failureResultOf(self.take(b"a\r\n", "user2@test-sample00.jp").commit(), Refused).value
        self.assertEqual(refused.reply.code, 452)
        self.assertEqual((self.accepted, self.log.calls), ([], []))

    # Several copies.

    def test_aListAndAnother(self) -> None:
        """
        A list and another recipient are two messages, the first under the number that the client hears. Neither is
        sent, nor is there a 250, before both are durable.
        """
        self.spool.ticks.manual = True
        draft = self.take(b"Subject: a\r\n\r\nb\r\n", "user1@test.jp", "staff@test.jp")
        fired = draft.commit()
        self.assertNoResult(fired)
        self.assertEqual(self.accepted, [])
        self.spool.ticks.tick()
        self.successResultOf(fired)
        one, two = self.accepted
        self.assertEqual((str(one.name), str(two.name)), ("B0000000186", "B0000000187"))
        self.assertEqual(str(one.envelope.sender), "sato@test-sample00.jp")
        self.assertEqual(str(two.envelope.sender), "staff-bounces@test.jp")
        self.assertEqual(self.spool.contents[one.name.stem], RECEIVED + b"Subject: a\r\n\r\nb\r\n")
        whole = RECEIVED + b"List-Id: <staff.test.jp>\r\nSubject: a\r\n\r\nb\r\n"
        self.assertEqual((self.spool.contents[two.name.stem], two.size), (whole, len(whole)))
        self.assertEqual(self.inbox.boxes, {})

    def test_oneCopyFails(self) -> None:
        """Where the disk takes one copy alone the client hears so, and the other is gone too."""
        for which in range(2):
            commit, seen = self.spool.ticks.commit, []

            def failing(then, which=which, commit=commit, seen=seen):  # type: ignore[no-untyped-def]
                seen.append(then)
                if len(seen) == which + 1:
                    self.spool.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
                return commit(then)

            self.spool.ticks.commit = failing  # type: ignore[method-assign]
            refused = self.failureResultOf(self.take(b"a: b\r\n", "user1@test.jp", "staff@test.jp").commit(), Refused)
            self.assertEqual(refused.value.reply.code, 452)
            self.assertEqual((self.spool.entries, self.accepted, len(seen)), ({}, [], 2))
            self.spool.ticks.commit = commit  # type: ignore[method-assign]

    def test_noNumber(self) -> None:
        """Where there is no number for another copy nothing is begun."""
        intake = self.intake()
        name = intake.name(0)
        intake.serial = MemorySerial(187, [Reply(451, ("no",), "4.3.0")])
        paths = tuple(map(parseAddress, ("user1@test.jp", "staff@test.jp")))
        self.assertRaises(Refused, intake.open, name, OFFICE, Envelope(parseAddress("a@b.example"), paths))
        self.assertEqual((self.spool.entries, self.accepted), ({}, []))

    def test_aListHasHadIt(self) -> None:
        """What a list has distributed, and an automatic reply, do not go to it: all of the message is refused."""
        for header in (
            b"Subject: a\r\nLIST-ID: Staff\r\n <STAFF.test.jp>\r\n\r\n",
            b"Auto-Submitted: auto-replied (vacation)\r\n\r\n",
        ):
            refused = self.failureResultOf(self.take(header, "user1@test.jp", "staff@test.jp").commit(), Refused)
            self.assertEqual(refused.value.reply, wording.looping())
            self.assertEqual((self.spool.entries, self.accepted), ({}, []))
        for header in (b"List-Id: <other.test.jp>\r\n\r\n", b"Auto-Submitted: auto-generated\r\n\r\n"):
            self.successResultOf(self.take(header, "staff@test.jp").commit())
        self.assertEqual(len(self.accepted), 2)

    def test_sentOnBefore(self) -> None:
        """What an address has sent on is kept in its mailbox and not sent on again; refused where it is not kept."""
        header = b"Delivered-To: <KACHO@test.jp>\r\n\r\n"
        self.successResultOf(self.take(header, "kacho@test.jp").commit())
        self.assertEqual([str(path) for path in self.accepted[0].envelope.recipients], ["kacho@test.jp"])
        self.assertEqual(len(self.accepted), 1)
        self.successResultOf(self.take(b"Delivered-To: user1@test.jp\r\n\r\n", "kacho@test.jp").commit())
        self.assertEqual(len(self.accepted), 3)
        self.assertIn(b"\r\nDelivered-To: kacho@test.jp\r\n", self.spool.contents[self.accepted[2].name.stem])
        draft = self.take(b"Delivered-To: tanaka@test.jp\r\n\r\n", "tanaka@test.jp")
        self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply, wording.looping())

    def test_severalInCircles(self) -> None:
        """Too many Received fields are so for copies too; what a client gives up leaves nothing."""
        draft = self.take(b"Received: x\r\n" * 3 + b"\r\n", "user1@test.jp", "staff@test.jp")
        self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply, wording.tooManyReceived())
        self.take(b"a: b\r\n", "user1@test.jp", "staff@test.jp").discard()
        self.assertEqual((self.spool.entries, self.accepted), ({}, []))

    # Who is away.

    def test_away(self) -> None:
        """Who is away is told of what is durable in his mailbox, with its header; others are not."""
        draft = self.take(b"Subject: a\r\n\r\nb\r\n", "bucho@test.jp")
        self.assertEqual(self.away.told, [])
        self.successResultOf(draft.commit())
        ((user, recipient, sender, header),) = self.away.told
        self.assertEqual((user, recipient, sender), ("bucho", "bucho@test.jp", "sato@test-sample00.jp"))
        self.assertTrue(header.startswith(b"Subject: a\r\n\r\n"))
        self.successResultOf(self.take(b"a: b\r\n", "user1@test.jp").commit())
        self.successResultOf(self.take(b"a: b\r\n", "bucho@test.jp", sender=None).commit())
        self.assertEqual(len(self.away.told), 1)

    def test_awayAndSentOn(self) -> None:
        """Who has all of his mail sent on may be away too; whoever keeps it is told when it is delivered."""
        self.successResultOf(self.take(b"a: b\r\n", "tanaka@test.jp", "kacho@test.jp").commit())
        self.assertEqual([told[:2] for told in self.away.told], [("tanaka", "tanaka@test.jp")])

    def test_ours(self) -> None:
        """Whether a sender is one of ours stands in the envelope, and in those of all copies."""
        for sender, expected in (("baito@test.jp", True), ("sato@test-sample00.jp", False)):
            self.successResultOf(self.take(b"a: b\r\n", "bucho@test.jp", sender=sender).commit())
            self.successResultOf(self.take(b"a: b\r\n", "tanaka@test.jp", "kacho@test.jp", sender=sender).commit())
            self.assertEqual(self.away.ours, [expected] * 2)
            self.assertEqual({entry.envelope.ours for entry in self.accepted}, {expected})
            self.assertTrue(self.accepted)
            self.accepted.clear()
            self.away.ours.clear()

    def test_notStored(self) -> None:
        """What was not stored is answered by nobody."""
        self.inbox.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        self.failureResultOf(self.take(b"a: b\r\n", "bucho@test.jp").commit(), Refused)
        self.assertEqual(self.away.told, [])
