"""
The directory in force, and what each account may not do: read again when a table changes or SIGHUP comes.

Every second each table's place, size and time are looked at. What changed is read with all the others, and takes effect
for the next decision only if nothing in any of them is wrong; else the faults are told, once, and the old directory
stays in force (spec 3).

A table that is cut may be a good one with fewer rules. So a file that is written in place is read when two looks have
found it the same, or when it is older than that; one that took another's place came whole, and is read at once.

Of accounts there may be thousands, each with a sender.dat: such a file is looked at when its account writes to
somebody, once a second at most, and stands and falls alone. One that was changed an hour before holds for the first
recipient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from epost.loading import Mark, Place, emptied, empty, gather, ground, markOf, readSender, unrestricting
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.settings import Settings
from epost.tables.building import build
from epost.tables.directory import Directory
from epost.tables.restriction import NAME, Restriction

LOOK = 1.0  # seconds between two looks; a change is in force within two


class Directories(TimerService):
    """
    The directory in force. Calling it gives it.

    @ivar current: the directory.
    @ivar faults: what was wrong at the last reading; empty where C{current} is what the files say.
    """

    name = "tables"
    log = Logger()

    def __init__(self, settings: Settings, directory: Directory, clock: IReactorTime) -> None:
        """@param directory: as L{load} gave it."""
        super().__init__(LOOK, self.look)  # type: ignore[no-untyped-call]
        self.clock, self._seconds = clock, clock.seconds
        self._settings = settings
        texts = gather(settings, [])
        self._seen = self._last = texts.marks
        self._full = texts.full
        self._notes = empty(texts)
        self._subscribers: list[Callable[[], object]] = []
        self.current = directory
        self.faults: list[Fault] = []

    def __call__(self) -> Directory:
        """The directory in force."""
        return self.current

    def subscribe(self, changed: Callable[[], object]) -> None:
        """Call something whenever another directory has come into force."""
        self._subscribers.append(changed)

    def startService(self) -> None:
        """Begin to look."""
        for note in self._notes:
            self.log.warn("{note}", note=str(note))
        super().startService()  # type: ignore[no-untyped-call]

    def look(self) -> None:
        """Read the tables again if any of them has changed, and none is still being written."""
        now = {path: markOf(path) for path in self._seen}
        seconds = self._seconds()
        still = all(_whole(mark, self._seen[path], self._last.get(path), seconds) for path, mark in now.items())
        self._last = now
        if still and now != self._seen:
            self.reload()

    def reload(self) -> bool:
        """
        Read the tables again.

        @return: whether they are in force; else the daemon's log says what is wrong.
        """
        self.faults = []
        texts = gather(self._settings, self.faults)
        self._seen = self._last = texts.marks
        directory = build(ground(self._settings), texts.roles, self.faults, [], texts.members)
        self.faults += texts.emptied(self._full, self._settings)
        if self.faults:
            self.faults.sort()
            for fault in self.faults:
                self.log.error("{fault}", fault=str(fault))
            self.log.error("the tables as they were before stay in force")
            return False
        self.current = directory
        self._full = texts.full
        self.log.info("the tables were read again")
        for changed in self._subscribers:
            changed()
        return True


class Restrictions:
    """
    The sender.dat of each account. Calling it with a mailbox gives what it says.

    One that is wrong is told once, and what was read before stays in force. Where nothing was, it is not known to whom
    the account may write: that is the answer until the file is mended, or has been written.

    @param place: the folder of a mailbox; L{None}: there are none.
    @param seconds: tells the time, since 1970.
    """

    log = Logger()

    def __init__(self, place: Place | None, seconds: Callable[[], float]) -> None:
        self._place = place
        self._seconds = seconds
        self._known: dict[Local, _Known] = {}

    def __call__(self, box: Local) -> Restriction:
        """What a mailbox's file says now, or said within the last second."""
        if self._place is None:
            return Restriction()
        now = self._seconds()
        known = self._known.get(box)
        if known is not None and known.looked <= now < known.looked + LOOK:
            return known.restriction
        try:
            path = Path(self._place(box), NAME)
        except Refused:  # no folder can have this name
            return Restriction()
        mark = markOf(path)  # before reading: what changes meanwhile is seen at the next look
        if known is None:
            unknown = Because(str(path), 1, "it is being written")
            known = self._known[box] = _Known(now, None, None, Restriction(broken=unknown) if mark else Restriction())
        if mark != known.mark and _whole(mark, known.mark, known.last, now):
            known.restriction = self._again(path, mark, known)
            known.mark = mark
        known.looked, known.last = now, mark
        return known.restriction

    def _again(self, path: Path, mark: Mark | None, before: "_Known") -> Restriction:
        """The file as it is now; as it was before, where it is wrong."""
        if mark is None:
            return Restriction()
        faults: list[Fault] = []
        restriction = readSender(path, faults)
        if restriction is None:
            return Restriction()
        if mark[1] == 0 and not faults:
            if before.mark is None:
                self.log.warn("{note}", note=str(unrestricting(str(path))))
            elif before.restriction != Restriction():
                faults.append(emptied(str(path)))
        if not faults:
            return restriction
        for fault in faults:
            self.log.error("{fault}", fault=str(fault))
        if before.mark is not None and before.restriction.broken is None:
            self.log.error("{path}: what it said before stays in force", path=str(path))
            return before.restriction
        return Restriction(broken=Because(faults[0].file, faults[0].line, faults[0].why))


@dataclass(slots=True)
class _Known:
    """
    A sender.dat that was looked at.

    @ivar looked: when, last.
    @ivar mark: its state when it was read; L{None}: there was none.
    @ivar last: its state at the last look.
    """

    looked: float
    mark: Mark | None
    last: Mark | None
    restriction: Restriction


def _whole(mark: Mark | None, read: Mark | None, last: Mark | None, now: float) -> bool:
    """
    Whether a file is not just being written.

    @param mark: its state.
    @param read: what that was when it was read.
    @param last: what that was at the last look.
    @param now: seconds since 1970. A clock that was set back tells nothing; then the next look does.
    """
    if mark is None or mark in (read, last) or (read is not None and mark[2] != read[2]):
        return True
    return now - mark[0] / 1e9 >= LOOK
