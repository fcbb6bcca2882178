"""Tests of L{epost.tables.accounts}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.fault import Fault
from epost.mail.route import Local
from epost.tables.accounts import AccountTable, readAccounts

# Addresses whose local part is no name of an account, as far as they are addresses.
UNFIT = (
    '""',
    '" "',
    '"user1 "',
    '" user1"',
    '"user1."',
    '"a@b"',
    '"a\\"b"',
    '"CON"',
    *("*", "a*", ".", "..", "con", "Nul", "LPT1", "a?", "a|b", "<a>", "a\x7f", "\x85", "\u200b", "\u202ea", "\u3000a"),
    "a" * 65,
    "あ" * 22,
)


def read(text: str, *local: str) -> tuple[AccountTable, list[Fault]]:
    """Table and faults."""
    faults: list[Fault] = []
    return readAccounts("accounts.dat", text.encode(), local or ("test.jp",), faults), faults


class AccountsTests(SynchronousTestCase):
    """accounts.dat is E-Post's own export."""

    def test_allColumns(self) -> None:
        """The ten columns, in order; an export's header is no account."""
        head = "Account\tPass\tFullname\tDomain\tHome\tSMTPauthflag\tAPOPflag\tMailBoxSize\tPOP3\tIMAP4\r\n"
        found, faults = read(head + "User1\tpass1234\t山田\ttest.jp\thome\t1\t0\t1000\t1\t0\r\n")
        self.assertEqual((faults, len(found)), ([], 1))
        account = found.find(parseAddress("uSER1@Test.jp"))
        assert account is not None
        self.assertEqual((account.secret, account.fullname, account.home), ("pass1234", "山田", "home"))
        self.assertEqual((account.auth, account.apop, account.octets), (True, False, 1000))
        self.assertEqual((account.pop3, account.imap4, account.box), (True, False, Local("user1", "test.jp")))

    def test_shortLines(self) -> None:
        """Account and password are enough where one domain is local."""
        found, faults = read("user1\tpass1234")
        self.assertEqual(faults, [])
        self.assertIsNotNone(found.find(parseAddress("user1@test.jp")))
        self.assertEqual(len(read("user1\tpass1234", "a.jp", "b.jp")[1]), 1)

    def test_secretIsNotShown(self) -> None:
        """No repr of an account and no fault repeats a password."""
        found, _ = read("user1\tpass1234")
        self.assertNotIn("pass1234", repr(list(found)))
        for line in (
            "a/b\tpass1234",
            "a\tpass1234\t\tx.jp",
            "a\tpass1234\t\t\t\tyes\t\tmany",
            "pass1234",
            "a pass1234\t",
            "/ pass1234\t",
            "a\tpass1234" + "\t" * 20,
        ):
            _, faults = read(f"{line}\n")
            self.assertTrue(faults)
            self.assertNotIn("pass1234", "".join(map(str, faults)))

    def test_namesThatAreNoFolder(self) -> None:
        """An account's name cannot lead out of the folder of the mailboxes."""
        for name in ("..", ".a", "a/b", "a\\b", "a.", "", "c:", "%USERNAME%", *UNFIT):
            if name.strip() == name:
                self.assertEqual(len(read(f"x\ty\n{name}\tpass1234\ny\ty")[1]), 1, ascii(name))
        self.assertEqual(len(read('x\ty\n"a\x00b"\tpass1234')[1]), 1)
        for name in ("conrad", "com10", "a.b", '"a b"', "o'hara", "山田", "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc"):
            self.assertEqual(read(f"{name}\tpass1234")[1], [], ascii(name))

    def test_size(self) -> None:
        """A size that nobody has is a fault, and no more than that."""
        for size in ("9" * 5000, "1" + "0" * 15, "-1", "１", "1e3"):
            self.assertEqual([fault.line for fault in read(f"a\tx\nuser1\tx\t\t\t\t\t\t{size}")[1]], [2], size[:9])

    def test_twice(self) -> None:
        """An account that stands twice is a fault of the second line, which names the first."""
        _, faults = read("user1\tx\nUSER1\ty")
        self.assertEqual(
            [str(f) for f in faults], ["accounts.dat:2: USER1@test.jp stands in line 1 too, expected each account once"]
        )

    def test_alike(self) -> None:
        """Nor may two names look alike, whose mail and logins would be mixed up; each fault has its line."""
        for one, other in (
            ("jos\u00e9", "JOSE\u0301"),
            ("user1", "ｕｓｅｒ１"),
            ("ﬁn", "fin"),
            ("a\u00adb", "a\u200bb"),
            ("ｱ", "ア"),
        ):
            for pair in ((one, other), (other, one)):
                _, faults = read("\tx\n{}\tx\n{}\ty".format(*pair))
                self.assertEqual([fault.line for fault in faults], [1, 3], pair)
        self.assertIn("accounts.dat:2: fin@test.jp looks like ﬁn@test.jp in line 1,", str(read("ﬁn\tx\nfin\ty")[1][0]))
        self.assertEqual(read("jose\tx\njos\u00e9\tx\nか\tx\nが\tx\nｶ\tx")[1], [])
