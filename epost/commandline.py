"""
The command line of both daemons.

A configuration that is wrong, and a folder that another daemon holds or that is another user's, end the command with
the words that say so and with status 1, before anything was made and before any port was opened; C{--check} says the
same and does nothing else. For root it reads as the user whose the work folder is, since that one will have to.
"""

import gc
import os
import pwd
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from twisted.python import usage

from epost import config, loading
from epost.daemon.service import Daemon
from epost.daemon.store import boxFolders
from epost.daemon.tls import checkTls
from epost.mail.fault import Fault
from epost.settings import Settings
from epost.storage.disk import IDisk, userName
from epost.storage.lock import FolderLock, FolderTaken
from epost.storage.thread import Worker

GARBAGE = 10000  # objects made before the collector looks for circles; a message makes hundreds


class Options(usage.Options):
    """The command line of both daemons."""

    kind = ""
    optParameters: ClassVar = [["config", "c", None, "The configuration, a TOML file."]]
    optFlags: ClassVar = [["check", None, "Read everything, make nothing, say what is wrong, and end."]]

    def postOptions(self) -> None:
        """With --check, say what is wrong and end: 0 where nothing is, else 1."""
        if self["config"] is None:  # of a UsageError twistd would print its own options, and this line behind them
            words = f"--config is missing; for example: twistd -n epost-{self.kind} --config {self.kind}.toml"
            print(words, file=sys.stderr)
            raise SystemExit(1)
        if self["check"]:
            raise SystemExit(1 if self._check() else 0)

    @property
    def user(self) -> int:
        """Who the process is going to be: twistd has an option for that."""
        given = self.parent["uid"] if self.parent else None
        return os.geteuid() if given is None else int(given)

    def _check(self) -> list[Fault]:
        """Tell all that is wrong."""
        settings = config.readSettings(self["config"], self.kind, [])
        reader = self.user or (_owner(settings) if settings else 0)
        with _being(reader):
            faults, notes = loading.check(self["config"], self.kind, boxFolders)
            if settings is not None:
                checkTls(settings, faults, notes, time.time())
        for fault in faults:
            print(fault)
        for note in notes:
            print(f"{note} (a remark: this is allowed)")
        if not faults:
            print(f"{self['config']}: no faults" + f", read as {userName(reader)}" * (os.geteuid() == 0))
        return faults


def makeDaemon(
    options: Options, reactor: Any = None, disk: IDisk | None = None, pool: Worker | None = None
) -> "Daemon":
    """
    The daemon of a command line.

    @param reactor: clock and network; L{None}: the process's own.
    @param disk: see L{Daemon}.
    @param pool: see L{Daemon}.
    @raise SystemExit: with status 1, behind the words that say what is wrong.
    """
    ours = reactor is None
    if ours:
        from twisted.internet import reactor
    try:
        settings, directory = loading.load(os.path.abspath(options["config"]), options.kind)
        if not options.user:
            _refuseRoot(settings)
        if settings.folder.is_dir() and (settings.folder / "lock").exists():
            FolderLock(str(settings.folder)).release()  # told here the words reach the terminal
    except (config.ConfigError, FolderTaken) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error
    except OSError as error:
        print(f"{options['config']}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    if ours:  # once in a process: what is frozen is never looked at again
        _calm()
    return Daemon(settings, directory, reactor, disk, pool)


def _refuseRoot(settings: Settings) -> None:
    """@raise config.ConfigError: another user has the work folder, who could not start on what root leaves there."""
    if owner := _owner(settings):
        name = userName(owner)
        why = f"[server] folder: {os.path.normpath(settings.folder)} is {name}'s, who cannot start on what root leaves"
        expected = f"a start as {name} (twistd --uid {name} …, in a unit User={name}), or a folder that is root's"
        raise config.ConfigError([Fault(settings.file, settings.line("server", "folder"), why, expected)])


def _owner(settings: Settings) -> int:
    """Whose the work folder is; where it is not there, the one that it will be made in."""
    folder = Path(os.path.normpath(settings.folder))
    return next(path.stat().st_uid for path in (folder, *folder.parents) if path.exists())


@contextmanager
def _being(user: int) -> Iterator[None]:
    """Root does what is in the context as another user; whoever is not root stays who he is."""
    if os.geteuid() or not user:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        try:
            found = pwd.getpwuid(user)
            os.initgroups(found.pw_name, found.pw_gid)
            os.setegid(found.pw_gid)
        except KeyError:  # a number without a name has no group that we know
            os.setgroups([])
        os.seteuid(user)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _calm() -> None:
    """The collector of circles has little to do: modules and tables stay, and a message makes no circle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
