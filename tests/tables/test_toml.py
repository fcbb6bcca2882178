"""Tests of L{epost.tables.toml}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.fault import Fault
from epost.tables import toml

TEXT = """# comment
["Baito@test.jp"]
outside = false
"""


def read(text: str | bytes) -> tuple[list[toml.Part], list[Fault]]:
    """Parts and faults."""
    faults: list[Fault] = []
    data = text.encode() if isinstance(text, str) else text
    return list(toml.parts("accounts.toml", data, faults)), faults


class BecauseTests(SynchronousTestCase):
    """A key is what decides."""

    def test_because(self) -> None:
        """What decides is told by file, line, address and what stands there."""
        parts, _ = read(TEXT)
        self.assertEqual(str(parts[0].because("outside")), 'accounts.toml:3 "Baito@test.jp outside = false"')


class PartsTests(SynchronousTestCase):
    """Each table is about an address."""

    def assertFault(self, text: str | bytes, expected: str) -> None:
        """One text has just this fault, and what is right in it is read."""
        self.assertEqual([str(fault) for fault in read(text)[1]], [expected])

    def test_encodings(self) -> None:
        """UTF-8 with BOM and Shift_JIS, CRLF, as in all tables."""
        for encoding in ("utf-8-sig", "cp932"):
            parts, faults = read('["山田@test.jp"]\r\nname = "部長"\r\n'.encode(encoding))
            self.assertEqual(faults, [])
            self.assertEqual(
                (str(parts[0].address), parts[0].values, parts[0].line), ("山田@test.jp", {"name": "部長"}, 1)
            )

    def test_noTOML(self) -> None:
        """tomllib's own words, with the line."""
        self.assertFault(
            '\n["a@b"\nx = 1', "accounts.toml:2: Expected ']' at the end of a table declaration, expected TOML"
        )
        self.assertFault("\nx = [1,\n\n", "accounts.toml:2: Invalid value, expected TOML")

    def test_names(self) -> None:
        """No address, no table, twice in another case; the same with quotes that are not needed in the address."""
        expected = 'expected an address in quotes, such as ["user1@test.jp"]'
        self.assertFault("\n[baito]\nx = 1", f"accounts.toml:2: no domain: baito, {expected}")
        self.assertFault("\nbaito.jp = 1", f"accounts.toml:2: no domain: baito, {expected}")
        self.assertFault('"a@b" = 1', 'accounts.toml:1: a@b is no table, expected ["a@b"]')
        self.assertFault('[["a@b"]]', 'accounts.toml:1: a@b is no table, expected ["a@b"]')
        self.assertFault('["a@b"]\n["A@b"]', "accounts.toml:2: A@b stands in line 1 too, expected each address once")
