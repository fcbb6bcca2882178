"""Tests of L{epost.control.setup.writing}: all files or none, and none that is there is touched."""

import os
from typing import Any
from unittest import mock

from epost.control.setup import texts, writing
from epost.control.terminal import Failure
from tests.control.setup.cases import Case


class NeverOverwritesTests(Case):
    """What is there stays."""

    def test_again(self) -> None:
        """A second setup in the same place says what is there and writes nothing."""
        self.run_()
        before = {path: path.read_bytes() for path in self.etc.iterdir()}
        with self.assertRaisesRegex(Failure, "backend.toml is there already\n(.*\n)*nothing was written"):
            self.run_("--domain", "other.jp")
        self.assertEqual({path: path.read_bytes() for path in self.etc.iterdir()}, before)

    def test_one(self) -> None:
        """One file that is there, a link that leads nowhere too, and none is written."""
        for name in texts.NAMES:
            self.etc.mkdir()
            (self.etc / name).symlink_to("nowhere")
            with self.assertRaisesRegex(Failure, f"{name} is there already"):
                self.run_()
            self.assertEqual([path.name for path in self.etc.iterdir()], [name])
            (self.etc / name).unlink()
            self.etc.rmdir()

    def test_unit(self) -> None:
        """A unit that is there counts as well."""
        units = self.root / "units"
        units.mkdir()
        (units / "epost-gateway.service").write_text("mine")
        self.patch(writing, "owner", lambda user: None)
        with self.assertRaisesRegex(Failure, "epost-gateway.service is there already"):
            self.run_("--systemd", str(units))
        self.assertEqual(list(self.root.iterdir()), [units])
        self.assertEqual((units / "epost-gateway.service").read_text(), "mine")

    def test_fault(self) -> None:
        """What could not be written to its end is taken away again, folders too."""
        written: list[int] = []

        def full(descriptor: int) -> None:
            written.append(descriptor)
            if len(written) == 4:
                raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        with self.assertRaisesRegex(Failure, "No space left on device; nothing was written"):
            self.run_()
        self.assertNothingWritten()

    def test_interrupted(self) -> None:
        """Ctrl-C at whichever file, between its making and its sync too: all is taken away again, and that is told."""
        for step, last in ((os.fsync, 1), (os.fsync, 8), (os.open, 1), (os.open, 4), (os.mkdir, 1), (os.mkdir, 2)):
            calls: list[object] = []

            def interrupted(*words: Any, step: Any = step, last: int = last, calls: list[object] = calls) -> Any:
                done = step(*words)
                calls.append(done)
                if len(calls) == last:
                    raise KeyboardInterrupt
                return done

            told = self.assertRaisesRegex(Failure, "^interrupted; nothing was written$")
            with mock.patch.object(os, step.__name__, interrupted), told:
                self.run_()
            self.assertNothingWritten()

    def test_killed(self) -> None:
        """What a killed run has left is named, and what to do with it."""
        self.etc.mkdir()
        (self.etc / "backend.toml").write_text("[ser")
        with self.assertRaisesRegex(Failure, "already\n.*never overwrites\nif a run that was killed.* remove it"):
            self.run_()

    def test_race(self) -> None:
        """A file that appears meanwhile is not overwritten, and the others go."""
        self.patch(writing, "vacant", lambda paths: None)
        self.etc.mkdir()
        (self.etc / "aliases.dat").write_text("mine")
        with self.assertRaisesRegex(Failure, "aliases.dat: File exists; nothing was written"):
            self.run_()
        self.assertEqual([path.name for path in self.etc.iterdir()], ["aliases.dat"])
        self.assertEqual((self.etc / "aliases.dat").read_text(), "mine")
