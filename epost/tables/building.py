"""
Reading all tables into one directory, and what is wrong in them together, or right and may surprise.

What stands in one table alone is told by its reader. Here each fault needs two: an alias and the accounts, a list and
its members, a forwarding and what it leads to.
"""

from collections.abc import Mapping

from epost.mail.address import Address, parseAddress
from epost.mail.fault import Fault
from epost.tables.accounts import readAccounts
from epost.tables.aliases import AliasTable, readAliases
from epost.tables.details import readDetails
from epost.tables.directory import Directory, Ground
from epost.tables.effect import readEffect
from epost.tables.hops import readHops
from epost.tables.lists import readLists

ROLES = ("effect", "gateway", "accounts", "details", "aliases", "lists")  # the keys of the texts that build takes


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
