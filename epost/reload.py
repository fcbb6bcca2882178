"""
The directory in force: read at start, and again when a table changes or SIGHUP comes.

Every second each table's place, size and time are looked at. What changed is read with all the others, and takes effect
for the next decision only if nothing in any of them is wrong; else the faults are told, once, and the old directory
stays in force (spec 3). An editor that is half-way through is simply looked at again.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from epost.config import ConfigError, readSettings
from epost.mail.fault import Fault
from epost.settings import Settings
from epost.tables.directory import Directory, Ground, build

LOOK = 1.0  # seconds between two looks; a change is in force within two


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


def check(path: str, kind: str) -> tuple[list[Fault], list[Fault]]:
    """What is wrong with a configuration and its tables, and what is right but may surprise, in order."""
    faults: list[Fault] = []
    notes: list[Fault] = []
    settings = readSettings(path, kind, faults)
    if settings is not None:
        readDirectory(settings, faults, notes)
    return sorted(faults), sorted(notes)


def tables(settings: Settings) -> dict[str, tuple[str, str, str]]:
    """For each table that is configured its role, as L{build} names it: section, key and file name."""
    named = {
        "effect": ("tables", "effect", settings.tables.effect),
        "gateway": ("tables", "gateway", settings.tables.gateway),
        "accounts": ("domains", "accounts", settings.domains.accounts),
        "aliases": ("domains", "aliases", settings.domains.aliases),
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
    )


def readDirectory(settings: Settings, faults: list[Fault], notes: list[Fault]) -> Directory:
    """Read all tables of a configuration; see L{build}. A file that cannot be read is a fault of the line naming it."""
    texts = {}
    for role, (section, key, name) in tables(settings).items():
        try:
            texts[role] = name, _read(settings.path(name))
        except OSError as error:
            why = f'[{section}] {key} = "{name}" cannot be read: {error.strerror}'
            faults.append(Fault(settings.file, settings.line(section, key), why, "a table beside this file"))
    return build(ground(settings), texts, faults, notes)


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
        self._seen = self._marks()
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
        self._looking.start(LOOK, now=False)

    def stopService(self) -> None:
        """No longer look."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Read the tables again if any of them has changed."""
        if self._marks() != self._seen:
            self.reload()

    def reload(self) -> bool:
        """
        Read the tables again.

        @return: whether they are in force; else the daemon's log says what is wrong.
        """
        self._seen = self._marks()  # before reading: what changes meanwhile is seen at the next look
        self.faults = []
        directory = readDirectory(self._settings, self.faults, [])
        if self.faults:
            self.faults.sort()
            for fault in self.faults:
                self.log.error("{fault}", fault=str(fault))
            self.log.error("the tables as they were before stay in force")
            return False
        self.current = directory
        self.log.info("the tables were read again")
        for changed in self._subscribers:
            changed()
        return True

    def _marks(self) -> list[tuple[int, int, int] | None]:
        """What tells one state of each file from another; L{None} for one that is not there."""
        found: list[tuple[int, int, int] | None] = []
        for _, _, name in tables(self._settings).values():
            try:
                status = os.stat(self._settings.path(name))
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return found
