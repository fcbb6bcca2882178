"""Tests of L{epost.control.files}: locks, and files that are put in place of others."""

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from epost import loading
from epost.control import files
from epost.control.account.change import Books
from epost.control.terminal import Failure
from epost.mail.fault import Fault
from epost.settings import Settings
from epost.tables.directory import Directory
from tests.control.places import ACCOUNTS, ShellTestCase

ROOT = Path(__file__).parents[2]

# Adds accounts one after the other, hashed for nothing: many of these run at one time.
MANY = """
import io, sys
from epost.control import main
from epost.login import schemes
schemes.SCRYPT, schemes.ITERATIONS = {"ln": 1, "r": 1, "p": 1}, 4096
for number in range(int(sys.argv[3])):
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"geheim"))
    words = ["account", "add", f"{sys.argv[2]}-{number}", "--stdin"] + (["outside=no"] if number % 2 else [])
    if main.main(["-c", sys.argv[1], *words]):
        sys.exit("failed")
"""


class LockTests(ShellTestCase):
    """Two commands at once."""

    def test_many(self) -> None:
        """Eight processes add ten accounts each at one time: all eighty are there, with what restricts them."""
        config = str(self.folder / "backend.toml")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        running = [
            subprocess.Popen(
                [sys.executable, "-c", MANY, config, f"p{n}", "10"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for n in range(8)
        ]
        said = [process.communicate(timeout=100)[1] for process in running]
        self.assertEqual([process.returncode for process in running], [0] * 8, said)
        accounts = self.load()[1].accounts
        self.assertEqual(len(accounts), 83)
        self.assertEqual(sum(not account.details.outside for account in accounts), 41)
        self.assertTrue(self.octets().startswith(ACCOUNTS.encode()))

    def test_readMeanwhile(self) -> None:
        """Who reads while another command changes both tables does not take the old one with the new one."""
        read, path = loading.readDirectory, self.folder / "accounts.dat"
        seen: list[int] = []

        def between(settings: Settings, faults: list[Fault], notes: list[Fault]) -> Directory:
            seen.append(len(seen))
            if len(seen) < 3:  # accounts.dat was read before an account came into it, accounts.toml behind
                path.write_bytes(path.read_bytes() + b"' %d\n" % len(seen))
                faults.append(Fault("accounts.toml", 1, "x@test.jp is no account", ""))
            return read(settings, faults, notes)

        self.patch(loading, "readDirectory", between)
        self.assertEqual(Books(str(self.folder / "backend.toml")).octets, path.read_bytes())
        self.assertEqual(seen, [0, 1, 2])

    def test_editor(self) -> None:
        """What an editor saved between reading and writing is not overwritten."""
        prepare = files.prepare

        def saved(path: str, octets: bytes, like: str) -> str:
            self.write("accounts.dat", ACCOUNTS + "chef\tx\n")
            return prepare(path, octets, like)

        self.patch(files, "prepare", saved)
        self.assertEqual(self.run_("account", "passwd", "user1", "--stdin", stdin=b"x"), 1)
        self.assertIn("changed by somebody else", self.remarked)
        self.assertEqual(self.octets().decode(), ACCOUNTS + "chef\tx\n")

    def test_leftover(self) -> None:
        """What a command that died has left beside the table is no hindrance, and is gone afterwards."""
        self.write(".accounts.dat.new", "torn")
        self.run_("account", "passwd", "user1", "--stdin", stdin=b"x")
        self.assertEqual(sorted(self.state()), ["accounts.dat", "accounts.toml", "backend.toml"])


class PlaceTests(ShellTestCase):
    """A new file in place of the old one."""

    def test_modeAndOwner(self) -> None:
        """It has both of the old one, or the daemon could not read it; the lock too."""
        place = self.folder / "accounts.dat"
        place.chmod(0o640)
        owner = (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        os.chown(place, *owner)
        before = place.stat()
        self.assertEqual(self.run_("account", "passwd", "user1", "--stdin", stdin=b"x"), 0, self.remarked)
        for path in (place, self.folder / ".accounts.dat.lock"):
            found = path.stat()
            self.assertEqual((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)), (*owner, 0o640))
        self.assertNotEqual(place.stat().st_ino, before.st_ino)

    def test_synced(self) -> None:
        """The file is synced before it takes the place, and the folder after it."""
        done: list[str] = []
        sync, replace = os.fsync, os.replace

        def synced(descriptor: int) -> None:
            done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            sync(descriptor)

        def replaced(old: str, new: str) -> None:
            done.append("replace")
            replace(old, new)

        self.patch(os, "fsync", synced)
        self.patch(os, "replace", replaced)
        self.run_("account", "passwd", "user1", "--stdin", stdin=b"x")
        self.assertEqual(done, ["file", "replace", "folder"])

    def test_link(self) -> None:
        """Where the table is a link the file that it leads to is changed, and the link stays."""
        os.rename(self.folder / "accounts.dat", self.folder / "elsewhere")
        os.symlink("elsewhere", self.folder / "accounts.dat")
        self.assertEqual(self.run_("account", "passwd", "user1", "--stdin", stdin=b"x"), 0, self.remarked)
        self.assertTrue((self.folder / "accounts.dat").is_symlink())
        self.assertNotEqual(self.octets(), ACCOUNTS.encode())

    def test_full(self) -> None:
        """A disk that takes only a part of it: told, and all is as it was."""
        write = os.write
        written: list[int] = []

        def full(descriptor: int, octets: bytes) -> int:
            if written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(write(descriptor, bytes(octets[:10])))
            return written[0]

        self.patch(os, "write", full)
        before = self.state()
        self.assertEqual(self.run_("account", "passwd", "user1", "--stdin", stdin=b"x"), 1)
        self.assertIn("accounts.dat cannot be written: No space left on device\nnothing was changed", self.remarked)
        self.assertEqual(self.state(), before)

    def test_kernelRefuses(self) -> None:
        """The same where the kernel itself takes no more."""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limit)
        before = self.state()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limit[1]))
        status = self.run_("account", "passwd", "user1", "--stdin", stdin=b"x")
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        self.assertEqual((status, self.state()), (1, before))
        self.assertIn("File too large\nnothing was changed", self.remarked)

    def test_takenAway(self) -> None:
        """A folder that went meanwhile is told, not a bug."""
        new = files.prepare(str(self.folder / "accounts.dat"), b"x", str(self.folder / "accounts.dat"))
        os.unlink(new)
        self.assertRaises(Failure, files.take, new, str(self.folder / "accounts.dat"))


class RightTests(ShellTestCase):
    """What a user may not do. The folder is one that all may enter, as trial's own perhaps is not."""

    def place(self) -> Path:
        """A folder in that of the system."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        return folder

    def asNobody(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """Run C{epost account} as a user to whom nothing belongs, root's rights laid down."""
        config = str(self.folder / "backend.toml")
        code = f"import os, sys\nfrom epost.control.main import main\nmain(['-c', {config!r}, 'account', 'list'])\n"
        if os.geteuid() == 0:  # behind the first command, as the interpreter may lie where only root can read
            code += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        code += f"sys.exit(main(['-c', {config!r}, 'account', *{list(words)!r}]))"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", code], input=b"x", env=environment, capture_output=True, timeout=60
        )

    def test_mayNot(self) -> None:
        """A file or a folder that is not writable: told, and nothing changed."""
        before = self.state()
        self.folder.chmod(0o555)
        self.addCleanup(self.folder.chmod, 0o755)
        for path in self.folder.iterdir():
            path.chmod(0o444)
        for mode in (0o555, 0o777):
            self.folder.chmod(mode)
            done = self.asNobody("passwd", "user1", "--stdin")
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(b"nothing was changed", done.stderr)
            self.assertEqual(self.state(), before)

    def test_readOnly(self) -> None:
        """A file that its own owner has made read-only stays as it is, though the folder would allow another."""
        before = self.state()
        for path in (self.folder, *self.folder.iterdir()):
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
            path.chmod(0o755 if path.is_dir() else 0o444)
        done = self.asNobody("passwd", "user1", "--stdin")
        self.assertIn(b"accounts.dat cannot be written: Permission denied\nnothing was changed", done.stderr)
        self.assertEqual(self.state(), before)

    def test_another(self) -> None:
        """A new file that could not get the owner of the old one is not put into its place."""
        if os.geteuid():
            print("not looked at: only root can make a file that belongs to somebody else")
            return
        for path in self.folder.iterdir():
            path.chmod(0o666)
        self.folder.chmod(0o777)
        before = self.state()
        done = self.asNobody("passwd", "user1", "--stdin")
        self.assertIn(b"belongs to another user; be that one, or root\nnothing was changed", done.stderr)
        self.assertEqual(self.state(), before)
