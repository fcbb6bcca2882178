"""Automatic replies and warnings."""

from collections.abc import Callable
from email import message_from_bytes, policy
from functools import cached_property

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.allowance import HEARD, LATER, Answered
from epost.expansion import Expansion
from epost.interfaces import IReplies, Usage
from epost.letters import Letters
from epost.mail import autoreply
from epost.mail.address import Address, parseAddress
from epost.mail.autoreply import AGAIN
from epost.mail.entry import Entry
from epost.mail.envelope import Envelope
from epost.mail.fault import Fault
from epost.mail.reply import Reply
from epost.mail.route import Local
from epost.storage.hints import Hints
from epost.tables.building import build
from epost.tables.directory import Directory, Ground
from tests.storage.memory import MemorySerial, MemorySpool
from tests.world.disk import World
from tests.world.story import Turns

NOON = 1798084800.0  # 2026-12-24 04:00:00 UTC
DETAILS = """\
["user1@test.jp"]
reply = { text = "I am away." }
["kacho@test.jp"]
forward = ["kacho@home.example"]
keep = false
"""
ALIASES = """\
post-*@test.jp\tbucho@test.jp
one@test.jp\tuser1@test.jp
both@test.jp\tuser1@test.jp
both@test.jp\tbucho@test.jp
others@test.jp\tbucho@test.jp
others@test.jp\tkacho@test.jp
"""
BOX, USER1 = Local("user1", "test.jp"), parseAddress("user1@test.jp")
SATO = parseAddress("sato@x.example")


class LettersTests(SynchronousTestCase):
    """L{Letters} writes to people."""

    def setUp(self) -> None:
        """user1 is away."""
        self.there = self.tables()
        self.clock, turns = Clock(), Turns()
        self.clock.advance(NOON)
        hints = Hints(World(), "/work", self.clock, turns.callInThread, turns.callFromThread)
        self.spool, self.serial = MemorySpool(), MemorySerial(186)
        self.accepted: list[Entry] = []
        self.letters = Letters(
            lambda: self.there,
            self.serial,
            self.spool,
            Expansion(lambda: self.there),
            Answered(hints, self.clock.seconds),
            self.clock,
            "mx.test.jp",
            self.accepted.append,
        )

    def tables(self, aliases: str = ALIASES) -> Directory:
        """What is in force."""
        faults: list[Fault] = []
        texts = {
            "accounts": ("accounts.dat", b"user1\tx\nbucho\tx\nkacho\tx\n"),
            "details": ("accounts.toml", DETAILS.encode()),
            "effect": ("effect.dat", b"10.0.0.2\ttrue\nbucho@test.jp\tnorelay\n"),
            "aliases": ("aliases.dat", aliases.encode()),
            "lists": ("lists.toml", b'["staff@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\n'),
        }
        members = {"staff.txt": b"user1@test.jp\n"}
        ground = Ground(
            "x", "mx", local=("test.jp",), mailboxes=True, postmaster=parseAddress("bucho@test.jp"), separator="+"
        )
        there = build(ground, texts, faults, [], members)
        assert not faults, faults
        return there

    def arrive(
        self,
        to: str = "user1@test.jp",
        more: str = "",
        sender: str = "sato@x.example",
        ours: bool = True,
        client: str = "10.0.0.1",
    ) -> int:
        """A message for user1. @return: how many replies there are so far."""
        header = f"From: x\r\nTo: {to}\r\nSubject: a\r\n{more}\r\nbody"
        envelope = Envelope(parseAddress(sender) if sender else None, (USER1,), client=client, ours=ours)
        self.letters.arrived(BOX, USER1, envelope, header.encode())
        return len(self.accepted)

    def test_role(self) -> None:
        """It answers for who is away alone, and nobody who has no address."""
        verifyObject(IReplies, self.letters)
        sato = Envelope(SATO, (USER1,))
        self.assertTrue(self.letters.awaits(BOX, sato))
        self.assertFalse(self.letters.awaits(BOX, Envelope(None, (USER1,))))
        self.assertFalse(self.letters.awaits(Local("bucho", "test.jp"), sato))
        self.assertFalse(self.letters.awaits(Local("nobody", "test.jp"), sato))

    def test_reply(self) -> None:
        """A reply is a message of the queue, from nobody, under a number of its own."""
        self.assertEqual(self.arrive(), 1)
        (entry,) = self.accepted
        self.assertEqual((str(entry.name), entry.envelope.sender), ("B0000000186", None))
        self.assertEqual(entry.envelope.recipients, (SATO,))
        content = self.spool.contents["B0000000186"]
        self.assertEqual((entry.size, self.spool.entries["B0000000186"]), (len(content), entry))
        self.assertIn(b"\r\nMessage-Id: <B0000000186@mx.test.jp>\r\n", content)
        self.assertIn(b"\r\nAuto-Submitted: auto-replied\r\n", content)

    def test_once(self) -> None:
        """Once in seven days for a sender, whatever case he writes himself in."""
        self.assertEqual(
            (self.arrive(), self.arrive(sender="SATO@X.example"), self.arrive(sender="b@x.example")), (1, 1, 2)
        )
        self.clock.advance(AGAIN + 1)
        self.assertEqual(self.arrive(), 3)

    def test_tags(self) -> None:
        """A sender outside has a reply under each tag, as it may be another's, but no more than some in an hour."""
        self.assertEqual([self.arrive(sender=f"sato+{number}@x.example") for number in range(20)][-1], HEARD)

    def test_onceInside(self) -> None:
        """A sender here is one, whatever tag or alias he writes himself with; to him too a reply is tried again."""
        self.serial.faults = [Reply(451, ("no",), "4.3.0")]
        self.assertEqual(self.arrive(sender="bucho+1@test.jp"), 0)
        self.clock.advance(LATER + 1)
        self.assertEqual([self.arrive(sender=f"bucho{tag}@test.jp") for tag in ("+2", "", "+3")], [1, 1, 1])
        self.assertEqual([self.arrive(sender=f"{name}@test.jp") for name in ("post-a", "post-b")], [1, 1])

    def test_madeUp(self) -> None:
        """A sender here whom nobody has proved has none: by login, network or line of effect.dat. Others have."""
        self.assertEqual(self.arrive(sender="bucho@test.jp", ours=False), 0)
        self.assertEqual(self.arrive(sender="bucho+1@TEST.jp", ours=False, client="10.0.0.20"), 0)
        self.assertEqual(self.arrive(sender="postmaster@mx", ours=False), 0)
        self.assertEqual(self.arrive(sender="bucho@test.jp", ours=False, client="10.0.0.2"), 1)
        self.assertEqual(self.arrive(sender="kacho@test.jp", ours=True), 2)
        self.assertEqual(self.arrive(ours=False), 3)

    def test_group(self) -> None:
        """A sender here that is more than one has none: nobody may fill ten mailboxes with one message."""
        for sender in ("both@test.jp", "others@test.jp", "others+1@test.jp", "staff+1@test.jp"):
            self.assertEqual(self.arrive(sender=sender), 0, sender)

    def test_named(self) -> None:
        """Who names the account or an alias of its own is answered; who names a group or nobody is not."""
        for to, expected in (("one@test.jp", 1), ("both@test.jp", 0), ("staff@test.jp", 0), ("x@y.example", 0)):
            self.accepted.clear()
            self.assertEqual(self.arrive(to, sender=f"{to[0]}@z.example"), expected, to)

    def test_readOnce(self) -> None:
        """A message is read once, for however many it arrives; whom it names only where nothing else is against it."""
        read: list[object] = []

        class Counted(autoreply.Letter):
            @cached_property
            def recipients(self) -> tuple[Address, ...]:
                read.append(self)
                return super().recipients

        self.patch(autoreply, "Letter", Counted)
        self.assertEqual([self.arrive(more="Precedence: bulk\r\n"), self.arrive(sender="noreply@x.example")], [0, 0])
        self.assertEqual(read, [])
        for number in range(5):
            self.assertEqual(self.arrive("one@test.jp", sender=f"{number}@z.example"), number + 1)
        self.assertEqual(len(read), 1)
        self.assertEqual((self.arrive("both@test.jp", sender="x@z.example"), len(read)), (5, 2))

    def test_tablesChange(self) -> None:
        """Whom a message names is told by the tables that are in force."""
        self.assertEqual(self.arrive("both@test.jp"), 0)
        self.there = self.tables("both@test.jp\tuser1@test.jp\n")
        self.assertEqual(self.arrive("both@test.jp"), 1)

    def test_nobody(self) -> None:
        """Programs, the account itself under any name, lists and who has no address are not answered."""
        for sender in ("", "user1@test.jp", "one@test.jp", "noreply@x.example", "staff@test.jp"):
            self.assertEqual(self.arrive(sender=sender), 0, sender)
        self.assertEqual(self.arrive(more="Precedence: list\r\n"), 0)

    def test_senderInside(self) -> None:
        """A sender whose mail goes elsewhere has his reply there."""
        self.arrive(sender="kacho@test.jp")
        self.assertEqual([str(each) for each in self.accepted[0].envelope.recipients], ["kacho@home.example"])

    def test_troubles(self) -> None:
        """What cannot be written is told to the log and to nobody else."""
        self.serial.faults = [Reply(451, ("no",), "4.3.0")]
        self.assertEqual(self.arrive(), 0)
        self.spool.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        self.assertEqual(self.arrive(sender="b@x.example"), 0)
        self.assertEqual((self.arrive(sender="c@x.example"), len(self.spool.entries)), (1, 1))

    def test_triedAgain(self) -> None:
        """A reply that could not be written is when its sender writes again; the log says whose mail has none."""
        told = "no automatic reply to user1@test.jp's mail: {0}"
        for number, (make, why) in enumerate(self.faults()):
            make()
            with capturedLogs() as events:
                self.assertEqual(self.arrive(sender=f"{number}@x.example"), number)
            self.assertEqual([formatEvent(event) for event in events], [told.format(why)])
            self.assertEqual(self.arrive(sender=f"{number}@x.example"), number)
            self.clock.advance(LATER + 1)
            self.assertEqual(self.arrive(sender=f"{number}@x.example"), number + 1)
            self.clock.advance(LATER + 1)
            self.assertEqual(self.arrive(sender=f"{number}@x.example"), number + 1)

    def test_triedAgainLater(self) -> None:
        """While it is being written there is no second one."""
        self.spool.ticks.manual = True
        self.assertEqual((self.arrive(), self.arrive()), (0, 0))
        self.spool.ticks.tick()
        self.assertEqual((len(self.accepted), len(self.spool.ticks.waiting)), (1, 0))

    def faults(self) -> "list[tuple[Callable[[], None], Reply]]":
        """Each makes the next thing that is written fail, at another place."""
        no, full = Reply(451, ("no",), "4.3.0"), Reply(452, ("full",), "4.3.1")
        return [(lambda: self.serial.faults.append(no), no), (lambda: self.spool.ticks.faults.append(full), full)]

    def test_unwarned(self) -> None:
        """Who warns hears whether it was written; of a defect, that another try is of no use."""
        for make, why in self.faults():
            for warn in (
                lambda: self.letters.warnAllowance(USER1, "x"),
                lambda: self.letters.warnQuota(BOX, Usage(900, 9), Usage(1000, 10)),
            ):
                make()
                with capturedLogs() as events:
                    self.assertFalse(self.successResultOf(warn()))
                self.assertEqual([formatEvent(event) for event in events], [f"user1@test.jp is not warned: {why}"])
                self.assertTrue(self.successResultOf(warn()))
        self.letters._accepted = lambda entry: 1 // 0
        self.assertTrue(self.successResultOf(self.letters.warnAllowance(USER1, "x")))
        self.assertEqual(self.arrive(), 4)
        self.clock.advance(LATER + 1)
        self.assertEqual(self.arrive(), 4)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_allowance(self) -> None:
        """Who has used up his limit is told, and postmaster is."""
        self.letters.warnAllowance(USER1, "It has sent too much. " * 10)
        (entry,) = self.accepted
        self.assertEqual([str(each) for each in entry.envelope.recipients], ["user1@test.jp", "bucho@test.jp"])
        self.assertIsNone(entry.envelope.sender)
        message = message_from_bytes(self.spool.contents[entry.name.stem], policy=policy.default)
        self.assertEqual(message["From"], "postmaster@test.jp")
        self.assertEqual((message["To"], message["Cc"]), ("user1@test.jp", "bucho@test.jp"))
        self.assertEqual(" ".join(message.get_content().split()), ("It has sent too much. " * 10).strip())
        self.assertEqual(message.defects, [])
        self.letters.warnAllowance(parseAddress("bucho@test.jp"), "x")
        self.assertEqual([str(each) for each in self.accepted[1].envelope.recipients], ["bucho@test.jp"])

    def test_quota(self) -> None:
        """Whose mailbox is nearly full is told what it holds; where he has his mail elsewhere, there."""
        self.letters.warnQuota(BOX, Usage(900, 9), Usage(1000, 0))
        (entry,) = self.accepted
        self.assertEqual([str(each) for each in entry.envelope.recipients], ["user1@test.jp"])
        self.assertIn(b"holds 900 of 1000 octets. When", self.spool.contents[entry.name.stem].replace(b"\r\n", b" "))
        self.letters.warnQuota(Local("nobody", "test.jp"), Usage(900, 9), Usage(1000, 0))
        self.assertEqual(len(self.accepted), 1)
        self.letters.warnQuota(Local("kacho", "test.jp"), Usage(900, 9), Usage(1000, 10))
        self.assertEqual([str(each) for each in self.accepted[1].envelope.recipients], ["kacho@home.example"])
