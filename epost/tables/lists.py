"""
lists.toml: small mailing lists (spec 5).

    ["staff@test.jp"]
    members = "staff.txt"               # beside this file: one address a line, comments as in effect.dat
    owner = "bucho@test.jp"             # gets what could not be delivered
    post = "members"                    # or "anybody", "owner", or a list of addresses; the owner always may
    name = "Staff"

A list is an address like an account, and the only one of its name. Its members stay in it: who expands the address of a
list gets that address, and whoever distributes the message asks for the members. Beside it there are two names of its
owner, C{staff-owner@test.jp} for people and C{staff-bounces@test.jp} for programs, unless a table has them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from epost.mail.address import LOCAL_OCTETS, Address, AddressError, parseAddress
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.tables import toml
from epost.tables.aliases import Alias, spelled
from epost.tables.lines import Line, lines

_KEYS = ("members", "owner", "post", "name")
_POST = 'one of "members", "anybody", "owner", or a list of addresses'


@dataclass(frozen=True, slots=True)
class List:
    """
    A mailing list.

    @ivar members: in order, each once.
    @ivar owner: whom what goes wrong is sent to.
    @ivar post: who may write to it: C{members}, C{anybody}, C{owner}, or addresses.
    @ivar name: as people call it.
    @ivar because: what says who may write.
    @ivar file: lists.toml, as configured.
    @ivar line: where it stands there.
    """

    address: Address
    members: tuple[Address, ...] = field(repr=False)
    owner: Address
    post: str | tuple[Address, ...]
    name: str
    because: Because
    file: str
    line: int

    @property
    def bounces(self) -> Address:
        """The reverse path of what it distributes; by its name programs know that they must not answer (RFC 3834 2)."""
        return spelled(f"{self.address.local}-bounces", self.address.domain)

    @property
    def keeper(self) -> Address:
        """Whom people write to about it."""
        return spelled(f"{self.address.local}-owner", self.address.domain)

    @property
    def aliases(self) -> tuple[Alias, Alias]:
        """The names of its owner."""
        line = Line(self.file, self.line, f"{self.address}")
        return (Alias(self.bounces, (self.owner,), line), Alias(self.keeper, (self.owner,), line))

    @property
    def posters(self) -> tuple[Address, ...] | None:
        """Who may write to it, aliases and lists among them as they stand there; L{None}: anybody."""
        if self.post == "anybody":
            return None
        others = self.members if self.post == "members" else self.post
        return (self.owner, *others) if isinstance(others, tuple) else (self.owner,)


class ListTable:
    """A lists.toml that was read. It never changes."""

    __slots__ = ("_lists",)

    def __init__(self, lists: Iterable[List] = ()) -> None:
        self._lists = {one.address.key: one for one in lists}

    def find(self, address: Address) -> List | None:
        """The list of a name, whatever the case."""
        return self._lists.get(address.key)

    def __iter__(self) -> Iterator[List]:
        return iter(self._lists.values())

    def __len__(self) -> int:
        return len(self._lists)


def memberFiles(file: str, data: bytes) -> dict[str, int]:
    """The files of members that a lists.toml names, each with the first line that does; what is wrong is left out."""
    found: dict[str, int] = {}
    for part in toml.parts(file, data, []):
        name = part.read("members", toml.line, "", "") if "members" in part.values else ""
        if name:
            found.setdefault(name, part.lineOf("members"))
    return found


def readLists(
    file: str,
    data: bytes,
    members: Mapping[str, bytes],
    local: Collection[str],
    taken: Callable[[Address], str | None],
    faults: list[Fault],
) -> ListTable:
    """
    Read a lists.toml.

    @param file: its name as configured.
    @param members: the files of members that could be read, by name; of others the fault is told already.
    @param local: the local domains.
    @param taken: what an address is already, in words; L{None} where nothing.
    @param faults: gets what is wrong, all of it.
    """
    known: dict[str, tuple[Address, ...]] = {name: _members(name, text, faults) for name, text in members.items()}
    found = []
    for part in toml.parts(file, data, faults):
        there = part.address
        if there.domain not in local:
            expected = f"one of [domains] local: {', '.join(local) or 'none'}"
            faults.append(Fault(file, part.line, f"{there.domain} is not local", expected))
        elif already := taken(there):
            faults.append(Fault(file, part.line, f"{there} is {already} too", "a name of its own"))
        else:
            one = _list(part, known)
            if len(one.bounces.text.rpartition("@")[0].encode()) > LOCAL_OCTETS:
                why = f"{there.local}-bounces, to which its mail would return, is longer than an address may be"
                room = LOCAL_OCTETS - len("-bounces")
                faults.append(Fault(file, part.line, why, f"a name of at most {room} octets before the @"))
            found.append(one)
    return ListTable(found)


def _list(part: toml.Part, known: Mapping[str, tuple[Address, ...]]) -> List:
    """One table; what is wrong in it is as if nothing stood there."""
    part.known(_KEYS)
    for key, example in (("members", '"staff.txt"'), ("owner", '"bucho@test.jp"')):
        if key not in part.values:
            part.fault(key, f"a list without {key}", f"{key} = {example}")
    everyone: str | tuple[Address, ...] = "members"
    post = part.read("post", _post, _POST, everyone)
    file = part.read("members", toml.line, "the name of a file of addresses", "")
    if part.address in known.get(file, ()):
        part.fault("members", f"{file} names the list itself", "people, or another list")
    return List(
        part.address,
        known.get(file, ()),
        part.read("owner", toml.address, "an address", part.address),
        post,
        part.read("name", toml.line, "a text of one line", part.address.local),
        part.because("post") if "post" in part.values else Because(part.file, part.line, f"{part.address}"),
        part.file,
        part.line,
    )


def _post(value: Any) -> str | tuple[Address, ...]:
    if isinstance(value, list):
        return toml.each(toml.address)(value)
    if value not in ("members", "anybody", "owner"):
        raise ValueError
    return str(value)


def _members(file: str, data: bytes, faults: list[Fault]) -> tuple[Address, ...]:
    """The addresses of a file, one a line."""
    found: dict[Address, None] = {}
    for line in lines(file, data, faults):
        text = line.text.strip()
        try:
            found.setdefault(parseAddress(text))
        except AddressError as error:
            faults.append(line.fault(f"{error}: {text}", "one address a line"))
    return tuple(found)
