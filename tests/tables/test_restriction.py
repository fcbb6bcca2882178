"""Tests of L{epost.tables.restriction}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.fault import Fault
from epost.tables.restriction import Restriction, readRestriction


def read(text: str) -> tuple[Restriction, list[Fault]]:
    """What is read, and the faults."""
    faults: list[Fault] = []
    return readRestriction("inbox/baito/sender.dat", text.encode("cp932"), faults), faults


class RestrictionTests(SynchronousTestCase):
    """送信の制限: the first line that matches decides."""

    def assertForbids(self, text: str, **expected: int) -> None:
        """For each recipient, an underline for C{@}, the line that forbids it; 0: none."""
        found, faults = read(text)
        self.assertEqual(faults, [])
        for name, line in expected.items():
            because = found.forbids(parseAddress(name.replace("_", "@").replace("AT", ".")))
            self.assertEqual(because.line if because else 0, line, name)

    def test_forbidding(self) -> None:
        """With lines that forbid alone the rest is allowed."""
        self.assertForbids("*@aATjp,-1\nboss@test.jp , -1".replace("AT", "."), x_aATjp=1, Boss_testATjp=2, x_testATjp=0)

    def test_allowing(self) -> None:
        """With a line that allows the rest is forbidden, by the first such line."""
        self.assertForbids("' 部長だけ\n*@test.jp\n*@b.jp", x_testATjp=0, x_bATjp=0, x_outATjp=2)

    def test_order(self) -> None:
        """A line above wins, whichever it is."""
        self.assertForbids("boss@test.jp,-1\n*@test.jp", boss_testATjp=1, x_testATjp=0)
        self.assertForbids("*@test.jp\nboss@test.jp,-1", boss_testATjp=0, x_testATjp=0, x_aATjp=1)

    def test_nothing(self) -> None:
        """No file, an empty one, and comments forbid nothing."""
        self.assertForbids("", x_aATjp=0)
        self.assertForbids("\n' *@a.jp,-1\n", x_aATjp=0)
        self.assertIsNone(Restriction().forbids(parseAddress("x@a.jp")))

    def test_aliasIsNoWayRound(self) -> None:
        """A line that forbids sees where an alias leads; one that allows sees what was written."""
        found, _ = read("boss@test.jp,-1\n*@test.jp")
        chief, boss, private = map(parseAddress, ("chief@test.jp", "boss@test.jp", "boss@home.example"))
        self.assertIsNotNone(found.forbids(chief, (boss,)))
        self.assertIsNone(found.forbids(chief, (private,)))

    def test_because(self) -> None:
        """The line that forbids, or the line that allows others."""
        found, _ = read("*@a.jp,-1\n *@test.jp")
        self.assertEqual(str(found.forbids(parseAddress("x@a.jp"))), 'inbox/baito/sender.dat:1 "*@a.jp,-1"')
        self.assertEqual(
            str(found.forbids(parseAddress("x@b.jp"))),
            'inbox/baito/sender.dat:2 "*@test.jp, and no line for the recipient"',
        )

    def test_quoted(self) -> None:
        """What is quoted may hold an @, and is not matched by what looks like it."""
        found, _ = read("*@test.jp")
        self.assertIsNotNone(found.forbids(parseAddress('"x@test.jp"@out.jp')))
        self.assertIsNone(found.forbids(parseAddress('"x@out.jp"@test.jp')))

    def test_faults(self) -> None:
        """Each wrong line."""
        _, faults = read("*@test.jp,1\ntest.jp\n*@a.jp,-1,-1\n@a.jp\n*@a..jp,-1\n*@ok.jp\n*@a.jp,")
        self.assertEqual([fault.line for fault in faults], [1, 2, 3, 4, 5, 7])
        self.assertEqual(str(faults[0]), 'inbox/baito/sender.dat:1: "1" behind the comma, expected -1, or no comma')
        self.assertIn("expected *@domain or user@domain, and ,-1 to forbid it", str(faults[1]))
