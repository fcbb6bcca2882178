"""
The text of an accounts.toml, changed line by line: comments and order stay as they are, line ends become all alike.

What begins where is found by tomllib alone: a statement is as many lines as it takes until tomllib can read them. Only
keys that stand in one line are changed. Behind every change the whole text is read again and must say what it said
before but for that change; where it does not, the text is one that this editor does not understand, and is left alone.
"""

import codecs
import json
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from typing import Any

from epost.control.terminal import Failure
from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.fault import Fault
from epost.tables.lines import decoded

_HEADER = re.compile(r"\s*\[(?!\[)")


@dataclass(slots=True)
class _Statement:
    """
    Some lines of the text.

    @ivar first: its first line, from 0.
    @ivar last: its last.
    @ivar path: of a header or a key all names; empty for a comment or a blank line.
    @ivar header: whether it begins a table.
    """

    first: int
    last: int
    path: tuple[str, ...]
    header: bool


class DetailsFile:
    """The lines of an accounts.toml."""

    def __init__(self, name: str, octets: bytes) -> None:
        """@param name: as configured. @raise Failure: it is no TOML."""
        self._name = name
        text = decoded(name, octets)
        if isinstance(text, Fault):
            raise Failure(str(text))
        self._mark = codecs.BOM_UTF8 if octets.startswith(codecs.BOM_UTF8) else b""
        self._encoding = "utf-8" if (self._mark + text.encode()) == octets else "cp932"
        if self._encoding == "cp932" and text.encode("cp932") != octets:
            raise Failure(f"{name} can be changed by this command when it is saved as UTF-8")
        try:
            self.tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Failure(f"{name}: {error}") from None
        self._end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
        self._lines = [line.removesuffix("\r") for line in text.split("\n")]

    def octets(self) -> bytes:
        """The whole file. @raise Failure: its encoding does not have a character."""
        try:
            return self._mark + self._end.join(self._lines).encode(self._encoding)
        except UnicodeEncodeError as error:
            sign = error.object[error.start]
            raise Failure(f"{self._name} is Shift_JIS (CP932), which has no {sign}: save it as UTF-8 first") from None

    def name(self, address: Address) -> str | None:
        """How an account's table is called here; L{None}: it has none."""
        return next((name for name in self.tree if _same(name, address)), None)

    def values(self, address: Address) -> dict[str, Any]:
        """What stands in an account's table."""
        name = self.name(address)
        found = self.tree[name] if name is not None else {}
        return dict(found) if isinstance(found, dict) else {}

    def put(self, address: Address, key: str, value: Any) -> None:
        """
        Set a key of an account's table, or take it out.

        @param value: as tomllib would give it; L{None}: the key goes.
        @raise Failure: it stands in a way that cannot be changed here.
        """
        expected = {name: dict(table) for name, table in self.tree.items()}
        name = self.name(address)
        if name is None:
            if value is None:
                return
            name = str(address)
            self._append(name)
            expected[name] = {}
        if value is None:
            expected[name].pop(key, None)
        else:
            expected[name][key] = value
        self._put(name, key, value)
        self._read(expected, f"{key} of {name}")

    def remove(self, address: Address) -> None:
        """Take an account's table out, with all that stands in it."""
        name = self.name(address)
        if name is None:
            return
        for first, last in reversed(self._sections(name)):
            while (
                first
                and not self._lines[first - 1].strip()
                and (last + 1 == len(self._lines) or not self._lines[last + 1].strip())
            ):
                first -= 1  # of the blank lines around it those in front go
            del self._lines[first : last + 1]
        self._read({other: table for other, table in self.tree.items() if other != name}, f'["{name}"]')

    def double(self, address: Address, other: Address) -> None:
        """Write an account's table once more behind itself, under another name."""
        name = self.name(address)
        if name is None:
            return
        sections = self._sections(name)
        copy: list[str] = []
        for first, last in sections:
            copy += ["", self._headed(first, other), *self._lines[first + 1 : last + 1]]
        at = sections[-1][1] + 1 if sections else len(self._lines)
        if at == len(self._lines):
            copy.append("")  # the last line has no end
        self._lines[at:at] = copy
        self._read(self.tree | {str(other): self.tree[name]}, f'["{name}"]')

    def rename(self, address: Address, other: Address) -> None:
        """Give an account's table another name where it stands."""
        name = self.name(address)
        if name is None:
            return
        for first, _ in self._sections(name):
            self._lines[first] = self._headed(first, other)
        self._read({str(other) if old == name else old: table for old, table in self.tree.items()}, f'["{name}"]')

    def _headed(self, number: int, other: Address) -> str:
        """A header as that of another account."""
        path = next(statement.path for statement in self._statements() if statement.first == number)
        return f"[{'.'.join([_text(str(other)), *map(_text, path[1:])])}]{self._cut(number)[1]}"

    def _put(self, name: str, key: str, value: Any) -> None:
        """Change, add or take out the line of a key."""
        statements = self._statements()
        here = [s for s in statements if s.path[:2] == (name, key)]
        if len(here) > 1 or any(s.header or s.path != (name, key) for s in here):
            line = here[0].first + 1
            raise Failure(f"{self._name}:{line}: {key} of {name} is written in parts: change it with an editor")
        if here and here[0].first != here[0].last:
            line = here[0].first + 1
            raise Failure(f"{self._name}:{line}: {key} of {name} spans several lines: change it with an editor")
        if here and value is None:
            del self._lines[here[0].first]
        elif here:
            front, comment = self._cut(here[0].first)
            begin = front[: front.index("=") + 1]
            self._lines[here[0].first] = f"{begin} {literal(value)}{comment}"
        elif value is not None:
            headers = [s for s in statements if s.header and s.path == (name,)]
            if not headers:
                raise Failure(f'{self._name}: {name} has no line ["{name}"] of its own: change it with an editor')
            direct = [s for s in statements if s.path[:1] == (name,) and self._isIn(statements, headers[0], s)]
            after = direct[-1].last if direct else headers[0].last
            self._lines.insert(after + 1, f"{key} = {literal(value)}")
            if after + 2 == len(self._lines):
                self._lines.append("")

    @staticmethod
    def _isIn(statements: list[_Statement], header: _Statement, key: _Statement) -> bool:
        """Whether a key stands below a header and above the next."""
        between = (s for s in statements if s.header and header.first < s.first <= key.first)
        return key.first > header.first and not any(between)

    def _append(self, name: str) -> None:
        """A new table at the end."""
        while len(self._lines) > 1 and not self._lines[-1].strip():
            self._lines.pop()
        front = [""] if self._lines[-1].strip() else []
        if not front:
            self._lines.pop()
        self._lines += [*front, f"[{_text(name)}]", ""]

    def _sections(self, name: str) -> list[tuple[int, int]]:
        """First and last line of each table of an account: its own, and those within it."""
        found: list[tuple[int, int]] = []
        inside = False
        for statement in self._statements():
            if statement.header:
                inside = statement.path[0] == name
                if inside:
                    found.append((statement.first, statement.last))
            elif inside and statement.path:
                found[-1] = (found[-1][0], statement.last)
        return found

    def _statements(self) -> list[_Statement]:
        """All that stands in the text, in order."""
        found: list[_Statement] = []
        table: tuple[str, ...] = ()
        first = 0
        while first < len(self._lines):
            last = first
            while (inside := _loaded("\n".join(self._lines[first : last + 1]))) is None and last + 1 < len(self._lines):
                last += 1
            path = tuple(_path(inside or {}, self._lines[first]))
            header = bool(path) and _HEADER.match(self._lines[first]) is not None
            if header:
                table = path
            elif path:
                path = table + path
            found.append(_Statement(first, last, path, header))
            first = last + 1
        return found

    def _cut(self, number: int) -> tuple[str, str]:
        """A line in two: what it says, and its comment with the blanks in front of it."""
        line = self._lines[number]
        for place in (n for n, sign in enumerate(line) if sign == "#"):
            if _loaded(line[:place]):
                front = line[:place].rstrip()
                return front, line[len(front) :]
        front = line.rstrip()
        return front, line[len(front) :]

    def _read(self, expected: dict[str, Any], what: str) -> None:
        """Read the changed text again."""
        try:
            tree = tomllib.loads("\n".join(self._lines))
        except tomllib.TOMLDecodeError:
            tree = {}
        if tree != expected:
            raise Failure(f"{self._name}: {what} is written in a way that only an editor can change")
        self.tree = tree


def literal(value: Any) -> str:
    """A value as TOML writes it, in one line. @raise Failure: it is not UTF-8."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {literal(inside)}" for key, inside in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A text in quotes."""
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        raise Failure("a text is not UTF-8")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _same(name: str, address: Address) -> bool:
    """Whether a table is an account's."""
    try:
        return parseAddress(name) == address
    except AddressError:
        return False


def _loaded(text: str) -> dict[str, Any] | None:
    """What a part of the text says; L{None} where it is not whole."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _path(inside: dict[str, Any], line: str) -> list[str]:
    """The names of a header or a key. What stands in an inline table is a value, not a name."""
    found: list[str] = []
    depth = _depth(line)
    value: Any = inside
    while isinstance(value, dict) and value and len(found) < depth:
        [(name, value)] = value.items()
        found.append(name)
    return found


_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*\[{{0,2}}\s*({_PART}(?:\s*\.\s*{_PART})*)")


def _depth(line: str) -> int:
    """How many names a dotted key has."""
    found = _DOTTED.match(line)
    return len(re.findall(_PART, found[1])) if found else 0
