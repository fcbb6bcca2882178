"""
Tables that are changed by a command while daemons read them: a lock, and a new file in place of the old one.

Whoever changes a table holds flock(2) on a lock file beside it, from reading to renaming, so that of two commands the
second sees what the first has done. The new file is written beside the old one, synced, takes its place by rename(2),
and the folder is synced: a reader sees the old file or the new one, and after a power cut there is one of the two.
Where nothing may be overwritten a file is made, whole or not at all (L{create}).
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType

from epost.control.terminal import Failure

Mark = tuple[int, int, int, int]
Owner = tuple[int, int] | None
NOTHING = "nothing was changed"
LEFT = "if a run that was killed, or a power cut, has left this, remove it and try again"


def beside(path: str, what: str) -> str:
    """A hidden name next to a file, such as C{.accounts.dat.new}."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{what}")


def mark(path: str) -> Mark | None:
    """What tells one state of a file from another; L{None} where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class Lock:
    """
    The right to change a file, while the context lasts. Waits until whoever has it lets go.

    The kernel lets go when a process ends, however it ends. The file stays, or two could hold two files of one name.
    """

    def __init__(self, path: str) -> None:
        """@param path: the file that it guards. @raise Failure: the lock file cannot be made."""
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> None:
        lock = beside(self._path, "lock")
        try:
            self._descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with suppress(OSError):  # so that whoever may change the table may also lock it, after root was here
                _alike(self._descriptor, self._path)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise Failure(f"{lock}: {error.strerror}", NOTHING) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)


def prepare(path: str, octets: bytes, like: str) -> str:
    """
    Write what is to take a file's place, and sync it.

    @param like: whose mode and owner it gets.
    @return: the path of the new file; what an earlier one left there is gone.
    @raise Failure: it cannot be written. Then there is no new file.
    """
    new = beside(path, "new")
    try:
        for old in (path, like):  # what may not be written may not be replaced; only opening it tells why
            if os.path.exists(old):
                os.close(os.open(old, os.O_WRONLY | os.O_CLOEXEC))
        drop(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _alike(descriptor, like)
            _fill(descriptor, octets)
        finally:
            os.close(descriptor)
    except BaseException as error:
        with suppress(OSError):
            drop(new)
        if isinstance(error, OSError):
            raise Failure(f"{path} cannot be written: {error.strerror}", NOTHING) from error
        raise
    return new


def take(new: str, path: str) -> None:
    """
    Put a file that was prepared in the place of another.

    @raise Failure: it could not, or it did and the folder could not be synced; of these the first ends with L{NOTHING}.
    """
    try:
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            drop(new)
        raise Failure(f"{path} cannot be replaced: {error.strerror}", NOTHING) from error
    try:
        syncFolder(os.path.dirname(path))
    except OSError as error:
        raise Failure(f"{path} was changed, but a power cut could undo it: {error.strerror}") from error


def syncFolder(path: str) -> None:
    """Return when the names in a folder are on stable storage. @raise OSError: they may not be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: str, octets: bytes, mode: int = 0o600, owner: Owner = None) -> None:
    """
    Write a file that is not there yet, and sync it; its name is the caller's to sync (L{syncFolder}).

    @param owner: user and group that it is given to; L{None}: it is whose process this is.
    @raise OSError: one is there already, or it cannot be written and is gone again, as it is after an interruption. The
        error names it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        _fill(descriptor, octets)
    except BaseException as error:
        drop(path)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from error
        raise
    finally:
        os.close(descriptor)


@contextmanager
def unmade() -> Iterator[list[Callable[[], None]]]:
    """
    The undoing of what is made in the context, done from the last to the first if that ends with an exception: a full
    disk, or an interruption. What cannot be undone is passed over.
    """
    undoings: list[Callable[[], None]] = []
    try:
        yield undoings
    except BaseException:
        for undo in reversed(undoings):
            with suppress(OSError):
                undo()
        raise


def createAmong(undoings: list[Callable[[], None]], path: str, octets: bytes, mode: int, owner: Owner = None) -> None:
    """L{create}, within L{unmade}."""
    undoings.append(partial(drop, path))  # before it is made: an interruption may come as soon as it is
    try:
        create(path, octets, mode, owner)
    except FileExistsError:
        undoings.pop()  # it is somebody else's
        raise


def _fill(descriptor: int, octets: bytes) -> None:
    """Write all of it and sync it. @raise OSError: it could not."""
    done = 0
    while done < len(octets):  # a disk that fills up takes a part first
        done += os.write(descriptor, memoryview(octets)[done:])
    os.fsync(descriptor)


def drop(path: str) -> None:
    """Remove a file that may be there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _alike(descriptor: int, like: str) -> None:
    """Give a file the mode and owner of another, or the daemon could not read it. @raise OSError: it may not."""
    wanted, found = os.stat(like), os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
        try:
            os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
        except PermissionError as error:
            raise PermissionError(error.errno, "it belongs to another user; be that one, or root") from error
    os.fchmod(descriptor, stat.S_IMODE(wanted.st_mode))
