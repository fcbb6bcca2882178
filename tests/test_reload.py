"""Tests of L{epost.reload}: tables that change while the daemon runs."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from epost.loading import check, load
from epost.mail.address import parseAddress
from epost.mail.route import Local
from epost.reload import Directories, Restrictions
from epost.settings import Settings

CONFIG = """[server]
name = "dc.epost.test"
folder = "work"
listen = ["tcp:2526:interface=127.0.0.1"]
postmaster = "bucho@test.jp"
[tables]
effect = "effect.dat"
gateway = "gateway.dat"
"""


class DirectoriesTests(SynchronousTestCase):
    """A table is read again when it changes, whole or not at all."""

    def setUp(self) -> None:
        """A gateway whose tables are looked at by a clock of our own."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "gateway.toml").write_text(CONFIG)
        self.write("effect.dat", "baito@test.jp false\n")
        self.write("gateway.dat", "test.jp, 127.0.0.1, 2525\n")
        self.clock = Clock()
        self.there = Directories(*load(str(self.folder / "gateway.toml"), "gateway"), self.clock)
        self.changes: list[int] = []
        self.there.subscribe(lambda: self.changes.append(1))
        self.said: list[str] = []
        self.notes: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.there.startService()
        self.addCleanup(self.there.stopService)

    def observe(self, event: dict[str, object]) -> None:
        """Keep what the tables' log says."""
        if event.get("log_namespace") == "epost.reload.Directories" and "note" in event:
            self.notes.append(str(event["note"]))
        elif event.get("log_namespace") == "epost.reload.Directories":
            self.said.append(str(event.get("fault") or event["log_format"]))

    def write(self, name: str, text: str) -> None:
        """Write a table as an editor does that keeps the file."""
        (self.folder / name).write_text(text)

    def refused(self, path: str) -> bool:
        """Whether effect.dat in force has a line about a sender."""
        return self.there().effect.first("10.0.0.1", parseAddress(path)) is not None

    def test_change(self) -> None:
        """A change is in force within two seconds, once, and who subscribed is told."""
        self.write("effect.dat", "user1@test.jp false\n")
        self.assertFalse(self.refused("user1@test.jp"))
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual((self.refused("user1@test.jp"), self.refused("baito@test.jp")), (True, False))
        self.assertEqual(self.changes, [1])

    def test_sameSizeAndTime(self) -> None:
        """A file put in place of another is a change though size and time are the same."""
        place = self.folder / "effect.dat"
        before = place.stat()
        self.write("new", "kacho@test.jp false\n")
        os.utime(self.folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(self.folder / "new", place)
        self.clock.advance(1)
        self.assertTrue(self.refused("kacho@test.jp"))

    def test_nothing(self) -> None:
        """Without a change nothing is read."""
        before = self.there()
        self.clock.pump([1] * 10)
        self.assertIs(self.there(), before)
        self.assertEqual((self.changes, self.said), ([], []))

    def test_allOrNothing(self) -> None:
        """One wrong table keeps the others from changing too; every fault is told once; the old ones stay in force."""
        before = self.there()
        self.write("effect.dat", "' \nbaito@test.jp flase\n")
        self.write("gateway.dat", "other.jp, 127.0.0.1, 99999\n")
        self.clock.pump([1] * 5)
        self.assertIs(self.there(), before)
        self.assertEqual(self.changes, [])
        self.assertEqual(len(self.said), 3)
        self.assertEqual(
            self.said[0], 'effect.dat:2: unknown kind "flase", expected true, false, only, default or norelay'
        )
        self.assertTrue(self.said[1].startswith("gateway.dat:1: "))
        self.assertEqual([fault.file for fault in self.there.faults], ["effect.dat", "gateway.dat"])

    def test_recovery(self) -> None:
        """A table that stayed half written is read again when it is whole, and one that was gone when it is back."""
        self.write("effect.dat", "user1@test.jp fal")
        self.clock.pump([1] * 2)
        os.remove(self.folder / "gateway.dat")
        self.clock.advance(1)
        self.assertIn('gateway.toml:8: [tables] gateway = "gateway.dat" cannot be read', "\n".join(self.said))
        self.write("effect.dat", "user1@test.jp false\n")
        self.write("gateway.dat", "test.jp, 127.0.0.1\n")
        self.clock.pump([1] * 2)
        self.assertTrue(self.refused("user1@test.jp"))
        self.assertEqual(self.there.faults, [])

    def test_halfWritten(self) -> None:
        """A table is not read while it grows; nor is what took the place of another one while that one grows."""
        before = self.there()
        for length in range(1, 6):
            self.write("effect.dat", "user1@test.jp false\n" * length)
            if length == 3:
                self.write("new", "other.jp, 127.0.0.1\n")
                os.replace(self.folder / "new", self.folder / "gateway.dat")
            self.clock.advance(1)
            self.assertIs(self.there(), before)
        self.clock.advance(1)
        self.assertTrue(self.refused("user1@test.jp"))
        self.assertEqual((self.changes, self.said[:-1]), ([1], []))

    def test_emptied(self) -> None:
        """A table that is emptied is told, once, and the old ones stay in force; a comment takes what it said away."""
        self.write("effect.dat", "")
        self.clock.pump([1] * 5)
        self.assertTrue(self.refused("baito@test.jp"))
        why = "effect.dat:1: is empty and was not, expected what it held; if it is meant to be empty, one line: ' none"
        self.assertEqual(self.said, [why, "the tables as they were before stay in force"])
        self.assertFalse(self.there.reload())
        self.write("effect.dat", "' none\n")
        self.clock.pump([1] * 2)
        self.assertFalse(self.refused("baito@test.jp"))
        self.write("effect.dat", "")
        self.clock.pump([1] * 2)
        self.assertFalse(self.there.reload())  # a comment is something too

    def test_emptyAtStart(self) -> None:
        """What is empty at the start is taken as it is, with a remark; nobody can tell that it was not meant to be."""
        self.write("effect.dat", "")
        there = Directories(*load(str(self.folder / "gateway.toml"), "gateway"), self.clock)
        there.startService()
        self.addCleanup(there.stopService)
        note = "effect.dat:1: is empty: it restricts nobody, expected rules, or one line: ' none"
        self.assertEqual(self.notes, [note])
        self.assertIn(note, list(map(str, check(str(self.folder / "gateway.toml"), "gateway")[1])))
        self.assertTrue(there.reload())

    def test_pipe(self) -> None:
        """What one would have to wait for is no table; nobody waits for it."""
        os.remove(self.folder / "effect.dat")
        os.mkfifo(self.folder / "effect.dat")
        self.clock.pump([1] * 2)
        self.assertIn("cannot be read: it is no file", "\n".join(self.said))

    def test_reload(self) -> None:
        """SIGHUP reads without waiting for the clock, and says whether it worked."""
        self.write("effect.dat", "user1@test.jp false\n")
        self.assertTrue(self.there.reload())
        self.assertTrue(self.refused("user1@test.jp"))
        self.write("effect.dat", "user1@test.jp flase\n")
        self.assertFalse(self.there.reload())

    def test_stopped(self) -> None:
        """A service that was stopped looks no more."""
        self.there.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


BACKEND = """[server]
name = "test.jp"
folder = "work"
listen = ["tcp:2525:interface=127.0.0.1"]
[domains]
local = ["test.jp"]
accounts = "accounts.dat"
details = "accounts.toml"
lists = "more/lists.toml"
separator = "+"
[mailboxes]
place = 'inbox\\%USERNAME%'
"""
LIST = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\n'


class BackendTests(SynchronousTestCase):
    """The tables of accounts and lists, and the files that lists name."""

    def setUp(self) -> None:
        """A back-end with two accounts and a list."""
        self.folder = Path(self.mktemp())
        (self.folder / "more").mkdir(parents=True)
        self.write("backend.toml", BACKEND)
        self.write("accounts.dat", "baito\tx\nbucho\tx\n")
        self.write("accounts.toml", "")
        self.write("more/lists.toml", LIST)
        self.write("more/staff.txt", "baito@test.jp\n")
        self.clock = Clock()
        self.there = Directories(*load(str(self.folder / "backend.toml"), "backend"), self.clock)
        self.there.startService()
        self.addCleanup(self.there.stopService)

    def write(self, name: str, text: str) -> None:
        """Write a table."""
        (self.folder / name).write_text(text)

    def members(self) -> list[str]:
        """Who is in the list now."""
        one = self.there().list(parseAddress("staff@test.jp"))
        return [str(member) for member in one.members] if one else []

    def outside(self) -> bool:
        """Whether baito may write outside now."""
        account = self.there().account(parseAddress("baito+x@test.jp"))
        return account is not None and account.details.outside

    def test_details(self) -> None:
        """A change of accounts.toml is in force within two seconds, if nothing is wrong in any table."""
        self.assertTrue(self.outside())
        self.write("accounts.toml", '["baito@test.jp"]\noutside = false\n')
        self.clock.pump([1] * 2)
        self.assertFalse(self.outside())
        self.write("accounts.toml", "#\n")
        self.write("more/staff.txt", "baito\n")
        self.clock.pump([1] * 2)
        self.assertFalse(self.outside())
        self.assertEqual(
            [str(fault) for fault in self.there.faults],
            ["staff.txt:1: no domain: baito, expected one address a line"],
        )
        self.write("more/staff.txt", "'\n")
        self.clock.pump([1] * 2)
        self.assertTrue(self.outside())

    def test_emptied(self) -> None:
        """Accounts, what they may do, lists and members: each that is emptied keeps all as they were."""
        self.write("accounts.toml", '["baito@test.jp"]\noutside = false\n')
        self.clock.pump([1] * 2)
        before = self.there()
        for name in ("accounts.dat", "accounts.toml", "more/lists.toml", "more/staff.txt"):
            text = (self.folder / name).read_text()
            self.write(name, "")
            self.clock.pump([1] * 3)
            self.assertIs(self.there(), before, name)
            told = [fault.file for fault in self.there.faults if fault.why == "is empty and was not"]
            self.assertEqual(told, [name.replace("more/staff", "staff")])
            self.write(name, text)
            self.clock.pump([1] * 2)
            self.assertEqual(self.there.faults, [])
            before = self.there()
        self.assertEqual((self.outside(), self.members()), (False, ["baito@test.jp"]))

    def test_members(self) -> None:
        """A file of members is looked at like a table; so is one that was not there when the list was written."""
        self.write("more/staff.txt", "bucho@test.jp\n")
        self.clock.pump([1] * 2)
        self.assertEqual(self.members(), ["bucho@test.jp"])
        self.write("more/lists.toml", LIST.replace("staff.txt", "new.txt"))
        self.clock.pump([1] * 2)
        self.assertEqual(
            [str(fault) for fault in self.there.faults],
            ['more/lists.toml:2: members = "new.txt" cannot be read: No such file or directory, '
             "expected a file beside this one"],
        )  # fmt: skip
        self.assertEqual(self.members(), ["bucho@test.jp"])
        self.write("more/new.txt", "x@out.jp")
        self.clock.pump([1] * 2)
        self.assertEqual(self.members(), ["x@out.jp"])
        self.write("more/staff.txt", "no more looked at")
        before = self.there()
        self.clock.pump([1] * 3)
        self.assertIs(self.there(), before)

    def test_check(self) -> None:
        """The check reads every account's sender.dat, and says where mailboxes cannot lie."""
        (self.folder / "inbox").mkdir()
        self.write("inbox/sender.dat", "*@test.jp,1\n")

        def place(settings: Settings) -> "Callable[[Local], str] | None":
            return lambda box: str(self.folder / "inbox") if box.user == "baito" else str(self.folder)

        faults, _ = check(str(self.folder / "backend.toml"), "backend", place)
        self.assertEqual(
            [str(f) for f in faults],
            [f'{self.folder}/inbox/sender.dat:1: "1" behind the comma, expected -1, or no comma'],
        )

        def nowhere(settings: Settings) -> "Callable[[Local], str] | None":
            raise ValueError("incoming is taken")

        faults, _ = check(str(self.folder / "backend.toml"), "backend", nowhere)
        self.assertEqual([(fault.line, fault.why) for fault in faults], [(12, "incoming is taken")])


class RestrictionsTests(SynchronousTestCase):
    """Each account's sender.dat, read again when it changes."""

    def setUp(self) -> None:
        """The mailbox of baito."""
        self.folder = Path(self.mktemp())
        (self.folder / "baito").mkdir(parents=True)
        self.looks: list[Local] = []
        self.clock = Clock()
        self.clock.advance(time.time() + 3600)  # so that what a test writes is old
        self.there = Restrictions(self.place, self.clock.seconds)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, object]) -> None:
        """Keep what their log says."""
        if event.get("log_namespace") == "epost.reload.Restrictions":
            self.said.append(str(event.get("fault") or event.get("note") or event["log_format"]))

    def place(self, box: Local) -> str:
        """Where a mailbox lies; each look at a file begins here."""
        self.looks.append(box)
        return str(self.folder / box.user)

    def write(self, text: str, age: float | None = None) -> None:
        """Write baito's file in place. @param age: how many seconds ago; L{None}: long."""
        path = self.folder / "baito/sender.dat"
        path.write_text(text)
        if age is not None:
            os.utime(path, (self.clock.seconds() - age,) * 2)

    def says(self) -> str:
        """What is said of one recipient now: free, forbidden, or broken."""
        restriction = self.there(Local("baito", "test.jp"))
        if restriction.broken is not None:
            return "broken"
        return "forbidden" if restriction.forbids(parseAddress("x@out.jp")) else "free"

    def test_change(self) -> None:
        """It comes, changes and goes, and each is in force within two seconds."""
        self.assertEqual(self.says(), "free")
        for text, expected in (
            ("*@test.jp", "forbidden"),
            ("*@test.jp\n*@out.jp", "free"),
            ("*@out.jp,-1", "forbidden"),
        ):
            self.write(text)
            self.clock.advance(1)
            self.assertEqual(self.says(), expected, text)
        os.remove(self.folder / "baito/sender.dat")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")

    def test_halfWritten(self) -> None:
        """One that is being written is not read, as other tables are not; one that came whole is, and an old one."""
        self.write("*@test.jp")
        self.assertEqual(self.says(), "forbidden")
        for length in range(1, 4):
            self.write("*@out.jp\n" * length, age=0)
            self.clock.advance(1)
            self.write("*@out.jp\n" * (length + 1), age=0)
            self.assertEqual(self.says(), "forbidden", length)
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")
        self.write("*@test.jp", age=-3600)  # the clock was set back: two looks tell
        for expected in ("free", "forbidden"):
            self.clock.advance(1)
            self.assertEqual(self.says(), expected)
        (self.folder / "new").write_text("*@out.jp")
        os.utime(self.folder / "new", (self.clock.seconds() + 1,) * 2)
        os.replace(self.folder / "new", self.folder / "baito/sender.dat")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")

    def test_halfWrittenFromTheStart(self) -> None:
        """Where nothing was read before it is not known what it will say; where there was none, it restricts nobody."""
        self.write("*@te", age=0)
        self.assertEqual((self.says(), self.said), ("broken", []))
        self.clock.advance(0.5)
        self.write("*@test.jp", age=0)
        self.clock.advance(0.5)
        self.assertEqual(self.says(), "broken")
        self.clock.advance(1)
        self.assertEqual(self.says(), "forbidden")
        os.remove(self.folder / "baito/sender.dat")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")
        self.write("*@te", age=-0.5)
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")
        self.clock.advance(1)
        self.assertEqual((self.says(), self.said), ("forbidden", []))

    def test_emptyFromTheStart(self) -> None:
        """One that is empty when it is first looked at restricts nobody, and that is said once."""
        self.write("")
        self.assertEqual(self.says(), "free")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")
        self.assertEqual(len(self.said), 1)
        self.assertIn("sender.dat:1: is empty: it restricts nobody, expected rules, or one line: ' none", self.said[0])

    def test_oneLookASecond(self) -> None:
        """However often it is asked, one look a second; what did not change is not read again."""
        self.write("*@test.jp")
        first = self.there(Local("baito", "test.jp"))
        for _ in range(1000):
            self.there(Local("baito", "test.jp"))
        self.assertEqual(len(self.looks), 1)
        self.clock.advance(1)
        self.assertIs(self.there(Local("baito", "test.jp")), first)
        self.assertEqual(len(self.looks), 2)

    def test_wrong(self) -> None:
        """One that is wrong is told once, and what was read before stays in force, until it is mended."""
        self.write("*@test.jp")
        self.assertEqual(self.says(), "forbidden")
        self.write("*@out.jp,1")
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(self.says(), "forbidden")
        self.assertEqual(len(self.said), 2)
        self.assertIn('sender.dat:1: "1" behind the comma', self.said[0])
        self.write("*@out.jp")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")

    def test_emptied(self) -> None:
        """One that is emptied restricts as before, however often it is touched; a comment ends that."""
        self.write("*@test.jp")
        self.assertEqual(self.says(), "forbidden")
        for touched in range(3):
            self.write("")
            os.utime(self.folder / "baito/sender.dat", (touched, touched))
            self.clock.advance(1)
            self.assertEqual(self.says(), "forbidden")
        self.assertIn("sender.dat:1: is empty and was not", self.said[0])
        self.write("'")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")
        self.write("")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")

    def test_wrongFromTheStart(self) -> None:
        """Where nothing was read before it is not known whom the account may write to, and that is what is said."""
        self.write("*@out.jp,1")
        self.assertEqual(self.says(), "broken")
        broken = self.there(Local("baito", "test.jp")).broken
        assert broken is not None
        self.assertEqual((broken.line, broken.text), (1, '"1" behind the comma'))
        self.write("*@out.jp,2")
        self.clock.advance(1)
        self.assertEqual(self.says(), "broken")
        self.write("*@out.jp")
        self.clock.advance(1)
        self.assertEqual(self.says(), "free")

    def test_unreadable(self) -> None:
        """What cannot be read, or would have to be waited for, forbids nothing and allows nothing."""
        os.mkfifo(self.folder / "baito/sender.dat")
        self.assertEqual(self.says(), "broken")
        os.remove(self.folder / "baito/sender.dat")
        os.symlink("sender.dat", self.folder / "baito/sender.dat")
        self.clock.advance(1)
        self.assertEqual(self.says(), "broken")
        self.assertIn("Too many levels of symbolic links", self.said[-1])

    def test_noMailboxes(self) -> None:
        """Nobody is restricted where there are no mailboxes, or where one has no folder yet."""
        self.assertIsNone(Restrictions(None, self.clock.seconds)(Local("x", "test.jp")).broken)
        self.assertIsNone(self.there(Local("nobody", "test.jp")).broken)
