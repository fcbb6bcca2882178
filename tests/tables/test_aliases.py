"""Tests of L{epost.tables.aliases}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.fault import Fault
from epost.tables.building import build
from epost.tables.directory import Directory, Ground

GROUND = Ground("backend.toml", "mx.test.jp", ("test.jp", "abc.co.jp"), mailboxes=True)


def read(*lines: str) -> tuple[Directory, list[Fault]]:
    """A directory of two accounts and these aliases, and the faults; C{>} stands for the TAB."""
    faults: list[Fault] = []
    texts = {
        "accounts": ("accounts.dat", b"user1\tx\t\ttest.jp\nuser2\tx\t\ttest.jp\n"),
        "aliases": ("aliases.dat", "\n".join(lines).replace(" > ", "\t").encode()),
    }
    return build(GROUND, texts, faults, []), faults


class ExpandTests(SynchronousTestCase):
    """An address is replaced by those that it stands for."""

    def assertLeads(self, lines: tuple[str, ...], address: str, *expected: str) -> None:
        """One address leads to some."""
        found, faults = read(*lines)
        self.assertEqual(faults, [])
        self.assertEqual([str(a) for a in found.expand(parseAddress(address))], list(expected))

    def test_none(self) -> None:
        """An address without alias is itself, as it was written."""
        self.assertLeads((), "User1@Test.jp", "User1@Test.jp")

    def test_group(self) -> None:
        """Several lines make a group; whoever is in it twice gets the mail once; it may hold groups."""
        lines = (
            "all@test.jp > staff@test.jp", "all@test.jp > user1@test.jp", "all@test.jp > x@outside.jp",
            "staff@test.jp > user2@test.jp", "staff@test.jp > user1@test.jp",
        )  # fmt: skip
        self.assertLeads(lines, "ALL@test.jp", "user2@test.jp", "user1@test.jp", "x@outside.jp")

    def test_star(self) -> None:
        """The text of the star is carried into the target's, as it was written, and quoted where it must be."""
        lines = ("*@abc.co.jp > abc-*@test.jp", "info-*@abc.co.jp > user1@test.jp")
        self.assertLeads(lines, "Sales@abc.co.jp", "abc-Sales@test.jp")
        self.assertLeads(lines, "info-x@abc.co.jp", "user1@test.jp")
        self.assertLeads(lines, '"a b"@abc.co.jp', '"abc-a b"@test.jp')

    def test_order(self) -> None:
        """Exact alias, account, wildcard."""
        lines = ("*@test.jp > catch@outside.jp", "user2@test.jp > other@outside.jp")
        self.assertLeads(lines, "user1@test.jp", "user1@test.jp")
        self.assertLeads(lines, "user2@test.jp", "other@outside.jp")
        self.assertLeads(lines, "user3@test.jp", "catch@outside.jp")

    def test_itself(self) -> None:
        """An alias that leads to itself exists, and may lead elsewhere too."""
        self.assertLeads(("*@test.jp > *@test.jp",), "anybody@test.jp", "anybody@test.jp")
        self.assertLeads(
            ("user1@test.jp > user1@test.jp", "user1@test.jp > copy@x.jp"),
            "user1@test.jp",
            "user1@test.jp",
            "copy@x.jp",
        )

    def test_growing(self) -> None:
        """A wildcard whose target it matches again is used once."""
        self.assertLeads(("*@abc.co.jp > abc-*@abc.co.jp",), "x@abc.co.jp", "abc-x@abc.co.jp")

    def test_longChain(self) -> None:
        """A chain of thousands of aliases ends where it ends."""
        lines = [f"a{n}@test.jp > a{n + 1}@test.jp" for n in range(3000)]
        self.assertLeads(tuple(lines), "a0@test.jp", "a3000@test.jp")


class ReadAliasesTests(SynchronousTestCase):
    """What is wrong is told with its line."""

    def test_circles(self) -> None:
        """Every circle is told, one by exact aliases and one by wildcards, at its last line."""
        found, faults = read(
            "a@test.jp > b@test.jp", "b@test.jp > a@test.jp", "*@abc.co.jp > x*@test.jp", "x*@test.jp > *@abc.co.jp",
        )  # fmt: skip
        self.assertEqual([fault.line for fault in faults], [2, 4])
        expected = (
            "aliases.dat:2: a circle, b@test.jp to a@test.jp to b@test.jp, expected aliases and forwarding that lead"
        )
        self.assertIn(expected, str(faults[0]))
        self.assertTrue(found.expand(parseAddress("a@test.jp")))

    def test_allFaults(self) -> None:
        """Each wrong line."""
        _, faults = read(
            "a@test.jp",
            "a@other.jp > b@test.jp",
            "a*b*@test.jp > c@test.jp",
            "a@test.jp > *@b.jp",
            "a > b",
            "a@*.jp > b@x.jp",
        )
        self.assertEqual([fault.line for fault in faults], [1, 2, 3, 4, 5, 6])
