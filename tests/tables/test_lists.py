"""Tests of L{epost.tables.lists}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.mail.fault import Fault
from epost.tables.lists import ListTable, memberFiles, readLists

STAFF = """["Staff@test.jp"]
members = "staff.txt"
owner = "bucho@test.jp"
"""
MEMBERS = {"staff.txt": "' 部員\nuser1@test.jp\r\n\r\n x@outside.jp \nUSER1@test.jp\n".encode("cp932")}


def taken(address: Address) -> str | None:
    """One account."""
    return "an account" if str(address) == "user1@test.jp" else None


def read(text: str, members: dict[str, bytes] = MEMBERS) -> tuple[ListTable, list[str]]:
    """Table and faults."""
    faults: list[Fault] = []
    return readLists("lists.toml", text.encode(), members, ("test.jp",), taken, faults), [str(f) for f in faults]


class ListsTests(SynchronousTestCase):
    """What is read from a right table."""

    def test_defaults(self) -> None:
        """Members and owner are enough; members, each once, and the owner may post; the name is the local part."""
        found, faults = read(STAFF)
        self.assertEqual((faults, len(found)), ([], 1))
        one = found.find(parseAddress("sTAFF@test.jp"))
        assert one is not None
        self.assertEqual([str(member) for member in one.members], ["user1@test.jp", "x@outside.jp"])
        self.assertEqual((str(one.owner), one.post, one.name, one.line), ("bucho@test.jp", "members", "Staff", 1))
        self.assertEqual([str(a) for a in one.posters or ()], ["bucho@test.jp", "user1@test.jp", "x@outside.jp"])
        self.assertEqual(str(one.because), 'lists.toml:1 "Staff@test.jp"')

    def test_post(self) -> None:
        """Whoever else may post; the owner always may."""
        for post, posters in {
            '"anybody"': None,
            '"owner"': ["bucho@test.jp"],
            '["a@test.jp"]': ["bucho@test.jp", "a@test.jp"],
        }.items():
            [one] = read(f'{STAFF}post = {post}\nname = "部員"')[0]
            self.assertEqual(None if one.posters is None else [str(a) for a in one.posters], posters)
            self.assertEqual((one.name, one.because.line), ("部員", 4))

    def test_memberFiles(self) -> None:
        """The files to be read, each with the line that names it first; what is wrong names none."""
        text = f'{STAFF}["b@test.jp"]\nmembers = "b.txt"\n["c@test.jp"]\nmembers = 1\n["d@test.jp"]\nmembers = "b.txt"'
        self.assertEqual(memberFiles("lists.toml", text.encode()), {"staff.txt": 2, "b.txt": 5})
        self.assertEqual(memberFiles("lists.toml", b"["), {})


class FaultTests(SynchronousTestCase):
    """What is wrong is told with its line and what was expected."""

    def test_all(self) -> None:
        """Each way to be wrong."""
        for text, expected in {
            '["a@b.jp"]\nmembers = "staff.txt"\nowner = "a@b"': "lists.toml:1: b.jp is not local, expected one of",
            STAFF.replace(
                "Staff", "user1"
            ): "lists.toml:1: user1@test.jp is an account too, expected a name of its own",
            '["a@test.jp"]\nmembers = "staff.txt"': 'lists.toml:1: a list without owner, expected owner = "',
            '["a@test.jp"]\nowner = "a@b"': 'lists.toml:1: a list without members, expected members = "staff.txt"',
            STAFF + "post = true": 'lists.toml:4: post = True, expected one of "members", "anybody", "owner", or',
            STAFF + 'post = "all"': """lists.toml:4: post = 'all', expected one of""",
            STAFF + "post = []": "lists.toml:4: post = [], expected one of",
            STAFF + 'name = "a\\nb"': "expected a text of one line",
            STAFF + 'reply = "x"': "lists.toml:4: unknown key reply, expected",
        }.items():
            faults = read(text)[1]
            self.assertEqual(len(faults), 1, faults)
            self.assertIn(expected, faults[0])

    def test_longName(self) -> None:
        """A list whose mail could not return to C{-bounces} is refused; one that just can is not."""
        for right, wrong in (
            ("a" * 56, "a" * 57),
            ("あ" * 18 + "bc", "あ" * 19),
            (f'"{"a b" * 18}"', f'"{"a b" * 18}c"'),
        ):
            for name, count in ((right, 0), (wrong, 1)):
                faults = read(STAFF.replace('"Staff@test.jp"', f"'{name}@test.jp'"))[1]
                self.assertEqual([fault[:13] for fault in faults], ["lists.toml:1:"] * count)
        long = "a" * 57
        expected = (
            f"lists.toml:1: {long}-bounces, to which its mail would return, is longer than an address may be, "
            "expected a name of at most 56 octets before the @"
        )
        self.assertEqual(read(STAFF.replace("Staff", long))[1], [expected])

    def test_members(self) -> None:
        """A line that is no address is a fault of its file, told once; a list within itself is one of the list."""
        text = STAFF + STAFF.replace("Staff", "b")
        self.assertEqual(
            read(text, {"staff.txt": b"\nuser1"})[1],
            ["staff.txt:2: no domain: user1, expected one address a line"],
        )
        self.assertEqual(
            read(STAFF, {"staff.txt": b"staff@test.jp"})[1],
            ["lists.toml:2: staff.txt names the list itself, expected people, or another list"],
        )

    def test_fileThatCouldNotBeRead(self) -> None:
        """Its fault was told already by whoever could not read it."""
        self.assertEqual(read(STAFF, {})[1], [])
