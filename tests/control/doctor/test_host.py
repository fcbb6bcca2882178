"""Tests of L{epost.control.doctor.host}: folders and rights, room, the clock."""

import errno
import os
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from epost.control.doctor import host
from epost.control.doctor.finding import Finding
from epost.control.doctor.pair import Half
from epost.storage.disk import userName
from epost.storage.lock import FolderLock
from tests.control.doctor.cases import NOBODY, REMARK, WRONG, Case


class FolderTests(Case):
    """Folders and rights."""

    def made(self) -> Half:
        """A half whose folders stand as the daemon makes them."""
        half = self.half("backend")
        for name in ("", *host.MADE, "inbox", "inbox/bucho"):
            (half.settings.folder / name).mkdir(mode=0o700)
        return half

    def folders(self, half: Half) -> list[Finding]:
        """What is found of them."""
        return host.folders(half.settings, half.directory.accounts)

    def test_asTheDaemonMakesThem(self) -> None:
        """All is well with what the daemon makes; a mailbox that got nothing yet is not missed."""
        self.assertAllOk(self.folders(self.made()))

    def test_notYet(self) -> None:
        """Before the first start there is no folder, and that is no fault."""
        self.assertFound(self.folders(self.half("backend")), REMARK, "not there yet")

    def test_notToBeMade(self) -> None:
        """A folder that the daemon could not make is told."""
        half = self.half("backend", server={"folder": "accounts.dat/backend"})
        self.assertFound(self.folders(half), WRONG, "cannot be looked at", "root")
        half = self.half("backend", server={"folder": "accounts.dat"})
        self.assertFound(self.folders(half), WRONG, "is no folder", r"\[server\] folder")

    def test_mayNotMake(self) -> None:
        """A work folder that whoever starts the daemon may not make, and a mailbox that cannot be looked at."""
        half = self.made()
        (half.settings.folder / "inbox/bucho").rmdir()
        (half.settings.folder / "inbox/bucho").symlink_to("bucho")  # leads to itself
        self.assertFound(self.folders(half), WRONG, "bucho cannot be looked at", "root")
        self.patch(os, "access", lambda path, mode: False)
        self.assertFound(self.folders(self.half("backend")), WRONG, "may not make it in", "install -d -m 700")

    def test_rights(self) -> None:
        """A folder that its owner may not write, or that others may, or that is a file."""
        for mode, why, mend in ((0o500, "may not be written", "u\\+rwx"), (0o720, "others may write", "go-w")):
            half = self.made()
            (half.settings.folder / "holding").chmod(mode)
            self.assertFound(self.folders(half), WRONG, f"holding.*{why}|{why}.*holding", mend)
        half = self.made()
        (half.settings.folder / "dead").rmdir()
        (half.settings.folder / "dead").touch()
        self.assertFound(self.folders(half), WRONG, "dead is no folder", "move it away")

    def test_owner(self) -> None:
        """A mailbox that belongs to another user gets no mail."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        os.chown(half.settings.folder / "inbox/bucho", NOBODY, -1)
        self.assertFound(self.folders(half), WRONG, "bucho belongs to", "chown -R")

    def test_anotherUserRuns(self) -> None:
        """A daemon that runs as another user than the folder's owner cannot write."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        self.addCleanup(FolderLock(str(half.settings.folder)).release)
        self.assertAllOk(self.folders(half))
        other = subprocess.Popen(["sleep", "60"], user=NOBODY, stdin=subprocess.DEVNULL)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        (half.settings.folder / "lock").write_text(f"{other.pid}\n")
        self.assertFound(self.folders(half), WRONG, f"process {other.pid}, runs as", "chown -R")

    def test_rootRuns(self) -> None:
        """A daemon that was started as root on somebody's folder makes there what he cannot read."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        self.addCleanup(FolderLock(str(half.settings.folder)).release)
        subprocess.run(["chown", "-R", str(NOBODY), half.settings.folder], check=True)
        self.assertFound(self.folders(half), WRONG, "runs as root", f"chown -R {userName(NOBODY)} .* as that user")

    def test_strangeFiles(self) -> None:
        """What a start as root left in the folder of somebody else, who then cannot start: all in one line."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        work = half.settings.folder
        subprocess.run(["chown", "-R", str(NOBODY), work], check=True)
        self.assertAllOk(self.folders(half))
        (work / "serial").touch()
        self.assertFound(
            self.folders(half), WRONG, r"serial belongs to root, the work folder to \w+$", f"chown -R .* {work}"
        )
        (work / "holding" / "B0000000001-R0001").touch()
        self.assertFound(self.folders(half), WRONG, "holding/B0000000001-R0001 .*one of 2 such files")

    def test_secrets(self) -> None:
        """Passwords and keys are for the daemon alone."""
        half = self.half("backend")
        table = half.settings.path("accounts.dat")
        self.assertAllOk(host.files(half.settings, []))
        table.chmod(0o644)
        self.assertFound(host.files(half.settings, []), WRONG, "everybody", "chmod o=")
        table.chmod(0o600)
        missing = table.parent / "key.pem"
        self.assertFound(host.files(half.settings, [missing]), WRONG, "No such file", "put it there")

    def test_unreadable(self) -> None:
        """A table that the daemon's user may not read is told before the daemon starts and fails."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        os.chown(half.settings.folder, NOBODY, -1)
        self.assertFound(host.files(half.settings, []), WRONG, "may not read .*accounts.dat", "chown")


class DiskTests(Case):
    """Room above the reserve."""

    def found(self, octets: int, files: int) -> list[Finding]:
        """What is found where so much is free of a terabyte."""
        room = os.statvfs_result((4096, 1, 2**40, octets, octets, 10**6, files, files, 0, 255))
        return host.disk(self.half("backend").settings, lambda path: room)

    def test_room(self) -> None:
        """Much is free; little is free; less is free than is kept."""
        self.assertAllOk(self.found(2**30, 10**5))
        self.assertFound(self.found(2**27, 10**5), REMARK, "new mail is refused", "soon")
        self.assertFound(self.found(2**25, 10**5), WRONG, "new mail is refused with 452", "make room")
        self.assertFound(self.found(2**30, 10), WRONG, "10 files", "make room")

    def test_real(self) -> None:
        """The machine's own disk can be asked, also where the folder is not there yet."""
        self.assertEqual(len(host.disk(self.half("backend").settings)), 1)


class ClockTests(Case):
    """The clock of this machine by itself."""

    def test_takesNothing(self) -> None:
        """A disk that takes no file is told, and keeps nothing else from being looked at."""

        def full(dir: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        settings = self.half("backend").settings
        self.patch(tempfile, "TemporaryFile", full)
        self.assertFound(host.disk(settings), WRONG, "takes no file: Read-only file system; ", "dmesg")
        self.assertFound(host.clock(settings), REMARK, "takes no file")

    def test_right(self) -> None:
        """Now is now."""
        self.assertAllOk(host.clock(self.half("backend").settings))

    def test_year(self) -> None:
        """A machine without a battery believes that it is 1970 or 2009."""
        found = host.clock(self.half("backend").settings, lambda: 1246865254.0)
        self.assertFound(found, WRONG, "the year 2009", "timedatectl")

    def test_fileSystem(self) -> None:
        """A file system, of another machine perhaps, whose time is another."""
        found = host.clock(self.half("backend").settings, lambda: time.time() + 100)
        self.assertFound(found, WRONG, "-1(00|01|02) seconds away")

    def test_setBack(self) -> None:
        """A number that was kept in the future."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        serial = half.settings.folder / "serial"
        serial.touch()
        os.utime(serial, (time.time() + 1000, time.time() + 1000))
        self.assertFound(host.clock(half.settings), WRONG, "set back")
