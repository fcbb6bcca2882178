"""
Aliases: other names of accounts, groups, and whole domains that lead elsewhere (spec 5).

    sales@test.jp TAB user1@test.jp       several lines of one alias make a group; the target may be outside
    *@abc.co.jp TAB abc-*@abc.co.jp       the text of the * is carried into the target's

An exact alias is asked before the accounts, a wildcard after them: it would swallow them. A longer wildcard beats a
shorter. An alias that is its own target means "and here too", or just "it exists". Where an address leads in the end is
told by L{epost.tables.ways}.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.fault import Fault
from epost.tables.lines import Line, lines
from epost.tables.patterns import expression


@dataclass(frozen=True, slots=True)
class Alias:
    """
    All lines of one alias.

    @ivar pattern: the address that it stands for, its local part perhaps with C{*}.
    @ivar targets: where it leads, in order; a C{*} of the local part stands for the text of the pattern's.
    @ivar line: its first line.
    """

    pattern: Address
    targets: tuple[Address, ...]
    line: Line

    @property
    def wild(self) -> bool:
        """Whether it stands for many addresses."""
        return "*" in self.pattern.local


class AliasTable:
    """Aliases that were read. They never change."""

    __slots__ = ("_exact", "_wild")

    def __init__(self, aliases: Iterable[Alias] = ()) -> None:
        known = list(aliases)
        self._exact = {alias.pattern.key: alias for alias in known if not alias.wild}
        self._wild: dict[str, list[tuple[re.Pattern[str], Alias]]] = {}
        for alias in sorted((a for a in known if a.wild), key=lambda a: len(a.pattern.local), reverse=True):
            glob = re.compile(expression(alias.pattern.local).pattern, re.DOTALL | re.IGNORECASE)
            self._wild.setdefault(alias.pattern.domain, []).append((glob, alias))

    def __iter__(self) -> Iterator[Alias]:
        yield from self._exact.values()
        for wild in self._wild.values():
            yield from (alias for _, alias in wild)

    def exact(self, address: Address) -> Alias | None:
        """The alias of just this name."""
        return self._exact.get(address.key)

    def wild(self, address: Address) -> Alias | None:
        """The longest wildcard that an address matches."""
        return next((alias for glob, alias in self._wild.get(address.domain, ()) if glob.match(address.local)), None)

    def find(self, address: Address, isAccount: Callable[[Address], bool]) -> Alias | None:
        """The alias that decides: exact, else none for an account, else wildcard."""
        found = self._exact.get(address.key)
        if found is not None or not self._wild:
            return found
        return None if isAccount(address) else self.wild(address)


def filled(alias: Alias, address: Address) -> Iterator[Address]:
    """The targets of an alias for one address."""
    if not alias.wild:
        yield from alias.targets
        return
    match = re.match(expression(alias.pattern.local).pattern, address.local, re.DOTALL | re.IGNORECASE)
    star = match[1] if match else ""
    for target in alias.targets:
        if "*" in target.local:
            yield spelled(target.local.replace("*", star), target.domain)
        else:
            yield target


def spelled(local: str, domain: str) -> Address:
    """An address from an unquoted local part, which is quoted where it must be."""
    if not local.startswith('"'):
        with suppress(AddressError):  # a blank, two dots
            return parseAddress(f"{local}@{domain}")
    quoted = re.sub(r'(["\\])', r"\\\1", local)
    return Address(f'"{quoted}"@{domain}', local, domain)


def readAliases(file: str, data: bytes, local: Iterable[str], faults: list[Fault]) -> AliasTable:
    """
    Read a table of aliases.

    @param file: its name as configured.
    @param local: the local domains; an alias is in one of them.
    @param faults: gets what is wrong with its lines.
    """
    domains = list(local)
    grouped: dict[tuple[str, str], list[tuple[Address, Address, Line]]] = {}
    for line in lines(file, data, faults):
        pair = _pair(line, domains, faults)
        if pair is not None:
            grouped.setdefault(pair[0].key, []).append((*pair, line))
    return AliasTable(
        Alias(group[0][0], tuple(dict.fromkeys(target for _, target, _ in group)), group[0][2])
        for group in grouped.values()
    )


def _pair(line: Line, local: list[str], faults: list[Fault]) -> tuple[Address, Address] | None:
    """Alias and target of one line; L{None} where it has a fault."""
    columns = [column.strip() for column in line.text.split("\t") if column.strip()]
    if len(columns) != 2:
        faults.append(line.fault(f"{len(columns)} columns", "alias TAB address, both with a domain"))
        return None
    text = ""
    try:
        alias, target = (parseAddress(text := column) for column in columns)
    except AddressError as error:
        faults.append(line.fault(f"{error}: {text}", "addresses with a domain; * stands in the local part alone"))
        return None
    if alias.domain not in local:
        faults.append(
            line.fault(f"{alias.domain} is not local", f"one of [domains] local: {', '.join(local) or 'none'}")
        )
    elif alias.local.count("*") > 1:
        faults.append(line.fault("more than one * in the alias", "one, whose text is carried into the target"))
    elif target.local.count("*") > alias.local.count("*"):
        faults.append(line.fault("a * in the target and none in the alias", "a * in both, or in the alias alone"))
    else:
        return alias, target
    return None
