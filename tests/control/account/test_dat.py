"""Tests of L{epost.control.account.dat}: accounts.dat, changed line by line."""

from twisted.trial.unittest import SynchronousTestCase

from epost.control.account.dat import AccountFile
from epost.control.terminal import Failure

# In CP932 the second octet of 表 and ソ is that of a backslash, and 薔 has one that looks like a letter.
TABLE = "' 表ソ薔\r\nuser1\tpass1234\t表ソ\ttest.jp\r\n\r\n\tblank\r\nuser2\tx\r\n"


class AccountFileTests(SynchronousTestCase):
    """Comments, order, encoding and line ends stay."""

    def changed(self, octets: bytes, number: int = 2) -> bytes:
        """A table with another password in a line."""
        table = AccountFile("accounts.dat", octets)
        table.put(number, {"Pass": "NEW"})
        return table.octets()

    def test_encodings(self) -> None:
        """UTF-8, with BOM, CP932; CRLF and LF: nothing changes but what is to change."""
        for text in (TABLE, TABLE.replace("\r\n", "\n")):
            for encoding in ("utf-8", "utf-8-sig", "cp932"):
                expected = text.replace("pass1234", "NEW").encode(encoding)
                self.assertEqual(self.changed(text.encode(encoding)), expected, encoding)

    def test_octetsThatHaveTwoForms(self) -> None:
        """A character that CP932 can write in two ways stays as it was written."""
        octets = b"' \x87\x90 \x81\xe0\nuser1\tpass1234\t\x87\x90\n"
        self.assertEqual(self.changed(octets), octets.replace(b"pass1234", b"NEW"))

    def test_first(self) -> None:
        """The BOM stands in front of the first line whatever becomes of it."""
        octets = "user1\tpass1234\n".encode("utf-8-sig")
        table = AccountFile("accounts.dat", octets)
        table.put(1, {"Account": "user2"})
        self.assertEqual(table.octets(), "user2\tpass1234\n".encode("utf-8-sig"))
        table.remove(1)
        table.add({"Account": "user3", "Pass": "x"})
        self.assertEqual(table.octets(), "user3\tx\n".encode("utf-8-sig"))

    def test_add(self) -> None:
        """A new line stands at the end, its end as that of the first; a last line without one gets it."""
        for before, after in (
            ("a\tb\r\n", "a\tb\r\nnew\tx\r\n"),
            ("a\tb\n", "a\tb\nnew\tx\n"),
            ("a\tb", "a\tb\nnew\tx\n"),
            ("a\tb\r\nc\td", "a\tb\r\nc\td\r\nnew\tx\r\n"),
            ("", "new\tx\n"),
            ("' only\n\n", "' only\n\nnew\tx\n"),
        ):
            table = AccountFile("accounts.dat", before.encode())
            table.add({"Account": "new", "Pass": "x"})
            self.assertEqual(table.octets().decode(), after)

    def test_double(self) -> None:
        """A line stands once more behind itself, the last of a file without an end too."""
        table = AccountFile("accounts.dat", b"a\tb\r\nc\td")
        table.double(2, {"Account": "e"})
        table.double(1, {"Account": "f"})
        self.assertEqual(table.octets(), b"a\tb\r\nf\tb\r\nc\td\r\ne\td\r\n")

    def test_columns(self) -> None:
        """Columns that are missing at the end are made as far as needed, and an empty one at the end is not cut off."""
        table = AccountFile("accounts.dat", b"a\tb\t\t\t\n")
        table.put(1, {"Home": ""})
        self.assertEqual(table.octets(), b"a\tb\t\t\t\n")
        table.put(1, {"POP3": "0"})
        self.assertEqual(table.octets(), b"a\tb\t\t\t\t\t\t\t0\n")

    def test_cannotBeWritten(self) -> None:
        """What CP932 does not have is told by name; a control character never gets in."""
        table = AccountFile("accounts.dat", TABLE.encode("cp932"))
        error = self.assertRaises(Failure, table.put, 2, {"Fullname": "山田 é"})
        self.assertIn("which has no é", str(error))
        for value in ("a\tb", "a\nb", "a\rb", "a\0", "\x85", "\u2028", "\udce9"):
            self.assertRaises(Failure, table.put, 2, {"Fullname": value})
            self.assertRaises(Failure, table.add, {"Account": value, "Pass": "x"})
        self.assertEqual(table.octets(), TABLE.encode("cp932"))
