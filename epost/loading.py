"""
A daemon's configuration and all its tables, read from their files: at the start, again when they change, and for
whoever checks them.

All that is wrong is found in one reading. A table that said something and is now of 0 octets, as an editor leaves it on
a full disk, is a fault: what is meant to be empty holds a comment.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from epost.config import ConfigError, readSettings
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.settings import Settings
from epost.tables.building import build
from epost.tables.directory import Directory, Ground
from epost.tables.lists import memberFiles
from epost.tables.restriction import NAME, Restriction, readRestriction

UNRESTRICTING = "is empty: it restricts nobody"

Mark = tuple[int, int, int]
Place = Callable[[Local], str]  # the folder of a mailbox


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


def check(
    path: str, kind: str, place: Callable[[Settings], Place | None] | None = None
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
    settings: Settings, directory: Directory, place: Callable[[Settings], Place | None], faults: list[Fault]
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
        self.marks[path] = markOf(path)  # before reading: what changes meanwhile is seen at the next look
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
        return [emptied(name) for name, path, octets in names if not octets and path in full]


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


def emptied(name: str) -> Fault:
    """A table that held something and is empty. @param name: as an operator is told it."""
    meant = f"what it held; if it is meant to be empty, one line: {comment(name)}"
    return Fault(name, 1, "is empty and was not", meant)


def comment(name: str) -> str:
    """The line that a table holds which is meant to say nothing. @param name: of the table, or its path."""
    return "# none" if name.endswith(".toml") else "' none"


def empty(texts: Texts) -> list[Fault]:
    """Remarks about tables that restrict, and are empty: nobody can tell whether they are meant to be."""
    found = [name for role, (name, octets) in texts.roles.items() if role in ("effect", "details") and not octets]
    return [unrestricting(name) for name in found]


def unrestricting(name: str) -> Fault:
    """A table that restricts, and is empty when it is first read."""
    return Fault(name, 1, UNRESTRICTING, f"rules, or one line: {comment(name)}")


def readDirectory(settings: Settings, faults: list[Fault], notes: list[Fault]) -> Directory:
    """Read all tables of a configuration; see L{build} and L{gather}."""
    texts = gather(settings, faults)
    notes += empty(texts)
    return build(ground(settings), texts.roles, faults, notes, texts.members)


def _read(path: Path) -> bytes:
    """A table. @raise OSError: it cannot be read, or is something that one may wait for, such as a pipe."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes()


def readSender(path: Path, faults: list[Fault]) -> Restriction | None:
    """A sender.dat; L{None} where there is none. @param faults: gets what is wrong, that it cannot be read too."""
    try:
        return readRestriction(str(path), _read(path), faults)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        faults.append(Fault(str(path), 1, f"cannot be read: {error.strerror}", "a table that this user can read"))
        return Restriction()


def markOf(path: Path) -> Mark | None:
    """What tells one state of a file from another; L{None} where there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return 0, 0, error.errno or 1
    return status.st_mtime_ns, status.st_size, status.st_ino
