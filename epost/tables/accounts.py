"""
accounts.dat: who has a mailbox here, in the columns of E-Post's text import and export (spec 5).

    Account TAB Pass TAB Fullname TAB Domain TAB Home TAB SMTPauthflag TAB APOPflag TAB MailBoxSize TAB POP3 TAB IMAP4

Columns at the end may be missing; Domain may be, where one domain is local. Flags are 0 or 1, MailBoxSize is in octets,
0 or nothing is no limit. Pass stands in clear or as C{{scheme}hash}. No message of ours ever repeats it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.fault import Fault
from epost.mail.route import Local
from epost.tables.details import Details
from epost.tables.lines import Line, lines

COLUMNS = (
    "Account",
    "Pass",
    "Fullname",
    "Domain",
    "Home",
    "SMTPauthflag",
    "APOPflag",
    "MailBoxSize",
    "POP3",
    "IMAP4",
)
_NO_FOLDER = re.compile(r"[/\\%:\x00-\x1f\x7f]|\A\.|[. ]\Z")


@dataclass(frozen=True, slots=True)
class Account:
    """
    A line of accounts.dat.

    @ivar address: the account with its domain.
    @ivar secret: the password or its hash, as it stands there.
    @ivar octets: the limit of the mailbox; 0: none of its own.
    @ivar box: its mailbox.
    @ivar line: where it stands.
    @ivar details: what accounts.toml says of it.
    """

    address: Address
    secret: str = field(repr=False)
    fullname: str
    home: str
    auth: bool
    apop: bool
    octets: int
    pop3: bool
    imap4: bool
    box: Local
    line: int
    details: Details = field(default_factory=Details, repr=False)


class AccountTable:
    """An accounts.dat that was read. It never changes."""

    __slots__ = ("_accounts",)

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = {account.address.key: account for account in accounts}

    def find(self, address: Address) -> Account | None:
        """The account that an address names, whatever the case."""
        return self._accounts.get(address.key)

    def isAccount(self, address: Address) -> bool:
        """Whether an address is the name of an account."""
        return address.key in self._accounts

    def at(self, box: Local) -> Account | None:
        """The account whose mailbox it is."""
        return self._accounts.get((box.user, box.domain))

    def detailed(self, details: Mapping[tuple[str, str], Details]) -> "AccountTable":
        """The same accounts with their details. @param details: by C{Address.key}."""
        if not details:
            return self
        return AccountTable(
            replace(account, details=details[key]) if key in details else account
            for key, account in self._accounts.items()
        )

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)


def readAccounts(file: str, data: bytes, local: Sequence[str], faults: list[Fault]) -> AccountTable:
    """
    Read an accounts.dat.

    @param file: its name as configured.
    @param local: the local domains, as A-labels in lower case.
    @param faults: gets what is wrong, all of it.
    """
    known: dict[tuple[str, str], Account] = {}
    for line in lines(file, data, faults):
        columns = [column.strip() for column in line.text.split("\t")]
        if tuple(columns[:2]) == COLUMNS[:2]:
            continue  # an export's header
        account = _account(line, columns, local, faults)
        if account is None:
            continue
        first = known.setdefault(account.address.key, account)
        if first is not account:
            faults.append(line.fault(f"{account.address} stands in line {first.line} too", "each account once"))
    return AccountTable(known.values())


def _account(line: Line, columns: list[str], local: Sequence[str], faults: list[Fault]) -> Account | None:
    """One line; L{None} where it has a fault."""
    before = len(faults)
    if not 2 <= len(columns) <= len(COLUMNS):
        expected = f"2 to {len(COLUMNS)}, separated by TAB: {', '.join(COLUMNS)}"
        faults.append(line.fault(f"{len(columns)} columns", expected))
        return None
    row = dict(zip(COLUMNS, columns + [""] * (len(COLUMNS) - len(columns)), strict=True))
    address = _address(line, row["Account"], row["Domain"], local, faults)
    flags = {}
    for name in ("SMTPauthflag", "APOPflag", "POP3", "IMAP4"):
        if row[name] not in ("", "0", "1"):
            faults.append(line.fault(f'{name} "{row[name]}"', "0 or 1"))
        flags[name] = row[name] != "0"
    size = row["MailBoxSize"] or "0"
    if not (size.isascii() and size.isdecimal()):
        faults.append(line.fault(f'MailBoxSize "{size}"', "octets, 0 or nothing for no limit"))
    if address is None or len(faults) > before:
        return None
    return Account(
        address,
        row["Pass"],
        row["Fullname"],
        row["Home"],
        flags["SMTPauthflag"],
        flags["APOPflag"],
        int(size),
        flags["POP3"],
        flags["IMAP4"],
        Local(*address.key),
        line.number,
    )


def _address(line: Line, name: str, domain: str, local: Sequence[str], faults: list[Fault]) -> Address | None:
    """The address of an account, whose name must also do as that of a folder."""
    if not domain and len(local) == 1:
        domain = local[0]
    expected = "a name that a folder can have: no / \\ % :, no dot at its ends"
    # What stands here may be a password where TABs are missing: it is not repeated.
    if not name or _NO_FOLDER.search(name):
        faults.append(line.fault("the 1st column is no account", expected))
        return None
    try:
        address = parseAddress(name if "@" in name else f"{name}@{domain}")
    except AddressError:
        faults.append(
            line.fault("the account and its domain are no address", "columns separated by TAB, Domain the 4th")
        )
        return None
    if address.domain not in local:
        expected = f"one of [domains] local: {', '.join(local) or 'none'}"
        faults.append(line.fault(f"{address.domain} is not local", expected))
        return None
    return address
