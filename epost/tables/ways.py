"""
Where an address leads in the end: over aliases, and over what accounts forward.

Each alias and each account that forwards is used once on the way to an address, so that every way ends, and each
address is come to once. Whoever leads round in a circle all the same is a fault of the file. A list is an end: its
members are the business of whoever distributes its messages.
"""

import graphlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.mail.value import value


@value(frozen=True, slots=True)
class Way:
    """
    Where an address leads.

    @ivar address: an account, a list, an address outside, or nobody.
    @ivar by: the alias or the account here that leads there last, which a sender outside may have to be rewritten for
        (SRS); L{None}: it is the address itself.
    """

    address: Address
    by: Address | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    """
    What leads on from an address.

    @ivar name: what it is called: the pattern of an alias, the address of an account.
    @ivar file: where it stands.
    """

    name: Address
    targets: tuple[Address, ...]
    file: str
    line: int

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.file, self.line


@dataclass(frozen=True, slots=True)
class Walk:
    """All ends of an address, as ways and as addresses."""

    ways: tuple[Way, ...]
    ends: tuple[Address, ...]


Signs = Callable[[Address], Iterable[Sign]]


class Known:
    """
    What was walked before, for as long as the tables stay: a group of a thousand costs milliseconds.

    It is for names that stand in a table: a stranger can make up no others.

    @param limit: how many ends are kept; the oldest walks go.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._walks: dict[tuple[Address, bool], Walk] = {}
        self._room = limit

    def __len__(self) -> int:
        return len(self._walks)

    def find(self, start: Address, forwards: bool, signs: Signs) -> Walk:
        """What L{walk} finds. @param forwards: tells two kinds of walks from one start."""
        found = self._walks.get((start, forwards))
        if found is None:
            found = self._walks[start, forwards] = walked(walk(start, signs))
            self._room -= len(found.ends)
            while self._room < 0:
                self._room += len(self._walks.pop(next(iter(self._walks))).ends)
        return found


def walked(ways: tuple[Way, ...]) -> Walk:
    """Some ways, with their ends."""
    return Walk(ways, tuple([way.address for way in ways]))


def walk(start: Address, signs: Signs) -> tuple[Way, ...]:
    """
    Every end that an address leads to.

    @param signs: what leads on from an address; the first that was not yet used on the way is followed. A sign that
        leads to where it stands means "and here too".
    @return: at least one, each address once, in the order of the lines.
    """
    found: dict[Address, Way] = {}
    seen = {start}
    todo: list[tuple[Way, tuple[tuple[str, int], ...]]] = [(Way(start), ())]
    while todo:
        way, used = todo.pop()
        here = way.address
        sign = next((one for one in signs(here) if one.key not in used), None)
        if sign is None:
            found.setdefault(here, way)
            continue
        further = []
        for target in sign.targets:
            if target == here:
                further.append((way, (*used, sign.key)))
            elif target not in seen:
                seen.add(target)
                further.append((Way(target, here), (*used, sign.key)))
        todo += reversed(further)
    return tuple(found.values()) or (Way(start),)


def circles(every: Iterable[Sign], signs: Signs) -> Iterator[Fault]:
    """
    Signs that lead back to themselves over others; one that leads to itself alone is no circle.

    @param every: all signs that there are.
    """
    known = {sign.key: sign for sign in every}
    onward = {sign.key: [key for key in _onward(sign, signs) if key != sign.key] for sign in known.values()}
    while True:
        try:
            graphlib.TopologicalSorter(onward).prepare()
            return
        except graphlib.CycleError as error:
            circle = [known[key] for key in error.args[1][:0:-1]]  # each leads to the one behind it, the last round
        last = max(range(len(circle)), key=lambda place: circle[place].key)
        names = [str(sign.name) for sign in (*circle[last:], *circle[: last + 1])]
        sign = circle[last]
        expected = "aliases and forwarding that lead to an account or outside"
        yield Fault(sign.file, sign.line, f"a circle, {' to '.join(names)}", expected)
        del onward[sign.key]


def _onward(sign: Sign, signs: Signs) -> Iterator[tuple[str, int]]:
    """The signs that come behind one."""
    for target in sign.targets:
        chain = [then.key for then in signs(target)]
        if target == sign.name and sign.key in chain:  # "and here too": only what comes behind it here
            chain = chain[chain.index(sign.key) + 1 :]
        yield from chain[:1]
