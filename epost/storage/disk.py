"""
The disk as storage sees it: a thin role over C{os}, so that tests can bring a disk that loses power.

Every operation of storage that changes a file or a folder, or that proves something about one, goes through it. Paths
are str, times are seconds since 1970-01-01 UTC, faults are OSError. L{Disk} is the real one; the simulated one stands
in tests/world.

C{syncfs} is not in C{os}; it and statfs(2) are called by ctypes, which lets go of the interpreter lock meanwhile.
"""

import ctypes
import os
import platform
import pwd
import re
import stat
from dataclasses import dataclass

from zope.interface import Interface, implementer

FILE = 0o600
FOLDER = 0o700

# statfs(2): f_type of the file systems whose syncfs is known to report what was lost.
_REPORTING = frozenset((0xEF53, 0x58465342, 0x9123683E))  # ext4, xfs, btrfs
_REPORTS_SINCE = (5, 17)  # until then syncfs could return 0 though the file system's own flush had failed


@dataclass(frozen=True, slots=True)
class Status:
    """
    What stat says.

    @ivar size: octets.
    @ivar changed: time of the last change of content, or what C{date} set.
    @ivar volume: number of the file system.
    @ivar regular: whether it is a file, or a link to one; and not a folder, a pipe, a socket.
    """

    size: int
    changed: float
    volume: int
    regular: bool = True


@dataclass(frozen=True, slots=True)
class Free:
    """
    What a file system has left for us.

    @ivar octets: free ones.
    @ivar files: how many files can still be made.
    @ivar allOctets: free or not.
    @ivar allFiles: likewise; 0 where the file system does not count them.
    """

    octets: int
    files: int
    allOctets: int
    allFiles: int


class IDisk(Interface):
    """Files and folders. Every method raises OSError."""

    def create(path: str) -> int:
        """A descriptor of a new file, for reading and writing. @raise FileExistsError: it stands there already."""

    def open(path: str) -> int:
        """A descriptor of a file that stands there, for reading and writing."""

    def openFolder(path: str) -> int:
        """A descriptor of a folder, for L{fsync} and L{syncfs}."""

    def close(descriptor: int) -> None:
        """Let go of it."""

    def write(descriptor: int, octets: bytes) -> None:
        """Add all of it at the descriptor's place, which is the end for what only L{create} and this were called on."""

    def append(path: str, octets: bytes) -> None:
        """Add all of it at the end of a file that stands there."""

    def overwrite(descriptor: int, octets: bytes) -> None:
        """Put it over the first octets of the file."""

    def read(descriptor: int, size: int, offset: int) -> bytes:
        """At most C{size} octets from C{offset} on; empty at the end."""

    def begin(descriptor: int) -> None:
        """Start to write the file to the medium and do not wait: the fsync that follows has less to wait for."""

    def fsync(descriptor: int) -> None:
        """Return when the file's content, or the folder's names, are on stable storage."""

    def syncfs(descriptor: int) -> None:
        """Return when all that was written on the descriptor's file system is on stable storage."""

    def reports(path: str) -> bool:
        """Whether L{syncfs} of the file system of C{path} can be believed (house 5.7)."""

    def rename(old: str, new: str) -> None:
        """Give a file another name, atomically; a file that had it is gone."""

    def unlink(path: str) -> None:
        """Take a name away."""

    def mkdir(path: str) -> bool:
        """Make a folder in one that stands. @return: whether it was missing."""

    def rmdir(path: str) -> None:
        """Remove a folder. @raise OSError: something is in it."""

    def status(path: str) -> Status:
        """What is known without reading. @raise FileNotFoundError: nothing stands there."""

    def free(path: str) -> Free:
        """What the file system of a folder has left. It does not read the medium."""

    def date(path: str, when: float) -> None:
        """Set C{changed}."""

    def names(path: str) -> list[str]:
        """All names in a folder, in no order."""


def userName(uid: int) -> str:
    """Whose a file is: a user's name, or the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _named(error: OSError, descriptor: int) -> OSError:
    """A fault with the name of the file: of several file systems one wants to know which is full."""
    try:
        return OSError(error.errno, error.strerror, os.readlink(f"/proc/self/fd/{descriptor}"))
    except OSError:  # no Linux, or no /proc
        return error


@implementer(IDisk)
class Disk:
    """The disk of this machine."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def create(self, path: str) -> int:
        """A new file, for us alone to read."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)

    def open(self, path: str) -> int:
        """An old file; never through a link that somebody laid there."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def openFolder(self, path: str) -> int:
        """A folder."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        """Close it."""
        os.close(descriptor)

    def write(self, descriptor: int, octets: bytes) -> None:
        """Write until all is written: a disk that fills up takes a part first."""
        try:
            done = os.write(descriptor, octets)
            while done < len(octets):
                done += os.write(descriptor, memoryview(octets)[done:])
        except OSError as error:
            raise _named(error, descriptor) from error

    def append(self, path: str, octets: bytes) -> None:
        """Open, write, close; what is no file but a pipe is not waited for."""
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self.write(descriptor, octets)
        finally:
            os.close(descriptor)

    def overwrite(self, descriptor: int, octets: bytes) -> None:
        """Used for one short line that is there already, so it is never cut."""
        os.pwrite(descriptor, octets, 0)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read."""
        return os.pread(descriptor, size, offset)

    def begin(self, descriptor: int) -> None:
        """Linux starts writeback of what it is told that nobody will need."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def fsync(self, descriptor: int) -> None:
        """Sync one."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise _named(error, descriptor) from error

    def syncfs(self, descriptor: int) -> None:
        """Sync all."""
        if self._libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise _named(OSError(number, os.strerror(number)), descriptor)

    def reports(self, path: str) -> bool:
        """Linux 5.17 or later, and ext4, xfs or btrfs."""
        release = re.match(r"(\d+)\.(\d+)", platform.release())
        if platform.system() != "Linux" or not release or (int(release[1]), int(release[2])) < _REPORTS_SINCE:
            return False
        buffer = (ctypes.c_long * 64)()  # struct statfs is shorter and begins with f_type
        if self._libc.statfs(os.fsencode(path), buffer):
            return False
        return buffer[0] & 0xFFFFFFFF in _REPORTING

    def rename(self, old: str, new: str) -> None:
        """Rename."""
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        """Unlink."""
        os.unlink(path)

    def mkdir(self, path: str) -> bool:
        """Make it, for us alone to enter."""
        try:
            os.mkdir(path, FOLDER)
        except FileExistsError:
            return False
        return True

    def rmdir(self, path: str) -> None:
        """Remove it."""
        os.rmdir(path)

    def status(self, path: str) -> Status:
        """Stat."""
        found = os.stat(path)
        return Status(found.st_size, found.st_mtime, found.st_dev, stat.S_ISREG(found.st_mode))

    def free(self, path: str) -> Free:
        """Without what is kept for root, who may be us: a server should not take the last that root has."""
        found = os.statvfs(path)
        unit = found.f_frsize
        return Free(found.f_bavail * unit, found.f_favail, found.f_blocks * unit, found.f_files)

    def date(self, path: str, when: float) -> None:
        """Set both times; what lies beyond a file system's range is cut to it by the kernel."""
        when = min(max(when, 0.0), 1e11)
        os.utime(path, (when, when))

    def names(self, path: str) -> list[str]:
        """List."""
        return os.listdir(path)
