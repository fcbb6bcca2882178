"""Tests of L{epost.matrix}: the matrix of spec 3, cell by cell, and what effect.dat changes in it."""

from dataclasses import replace
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from epost.admission import Admission
from epost.mail.address import parseAddress, postmaster
from epost.mail.decision import Because, Client, Decision
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.matrix import Restrict, decideRecipient, decideSender, isOurs
from epost.smtp import wording
from epost.tables.building import build
from epost.tables.directory import Directory, Ground
from epost.tables.patterns import Network, network
from epost.tables.restriction import Restriction, readRestriction

OFFICE = Client("192.168.0.5")
STRANGER = Client("203.0.113.9")
NEXTHOP = Client("192.168.7.7")
FREE: Restrict = lambda box: Restriction()  # noqa: E731
LOGGED = Client("203.0.113.9", account=parseAddress("user1@test.jp"))


def directory(
    effect: str = "",
    gateway: str = "relay.jp, 192.168.7.7",
    aliases: str = "",
    details: str = "",
    lists: str = "",
    **ground: object,
) -> Directory:
    """One with the accounts user1, full and baito of test.jp, and the alias all@test.jp."""
    faults: list[Fault] = []
    texts = {
        "effect": ("effect.dat", effect.encode()),
        "gateway": ("gateway.dat", gateway.encode()),
        "accounts": ("accounts.dat", b"user1\tx\t\ttest.jp\nfull\tx\t\ttest.jp\t\t\t\t1000\nbaito\tx\t\ttest.jp\n"),
        "details": ("accounts.toml", details.encode()),
        "lists": ("lists.toml", lists.encode()),
        "aliases": ("aliases.dat", f"all@test.jp\tuser1@test.jp\n{aliases}".encode()),
    }
    nets: tuple[Network, ...] = (network("192.168.0.0/24"),)  # type: ignore[assignment]
    if not ground.get("local", True):
        del texts["accounts"], texts["aliases"]
    members = {"staff.txt": b"user1@test.jp\nx@outside.jp\n"}
    known = {"local": ("test.jp",), "networks": nets, "mailboxes": True} | ground
    found = build(Ground("backend.toml", "mx.test.jp", **known), texts, faults, [], members)  # type: ignore[arg-type]
    assert not faults, faults
    return found


def mail(there: Directory, client: Client, path: str | None, blank: bool = False) -> Decision:
    """What becomes of MAIL."""
    return decideSender(there, client, parseAddress(path) if path else None, blank)


def rcpt(there: Directory, client: Client, path: str | None, forward: str) -> str:
    """What becomes of a message, as one word: accept, false, noaccount, foreign (refused at MAIL), unknown, relay."""
    sender = mail(there, client, path)
    if not sender.accepts:
        words = {wording.invalidSender(): "false", wording.noAccount(): "noaccount", wording.notYours(): "foreign"}
        return words[sender.reply]
    to = parseAddress(forward) if "@" in forward else postmaster()
    reply = decideRecipient(there, client, parseAddress(path) if path else None, sender, to).reply
    words = {wording.recipientOk(to): "accept", wording.unknownUser(to): "unknown", wording.relaying(to): "relay"}
    return words[reply]


COLUMNS = ("user1@test.jp", "nobody@test.jp", "x@outside.jp", "x@relay.jp")
INTERNAL = ("accept", "unknown", "accept", "accept")
OUTSIDE = ("accept", "unknown", "relay", "accept")
NOACCOUNT = ("noaccount",) * 4
FALSE = ("false",) * 4
FOREIGN = ("foreign",) * 4
SENDERS = ("user1@test.jp", "all@test.jp", "nobody@test.jp", "x@outside.jp", "x@relay.jp", None)


class MatrixTests(SynchronousTestCase):
    """Every kind of client, every kind of sender, every kind of recipient, under every kind of line."""

    def assertMatrix(self, there: Directory, client: Client, *rows: tuple[str, ...]) -> None:
        """The rows stand for L{SENDERS}."""
        found = {path: tuple(rcpt(there, client, path, to) for to in COLUMNS) for path in SENDERS}
        self.assertEqual(found, dict(zip(SENDERS, rows, strict=True)))

    def test_office(self) -> None:
        """In [relay] networks the matrix is E-Post's."""
        self.assertMatrix(directory(), OFFICE, INTERNAL, INTERNAL, NOACCOUNT, OUTSIDE, OUTSIDE, OUTSIDE)

    def test_stranger(self) -> None:
        """From anywhere else a reverse path of ours makes nobody internal: no open relay."""
        self.assertMatrix(directory(), STRANGER, *[OUTSIDE] * 6)

    def test_loggedIn(self) -> None:
        """Whoever logged in is internal under his own names, may use no others, and writes inside with a null path."""
        self.assertMatrix(directory(), LOGGED, INTERNAL, INTERNAL, NOACCOUNT, FOREIGN, FOREIGN, OUTSIDE)

    def test_loggedInFromAnywhere(self) -> None:
        """From where he logged in makes no difference: not the office, nor a next hop, whose null path is believed."""
        for client in (OFFICE, NEXTHOP):
            there = replace(client, account=LOGGED.account)
            self.assertMatrix(directory(), there, INTERNAL, INTERNAL, NOACCOUNT, FOREIGN, FOREIGN, OUTSIDE)

    def test_nullPathThatIsSubmitted(self) -> None:
        """At a port for submission a null path stays inside, whatever a line says of the machine."""
        there = directory(f"{NEXTHOP.address} true")
        for submission, word in ((False, "accept"), (True, "relay")):
            client = replace(NEXTHOP, submission=submission)
            self.assertEqual(rcpt(there, client, None, "x@outside.jp"), word)
            self.assertEqual(rcpt(there, client, None, "user1@test.jp"), "accept")

    def test_nextHop(self) -> None:
        """A next hop's own notices, from the null path, get out; nothing else of it does."""
        self.assertMatrix(directory(), NEXTHOP, *[OUTSIDE] * 5, INTERNAL)

    def test_everyNetwork(self) -> None:
        """networks = ["*"] is E-Post's behaviour: the reverse path is believed."""
        every = directory(networks=(network("0.0.0.0/0"), network("::/0")))
        self.assertMatrix(every, STRANGER, INTERNAL, INTERNAL, NOACCOUNT, OUTSIDE, OUTSIDE, OUTSIDE)

    def test_true(self) -> None:
        """true relays without condition, but not for an internal sender that has no account."""
        for client in (OFFICE, STRANGER, NEXTHOP):
            there = directory(f"{client.address} true")
            self.assertMatrix(there, client, INTERNAL, INTERNAL, NOACCOUNT, INTERNAL, INTERNAL, INTERNAL)

    def test_only(self) -> None:
        """Who is in an only line may do all; who is in none writes to internal users only, though he is internal."""
        there = directory("192.168.0.* only")
        self.assertMatrix(there, OFFICE, INTERNAL, INTERNAL, NOACCOUNT, INTERNAL, INTERNAL, INTERNAL)
        there = directory("10.*.*.* only")
        self.assertMatrix(there, OFFICE, OUTSIDE, OUTSIDE, NOACCOUNT, OUTSIDE, OUTSIDE, OUTSIDE)

    def test_onlyAfterAnother(self) -> None:
        """A line that matches before an only line wins, and only narrows nothing then."""
        for line in ("192.168.0.5 true", "192.168.0.5 default"):
            there = directory(f"{line}\n10.*.*.* only")
            self.assertEqual(rcpt(there, OFFICE, "user1@test.jp", "x@outside.jp"), "accept", line)

    def test_false(self) -> None:
        """false refuses at MAIL."""
        for client in (OFFICE, STRANGER, NEXTHOP):
            self.assertMatrix(directory(f"{client.address} false"), client, *[FALSE] * 6)

    def test_default(self) -> None:
        """default ends the reading and leaves the matrix."""
        there = directory("192.168.0.5 default\n192.168.0.5 false")
        self.assertMatrix(there, OFFICE, INTERNAL, INTERNAL, NOACCOUNT, OUTSIDE, OUTSIDE, OUTSIDE)

    def test_norelay(self) -> None:
        """norelay is the matrix without the outside; norelay,2 refuses at MAIL with the words of false."""
        there = directory("192.168.0.5 norelay")
        self.assertMatrix(there, OFFICE, OUTSIDE, OUTSIDE, NOACCOUNT, OUTSIDE, OUTSIDE, OUTSIDE)
        self.assertMatrix(directory("192.168.0.5 norelay,2"), OFFICE, *[FALSE] * 6)

    def test_withAuth(self) -> None:
        """
        Every kind and option under AUTH. It lifts false and norelay but with ,0, and never norelay,2; it lifts no only;
        no line gives a name to whom it does not belong, or lets a null path outside.
        """
        free = (INTERNAL, INTERNAL, NOACCOUNT, FOREIGN, FOREIGN, OUTSIDE)
        narrowed = (OUTSIDE, OUTSIDE, NOACCOUNT, FOREIGN, FOREIGN, OUTSIDE)
        refused = (FALSE,) * 6
        for line, rows in {
            "203.0.113.9": free, "203.0.113.9 true,0": free, "203.0.113.9 true,1": free,
            "203.0.113.9 default": free, "203.0.113.9 default,0": free, "203.0.113.9 default,1": free,
            "203.0.113.9 only": free, "203.0.113.9 only,0": free, "203.0.113.9 only,1": free,
            "10.*.*.* only": narrowed, "10.*.*.* only,0": narrowed, "10.*.*.* only,1": narrowed,
            "203.0.113.9 false": free, "203.0.113.9 false,1": free, "203.0.113.9 false,0": refused,
            "203.0.113.9 norelay": free, "203.0.113.9 norelay,1": free, "203.0.113.9 norelay,0": narrowed,
            "203.0.113.9 norelay,2": refused,
            "#<> true": free, "#<> false": free, "#<> false,0": (*free[:5], FALSE), "#<> norelay,2": (*free[:5], FALSE),
        }.items():  # fmt: skip
            found = {path: tuple(rcpt(directory(line), LOGGED, path, to) for to in COLUMNS) for path in SENDERS}
            self.assertEqual(found, dict(zip(SENDERS, rows, strict=True)), line)

    def test_optionsMeanNothingWithoutAuth(self) -> None:
        """Without AUTH the options 0 and 1 are the same."""
        for kind, option in product(("true", "false", "only", "default", "norelay"), ("0", "1")):
            plain = directory(f"192.168.0.5 {kind}")
            there = directory(f"192.168.0.5 {kind},{option}")
            for path, to in product(SENDERS, COLUMNS):
                self.assertEqual(rcpt(there, OFFICE, path, to), rcpt(plain, OFFICE, path, to))


class SenderTests(SynchronousTestCase):
    """MAIL, beside the matrix."""

    def test_seed(self) -> None:
        """The seed's table, and what decided."""
        there = directory(
            "#<> default\n#blank false\nbaito@test.jp false\nuser1@test.jp false\n192.168.7.7 true", local=()
        )
        self.assertEqual(str(mail(there, NEXTHOP, "Baito@test.jp").because), 'effect.dat:3 "baito@test.jp false"')
        self.assertEqual(mail(there, NEXTHOP, "user1@test.jp").reply, wording.invalidSender())
        self.assertEqual(rcpt(there, NEXTHOP, "bucho@test.jp", "user2@test-sample00.jp"), "accept")
        self.assertEqual(rcpt(there, NEXTHOP, None, "user2@test-sample00.jp"), "accept")
        self.assertEqual(rcpt(there, STRANGER, "user2@test-sample00.jp", "x@relay.jp"), "accept")
        self.assertEqual(rcpt(there, STRANGER, "bucho@test.jp", "user2@test-sample00.jp"), "relay")

    def test_blank(self) -> None:
        """Nothing behind MAIL FROM: is 550 where #blank false matches, else 501."""
        for effect, client, code in [
            ("", OFFICE, 501), ("#blank false", OFFICE, 550), ("#blank false", LOGGED, 501),
            ("#blank false,0", LOGGED, 550),
            ("#blank true", OFFICE, 501), ("192.168.0.5 true\n#blank false", OFFICE, 501), ("#<> false", OFFICE, 501),
        ]:  # fmt: skip
            self.assertEqual(mail(directory(effect), client, None, blank=True).reply.code, code, effect)

    def test_aliasesCount(self) -> None:
        """With a wildcard alias to somebody every address of the domain has an account; one to nobody gives none."""
        for target, sender, recipient in (
            ("user1@test.jp", "accept", "accept"),
            ("*@outside.jp", "accept", "accept"),
            ("*@test.jp", "noaccount", "unknown"),
            ("x*@test.jp", "noaccount", "unknown"),
        ):
            there = directory(aliases=f"*@test.jp\t{target}\n")
            self.assertEqual(rcpt(there, OFFICE, "anybody@test.jp", "x@outside.jp"), sender, target)
            self.assertEqual(rcpt(there, STRANGER, None, "anybody@test.jp"), recipient, target)
        there = directory(
            aliases="dead@test.jp\tnobody@test.jp\nhalf@test.jp\tnobody@test.jp\nhalf@test.jp\tuser1@test.jp\n"
        )
        self.assertEqual(rcpt(there, STRANGER, None, "dead@test.jp"), "unknown")
        self.assertEqual(rcpt(there, STRANGER, None, "half@test.jp"), "accept")

    def test_ownLiteral(self) -> None:
        """An account that calls itself by our IP address would pass the rules of every other server; nobody may."""
        there = directory(listening=frozenset({Hop("192.168.0.102", 25), Hop("::2", 25)}), effect="192.168.0.5 true")
        for path in ("user1@[192.168.0.102]", "USER1@[IPv6:::2]", "nobody@[192.168.0.102]"):
            for client in (OFFICE, STRANGER, LOGGED, NEXTHOP):
                self.assertEqual(rcpt(there, client, path, "x@outside.jp"), "noaccount", path)
        self.assertEqual(rcpt(there, STRANGER, "x@[192.168.0.103]", "user1@test.jp"), "accept")

    def test_ours(self) -> None:
        """Missing fields are added for those alone who are internal and name themselves."""
        there = directory()
        asked = [(c, p) for c in (OFFICE, STRANGER, LOGGED) for p in (parseAddress("user1@test.jp"), None)]
        self.assertEqual([isOurs(there, *each) for each in asked], [True, False, False, False, True, False])
        self.assertEqual([decideSender(there, *each).ours for each in asked], [True, False, False, False, True, False])


BAITO = Client("203.0.113.9", account=parseAddress("baito@test.jp"))
INSIDE_ONLY = '["baito@test.jp"]\noutside = false\n'


def answer(there: Directory, client: Client, path: str | None, forward: str, restrict: Restrict = FREE) -> Decision:
    """The decision on RCPT, or on MAIL where that refuses."""
    sender = mail(there, client, path)
    reverse = parseAddress(path) if path else None
    if not sender.accepts:
        return sender
    return decideRecipient(there, client, reverse, sender, parseAddress(forward), restrict)


class OwnNamesTests(SynchronousTestCase):
    """Whoever has logged in writes under his own names."""

    def test_whoseItIs(self) -> None:
        """The address, an alias that leads to it alone or in a group, a tag, what is granted; nothing else."""
        there = names()
        for path, code in {
            "USER1@Test.jp": 250, "user1+shop@test.jp": 250, "all@test.jp": 250, "one@test.jp": 250,
            "user1@old.jp": 250,
            "a@shop.example": 250, "x@gmail.example": 250, "full+x@test.jp": 250, "full+y@test.jp": 553,
            "info+x@test.jp": 250,
            "y@gmail.example": 553, "full@test.jp": 553, "full@old.jp": 553, "baito@test.jp": 553, "x@relay.jp": 553,
            "staff@test.jp": 553, "nobody@test.jp": 550,
        }.items():  # fmt: skip
            self.assertEqual(mail(there, LOGGED, path).reply.code, code, path)
        refusal = mail(there, LOGGED, "full@test.jp")
        self.assertEqual(refusal.reply, wording.notYours())
        self.assertEqual(str(refusal.because), 'matrix "<full@test.jp> is no address of user1@test.jp"')

    def test_gone(self) -> None:
        """An account that is removed or disabled while a client is logged in sends no more."""
        gone = mail(directory(), Client("::1", account=parseAddress("x@test.jp")), "user1@test.jp")
        self.assertEqual((gone.reply, gone.because.text), (wording.notYours(), "x@test.jp is no account any more"))
        there = directory(details='["user1@test.jp"]\ndisabled = true')
        because = 'accounts.toml:2 "user1@test.jp disabled = true"'
        self.assertEqual(str(mail(there, LOGGED, "user1@test.jp").because), because)
        self.assertTrue(answer(there, STRANGER, "x@outside.jp", "user1@test.jp").accepts)
        sender = mail(directory(), LOGGED, "user1@test.jp")
        for forward in ("baito@test.jp", "x@outside.jp"):  # nor in a transaction that had begun before
            refusal = decideRecipient(there, LOGGED, parseAddress("user1@test.jp"), sender, parseAddress(forward))
            self.assertEqual((refusal.reply, str(refusal.because)), (wording.notYours(), because))


def names() -> Directory:
    """Where user1 has many names."""
    return directory(
        aliases="all@test.jp\tbaito@test.jp\none@test.jp\tall@test.jp\n*@old.jp\t*@test.jp\n"
        "info@test.jp\tbaito@test.jp\n",
        details='["user1@test.jp"]\nsenders = ["*@shop.example", "x@gmail.example", "full+x@test.jp", "info@test.jp"]\n'
        '["baito@test.jp"]\nforward = ["user1@test.jp"]\n',
        lists='["staff@test.jp"]\nmembers = "staff.txt"\nowner = "user1@test.jp"',
        local=("test.jp", "old.jp"),
        separator="+",
    )


class InsideOnlyTests(SynchronousTestCase):
    """outside = false: the seed's rule on a single host."""

    def test_who(self) -> None:
        """It holds under AUTH and in the office, by whatever name of the account's; for others it does not."""
        there = directory(
            details=INSIDE_ONLY + 'senders = ["b@gmail.example"]',
            aliases="b@test.jp\tbaito@test.jp\nboth@test.jp\tbaito@test.jp\nboth@test.jp\tuser1@test.jp\n",
            separator="+",
        )
        for client, path, code in (
            (BAITO, "baito@test.jp", 550), (BAITO, "b@test.jp", 550), (BAITO, "both@test.jp", 550),
            (BAITO, "b@gmail.example", 550), (BAITO, "baito+x@test.jp", 550),
            (OFFICE, "Baito@test.jp", 550), (OFFICE, "b@test.jp", 550), (OFFICE, "baito+x@test.jp", 550),
            (OFFICE, "both@test.jp", 250), (OFFICE, "user1@test.jp", 250), (LOGGED, "both@test.jp", 250),
        ):  # fmt: skip
            decision = answer(there, client, path, "x@outside.jp")
            self.assertEqual(decision.reply.code, code, (client, path))
            if code == 550:
                self.assertEqual(decision.reply, wording.restricted())
                self.assertEqual(str(decision.because), 'accounts.toml:2 "baito@test.jp outside = false"')
            self.assertTrue(answer(there, client, path, "user1@test.jp").accepts)

    def test_trueLine(self) -> None:
        """No line of effect.dat is a way round, from wherever it lets somebody write."""
        for line, client in product(("true", "only", "norelay", "false"), (OFFICE, STRANGER, BAITO)):
            there = directory(f"{client.address} {line}", details=INSIDE_ONLY)
            self.assertFalse(answer(there, client, "baito@test.jp", "x@outside.jp").accepts, (line, client))

    def test_relayDomain(self) -> None:
        """A domain of gateway.dat is outside for him, though anybody else's mail for it is taken."""
        there = directory(details=INSIDE_ONLY)
        self.assertEqual(answer(there, BAITO, "baito@test.jp", "x@relay.jp").reply, wording.restricted())
        self.assertTrue(answer(there, STRANGER, "x@outside.jp", "x@relay.jp").accepts)

    def test_whatAnAdministratorLetsOut(self) -> None:
        """An alias and a colleague's forwarding that lead outside are inside: whoever wrote them wants it."""
        details = INSIDE_ONLY + '["user1@test.jp"]\nforward = ["me@home.example"]\n'
        there = directory(aliases="out@test.jp\tx@outside.jp\n", details=details)
        for forward in ("out@test.jp", "user1@test.jp"):
            self.assertTrue(answer(there, BAITO, "baito@test.jp", forward).accepts, forward)

    def test_nullPath(self) -> None:
        """The null path is no way round, and a stranger's mail in his name stays inside as ever."""
        there = directory("#<> true\n203.0.113.9 true", details=INSIDE_ONLY)
        self.assertEqual(answer(there, BAITO, None, "x@outside.jp").reply.code, 550)
        self.assertEqual(
            answer(directory(details=INSIDE_ONLY), STRANGER, "baito@test.jp", "x@outside.jp").reply,
            wording.relaying(parseAddress("x@outside.jp")),
        )


class SenderDatTests(SynchronousTestCase):
    """sender.dat: to whom an account may write."""

    def restrict(self, text: str) -> Restrict:
        """That of baito; everybody else has none."""
        found = readRestriction("sender.dat", text.encode(), [])
        return lambda box: found if box.user == "baito" else Restriction()

    def test_recipients(self) -> None:
        """Inside and outside, whatever name the recipient is called by; postmaster can always be asked."""
        there = directory(
            aliases="chief@test.jp\tuser1@test.jp\n", separator="+", postmaster=parseAddress("full@test.jp")
        )
        rules = self.restrict("user1@test.jp,-1\n*@test.jp\n*@partner.jp")
        for forward, line in {
            "user1@test.jp": 1, "USER1+x@test.jp": 1, "chief@test.jp": 1, "full@test.jp": 0, "x@partner.jp": 0,
            "x@outside.jp": 2, "x@relay.jp": 2, "postmaster@test.jp": 0,
        }.items():  # fmt: skip
            for client in (BAITO, OFFICE):
                decision = answer(there, client, "baito@test.jp", forward, rules)
                self.assertEqual(decision.accepts, not line, forward)
                if line:
                    self.assertEqual((decision.reply, decision.because.line), (wording.restricted(), line))
            self.assertTrue(answer(there, OFFICE, "full@test.jp", forward, rules).accepts)
        self.assertFalse(answer(there, BAITO, "baito@test.jp", "postmaster@relay.jp", rules).accepts)

    def test_ways(self) -> None:
        """
        No alias is a way round a line, whatever it looks like and wherever it leads. Who is on a list, or has a
        colleague's mail, is reached by that name until a line forbids the name.
        """
        there = directory(
            aliases="chief@test.jp\tuser1@test.jp\ntop@test.jp\tchief@test.jp\nall2@test.jp\tfull@test.jp\n"
            "all2@test.jp\tuser1+tag@test.jp\nsales-*@test.jp\tuser1@test.jp\nout@test.jp\tX@outside.jp\n"
            "crew@test.jp\tstaff@test.jp\n",
            lists='["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\npost = "anybody"\n',
            details='["full@test.jp"]\nforward = ["user1@test.jp"]\n',
            separator="+",
            listening=frozenset((Hop("192.168.0.102"),)),
        )
        lines = "user1@test.jp,-1\nx@outside.jp,-1\n"
        for forward in (
            "chief@test.jp", "top@test.jp", "all2@test.jp", "sales-5@test.jp", "out@test.jp", "user1@[192.168.0.102]",
            '"user1"@TEST.jp', "chief+x@test.jp",
        ):  # fmt: skip
            decision = answer(there, BAITO, "baito@test.jp", forward, self.restrict(lines))
            self.assertEqual(decision.reply, wording.restricted(), forward)
        for forward, name in (("staff@test.jp", "staff"), ("crew@test.jp", "staff"), ("full@test.jp", "full")):
            for more, accepted in (("", True), (f"{name}@test.jp,-1", False)):
                decision = answer(there, BAITO, "baito@test.jp", forward, self.restrict(lines + more))
                self.assertEqual(decision.accepts, accepted, (forward, more))

    def test_allowedByName(self) -> None:
        """An address that is allowed is allowed with its tags; the postmaster where no line names him."""
        there = directory(separator="+", postmaster=parseAddress("user1@test.jp"))
        rules = self.restrict("full@test.jp")
        for forward, accepted in (("full+x@test.jp", True), ("postmaster@test.jp", True), ("user1@test.jp", False)):
            self.assertEqual(answer(there, BAITO, "baito@test.jp", forward, rules).accepts, accepted, forward)

    def test_insideOfTheOffice(self) -> None:
        """In the office a sender is believed, also where a line lets him write inside only."""
        lists = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\n'
        there = directory("192.168.0.5 norelay", lists=lists)
        rules = self.restrict("user1@test.jp,-1")
        self.assertFalse(answer(there, OFFICE, "baito@test.jp", "user1@test.jp", rules).accepts)
        self.assertTrue(answer(there, OFFICE, "user1@test.jp", "staff@test.jp", rules).accepts)

    def test_strangers(self) -> None:
        """Who writes in his name from outside is not him."""
        self.assertTrue(
            answer(directory(), STRANGER, "baito@test.jp", "user1@test.jp", self.restrict("*@x.jp")).accepts
        )

    def test_broken(self) -> None:
        """Where it cannot be read nothing is taken for now, and the log says why."""
        broken = Restriction(broken=Because("sender.dat", 3, "cannot be read"))
        decision = answer(directory(), BAITO, "baito@test.jp", "user1@test.jp", lambda box: broken)
        self.assertEqual((decision.reply, decision.because), (wording.notNow(), broken.broken))


class ListTests(SynchronousTestCase):
    """Who may write to a list."""

    def test_gateways(self) -> None:
        """A gateway in the networks, or with a line of its own, passes on what strangers wrote: nobody of ours."""
        lists = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "user1@test.jp"\npost = "members"\n'
        door = (network(OFFICE.address),)
        mine, staff = parseAddress("user1@test.jp"), parseAddress("staff@test.jp")
        for effect in ("", f"{OFFICE.address} true\n"):
            for gateways, believed in (((), True), (door, False)):
                there = directory(effect, lists=lists, gateways=gateways)
                sender = decideSender(there, OFFICE, mine)
                self.assertEqual(sender.ours, believed)
                self.assertEqual(decideRecipient(there, OFFICE, mine, sender, staff).accepts, believed)
        there = directory(lists=lists, gateways=door)
        self.assertTrue(Admission(lambda: there).exempt(OFFICE))
        self.assertFalse(Admission(lambda: there).exempt(STRANGER))
        logged = replace(OFFICE, account=mine)
        self.assertTrue(decideSender(there, logged, mine).ours)

    def test_posters(self) -> None:
        """Members, the owner, or whoever is named; one of ours has to be believed that he is it."""
        cases = {
            "": {"office user1": 1, "office baito": 0, "office full": 1},
            "post = 'members'": {"stranger user1": 0, "stranger x": 1, "stranger y": 0, "office x": 1},
            'post = "owner"': {"office user1": 0, "office full": 1, "stranger full": 0, "stranger x": 0},
            'post = "anybody"': {"office baito": 1, "stranger y": 1, "stranger user1": 1},
            'post = ["y@outside.jp"]': {"stranger y": 1, "stranger x": 0, "office full": 1, "office user1": 0},
        }  # fmt: skip
        paths: dict[str, tuple[Client, str | None]] = {}
        for name, client in (("office", OFFICE), ("stranger", STRANGER)):
            for user in ("user1", "full", "baito"):
                paths[f"{name} {user}"] = client, f"{user}@test.jp"
            paths[f"{name} x"] = client, "x@outside.jp"
            paths[f"{name} y"] = client, "y@outside.jp"
        for post, expected in cases.items():
            lists = f'["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\n{post}'
            there = directory(lists=lists, aliases="team@test.jp\tstaff@test.jp\n")
            for who, accepted in expected.items():
                for forward in ("staff@test.jp", "team@test.jp"):
                    decision = answer(there, *paths[who], forward)
                    self.assertEqual(decision.accepts, bool(accepted), (post, who, forward))
                    if not accepted:
                        self.assertEqual(decision.reply, wording.posting(parseAddress(forward)))
                        self.assertEqual(
                            (decision.because.table, decision.because.line), ("lists.toml", 4 if post else 1)
                        )

    def test_probed(self) -> None:
        """
        Other servers ask with the null path whether a list is there; what has no sender no list takes after that.

        Where not everybody may write to it they are told so, by an answer that is a yes to whoever does not know it.
        """
        for post, code in (("", 252), ('post = "anybody"', 250), ('post = "owner"', 252)):
            lists = f'["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\n{post}'
            decision = answer(directory(lists=lists), STRANGER, None, "staff@test.jp")
            self.assertEqual((decision.accepts, decision.reply.code), (True, code), post)

    def test_loggedIn(self) -> None:
        """Whoever has logged in is himself, whatever name of his he writes under."""
        lists = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\n'
        there = directory(lists=lists, details='["user1@test.jp"]\nsenders = ["u@gmail.example"]', separator="+")
        for path in ("u@gmail.example", "user1+x@test.jp", "all@test.jp"):
            self.assertTrue(answer(there, LOGGED, path, "staff@test.jp").accepts, path)
        self.assertFalse(answer(there, BAITO, "baito@test.jp", "staff@test.jp").accepts)

    def test_sender(self) -> None:
        """A list's own address counts as an account where a sender is believed."""
        lists = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "full@test.jp"\n'
        self.assertTrue(answer(directory(lists=lists), OFFICE, "staff@test.jp", "x@outside.jp").accepts)


class TagTests(SynchronousTestCase):
    """A tag is no way round a line of effect.dat."""

    def test_effect(self) -> None:
        """A line about a sender holds for his tags, on a gateway too; a line above about the tag itself goes before."""
        for local in (("test.jp",), ()):
            there = directory("baito+ok@test.jp true\nbaito@test.jp false", separator="+", local=local)
            codes = [mail(there, OFFICE, f"baito{tag}@test.jp").reply.code for tag in ("", "+x", "+ok")]
            self.assertEqual(codes, [550, 550, 250], local)
        self.assertTrue(mail(directory("full@test.jp false", local=()), OFFICE, "full+x@test.jp").accepts)


class SizeTests(SynchronousTestCase):
    """An account's own limit of a message."""

    def test_octets(self) -> None:
        """It holds for whom it is about; of a group for nobody as long as one has none."""
        there = directory(
            details='["baito@test.jp"]\nmessage_octets = 1000\n["full@test.jp"]\nmessage_octets = 2000\n',
            aliases="two@test.jp\tbaito@test.jp\ntwo@test.jp\tfull@test.jp\nall@test.jp\tbaito@test.jp\n",
        )
        for client, path, octets in (
            (BAITO, "baito@test.jp", 1000), (BAITO, "two@test.jp", 1000), (BAITO, None, 0),
            (LOGGED, "user1@test.jp", 0),
            (OFFICE, "baito@test.jp", 1000), (OFFICE, "two@test.jp", 2000), (OFFICE, "all@test.jp", 0),
            (STRANGER, "baito@test.jp", 0),
        ):  # fmt: skip
            self.assertEqual(mail(there, client, path).octets, octets, (client, path))


class RecipientTests(SynchronousTestCase):
    """RCPT, beside the matrix."""

    def test_becauseOfARefusal(self) -> None:
        """Who may not write to the outside is told by the line that narrowed him, or by his row of the matrix."""
        for effect, client, because in [
            ("user1@test.jp norelay", OFFICE, 'effect.dat:1 "user1@test.jp norelay"'),
            ("'\n10.*.*.* only", OFFICE, 'effect.dat:2 "10.*.*.* only"'),
            ("", STRANGER, 'matrix "from outside"'),
        ]:
            there = directory(effect)
            path, to = parseAddress("user1@test.jp"), parseAddress("x@outside.jp")
            decision = decideRecipient(there, client, path, decideSender(there, client, path), to)
            self.assertEqual((decision.reply, str(decision.because)), (wording.relaying(to), because))

    def test_postmaster(self) -> None:
        """postmaster is taken from everybody where one is known, with and without domain."""
        there = directory(postmaster=parseAddress("user1@test.jp"))
        for to in ("postmaster", "postmaster@test.jp", "Postmaster@mx.test.jp", "postmaster@relay.jp"):
            self.assertEqual(rcpt(there, STRANGER, "x@outside.jp", to), "accept", to)
        self.assertEqual(rcpt(directory(), STRANGER, None, "postmaster"), "unknown")

    def test_wideLinesMakeNoRelay(self) -> None:
        """A line for * or *.jp in gateway.dat opens nothing."""
        there = directory(gateway="*, 192.168.7.7\n*.jp, 192.168.7.7")
        self.assertEqual(rcpt(there, STRANGER, "x@a.com", "x@outside.jp"), "relay")
        self.assertEqual(rcpt(there, STRANGER, "x@a.com", "x@outside.com"), "relay")
