"""
How full a mailbox is: counted once, then kept, and counted anew where others than we have changed it.

The first question counts all files of C{new} and C{cur}; a message that comes unasked waits until they are counted
beside others. From then on each delivery of ours adds to the sum, and notes the date that C{new} has after it. What
readers remove, move or copy in gives the folders other dates: they are looked at every L{FRESH} seconds at most, when
somebody asks; in between an answer costs no system call. A new count is made in the committing thread, a slice in each
tick beside the messages, and at most for a hundredth of the time; until it is over the old sum is told. Once a day a
mailbox is counted in any case: a change within the same thousandths of a second as one of ours leaves no trace in the
dates, nor within the same second where a file system dates by seconds.

Sizes are those of the files. There is no C{maildirsize} (Maildir++): it would cost a system call for each delivery and
each answer, and it is only right where every program that touches the mailbox keeps it, which mutt, rsync and many POP3
servers do not; the folders' dates tell of all of them.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from twisted.internet.defer import Deferred
from zope.interface import implementer

from epost.interfaces import Usage
from epost.storage.disk import IDisk
from epost.storage.durable import Commits, IWork, Touched

FRESH = 10.0  # seconds that the folders are not looked at again
PART = 100  # a count takes at most this part of the time
DAY = 86400.0  # seconds after which a mailbox is counted whatever its dates say
SLICE = 500  # files that are looked at in one tick

FOLDERS = ("new", "cur")  # in the order in which messages move

Dates = tuple[float | None, ...]


class Count:
    """One look at all messages. @ivar dates: of the folders, before it began; our own deliveries since let pass."""

    def __init__(self, disk: IDisk, path: str) -> None:
        self.octets = self.messages = 0
        self.dates: Dates = ()
        self._disk = disk
        self._path = path
        self._left: Iterator[str] | None = None

    def go(self) -> bool:
        """One more slice. @return: whether all is counted. @raise OSError: it cannot be."""
        if self._left is None:
            self.dates = dates(self._disk, self._path)
            self._left = iter(self._paths())
        paths = [*islice(self._left, SLICE)]
        for path in paths:
            with suppress(FileNotFoundError):  # moved or removed meanwhile: the dates tell, and the next count
                status = self._disk.status(path)
                if status.regular:
                    self.octets += status.size
                    self.messages += 1
        return len(paths) < SLICE

    def _paths(self) -> list[str]:
        """All files; one that moves meanwhile is found twice, and under one of its names it is not there any more."""
        found: list[str] = []
        for path in (f"{self._path}/{folder}" for folder in FOLDERS):
            with suppress(FileNotFoundError):
                names = self._disk.names(path)
                found += [f"{path}/{name}" for name in names if not name.startswith(".")]  # those no reader takes
        return found


class Meter:
    """
    What one mailbox holds.

    All methods but those that are said to run in the committing thread run in the reactor's.

    @param path: its folder, which need not be there.
    @ivar dates: of the folders, when the sum was right.
    """

    def __init__(self, disk: IDisk, path: str, seconds: Callable[[], float]) -> None:
        self.dates: Dates = ()
        self._count: Count | None = None  # that is under way
        self._disk = disk
        self._path = path
        self._seconds = seconds
        self._known = False
        self._octets = self._messages = 0
        self._looked = self._counted = self._next = 0.0

    @property
    def usage(self) -> Usage | None:
        """What is known without a look; L{None}: nobody has asked yet, so nothing is counted."""
        return Usage(self._octets, self._messages) if self._known else None

    def read(self, commits: Commits, changed: Callable[[], object]) -> Usage:
        """
        What it holds.

        @param changed: as for L{count}, if this question begins one.
        @raise OSError: it cannot be looked at.
        """
        now = self._seconds()
        if not self._known:
            count = Count(self._disk, self._path)
            while not count.go():
                pass
            self._octets, self._messages, self.dates = count.octets, count.messages, count.dates
            self._known = True
            self.ended(now)
        elif self._count is None and not 0 <= now - self._looked < FRESH:
            self._looked = now
            old = not 0 <= now - self._counted < DAY
            if old or (now >= self._next and dates(self._disk, self._path) != self.dates):
                self.count(commits, changed)
        return Usage(self._octets, self._messages)

    def count(self, commits: Commits, changed: Callable[[], object]) -> "Deferred[None]":
        """
        Count beside the messages. @param changed: called when that is over.

        @return: fires then, also where it has failed.
        """
        self._count = Count(self._disk, self._path)
        work = Recount(self, self._count, self._seconds(), changed)
        return commits.commit(work).addErrback(lambda failure: None)

    def ended(self, began: float) -> None:
        """A count is over. @param began: when it began."""
        now = self._seconds()
        self._count = None
        self._looked = self._counted = now
        self._next = now + PART * max(now - began, 0)

    # In the committing thread.

    def date(self) -> float | None:
        """That of C{new}, before a delivery; L{None} where it is not needed."""
        return _date(self._disk, f"{self._path}/new") if self._known else None

    def reaches(self, limit: Usage) -> bool:
        """Whether it holds what it may, or more. @param limit: 0: any number."""
        return 0 < limit.octets <= self._octets or 0 < limit.messages <= self._messages

    def grown(self, date: float | None, octets: int) -> None:
        """A delivery has given a name. @param date: that of C{new} before it."""
        self._octets += octets
        self._messages += 1
        for known in (self, self._count):
            # Else somebody else was there since, and the next look will tell.
            if date is not None and known is not None and known.dates[:1] == (date,):
                known.dates = (_date(self._disk, f"{self._path}/new"), *known.dates[1:])

    def shrunk(self, octets: int) -> None:
        """A delivery was taken back."""
        self._octets -= octets
        self._messages -= 1

    def sum(self) -> tuple[int, int]:
        """Octets and messages now."""
        return self._octets, self._messages

    def recounted(self, count: Count, before: tuple[int, int]) -> None:
        """Put a count in place of what was the sum when it began, unless somebody did not wait for it."""
        if count is not self._count:
            return
        self._octets += count.octets - before[0]
        self._messages += count.messages - before[1]
        self.dates = count.dates
        self._known = True


@implementer(IWork)
class Recount:
    """A count beside the messages."""

    quick = False

    def __init__(self, meter: Meter, count: Count, began: float, changed: Callable[[], object]) -> None:
        self._meter = meter
        self._count = count
        self._began = began
        self._changed = changed
        self._before: tuple[int, int] | None = None

    def step(self, touched: Touched) -> bool:
        """A slice. What is delivered after the first one, which lists the files, is added to the count."""
        if self._before is None:
            self._before = self._meter.sum()
        try:
            over = self._count.go()
        except OSError:  # no message fails because of it; whoever asks next will try again
            return True
        if over:
            self._meter.recounted(self._count, self._before)
        return over

    def undo(self) -> None:
        """Nothing was written."""

    def settled(self, durable: bool) -> None:
        """It is over, or another time."""
        self._meter.ended(self._began)
        self._changed()


def dates(disk: IDisk, path: str) -> Dates:
    """Those of the folders; L{None} for one that is missing. @raise OSError: a folder cannot be looked at."""
    found: list[float | None] = []
    for folder in FOLDERS:
        try:
            found.append(disk.status(f"{path}/{folder}").changed)
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def _date(disk: IDisk, folder: str) -> float | None:
    """That of one folder; L{None} where it is not to be had: a delivery does not fail because of it."""
    with suppress(OSError):
        return disk.status(folder).changed
    return None
