"""
Faults of a machine, for daemons as they run: no room, no descriptors, folders that go away or take nothing.

Most need no root: limits are set on the running process from outside (prlimit), and a folder is replaced by a file. A
small file system of its own does; L{SmallDisk} says why where there can be none.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.system.pair import Daemon


def process(daemon: Daemon) -> int:
    """The id of a running daemon."""
    assert daemon.process is not None
    return daemon.process.pid


@contextmanager
def limited(daemon: Daemon, kind: int, most: int) -> Iterator[None]:
    """Let a running process have less of something. @param kind: C{resource.RLIMIT_FSIZE}, say."""
    pid = process(daemon)
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (most, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (soft, hard))


def firstFree(daemon: Daemon) -> int:
    """The number that its next descriptor would get: with this as the limit it gets none."""
    taken = set(map(int, os.listdir(f"/proc/{process(daemon)}/fd")))
    return next(number for number in range(len(taken) + 1) if number not in taken)


@contextmanager
def without(folder: Path) -> Iterator[None]:
    """A folder is away, with all that is in it; whatever stands there in the end gives way to it."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    try:
        yield
    finally:
        if folder.is_dir():
            for path in folder.iterdir():
                path.rename(aside / path.name)
            folder.rmdir()
        else:
            folder.unlink(missing_ok=True)
        aside.rename(folder)


@contextmanager
def unusable(folder: Path) -> Iterator[None]:
    """A file stands in the place of a folder: nothing can be made in it, by root neither."""
    with without(folder):
        folder.touch()
        yield


def _run(*command: str) -> str:
    """Run a command. @return: empty, or what it said when it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return (done.stderr.strip() or f"{command[0]} failed") if done.returncode else ""


@contextmanager
def readOnly(folder: Path) -> Iterator[str]:
    """
    A folder that takes nothing: by its mode, and for root by a mount.

    @return: why it could not be done; empty where it was.
    """
    if os.geteuid():
        folder.chmod(0o500)
        try:
            yield ""
        finally:
            folder.chmod(0o700)
        return
    sealed = folder.with_name(f"{folder.name}.sealed")  # made elsewhere: what is being written to cannot be sealed
    sealed.mkdir()
    steps = (("--bind", folder, sealed), ("-o", "remount,bind,ro", sealed), ("--bind", sealed, folder))
    try:
        yield next(filter(None, (_run("mount", *map(str, step)) for step in steps)), "")
    finally:
        for place in (folder, sealed):
            _run("umount", "--lazy", str(place))
        sealed.rmdir()


class SmallDisk:
    """
    A file system of 32 MB over a folder, until L{unmount}: ext4, or in memory where there is no loop device.

    @ivar why: why there is none; empty where there is one.
    """

    def __init__(self, folder: Path, image: Path) -> None:
        """@param folder: is made. @param image: what the file system lies in; is made."""
        self.folder = folder
        self._image = image
        self._filler = folder / "filler"
        self.why = "only root may mount a file system" if os.geteuid() else self._mounted()

    def _mounted(self) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(32 * 2**20)
        return (
            _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
            or _run("mount", "-o", "loop", str(self._image), str(self.folder))
        ) and _run("mount", "-t", "tmpfs", "-o", "size=32m", "epost-test", str(self.folder))

    def unmount(self) -> None:
        """Take it away, with all that is on it."""
        if not self.why:
            _run("umount", str(self.folder))
        self._image.unlink(missing_ok=True)

    def free(self) -> int:
        """Octets that are left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, left: int) -> None:
        """Take all but so many octets."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while (more := self.free() - left) > 0:
                filler.write(bytes(min(more, 65536)))

    def relieve(self) -> None:
        """Give back what L{fill} took."""
        self._filler.unlink()
