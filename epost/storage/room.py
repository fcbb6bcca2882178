"""
The low-water mark: new mail is refused before the disk is full, so that what was accepted can still move.

A queue that drains needs room too: a line for each attempt, a notice, the copy in a mailbox, the logs. The free room of
the file systems of the queue and of the mailboxes is looked at when a client says MAIL, at most ten times a second:
what a fast network brings until the next look must be less than the reserve. Between two looks the answer costs a look
at the clock. The daemon's log says once that it begins and once that it is over.

RFC 5321 4.2.3 (452), RFC 1870 6.1 (room for the size that a client announces).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from twisted.logger import Logger

from epost.storage.disk import Free, IDisk

OCTETS, FILES = 64 * 2**20, 1000  # what is kept free where nobody says how much
PART = 20  # and then it is at most this part of the file system: a small one must take mail too
PAUSE = 0.1  # seconds between two looks
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


class Room:
    """
    What the disk has room for.

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
        self._left: float = 0  # octets above the reserve; negative where mail is refused

    def lacks(self, size: int) -> bool:
        """Whether a message is to be refused for now. @param size: octets that its client announces; 0: not told."""
        now = self._seconds()
        if not self._next - PAUSE <= now < self._next:  # a clock may be set back
            self._next = now + PAUSE
            self._left = min(map(self._look, self._volumes))
        return size > self._left

    def _look(self, volume: _Volume) -> float:
        """Octets that a file system has above the reserve; negative where mail is refused."""
        try:
            free = self._disk.free(volume.folder)
        except OSError:  # whoever writes there will hear more
            return float("inf")
        octets = min(OCTETS, free.allOctets // PART) if self._octets is None else self._octets
        files = min(FILES, free.allFiles // PART) if self._files is None else self._files
        factor = AGAIN if volume.low else 1
        low = free.octets < ceil(octets * factor) or (free.allFiles > 0 and free.files < ceil(files * factor))
        if low != volume.low:
            volume.low = low
            self._tell(volume, free, octets, files)
        return -1 if low else free.octets - octets

    def _tell(self, volume: _Volume, free: Free, octets: int, files: int) -> None:
        """It begins, or is over."""
        left = f"{free.octets:,} octets and {free.files:,} files are free"
        if volume.low:
            text = f"{volume.folder}: only {left}, new mail is refused (452) to keep {octets:,} and {files:,}"
        else:
            text = f"{volume.folder}: {left}, new mail is taken again"
        self._log.warn("{text}", text=text)
