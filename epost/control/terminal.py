"""
What the commands have in common: which configuration, and how a result, a remark and what went wrong are told.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from epost.mail.safe import CONTROL

# Looked for in this order: in a checkout on the machine of a server its samples are not what is meant.
CONFIGS = ("/etc/epost/backend.toml", "etc/backend.toml")


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
