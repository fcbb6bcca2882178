"""
gateway.dat: which hosts take the mail for a domain (spec 4).

    test.jp, 192.168.0.102, 25     several lines for one domain: hosts to try in order; port 25 if missing
    *.test.jp, [2001:db8::1]       an exact domain beats a pattern, a longer pattern a shorter; [ ] around IPv6 or none
    hold.example, hold             mail is accepted and stays in holding until the line goes, whatever else stands there

The domains of the table are relay domains: mail to them is accepted from anybody. A line for C{*} alone, or for C{*}
with a top-level domain, would make an open relay of that; it only routes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TypeVar

from epost.mail.address import AddressError, domainKey
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.mail.route import Held, Hop, Onward
from epost.tables.lines import Line, lines
from epost.tables.patterns import domainPattern, expression

HOLD = "hold"
_T = TypeVar("_T")


def parseHop(host: str, port: str = "") -> Hop:
    """
    Read a host, and a port from 1 to 65535; none is 25.

    @raise ValueError: what is wrong.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f'"{port}" is no port')
    number = int(port) if port else 25
    if ":" in bare or bare != host or re.fullmatch(r"[\d.]+", bare):
        return Hop(str(ip_address(bare)), number)  # its one normal form
    return Hop(domainKey(bare), number)


@dataclass(frozen=True, slots=True)
class Destination:
    """
    Where mail for a domain goes.

    @ivar route: the hosts, or hold.
    @ivar because: the line that says so, the first of several.
    @ivar relays: whether mail to the domain is accepted from anybody.
    """

    route: Onward | Held
    because: Because
    relays: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line. @ivar hop: L{None} for hold."""

    domain: str
    hop: Hop | None
    because: Because


class HopTable:
    """A gateway.dat that was read. It never changes. @ivar machines: the IP addresses that it names as next hops."""

    __slots__ = ("_exact", "_globs", "hops", "machines")

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        grouped: dict[str, list[_Entry]] = {}
        for entry in entries:
            grouped.setdefault(entry.domain, []).append(entry)
        found = {domain: _destination(domain, group) for domain, group in grouped.items()}
        self.hops = tuple((e.hop, e.because) for group in grouped.values() for e in group if e.hop)
        self.machines = frozenset(hop.host for hop, _ in self.hops if re.fullmatch(r"[\d.]+|.*:.*", hop.host))
        self._exact = {domain: d for domain, d in found.items() if "*" not in domain}
        patterns = sorted((domain for domain in found if "*" in domain), key=len, reverse=True)
        self._globs = tuple((expression(domain), found[domain]) for domain in patterns)

    def find(self, domain: str) -> Destination | None:
        """
        Where a recipient's domain goes.

        @param domain: as L{epost.mail.address.Address} has it.
        @return: L{None} where the table does not say.
        """
        exact = self._exact.get(domain)
        if exact is not None or not self._globs:
            return exact
        return next((destination for glob, destination in self._globs if glob.match(domain)), None)

    def relay(self, domain: str) -> Destination | None:
        """The entry that makes a domain a relay domain; L{None} where none does."""
        found = self.find(domain)
        return found if found is not None and found.relays else None


def _destination(domain: str, group: list[_Entry]) -> Destination:
    """What the lines of one domain mean together."""
    held = next((entry.because for entry in group if entry.hop is None), None)
    relays = not routesOnly(domain)
    if held is not None:
        return Destination(Held(str(held)), held, relays)
    hops = tuple(dict.fromkeys(entry.hop for entry in group if entry.hop))
    return Destination(Onward(", ".join(map(str, hops)), hops, forwards=True), group[0].because, relays)


def routesOnly(domain: str) -> bool:
    """Whether a pattern is too wide for a relay domain: behind its last C{*} are less than two labels."""
    return "*" in domain and "." not in domain.rpartition("*")[2].strip(".")


def readHops(file: str, data: bytes, faults: list[Fault], notes: list[Fault]) -> HopTable:
    """
    Read a gateway.dat.

    @param file: its name as configured.
    @param faults: gets what is wrong, all of it.
    @param notes: gets what is right and may surprise.
    """
    entries = []
    for line in lines(file, data, faults):
        columns = [column.strip() for column in line.text.split(",")]
        if len(columns) not in (2, 3):
            faults.append(line.fault(f"{len(columns)} columns", "domain, host or domain, host, port"))
            continue
        domain = _read(line, columns[0], domainPattern, "a domain, perhaps with *", faults)
        hop = None
        if [word.lower() for word in columns[1:]] != [HOLD]:
            hop = _read(line, columns[1], partial(parseHop, port="".join(columns[2:])), "host, or host, port", faults)
            if hop is None:
                continue
        if domain is not None:
            if routesOnly(domain):
                notes.append(line.fault(f"{domain} is too wide for a relay domain, the line only routes", ""))
            entries.append(_Entry(domain, hop, Because(file, line.number, line.text.strip())))
    return HopTable(entries)


def _read(line: Line, text: str, reader: Callable[[str], _T], expected: str, faults: list[Fault]) -> _T | None:
    """One column; L{None} where it has a fault."""
    try:
        return reader(text)
    except AddressError as error:
        faults.append(line.fault(f"{error}: {text}", expected))
    except ValueError as error:
        faults.append(line.fault(str(error), expected))
    return None
