"""
What C{epost doctor} sees on this machine without asking anybody: folders and rights, room on the disk, the clock.

Who the daemon runs as is told by the owner of its work folder: it made it. Nothing is written here; the one file that
the clock needs has no name and is gone when it is closed.
"""

import os
import pwd
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from epost.control.doctor.finding import Finding, Findings
from epost.settings import Settings
from epost.storage.disk import userName
from epost.storage.places import Places
from epost.storage.room import FILES, OCTETS, PART
from epost.tables.accounts import Account

MADE = ("incoming", "holding", "dead", "senderlog", "receivelog")  # the folders that a daemon makes at its start
ENTER = 0o700
FIRST_YEAR = 2026  # no clock that is right shows an earlier one: this program is not older
LAST_YEAR = 2100
APART = 5.0  # seconds between two clocks of one machine that say the same


def folders(settings: Settings, accounts: Iterable[Account]) -> list[Finding]:
    """
    Whether the daemon can write where it must, and others cannot.

    @param accounts: whose mailboxes are looked at, as far as they stand.
    """
    found = Findings("folders", settings.kind)
    work = Path(os.path.normpath(settings.folder))
    try:
        status = work.stat()
    except FileNotFoundError:
        _notYet(found, work)
        return found.all
    except OSError as error:
        found.wrong(f"{work} cannot be looked at: {error.strerror}", "run the doctor as root or as the daemon's user")
        return found.all
    if not stat.S_ISDIR(status.st_mode):
        found.wrong(f"{work} is no folder", f"another [server] folder in {settings.file}")
        return found.all
    wanted = [work, *(work / name for name in MADE)]
    if settings.place:
        places = Places(str(work), str(settings.place))
        wanted.append(Path(places.fixed()))
        wanted += [Path(places.folders(account.box)[-1]) for account in accounts]
    before = len(found.all)
    there = [path for path in dict.fromkeys(wanted) if _folder(found, path, status.st_uid)]
    _contents(found, work, status.st_uid)
    _running(found, work, status.st_uid)
    if len(found.all) == before:
        found.ok(f"{work} and {len(there) - 1} folders in it belong to {userName(status.st_uid)}, who may write there")
    return found.all


def _notYet(found: Findings, work: Path) -> None:
    """The work folder is not there: the daemon makes it, where it may."""
    above = next(path for path in work.parents if path.exists())
    if os.access(above, os.W_OK | os.X_OK):
        found.remark(f"{work} is not there yet; the daemon makes it at its first start")
    else:
        found.wrong(
            f"{work} is not there, and {userName(os.geteuid())} may not make it in {above}",
            f"make it and give it to the daemon's user: install -d -m 700 -o USER {work}",
        )


def _folder(found: Findings, path: Path, uid: int) -> bool:
    """One folder. @return: whether it is there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False  # the daemon makes it
    except OSError as error:
        found.wrong(f"{path} cannot be looked at: {error.strerror}", "run the doctor as root or as the daemon's user")
        return False
    if not stat.S_ISDIR(status.st_mode):
        found.wrong(f"{path} is no folder", "move it away; the daemon makes the folder")
    elif status.st_uid != uid:
        mend = f"chown -R {userName(uid)} {path}"
        found.wrong(f"{path} belongs to {userName(status.st_uid)}, the work folder to {userName(uid)}", mend)
    elif status.st_mode & ENTER != ENTER:
        found.wrong(f"{path} may not be written by its owner", f"chmod u+rwx {path}")
    elif status.st_mode & 0o022:
        found.wrong(f"others may write into {path}", f"chmod go-w {path}")
    return True


def _contents(found: Findings, work: Path, uid: int) -> None:
    """Whether the files of the daemon are its own. A start as root leaves some that it cannot read when it is not."""
    strange = []
    for folder in (work, *(work / name for name in MADE)):
        with suppress(OSError), os.scandir(folder) as entries:  # what is wrong with the folder has been told
            for entry in entries:
                with suppress(FileNotFoundError):  # a message that went on meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_uid != uid:
                        strange.append((entry.path, userName(status.st_uid)))
    if strange and uid:
        path, other = min(strange)
        text = f"{path} belongs to {other}, the work folder to {userName(uid)}"
        if len(strange) > 1:
            text += f"; it is one of {len(strange)} such files"
        found.wrong(text, f"chown -R {userName(uid)} {work}")


def holder(work: Path) -> str:
    """The process that holds a work folder; empty: none does, or the system does not tell."""
    try:
        process, inode = (work / "lock").read_text("ascii").strip(), (work / "lock").stat().st_ino
        locks = Path("/proc/locks").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return ""
    # A crash leaves its number in the file, and by now it may be another process's.
    taken = (line.split() for line in locks if "->" not in line)  # not those who wait
    return process if any(one[1] == "FLOCK" and one[5].endswith(f":{inode}") for one in taken) else ""


def _running(found: Findings, work: Path, uid: int) -> None:
    """Whether the process that holds the folder is its owner."""
    process = holder(work)
    try:
        runs = os.stat(f"/proc/{process}").st_uid if process else uid
    except OSError:
        return  # it has ended
    if runs != uid:
        found.wrong(
            f"the daemon, process {process}, runs as {userName(runs)}, and {work} belongs to {userName(uid)}",
            f"stop it, chown -R {userName(runs or uid)} {work}, start it as that user",
        )


def files(settings: Settings, keys: Iterable[Path]) -> list[Finding]:
    """
    Whether secrets are read by the daemon and by nobody else.

    @param keys: private keys, beside the table of accounts.
    """
    found = Findings("rights", settings.kind)
    secret = [settings.path(settings.domains.accounts)] if settings.domains.accounts else []
    uid = settings.folder.stat().st_uid if settings.folder.is_dir() else os.geteuid()
    for path in [*secret, *keys]:
        try:
            status = path.stat()
        except OSError as error:
            found.wrong(f"{path}: {error.strerror}", "put it there, or mend its name in the configuration")
            continue
        if status.st_mode & 0o007:
            found.wrong(f"everybody on this machine may read or write {path}", f"chmod o= {path}")
        elif not _reads(uid, status):
            mend = f"chown {userName(uid)} {path}; chmod 600 {path}"
            found.wrong(f"{userName(uid)}, who the daemon runs as, may not read {path}", mend)
        else:
            found.ok(f"{path} is read by {userName(uid)}, and not by everybody")
    return found.all


def _reads(uid: int, status: os.stat_result) -> bool:
    """Whether a user may read a file that is not open to all."""
    if uid == 0:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & 0o400)
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return status.st_gid in os.getgrouplist(user.pw_name, user.pw_gid) and bool(status.st_mode & 0o040)


def disk(settings: Settings, look: Callable[[Path], os.statvfs_result] = os.statvfs) -> list[Finding]:
    """
    Whether there is room above the reserve, for the queue and for the mailboxes.

    @param look: the room of the file system of a path.
    """
    found = Findings("disk", settings.kind)
    wanted = [Path(os.path.normpath(settings.folder))]
    if settings.place:
        wanted.append(Path(Places(str(settings.folder), str(settings.place)).fixed()))
    seen = set()
    for path in wanted:
        there = next(one for one in (path, *path.parents) if one.exists())
        volume = there.stat().st_dev
        if volume not in seen:
            seen.add(volume)
            _volume(found, settings, there, look(there))
    return found.all


def _volume(found: Findings, settings: Settings, path: Path, room: os.statvfs_result) -> None:
    """One file system, by the rule of L{epost.storage.room}."""
    octets, allOctets = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    kept, files = settings.spool.reserve_octets, settings.spool.reserve_files
    kept = min(OCTETS, allOctets // PART) if kept is None else kept
    files = min(FILES, room.f_files // PART) if files is None else files
    text = f"{path}: {octets:,} octets"
    if room.f_files:
        text += f" and {room.f_favail:,} files"
    few = bool(room.f_files) and room.f_favail < files
    if why := _takesNothing(path):
        found.wrong(
            f"{path} takes no file: {why}; {text.removeprefix(f'{path}: ')} are free",
            "make room there; where it became read-only or fails, dmesg tells why: check the disk, mount it anew",
        )
    elif octets < kept or few:
        found.wrong(
            f"{text} are free, and {kept:,} and {files:,} are kept: new mail is refused with 452",
            "make room there, or lessen [spool] reserve_octets and reserve_files",
        )
    elif octets < 4 * kept or (room.f_files and room.f_favail < 4 * files):
        found.remark(f"{text} are free; below {kept:,} and {files:,} new mail is refused", "make room there soon")
    else:
        found.ok(f"{text} are free; {kept:,} and {files:,} are kept")


def _takesNothing(path: Path) -> str:
    """Why a file system takes no file; empty where it does, or where it is not for us to write there."""
    try:
        with tempfile.TemporaryFile(dir=path) as file:  # without a name, where the system can
            file.write(b"x")
            file.flush()
    except PermissionError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def clock(settings: Settings, now: Callable[[], float] = time.time) -> list[Finding]:
    """
    Whether the clock can be right: a sane year, the file system's time, nothing written in the future.

    What other machines say is compared where they are heard: see L{epost.control.doctor.wire}.
    """
    found = Findings("clock", settings.kind)
    mend = "set the clock, and let chrony or systemd-timesyncd keep it: timedatectl set-ntp true"
    here = now()
    year = time.gmtime(here).tm_year
    if not FIRST_YEAR <= year < LAST_YEAR:
        found.wrong(f"the clock shows the year {year}", mend)
        return found.all
    work = settings.folder if settings.folder.is_dir() and os.access(settings.folder, os.W_OK) else None
    there = here
    try:
        with tempfile.TemporaryFile(dir=work) as file:
            file.write(b"x")
            file.flush()
            there = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        found.remark(f"the file system's time was not looked at: {work} takes no file: {error.strerror}")
    if abs(there - here) > APART:
        where = work or tempfile.gettempdir()
        found.wrong(f"the file system of {where} is {there - here:+.0f} seconds away from this machine's clock", mend)
    serial = settings.folder / "serial"
    try:
        written = serial.stat().st_mtime
    except OSError:
        written = here
    if written > here + APART:
        found.wrong(f"{serial} was written {written - here:.0f} seconds from now: the clock was set back", mend)
    if not found.all:
        found.ok(time.strftime("%Y-%m-%d %H:%M:%S %z, as the file system has it", time.localtime(here)))
    return found.all
