"""Tests of L{epost.control.account.text}: E-Post's text import and export."""

import errno
import os
from pathlib import Path

from epost.login import schemes
from epost.tables.accounts import COLUMNS
from tests.control.places import ACCOUNTS, ShellTestCase

HEADER = "\t".join(COLUMNS) + "\r\n"
EXPORT = (
    "kacho\tpass 表1\t課長　太郎\ttest.jp\tC:\\mail\\inbox\\kacho\t1\t0\t1000000\t1\t1\r\n"
    "keiri\t{x\t経理\ttest.jp\t\t0\t0\t\t1\t0\r\n"
    "short\tpass1234\r\n"
)


class TextTestCase(ShellTestCase):
    """Has an export beside the configuration."""

    def file(self, text: str | bytes, name: str = "export.txt") -> str:
        """A file to import."""
        self.write(name, text)
        return str(self.folder / name)


class ImportTests(TextTestCase):
    """C{import}."""

    def test_asItIs(self) -> None:
        """In UTF-8 with or without BOM and in CP932, CRLF or LF, with or without header: read as it is, and hashed."""
        for number, (encoding, end, header) in enumerate(
            (encoding, end, header)
            for encoding in ("utf-8", "utf-8-sig", "cp932")
            for end in ("\r\n", "\n")
            for header in (HEADER, "")
        ):
            self.write("accounts.dat", ACCOUNTS)
            text = (header + EXPORT).replace("\r\n", end)
            result = self.asked("import", self.file(text.encode(encoding), f"{number}.txt"))
            self.assertEqual((result["added"], result["updated"], result["without_password"]), (3, 0, 0))
            kacho, keiri = self.account("kacho"), self.account("keiri")
            self.assertEqual((kacho.fullname, kacho.octets, kacho.apop), ("課長　太郎", 1000000, False))
            self.assertEqual((keiri.auth, keiri.pop3, keiri.imap4), (False, True, False))
            self.assertEqual(kacho.home, "C:\\mail\\inbox\\kacho")
            self.assertTrue(self.proves("kacho", "pass 表1") and self.proves("keiri", "{x"))
            self.assertTrue(self.proves("short", "pass1234"))
            self.assertNotIn("pass 表1", self.octets().decode())
            self.assertTrue(self.octets().startswith(ACCOUNTS.encode()))

    def test_intoAnotherEncoding(self) -> None:
        """A table in CP932 with CRLF stays one."""
        before = "' 表\r\nbucho\tx\r\nbaito\tx\r\n".encode("cp932")
        self.write("accounts.dat", before)
        self.good("import", self.file(EXPORT))
        self.assertTrue(self.octets().startswith(before))
        self.assertIn("課長　太郎", self.octets().decode("cp932"))
        self.assertEqual(self.octets().count(b"\r\n"), self.octets().count(b"\n"))
        self.assertIn("which has no é", self.refused("import", self.file("new\tx\té\n", "other.txt")))

    def test_keepClear(self) -> None:
        """For CRAM-MD5 and APOP passwords can stay readable."""
        self.good("import", "--keep-clear", self.file(EXPORT))
        self.assertEqual(schemes.read(self.account("kacho").secret).clear, "pass 表1")
        self.assertEqual(schemes.read(self.account("keiri").secret).clear, "{x")

    def test_withoutScram(self) -> None:
        """The keys of SCRAM can be left out."""
        for words in ((), ("--update", "--no-scram")):
            self.good("import", *words, self.file(EXPORT))
            self.assertEqual(schemes.read(self.account("kacho").secret).scram is None, bool(words))
            self.assertTrue(self.proves("kacho", "pass 表1"))

    def test_hashesStay(self) -> None:
        """What is hashed stays as it is; a scheme that nobody knows is a fault, not a password."""
        secret = schemes.made("geheim")
        self.good("import", self.file(f"kacho\t{secret}\n"))
        self.assertEqual(self.account("kacho").secret, secret)
        words = self.refused("import", self.file("a\tx\nb\t{SSHA}abcdef\n", "other.txt"))
        self.assertIn("other.txt:2: Pass: the scheme is unknown", words)
        self.assertNotIn("abcdef", words)

    def test_thereAlready(self) -> None:
        """Accounts that exist are refused; with --update they get what stands in the file, and the others stay."""
        file = self.file("user1\tnewpass\t山田\ttest.jp\nBAITO\t\tアルバイト\nnew\tx\n")
        self.assertIn(
            "2 accounts there already (user1@test.jp, baito@test.jp): with --update", self.refused("import", file)
        )
        result = self.asked("import", "--update", file)
        self.assertEqual((result["added"], result["updated"]), (1, 2))
        user1, baito = self.account("user1"), self.account("baito")
        self.assertEqual((user1.fullname, user1.octets, user1.line), ("山田", 1000, 4))
        self.assertTrue(self.proves("user1", "newpass"))
        self.assertEqual((baito.secret, baito.fullname, baito.details.outside), ("pass1234", "アルバイト", False))
        self.assertEqual(baito.address.text, "baito@test.jp")

    def test_dryRun(self) -> None:
        """Everything is checked, nothing is changed and nothing hashed."""
        before = self.state()
        self.patch(schemes, "_hash", None)
        result = self.asked("import", "--dry-run", self.file(EXPORT))
        self.assertEqual((result["added"], result["dry_run"]), (3, True))
        os.unlink(self.folder / "export.txt")
        self.assertEqual(self.state(), before)
        self.refused("import", "--dry-run", self.file("../etc\tx\n"))

    def test_allOrNothing(self) -> None:
        """Every fault of the file is told with its line, and no password; nothing of it gets in."""
        words = self.refused(
            "import",
            self.file(
                "good\tpass1234\n../etc\tpass1234\nx\tpass1234\t\tother.jp\ngood\tpass1234\na\tx\t\t\t\tperhaps\nsecret99\n"
            ),
        )
        for line in (2, 3, 4, 5, 6):
            self.assertIn(f"export.txt:{line}: ", words)
        self.assertIn("nothing was changed", words)
        for secret in ("pass1234", "secret99"):
            self.assertNotIn(secret, words)

    def test_oneRound(self) -> None:
        """
        Whatever is wrong is told at once, before any password is hashed: in a line with two faults both; who is there
        already; what the tables cannot hold.
        """
        self.write("accounts.dat", "' 表\nbucho\tx\nbaito\tx\n".encode("cp932"))
        self.patch(schemes, "_hash", None)
        text = "a\t{SSHA}abcdef\t\t\t\tperhaps\nbaito\tx\nb\tx\té\nc\tx\té\n"
        said = self.refused("import", self.file(text)).splitlines()
        self.assertEqual(len(said), 6)
        for line, words in zip(
            said,
            (
                "3 lines without Fullname, Domain,",
                "export.txt:1: Pass: the scheme is unknown",
                'export.txt:1: SMTPauthflag "perhaps"',
                "which has no é",
                "1 account there already (baito@test.jp)",
                "nothing was changed",
            ),
            strict=True,
        ):
            self.assertIn(words, line)

    def test_missingColumns(self) -> None:
        """A list of two columns is no export of E-Post's: it is taken, and what is missing is told."""
        self.good("import", self.file("new\tx\nlong\tx\t\ttest.jp\t\t1\t1\t\t1\t1\nother\tx\tname\n"))
        self.assertIn("export.txt:1: 2 lines without Fullname, Domain, Home, SMTPauthflag, ", self.remarked)
        self.assertIn("MailBoxSize, POP3, IMAP4: there a new account has what is usual", self.remarked)
        self.good("import", self.file("last\tx\t\ttest.jp\t\t1\t1\t\t1\t1\n"))
        self.assertNotIn("without", self.remarked)

    def test_noPassword(self) -> None:
        """Accounts without a password are taken, and told: of the new ones, and of those that have none after all."""
        self.write("accounts.dat", ACCOUNTS + "bare\t\t\ttest.jp\n")
        file = self.file("a\t\nb\tx\nbare\t\nuser1\t\n")
        for words in (("--dry-run",), ()):
            result = self.asked("import", "--update", *words, file)
            self.assertEqual((result["added"], result["updated"], result["without_password"]), (2, 2, 2))
            told = "2 accounts without a password, nobody can log in: a@test.jp, bare@test.jp; epost account passwd\n"
            self.assertIn(told, self.remarked)
        self.good("import", self.file("".join(f"u{number}\t\n" for number in range(7))))
        self.assertIn("7 accounts without a password, nobody can log in: u0@test.jp, u1@", self.remarked)
        self.assertIn("u4@test.jp …; epost", self.remarked)
        self.good("import", self.file("c\tx\n"))
        self.assertNotIn("log in", self.remarked)

    def test_fromDos(self) -> None:
        """A file that ends with Ctrl-Z, as DOS ended it, is one; so is a table that more is written into afterwards."""
        self.write("accounts.dat", ACCOUNTS + "last\tx\t\ttest.jp\x1a")
        self.good("import", self.file(EXPORT + "\x1a"))
        self.assertTrue(self.proves("short", "pass1234"))
        self.assertEqual(self.account("last").address.domain, "test.jp")

    def test_one(self) -> None:
        """One account is not several."""
        self.assertIn("1 account added, 0 updated", self.good("import", self.file("new\tx\n")))
        self.assertIn("hashing 1 password …", self.remarked)
        self.assertIn("1 account there already", self.refused("import", self.file("new\tx\n")))

    def test_oddFiles(self) -> None:
        """No file, a folder, no text, nothing in it."""
        self.assertIn("No such file", self.refused("import", str(self.folder / "none")))
        self.assertIn("Is a directory", self.refused("import", str(self.folder)))
        self.assertIn("is neither UTF-8 nor", self.refused("import", self.file(b"a\tx\n\x81\x20\n")))
        self.assertIn("has NUL", self.refused("import", self.file("a\tx\n".encode("utf-16"))))
        self.assertEqual(self.asked("import", self.file(HEADER))["added"], 0)

    def test_fromInput(self) -> None:
        """A minus sign is standard input."""
        self.assertEqual(self.asked("import", "-", stdin=EXPORT.encode("cp932"))["added"], 3)

    def test_thousand(self) -> None:
        """A thousand lines, and each can log in."""
        lines = "".join(f"u{n:04}\tpass{n:04}\t名{n}\ttest.jp\t\t1\t1\t\t1\t1\r\n" for n in range(1000))
        self.assertIn("1,000 accounts added, 0 updated, in ", self.good("import", self.file(lines.encode("cp932"))))
        self.assertEqual(len(self.load()[1].accounts), 1003)
        for number in (0, 1, 500, 999):
            self.assertTrue(self.proves(f"u{number:04}", f"pass{number:04}"))


class ExportTests(TextTestCase):
    """C{export}."""

    def test_columns(self) -> None:
        """Ten columns, domain and flags written out, passwords as they stand."""
        self.good("export")
        self.assertEqual(
            self.printed.decode().splitlines()[:2],
            ["bucho\tpass1234\t\ttest.jp\t\t1\t1\t\t1\t1", "user1\tpass1234\t\ttest.jp\t\t1\t0\t1000\t1\t1"],
        )
        self.good("export", "--no-passwords", "--header")
        self.assertEqual(self.said.splitlines()[:2], [HEADER.strip(), "bucho\t\t\ttest.jp\t\t1\t1\t\t1\t1"])
        self.assertEqual(self.asked("export")["accounts"][1]["MailBoxSize"], "1000")

    def test_andBack(self) -> None:
        """What was exported is what is read, in both forms; without passwords those that are there stay."""
        self.good("set", "user1", "name=表　ソ", "home=C:\\x", "imap4=no")
        before = {account.address: account for account in self.load()[1].accounts}
        for words in ([], ["--header", "--windows"], ["--no-passwords"]):
            self.good("export", *words)
            text = self.printed
            if "--windows" in words:
                self.assertIn("表　ソ".encode("cp932"), text)
                self.assertEqual(text.count(b"\r\n"), 4)
            if "--no-passwords" not in words:
                self.write("accounts.dat", "bucho\tx\nbaito\tx\n")
            self.good("import", "--keep-clear", "--update", "-", stdin=text)
            for account in self.load()[1].accounts:
                old = before[account.address]
                self.assertEqual((account.fullname, account.home, account.octets), (old.fullname, old.home, old.octets))
                self.assertEqual((account.auth, account.apop, account.imap4), (old.auth, old.apop, old.imap4))
                self.assertEqual(schemes.read(account.secret).clear, "pass1234")

    def test_file(self) -> None:
        """A file that only its owner can read, since passwords are in it; one that is there is not overwritten."""
        file = self.folder / "out.txt"
        self.assertEqual(self.asked("export", str(file)), {"exported": 3, "file": str(file)})
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(file.read_text().count("\n"), 3)
        self.assertIn("stands there already", self.refused("export", str(file)))
        self.assertIn("No such file", self.refused("export", str(Path(file, "x").parent.parent / "none/x")))

    def test_full(self) -> None:
        """An export that could not be written to its end is taken away again."""

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "fsync", full)
        words = self.refused("export", str(self.folder / "out"))
        self.assertIn("out: No space left on device; nothing was written", words)
        self.assertFalse((self.folder / "out").exists())

    def test_notInShiftJis(self) -> None:
        """A character that CP932 does not have is told before anything is written."""
        self.good("set", "user1", "name=é")
        self.assertIn("CP932 has no é", self.refused("export", "--windows", str(self.folder / "out.txt")))
