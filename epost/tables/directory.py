"""
All that decisions are made from, as one frozen snapshot: the tables, and what the configuration says beside them.

A daemon has one L{Directory} at a time. When a table changes a new one is built from all of them, and takes the place
of the old one only if nothing is wrong (spec 3, all or nothing); every fault of every table is told at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.tables.accounts import Account, AccountTable
from epost.tables.aliases import Alias, AliasTable, filled, spelled
from epost.tables.effect import EffectTable, Rule
from epost.tables.hops import HopTable
from epost.tables.lists import List, ListTable
from epost.tables.patterns import Network, Networks
from epost.tables.ways import Known, Sign, Walk, Way, circles, walk, walked


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
