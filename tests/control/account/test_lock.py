"""Tests of L{epost.control.account.lock}: an end to a lock, in the daemon that runs."""

import json
import os
import time

from epost.login.desk import Desk, prepare
from epost.login.lockout import Lockout
from epost.storage.lock import FolderLock
from tests.control.places import CONFIG, ShellTestCase

USER = "user1@test.jp"


class UnlockTests(ShellTestCase):
    """C{unlock}, and the daemon's side of it."""

    def setUp(self) -> None:
        """A daemon that has locked out three."""
        super().setUp()
        work = self.folder / "work"
        work.mkdir()
        prepare(work)
        self.lock = FolderLock(str(work))
        self.addCleanup(self.lock.release)
        self.lockout = Lockout(time.time, 1, 100, 100, 900.0)
        self.desk = Desk(work, self.lockout)
        for address, name in (("192.0.2.1", USER), ("192.0.2.2", "nobody@test.jp"), ("192.0.2.3", "baito@test.jp")):
            self.lockout.failed(address, name)
        self.desk.look()

    def locked(self) -> list[str]:
        """Whose locks the command shows."""
        return [lock["account"] for lock in self.asked("unlock")["locks"]]

    def test_unlock(self) -> None:
        """An account by either name, whether it exists or not; an address; all. Without a word they are listed."""
        self.assertEqual(self.locked(), [USER, "nobody@test.jp", "baito@test.jp"])
        self.assertIn(f"{USER} from 192.0.2.1, until ", self.good("unlock"))
        for what, left in (
            ("USER1", ["nobody@test.jp", "baito@test.jp"]),
            ("nobody@test.jp", ["baito@test.jp"]),
            ("192.0.2.3", []),
        ):
            self.good("unlock", what)
            self.assertEqual("is no account" in self.remarked, what == "nobody@test.jp")  # a slip of the pen shows
            self.desk.look()
            self.assertEqual(self.locked(), left)
        self.lockout.failed("192.0.2.1", USER)
        self.good("unlock", "*")
        self.desk.look()
        self.assertEqual(self.good("unlock"), "nobody is locked out\n")

    def test_readOnly(self) -> None:
        """On a read-only disk what stands there can be old: it is not told as if it were true."""
        self.write("backend.toml", f'{CONFIG}[submission]\nreceiver = true\n[login]\nclear = ["127.0.0.1"]\n')
        real = os.statvfs(self.folder)
        self.patch(os, "statvfs", lambda path: os.statvfs_result((*real[:8], os.ST_RDONLY, real[9])))
        said = self.refused("unlock")
        self.assertIn("work/locked may be old: the disk is read-only", said)
        self.assertNotIn("192.0.2.1", said)

    def test_noDaemon(self) -> None:
        """Where none runs that is told: there is nothing to forget."""
        self.lock.release()
        self.assertIn("no daemon is running", self.refused("unlock", USER))

    def test_fullDisk(self) -> None:
        """What the daemon could not write down is not told as if nobody were locked; nor is a wish that got nowhere."""
        locked, unlock = self.folder / "work/locked", self.folder / "work/unlock"
        self.write("backend.toml", f'{CONFIG}[submission]\nreceiver = true\n[login]\nclear = ["127.0.0.1"]\n')
        for text, why in (None, "is not there: the daemon could not write it"), ("\0\0\0", "is damaged"):
            locked.unlink()
            if text:
                locked.write_text(text)
            self.assertIn(f"{locked} {why}", self.refused("unlock"))
            locked.write_text("")
        locked.unlink()
        self.write("backend.toml", CONFIG)
        self.assertEqual(self.good("unlock"), "nobody is locked out\n")  # to a daemon where nobody logs in
        unlock.rmdir()
        unlock.symlink_to("/proc")
        self.assertIn("the daemon could not be asked", self.refused("unlock", USER))

    def test_odd(self) -> None:
        """What is no name is refused, and does not get into the work folder."""
        for what in ("a\nb", "", "a@b@c", "\udce9"):
            self.assertTrue(self.refused("unlock", what), what)
        self.assertEqual(list((self.folder / "work/unlock").iterdir()), [])
        self.assertEqual(self.run_("account", "unlock", "x@y@z", "--json"), 1)
        self.assertIn("errors", json.loads(self.said))
