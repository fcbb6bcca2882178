"""What becomes of a message between 354 and 250."""

from dataclasses import replace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.intake import Intake, Marks
from epost.interfaces import IDraft, IIntake, IRouter
from epost.mail.address import Address, parseAddress
from epost.mail.decision import Client
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.reply import Refused, Reply
from epost.mail.route import Held, Local, Onward, Route
from epost.smtp import wording
from tests.japan import QUEUED, useJapanTime
from tests.recorders import SenderLogRecorder
from tests.storage.memory import MemoryInbox, MemorySerial, MemorySpool

OFFICE = Client("192.168.0.10", "pc.test.jp")
RECEIVED = (
    b"Received: from pc.test.jp (unverified [192.168.0.10]) by test.jp\r\n"
    b"\t(E-POST ESMTP Receiver (4.56)) with SMTP id <B0000000186@test.jp>;\r\n"
    b"\tMon, 06 Jul 2009 16:27:34 +0900\r\n"
)


@implementer(IRouter)
class Town:
    """C{all@test.jp} is user1 and bucho, C{chief@test.jp} is bucho; test.jp is here, hold.example held."""

    def expand(self, address: Address) -> tuple[Address, ...]:
        names = {"all": ["user1", "bucho"], "chief": ["bucho"]}.get(address.local)
        return tuple(parseAddress(f"{name}@test.jp") for name in names) if names else (address,)

    def route(self, address: Address) -> Route:
        if address.domain == "hold.example":
            return Held("gateway.dat:3")
        return Local(address.key[0], "test.jp") if address.domain == "test.jp" else Onward(address.domain)


class IntakeTests(SynchronousTestCase):
    """L{Intake} stores what was accepted where it belongs."""

    def setUp(self) -> None:
        useJapanTime(self)
        self.clock = Clock()
        self.clock.advance(QUEUED)
        self.spool, self.inbox, self.log = MemorySpool(), MemoryInbox(), SenderLogRecorder()
        self.accepted: list[Entry] = []
        self.mailboxes = True

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
            lambda client, sender: sender is not None and sender.domain == "test.jp",
            lambda size: size > 1000,
        )

    def take(self, content: bytes, *recipients: str, sender: str | None = "sato@test-sample00.jp") -> IDraft:
        """Begin a message and write its content, an octet at a time."""
        intake = self.intake()
        path = parseAddress(sender) if sender else None
        draft = intake.open(intake.name(0), OFFICE, Envelope(path, tuple(map(parseAddress, recipients))))
        for place in range(len(content)):
            draft.write(content[place : place + 1])
        return draft

    def test_noRoom(self) -> None:
        """A message that the disk has no room for gets no name; one that it has room for does."""
        with self.assertRaises(Refused) as caught:
            self.intake().name(1001)
        self.assertEqual(caught.exception.reply, wording.diskFull())
        self.assertEqual(str(self.intake().name(1000)), "B0000000186")

    def test_roles(self) -> None:
        """The parts claim their roles."""
        verifyObject(IIntake, self.intake())
        verifyObject(IDraft, self.take(b"", "user1@test.jp"))
        verifyObject(IRouter, Town())

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
