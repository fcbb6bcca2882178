"""
The files of C{epost setup}, all of them or none: where one is there already it is named and nothing is written, and
what could not be written to its end is taken away again, after an interruption too.
"""

import os
import pwd
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from epost.control.files import LEFT, Owner, createAmong, syncFolder, unmade
from epost.control.setup.plan import STATE, File, Plan
from epost.control.terminal import Failure


def owner(user: str) -> Owner:
    """Whom the files are given to; L{None}: whoever runs the command."""
    if not user or os.geteuid():
        if user and user != pwd.getpwuid(os.geteuid()).pw_name:
            raise Failure(f"only root can give files to {user}")
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Failure(
            f"there is no user {user}: useradd --system --home-dir {STATE} --shell /usr/sbin/nologin {user}"
        ) from None
    return found.pw_uid, found.pw_gid


def write(files: Mapping[str, File], plan: Plan, owner: Owner) -> None:
    """
    Write all files, or none.

    @param files: by path.
    @param owner: user and group that they and the folders are given to; L{None}: they stay who they are.
    @raise Failure: one stands there already, or one cannot be written, or somebody interrupts. Then none is written.
    """
    vacant(files)
    try:
        with unmade() as undoings:
            for folder in dict.fromkeys((plan.folder, plan.data, *map(os.path.dirname, files))):
                _makeFolder(folder, 0o700 if folder == plan.data else 0o755, owner, undoings)
            for path, file in files.items():
                createAmong(undoings, path, file.octets, file.mode, owner)
            for folder in {os.path.dirname(path) for path in files}:
                syncFolder(folder)
    except KeyboardInterrupt:
        raise Failure("interrupted; nothing was written") from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}; nothing was written") from error


def vacant(paths: Iterable[str]) -> None:
    """@raise Failure: something stands at one of them."""
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise Failure(
            *(f"{path} is there already" for path in there), "nothing was written: setup never overwrites", LEFT
        )


def _makeFolder(path: str, mode: int, owner: Owner, undoings: list[Callable[[], None]]) -> None:
    """Make a folder and those above it, where they are not there."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _makeFolder(above, 0o755, None, undoings)
    undoings.append(partial(os.rmdir, path))  # before it is made; nothing but an empty one is removed
    os.mkdir(path, mode)
    if owner is not None:
        os.chown(path, *owner)
