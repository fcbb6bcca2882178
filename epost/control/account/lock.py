"""
C{epost account unlock}: who is locked out after failed logins, and an end to it.

The running daemon is asked through its work folder (L{epost.login.desk}); its locks live in its memory.
"""

import argparse
import os
import time
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path

from epost.control.account.box import isRunning
from epost.control.account.change import Books
from epost.control.terminal import Failure, config, oneLine, remark, tell
from epost.login.desk import LOCKED, askUnlock, readLocks
from epost.login.lockout import Lock


def unlock(options: argparse.Namespace) -> int:
    """Say who is locked out; or ask the daemon to forget failed logins."""
    books = Books(config(options))
    folder = books.settings.folder
    if options.what is None:
        locks = _locks(folder, books.settings.submits and isRunning(books.settings))
        tell(options, {"locks": [asdict(lock) for lock in locks]}, list(map(_said, locks)) or ["nobody is locked out"])
        return 0
    what = _compared(books, oneLine("the name", options.what))
    if not isRunning(books.settings):
        raise Failure("no daemon is running; one that is started knows of no failed login")
    try:
        askUnlock(folder, what)
    except OSError as error:
        way = "the daemon could not be asked; it forgets failed logins as well when it is restarted"
        raise Failure(str(error), way) from error
    tell(options, {"unlocked": what}, f"{what}: the daemon forgets failed logins within two seconds")
    if "@" in what and not any(what == "@".join(account.address.key) for account in books.directory.accounts):
        remark(f"{what} is no account (a remark: this is allowed); `epost account list` names all")
    return 0


def _locks(folder: Path, running: bool) -> list[Lock]:
    """
    What is locked.

    @param running: whether a daemon is, to which people log in.
    @raise Failure: it has not, or cannot have, written that down.
    """
    if running and os.statvfs(folder).f_flag & os.ST_RDONLY:
        words = f"{folder / LOCKED} may be old: the disk is read-only, and the daemon can neither write nor remove it"
        raise Failure(words, "its log tells what it locks")
    try:
        locks = readLocks(folder, time.time())
    except (ValueError, TypeError):
        raise Failure(f"{folder / LOCKED} is damaged; a daemon that is started writes it anew") from None
    if locks is None and running:
        raise Failure(f"{folder / LOCKED} is not there: the daemon could not write it, its log says why")
    return locks or []


def _compared(books: Books, text: str) -> str:
    """What the daemon is to forget, as it compares it: everything, a network or an account, which need not exist."""
    if text == "*":
        return text
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return "@".join(books.address(text).key)


def _said(lock: Lock) -> str:
    """A lock in words."""
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lock.until))
    return f"{lock.account or 'any account'} from {lock.network or 'where it has not been before'}, until {until}"
