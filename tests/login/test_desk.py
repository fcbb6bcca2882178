"""Tests of L{epost.login.desk}: how a running daemon is asked who is locked out."""

import errno
import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from epost.login import desk
from epost.login.desk import Desk, askUnlock, prepare, readLocks
from epost.login.lockout import Lock, Lockout
from epost.login.logins import LOOK, Logins, Rules
from epost.tables.directory import Directory, Ground
from tests.login.fakes import Hands

USER = "user1@test.jp"


class DeskTests(SynchronousTestCase):
    """A work folder, a daemon, and somebody who asks."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.key = prepare(self.folder)
        self.lockout = Lockout(self.clock.seconds, 1, 100, 100, 900.0)
        self.desk = Desk(self.folder, self.lockout)
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        """Keep a line of the daemon's log."""
        if event["log_namespace"] == "epost.login.desk.Desk":
            self.lines.append(formatEvent(event))

    def test_unlock(self) -> None:
        """A wish is granted at the next look, once, and the log says so; several do not lose each other."""
        for name in (USER, "user2@test.jp", "user3@test.jp"):
            self.lockout.failed("192.0.2.1", name)
        askUnlock(self.folder, USER)
        askUnlock(self.folder, "user2@test.jp")
        self.desk.look()
        self.assertEqual([lock.account for lock in self.lockout.locks()], ["user3@test.jp"])
        self.assertEqual(os.listdir(self.folder / desk.UNLOCK), [])
        self.desk.look()
        self.assertEqual(len(self.lines), 2)
        self.assertIn(f"unlocked: {USER}, 2 counts", "".join(sorted(self.lines)))

    def test_halfWritten(self) -> None:
        """A wish that is being written has another name, and is not read."""
        (self.folder / desk.UNLOCK / ".half").write_text("*")
        self.lockout.failed("192.0.2.1", USER)
        self.desk.look()
        self.assertEqual(len(self.lockout.locks()), 1)

    def test_locked(self) -> None:
        """What is locked can be read; what has ended meanwhile is not told; a daemon that has ended has nothing."""
        self.lockout.failed("192.0.2.1", USER)
        self.desk.look()
        self.assertEqual(readLocks(self.folder, 1000), [Lock(USER, "192.0.2.1", 1900.0)])
        self.assertEqual(readLocks(self.folder, 1900), [])
        askUnlock(self.folder, "*")
        self.desk.look()
        self.assertEqual(readLocks(self.folder, 1000), [])
        self.desk.close()
        self.assertIsNone(readLocks(self.folder, 1000))
        self.assertFalse((self.folder / desk.LOCKED).exists())

    def test_whatACrashLeft(self) -> None:
        """The first look writes over what a daemon that was killed has left."""
        (self.folder / desk.LOCKED).write_text('{"account": "x", "network": "y", "until": 9999999999}\n')
        self.desk.look()
        self.assertEqual(readLocks(self.folder, 1000), [])

    def test_writtenSeldom(self) -> None:
        """Nothing is written while nothing changes."""
        self.desk.look()
        (self.folder / desk.LOCKED).unlink()
        self.desk.look()
        self.assertFalse((self.folder / desk.LOCKED).exists())

    def test_manyLocks(self) -> None:
        """A flood of locks does not become a file of megabytes each second."""
        self.patch(desk, "MOST", 10)
        self.lockout.failed("192.0.2.99", "first")
        self.clock.advance(1)
        for number in range(50):
            self.lockout.failed("192.0.2.1", f"user{number}")
        self.desk.look()
        names = [lock.account for lock in readLocks(self.folder, 1000) or []]
        self.assertEqual(names, [f"user{number}" for number in range(40, 50)])
        self.assertEqual(len(self.lockout.locks()), 51)

    def test_strangeNames(self) -> None:
        """A name that was made to do harm is a text in the file, and in the log."""
        self.lockout.failed("192.0.2.1", 'a"\r\n\x1b\udcff')
        self.desk.look()
        self.assertEqual(len(readLocks(self.folder, 1000) or []), 1)
        askUnlock(self.folder, "a\nb\x1b")
        self.desk.look()
        self.assertIn("unlocked: a\\x0ab\\x1b, 0 counts", self.lines[-1])

    def test_cannotBeRemoved(self) -> None:
        """A wish that cannot be read or removed is told once, and is not granted every second."""
        (self.folder / desk.UNLOCK / "folder").mkdir()
        for _ in range(3):
            self.desk.look()
        self.assertEqual(len(self.lines), 1)
        self.assertIn("Is a directory", self.lines[0])

    def test_oddWishes(self) -> None:
        """Who may make a wish has no other file told in the log, and nobody waits for his pipe."""
        wishes = self.folder / desk.UNLOCK
        (wishes / "link").symlink_to(self.folder.absolute() / desk.KEY)
        os.mkfifo(wishes / "empty")
        os.mkfifo(wishes / "open")
        other = os.open(wishes / "open", os.O_RDWR)
        self.addCleanup(os.close, other)
        self.lockout.failed("192.0.2.1", USER)
        askUnlock(self.folder, USER)
        for _ in range(3):
            self.desk.look()
        self.assertEqual(self.lockout.locks(), [])
        told = "\n".join(self.lines)
        self.assertEqual(len(self.lines), 4, told)
        self.assertIn("Too many levels of symbolic links", told)
        self.assertIn("unlocked: , 0 counts", told)

    def test_fullDisk(self) -> None:
        """What cannot be written is told once and nothing false or half stands there; then it is written, and told."""
        self.desk.look()
        self.lockout.failed("192.0.2.1", USER)
        full = self.patch(os, "rename", self.full)
        for _ in range(3):
            self.desk.look()
        self.assertEqual(self.lines, [f"{self.folder}/locked: [Errno 28] full: '{self.folder}/locked'"])
        self.assertIsNone(readLocks(self.folder, 1000))
        self.assertRaises(OSError, askUnlock, self.folder, USER)
        self.assertEqual([*self.folder.rglob(".*")], [])
        full.restore()
        self.desk.look()
        self.desk.look()
        self.assertEqual(self.lines[1:], [f"{self.folder}/locked is written again"])
        self.assertEqual(readLocks(self.folder, 1000), [Lock(USER, "192.0.2.1", 1900.0)])
        self.lockout.failed("192.0.2.2", USER)
        self.patch(os, "rename", self.full)
        self.desk.look()
        self.assertEqual(len(self.lines), 3)

    def full(self, old: Path, new: Path) -> None:
        """A disk that takes nothing."""
        raise OSError(errno.ENOSPC, "full")

    def test_neverRun(self) -> None:
        """Who asks where no daemon has run is told so."""
        self.assertRaises(FileNotFoundError, askUnlock, self.folder.parent / "nowhere", "*")
        self.assertIsNone(readLocks(self.folder.parent / "nowhere", 0))

    def test_key(self) -> None:
        """The key is made once, is secret, and is made anew where it is damaged."""
        self.assertEqual(len(self.key), 32)
        self.assertEqual(prepare(self.folder), self.key)
        path = self.folder / desk.KEY
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.write_bytes(self.key[:10])
        self.assertNotEqual(prepare(self.folder), self.key)
        self.assertEqual(len(path.read_bytes()), 32)
        self.assertEqual(list(self.folder.glob(".*")), [])

    def test_service(self) -> None:
        """The service looks once a second while it runs, and takes its file away when it ends."""
        directory = Directory(Ground("x", "h"))
        service = Logins(Rules("h"), lambda: directory, self.clock, Hands(), self.lockout, self.key, self.desk)
        service.startService()
        self.lockout.failed("192.0.2.1", USER)
        self.clock.advance(LOOK)
        self.assertEqual(len(readLocks(self.folder, 1000) or []), 1)
        askUnlock(self.folder, USER)
        self.clock.advance(LOOK)
        self.assertEqual(self.lockout.locks(), [])
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse((self.folder / desk.LOCKED).exists())
