"""
The command C{epost}.

    epost [-c FILE] GROUP …

A module or a package for each group of commands; the module, or C{command} in the package, has C{register}, which adds
its parsers. A parser names what it runs by C{set_defaults(run=…)}: a function of the options that returns the exit
status. 0: done, and nothing is wrong; 1: something is; 2: the command was not understood.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread

from epost import __version__
from epost.control import cert
from epost.control.account import command as account
from epost.control.doctor import command as doctor
from epost.control.setup import command as setup
from epost.control.terminal import Failure, common, remark

GROUPS = (account, cert, doctor, setup)


def parser() -> argparse.ArgumentParser:
    """All commands."""
    made = argparse.ArgumentParser(
        "epost", description="What an administrator does to an epost server.", parents=[common()]
    )
    made.add_argument("--version", action="version", version=f"epost {__version__}")
    subparsers = made.add_subparsers(metavar="GROUP", required=True)
    for group in GROUPS:
        group.register(subparsers)
    made.set_defaults(config=None, json=False)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    @param argv: without the program's name; L{None}: the process's own.
    @return: the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a name is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        commands = parser()
        options, rest = commands.parse_known_args(argv)
        if rest and (rest[0].startswith("-") or not hasattr(options, "pairs")):
            commands.error(f"not understood: {' '.join(rest)}")
        if rest:  # argparse gives the words behind an option to nobody
            options.pairs += rest
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    try:
        with _interruptible():
            done: int = options.run(options)
        sys.stdout.flush()
        return done
    except Failure as failure:
        return _failed(options, failure.lines)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(options, [f"{error.filename}: {error.strerror}" if error.filename else str(error)])
    except KeyboardInterrupt:
        return _failed(options, ["interrupted"])


@contextmanager
def _interruptible() -> Iterator[None]:
    """What ends the process, a terminal that goes too, interrupts it as Ctrl-C does: half a work is undone or told."""
    if current_thread() is not main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _failed(options: argparse.Namespace, lines: Sequence[str]) -> int:
    """Say what is wrong."""
    if options.json:
        print(json.dumps({"errors": list(lines)}, ensure_ascii=False))
    else:
        for line in lines:
            remark(line)
    return 1


if __name__ == "__main__":
    sys.exit(main())
