"""
The command line of both daemons.

A configuration that is wrong, and a folder that another daemon holds, end the command with the words that say so and
with status 1, before anything was made and before any port was opened; C{--check} says the same and does nothing else.
"""

import gc
import os
import sys
import time
from typing import Any, ClassVar

from twisted.python import usage

from epost import config, reload
from epost.daemon import Daemon, boxFolders, checkTls
from epost.storage.disk import IDisk
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
            faults, notes = reload.check(self["config"], self.kind, boxFolders)
            settings = config.readSettings(self["config"], self.kind, [])
            if settings is not None:
                checkTls(settings, faults, notes, time.time())
            for fault in faults:
                print(fault)
            for note in notes:
                print(f"{note} (a remark: this is allowed)")
            if not faults:
                print(f"{self['config']}: no faults")
            raise SystemExit(1 if faults else 0)


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
        settings, directory = reload.load(os.path.abspath(options["config"]), options.kind)
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


def _calm() -> None:
    """The collector of circles has little to do: modules and tables stay, and a message makes no circle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
