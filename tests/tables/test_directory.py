"""Tests of L{epost.tables.directory} and L{epost.tables.patterns}."""

from unicodedata import normalize

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress, postmaster
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.tables import ways
from epost.tables.building import build
from epost.tables.directory import Directory, Ground
from epost.tables.patterns import Networks, network

ACCOUNTS = b"user1\tpass1234\nbucho\tpass1234\n"


def directory(
    aliases: str = "", details: str = "", lists: str = "", members: str = "", **ground: object
) -> tuple[Directory, list[Fault], list[Fault]]:
    """A back-end's directory with two accounts, its faults and its notes."""
    faults: list[Fault] = []
    notes: list[Fault] = []
    known = {"local": ("test.jp",), "mailboxes": True} | ground
    texts = {
        "accounts": ("accounts.dat", ACCOUNTS),
        "aliases": ("aliases.dat", aliases.encode()),
        "details": ("accounts.toml", details.encode()),
        "lists": ("lists.toml", lists.encode()),
    }
    there = Ground("backend.toml", "mx.test.jp", **known)  # type: ignore[arg-type]
    return build(there, texts, faults, notes, {"staff.txt": members.encode()}), faults, notes


POST = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\n'


def forward(name: str, *targets: str, keep: bool = True) -> str:
    """An account that forwards."""
    listed = ", ".join(f'"{target}"' for target in targets)
    return f'["{name}@test.jp"]\nforward = [{listed}]\nkeep = {str(keep).lower()}\n'


def decomposed(text: str) -> str:
    """A text in NFD."""
    return normalize("NFD", text)


def short(fault: Fault) -> str:
    """A fault without what was expected."""
    return str(fault).partition(", expected ")[0]


class PostmasterTests(SynchronousTestCase):
    """Mail for postmaster finds a person (RFC 5321 4.5.1)."""

    def test_setting(self) -> None:
        """Bare, at a local domain, at the server's own name and at its address, it is whom the setting names."""
        found, _, notes = directory(
            postmaster=parseAddress("bucho@test.jp"), listening=frozenset({Hop("10.0.0.1", 25)})
        )
        self.assertEqual(notes, [])
        for path in ("PostMaster@Test.jp", "postmaster@mx.test.jp", "postmaster@[10.0.0.1]"):
            self.assertEqual(found.expand(parseAddress(path)), (parseAddress("bucho@test.jp"),), path)
        self.assertEqual(found.expand(postmaster()), (parseAddress("bucho@test.jp"),))
        self.assertEqual(found.expand(parseAddress("postmaster@else.jp")), (parseAddress("postmaster@else.jp"),))

    def test_aliasOfTheName(self) -> None:
        """An alias of just this name goes before the setting, and is enough without one."""
        found, _, notes = directory("postmaster@test.jp\tuser1@test.jp\n")
        self.assertEqual((found.expand(postmaster()), notes), ((parseAddress("user1@test.jp"),), []))
        found, _, _ = directory("postmaster@test.jp\tuser1@test.jp\n", postmaster=parseAddress("bucho@test.jp"))
        self.assertEqual(found.expand(parseAddress("postmaster@test.jp")), (parseAddress("user1@test.jp"),))

    def test_beforeWildcard(self) -> None:
        """A wildcard alias does not swallow postmaster."""
        found, _, _ = directory("*@test.jp\tuser1@test.jp\n", postmaster=parseAddress("bucho@test.jp"))
        self.assertEqual(found.expand(parseAddress("postmaster@test.jp")), (parseAddress("bucho@test.jp"),))

    def test_nobody(self) -> None:
        """Without one the check warns and names the key; one that does not exist is a fault."""
        _, faults, notes = directory()
        self.assertEqual(faults, [])
        self.assertIn("expected [domains] postmaster", str(notes[0]))
        _, faults, _ = directory(postmaster=parseAddress("x@test.jp"), postmasterLine=7)
        self.assertIn("backend.toml:7: postmaster x@test.jp is neither", str(faults[0]))


class AliasTests(SynchronousTestCase):
    """Aliases lead to somebody."""

    def test_nobody(self) -> None:
        """One that leads to nobody is remarked on; a wildcard and an address outside are not."""
        _, faults, notes = directory(
            "a@test.jp\tnobody@test.jp\nb@test.jp\tuser1@test.jp\nc@test.jp\tb@test.jp\n"
            "d@test.jp\tx@else.jp\nz*@test.jp\tx*@test.jp\n",
            postmaster=parseAddress("bucho@test.jp"),
        )
        self.assertEqual(faults, [])
        expected = "aliases.dat:1: a@test.jp leads to nobody@test.jp, who is nobody, expected an account or an alias"
        self.assertEqual([str(note) for note in notes], [expected])


class KnownTests(SynchronousTestCase):
    """What costs time is found out once."""

    def walks(self, there: Directory, *names: str) -> int:
        """How often ways were walked while some addresses were asked for, each in all manners and twice."""
        starts: list[Address] = []

        def counted(start: Address, signs: ways.Signs) -> tuple[ways.Way, ...]:
            starts.append(start)
            return walk(start, signs)

        walk = ways.walk
        self.patch(ways, "walk", counted)
        for address in map(parseAddress, names * 2):
            there.exists(address), there.expand(address), there.aliased(address), there.named(address)
        self.patch(ways, "walk", walk)
        return len(starts)

    def test_group(self) -> None:
        """A group is walked once with forwarding and once without, however it is spelled and whatever its tag."""
        group = "".join(f"all@test.jp\tx{number}@test.jp\n" for number in range(1000))
        there, faults, _ = directory(f"{group}catch*@test.jp\tall@test.jp\n", separator="+")
        self.assertEqual(faults, [])
        self.assertEqual(self.walks(there, "all@test.jp", "ALL@test.jp", *(f"all+{n}@test.jp" for n in range(100))), 2)
        self.assertEqual(len(there.expand(parseAddress("all+7@test.jp"))), 1000)
        self.assertEqual(self.walks(there, *(f"catch{number}@test.jp" for number in range(100))), 2)
        self.assertEqual(there.expand(parseAddress("catch@test.jp")), there.expand(parseAddress("all@test.jp")))

    def test_carried(self) -> None:
        """A group behind a wildcard that carries its text on is walked no oftener, whatever the text is."""
        group = "".join(f"big@test.jp\tx{number}@else.jp\n" for number in range(3))
        there, _, _ = directory(f"o-*@test.jp\t*@test.jp\n{group}", separator="+")
        asked = (f"o-big+{number}@test.jp" for number in range(100))
        self.assertEqual(self.walks(there, *asked), 2)
        big, user = parseAddress("big@test.jp"), parseAddress("o-user1@test.jp")
        self.assertEqual([way.by for way in there.ways(parseAddress("o-big@test.jp"))], [big] * 3)
        self.assertEqual(there.ways(user), (ways.Way(parseAddress("user1@test.jp"), user),))

    def test_forward(self) -> None:
        """What an account forwards is walked once, and is not what its name alone leads to."""
        there, _, _ = directory("a@test.jp\tuser1@test.jp\n", forward("user1", "me@home.example", keep=False))
        self.assertEqual(self.walks(there, "user1@test.jp", "USER1@test.jp", "a@test.jp"), 3)
        for name in ("user1@test.jp", "a@test.jp"):
            self.assertEqual([str(each) for each in there.aliased(parseAddress(name))], ["user1@test.jp"])
            self.assertEqual([str(each) for each in there.expand(parseAddress(name))], ["me@home.example"])

    def test_ownWays(self) -> None:
        """Where a wildcard carries the text on each name has its own way, of which nothing is kept."""
        there, _, _ = directory("a-*@test.jp\t*@test.jp\na-*@test.jp\tx@else.jp\n")
        for name in ("user1", "bucho"):
            found = [str(each) for each in there.expand(parseAddress(f"a-{name}@test.jp"))]
            self.assertEqual(found, [f"{name}@test.jp", "x@else.jp"])
        self.assertEqual(len(there._known), 0)


class ForwardTests(SynchronousTestCase):
    """Accounts that have their mail sent on."""

    def assertLeads(self, there: Directory, address: str, *expected: str) -> None:
        """Where one address leads, each with whoever leads there last."""
        found = [
            f"{way.address} by {way.by}" if way.by else f"{way.address}" for way in there.ways(parseAddress(address))
        ]
        self.assertEqual(found, list(expected))

    def test_keep(self) -> None:
        """With a copy, and without one."""
        there, faults, _ = directory(details=forward("user1", "me@home.example", "bucho@test.jp"))
        self.assertEqual(faults, [])
        self.assertLeads(
            there,
            "User1@test.jp",
            "user1@test.jp",
            "me@home.example by user1@test.jp",
            "bucho@test.jp by user1@test.jp",
        )
        there, _, _ = directory(details=forward("user1", "me@home.example", keep=False))
        self.assertLeads(there, "user1@test.jp", "me@home.example by user1@test.jp")
        self.assertTrue(there.exists(parseAddress("user1@test.jp")))

    def test_behindAliases(self) -> None:
        """What an alias leads to is forwarded, also where an alias of the account's own name says "and here too"."""
        details = forward("user1", "me@home.example")
        there, _, _ = directory("sales@test.jp\tuser1@test.jp\nsales@test.jp\tbucho@test.jp\n", details)
        self.assertLeads(
            there,
            "sales@test.jp",
            "user1@test.jp by sales@test.jp",
            "me@home.example by user1@test.jp",
            "bucho@test.jp by sales@test.jp",
        )
        there, faults, _ = directory("user1@test.jp\tuser1@test.jp\nuser1@test.jp\tx@out.jp\n", details)
        self.assertEqual(faults, [])
        self.assertLeads(
            there, "user1@test.jp", "user1@test.jp", "me@home.example by user1@test.jp", "x@out.jp by user1@test.jp"
        )
        there, _, _ = directory("user1@test.jp\tx@out.jp\n", details)
        self.assertLeads(there, "user1@test.jp", "x@out.jp by user1@test.jp")

    def test_circles(self) -> None:
        """Who forwards to each other is a fault, over an alias too; and whatever happens the mail ends somewhere."""
        for keep in (True, False):
            details = forward("user1", "bucho@test.jp", keep=keep) + forward("bucho", "me@test.jp", keep=keep)
            there, faults, _ = directory("me@test.jp\tuser1@test.jp\n", details)
            self.assertEqual(
                [str(fault) for fault in faults],
                [
                    "aliases.dat:1: a circle, me@test.jp to user1@test.jp to bucho@test.jp to me@test.jp, "
                    "expected aliases and forwarding that lead to an account or outside"
                ],
            )
            self.assertTrue(there.ways(parseAddress("user1@test.jp")))

    def test_circleBehindAndHereToo(self) -> None:
        """An alias that leaves mail to the account of its name is no end: what that forwards may lead back."""
        _, faults, _ = directory(
            "user1@test.jp\tuser1@test.jp\nme@test.jp\tuser1@test.jp\n", forward("user1", "me@test.jp")
        )
        self.assertEqual([fault.why.partition(",")[0] for fault in faults], ["a circle"])
        _, faults, _ = directory("user1@test.jp\tuser1@test.jp\n", forward("user1", "x@out.jp"))
        self.assertEqual(faults, [])

    def test_noCircle(self) -> None:
        """What an account would forward is in no circle where an alias of its name takes its mail elsewhere."""
        aliases = "user1@test.jp\tbucho@test.jp\nme@test.jp\tuser1@test.jp\n"
        there, faults, _ = directory(aliases, forward("user1", "me@test.jp"))
        self.assertEqual(faults, [])
        self.assertLeads(there, "me@test.jp", "bucho@test.jp by user1@test.jp")

    def test_nobodyAndLists(self) -> None:
        """To nobody is remarked on; to a list, which asks who writes, is a fault."""
        _, faults, notes = directory(details=forward("user1", "nobody@test.jp"))
        self.assertEqual(faults, [])
        self.assertIn("accounts.toml:2: user1@test.jp forwards to nobody@test.jp, who is nobody", map(short, notes))
        _, faults, _ = directory("all@test.jp\tstaff@test.jp\n", forward("user1", "all@test.jp"), POST)
        self.assertEqual(
            [short(f) for f in faults], ["accounts.toml:2: user1@test.jp forwards to the list staff@test.jp"]
        )

    def test_aliasedAndNamed(self) -> None:
        """Whom an address names is not changed by what they do with their mail."""
        there, _, _ = directory("sales@test.jp\tuser1@test.jp\n", forward("user1", "bucho@test.jp", keep=False))
        self.assertEqual(there.aliased(parseAddress("sales@test.jp")), (parseAddress("user1@test.jp"),))
        self.assertEqual([a.box.user for a in there.named(parseAddress("sales@test.jp"))], ["user1"])
        self.assertEqual(there.named(parseAddress("x@out.jp")), ())


class ListTests(SynchronousTestCase):
    """Lists are addresses of their own."""

    def test_end(self) -> None:
        """A list exists, is found by whatever name leads to it, and stays together."""
        there, faults, _ = directory("all@test.jp\tstaff@test.jp\n", "", POST, "user1@test.jp\nx@out.jp")
        self.assertEqual(faults, [])
        self.assertTrue(there.exists(parseAddress("staff@test.jp")))
        self.assertEqual(there.expand(parseAddress("all@test.jp")), (parseAddress("staff@test.jp"),))
        one = there.list(parseAddress("Staff@test.jp"))
        assert one is not None
        self.assertEqual([str(member) for member in one.members], ["user1@test.jp", "x@out.jp"])
        self.assertIsNone(there.list(parseAddress("user1@test.jp")))

    def test_beforeWildcard(self) -> None:
        """A wildcard alias does not swallow it."""
        there, _, _ = directory("*@test.jp\tuser1@test.jp\n", "", POST)
        self.assertEqual(there.expand(parseAddress("staff@test.jp")), (parseAddress("staff@test.jp"),))

    def test_names(self) -> None:
        """The name of an account or an alias is taken."""
        for name, what in (("user1", "an account"), ("all", "an alias")):
            _, faults, _ = directory("all@test.jp\tbucho@test.jp\n", "", POST.replace("staff@", f"{name}@"))
            self.assertEqual([short(fault) for fault in faults], [f"lists.toml:1: {name}@test.jp is {what} too"])

    def test_circles(self) -> None:
        """Lists within each other, also over an alias, are a fault; a list within a list is none."""
        lists = POST + POST.replace("staff@", "board@").replace("staff.txt", "other.txt")
        _, faults, _ = directory("all@test.jp\tstaff@test.jp\n", "", POST, "all@test.jp")
        self.assertEqual(len(faults), 1)
        self.assertIn("a circle, ", str(faults[0]))
        there, faults, _ = directory("", "", lists, "board@test.jp\nuser1@test.jp")
        self.assertEqual(faults, [])
        self.assertEqual(there.posters[("board", "test.jp")], {parseAddress("bucho@test.jp")})

    def test_posters(self) -> None:
        """Who may write: members by their own names, by groups and by the lists that are members."""
        there, _, _ = directory(
            "kanri@test.jp\tuser1@test.jp\nkanri@test.jp\ty@out.jp\n", "", POST, "kanri@test.jp\nx@out.jp"
        )
        names = ["bucho@test.jp", "kanri@test.jp", "user1@test.jp", "y@out.jp", "x@out.jp"]
        self.assertEqual(there.posters[("staff", "test.jp")], set(map(parseAddress, names)))
        there, _, _ = directory("", "", POST + 'post = "anybody"')
        self.assertIsNone(there.posters[("staff", "test.jp")])
        there, _, _ = directory(
            "", "", POST + 'post = ["board@test.jp"]\n' + POST.replace("staff@", "board@"), "z@out.jp"
        )
        self.assertIn(parseAddress("z@out.jp"), there.posters[("staff", "test.jp")] or ())

    def test_nobody(self) -> None:
        """Owner and members who are nobody are remarked on."""
        _, faults, notes = directory("", "", POST.replace("bucho", "kacho"), "user9@test.jp\nx@out.jp")
        self.assertEqual(faults, [])
        self.assertEqual(
            [short(note) for note in notes if note.file == "lists.toml"],
            [
                "lists.toml:1: kacho@test.jp, owner of staff@test.jp, is nobody",
                "lists.toml:1: user9@test.jp, member of staff@test.jp, is nobody",
            ],
        )

    def test_listForAnOwner(self) -> None:
        """What comes back to a list must find people: no list takes it, be it by an alias."""
        board = POST.replace("staff@", "board@")
        for owner in ("board", "chiefs"):
            _, faults, _ = directory("chiefs@test.jp\tboard@test.jp\n", "", POST.replace("bucho", owner) + board)
            why = f"lists.toml:1: {owner}@test.jp, owner of staff@test.jp, is a list, which takes no notices"
            self.assertEqual([short(fault) for fault in faults], [why])
        _, faults, _ = directory("", "", POST, postmaster=parseAddress("staff@test.jp"))
        self.assertEqual(
            [fault.why for fault in faults], ["postmaster staff@test.jp is a list, which takes no notices"]
        )


class TagTests(SynchronousTestCase):
    """Plus-addressing: a tag is its owner's business."""

    def test_tags(self) -> None:
        """Whoever has a name has it with every tag; a name with a tag that a table has goes before."""
        there, faults, _ = directory(
            "sales@test.jp\tuser1+sales@test.jp\nuser1+boss@test.jp\tbucho@test.jp\n", "", POST, separator="+"
        )
        self.assertEqual(faults, [])
        for path, end in {
            "USER1+a+b@test.jp": "USER1@test.jp", "sales+x@test.jp": "user1@test.jp",
            "user1+boss@test.jp": "bucho@test.jp",
            "staff+x@test.jp": "staff@test.jp", '"user1+a b"@test.jp': "user1@test.jp",
        }.items():  # fmt: skip
            self.assertTrue(there.exists(parseAddress(path)), path)
            self.assertEqual([str(a) for a in there.expand(parseAddress(path))], [end], path)
        for path in ("+user1@test.jp", "x+user1@test.jp", "user1-a@test.jp"):
            self.assertFalse(there.exists(parseAddress(path)), path)
        other = parseAddress("user1+x@out.jp")
        self.assertIs(there.normal(other), other)

    def test_off(self) -> None:
        """Without the setting a tag is part of the name."""
        there, _, _ = directory()
        self.assertFalse(there.exists(parseAddress("user1+a@test.jp")))

    def test_wildcard(self) -> None:
        """A wildcard does not swallow the tags of those who exist, but gets all others whole."""
        there, _, _ = directory("*@test.jp\t*@out.jp\n", separator="-")
        self.assertEqual([str(a) for a in there.expand(parseAddress("user1-x@test.jp"))], ["user1@test.jp"])
        self.assertEqual([str(a) for a in there.expand(parseAddress("y-x@test.jp"))], ["y-x@out.jp"])

    def test_postmaster(self) -> None:
        """postmaster may have tags too."""
        there, _, _ = directory(separator="+", postmaster=parseAddress("bucho@test.jp"))
        self.assertEqual(there.expand(parseAddress("postmaster+x@test.jp")), (parseAddress("bucho@test.jp"),))


class ComposedTests(SynchronousTestCase):
    """A name is found however the table and the sender compose its letters."""

    def test_everyTable(self) -> None:
        """Accounts, aliases, wildcards, lists, tags and lines of effect.dat; what is carried over is composed."""
        for table, asked in ((str, decomposed), (decomposed, str)):
            faults: list[Fault] = []
            there = Ground("backend.toml", "mx.test.jp", local=("test.jp",), mailboxes=True, separator="+")
            found = build(
                there,
                {
                    "accounts": ("accounts.dat", table("josé\tx\nbucho\tx\n").encode()),
                    "aliases": (
                        "aliases.dat",
                        table("für@test.jp\tjosé@test.jp\nna*@test.jp\tjos*@test.jp\n").encode(),
                    ),
                    "lists": ("lists.toml", table(POST.replace("staff@", "bücher@")).encode()),
                    "effect": ("effect.dat", table("josé@test.jp\tfalse\n").encode()),
                },
                faults,
                [],
                {"staff.txt": b"bucho@test.jp\n"},
            )
            self.assertEqual(faults, [])
            [jose] = [account for account in found.accounts if account.address.local == "josé"]
            for name in ("josé", "JOSÉ", "José+shop", "für", "naé"):
                self.assertEqual(found.named(parseAddress(f"{asked(name)}@test.jp")), (jose,), (table, name))
            self.assertIsNotNone(found.list(parseAddress(f"{asked('Bücher')}@test.jp")))
            self.assertIsNotNone(found.rule("10.0.0.1", parseAddress(f"{asked('josé')}@test.jp"), False))
            self.assertEqual(found.accounts.at(jose.box), jose)


class NormalTests(SynchronousTestCase):
    """Our own address literals."""

    def test_literal(self) -> None:
        """user1@[our address] is user1 of the first domain; another's literal is another's."""
        found, _, _ = directory(listening=frozenset({Hop("10.0.0.1", 25), Hop("2001:db8::1", 25)}))
        for path in ("user1@[10.0.0.1]", "user1@[IPv6:2001:db8::1]"):
            self.assertTrue(found.isLocal(parseAddress(path).domain))
            self.assertEqual(found.expand(parseAddress(path)), (parseAddress("user1@test.jp"),))
        self.assertFalse(found.isLocal("[10.0.0.2]"))


class NetworksTests(SynchronousTestCase):
    """Networks are asked all at once."""

    def test_membership(self) -> None:
        """Overlapping networks of both versions, and texts that are no address."""
        nets = [network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "::1", "0.0.0.0/0")]
        found = Networks((net, 9 - place) for place, net in enumerate(nets))  # type: ignore[misc]
        answers = [
            found.first(a) for a in ("10.1.2.3", "10.2.2.3", "::1", "::2", "8.8.8.8", "::ffff:10.1.0.1", "", "x")
        ]
        self.assertEqual(answers, [6, 6, 7, None, 6, 6, None, None])
