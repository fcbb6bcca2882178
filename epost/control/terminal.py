"""
What the commands say and ask: a result as words or as JSON, what went wrong, and passwords.

A password comes from the terminal, twice and unseen, or from standard input; never from the command line, where every
user of the machine can read it (proc(5), cmdline).
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from epost.mail.safe import CONTROL

CONFIGS = ("etc/backend.toml", "/etc/epost/backend.toml")  # looked for in this order
LONGEST = 1024  # octets of a line of standard input that is a password


class Failure(Exception):
    """
    Why a command did not do what it was asked to. Nothing was changed, unless the words say so.

    @ivar lines: what is wrong, each in a line.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def common() -> argparse.ArgumentParser:
    """What every command takes, as a parent of its parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"the configuration; else $EPOST_CONFIG, {', '.join(CONFIGS)}",
    )
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return parser


def config(options: argparse.Namespace) -> str:
    """The configuration that a command is about. @raise Failure: there is none."""
    given = options.config or os.environ.get("EPOST_CONFIG")
    found = given or next(filter(os.path.exists, CONFIGS), None)
    if found is None:
        raise Failure(f"which configuration? --config FILE, or EPOST_CONFIG; looked for {' and '.join(CONFIGS)}")
    return str(found)


def tell(options: argparse.Namespace, result: dict[str, Any], words: str | Iterable[str]) -> None:
    """Print a result: with C{--json} as one object, else in words."""
    if options.json:
        print(json.dumps(result, ensure_ascii=False, default=str))
    else:
        print(words if isinstance(words, str) else "\n".join(words))


def remark(line: str) -> None:
    """Say something beside the result, on standard error."""
    print(line, file=sys.stderr)


def counted(number: int, what: str) -> str:
    """A number of things. @param what: one of them; several have an s."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def oneLine(what: str, text: str) -> str:
    """A text that may stand in a line. @raise Failure: it has control characters, or is no UTF-8."""
    found = CONTROL.search(text)
    if found is None:
        return text
    if "\ud800" <= found[0] <= "\udfff":
        raise Failure(f"{what} is not UTF-8")
    raise Failure(f"{what} has a control character ({found[0]!a}): no TAB, no end of a line")


def password(options: argparse.Namespace, whose: str) -> str:
    """
    A new password.

    @raise Failure: there is none, the two are not the same, or it is no UTF-8.
    """
    if options.stdin:
        return _fromInput()
    if not sys.stdin.isatty():
        raise Failure("standard input is no terminal: with --stdin the password is read from it")
    first = getpass.getpass(f"Password for {whose}: ")
    if not first:
        raise Failure("no password was given")
    if getpass.getpass("Once more: ") != first:
        raise Failure("the two passwords are not the same")
    return oneLine("the password", first)


def _fromInput() -> str:
    """The first line of standard input, without its end."""
    octets = sys.stdin.buffer.readline(LONGEST + 3)
    line = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise Failure("standard input holds no password")
    if len(line) > LONGEST:
        raise Failure(f"a password has {LONGEST} octets at most")
    try:
        return oneLine("the password", line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Failure("the password is not UTF-8") from None
