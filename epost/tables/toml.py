"""
The text of a table in TOML: one TOML table for each address, and the line of everything in it.

As in the .dat tables, what is wrong is collected as L{Fault}s (spec 5).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.mail.safe import CONTROL
from epost.tables.lines import decoded
from epost.toml import Place, keyLines, oneOf, parsed

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """
    The TOML table of one address, while it is read.

    @ivar file: the file's name as configured.
    @ivar values: its keys.
    @ivar line: its own line.
    @ivar faults: get what is wrong in it.
    """

    file: str
    address: Address
    values: dict[str, Any]
    line: int
    faults: list[Fault]
    _place: Place
    _lines: dict[Place, int]

    def lineOf(self, key: str) -> int:
        """The line of a key; of one that cannot be found, the table's."""
        return self._lines.get((*self._place, key), self.line)

    def inside(self, key: str, values: dict[str, Any]) -> "Part":
        """A table within this one. @param values: the key's value."""
        return Part(self.file, self.address, values, self.lineOf(key), self.faults, (*self._place, key), self._lines)

    def fault(self, key: str, why: str, expected: str) -> None:
        """A fault at a key; of one that is missing, at the table."""
        self.faults.append(Fault(self.file, self.lineOf(key), why, expected))

    def read(self, key: str, reader: Callable[[Any], _T], expected: str, default: _T) -> _T:
        """
        The value of a key.

        @param reader: raises ValueError with what is wrong; with nothing where it is just not as expected.
        @return: C{default} where it is missing or wrong.
        """
        if key not in self.values:
            return default
        try:
            return reader(self.values[key])
        except ValueError as error:
            self.fault(key, f"{key} = {self.values[key]!r}: {error}".rstrip(": "), expected)
            return default

    def because(self, key: str) -> Because:
        """A key as what decides."""
        value = self.values[key]
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return Because(self.file, self.lineOf(key), f"{self.address} {key} = {text}")

    def known(self, keys: Iterable[str]) -> None:
        """Faults for all other keys."""
        for key in self.values:
            if key not in keys:
                self.fault(key, f"unknown key {key}", oneOf(key, keys))


def parts(file: str, data: bytes, faults: list[Fault]) -> Iterator[Part]:
    """
    The tables of a TOML text, each under an address.

    @param file: its name as configured.
    @param faults: gets what is wrong with the text as such, and with the names of its tables.
    """
    text = decoded(file, data)
    if isinstance(text, Fault):
        faults.append(text)
        return
    text = text.replace("\r\n", "\n")
    tree = parsed(file, text)
    if isinstance(tree, Fault):
        faults.append(tree)
        return
    lines = keyLines(text)
    seen: dict[Address, int] = {}
    for name, values in tree.items():
        line = lines.get((name,), 1)
        try:
            address = parseAddress(name)
        except AddressError as error:
            faults.append(Fault(file, line, f"{error}: {name}", 'an address in quotes, such as ["user1@test.jp"]'))
            continue
        if not isinstance(values, dict):
            faults.append(Fault(file, line, f"{name} is no table", f'["{name}"]'))
        elif seen.setdefault(address, line) != line:
            faults.append(Fault(file, line, f"{name} stands in line {seen[address]} too", "each address once"))
        else:
            yield Part(file, address, values, line, faults, (name,), lines)


# The forms of values: each raises ValueError.


def flag(value: Any) -> bool:
    """C{true} or C{false}."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def count(value: Any) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError
    return value


def line(value: Any) -> str:
    """A text of one line that is not blank."""
    if not isinstance(value, str) or not value.strip() or CONTROL.search(value):
        raise ValueError
    return value


def address(value: Any) -> Address:
    """An address; nobody is called C{*}."""
    found = parseAddress(line(value))
    if "*" in found.local:
        raise ValueError("a * is for patterns")
    return found


def each(reader: Callable[[Any], _T]) -> Callable[[Any], tuple[_T, ...]]:
    """A list of at least one value, each once."""

    def readAll(value: Any) -> tuple[_T, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError
        done: list[_T] = []
        for item in value:
            try:
                done.append(reader(item))
            except ValueError as error:
                raise ValueError(f"{item!r}, {error}" if str(error) else f"{item!r}") from error
        return tuple(dict.fromkeys(done))

    return readAll
