"""
How a running daemon is asked from outside, through its work folder, about who is locked out.

    locked         what is locked, a JSON object a line; written anew when it changes
    unlock/NAME    a wish: an account, an IP address, a network or *; it is there whole, and goes when it is granted
    login.key      32 octets that make up salts for names that do not exist: secret, made at the first start

No socket and no port is needed for that, and who may write in the folder may ask.
"""

import contextlib
import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

from twisted.logger import Logger

from epost.login.lockout import Lock, Lockout
from epost.mail.safe import safe

LOCKED = "locked"
UNLOCK = "unlock"
KEY = "login.key"
MOST = 250  # locks of each kind that are written
_LONGEST = 1024  # octets of a wish


class Desk:
    """The daemon's side. @param folder: the work folder, which is there."""

    _log = Logger()

    def __init__(self, folder: Path, lockout: Lockout) -> None:
        self._folder = folder
        self._lockout = lockout
        self._written = -1
        self._unable: set[str] = set()

    def look(self) -> None:
        """Grant the wishes, and write what is locked if that has changed. Once a second; costs a look into a folder."""
        try:
            names = os.listdir(self._folder / UNLOCK)
        except FileNotFoundError:
            names = []
        except OSError as error:
            self._fault(UNLOCK, error)
            names = []
        for name in sorted(names):
            if not name.startswith("."):
                self._grant(self._folder / UNLOCK / name)
        if self._written != self._lockout.changes:
            self._write()

    def _grant(self, wish: Path) -> None:
        try:
            what = _read(wish).decode("utf-8", "replace").strip()
            wish.unlink()  # before it is granted: a wish that cannot be removed would be granted each second
        except OSError as error:
            self._fault(f"{UNLOCK}/{wish.name}", error)
            return
        count = self._lockout.unlock(what)
        self._log.info("unlocked: {what}, {count} counts of failed logins forgotten", what=safe(what), count=count)

    def _write(self) -> None:
        changes, path = self._lockout.changes, self._folder / LOCKED
        texts = [json.dumps(asdict(lock), ensure_ascii=False) + "\n" for lock in self._lockout.locks(MOST)]
        try:
            _replace(path, "".join(texts).encode("utf-8", "backslashreplace"), 0o640)
        except OSError as error:
            with contextlib.suppress(OSError):  # what stands there is not true any more; the next look tries again
                path.unlink()
            self._fault(LOCKED, error)
            return
        self._written = changes
        if LOCKED in self._unable:
            self._unable.remove(LOCKED)
            self._log.warn("{path} is written again", path=safe(str(path)))

    def _fault(self, name: str, error: OSError) -> None:
        """Once for each name: what is wrong stays so for hours."""
        if name not in self._unable and len(self._unable) < 100:
            self._unable.add(name)
            self._log.error("{name}: {error}", name=safe(str(self._folder / name)), error=safe(str(error)))

    def close(self) -> None:
        """The daemon ends, and what is locked with it."""
        with contextlib.suppress(OSError):
            (self._folder / LOCKED).unlink()


def askUnlock(folder: Path, what: str) -> None:
    """
    Ask the daemon of a work folder to forget failed logins; it does so within two seconds.

    @param what: an account as C{user@domain}, an IP address, a network, or C{*} for all.
    @raise OSError: the folder cannot be written.
    """
    wishes = folder / UNLOCK
    if not wishes.is_dir():
        raise FileNotFoundError(f"{wishes}: no daemon has run here")
    _replace(wishes / secrets.token_hex(8), what.encode("utf-8", "surrogateescape"), 0o644)


def readLocks(folder: Path, now: float) -> list[Lock] | None:
    """
    What is locked in the daemon of a work folder, as of a second ago.

    @param now: seconds since 1970.
    @return: L{None} where no daemon runs, or where it could not write that.
    @raise OSError: it cannot be read.
    @raise ValueError: it is damaged.
    """
    try:
        text = (folder / LOCKED).read_text("utf-8")
    except FileNotFoundError:
        return None
    locks = [Lock(**json.loads(line)) for line in text.split("\n") if line]
    return [lock for lock in locks if now < lock.until]


def prepare(folder: Path) -> bytes:
    """
    Make what is missing in a work folder.

    @return: the key.
    @raise OSError: it cannot be made.
    """
    (folder / UNLOCK).mkdir(mode=0o770, exist_ok=True)
    path = folder / KEY
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == 32:
            return key
    key = os.urandom(32)
    _replace(path, key, 0o600)
    return key


def _read(path: Path) -> bytes:
    """
    A wish. Who may make one may not therefore have any file of ours told in the log, or let us wait for a pipe.

    @raise OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """A file that is there whole or not at all. @raise OSError: it could not be written; the error names it."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
        os.rename(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
