"""
Mailbox folders that are moved by a command, perhaps under a running daemon.

A daemon that finds a mailbox gone makes it anew, and delivers again what it could not put into the one that went: so
nothing is lost by moving, but something may come into the old folder until the daemon has read the tables again. So
folders are moved after that, and what came meanwhile is moved after them, file by file: no name is used twice.
"""

import errno
import os
import time
from contextlib import suppress

from epost.control import files
from epost.control.terminal import Failure, remark
from epost.reload import LOOK
from epost.settings import Settings
from epost.storage.lock import FolderLock, FolderTaken
from epost.storage.places import FOLDERS, Places, escaped
from epost.tables.accounts import Account

REMOVED = "@removed"  # an @ in a user's name is written as %40, so no account has this folder


def isRunning(settings: Settings) -> bool:
    """Whether a daemon has the work folder."""
    folder = settings.folder
    try:
        if not (folder / "lock").exists():
            return False
        FolderLock(str(folder)).release()
    except (FolderTaken, OSError):  # what we may not look at is taken for running
        return True
    return False


def settle(settings: Settings) -> bool:
    """Wait until a running daemon has read the tables. @return: whether there is one."""
    if not isRunning(settings):
        return False
    time.sleep(2 * LOOK + 0.5)
    return True


def messages(path: str) -> int:
    """How many messages a mailbox holds."""
    count = 0
    for folder in ("new", "cur"):
        with suppress(FileNotFoundError, NotADirectoryError):
            count += len(os.listdir(os.path.join(path, folder)))
    return count


def aside(places: Places, account: Account, now: float) -> str:
    """Where the mailbox of a removed account goes. @param now: seconds since 1970."""
    name = f"{escaped(account.box.user)}@{escaped(account.box.domain)}"
    return os.path.join(places.fixed(), REMOVED, f"{name}.{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}")


def unmoved(old: str, new: str, why: str) -> tuple[str, str]:
    """What is said where the accounts were changed and a mailbox has not followed."""
    return (
        f"the accounts were changed, but the mailbox {old} could not be moved to {new} as a whole: {why}",
        "move what is left by hand while the daemon is stopped",
    )


def move(old: str, new: str, settings: Settings, running: bool = False) -> bool:
    """
    Move a mailbox when a running daemon has read the tables, and what comes into the old one afterwards.

    @param running: whether a daemon was running when the tables were changed.
    @return: whether there was one.
    @raise Failure: it could not be moved, or somebody interrupts. The words say where what is.
    """
    try:
        running = settle(settings) or running
        if not os.path.isdir(old):
            return False
        _carry(old, new)
        if running:
            time.sleep(LOOK)
            if os.path.isdir(old):
                _carry(old, new)
    except OSError as error:
        raise Failure(*unmoved(old, new, str(error))) from error
    except KeyboardInterrupt:
        raise Failure(*unmoved(old, new, "interrupted")) from None
    if os.path.isdir(old):
        remark(f"something was left in {old}: names that are in {new} too")
    return True


def _carry(old: str, new: str) -> None:
    """Move a folder, or what is in it into one that stands."""
    _make(os.path.dirname(new))
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _merge(old, new)
    files.syncFolder(os.path.dirname(new))
    files.syncFolder(os.path.dirname(old))


def _merge(old: str, new: str) -> None:
    """Move each file of a mailbox into another. What has the name of another file stays."""
    for folder in (*FOLDERS, ""):
        there = os.path.join(new, folder) if folder else new
        here = os.path.join(old, folder) if folder else old
        if not os.path.isdir(here):
            continue
        _make(there)
        for name in os.listdir(here):
            if (folder or name not in FOLDERS) and not os.path.lexists(os.path.join(there, name)):
                os.rename(os.path.join(here, name), os.path.join(there, name))
        files.syncFolder(there)
    for folder in (*FOLDERS, ""):
        with suppress(FileNotFoundError, OSError):
            os.rmdir(os.path.join(old, folder) if folder else old)


def _make(path: str) -> None:
    """Make a folder and those above it, each with the owner of the one that it is in."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _make(above)
    os.mkdir(path, 0o700)
    owner = os.stat(above)
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, owner.st_uid, owner.st_gid)
    files.syncFolder(above)
