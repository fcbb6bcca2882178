"""
Group commit: many messages share one sync, off the reactor's thread (house 5).

A L{IWork} is done in phases. In one tick the committing thread does the next phase of every work that waits, then syncs
all that they touched, and tells the reactor once. Works with phases left go into the next tick, beside the first phases
of what came meanwhile: in a Maildir the sync of one group's content is the sync of the group before's names. Between
two ticks of many works lies L{PAUSE}, unless some wait for their second: whoever was told may have a next message, and
one sync more costs them all.

The thread does what must be waited for, and as little else as it can: at each call to the system it gives away the
interpreter and has to wait for it again, and the reactor's thread then for it. So what is quick is done by the
reactor's thread when a tick begins, and descriptors are closed by it; the thread does not run meanwhile.

After a sync that failed every work of the tick ends with 451 and is undone. Nothing of it is synced again as proof: a
second fsync may report success for what was lost. What comes later writes new files. So ends, when its turn has come,
whatever had written anything by then (L{Commits.failures}): a syncfs that failed may have lost it, and the next one
reports nothing.

How a tick syncs: C{fsync} starts the writing of all files, then syncs each, then each folder once. C{syncfs} makes one
call per file system. C{auto} takes syncfs where it can be believed and where more than L{FEW} calls would be needed, in
this tick or in the one before: a message alone between crowds must not make the crowd behind it wait for two syncs.
"""

import errno
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from epost.mail.reply import Refused, Reply
from epost.storage.disk import IDisk
from epost.storage.trouble import Trouble

FULL = Reply(452, ("Insufficient system storage.",), "4.3.1")
FAILED = Reply(451, ("Local error in processing.",), "4.3.0")

FEW = 2  # one message alone: a file and its folder. syncfs would also wait for what others wrote on the file system
GROUP = 500  # works in one tick; each holds a descriptor open
PAUSE = 0.001  # seconds

_NOT_OURS = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL))  # unreadable, or a read-only system
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def syncFolder(disk: IDisk, path: str) -> None:
    """Sync the names of a folder. @raise OSError: it did not work."""
    descriptor = disk.openFolder(path)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def makeFolder(disk: IDisk, path: str) -> None:
    """
    Make a folder and what is missing above it, each synced in its parent (house 5.8), up to the root: what stands there
    may be the work of a process that was killed before it synced it. One whose sync failed is removed: the next start
    makes it anew, as a second sync of it would prove nothing.

    @raise OSError: it cannot be made, or is not on stable storage.
    """
    parent = path.rstrip("/").rpartition("/")[0] or "/"
    if parent != path:
        makeFolder(disk, parent)
        made = disk.mkdir(path)
        try:
            syncFolder(disk, parent)
        except OSError as error:  # what stood there before us, and nobody like us can change, is not ours to prove
            if made:
                with suppress(OSError):
                    disk.rmdir(path)
            if made or error.errno not in _NOT_OURS:
                raise


def refusal(error: OSError) -> Refused:
    """What a client is told about a fault of the disk."""
    return Refused(FULL if error.errno in _NO_ROOM else FAILED)


@dataclass(frozen=True, slots=True)
class Volume:
    """
    A file system.

    @ivar number: its st_dev.
    @ivar descriptor: for syncfs, opened before the first write of ours and kept, as faults are reported relative to
        it; L{None} where each file is synced.
    """

    number: int
    descriptor: int | None


class Touched:
    """What one tick has written: files with their descriptors, which are closed behind it, and folders."""

    def __init__(self) -> None:
        self.files: list[tuple[int, Volume]] = []
        self.folders: dict[str, Volume] = {}

    def file(self, descriptor: int, volume: Volume) -> None:
        """A file has content that must be synced."""
        self.files.append((descriptor, volume))

    def folder(self, path: str, volume: Volume) -> None:
        """A folder has names that must be synced."""
        self.folders[path] = volume


class IWork(Interface):
    """Something that is to be made durable."""

    quick = Attribute("Whether its phases take no longer than to make one short file: they need no thread.")

    def step(touched: Touched) -> bool:
        """
        Do the next phase; it is called only when what the phase before touched is synced. In the committing thread, or
        between its ticks in the reactor's.

        @return: whether all is done when what this phase touched is synced.
        @raise OSError, Refused: this work alone fails.
        """

    def undo() -> None:
        """It failed: take back what was written. May be called in either thread. @raise OSError: it could not."""

    def settled(durable: bool) -> None:
        """It has ended; called in the reactor's thread, before anybody is told."""


@implementer(IWork)
class Nothing:
    """A work that only waits for a tick."""

    quick = True

    def step(self, touched: Touched) -> bool:
        """One tick is enough."""
        return True

    def undo(self) -> None:
        """Nothing was done."""

    def settled(self, durable: bool) -> None:
        """Nobody minds."""


@dataclass(slots=True)
class _Waiting:
    """A work in the queue. @ivar fired: who waits for it. @ivar ended: whether it has. @ivar refused: why it failed."""

    work: IWork
    fired: "Deferred[None]"
    ended: bool = False
    refused: Refused | None = None


class Commits:
    """
    The committing thread and what waits for it.

    @param mode: C{"auto"}, C{"fsync"} or C{"syncfs"}.
    @param callInThread: runs a function in a thread; at most one runs at a time.
    @param callFromThread: runs a function in the reactor's thread.
    @param seconds: tells the time.
    @param callLater: calls a function in so many seconds; L{None}: nothing is waited for.
    @ivar trouble: tells the log of what the disk refuses; to be called in the reactor's thread.
    @ivar failures: how many syncs have failed.
    """

    failures = 0

    _log = Logger()

    def __init__(
        self,
        disk: IDisk,
        mode: str,
        callInThread: Callable[..., object],
        callFromThread: Callable[..., object],
        seconds: Callable[[], float] = time.monotonic,
        callLater: Callable[..., object] | None = None,
    ) -> None:
        self.trouble = Trouble(seconds)
        self._disk = disk
        self._mode = mode
        self._callInThread = callInThread
        self._callFromThread = callFromThread
        self._callLater = callLater
        self._volumes: dict[int, Volume] = {}
        self._queue: list[_Waiting] = []
        self._alongside: dict[str, tuple[str, Volume]] = {}
        self._running = False
        self._sizes = (1, 1)  # works of this tick and of the one before

    def volume(self, folder: str) -> Volume:
        """The file system of a folder; to be asked for before the first write there. @raise OSError: no such folder."""
        number = self._disk.status(folder).volume
        found = self._volumes.get(number)
        if found is None:
            believed = self._mode != "fsync" and self._disk.reports(folder)
            if self._mode == "syncfs" and not believed:
                self._log.warn("{folder}: syncfs cannot be believed here, each file is synced instead", folder=folder)
            found = Volume(number, self._disk.openFolder(folder) if believed else None)
            self._volumes[number] = found
        return found

    def commit(self, work: IWork) -> "Deferred[None]":
        """Do all phases of a work. @return: fires when it is durable; fails with L{Refused}, and it is undone."""
        fired: Deferred[None] = Deferred()
        self._queue.append(_Waiting(work, fired))
        self._start()
        return fired

    def alongside(self, path: str, folder: str, volume: Volume) -> None:
        """Sync a file and its folder in the next tick that somebody waits for; nobody waits for this."""
        self._alongside[path] = (folder, volume)

    def close(self) -> "Deferred[None]":
        """Make durable what waits, and let go of the file systems. Fires when that is done."""

        def closed(result: object) -> None:
            for volume in self._volumes.values():
                if volume.descriptor is not None:
                    self._disk.close(volume.descriptor)
            self._volumes.clear()

        return self.commit(Nothing()).addErrback(self._told).addCallback(closed)

    def _told(self, failure: object) -> None:
        """The fault of the last tick stands in the log already."""

    def refused(self, error: OSError) -> Refused:
        """What is told about a fault of the disk in the reactor's thread; the log is told of it."""
        self.trouble.tell(self._log, "storage", "a message is refused or put off", error)
        return refusal(error)

    def _start(self, begun: bool = False) -> None:
        """Begin a tick, or a pause before it, unless one runs. @param begun: whether some wait for their second."""
        if self._running or not self._queue:
            return
        self._running = True
        if self._callLater is not None and max(self._sizes) > 1 and not begun:
            self._callLater(PAUSE, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        """Begin a tick."""
        self._sizes = (min(len(self._queue), GROUP), self._sizes[0])
        group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
        alongside, self._alongside = self._alongside, {}
        touched = Touched()
        faults = self._step([waiting for waiting in group if waiting.work.quick], touched)
        self._callInThread(self._tick, group, alongside, touched, faults)

    def _step(self, group: list[_Waiting], touched: Touched) -> list[Exception]:
        """Do the next phase of each. @return: what went wrong."""
        faults: list[Exception] = []
        for waiting in group:
            try:
                waiting.ended = waiting.work.step(touched)
            except Refused as refused:
                waiting.refused = refused
            except Exception as error:  # a bug in one work must not end the others unanswered
                faults.append(error)
                waiting.refused = refusal(error) if isinstance(error, OSError) else Refused(FAILED)
        return faults

    def _tick(
        self,
        group: list[_Waiting],
        alongside: dict[str, tuple[str, Volume]],
        touched: Touched,
        faults: list[Exception],
    ) -> None:
        """One tick, in the committing thread."""
        faults += self._step([waiting for waiting in group if not waiting.work.quick], touched)
        faults += self._open(touched, alongside)
        try:
            self.sync(touched)
        except OSError as error:
            self.failures += 1
            faults.append(error)
            for waiting in group:
                waiting.refused = waiting.refused or refusal(error)
        faults += self._undo(waiting for waiting in group if waiting.refused)
        self._callFromThread(self._ticked, group, touched, faults)

    def _open(self, touched: Touched, alongside: dict[str, tuple[str, Volume]]) -> list[Exception]:
        """Take in the files that nobody waits for; so a fault here fails nobody."""
        faults: list[Exception] = []
        for path, (folder, volume) in alongside.items():
            try:
                touched.file(self._disk.open(path), volume)
                touched.folder(folder, volume)
            except FileNotFoundError:  # renamed or removed since
                continue
            except OSError as error:
                faults.append(error)
        return faults

    def sync(self, touched: Touched) -> None:
        """
        Return when all that was touched is on stable storage.

        @raise OSError: some of it is not, and nobody can say which.
        """
        disk = self._disk
        single = []
        for volume in {volume for _, volume in touched.files} | set(touched.folders.values()):
            files = [descriptor for descriptor, its in touched.files if its is volume]
            folders = [path for path, its in touched.folders.items() if its is volume]
            few = self._mode == "auto" and len(files) + len(folders) <= FEW and max(self._sizes) == 1
            if volume.descriptor is None or few:
                single.append((files, folders))
            else:
                disk.syncfs(volume.descriptor)
        for files, _ in single:
            if len(files) > 1:
                for descriptor in files:
                    disk.begin(descriptor)
        for files, folders in single:
            for descriptor in files:
                disk.fsync(descriptor)
            for path in folders:
                syncFolder(disk, path)

    def _undo(self, failed: Iterable[_Waiting]) -> list[Exception]:
        """Take back what failed."""
        faults: list[Exception] = []
        for waiting in failed:
            try:
                waiting.work.undo()
            except OSError as error:
                faults.append(error)
        return faults

    def _ticked(self, group: list[_Waiting], touched: Touched, faults: list[Exception]) -> None:
        """A tick has ended: the thread goes on, then whoever waited is told."""
        for descriptor, _ in touched.files:
            try:
                self._disk.close(descriptor)
            except OSError:  # what it could tell, the sync has told
                continue
        self._running = False
        ended = [waiting for waiting in group if waiting.ended or waiting.refused]
        begun = [waiting for waiting in group if not waiting.ended and not waiting.refused]
        self._queue[:0] = begun
        self._start(bool(begun))  # from here on the thread may change what is not in C{ended}
        for fault in faults:
            self.trouble.tell(self._log, "storage", "a message is refused or put off", fault)
        for waiting in ended:
            waiting.work.settled(waiting.refused is None)
            if waiting.refused:
                waiting.fired.errback(waiting.refused)
            else:
                waiting.fired.callback(None)
