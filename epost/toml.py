"""
A text in TOML, as an operator wrote it: what is wrong with it, where each key stands, and what a wrong name may mean.

tomllib knows no lines, so they are found by a scan of our own: each line that looks like a header or a key is given to
tomllib alone, which says what it names. Lines within a text of several lines are passed over.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from epost.mail.fault import Fault

Place = tuple[str, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_PATH = rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*"
_HEADER = re.compile(rf"\s*\[{_PATH}\]\s*(?:#.*)?\Z")
_KEY = re.compile(rf"{_PATH}=")
_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)\Z", re.DOTALL)


def parsed(file: str, text: str) -> dict[str, Any] | Fault:
    """What a text says, or why it is no TOML. @param file: its name as configured."""
    try:
        return _loaded(text)
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.match(str(error))
        why, line = (where[1], where[2]) if where else (str(error), "1")
        return Fault(file, int(line) if line else text.rstrip().count("\n") + 1, why, "TOML")
    except (ValueError, RecursionError):
        number = next((number for number, line in enumerate(text.split("\n"), 1) if _isEndless(line)), 1)
        return Fault(file, number, "a value that is too long, or nested too deep", "TOML")


def _loaded(text: str) -> dict[str, Any]:
    """What a text says. @raise ValueError: also for a number that cannot be written out, as in a fault."""
    tree = tomllib.loads(text)
    repr(tree)
    return tree


def _isEndless(line: str) -> bool:
    """Whether a line alone is TOML that nobody can read."""
    try:
        _loaded(line)
    except tomllib.TOMLDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return False


def keyLines(text: str) -> dict[Place, int]:
    """
    The line of every table and key, by its whole path, and of what is made by the way; the first where one stands more
    than once.
    """
    found: dict[Place, int] = {}
    table: Place = ()
    closing = ""  # what ends the text of several lines that this line is in
    for number, line in enumerate(text.split("\n"), 1):
        if closing:
            closing = "" if line.count(closing) % 2 else closing
            continue
        closing = next((quotes for quotes in ('"""', "'''") if line.count(quotes) % 2), "")
        line = line.rstrip("\r")
        if header := _HEADER.match(line):
            place = table = _named(header[1])
        elif key := _KEY.match(line):
            place = table + _named(key[1])
        else:
            continue
        for length in range(1, len(place) + 1):
            found.setdefault(place[:length], number)
    return found


def _named(path: str) -> Place:
    """The parts of a dotted key."""
    names, inside = [], tomllib.loads(f"{path} = 0")
    while isinstance(inside, dict):
        [(name, inside)] = inside.items()
        names.append(name)
    return tuple(names)


def oneOf(name: str, known: Iterable[str]) -> str:
    """What is expected in the place of a name that nobody knows: one that is spelt alike, if any is, and the others."""
    names = list(known)
    others = f"one of {', '.join(names)}"
    return "".join(f"{near} perhaps, or " for near in difflib.get_close_matches(name, names, 1)) + others
