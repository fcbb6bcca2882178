"""
accounts.dat: who has a mailbox here, in the columns of E-Post's text import and export (spec 5).

    Account TAB Pass TAB Fullname TAB Domain TAB Home TAB SMTPauthflag TAB APOPflag TAB MailBoxSize TAB POP3 TAB IMAP4

Columns at the end may be missing; Domain may be, where one domain is local. Flags are 0 or 1, MailBoxSize is in octets,
0 or nothing is no limit. Pass stands in clear or as C{{scheme}hash}. No message of ours ever repeats it.
"""

import re
import stringprep
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.fault import Fault
from epost.mail.route import Local
from epost.mail.safe import CONTROL
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
# E-Post's mailboxes are folders of Windows: a name that it could not have is refused here too, before it is exported.
_NO_FOLDER = re.compile(r'[<>:"/\\|?*%@]|\A\.|\.\Z|\A(?:con|prn|aux|nul|(?:com|lpt)[1-9])\Z', re.IGNORECASE)
NAMES = (
    'a name that a folder can have: none of < > : " / \\ | ? * % @, no dot or blank at its ends, no device such as con'
)


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

    __slots__ = ("_accounts", "_looks")

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = {account.address.key: account for account in accounts}
        self._looks = {looks(one.address): one for one in self._accounts.values() if not one.address.ascii}

    def find(self, address: Address) -> Account | None:
        """The account that an address names, whatever the case."""
        return self._accounts.get(address.key)

    def alike(self, address: Address) -> Account | None:
        """The account whose name looks like an address; nobody's mail, but whoever types it means that one."""
        return self._accounts.get(seen := looks(address)) or self._looks.get(seen)

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
    Read an accounts.dat. Of two accounts whose names look alike the second is a fault: people would mix them up.

    @param file: its name as configured.
    @param local: the local domains, as A-labels in lower case.
    @param faults: gets what is wrong, all of it.
    """
    known: dict[tuple[str, str], Account] = {}  # by what is seen of their names
    for line in lines(file, data, faults):
        columns = [column.strip() for column in line.text.split("\t")]
        if tuple(columns[:2]) == COLUMNS[:2]:
            continue  # an export's header
        account = _account(line, columns, local, faults)
        if account is None:
            continue
        first = known.setdefault(looks(account.address), account)
        if first.address != account.address:
            why = f"{account.address} looks like {first.address} in line {first.line}"
            faults.append(line.fault(why, "names that can be told apart"))
        elif first is not account:
            faults.append(line.fault(f"{account.address} stands in line {first.line} too", "each account once"))
    return AccountTable(known.values())


def fits(name: str) -> bool:
    """Whether an account may have a name, unquoted: one that is seen, and that a folder could have."""
    return not (CONTROL.search(name) or _NO_FOLDER.search(name)) and name == name.strip() and bool(_seen(name))


def looks(address: Address) -> tuple[str, str]:
    """What is the same for two addresses that look the same: but for case, width, ligatures, and what is not seen."""
    return _seen(address.key[0]), address.domain


def _seen(name: str) -> str:
    """A name by what is seen of it; two that SASLprep makes one are one (RFC 4013)."""
    if name.isascii():
        return name.lower()
    there = (c for c in name if not stringprep.in_table_b1(c) and unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "".join(there)).lower())


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
    if not (size.isascii() and size.isdecimal() and len(size) <= 15):
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
    try:
        address = parseAddress(name if "@" in name else f"{name}@{domain}")
    except AddressError:
        address = None
    # What stands here may be a password where TABs are missing: it is not repeated.
    if not fits(address.local if address is not None else name):
        faults.append(line.fault("the 1st column is no account", NAMES))
        return None
    if address is None:
        faults.append(
            line.fault("the account and its domain are no address", "columns separated by TAB, Domain the 4th")
        )
        return None
    if address.domain not in local:
        expected = f"one of [domains] local: {', '.join(local) or 'none'}"
        faults.append(line.fault(f"{address.domain} is not local", expected))
        return None
    return address
