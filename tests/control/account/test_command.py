"""Tests of L{epost.control.account.command}: the commands as an administrator types them."""

import errno
import getpass
import os
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from epost import reload
from epost.control import files
from epost.control.account.box import REMOVED
from epost.control.account.change import PART
from epost.control.files import NOTHING
from epost.login import schemes
from epost.mail.address import parseAddress
from epost.storage.lock import FolderLock
from tests.control.places import ACCOUNTS, CONFIG, DETAILS, ShellTestCase
from tests.tables.test_accounts import UNFIT


class AddTests(ShellTestCase):
    """C{add} and C{passwd}."""

    def test_add(self) -> None:
        """A new account stands at the end, hashed; all else is as it was to the last octet."""
        self.good("add", "kacho", "--stdin", stdin=b"geheim\n")
        self.assertTrue(self.octets().startswith(ACCOUNTS.encode()))
        self.assertEqual(self.octets("accounts.toml"), DETAILS.encode())
        self.assertNotIn(b"geheim", self.octets())
        self.assertTrue(self.proves("kacho", "geheim"))
        self.assertFalse(self.proves("kacho", "geheim2"))

    def test_asks(self) -> None:
        """Without --stdin the terminal is asked, twice; what differs is refused."""
        answers = ["one", "two", "one", "one"]
        self.patch(getpass, "getpass", lambda prompt: answers.pop(0))
        self.terminal = True
        self.assertIn("not the same", self.refused("add", "kacho"))
        self.good("add", "kacho")
        self.assertTrue(self.proves("kacho", "one"))

    def test_short(self) -> None:
        """A password that is soon guessed is taken, and remarked."""
        self.good("add", "kacho", "--stdin", stdin=b"x")
        self.assertEqual(self.remarked, "a password of 1 character is soon guessed: take 8 or more\n")
        self.good("passwd", "kacho", "--stdin", stdin="表1234567".encode())
        self.assertEqual(self.remarked, "")

    def test_noTerminal(self) -> None:
        """A script that forgets --stdin is told, and never waits."""
        self.assertIn("--stdin", self.refused("add", "kacho", stdin=b"geheim\n"))

    def test_neverOnTheCommandLine(self) -> None:
        """No option takes a password."""
        for words in (["--password", "geheim"], ["--password=geheim"], ["geheim"]):
            self.assertIn(self.run_("account", "add", "kacho", *words), (1, 2))
            self.assertNotIn("KEY one of", self.remarked)
        self.assertIn("Is it a password?", self.remarked)
        self.assertNotIn("geheim", self.remarked)
        self.assertEqual(self.octets(), ACCOUNTS.encode())

    def test_withKeys(self) -> None:
        """What set knows can be given at once, before and behind options."""
        self.good("add", "kacho", "name=課長　太郎", "--stdin", "outside=no", "mailbox_octets=10M", stdin=b"geheim")
        account = self.account("kacho")
        self.assertEqual((account.fullname, account.octets, account.details.outside), ("課長　太郎", 10 << 20, False))

    def test_keepClear(self) -> None:
        """Where CRAM-MD5 is needed the password can be kept."""
        self.good("add", "kacho", "--stdin", "--keep-clear", stdin="パス ワード\n".encode())
        self.assertEqual(schemes.read(self.account("kacho").secret).clear, "パス ワード")

    def test_withoutScram(self) -> None:
        """Where no client uses SCRAM there need not be its keys; what is kept readable has none in any case."""
        self.good("add", "kacho", "--stdin", stdin=b"geheim\n")
        self.assertIsNotNone(schemes.read(self.account("kacho").secret).scram)
        self.good("passwd", "kacho", "--stdin", "--no-scram", stdin=b"another\n")
        self.good("add", "keiri", "--stdin", "--no-scram", stdin=b"another\n")
        for name in ("kacho", "keiri"):
            self.assertIsNone(schemes.read(self.account(name).secret).scram)
            self.assertTrue(self.proves(name, "another"))
        self.assertEqual(self.run_("account", "passwd", "kacho", "--stdin", "--no-scram", "--keep-clear"), 2)

    def test_passwd(self) -> None:
        """Another password; name, flags and place of the line stay."""
        self.good("passwd", "USER1@test.jp", "--stdin", stdin=b"other\r\n")
        self.assertTrue(self.proves("user1", "other"))
        before, after = ACCOUNTS.splitlines(), self.octets().decode().splitlines()
        self.assertEqual([a for a in after if a not in before], [after[3]])
        self.assertEqual(after[3].split("\t")[2:], ["", "test.jp", "", "1", "0", "1000"])

    def test_badPasswords(self) -> None:
        """Nothing, too much, no UTF-8, control characters."""
        for octets in (b"", b"\n", b"x" * 1025, b"\xe9t\xe9\n", b"a\tb", b"a\0b", b"\r\n"):
            self.assertIn("password", self.refused("passwd", "user1", "--stdin", stdin=octets))

    def test_badNames(self) -> None:
        """What is no name of a folder, no address, not local, a comment, or there already."""
        for name in (
            "../etc",
            ".a",
            "a/b",
            "a.",
            "%USERNAME%",
            "c:",
            "a@b@c",
            "",
            "x@other.jp",
            "'x",
            "User1",
            "a\tb",
            "a\r\nb",
            *UNFIT,
        ):
            self.assertTrue(self.refused("add", "--stdin", name, stdin=b"geheim"), name)
            self.assertTrue(self.refused("rename", "user1", name), name)
        why = '"" cannot be an account, expected a name that a folder can have'
        self.assertIn(why, self.refused("add", '""', "--stdin", stdin=b"geheim"))
        self.assertIn("one of [domains] local: test.jp", self.refused("add", "x@other.jp", "--stdin", stdin=b"geheim"))
        self.assertIn("accounts.dat:4", self.refused("add", "user1", "--stdin", stdin=b"geheim"))
        once = "user 2@test.jp: no local part, expected the address of an account\n"
        self.assertEqual(self.refused("add", "user 2", "--stdin", stdin=b"geheim"), once)

    def test_alike(self) -> None:
        """Nobody gets a name that looks like another's, which is told before a password is asked for."""
        for name in ("ＵＳＥＲ１", "user\u200b1", "user１"):
            self.assertIn("looks like user1@test.jp: accounts.dat:4", self.refused("add", name))
        self.good("add", "jose\u0301", "--stdin", stdin=b"geheim")
        self.assertIn("is an account already", self.refused("add", "jos\u00e9"))

    def test_noFolder(self) -> None:
        """Nobody gets a name for whose mailbox the place has no room."""
        self.write("backend.toml", CONFIG.replace("%USERNAME%", f"{'x' * 70}%USERNAME%"))
        self.assertIn("its folder would be too long", self.refused("add", "あ" * 21, "--stdin", stdin=b"geheim"))

    def test_octetsOfAnotherTerminal(self) -> None:
        """Arguments that are no UTF-8 are refused by name."""
        self.assertIn("name is not UTF-8", self.refused("set", "user1", "name=\udce9"))
        self.assertTrue(self.refused("add", "\udce9", "--stdin", stdin=b"x"))

    def test_severalDomains(self) -> None:
        """A name without a domain is refused where two are local."""
        self.write(
            "backend.toml", CONFIG.replace('["test.jp"]', '["test.jp", "b.jp"]').replace("inbox\\", "inbox\\%DOMAIN%\\")
        )
        self.assertIn("user1@test.jp, user1@b.jp", self.refused("passwd", "user1", "--stdin", stdin=b"x"))
        self.good("add", "user1@b.jp", "--stdin", stdin=b"geheim")
        self.assertTrue(self.proves("user1@b.jp", "geheim"))

    def test_oldMailbox(self) -> None:
        """Who gets a name that was another's is told that there is mail."""
        new = self.folder / "work/inbox/kacho/new"
        new.mkdir(parents=True)
        (new / "B0000000001.MSG").write_bytes(b"")
        self.good("add", "kacho", "--stdin", stdin=b"geheim")
        self.assertIn("with 1 message: ", self.remarked)


class ShowTests(ShellTestCase):
    """C{show} and C{list}."""

    def test_show(self) -> None:
        """All that is known, and never the password."""
        facts = self.asked("show", "baito")
        self.assertEqual(
            (facts["address"], facts["details"], facts["password"]), ("baito@test.jp", {"outside": False}, ["clear"])
        )
        self.assertEqual(facts["mailbox"], str(self.folder / "work/inbox/baito"))
        self.assertNotIn("pass1234", self.said + self.good("show", "baito"))

    def test_list(self) -> None:
        """All, in the order of the file."""
        found = self.asked("list")["accounts"]
        self.assertEqual([fact["address"] for fact in found], ["bucho@test.jp", "user1@test.jp", "baito@test.jp"])
        self.assertEqual(self.good("list").splitlines()[2], "baito@test.jp    outside=no")
        self.assertNotIn("pass1234", self.said)

    def test_errorsInJson(self) -> None:
        """What is wrong is told on the same way."""
        self.assertEqual(self.run_("account", "show", "nobody", "--json"), 1)
        self.assertEqual(self.said, '{"errors": ["nobody@test.jp is no account; `epost account list` names all"]}\n')

    def test_usage(self) -> None:
        """What is not understood ends with 2."""
        for words in (["account"], [], ["account", "show"], ["account", "list", "x"], ["account", "show", "a", "--x"]):
            self.assertEqual(self.run_(*words), 2, words)

    def test_noConfiguration(self) -> None:
        """Without one it is told where one was looked for; one that is faulty is told line by line."""
        self.assertIn("backend.toml", self.refused("list", "-c", str(self.folder / "none/backend.toml")))
        self.write("backend.toml", CONFIG.replace("[server]", "[sever]"))
        self.assertIn("backend.toml:1: ", self.refused("list"))


class SetTests(ShellTestCase):
    """C{set}, C{disable}, C{enable}."""

    def test_columns(self) -> None:
        """Columns of accounts.dat; those at the end may have been missing."""
        self.good(
            "set", "baito", "name=アルバイト", "home=C:\\x", "mailbox_octets=5000", "auth=no", "pop3=no", "imap4=yes"
        )
        account = self.account("baito")
        self.assertEqual((account.fullname, account.home, account.octets), ("アルバイト", "C:\\x", 5000))
        self.assertEqual((account.auth, account.apop, account.pop3, account.imap4), (False, True, False, True))
        self.good("set", "baito", "name=", "auth=", "mailbox_octets=")
        account = self.account("baito")
        self.assertEqual((account.fullname, account.octets, account.auth), ("", 0, True))

    def test_details(self) -> None:
        """Keys of accounts.toml, each kind of them, and out again."""
        self.good(
            *("set", "user1", "networks=192.168.0.0/24, 10.0.0.1", "senders=sales@test.jp,*@shop.test.jp"),
            *("messages_per_day=100", "message_octets=1M", "forward=me@home.example", "keep=yes"),
            *('reply.text=留守です。\n「"\\」', "reply.from=2026-12-24", "reply.charset=ISO-2022-JP"),
        )
        details = self.account("user1").details
        self.assertEqual((details.allowed.messagesPerDay, details.messageOctets), (100, 1 << 20))
        self.assertEqual((details.mayFrom("192.168.0.9"), details.mayFrom("192.168.1.9")), (True, False))
        assert details.reply is not None
        self.assertEqual(details.reply.text, '留守です。\n「"\\」')
        self.good("set", "user1", "reply.subject=旅行", "reply.from=")
        details = self.account("user1").details
        assert details.reply is not None
        self.assertEqual((details.reply.subject, details.reply.first), ("旅行", None))
        self.good("set", "user1", "reply=", "networks=", "forward=", "keep=")
        self.assertIsNone(self.account("user1").details.reply)
        self.assertIn(DETAILS.encode().removesuffix(b"\n"), self.octets("accounts.toml"))

    def test_disable(self) -> None:
        """disable and enable, with the comment of the other key as it was."""
        self.good("disable", "baito")
        self.assertTrue(self.account("baito").details.disabled)
        self.assertFalse(self.account("baito").details.outside)
        self.good("enable", "baito")
        self.assertEqual(self.octets("accounts.toml"), DETAILS.encode())

    def test_badValues(self) -> None:
        """Each is told with what was expected."""
        for pair, words in (
            ("outside=perhaps", "yes or no"),
            ("mailbox_octets=-1", "octets"),
            ("reply.from=tomorrow", "a day"),
            ("nothing=1", "KEY one of name, home"),
            ("outside", "KEY=VALUE"),
            ("name=a\tb", "name has a control character"),
            ("name=a\r\nintruder\tpass", "name has a control character"),
            ("senders=a@b.jp\r\nx", "control character"),
            ("networks=300.0.0.1", "accounts.toml:"),
            ("forward=user1@test.jp", "accounts.toml:"),
            ("reply.subject=x", "reply without text"),
        ):
            self.assertIn(words, self.refused("set", "user1", pair), pair)

    def test_noDetails(self) -> None:
        """Where the configuration names no accounts.toml it is told what to write into it."""
        self.write("backend.toml", CONFIG.replace('details = "accounts.toml"\n', ""))
        self.assertIn('details = "accounts.toml"', self.refused("set", "user1", "outside=no"))
        self.good("set", "user1", "name=x")

    def test_secondFaulty(self) -> None:
        """Of two files that change, a fault in one keeps the other as it was."""
        self.refused("set", "user1", "name=x", "networks=nowhere")


class DaemonTests(ShellTestCase):
    """What a running daemon makes of it."""

    def test_atOnce(self) -> None:
        """A change is in force with the next look at the tables; with the one after where an inode was given anew."""
        clock = Clock()
        there = reload.Directories(*self.load(), clock)
        there.startService()
        self.addCleanup(there.stopService)
        self.good("add", "kacho", "--stdin", "outside=no", stdin=b"geheim")
        clock.pump([reload.LOOK] * 2)
        found = there().accounts.find(parseAddress("kacho@test.jp"))
        assert found is not None
        self.assertEqual((found.details.outside, there.faults), (False, []))

    def test_brokenElsewhere(self) -> None:
        """While another table is faulty nothing is changed: it would not take effect."""
        self.write("accounts.toml", '["nobody@test.jp"]\n')
        self.assertIn(
            "accounts.toml:1: nobody@test.jp is no account", self.refused("passwd", "user1", "--stdin", stdin=b"x")
        )

    def test_emptied(self) -> None:
        """A table that a full disk has emptied is not written: what it held is not there, and is not known here."""
        for name, comment in (("accounts.toml", "# none"), ("accounts.dat", "' none")):
            self.setUp()
            self.write("backend.toml", CONFIG.replace('postmaster = "bucho@test.jp"\n', ""))
            self.write("accounts.toml", DETAILS if name == "accounts.toml" else "# none\n")
            self.write(name, "")
            for words in (
                ("set", "user1", "outside=no"),
                ("set", "user1", "name=x"),
                ("add", "kacho", "--stdin"),
                ("passwd", "user1", "--stdin"),
                ("disable", "user1"),
                ("remove", "user1"),
                ("rename", "user1", "user2"),
                ("import", "-"),
                ("export",),
            ):
                said = self.refused(*words, stdin=b"pass1234\n")
                where = f"{self.folder / name}:1: is empty, as an editor leaves a file on a full disk"
                expected = f"expected what it held, from a backup; if it is meant to be empty, one line: {comment}"
                self.assertIn(f"{where}, {expected}", said, words)
                self.assertIn("nothing was changed", said, words)
            self.good("list")
            self.assertIn("is empty, as an editor leaves a file on a full disk", self.remarked)
            self.write(name, comment)
            self.good("add", "kacho", "--stdin", "outside=no", stdin=b"pass1234\n")
            self.assertFalse(self.account("kacho").details.outside)

    def test_emptiedBesideOthers(self) -> None:
        """Where other tables are faulty because accounts.dat is empty that is told first."""
        self.write("accounts.dat", "")
        first, *others = self.refused("list").splitlines()
        self.assertIn("accounts.dat:1: is empty, as an editor", first)
        self.assertIn("baito@test.jp is no account", "".join(others))

    def test_lastOne(self) -> None:
        """Who takes the last line out of a table leaves a comment: one of 0 octets would not be taken."""
        self.write("backend.toml", CONFIG.replace('postmaster = "bucho@test.jp"\n', ""))
        self.write("accounts.dat", "baito\tpass1234\t\ttest.jp\n")
        self.write("accounts.toml", '["baito@test.jp"]\noutside = false')
        self.good("remove", "baito")
        self.assertEqual((self.octets(), self.octets("accounts.toml")), (b"' none\n", b"# none\n"))
        self.good("add", "kacho", "--stdin", "outside=no", stdin=b"pass1234\n")

    def test_damaged(self) -> None:
        """A table that is none is told with its line, and left as it is."""
        for octets, words in (
            (b"user1\tx\0y\n", "accounts.dat:1: has NUL"),
            (b"bucho\tx\n\x81\x20\n", "accounts.dat:2: is neither"),
            (b"bucho\tx\nnonsense\n", "accounts.dat:2: 1 columns"),
        ):
            self.write("accounts.dat", octets)
            self.assertIn(words, self.refused("add", "kacho", "--stdin", stdin=b"geheim"))

    def test_postmaster(self) -> None:
        """The account that the postmaster's mail goes to cannot be removed."""
        self.assertIn("postmaster bucho@test.jp", self.refused("remove", "bucho"))


class StepTests(ShellTestCase):
    """Changes of both files: a power cut, or a look of the daemon, may come behind each step."""

    def steps(self, *words: str, stdin: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Both files as each step leaves them; each time a daemon would start, and baito's restriction holds."""
        found = []
        replace = os.replace

        def replaced(old: str, new: str) -> None:
            replace(old, new)
            found.append((self.octets(), self.octets("accounts.toml")))
            for account in self.load()[1].accounts:  # a fault would raise
                if account.address.local in ("baito", "keiyaku"):
                    free = account.auth or account.pop3 or account.imap4
                    self.assertFalse(
                        free and account.details.outside, f"{account.address} is free behind step {len(found)}"
                    )

        self.patch(os, "replace", replaced)
        self.good(*words, stdin=stdin)
        return found

    def test_add(self) -> None:
        """A new account that may write inside only never may more."""
        self.assertEqual(len(self.steps("add", "keiyaku", "--stdin", "outside=no", stdin=b"geheim")), 3)
        self.assertTrue(self.account("keiyaku").auth)

    def test_rename(self) -> None:
        """One that gets another name keeps its restriction, password and place."""
        self.assertEqual(len(self.steps("rename", "baito", "keiyaku")), 5)
        self.assertEqual(self.octets().decode(), ACCOUNTS.replace("baito", "keiyaku"))
        self.assertEqual(self.octets("accounts.toml").decode(), DETAILS.replace("baito", "keiyaku"))

    def test_remove(self) -> None:
        """One that is removed is not free for a moment."""
        self.assertEqual(len(self.steps("remove", "baito")), 3)
        self.assertEqual(self.octets().decode(), ACCOUNTS.replace("baito\tpass1234\t\ttest.jp\n", ""))
        self.assertEqual(self.octets("accounts.toml"), b"# what they may do\n\n# the end\n")

    def test_diskThatFails(self) -> None:
        """Whichever sync or rename fails: the words tell truly whether nothing, a part or all of it was changed."""
        told: set[str] = set()
        for words in (("add", "keiyaku", "outside=no", "--stdin"), ("rename", "baito", "keiyaku"), ("remove", "baito")):
            for name in ("fsync", "replace"):
                for number in range(15):
                    told |= self.failing(words, name, number, OSError(errno.EIO, os.strerror(errno.EIO)))
        self.assertEqual(told, {NOTHING, PART, ""})

    def test_interrupted(self) -> None:
        """Ctrl-C before or behind whichever sync or rename: the same, and no new file is left."""
        told: set[str] = set()
        for words in (("add", "keiyaku", "outside=no", "--stdin"), ("rename", "baito", "keiyaku")):
            for name in ("fsync", "replace"):
                for number in range(15):
                    for behind in (False, True):
                        told |= self.failing(words, name, number, KeyboardInterrupt(), behind)
                        self.assertEqual(list(self.folder.glob(".*.new")), [])
        self.assertEqual(told, {NOTHING, PART, ""})

    def failing(
        self, words: tuple[str, ...], name: str, number: int, error: BaseException, behind: bool = False
    ) -> set[str]:
        """Let a call fail, or when it is done. @return: what was told of the change; nothing: there is no such call."""
        self.write("accounts.dat", ACCOUNTS)
        self.write("accounts.toml", DETAILS)
        call, left = getattr(os, name), [number]

        def fail(*given: Any) -> None:
            left.append(left.pop() - 1)
            if left[0] == -1 and not behind:
                raise error
            call(*given)
            if left[0] == -1:
                raise error

        patch = self.patch(os, name, fail)
        status = self.run_("account", *words, stdin=b"geheim")
        patch.restore()
        if status == 0:
            return set()
        self.assertIn("interrupted" if behind or not str(error) else os.strerror(errno.EIO), self.remarked)
        tables = self.octets(), self.octets("accounts.toml")
        came = b"keiyaku" in tables[0] or words[0] == "remove"
        went = b"baito" not in tables[0] or words[0] == "add"
        whole = came and went and all(account.auth for account in self.load()[1].accounts)
        expected = NOTHING if tables == (ACCOUNTS.encode(), DETAILS.encode()) else "" if whole else PART
        self.assertEqual([word for word in (NOTHING, PART) if word in self.remarked], [expected] * bool(expected))
        return {expected}


class MailboxTests(ShellTestCase):
    """What becomes of mailboxes."""

    def setUp(self) -> None:
        super().setUp()
        self.inbox = self.folder / "work/inbox"
        self.letter(self.inbox / "user1", "B0000000001")
        (self.inbox / "user1/sender.dat").write_text("*@test.jp\n")
        self.slept: list[float] = []
        self.patch(time, "sleep", self.slept.append)

    def letter(self, box: Path, name: str) -> None:
        """A message in a mailbox."""
        for folder in ("tmp", "new", "cur"):
            (box / folder).mkdir(parents=True, exist_ok=True)
        (box / "new" / f"{name}.MSG").write_text(name)

    def held(self, box: Path) -> list[str]:
        """The files of a mailbox."""
        return sorted(str(path.relative_to(box)) for path in box.rglob("*") if path.is_file())

    def test_rename(self) -> None:
        """The mailbox goes with the account."""
        self.good("rename", "user1", "kacho")
        self.assertEqual(self.held(self.inbox / "kacho"), ["new/B0000000001.MSG", "sender.dat"])
        self.assertFalse((self.inbox / "user1").exists())
        self.assertEqual((self.octets().decode(), self.slept), (ACCOUNTS.replace("user1", "kacho"), []))

    def test_renameUnderADaemon(self) -> None:
        """With a daemon running what comes for either name meanwhile is in the new mailbox too."""
        (self.folder / "work/lock").touch()
        self.addCleanup(FolderLock(str(self.folder / "work")).release)

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            number = len(self.slept)
            self.assertIsNone(self.load()[1].accounts.find(parseAddress("user1@test.jp")))
            if number == 1:
                self.letter(self.inbox / "kacho", "B0000000002")
            self.letter(self.inbox / "user1", f"B000000001{number}")

        self.patch(time, "sleep", sleep)
        self.good("rename", "user1", "kacho")
        found = [f"new/B000000000{n}.MSG" for n in (1, 2)] + [f"new/B000000001{n}.MSG" for n in (1, 2)]
        self.assertEqual(self.held(self.inbox / "kacho"), [*found, "sender.dat"])
        self.assertFalse((self.inbox / "user1").exists())
        self.assertEqual(len(self.slept), 2)

    def test_lastSync(self) -> None:
        """Where the accounts were changed and their folder does not sync, it is told that the mailbox stays behind."""
        call, sync = files.syncFolder, str(self.folder)
        for words, new in ((["rename", "user1", "kacho"], "kacho"), (["remove", "user1", "--mailbox"], REMOVED)):
            self.write("accounts.dat", ACCOUNTS)

            def fail(path: str) -> None:
                if os.path.samefile(path, sync):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                call(path)

            patch = self.patch(files, "syncFolder", fail)
            self.assertEqual(self.run_("account", *words), 1)
            patch.restore()
            self.assertNotIn(b"user1", self.octets())
            self.assertIn("accounts.dat was changed, but a power cut could undo it", self.remarked)
            self.assertRegex(
                self.remarked, f"mailbox .*/user1 could not be moved to .*{new}.*: not begun\nmove what is left"
            )
            self.assertEqual(len(self.held(self.inbox / "user1")), 2)

    def test_interrupted(self) -> None:
        """Ctrl-C while the daemon is waited for: the same."""
        (self.folder / "work/lock").touch()
        self.addCleanup(FolderLock(str(self.folder / "work")).release)

        def sleep(seconds: float) -> None:
            raise KeyboardInterrupt

        self.patch(time, "sleep", sleep)
        self.assertEqual(self.run_("account", "rename", "user1", "kacho"), 1)
        self.assertEqual(self.octets().decode(), ACCOUNTS.replace("user1", "kacho"))
        self.assertRegex(self.remarked, "mailbox .*/user1 could not be moved to .*/kacho as a whole: interrupted\nmove")

    def test_sameName(self) -> None:
        """Of two files of one name neither is lost."""
        (self.folder / "work/lock").touch()
        self.addCleanup(FolderLock(str(self.folder / "work")).release)

        def sleep(seconds: float) -> None:
            (self.inbox / "kacho").mkdir(exist_ok=True)
            (self.inbox / "kacho/sender.dat").write_text("another")

        self.patch(time, "sleep", sleep)
        self.good("rename", "user1", "kacho")
        self.assertEqual(self.held(self.inbox / "kacho"), ["new/B0000000001.MSG", "sender.dat"])
        self.assertEqual((self.inbox / "kacho/sender.dat").read_text(), "another")
        self.assertEqual(self.held(self.inbox / "user1"), ["sender.dat"])
        self.assertIn("something was left in", self.remarked)

    def test_ontoAnother(self) -> None:
        """A mailbox with somebody's mail is not given to somebody else."""
        self.letter(self.inbox / "kacho", "B0000000009")
        self.assertIn("holds mail", self.refused("rename", "user1", "kacho"))
        self.assertEqual(self.held(self.inbox / "kacho"), ["new/B0000000009.MSG"])

    def test_ontoAnAccount(self) -> None:
        """Nor is an account's name."""
        self.assertIn("accounts.dat:5", self.refused("rename", "user1", "baito"))

    def test_remove(self) -> None:
        """The mailbox stays."""
        self.assertIn(str(self.inbox / "user1"), self.good("remove", "user1"))
        self.assertEqual(len(self.held(self.inbox / "user1")), 2)

    def test_removeMailbox(self) -> None:
        """It is moved to where no account has its mailbox, with all that is in it, and again when it is there again."""
        (self.inbox / "user1/new/B0000000001.MSG").chmod(0o600)
        for _ in range(2):
            aside = Path(self.asked("remove", "user1", "--mailbox")["mailbox"])
            self.assertEqual(len(self.held(aside)), 2)
            self.assertEqual(aside.parent.name, REMOVED)
            self.assertFalse((self.inbox / "user1").exists())
            self.patch(time, "time", lambda: 2e9)
            self.good("add", "user1", "--stdin", stdin=b"geheimnis")
            self.assertEqual(self.remarked, "")
            self.letter(self.inbox / "user1", "B0000000001")
            (self.inbox / "user1/sender.dat").touch()
        self.assertTrue(self.refused("add", REMOVED, "--stdin", stdin=b"x"))

    def test_cannotBeMoved(self) -> None:
        """What fails behind the change of the tables is told with both places."""
        (self.inbox / REMOVED).write_text("in the way")
        self.assertEqual(self.run_("account", "remove", "user1", "--mailbox"), 1)
        self.assertIn(str(self.inbox / "user1"), self.remarked)
        self.assertEqual(len(self.held(self.inbox / "user1")), 2)
