"""
The low-water mark: new mail is refused before the disk is full, so that what was accepted can still move.

A queue that drains needs room too: a line for each attempt, a notice, the copy in a mailbox, the logs. The free room of
the file systems of the queue and of the mailboxes is looked at when a client says MAIL, at most ten times a second:
what a fast network brings until the next look must be less than the reserve. Between two looks the answer costs a look
at the clock. The daemon's log says once that it begins and once that it is over.

A message for a hundred mailboxes is accepted as one file of the queue and becomes a hundred and one. So the intake asks
again when it knows recipients and size, for all the copies; and what is accepted and not copied yet is promised room,
which no other message gets, or a hundred of them that come at one time would each find the same room. Promises live
in memory: after a restart the queue is tried at once, and what it takes is seen at the next look.

RFC 5321 4.2.3 (452), RFC 1870 6.1 (room for the size that a client announces).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import IRoom
from epost.storage.disk import Free, IDisk
from epost.storage.trouble import QUIET

OCTETS, FILES = 64 * 2**20, 1000  # what is kept free where nobody says how much
PART = 20  # and then it is at most this part of the file system: a small one must take mail too
PAUSE = 0.1  # seconds between two looks
BLOCK = 4096  # octets; a file takes up to so many more than it has
AGAIN = 1.25  # times the reserve must be free until it is over: on the mark itself it would begin every second


@dataclass(slots=True)
class _Volume:
    """
    A file system.

    @ivar folder: one that lies on it.
    @ivar low: whether mail is refused because of it.
    """

    folder: str
    low: bool = False


@dataclass(frozen=True, slots=True)
class _Left:
    """What is free above the reserve, of the file system that has least; negative where mail is refused."""

    octets: float
    files: float


_NONE = _Left(-1, -1)
_PLENTY = _Left(float("inf"), float("inf"))


@implementer(IRoom)
class Room:
    """
    What the disk has room for.

    Where queue and mailboxes lie on two file systems what is asked for is compared with both: rather too much is kept
    than too little.

    @param folders: those that mail is written into; of several on one file system the first is named in the log.
    @param octets: that are kept free; 0: none. L{None}: L{OCTETS}, at most a L{PART} of the file system.
    @param files: likewise, the number of files that can still be made, and L{FILES}.
    @param seconds: tells the time.
    @raise OSError: from the constructor alone: a folder cannot be looked at.
    """

    _log = Logger()

    def __init__(
        self,
        disk: IDisk,
        folders: Iterable[str],
        octets: int | None,
        files: int | None,
        seconds: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._octets = octets
        self._files = files
        self._seconds = seconds
        first: dict[int, str] = {}
        for folder in folders:
            first.setdefault(disk.status(folder).volume, folder)
        self._volumes = [_Volume(folder) for folder in first.values()]
        self._next = float("-inf")  # when to look again
        self._left = _NONE
        self._told = float("-inf")
        self._promises: dict[str, tuple[int, int]] = {}
        self._octetsPromised = self._filesPromised = 0

    def lacks(self, octets: int, files: int = 0) -> bool:
        """See L{IRoom}."""
        left = self._now()
        octets += files * BLOCK
        lacking = octets > left.octets - self._octetsPromised or files > left.files - self._filesPromised
        if lacking and files and left.octets >= 0:  # else the log has been told that new mail is refused
            self._tellCopies(octets, files, left)
        return lacking

    def low(self) -> bool:
        """See L{IRoom}."""
        return self._now().octets < 0

    def promise(self, message: str, octets: int, files: int) -> bool:
        """See L{IRoom}."""
        if self.lacks(octets, files):
            return False
        octets += files * BLOCK
        self._promises[message] = octets, files
        self._octetsPromised += octets
        self._filesPromised += files
        return True

    def end(self, message: str) -> None:
        """See L{IRoom}."""
        octets, files = self._promises.pop(message, (0, 0))
        self._octetsPromised -= octets
        self._filesPromised -= files

    def _tellCopies(self, octets: int, files: int, left: _Left) -> None:
        """A message is refused for its copies, while others are taken: told once a minute."""
        now = self._seconds()
        if not 0 <= now - self._told < QUIET:
            self._told = now
            words = (
                f"a message that needs {octets:,} octets in {files:,} files is refused (452): {left.octets:,.0f} and "
                f"{left.files:,.0f} are free above what is kept, of which {self._octetsPromised:,} and "
                f"{self._filesPromised:,} are promised to others"
            )
            self._log.warn("{words}", words=words)

    def _now(self) -> _Left:
        """What there is, as of the last look."""
        now = self._seconds()
        if not self._next - PAUSE <= now < self._next:  # a clock may be set back
            self._next = now + PAUSE
            found = [self._look(volume) for volume in self._volumes]
            self._left = _Left(min(left.octets for left in found), min(left.files for left in found))
        return self._left

    def _look(self, volume: _Volume) -> _Left:
        """What a file system has above the reserve."""
        try:
            free = self._disk.free(volume.folder)
        except OSError:  # whoever writes there will hear more
            return _PLENTY
        octets = min(OCTETS, free.allOctets // PART) if self._octets is None else self._octets
        files = min(FILES, free.allFiles // PART) if self._files is None else self._files
        factor = AGAIN if volume.low else 1
        low = free.octets < ceil(octets * factor) or (free.allFiles > 0 and free.files < ceil(files * factor))
        if low != volume.low:
            volume.low = low
            self._tell(volume, free, octets, files)
        if low:
            return _NONE
        return _Left(free.octets - octets, free.files - files if free.allFiles else float("inf"))

    def _tell(self, volume: _Volume, free: Free, octets: int, files: int) -> None:
        """It begins, or is over."""
        left = f"{free.octets:,} octets and {free.files:,} files are free"
        if volume.low:
            text = f"{volume.folder}: only {left}, new mail is refused (452) to keep {octets:,} and {files:,}"
        else:
            text = f"{volume.folder}: {left}, new mail is taken again"
        self._log.warn("{text}", text=text)
