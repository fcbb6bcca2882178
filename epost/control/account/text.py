"""
C{epost account import} and C{export}, E-Post's text import and export: ten columns separated by TAB (spec 5).

What is read is the file as E-Post writes it, UTF-8 or CP932, with or without a first line that names the columns.
Passwords in clear are hashed on the way in, on all processors, before the table is locked.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from epost.control.account.change import Books, changing
from epost.control.account.dat import AccountFile, named
from epost.control.files import create
from epost.control.terminal import Failure, config, remark, tell
from epost.login import schemes
from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.tables.accounts import COLUMNS, Account, AccountTable, readAccounts
from epost.tables.lines import decoded


@dataclass(frozen=True, slots=True)
class Row:
    """
    A line that is to be imported.

    @ivar values: what stands in its columns, by their names; the account and its domain are in C{address}.
    @ivar clear: the password where it is to be hashed; else it is in C{values}, as it is to stand there, or missing.
    """

    address: Address
    values: dict[str, str]
    clear: str | None


def readRows(file: str, local: Sequence[str], keepClear: bool) -> list[Row]:
    """
    Read an export.

    @param file: its path; C{-}: standard input.
    @param keepClear: whether passwords in clear stay so.
    @raise Failure: with all that is wrong with it.
    """
    try:
        octets = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    faults: list[Fault] = []
    table = readAccounts(file, octets, local, faults)
    text = decoded(file, octets)
    rows = []
    if not isinstance(text, Fault):
        lines = text.split("\n")
        rows = [_row(file, account, lines[account.line - 1], keepClear, faults) for account in table]
    if faults:
        raise Failure(*map(str, sorted(faults)), "nothing was imported")
    return [row for row in rows if row is not None]


def _row(file: str, account: Account, line: str, keepClear: bool, faults: list[Fault]) -> Row | None:
    """One line."""
    values = dict(zip(COLUMNS, (column.strip() for column in line.split("\t")), strict=False))
    values = {column: value for column, value in values.items() if column not in ("Account", "Domain", "Pass")}
    if not account.secret:
        return Row(account.address, values, None)
    try:
        secret = schemes.read(account.secret)
        if secret.clear is None:
            return Row(account.address, values | {"Pass": account.secret}, None)
        if keepClear:
            return Row(account.address, values | {"Pass": schemes.made(secret.clear, recoverable=True)}, None)
        schemes.prepared(secret.clear)
    except schemes.SchemeError as error:
        faults.append(Fault(file, account.line, f"Pass: {error}", error.expected))
        return None
    return Row(account.address, values, secret.clear)


def hashed(rows: Sequence[Row], scram: bool) -> list[Row]:
    """
    The rows with their passwords hashed; hashing lets go of the interpreter, so threads are enough.

    @param scram: whether with keys for SCRAM.
    """
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        clear = [row.clear for row in rows if row.clear is not None]
        secrets = list(pool.map(partial(schemes.made, scram=scram), clear))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for those that have not begun
    made = iter(secrets)
    return [row if row.clear is None else Row(row.address, row.values | {"Pass": next(made)}, None) for row in rows]


def merge(rows: Sequence[Row], lines: AccountFile, accounts: AccountTable) -> None:
    """Put the rows into a table: new ones at its end, others where they stand."""
    for row in rows:
        account = accounts.find(row.address)
        if account is None:
            lines.add(named(row.address) | {"Pass": ""} | row.values)
        else:
            lines.put(account.line, row.values)


def exported(accounts: AccountTable, passwords: bool) -> list[dict[str, str]]:
    """All accounts, each with its ten columns."""
    return [
        dict(
            zip(
                COLUMNS,
                (
                    account.address.text.rpartition("@")[0],
                    account.secret if passwords else "",
                    account.fullname,
                    account.address.domain,
                    account.home,
                    str(int(account.auth)),
                    str(int(account.apop)),
                    str(account.octets or ""),
                    str(int(account.pop3)),
                    str(int(account.imap4)),
                ),
                strict=True,
            )
        )
        for account in accounts
    ]


def text(rows: Sequence[dict[str, str]], header: bool, windows: bool) -> bytes:
    """
    An export as E-Post reads it.

    @param windows: CP932 and CRLF; else UTF-8 and LF.
    @raise Failure: a character is not in CP932.
    """
    lines = [list(COLUMNS)] if header else []
    lines += [list(row.values()) for row in rows]
    whole = "".join("\t".join(line) + ("\r\n" if windows else "\n") for line in lines)
    try:
        return whole.encode("cp932" if windows else "utf-8")
    except UnicodeEncodeError as error:
        raise Failure(f"CP932 has no {whole[error.start]}: export without --windows") from None


def save(file: str, octets: bytes) -> None:
    """Write a new file that its owner alone can read. @raise Failure: it stands there already, or cannot be written."""
    try:
        create(file, octets)
    except FileExistsError:
        raise Failure(f"{file} stands there already; nothing was written") from None
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}; nothing was written") from error


def import_(options: argparse.Namespace) -> int:
    """Read a file of accounts, all of it or nothing."""
    began = time.monotonic()
    file = config(options)
    books = Books(file)
    rows = readRows(options.file, books.settings.domains.local, options.keep_clear)
    _known(rows, books, options.update)
    hashes = sum(row.clear is not None for row in rows)
    if hashes and not options.dry_run:
        remark(f"hashing {hashes:,} passwords …")
        rows = hashed(rows, options.scram)
    with changing(file) as books:
        known = _known(rows, books, options.update)
        lines = books.lines()
        merge(rows, lines, books.directory.accounts)
        table = (books.check if options.dry_run else books.write)(books.step(lines)).accounts
    result = {
        "added": len(rows) - len(known),
        "updated": len(known),
        "without_password": sum(not account.secret for account in table),
        "seconds": round(time.monotonic() - began, 1),
    }
    words = "{added:,} accounts added, {updated:,} updated, in {seconds} seconds".format(**result)
    words += " (dry run: nothing was changed)" * options.dry_run
    tell(options, {"dry_run": options.dry_run, **result}, words)
    return 0


def _known(rows: Sequence[Row], books: Books, update: bool) -> list[Account]:
    """The accounts that are there already. @raise Failure: there are some, and they are not to be changed."""
    found = [account for row in rows if (account := books.directory.accounts.find(row.address)) is not None]
    if found and not update:
        names = ", ".join(str(account.address) for account in found[:5]) + (" …" if len(found) > 5 else "")
        raise Failure(f"{len(found):,} of them are accounts already ({names}): with --update they are changed")
    return found


def export(options: argparse.Namespace) -> int:
    """Write all accounts."""
    rows = exported(Books(config(options)).directory.accounts, not options.no_passwords)
    octets = text(rows, options.header, options.windows)
    if options.file != "-":
        save(options.file, octets)
        tell(options, {"exported": len(rows), "file": options.file}, f"{len(rows):,} accounts in {options.file}")
    elif options.json:
        tell(options, {"accounts": rows}, "")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(octets)
    return 0
