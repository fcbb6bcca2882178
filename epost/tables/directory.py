"""
All that decisions are made from, as one frozen snapshot: the tables, and what the configuration says beside them.

A daemon has one L{Directory} at a time. When a table changes a new one is built from all of them, and takes the place
of the old one only if nothing is wrong (spec 3, all or nothing); every fault of every table is told at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from epost.mail.address import Address, parseAddress
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.tables.accounts import Account, AccountTable, readAccounts
from epost.tables.aliases import Alias, AliasTable, filled, readAliases, spelled
from epost.tables.details import readDetails
from epost.tables.effect import EffectTable, Rule, readEffect
from epost.tables.hops import HopTable, readHops
from epost.tables.lists import List, ListTable, readLists
from epost.tables.patterns import Network, Networks
from epost.tables.ways import Known, Sign, Walk, Way, circles, walk, walked

ROLES = ("effect", "gateway", "accounts", "details", "aliases", "lists")  # the keys of the texts that build takes


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What the configuration says that decisions need.

    @ivar file: the configuration's name, for faults.
    @ivar name: the server's.
    @ivar local: 運用ドメイン, in order, as domains are compared.
    @ivar postmaster: who gets mail for C{postmaster}; L{None} where it is not set.
    @ivar postmasterLine: where it is set, or should be.
    @ivar networks: whose clients may write as internal accounts.
    @ivar gateway: SMTPゲートウェイ; L{None}: by MX.
    @ivar mailboxes: whether there are any here.
    @ivar boxOctets: the limit of a mailbox that has none of its own; 0: none.
    @ivar listening: the addresses and ports that are surely ours.
    @ivar separator: what divides a local part from a tag of its owner's (C{user+tag@}); empty: nothing does.
    @ivar gateways: whose clients hand over what strangers sent, and are believed nothing.
    """

    file: str
    name: str
    local: tuple[str, ...] = ()
    postmaster: Address | None = None
    postmasterLine: int = 1
    networks: tuple[Network, ...] = ()
    gateway: Hop | None = None
    mailboxes: bool = False
    boxOctets: int = 0
    listening: frozenset[Hop] = frozenset()
    separator: str = ""
    gateways: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Directory:
    """
    A snapshot. @ivar ground: what the configuration says.

    @ivar literals: the address literals that name this server, as far as its endpoints tell.
    @ivar posters: for each list, by C{Address.key}, who may write to it, members of lists that it names included;
        L{None}: anybody.
    """

    ground: Ground
    effect: EffectTable = field(default_factory=EffectTable)
    hops: HopTable = field(default_factory=HopTable)
    accounts: AccountTable = field(default_factory=AccountTable)
    aliases: AliasTable = field(default_factory=AliasTable)
    lists: ListTable = field(default_factory=ListTable)
    networks: Networks = field(init=False)
    gateways: Networks = field(init=False)
    local: frozenset[str] = field(init=False)
    literals: frozenset[str] = field(init=False)
    posters: Mapping[tuple[str, str], frozenset[Address] | None] = field(init=False, repr=False)
    _known: Known = field(init=False, repr=False, compare=False, default_factory=Known)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "networks", Networks((network, 0) for network in self.ground.networks))
        set_(self, "gateways", Networks((network, 0) for network in self.ground.gateways))
        set_(self, "local", frozenset(self.ground.local))
        own = (hop.host for hop in self.ground.listening)
        set_(self, "literals", frozenset(f"[IPv6:{host}]" if ":" in host else f"[{host}]" for host in own))
        posters = {one.address.key: one.posters for one in self.lists}
        open_ = {key: None if people is None else frozenset(self._people(people)) for key, people in posters.items()}
        set_(self, "posters", open_)

    def believes(self, machine: str) -> bool:
        """Whether who comes from an IP address is one of ours without AUTH: a gateway only passes on what is said."""
        return machine in self.networks and machine not in self.gateways

    def isLocal(self, domain: str) -> bool:
        """Whether a domain is ours: one of 運用ドメイン, none at all, or an address literal that names us."""
        return domain in self.local or not domain or domain in self.literals

    def isInside(self, address: Address) -> bool:
        """Whether mail for an address stays here, as far as nobody has it sent on: a local domain, our postmaster."""
        return self.isLocal(address.domain) or self.postmasterFor(address) is not None

    def isAccount(self, address: Address) -> bool:
        """Whether an address is an account itself."""
        return self.accounts.isAccount(address)

    def account(self, address: Address) -> Account | None:
        """The account that an address is, aliases left aside."""
        return self.accounts.find(self.normal(address))

    def list(self, address: Address) -> List | None:
        """The mailing list that an address is, aliases left aside."""
        return self.lists.find(self.normal(address))

    def isName(self, address: Address) -> bool:
        """Whether a table has just this name: of an account, an alias or a list."""
        return self.isAccount(address) or bool(self.aliases.exact(address) or self.lists.find(address))

    def normal(self, address: Address) -> Address:
        """
        An address by the name that tables know.

        One at an address literal of ours is one of our first domain; one with a tag (plus-addressing) is the one
        without, unless a table has the whole.

        @return: C{address} itself where there is nothing to do.
        """
        if address.domain in self.literals and self.ground.local:
            domain = self.ground.local[0]
            address = Address(f"{address.text.rpartition('@')[0]}@{domain}", address.local, domain)
        if not self.ground.separator or address.domain not in self.local or self.isName(address):
            return address
        plain = self._untagged(address)
        return plain if self.isName(plain) or self.postmasterFor(plain) is not None else address

    def _untagged(self, address: Address) -> Address:
        """An address without its tag, as far as it has one."""
        separator = self.ground.separator
        place = address.local.find(separator, 1) if separator else -1
        return address if place < 0 else spelled(address.local[:place], address.domain)

    def rule(self, client: str, path: Address | None, blank: bool) -> Rule | None:
        """
        The first line of effect.dat that matches; see L{EffectTable.first}.

        A sender is looked for with its tag and without: a tag is no way round a line.
        """
        found = self.effect.first(client, path, blank)
        plain = None if path is None else self._untagged(path)
        if plain is path:
            return found
        other = self.effect.first(client, plain, blank)
        return min((rule for rule in (found, other) if rule), key=lambda rule: rule.because.line, default=None)

    def exists(self, address: Address) -> bool:
        """
        Whether a local address is known: account, list, postmaster, or an alias that leads to somebody.

        A wildcard alias matches any name that a stranger invents: what leads to nobody is refused now, or it would
        have to be returned to a sender whom anybody can forge.
        """
        address = self.normal(address)
        if self.isSomebody(address):
            return True
        if self.aliases.find(address, self.isName) is None:
            return False
        return any(self.isSomebody(target) for target in self.aliased(address))

    def isSomebody(self, target: Address) -> bool:
        """Whether there is anybody where an alias leads; of addresses outside nobody here can tell."""
        if not self.isLocal(target.domain) or self.isAccount(target) or self.lists.find(target) is not None:
            return True
        return self.postmasterFor(target) is not None

    def ways(self, address: Address) -> tuple[Way, ...]:
        """
        Where an address leads over aliases and forwarding: at least itself, each end once. A list is an end.

        What has not moved is as the asker wrote it, what has is as the tables spell it.
        """
        return self._walked(address, forwards=True).ways

    def expand(self, address: Address) -> tuple[Address, ...]:
        """The addresses of L{ways}."""
        return self._walked(address, forwards=True).ends

    def aliased(self, address: Address) -> tuple[Address, ...]:
        """Where an address leads over aliases alone: whom it names, whatever they have done with their mail."""
        return self._walked(address, forwards=False).ends

    def _walked(self, address: Address, forwards: bool) -> Walk:
        """What is behind an address, which for most is nothing: this is asked for every message."""
        address = self.normal(address)
        start = self.postmasterFor(address) or address
        alias = self.aliases.find(start, self.isName)
        signs = partial(self._signs, forwards=forwards)
        if alias is not None:
            if alias.wild and any("*" in target.local for target in alias.targets):
                return self._carried(start, alias, forwards) or walked(walk(start, signs))  # each name has its own way
            return self._known.find(alias.pattern, forwards, signs)
        account = self.accounts.find(start) if forwards else None
        if account is None or not account.details.forward:
            return Walk((Way(start),), (start,))
        return self._known.find(account.address, forwards, signs)

    def _carried(self, start: Address, alias: Alias, forwards: bool) -> Walk | None:
        """Where a wildcard leads by way of a single name that a table has, and may know the way from there on."""
        target, *others = map(self.normal, filled(alias, start))
        if others or target == start or not self.isName(target):
            return None
        found = self._walked(target, forwards)
        if all(way.by for way in found.ways):
            return found
        return walked(tuple([way if way.by else Way(way.address, start) for way in found.ways]))

    def named(self, address: Address) -> tuple[Account, ...]:
        """The accounts that an address names: itself, or whom its aliases lead to."""
        found = map(self.accounts.find, self.aliased(address))
        return tuple(account for account in found if account is not None)

    def _people(self, addresses: Iterable[Address], seen: tuple[Address, ...] = ()) -> Iterator[Address]:
        """Whom some addresses name, themselves and the members of lists among them."""
        for address in addresses:
            yield self.normal(address)
            for end in self.aliased(address):
                inner = self.lists.find(end)
                if inner is not None and end not in seen:
                    yield from self._people(inner.members, (*seen, end))
                yield end

    def _signs(self, address: Address, forwards: bool = True, lists: bool = False) -> Iterator[Sign]:
        """
        What leads on from an address: its alias, and, where that says "and here too", what its account forwards.

        @param lists: whether a list leads on to its members.
        """
        alias = self.aliases.find(address, self.isName)
        if alias is not None:
            targets = tuple(map(self.normal, filled(alias, address)))
            yield Sign(alias.pattern, targets, alias.line.file, alias.line.number)
            if address not in targets:
                return
        account = self.accounts.find(address) if forwards else None
        if account is not None and account.details.forward:
            yield self._forward(account)
        one = self.lists.find(address) if lists else None
        if one is not None:
            yield self._list(one)

    def _list(self, one: List) -> Sign:
        """The members of a list."""
        return Sign(one.address, tuple(map(self.normal, one.members)), one.file, one.line)

    def _forward(self, account: Account) -> Sign:
        """What an account forwards."""
        details = account.details
        here = (account.address,) if details.keep else ()
        because = details.lines["forward"]
        return Sign(account.address, (*here, *map(self.normal, details.forward)), because.table, because.line)

    def circles(self) -> Iterator[Fault]:
        """Whatever leads round in a circle."""
        signs = [
            Sign(alias.pattern, tuple(map(self.normal, alias.targets)), alias.line.file, alias.line.number)
            for alias in self.aliases
        ]
        signs += [self._forward(account) for account in self.accounts if account.details.forward]
        signs += map(self._list, self.lists)
        return circles(signs, partial(self._signs, lists=True))

    def postmasterFor(self, address: Address) -> Address | None:
        """
        Who gets the mail for our postmaster (RFC 5321 4.5.1): bare, at a local domain, at the server's own name.

        @return: L{None} for other addresses, and where a table has just this name.
        """
        if address.key[0] != "postmaster":
            return None
        if not self.isLocal(address.domain) and address.domain != self.ground.name:
            return None
        if address.domain in self.local and self.isName(address):
            return None
        if self.ground.postmaster is not None:
            return self.ground.postmaster
        known = (Address(f"postmaster@{domain}", "postmaster", domain) for domain in self.ground.local[:1])
        return next((one for one in known if self.isName(one)), None)


def build(
    ground: Ground,
    texts: Mapping[str, tuple[str, bytes]],
    faults: list[Fault],
    notes: list[Fault],
    members: Mapping[str, bytes] | None = None,
) -> Directory:
    """
    Read all tables.

    @param texts: for each of L{ROLES} that has a table, its name as configured and its octets.
    @param faults: gets what is wrong in any of them. Where it got something the directory is not to be used.
    @param notes: gets what is right and may surprise.
    @param members: the files that the table of lists names, by name, as far as they can be read.
    """
    empty = ("", b"")
    accounts = readAccounts(*texts.get("accounts", empty), ground.local, faults)
    aliases = readAliases(*texts.get("aliases", empty), ground.local, faults)

    def taken(address: Address) -> str | None:
        return "an account" if accounts.isAccount(address) else "an alias" if aliases.exact(address) else None

    lists = readLists(*texts.get("lists", empty), members or {}, ground.local, taken, faults)
    owners = [alias for one in lists for alias in one.aliases if not taken(alias.pattern)]
    directory = Directory(
        ground,
        readEffect(*texts.get("effect", empty), faults),
        readHops(*texts.get("gateway", empty), faults, notes),
        accounts.detailed(readDetails(*texts.get("details", empty), accounts.isAccount, faults)),
        AliasTable([*aliases, *(alias for alias in owners if lists.find(alias.pattern) is None)]) if lists else aliases,
        lists,
    )
    for hop, because in directory.hops.hops:
        if hop in ground.listening:
            faults.append(Fault(because.table, because.line, f"{hop} is this server itself", "another host"))
    faults += directory.circles()
    if not faults:
        _postmasterNotes(directory, faults, notes)
        _aliasNotes(directory, notes)
        _accountNotes(directory, faults, notes)
        _listNotes(directory, faults, notes)
    return directory


def _aliasNotes(directory: Directory, notes: list[Fault]) -> None:
    """Whether aliases lead to somebody; a wildcard may lead to many, of whom some are."""
    owners = {alias.pattern for one in directory.lists for alias in one.aliases}  # of whom the list's note tells
    for alias in directory.aliases:
        for target in alias.targets if not alias.wild and alias.pattern not in owners else ():
            there = directory.normal(target)
            if not directory.isSomebody(there) and directory.aliases.find(there, directory.isName) is None:
                why = f"{alias.pattern} leads to {target}, who is nobody"
                notes.append(alias.line.fault(why, "an account or an alias"))


def _accountNotes(directory: Directory, faults: list[Fault], notes: list[Fault]) -> None:
    """Whether what is forwarded gets somewhere, and whether there is anybody where an account may write as another."""
    for account in directory.accounts:
        lines = account.details.lines
        for target in account.details.forward:
            where = lines["forward"]
            if directory.isLocal(target.domain) and not directory.exists(target):
                why = f"{account.address} forwards to {target}, who is nobody"
                notes.append(Fault(where.table, where.line, why, "an account, an alias or an address outside"))
            found = next((one for one in directory.expand(target) if directory.lists.find(one) is not None), None)
            if found is not None:  # a list asks who writes, and whoever forwards does not write
                why = f"{account.address} forwards to the list {found}"
                faults.append(Fault(where.table, where.line, why, "people; an alias may lead to a list"))
        for granted in account.details.senders:
            domain = granted.rpartition("@")[2]
            if "*" not in granted and directory.isLocal(domain) and not directory.exists(parseAddress(granted)):
                where = lines["senders"]
                why = f"{account.address} may write as {granted}, who is nobody, and will be refused"
                notes.append(Fault(where.table, where.line, why, "an account or an alias"))


def _isList(directory: Directory, address: Address) -> bool:
    """Whether an address is a list, or leads to one: then a notice to it, which no list takes, finds nobody."""
    return any(directory.lists.find(end) is not None for end in directory.expand(address))


def _listNotes(directory: Directory, faults: list[Fault], notes: list[Fault]) -> None:
    """Whether the owner and the members of a list are somebody, and the owner is a person."""
    for one in directory.lists:
        if _isList(directory, one.owner):
            why = f"{one.owner}, owner of {one.address}, is a list, which takes no notices"
            faults.append(Fault(one.file, one.line, why, "people; an alias may lead to several"))
        for person in (one.owner, *one.members):
            if directory.isLocal(person.domain) and not directory.exists(person):
                role = "owner" if person is one.owner else "member"
                why = f"{person}, {role} of {one.address}, is nobody"
                notes.append(Fault(one.file, one.line, why, "an account, an alias or an address outside"))


def _postmasterNotes(directory: Directory, faults: list[Fault], notes: list[Fault]) -> None:
    """Whether mail for the postmaster finds somebody (RFC 5321 4.5.1)."""
    ground = directory.ground
    bare = Address("postmaster", "postmaster", "")
    if ground.postmaster is None:
        if not directory.exists(bare):
            key = "[domains] postmaster" if ground.mailboxes else "[server] postmaster"
            why = "nobody gets mail for postmaster (RFC 5321 4.5.1)"
            notes.append(Fault(ground.file, ground.postmasterLine, why, f"{key} with the address of an account"))
    elif directory.isLocal(ground.postmaster.domain) and not directory.exists(ground.postmaster):
        why = f"postmaster {ground.postmaster} is neither an account nor an alias"
        faults.append(Fault(ground.file, ground.postmasterLine, why, "the address of an account"))
    elif _isList(directory, ground.postmaster):
        why = f"postmaster {ground.postmaster} is a list, which takes no notices"
        faults.append(Fault(ground.file, ground.postmasterLine, why, "people; an alias may lead to several"))
