"""Tests of L{epost.reload}: tables that change while the daemon runs."""

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.reload import Directories, load

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
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.there.startService()
        self.addCleanup(self.there.stopService)

    def observe(self, event: dict[str, object]) -> None:
        """Keep what the tables' log says."""
        if event.get("log_namespace") == "epost.reload.Directories":
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
        """A table that was half written is read again when it is whole, and one that was gone when it is back."""
        self.write("effect.dat", "user1@test.jp fal")
        self.clock.advance(1)
        os.remove(self.folder / "gateway.dat")
        self.clock.advance(1)
        self.assertIn('gateway.toml:8: [tables] gateway = "gateway.dat" cannot be read', "\n".join(self.said))
        self.write("effect.dat", "user1@test.jp false\n")
        self.write("gateway.dat", "test.jp, 127.0.0.1\n")
        self.clock.advance(1)
        self.assertTrue(self.refused("user1@test.jp"))
        self.assertEqual(self.there.faults, [])

    def test_pipe(self) -> None:
        """What one would have to wait for is no table; nobody waits for it."""
        os.remove(self.folder / "effect.dat")
        os.mkfifo(self.folder / "effect.dat")
        self.clock.advance(1)
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
