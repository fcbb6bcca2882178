"""
accounts.dat and accounts.toml in the hands of a command: read, changed, checked, written.

The whole configuration is read with the new files in it before they take the place of the old ones. What the daemon
would refuse is told and nothing is changed, so a command never breaks the next reload (or start) of a daemon.

One file is changed at once (L{epost.control.files}); where both change it is done in steps, each of which a daemon may
read, and at each of which a power cut may come: accounts.toml has no table for an account that is not there, and no
account may log in without the restrictions that it has before and after.

A table of 0 octets, as an editor leaves it on a full disk, is not changed: what it held may be in force in a daemon
still, and one line written into it would take all else away. Who means it to be empty writes a comment, as we do here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from epost import loading
from epost.config import readSettings
from epost.control import files
from epost.control.account.dat import AccountFile
from epost.control.account.toml import DetailsFile
from epost.control.files import NOTHING
from epost.control.terminal import Failure, oneLine, remark
from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.storage.places import Places
from epost.tables.accounts import NAMES, Account, fits, looks
from epost.tables.directory import Directory

Step = tuple[str, bytes]
TRIES = 100  # to read tables that others change; each takes some milliseconds
PART = "only a part of the change was made: `epost account show` tells, set or remove mends it"


class Books:
    """
    The accounts of a configuration, as its files say.

    @ivar settings: the configuration.
    @ivar directory: all its tables.
    @ivar accounts: the path of accounts.dat, links followed.
    @ivar octets: what stands in it.
    @ivar details: the path of accounts.toml; L{None} where the configuration names none.
    @ivar detailOctets: what stands in it.
    """

    def __init__(self, config: str) -> None:
        """
        @param config: the configuration of a back-end.
        @raise Failure: something is wrong with it or its tables.
        """
        faults: list[Fault] = []
        settings = readSettings(config, "backend", faults)
        if settings is None or settings.mailboxes is None:
            raise Failure(*map(str, faults))
        self.settings = settings
        if settings.domains.accounts is None:
            line = settings.line("domains", "accounts")
            raise Failure(
                f'{config}:{line}: [domains] accounts is not set, expected a table: accounts = "accounts.dat"'
            )
        self.accounts = os.path.realpath(settings.path(settings.domains.accounts))
        self.details = None
        if settings.domains.details is not None:
            self.details = os.path.realpath(settings.path(settings.domains.details))
        for _ in range(TRIES):
            self._marks = self._look()
            found = [*faults]
            self._notes: list[Fault] = []
            self.directory = loading.readDirectory(settings, found, self._notes)
            if not found or self._look() == self._marks:
                break  # else one table may be older than the other
        if found:  # where accounts.dat is empty others are faulty because of it
            raise Failure(*self.emptied(), *map(str, sorted(found)))
        self.octets = Path(self.accounts).read_bytes()
        self.detailOctets = Path(self.details).read_bytes() if self.details else b""

    # What is known.

    def address(self, text: str) -> Address:
        """An address as an administrator writes it: without a domain where there is one alone."""
        if "@" not in text:
            local = self.settings.domains.local
            if len(local) != 1:
                raise Failure(f"{text}: of which domain? one of {', '.join(f'{text}@{domain}' for domain in local)}")
            text = f"{text}@{local[0]}"
        try:
            return parseAddress(text)
        except AddressError as error:
            raise Failure(f"{text}: {error}, expected the address of an account") from None

    def find(self, text: str) -> Account:
        """An account. @raise Failure: there is none of that name."""
        address = self.address(text)
        account = self.directory.accounts.find(address)
        if account is None:
            raise Failure(f"{address} is no account; `epost account list` names all")
        return account

    def vacant(self, text: str) -> Address:
        """An address that is no account yet. @raise Failure: it is one, looks like one, or cannot be one."""
        address = self.address(text)
        table, seen = self.settings.domains.accounts, looks(address)
        for account in self.directory.accounts:
            if account.address == address:
                raise Failure(f"{account.address} is an account already: {table}:{account.line}")
            if looks(account.address) == seen:
                raise Failure(f"{oneLine('the address', text)} looks like {account.address}: {table}:{account.line}")
        if not fits(address.local):
            raise Failure(f"{oneLine('the address', text)} cannot be an account, expected {NAMES}")
        if str(address).startswith("'"):
            raise Failure(f"{address}: a line that begins with ' is a comment")
        self._folder(Local(*address.key), address)
        return address

    def mailbox(self, account: Account) -> str:
        """The folder of a mailbox. @raise Failure: it can have none."""
        return self._folder(account.box, account.address)

    def _folder(self, box: Local, address: Address) -> str:
        try:
            return self.places.folders(box)[-1]
        except Refused:
            raise Failure(f"{address} can have no mailbox: the name of its folder would be too long") from None

    @property
    def places(self) -> Places:
        """Where the mailboxes are."""
        return Places(str(self.settings.folder), str(self.settings.place))

    def emptied(self) -> list[str]:
        """Why the tables cannot be changed: those of 0 octets, in words."""
        paths = [path for path in (self.accounts, self.details) if path]
        why, expected = "is empty, as an editor leaves a file on a full disk", "what it held, from a backup"
        return [
            str(Fault(path, 1, why, f"{expected}; if it is meant to be empty, one line: {loading.comment(path)}"))
            for path, mark in zip(paths, self._marks, strict=True)
            if mark is not None and mark[1] == 0
        ]

    def intact(self) -> "Books":
        """These, for whoever is going to change them. @raise Failure: a table is empty."""
        if emptied := self.emptied():
            raise Failure(*emptied, NOTHING)
        return self

    # What is changed.

    def lines(self) -> AccountFile:
        """accounts.dat, to be changed."""
        return AccountFile(str(self.settings.domains.accounts), self.octets)

    def tables(self) -> DetailsFile:
        """accounts.toml, to be changed. @raise Failure: the configuration names none."""
        if self.details is None:
            line = self.settings.line("domains", "details")
            why = "[domains] details is not set, and what has no column in accounts.dat stands there"
            raise Failure(f'{self.settings.file}:{line}: {why}, expected details = "accounts.toml" (and a restart)')
        return DetailsFile(str(self.settings.domains.details), self.detailOctets)

    def knownTables(self) -> DetailsFile:
        """accounts.toml, or an empty one where the configuration names none."""
        return DetailsFile(str(self.settings.domains.details or ""), self.detailOctets)

    def step(self, text: AccountFile | DetailsFile) -> Step:
        """What is to be written of a file as it was changed so far."""
        path = self.accounts if isinstance(text, AccountFile) else str(self.details)
        return path, text.octets() or f"{loading.comment(path)}\n".encode()

    def detailed(self, address: Address, values: dict[str, Any]) -> DetailsFile:
        """accounts.toml with other values in the table of an account; L{None}: the key goes."""
        tables = self.tables()
        for key, value in values.items():
            tables.put(address, key, value)
        return tables

    def write(self, *steps: Step) -> Directory:
        """
        Put new files in the place of the old ones, after the whole configuration was read with the last of them in it.

        @param steps: path and octets of a file, in the order in which they are written.
        @return: the tables as they are then.
        @raise Failure: they would be faulty, a file could not be written, or somebody else changed one meanwhile or
            interrupts; ends with L{NOTHING} or L{PART}, or all steps were made.
        """
        final = dict(steps)
        with self._prepared(final) as new:
            directory = self._checked(new)
            if self._look() != self._marks:
                raise Failure("the tables were changed by somebody else meanwhile; nothing was changed, try again")
            made = 0
            try:
                for path, octets in steps:
                    if octets != final[path] or made:
                        new.pop(path, None)
                        new[path] = files.prepare(path, octets, self.accounts)
                    files.take(new[path], path)
                    del new[path]
                    made += 1
            except (Failure, KeyboardInterrupt) as error:
                if isinstance(error, Failure):
                    told = [line for line in error.lines if line != NOTHING]
                    made += NOTHING not in error.lines
                else:
                    made += not all(map(os.path.lexists, new.values()))  # one has taken its place already
                    told = ["interrupted, when the accounts were changed" if made == len(steps) else "interrupted"]
                raise Failure(*told, *([] if made == len(steps) else [PART if made else NOTHING])) from error
        return directory

    def check(self, *steps: Step, aloud: bool = True) -> Directory:
        """
        Read the whole configuration with new files in it, and change nothing; see L{write}.

        @param aloud: whether remarks about it are told.
        """
        with self._prepared(dict(steps)) as new:
            return self._checked(new, aloud)

    @contextmanager
    def _prepared(self, contents: dict[str, bytes]) -> Iterator[dict[str, str]]:
        """New files beside the old ones, by their paths; those still there at the end are removed."""
        new: dict[str, str] = {}
        try:
            for path, octets in contents.items():
                new[path] = files.prepare(path, octets, self.accounts)
            yield new
        except KeyboardInterrupt:
            raise Failure("interrupted", NOTHING) from None
        finally:
            for path in new.values():
                with suppress(OSError):
                    files.drop(path)

    def _checked(self, new: dict[str, str], aloud: bool = True) -> Directory:
        """Read everything, with new files in the place of old ones."""
        domains = self.settings.domains
        names = {new[self.accounts]: str(domains.accounts)} if self.accounts in new else {}
        if self.details in new:
            names[new[self.details]] = str(domains.details)
        accounts = new.get(self.accounts, domains.accounts)
        details = new.get(self.details, domains.details) if self.details else None
        settings = replace(self.settings, domains=replace(domains, accounts=accounts, details=details))
        faults: list[Fault] = []
        notes: list[Fault] = []
        directory = loading.readDirectory(settings, faults, notes)
        if faults:
            told = sorted(replace(fault, file=names.get(fault.file, fault.file)) for fault in faults)
            raise Failure(*map(str, told), NOTHING)
        known = {(note.file, note.why) for note in self._notes}
        for note in sorted(replace(note, file=names.get(note.file, note.file)) for note in notes):
            if aloud and (note.file, note.why) not in known:
                remark(f"{note} (a remark: this is allowed)")
        return directory

    def _look(self) -> list[files.Mark | None]:
        """The state of both files."""
        return [files.mark(path) for path in (self.accounts, self.details) if path]


@contextmanager
def changing(config: str) -> Iterator[Books]:
    """
    The accounts, for whoever is going to change them: no other command does meanwhile.

    @raise Failure: as L{Books}, and L{Books.intact}.
    """
    path = Books(config).accounts
    with files.Lock(path):
        yield Books(config).intact()
