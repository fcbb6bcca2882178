"""Tests of L{epost.admission}: what is decided by more than tables."""

from dataclasses import replace
from itertools import product

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.admission import Admission
from epost.interfaces import IAdmission, IAllowance, IContent, IDraft, IInbox, Usage
from epost.mail.address import Address, parseAddress
from epost.mail.decision import Allowed, Because, Client, Decision, Spent
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from epost.matrix import boxLimit, decideSender
from epost.smtp import wording
from tests.test_matrix import BAITO, LOGGED, NEXTHOP, OFFICE, STRANGER, directory

LATER = Reply(451, ("Local error in processing.",), "4.3.0")


@implementer(IInbox)
class Boxes:
    """Mailboxes that hold 1000 octets each. @ivar broken: whether none can be read."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def draft(self, box: Local, origin: Name, heading: bytes) -> IDraft:
        """Never asked here."""
        raise AssertionError

    def deliver(
        self, box: Local, origin: Name, heading: bytes, content: IContent, bounded: bool = True
    ) -> "Deferred[None]":
        """Never asked here."""
        raise AssertionError

    def usage(self, box: Local) -> Usage:
        """See L{IInbox}."""
        if self.broken:
            raise Refused(LATER)
        return Usage(1000, 10)


@implementer(IAllowance)
class Purse:
    """
    Lets everybody send to three recipients outside.

    @ivar spent: for each recipient account and message.
    @ivar back: of those that were given back.
    """

    def __init__(self) -> None:
        self.spent: list[tuple[str, bool]] = []
        self.back: list[tuple[str, bool]] = []

    def spend(self, account: Address, allowed: Allowed, message: bool) -> Because | Spent:
        """See L{IAllowance}."""
        assert allowed == Allowed(recipientsPerHour=3)
        if len(self.spent) == 3:
            return Because("limit", 0, f"{account} has sent enough")
        self.spent.append((str(account), message))
        return Spent(account, message, ())

    def giveBack(self, spent: Spent) -> None:
        """See L{IAllowance}."""
        self.back.append((str(spent.account), spent.message))


class AllowanceTests(SynchronousTestCase):
    """What goes to the outside is counted."""

    def setUp(self) -> None:
        """Where baito has an allowance."""
        there = directory(
            details='["baito@test.jp"]\nrecipients_per_hour = 3\n',
            aliases="out@test.jp\tx@out.jp\nboth@test.jp\tbaito@test.jp\nboth@test.jp\tuser1@test.jp\n",
        )
        self.purse = Purse()
        verifyObject(IAllowance, self.purse)
        self.admission = Admission(lambda: there, allowance=self.purse)

    def send(self, client: Client, path: str | None, *forwards: str) -> list[int]:
        """The codes of RCPT in one message."""
        reverse = parseAddress(path) if path else None
        sender = self.admission.sender(client, reverse, False)
        taken: list[Address] = []
        codes = []
        for forward in map(parseAddress, forwards):
            decision = self.admission.recipient(client, reverse, sender, forward, taken)
            assert isinstance(decision, Decision)
            codes.append(decision.reply.code)
            taken += [forward] if decision.accepts else []
        return codes

    def test_outside(self) -> None:
        """Recipients outside are counted, the first of a message with it; colleagues, and their aliases, are not."""
        self.assertEqual(
            self.send(BAITO, "baito@test.jp", "user1@test.jp", "out@test.jp", "a@o.jp", "b@relay.jp"), [250] * 4
        )
        self.assertEqual(self.purse.spent, [("baito@test.jp", True), ("baito@test.jp", False)])
        self.assertEqual(self.send(OFFICE, "baito@test.jp", "c@o.jp", "d@o.jp", "user1@test.jp"), [250, 450, 250])
        self.assertEqual(self.purse.spent[2:], [("baito@test.jp", True)])

    def test_refusal(self) -> None:
        """It is told in our words, with what forbids it."""
        self.purse.spent = [("x", True)] * 3
        reverse, forward = parseAddress("baito@test.jp"), parseAddress("a@o.jp")
        decision = self.admission.recipient(BAITO, reverse, self.admission.sender(BAITO, reverse, False), forward)
        assert isinstance(decision, Decision)
        self.assertEqual(
            (decision.reply, decision.because.text), (wording.sentTooMuch(), "baito@test.jp has sent enough")
        )

    def test_givenBack(self) -> None:
        """The decision names what was counted, and that is given back."""
        reverse, forward = parseAddress("baito@test.jp"), parseAddress("a@o.jp")
        decision = self.admission.recipient(BAITO, reverse, self.admission.sender(BAITO, reverse, False), forward)
        assert isinstance(decision, Decision) and decision.spent is not None
        self.assertEqual((decision.reply.code, self.purse.back), (250, []))
        self.admission.giveBack([decision.spent])
        self.assertEqual(self.purse.back, self.purse.spent)

    def test_unknownThere(self) -> None:
        """Whom the next hop does not know is not counted, whether that is known at once or later; whom it knows is."""
        forward = parseAddress("a@relay.jp")
        no = Decision(wording.unknownUser(forward), Because("verification", 0, ""))
        yes = Decision(wording.recipientOk(forward), Because("verification", 0, ""))
        answers: list[Decision | Deferred[Decision] | None] = [no, succeed(no), yes, succeed(yes), None]
        admission = Admission(
            self.admission._directory, None, lambda address, sender: answers.pop(0), allowance=self.purse
        )
        reverse = parseAddress("baito@test.jp")
        sender = admission.sender(BAITO, reverse, False)
        for taken, back in ((False, 1), (False, 2), (True, 2), (True, 2), (True, 2)):
            self.purse.spent = []
            decision = admission.recipient(BAITO, reverse, sender, forward)
            if isinstance(decision, Deferred):
                decision = self.successResultOf(decision)
            self.assertEqual((decision.accepts, decision.spent is not None, len(self.purse.back)), (taken, taken, back))

    def test_nobodysAllowance(self) -> None:
        """Who has no limit, a group's name in the office, strangers and what is refused spend nothing."""
        self.assertEqual(self.send(LOGGED, "user1@test.jp", "a@o.jp"), [250])
        self.assertEqual(self.send(OFFICE, "both@test.jp", "a@o.jp"), [250])
        self.assertEqual(self.send(STRANGER, "baito@test.jp", "a@o.jp", "b@relay.jp"), [550, 250])
        self.assertEqual(self.send(BAITO, "baito@test.jp", "nobody@test.jp"), [550])
        self.assertEqual(self.send(BAITO, None, "a@o.jp"), [550])
        self.assertEqual(self.purse.spent, [])


class AdmissionTests(SynchronousTestCase):
    """What needs more than tables."""

    def ask(self, admission: Admission, forward: str) -> "Decision | Deferred[Decision]":
        """RCPT from a stranger."""
        path = parseAddress("x@outside.jp")
        return admission.recipient(STRANGER, path, admission.sender(STRANGER, path, False), parseAddress(forward))

    def test_interfaces(self) -> None:
        """It is an IAdmission, and the recorder an IInbox."""
        verifyObject(IAdmission, Admission(directory))
        verifyObject(IInbox, Boxes())

    def test_fullMailbox(self) -> None:
        """A mailbox at its limit is refused for now; a group is while one of it has room."""
        there = directory(
            aliases="one@test.jp\tfull@test.jp\nboth@test.jp\tfull@test.jp\nboth@test.jp\tuser1@test.jp\n"
        )
        admission = Admission(lambda: there, Boxes())
        codes = [self.ask(admission, f"{name}@test.jp").reply for name in ("full", "one", "both", "user1")]  # type: ignore[union-attr]
        self.assertEqual(codes[:2], [wording.boxFull()] * 2)
        self.assertEqual([reply.code for reply in codes[2:]], [250, 250])
        tight = directory(boxOctets=1000)
        decision = self.ask(Admission(lambda: tight, Boxes()), "user1@test.jp")
        assert isinstance(decision, Decision)
        self.assertEqual(str(decision.because), 'limit "the mailbox of user1@test.jp holds 1000 of 1000 octets"')

    def test_fullAndForwarded(self) -> None:
        """Whose mail is sent on and kept is full when his own mailbox is, whatever room there is elsewhere."""
        for target in ("x@out.jp", "user1@test.jp"):
            there = directory(details=f'["full@test.jp"]\nforward = ["{target}"]\nkeep = true')
            decision = self.ask(Admission(lambda there=there: there, Boxes()), "full@test.jp")  # type: ignore[misc]
            assert isinstance(decision, Decision)
            self.assertEqual(decision.reply, wording.boxFull())

    def test_messages(self) -> None:
        """A mailbox is full by the number of its messages too; who forwards without a copy needs no room."""
        details = '["user1@test.jp"]\nmailbox_messages = {}\n["full@test.jp"]\nforward = ["x@out.jp"]\nkeep = false'
        for limit, code in ((10, 450), (11, 250)):
            there = directory(details=details.format(limit))
            decision = self.ask(Admission(lambda there=there: there, Boxes()), "user1@test.jp")  # type: ignore[misc]
            assert isinstance(decision, Decision)
            self.assertEqual(decision.reply.code, code)
            if code == 450:
                because = 'limit "the mailbox of user1@test.jp holds 10 of 10 messages"'
                self.assertEqual((decision.reply, str(decision.because)), (wording.boxFull(), because))
            forwarded = self.ask(Admission(lambda there=there: there, Boxes()), "full@test.jp")  # type: ignore[misc]
            self.assertEqual(forwarded.reply.code, 250)  # type: ignore[union-attr]

    def test_limit(self) -> None:
        """What a mailbox may hold: its own octets or everybody's, its own messages."""
        there = directory(details='["full@test.jp"]\nmailbox_messages = 7', boxOctets=500)
        admission = Admission(lambda: there)
        found = [admission.limit(Local(user, "test.jp")) for user in ("full", "user1", "nobody")]
        self.assertEqual(found, [Usage(1000, 7), Usage(500, 0), Usage()])
        account = there.account(parseAddress("full@test.jp"))
        assert account is not None
        self.assertEqual(boxLimit(there, account), Usage(1000, 7))

    def test_mailboxThatCannotBeRead(self) -> None:
        """A fault of the disk is said to the client, and refuses for now."""
        tight = directory(boxOctets=1000)
        decision = self.ask(Admission(lambda: tight, Boxes(broken=True)), "user1@test.jp")
        assert isinstance(decision, Decision)
        self.assertEqual(decision.reply, LATER)

    def test_verification(self) -> None:
        """Recipients in relay domains alone are asked about, and postmaster never."""
        asked: list[Address] = []
        refusal = Decision(Reply(550, ("no",)), Because("verification", 0, "no"))

        def verify(address: Address, sender: Address | None) -> Decision | None:
            asked.append(address)
            self.assertEqual(str(sender), "x@outside.jp")
            return refusal if address.local == "bad" else None

        admission = Admission(directory, None, verify)
        for forward, code in {
            "bad@relay.jp": 550,
            "x@relay.jp": 250,
            "postmaster@relay.jp": 250,
            "user1@test.jp": 250,
        }.items():
            decision = self.ask(admission, forward)
            assert isinstance(decision, Decision)
            self.assertEqual(decision.reply.code, code, forward)
        self.assertEqual([str(address) for address in asked], ["bad@relay.jp", "x@relay.jp"])

    def test_verificationLater(self) -> None:
        """An answer that is not at hand is handed through."""
        later: Deferred[Decision] = Deferred()
        self.assertIs(self.ask(Admission(directory, None, lambda address, sender: later), "x@relay.jp"), later)

    def test_reload(self) -> None:
        """The directory that is in force at the moment decides."""
        there = [directory()]
        admission = Admission(lambda: there[0])
        path = parseAddress("x@outside.jp")
        self.assertTrue(admission.sender(STRANGER, path, False).accepts)
        there[0] = directory("x@outside.jp false")
        self.assertFalse(admission.sender(STRANGER, path, False).accepts)

    def test_asOne(self) -> None:
        """What is remembered of a sender holds for no other: not for one spelled otherwise, nor another client."""
        there = directory("user1@test.jp false,1")
        admission = Admission(lambda: there)
        submitting = replace(STRANGER, submission=True)
        clients = (STRANGER, OFFICE, LOGGED, NEXTHOP, submitting, replace(LOGGED, submission=True))
        paths = [None, *map(parseAddress, ("user1@test.jp", "USER1@test.jp", "full@test.jp", "x@outside.jp"))]
        for _ in range(2):
            for client, path, blank in product(clients, paths, (False, True)):
                if path is None or not blank:
                    expected = decideSender(there, client, path, blank)
                    self.assertEqual(admission.sender(client, path, blank), expected, (client, path, blank))

    def test_spelling(self) -> None:
        """So with recipients: each hears its own."""
        admission = Admission(directory)
        for text in ("User1@test.jp", "user1@test.jp", "Nobody@test.jp", "nobody@TEST.jp"):
            decision = self.ask(admission, text)
            assert isinstance(decision, Decision)
            self.assertIn(text, decision.reply.lines[0])

    def test_clientsShare(self) -> None:
        """Of a client the three that a decision about a sender is remembered by have a say, and nothing else."""
        read: set[str] = set()

        class Watched:
            def __init__(self, client: Client) -> None:
                self.client = client

            def __getattr__(self, name: str) -> object:
                read.add(name)
                return getattr(self.client, name)

        tables = [directory(), directory("user1@test.jp false,1\n192.168.0.* norelay\n*@outside.jp only")]
        paths = [None, *map(parseAddress, ("user1@test.jp", "all@test.jp", "x@outside.jp", "nobody@test.jp"))]
        for there, client, path in product(tables, (STRANGER, OFFICE, LOGGED, NEXTHOP), paths):
            decideSender(there, Watched(client), path)  # type: ignore[arg-type]
        self.assertEqual(read, {"address", "account", "submission"})

    def test_exempt(self) -> None:
        """Machines of gateway.dat and of true lines may have any number of connections."""
        there = directory("192.168.0.9 false\n192.168.0.* true\nuser1@test.jp true")
        admission = Admission(lambda: there)
        clients = (OFFICE, NEXTHOP, STRANGER, Client("192.168.0.9"))
        self.assertEqual([admission.exempt(client) for client in clients], [True, True, False, False])
