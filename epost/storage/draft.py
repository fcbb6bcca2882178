"""
A message that is being written: in memory while it is short, in its file from L{SHORT} octets on.

Most messages are short, and written in one call. A long one is written by the reactor's thread as it comes, so content
is never one object in memory; that thread never syncs.

What is the same for a message of the spool and of a mailbox stands here. Where the file lies, what stands in front of
the content and what comes after the sync say the subclasses.
"""

from abc import ABC, abstractmethod
from contextlib import suppress

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from epost.interfaces import IDraft
from epost.mail.reply import Refused
from epost.storage.disk import IDisk
from epost.storage.durable import FAILED, Commits, IWork, Touched, Volume, refusal

SHORT = 32 * 1024
PARTS = 64  # kept apart at most: an object of two octets takes forty, and a client may send two at a time


@implementer(IDraft, IWork)
class Draft(ABC):
    """A draft. @ivar path: where its file is made."""

    quick = True  # what is long is written before the commit

    _held = 0  # octets in C{_parts}
    _descriptor: int | None = None
    _made = False
    _failures = 0
    _committed = False
    _refused: Refused | None = None

    def __init__(self, disk: IDisk, commits: Commits, path: str) -> None:
        self.path = path
        self.disk = disk
        self._commits = commits
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        """Keep it, or write it where much is kept."""
        if self._refused:
            return
        part = self.taken(part)
        self._parts.append(part)
        self._held += len(part)
        if len(self._parts) > PARTS:
            self._parts = [b"".join(self._parts)]
        if self._held > SHORT:
            try:
                self.pour(self.front())
            except OSError as error:
                self._refused = refusal(error)
                self.discard()

    def commit(self) -> "Deferred[None]":
        """Hand it to the committing thread."""
        if self._refused:
            return fail(self._refused)
        self._committed = True
        return self._commits.commit(self)

    def discard(self) -> None:
        """Forget it. A file that cannot be removed was never acknowledged; the next start drops it."""
        if not self._committed:
            with suppress(OSError):
                self.undo()

    def pour(self, front: bytes) -> int:
        """
        Write what is kept, behind C{front} where the file must be made first.

        @return: the descriptor.
        """
        if self._descriptor is None:
            self._failures = self._commits.failures
            self._descriptor = self.create()
            self._made = True
            self._parts.insert(0, front)
        octets = b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        self.disk.write(self._descriptor, octets)
        return self._descriptor

    def handOver(self, touched: Touched) -> None:
        """
        The content is written: its sync and its descriptor are the tick's.

        @raise Refused: a sync has failed since the first octet was written.
        """
        if self._failures != self._commits.failures:
            raise Refused(FAILED)
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None
        touched.file(descriptor, self.volume())

    def undo(self) -> None:
        """Close and remove the file, if there is one."""
        self._parts.clear()
        if self._descriptor is not None:
            self.disk.close(self._descriptor)
            self._descriptor = None
        if self._made:
            with suppress(FileNotFoundError):
                self.disk.unlink(self.path)
            self._made = False

    def taken(self, part: bytes) -> bytes:
        """A part as it is stored."""
        return part

    @abstractmethod
    def front(self) -> bytes:
        """What stands in front of a content whose end has not come."""

    @abstractmethod
    def volume(self) -> Volume:
        """The file system of the file."""

    @abstractmethod
    def create(self) -> int:
        """Make the file. @return: its descriptor."""

    @abstractmethod
    def step(self, touched: Touched) -> bool:
        """A phase, see L{IWork}."""

    @abstractmethod
    def settled(self, durable: bool) -> None:
        """It has ended."""
