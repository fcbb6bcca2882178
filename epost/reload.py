"""
The directory in force: read at start, and again when a table changes or SIGHUP comes.

Every second each table's place, size and time are looked at. What changed is read with all the others, and takes effect
for the next decision only if nothing in any of them is wrong; else the faults are told, once, and the old directory
stays in force (spec 3).

A table that is cut may be a good one with fewer rules. So a file that is written in place is read when two looks have
found it the same, or when it is older than that; one that took another's place came whole, and is read at once. And one
that said something and is now of 0 octets, as an editor leaves it on a full disk, is a fault: what is meant to be empty
holds a comment.

Of accounts there may be thousands, each with a sender.dat: such a file is looked at when its account writes to
somebody, once a second at most, and stands and falls alone. One that was changed an hour before holds for the first
recipient.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from epost.config import ConfigError, readSettings
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.settings import Settings
from epost.tables.directory import Directory, Ground, build
from epost.tables.lists import memberFiles
from epost.tables.restriction import NAME, Restriction, readRestriction

LOOK = 1.0  # seconds between two looks; a change is in force within two
UNRESTRICTING = "is empty: it restricts nobody"

Mark = tuple[int, int, int]


def load(path: str, kind: str) -> tuple[Settings, Directory]:
    """
    Read a daemon's configuration and all its tables.

    @param kind: C{backend} or C{gateway}.
    @raise ConfigError: with all that is wrong.
    """
    faults: list[Fault] = []
    settings = readSettings(path, kind, faults)
    if settings is None:
        raise ConfigError(faults)
    directory = readDirectory(settings, faults, [])
    if faults:
        raise ConfigError(faults)
    return settings, directory


Place = Callable[[Local], str]


def check(
    path: str, kind: str, place: "Callable[[Settings], Place | None] | None" = None
) -> tuple[list[Fault], list[Fault]]:
    """
    What is wrong with a configuration and its tables, and what is right but may surprise, in order.

    @param place: where a configuration has its mailboxes, whose sender.dat is read too; L{None}: they are left aside.
    """
    faults: list[Fault] = []
    notes: list[Fault] = []
    settings = readSettings(path, kind, faults)
    if settings is not None:
        directory = readDirectory(settings, faults, notes)
        if place is not None and not faults:
            _checkSenders(settings, directory, place, faults)
    return sorted(faults), sorted(notes)


def _checkSenders(
    settings: Settings, directory: Directory, place: "Callable[[Settings], Place | None]", faults: list[Fault]
) -> None:
    """Read the sender.dat of every account."""
    try:
        folder = place(settings)
    except ValueError as error:
        line = settings.line("mailboxes", "place")
        faults.append(Fault(settings.file, line, str(error), "another folder below the work folder"))
        return
    if folder is not None:
        for account in directory.accounts:
            with suppress(Refused):  # no folder can have this name
                readSender(Path(folder(account.box), NAME), faults)


def tables(settings: Settings) -> dict[str, tuple[str, str, str]]:
    """For each table that is configured its role, as L{build} names it: section, key and file name."""
    named = {
        "effect": ("tables", "effect", settings.tables.effect),
        "gateway": ("tables", "gateway", settings.tables.gateway),
        "accounts": ("domains", "accounts", settings.domains.accounts),
        "details": ("domains", "details", settings.domains.details),
        "aliases": ("domains", "aliases", settings.domains.aliases),
        "lists": ("domains", "lists", settings.domains.lists),
    }
    return {role: (section, key, name) for role, (section, key, name) in named.items() if name is not None}


def ground(settings: Settings) -> Ground:
    """What the settings say that decisions need."""
    section = "domains" if settings.kind == "backend" else "server"
    return Ground(
        settings.file,
        settings.server.name,
        settings.domains.local,
        settings.postmaster,
        settings.line(section, "postmaster"),
        settings.relay.networks,
        settings.relay.gateway,
        settings.mailboxes is not None,
        settings.limits.mailbox_octets,
        settings.listening,
        settings.domains.separator,
        settings.relay.gateways,
    )


@dataclass(frozen=True, slots=True)
class Texts:
    """
    What was read for one directory.

    @ivar roles: as L{build} takes them.
    @ivar members: the files that the table of lists names, by name.
    @ivar marks: the state of each file just before it was read; L{None}: there was none.
    @ivar full: the files that held something.
    """

    roles: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    members: dict[str, bytes] = field(default_factory=dict)
    marks: dict[Path, Mark | None] = field(default_factory=dict)
    full: set[Path] = field(default_factory=set)

    def read(self, path: Path) -> bytes:
        """A file. @raise OSError: it cannot be read."""
        self.marks[path] = _mark(path)  # before reading: what changes meanwhile is seen at the next look
        octets = _read(path)
        if octets:
            self.full.add(path)
        return octets

    def emptied(self, full: set[Path], settings: Settings) -> list[Fault]:
        """The files that held something once and are empty. @param full: those that did."""
        names = [(name, settings.path(name), octets) for name, octets in self.roles.values()]
        if self.members:
            beside = settings.path(self.roles["lists"][0]).parent
            names += [(name, beside / name, octets) for name, octets in self.members.items()]
        return [_emptied(name) for name, path, octets in names if not octets and path in full]


def gather(settings: Settings, faults: list[Fault]) -> Texts:
    """Read the files of all tables. One that cannot be read is a fault of the line naming it."""
    found = Texts()
    for role, (section, key, name) in tables(settings).items():
        try:
            found.roles[role] = name, found.read(settings.path(name))
        except OSError as error:
            why = f'[{section}] {key} = "{name}" cannot be read: {error.strerror}'
            faults.append(Fault(settings.file, settings.line(section, key), why, "a table beside this file"))
    if "lists" not in found.roles:
        return found
    lists, data = found.roles["lists"]
    for name, line in memberFiles(lists, data).items():
        try:
            found.members[name] = found.read(settings.path(lists).parent / name)
        except OSError as error:
            why = f'members = "{name}" cannot be read: {error.strerror}'
            faults.append(Fault(lists, line, why, "a file beside this one"))
    return found


def _emptied(name: str) -> Fault:
    """A table that held something and is empty. @param name: as an operator is told it."""
    meant = f"what it held; if it is meant to be empty, one line: {comment(name)}"
    return Fault(name, 1, "is empty and was not", meant)


def comment(name: str) -> str:
    """The line that a table holds which is meant to say nothing. @param name: of the table, or its path."""
    return "# none" if name.endswith(".toml") else "' none"


def _empty(texts: Texts) -> list[Fault]:
    """Remarks about tables that restrict, and are empty: nobody can tell whether they are meant to be."""
    found = [name for role, (name, octets) in texts.roles.items() if role in ("effect", "details") and not octets]
    return [_unrestricting(name) for name in found]


def _unrestricting(name: str) -> Fault:
    """A table that restricts, and is empty when it is first read."""
    return Fault(name, 1, UNRESTRICTING, f"rules, or one line: {comment(name)}")


def readDirectory(settings: Settings, faults: list[Fault], notes: list[Fault]) -> Directory:
    """Read all tables of a configuration; see L{build} and L{gather}."""
    texts = gather(settings, faults)
    notes += _empty(texts)
    return build(ground(settings), texts.roles, faults, notes, texts.members)


def _read(path: Path) -> bytes:
    """A table. @raise OSError: it cannot be read, or is something that one may wait for, such as a pipe."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes()


class Directories(Service):
    """
    The directory in force. Calling it gives it.

    @ivar current: the directory.
    @ivar faults: what was wrong at the last reading; empty where C{current} is what the files say.
    """

    name = "tables"
    log = Logger()

    def __init__(self, settings: Settings, directory: Directory, clock: IReactorTime) -> None:
        """@param directory: as L{load} gave it."""
        self._settings = settings
        texts = gather(settings, [])
        self._seen = self._last = texts.marks
        self._full = texts.full
        self._notes = _empty(texts)
        self._subscribers: list[Callable[[], object]] = []
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock
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
        super().startService()  # type: ignore[no-untyped-call]
        for note in self._notes:
            self.log.warn("{note}", note=str(note))
        self._looking.start(LOOK, now=False)

    def stopService(self) -> None:
        """No longer look."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Read the tables again if any of them has changed, and none is still being written."""
        now = {path: _mark(path) for path in self._seen}
        seconds = self._looking.clock.seconds()
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
        mark = _mark(path)  # before reading: what changes meanwhile is seen at the next look
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
                self.log.warn("{note}", note=str(_unrestricting(str(path))))
            elif before.restriction != Restriction():
                faults.append(_emptied(str(path)))
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


def readSender(path: Path, faults: list[Fault]) -> Restriction | None:
    """A sender.dat; L{None} where there is none. @param faults: gets what is wrong, that it cannot be read too."""
    try:
        return readRestriction(str(path), _read(path), faults)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        faults.append(Fault(str(path), 1, f"cannot be read: {error.strerror}", "a table that this user can read"))
        return Restriction()


def _mark(path: Path) -> Mark | None:
    """What tells one state of a file from another; L{None} where there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return 0, 0, error.errno or 1
    return status.st_mtime_ns, status.st_size, status.st_ino


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
