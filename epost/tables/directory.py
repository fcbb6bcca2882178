"""
All that decisions are made from, as one frozen snapshot: the tables, and what the configuration says beside them.

A daemon has one L{Directory} at a time. When a table changes a new one is built from all of them, and takes the place
of the old one only if nothing is wrong (spec 3, all or nothing); every fault of every table is told at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.tables.accounts import Account, AccountTable, readAccounts
from epost.tables.aliases import AliasTable, readAliases
from epost.tables.effect import EffectTable, readEffect
from epost.tables.hops import HopTable, readHops
from epost.tables.patterns import Network, Networks

ROLES = ("effect", "gateway", "accounts", "aliases")  # the keys of the texts that build takes


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


@dataclass(frozen=True, slots=True)
class Directory:
    """
    A snapshot. @ivar ground: what the configuration says.

    @ivar literals: the address literals that name this server, as far as its endpoints tell.
    """

    ground: Ground
    effect: EffectTable = field(default_factory=EffectTable)
    hops: HopTable = field(default_factory=HopTable)
    accounts: AccountTable = field(default_factory=AccountTable)
    aliases: AliasTable = field(default_factory=AliasTable)
    networks: Networks = field(init=False)
    local: frozenset[str] = field(init=False)
    literals: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "networks", Networks((network, 0) for network in self.ground.networks))
        set_(self, "local", frozenset(self.ground.local))
        own = (hop.host for hop in self.ground.listening)
        set_(self, "literals", frozenset(f"[IPv6:{host}]" if ":" in host else f"[{host}]" for host in own))

    def isLocal(self, domain: str) -> bool:
        """Whether a domain is ours: one of 運用ドメイン, none at all, or an address literal that names us."""
        return domain in self.local or not domain or domain in self.literals

    def isAccount(self, address: Address) -> bool:
        """Whether an address is an account itself."""
        return self.accounts.find(address) is not None

    def account(self, address: Address) -> Account | None:
        """The account that an address is, aliases left aside."""
        return self.accounts.find(self.normal(address))

    def normal(self, address: Address) -> Address:
        """
        An address by the name that tables know: one at an address literal of ours is one of our first domain.

        @return: C{address} itself where there is nothing to do.
        """
        if address.domain not in self.literals or not self.ground.local:
            return address
        domain = self.ground.local[0]
        return Address(f"{address.text.rpartition('@')[0]}@{domain}", address.local, domain)

    def exists(self, address: Address) -> bool:
        """
        Whether a local address is known: account, postmaster, or an alias that leads to somebody.

        A wildcard alias matches any name that a stranger invents: what leads to nobody is refused now, or it would
        have to be returned to a sender whom anybody can forge.
        """
        address = self.normal(address)
        if self.isAccount(address) or self.postmasterFor(address) is not None:
            return True
        if self.aliases.find(address, self.isAccount) is None:
            return False
        return any(self.isSomebody(target) for target in self.aliases.expand(address, self.isAccount))

    def isSomebody(self, target: Address) -> bool:
        """Whether there is anybody where an alias leads; of addresses outside nobody here can tell."""
        return not self.isLocal(target.domain) or self.isAccount(target) or self.postmasterFor(target) is not None

    def expand(self, address: Address) -> tuple[Address, ...]:
        """The addresses that one leads to; itself where no alias stands for it. Each once, at least one."""
        address = self.normal(address)
        postmaster = self.postmasterFor(address)
        return self.aliases.expand(postmaster or address, self.isAccount)

    def postmasterFor(self, address: Address) -> Address | None:
        """
        Who gets the mail for our postmaster (RFC 5321 4.5.1): bare, at a local domain, at the server's own name.

        @return: L{None} for other addresses, and where an account or an alias has just this name.
        """
        if address.key[0] != "postmaster":
            return None
        if not self.isLocal(address.domain) and address.domain != self.ground.name:
            return None
        if address.domain in self.local and (self.isAccount(address) or self.aliases.exact(address)):
            return None
        if self.ground.postmaster is not None:
            return self.ground.postmaster
        known = (Address(f"postmaster@{domain}", "postmaster", domain) for domain in self.ground.local[:1])
        return next((one for one in known if self.isAccount(one) or self.aliases.exact(one)), None)


def build(ground: Ground, texts: Mapping[str, tuple[str, bytes]], faults: list[Fault], notes: list[Fault]) -> Directory:
    """
    Read all tables.

    @param texts: for each of L{ROLES} that has a table, its name as configured and its octets.
    @param faults: gets what is wrong in any of them. Where it got something the directory is not to be used.
    @param notes: gets what is right and may surprise.
    """
    empty = ("", b"")
    accounts = readAccounts(*texts.get("accounts", empty), ground.local, faults)

    def isAccount(address: Address) -> bool:
        return accounts.find(address) is not None

    directory = Directory(
        ground,
        readEffect(*texts.get("effect", empty), faults),
        readHops(*texts.get("gateway", empty), faults, notes),
        accounts,
        readAliases(*texts.get("aliases", empty), ground.local, isAccount, faults),
    )
    for hop, because in directory.hops.hops:
        if hop in ground.listening:
            faults.append(Fault(because.table, because.line, f"{hop} is this server itself", "another host"))
    if not faults:
        _postmasterNotes(directory, faults, notes)
        _aliasNotes(directory, notes)
    return directory


def _aliasNotes(directory: Directory, notes: list[Fault]) -> None:
    """Whether aliases lead to somebody; a wildcard may lead to many, of whom some are."""
    for alias in directory.aliases:
        for target in alias.targets if not alias.wild else ():
            if not directory.isSomebody(target) and directory.aliases.find(target, directory.isAccount) is None:
                why = f"{alias.pattern} leads to {target}, who is nobody"
                notes.append(alias.line.fault(why, "an account or an alias"))


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
