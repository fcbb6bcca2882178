"""
effect.dat, "マシン毎の中継": who may send mail through this server. The first line that matches decides (spec 3).

    192.168.1.0/28          a pattern alone means true
    baito@test.jp false     kinds: true false only default norelay
    user@test.jp false,0    options: 0 AUTH does not lift it, 1 (default) it does, 2 (norelay) may only receive

Read once into dictionaries by pattern, so that a table of thousands of lines costs a few look-ups: addresses, domains,
mailboxes and networks are found by key, and of all that match the lowest line wins. Only patterns with a C{*} that is
not the whole local part are tried one by one, and only those above the line that was found.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from epost.mail.address import Address, AddressError
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.tables.lines import Line, lines
from epost.tables.patterns import MACHINES, Networks, domainPattern, expression, isMachine, mailboxPattern, network

_PATTERN = re.compile(r'("(?:[^"\\]|\\.)*"@\S+|\S+)\s*(.*)\Z')


class Kind(enum.Enum):
    """What a line that matches does."""

    TRUE = "true"
    FALSE = "false"
    ONLY = "only"
    DEFAULT = "default"
    NORELAY = "norelay"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A line of effect.dat.

    @ivar kind: what it does.
    @ivar option: 0, 1 or 2.
    @ivar because: the line itself.
    """

    kind: Kind
    option: int
    because: Because

    @property
    def lifts(self) -> bool:
        """Whether a successful AUTH lifts the rule."""
        return self.option == 1 and self.kind in (Kind.FALSE, Kind.NORELAY)

    @property
    def refuses(self) -> bool:
        """Whether MAIL is refused where this line decides."""
        return self.kind is Kind.FALSE or (self.kind is Kind.NORELAY and self.option == 2)


class EffectTable:
    """
    An effect.dat that was read. It never changes.

    @ivar rules: all lines, in order.
    @ivar only: the first C{only} line; L{None} where there is none.
    """

    __slots__ = ("_domains", "_globs", "_machineGlobs", "_mailboxes", "_networks", "_special", "only", "rules")

    def __init__(self, lines: "Iterable[tuple[str, Rule]]" = ()) -> None:
        """@param lines: patterns that L{check} took, each with its rule."""
        entries = list(lines)
        self.rules = tuple(rule for _, rule in entries)
        self.only = next((rule for rule in self.rules if rule.kind is Kind.ONLY), None)
        self._special: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._mailboxes: dict[tuple[str, str], int] = {}
        self._globs: list[tuple[int, re.Pattern[str]]] = []
        self._machineGlobs: list[tuple[int, re.Pattern[str]]] = []
        networks = []
        for place, (pattern, _) in enumerate(entries):
            if isMachine(pattern):
                machines = network(pattern)
                if isinstance(machines, re.Pattern):
                    self._machineGlobs.append((place, machines))
                else:
                    networks.append((machines, place))
            elif pattern.startswith("#"):
                self._special.setdefault(_SPECIAL[pattern.lower()], place)
            else:
                self._addPath(place, pattern)
        self._networks = Networks(networks)

    def _addPath(self, place: int, pattern: str) -> None:
        """A pattern of reverse paths; C{*@domain} is the domain."""
        local, domain = mailboxPattern(pattern) if "@" in pattern else ("*", domainPattern(pattern))
        if "*" in domain or ("*" in local and local != "*"):
            self._globs.append((place, expression(f"{local}@{domain}")))
        elif local == "*":
            self._domains.setdefault(domain, place)
        else:
            self._mailboxes.setdefault((local, domain), place)

    def machine(self, address: str) -> Rule | None:
        """The first line about IP addresses that matches one."""
        place = self._machine(address)
        return None if place is None else self.rules[place]

    def _machine(self, address: str) -> int | None:
        found = self._networks.first(address)
        for place, glob in self._machineGlobs:
            if found is not None and place > found:
                break
            if glob.match(address):
                return place
        return found

    def first(self, address: str, path: Address | None, blank: bool = False) -> Rule | None:
        """
        The first line that matches.

        @param address: the client's IP address.
        @param path: the reverse path; L{None} for the null one.
        @param blank: whether nothing stood behind C{MAIL FROM:}; then C{path} is L{None}.
        """
        places = [self._machine(address)]
        if path is None:
            places.append(self._special.get("blank" if blank else "null"))
        else:
            places += [self._mailboxes.get(path.key), self._domains.get(path.domain)]
        found = min((place for place in places if place is not None), default=None)
        if path is not None and self._globs:
            text = f"{path.key[0].replace('@', ' ')}@{path.key[1]}"  # what is quoted may hold an @, and no * is one
            for place, glob in self._globs:
                if found is not None and place > found:
                    break
                if glob.match(text):
                    found = place
                    break
        return None if found is None else self.rules[found]


_SPECIAL = {"#blank": "blank", "#<>": "null", "#<": "null"}  # the seed prints #<, spec 9


def readEffect(file: str, data: bytes, faults: list[Fault]) -> EffectTable:
    """
    Read an effect.dat.

    @param file: its name as configured.
    @param faults: gets what is wrong, all of it.
    """
    entries = []
    for line in lines(file, data, faults):
        found = _PATTERN.match(line.text.strip())
        assert found is not None  # the line is not blank
        wrong = _wrongPattern(line, found[1])
        rule = _rule(line, found[2])
        if wrong:
            faults.append(wrong)
            if found[1].startswith("#"):
                continue  # it was meant as a comment, perhaps: what stands behind is no kind
        if isinstance(rule, Fault):
            faults.append(rule)
        elif not wrong:
            entries.append((found[1], rule))
    return EffectTable(entries)


def _wrongPattern(line: Line, text: str) -> Fault | None:
    """What is wrong with a pattern."""
    try:
        if text.startswith("#"):
            return None if text.lower() in _SPECIAL else line.fault(f"unknown word {text}", "#blank or #<>")
        if isMachine(text):
            network(text)
        elif "@" in text:
            mailboxPattern(text)
        else:
            domainPattern(text)
    except AddressError as error:
        return line.fault(f"{error}: {text}", "a domain, or user@domain, perhaps with *")
    except ValueError as error:
        return line.fault(str(error), MACHINES)
    return None


def _rule(line: Line, text: str) -> Rule | Fault:
    """Read what stands behind the pattern: nothing, a kind, or a kind, a comma and an option."""
    word, comma, option = (part.strip() for part in text.lower().partition(","))
    try:
        kind = Kind(word) if text else Kind.TRUE
    except ValueError:
        return line.fault(f'unknown kind "{word}"', "true, false, only, default or norelay")
    if not comma:
        option = "1"
    if option not in ("0", "1", "2"):
        return line.fault(f'unknown option "{option}"', "0, 1 or 2")
    if option == "2" and kind is not Kind.NORELAY:
        return line.fault(f"option 2 with {kind.value}", "0 or 1, or norelay,2")
    return Rule(kind, int(option), Because(line.file, line.number, line.text.strip()))
