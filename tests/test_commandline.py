"""Tests of L{epost.commandline}, as twistd runs it."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.task import Clock
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from epost.backend import Options
from epost.commandline import makeDaemon
from epost.control.cert import pair
from epost.storage.disk import userName
from tests.control.doctor.cases import BACKEND, NOBODY, TABLES
from tests.system.pair import ROOT, TWISTD, toml


class ConfigTests(SynchronousTestCase):
    """Which configuration."""

    def test_missing(self) -> None:
        """Without one the command ends with one line that has an example, not with twistd's own options."""
        for half in ("backend", "gateway"):
            done = subprocess.run(
                [TWISTD, "-n", "--pidfile=", f"epost-{half}"],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                encoding="utf-8",
                timeout=60,
            )
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            example = f"twistd -n epost-{half} --config {half}.toml"
            self.assertEqual(done.stderr, f"--config is missing; for example: {example}\n")


class UserTests(SynchronousTestCase):
    """Root, and who the work folder belongs to."""

    def setUp(self) -> None:
        """A configuration whose work folder is not root's, where everybody can reach it."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        for name, text in TABLES.items():
            (self.folder / name).write_text(text, "utf-8")
        chain, key = pair(["test.jp"], datetime.now(UTC))
        (self.folder / "cert.pem").write_bytes(chain)
        (self.folder / "key.pem").write_bytes(key)
        (self.folder / "key.pem").chmod(0o600)
        self.file = self.folder / "backend.toml"
        self.file.write_text(toml({**BACKEND, "tls": {"certificates": [["cert.pem", "key.pem"]]}}), "utf-8")
        self.work = self.folder / "backend"
        self.work.mkdir()
        os.chown(self.work, NOBODY, -1)

    def options(self, *more: str, user: int | None = None) -> Options:
        """As twistd makes them. @param user: of its own option."""
        options = Options()
        options.parent = ServerOptions()
        options.parent["uid"] = user
        options.parseOptions(["--config", str(self.file), *more])
        return options

    def said(self, *more: str, user: int | None = None) -> tuple[object, str, str]:
        """The status with which a start ends, and what is said."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        ended = self.assertRaises(SystemExit, lambda: makeDaemon(self.options(*more, user=user), Clock()))
        return ended.code, out.getvalue(), err.getvalue()

    def test_rootOnAnothersFolder(self) -> None:
        """Root does not start on another user's folder, nor where it would make one in his; what to do is told."""
        name = userName(NOBODY)
        line = f"{self.file}:3: [server] folder: {self.work} is {name}'s, who cannot start on what root leaves"
        expected = f"expected a start as {name} (twistd --uid {name} …, in a unit User={name})"
        self.assertEqual(self.said(), (1, "", f"{line}, {expected}, or a folder that is root's\n"))
        self.work.rmdir()
        os.chown(self.folder, NOBODY, -1)
        self.assertEqual(self.said()[0], 1)
        self.assertEqual(self.said(user=0)[0], 1)

    def test_whoMay(self) -> None:
        """Root starts on its own folder, and for the user whom twistd is told to become."""
        makeDaemon(self.options(user=NOBODY), Clock())
        os.chown(self.work, 0, -1)
        makeDaemon(self.options(), Clock())

    def test_check(self) -> None:
        """For root the check reads as whoever has the folder, since that one must read the key, and tells who it is."""
        status, said, _ = self.said("--check")
        self.assertEqual(status, 1)
        self.assertIn('"key.pem" cannot be read: Permission denied', said)
        self.assertEqual((os.geteuid(), os.getegid()), (0, os.getgid()))
        os.chown(self.folder / "key.pem", NOBODY, -1)
        self.assertEqual(self.said("--check"), (0, f"{self.file}: no faults, read as {userName(NOBODY)}\n", ""))
        (self.folder / "accounts.dat").chmod(0o600)
        self.assertEqual(self.said("--check")[0], 1)
        os.chown(self.work, 0, -1)
        self.assertEqual(self.said("--check"), (0, f"{self.file}: no faults, read as root\n", ""))
        self.assertEqual(self.said("--check", user=NOBODY)[0], 1)
