"""Whom a message goes to, and in how many copies."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.admission import Admission
from epost.expansion import COPIES, Expansion
from epost.interfaces import IExpansion
from epost.mail.address import parseAddress
from epost.mail.copy import Copy
from epost.mail.decision import Client
from epost.mail.envelope import Envelope
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.mail.route import Held, Local, Onward
from epost.mail.srs import Srs
from epost.smtp import wording
from epost.tables.building import build
from epost.tables.directory import Directory, Ground

NOW = 1796040000.0  # 2026-11-30 12:00:00 UTC
DETAILS = """\
["kacho@test.jp"]
forward = ["kacho@home.example"]
["tanaka@test.jp"]
forward = ["tanaka@home.example", "kacho@home.example"]
keep = false
["suzuki@test.jp"]
forward = ["user1@test.jp"]
keep = false
"""
LISTS = """\
["staff@test.jp"]
members = "staff.txt"
owner = "bucho@test.jp"
name = "Staff"
["all@test.jp"]
members = "all.txt"
owner = "bucho@test.jp"
post = "owner"
["empty@test.jp"]
members = "empty.txt"
owner = "bucho@test.jp"
"""
MEMBERS = {
    "staff.txt": b"a@x.example\nuser1@test.jp\nA@x.example\nchief@test.jp\ntanaka@test.jp\n",
    "all.txt": b"staff@test.jp\nb@x.example\nuser1@test.jp\n",
    "empty.txt": b"' nobody yet\n",
}


def directory(**more: str) -> Directory:
    """The town's."""
    faults: list[Fault] = []
    names = ("user1", "bucho", "kacho", "tanaka", "suzuki", *(f"f{n}" for n in range(COPIES + 5)))
    sent = "".join(f'["f{n}@test.jp"]\nforward = ["f{n}@home.example"]\nkeep = false\n' for n in range(COPIES + 5))
    texts = {
        "accounts": ("accounts.dat", "".join(f"{name}\tx\n" for name in names).encode()),
        "details": ("accounts.toml", (DETAILS + sent).encode()),
        "aliases": (
            "aliases.dat",
            b"chief@test.jp\tbucho@test.jp\nout@test.jp\tc@x.example\ncrew@test.jp\tstaff@test.jp\n",
        ),
        "lists": ("lists.toml", LISTS.encode()),
    } | {name: (name, text.encode()) for name, text in more.items()}
    ground = Ground(
        "x.toml", "mx.test.jp", local=("test.jp",), mailboxes=True, postmaster=parseAddress("bucho@test.jp")
    )
    found = build(ground, texts, faults, [], MEMBERS)
    assert not faults, faults
    return found


class ExpansionTests(SynchronousTestCase):
    """L{Expansion.copies}."""

    def setUp(self) -> None:
        """The town, without SRS."""
        self.there = directory()
        self.expansion = Expansion(lambda: self.there)

    def copies(self, *recipients: str, sender: str | None = "sato@test-sample00.jp") -> tuple[Copy, ...]:
        """What becomes of a message."""
        path = parseAddress(sender) if sender else None
        return self.expansion.copies(Envelope(path, tuple(map(parseAddress, recipients)), body="8BITMIME"))

    def shown(self, *recipients: str, sender: str | None = "sato@test-sample00.jp") -> list[str]:
        """The same, in short."""
        return [
            f"{copy.envelope.sender}: {' '.join(map(str, copy.envelope.recipients))}"
            for copy in self.copies(*recipients, sender=sender)
        ]

    def test_roles(self) -> None:
        """It is what it says."""
        verifyObject(IExpansion, self.expansion)

    def test_plain(self) -> None:
        """Accounts, aliases of accounts, forwarding inside, outside: one copy, each once, and nothing in front."""
        envelope = Envelope(None, (parseAddress("user1@test.jp"),))
        self.assertIs(self.expansion.copies(envelope)[0].envelope, envelope)
        (copy,) = self.copies("user1@test.jp", "chief@test.jp", "Bucho@test.jp", "suzuki@test.jp", "z@y.example")
        self.assertEqual(
            [str(each) for each in copy.envelope.recipients], ["user1@test.jp", "bucho@test.jp", "z@y.example"]
        )
        self.assertEqual((copy.front, copy.by, copy.list, copy.envelope.body), (b"", None, "", "8BITMIME"))

    def test_direct(self) -> None:
        """An address that leads to itself alone has a place; aliases, lists, and who has mail sent on have none."""
        for address, place in (
            ("User1@test.jp", Local("user1", "test.jp")),
            ("z@y.example", Onward("y.example")),
            *((f"{name}@test.jp", None) for name in ("all", "chief", "staff", "suzuki", "kacho", "tanaka", "out")),
        ):
            self.assertEqual(self.expansion.direct(parseAddress(address)), place, address)
        self.there = directory(gateway="y.example, hold\n")
        self.assertEqual(self.expansion.direct(parseAddress("z@y.example")), Held('gateway:1 "y.example, hold"'))

    def test_routes(self) -> None:
        """Where a copy goes, each place once: a list's members too, by the tables of the day."""
        plain, listed = self.copies("user1@test.jp", "suzuki@test.jp", "chief@test.jp", "z@y.example", "staff@test.jp")
        boxes = {Local("user1", "test.jp"), Local("bucho", "test.jp")}
        self.assertEqual(self.expansion.routes(plain), boxes | {Onward("y.example")})
        members = boxes | {Onward("x.example"), Onward("home.example")}
        self.assertEqual(self.expansion.routes(listed), members)
        self.assertIs(self.expansion.routes(listed), self.expansion.routes(listed))
        self.there = directory(gateway="x.example, hold\n")
        self.assertEqual(
            self.expansion.routes(listed), members - {Onward("x.example")} | {Held('gateway:1 "x.example, hold"')}
        )

    def test_sentOn(self) -> None:
        """What somebody's forwarding or an alias leads outside is marked with the name that was written to."""
        kept, sent = self.copies("kacho@test.jp")
        self.assertEqual([str(each) for each in kept.envelope.recipients], ["kacho@test.jp"])
        self.assertEqual([str(each) for each in sent.envelope.recipients], ["kacho@home.example"])
        self.assertEqual(
            (sent.front, sent.by, sent.kept, sent.passed),
            (b"Delivered-To: kacho@test.jp\r\n", parseAddress("kacho@test.jp"), True, ()),
        )
        self.assertEqual(str(sent.envelope.sender), "sato@test-sample00.jp")
        (sent,) = self.copies("tanaka@test.jp")
        self.assertEqual((sent.kept, sent.passed), (False, (Local("tanaka", "test.jp"),)))
        (sent,) = self.copies("out@test.jp")
        self.assertEqual((sent.front, sent.kept, sent.passed), (b"Delivered-To: out@test.jp\r\n", False, ()))

    def test_eachOnce(self) -> None:
        """Nobody gets two, by whatever ways he is reached."""
        self.assertEqual(
            self.shown("kacho@test.jp", "tanaka@test.jp", "c@x.example", "out@test.jp"),
            [
                "sato@test-sample00.jp: kacho@test.jp c@x.example",
                "sato@test-sample00.jp: kacho@home.example",
                "sato@test-sample00.jp: tanaka@home.example",
            ],
        )

    def test_veryMany(self) -> None:
        """A crowd of people who forward is not as many messages."""
        found = self.copies("user1@test.jp", "staff@test.jp", *(f"f{n}@test.jp" for n in range(COPIES + 5)))
        self.assertEqual([len(copy.envelope.recipients) for copy in found], [1, 5, COPIES + 5])
        self.assertEqual(len(self.copies(*(f"f{n}@test.jp" for n in range(COPIES)))), COPIES)

    def test_list(self) -> None:
        """One copy from the list's own address, its members as they are reached, each once."""
        plain, copy = self.copies("user1@test.jp", "crew@test.jp", "staff@test.jp")
        self.assertEqual([str(each) for each in plain.envelope.recipients], ["user1@test.jp"])
        self.assertEqual(
            [str(each) for each in copy.envelope.recipients],
            ["a@x.example", "user1@test.jp", "bucho@test.jp", "tanaka@home.example", "kacho@home.example"],
        )
        self.assertEqual((str(copy.envelope.sender), copy.list), ("staff-bounces@test.jp", "staff.test.jp"))
        self.assertTrue(
            copy.front.startswith(b'List-Id: "Staff"\r\n <staff.test.jp>\r\nList-Post: <mailto:staff@test.jp>\r\n')
        )

    def test_listInAList(self) -> None:
        """Members of a list in a list are members of the outer one; a list without members has its owner."""
        (copy,) = self.copies("all@test.jp")
        self.assertEqual(len(copy.envelope.recipients), 6)
        self.assertEqual(str(copy.envelope.sender), "all-bounces@test.jp")
        self.assertIn(b"List-Post: NO\r\n", copy.front)
        self.assertEqual(self.shown("empty@test.jp"), ["empty-bounces@test.jp: bucho@test.jp"])

    def test_membersChange(self) -> None:
        """What was known of a list's members goes with the tables."""
        self.assertEqual(len(self.copies("staff@test.jp")[0].envelope.recipients), 5)
        self.there = directory(accounts="user1\tx\nbucho\tx\n", details="", aliases="")
        self.assertEqual(len(self.copies("staff@test.jp")[0].envelope.recipients), 4)

    def test_noticeToAList(self) -> None:
        """A notice does not go to a list; it goes to the list's owner by the list's own names."""
        caught = self.assertRaises(Refused, self.copies, "staff@test.jp", sender=None)
        self.assertEqual(caught.reply, wording.looping())
        for name in ("staff-bounces@test.jp", "staff-owner@test.jp", "STAFF-Bounces@test.jp"):
            self.assertEqual(self.shown(name, sender=None), ["None: bucho@test.jp"])
            self.assertTrue(self.there.exists(parseAddress(name)))

    def test_ownNamesTaken(self) -> None:
        """A table that has the name of a list's owner keeps it."""
        there = directory(aliases="staff-owner@test.jp\tuser1@test.jp\nchief@test.jp\tbucho@test.jp\n")
        expansion = Expansion(lambda: there)
        self.assertEqual(
            [str(each) for each in expansion.expand(parseAddress("staff-owner@test.jp"))], ["user1@test.jp"]
        )
        self.assertEqual(
            [str(each) for each in expansion.expand(parseAddress("staff-bounces@test.jp"))], ["bucho@test.jp"]
        )


class SrsTests(ExpansionTests):
    """The same where reverse paths are rewritten, and what that changes."""

    def setUp(self) -> None:
        """With SRS."""
        super().setUp()
        self.plain = self.expansion
        self.srs = Srs([b"key"])
        self.expansion = Expansion(lambda: self.there, self.srs, lambda: NOW)
        self.rewritten = self.srs.forward(parseAddress("sato@test-sample00.jp"), "test.jp", NOW)

    def test_sentOn(self) -> None:
        """A sender outside is rewritten where mail is sent on; one of ours and a notice's are not."""
        outside = self.shown("kacho@test.jp", "z@y.example")
        self.assertEqual(
            outside, ["sato@test-sample00.jp: kacho@test.jp z@y.example", f"{self.rewritten}: kacho@home.example"]
        )
        self.assertEqual(self.shown("tanaka@test.jp", sender=None), ["None: tanaka@home.example kacho@home.example"])
        ours = self.shown("tanaka@test.jp", sender="user1@test.jp")
        self.assertEqual(ours, ["user1@test.jp: tanaka@home.example kacho@home.example"])

    def test_eachOnce(self) -> None:
        """As without."""
        self.assertEqual(
            self.shown("kacho@test.jp", "tanaka@test.jp"),
            [
                "sato@test-sample00.jp: kacho@test.jp",
                f"{self.rewritten}: kacho@home.example",
                f"{self.rewritten}: tanaka@home.example",
            ],
        )

    def test_returned(self) -> None:
        """What comes back to a rewritten address is for whoever sent it."""
        self.assertEqual(self.shown(str(self.rewritten), sender=None), ["None: sato@test-sample00.jp"])
        self.assertEqual([str(each) for each in self.expansion.expand(self.rewritten)], ["sato@test-sample00.jp"])
        self.assertEqual(self.plain.expand(self.rewritten), (self.rewritten,))

    def test_admission(self) -> None:
        """Notices to it are let in from anywhere; what is forged, or no notice, is nobody's; others are asked for."""
        admission = Admission(lambda: self.there, returned=self.expansion.returned)
        stranger = Client("203.0.113.25")
        forged = parseAddress("SRS0=AAAAAA=AA=x.example=victim@test.jp")
        elsewhere = parseAddress("SRS0=AAAAAA=AA=x.example=victim@other.example")
        sender = parseAddress("z@y.example")
        for path, forward, code in (
            (None, self.rewritten, 250),
            (sender, self.rewritten, 550),
            (None, forged, 550),
            (None, elsewhere, 550),
            (None, parseAddress("user1@test.jp"), 250),
            (None, parseAddress("nobody@test.jp"), 550),
        ):
            decision = admission.recipient(stranger, path, admission.sender(stranger, path, False), forward)
            self.assertEqual(decision.reply.code, code, forward)  # type: ignore[union-attr]
        self.assertEqual(admission.exempt(stranger), False)

    def test_noWayOutForPeople(self) -> None:
        """Who logs in returns no notices: an address of SRS that somebody outside tells him leads him nowhere."""
        admission = Admission(lambda: self.there, returned=self.expansion.returned)
        user = parseAddress("user1@test.jp")
        for person in (Client("203.0.113.25", account=user), Client("203.0.113.25", submission=True)):
            decision = admission.recipient(person, None, admission.sender(person, None, False), self.rewritten)
            self.assertEqual(decision.reply.code, 550)  # type: ignore[union-attr]
