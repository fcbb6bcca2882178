"""Tests of L{epost.tables.directory} and L{epost.tables.patterns}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress, postmaster
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.tables.directory import Directory, Ground, build
from epost.tables.patterns import Networks, network

ACCOUNTS = b"user1\tpass1234\nbucho\tpass1234\n"


def directory(aliases: str = "", **ground: object) -> tuple[Directory, list[Fault], list[Fault]]:
    """A back-end's directory with two accounts, its faults and its notes."""
    faults: list[Fault] = []
    notes: list[Fault] = []
    known = {"local": ("test.jp",), "mailboxes": True} | ground
    texts = {"accounts": ("accounts.dat", ACCOUNTS), "aliases": ("aliases.dat", aliases.encode())}
    return build(Ground("backend.toml", "mx.test.jp", **known), texts, faults, notes), faults, notes


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
