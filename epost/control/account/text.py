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
from epost.control.files import NOTHING, create
from epost.control.terminal import Failure, config, counted, remark, tell
from epost.login import schemes
from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.tables.accounts import COLUMNS, Account, AccountTable, readAccounts
from epost.tables.lines import Line, lines

NAMED = 5  # accounts of many that a line names


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


def readRows(file: str, local: Sequence[str], keepClear: bool, wrong: list[str]) -> list[Row]:
    """
    Read an export. Columns that are not there, as they are in E-Post's, are told.

    @param file: its path; C{-}: standard input.
    @param keepClear: whether passwords in clear stay so.
    @param wrong: gets all that is wrong with it, in the order of its lines.
    @return: what is right.
    @raise Failure: it cannot be read.
    """
    try:
        octets = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    faults: list[Fault] = []
    accounts = {account.line: account for account in readAccounts(file, octets, local, faults)}
    rows: list[Row] = []
    short: list[int] = []
    fewest = len(COLUMNS)
    for line in lines(file, octets, []):
        columns = [column.strip() for column in line.text.split("\t")]
        secret = _secret(line, columns[1], keepClear, faults) if len(columns) > 1 else None
        if line.number not in accounts or secret is None:
            continue
        values = dict(zip(COLUMNS, columns, strict=False))
        values = {column: value for column, value in values.items() if column not in ("Account", "Pass", "Domain")}
        rows.append(Row(accounts[line.number].address, values | secret[0], secret[1]))
        if len(columns) < len(COLUMNS):
            short.append(line.number)
            fewest = min(fewest, len(columns))
    if short:
        remark(
            f"{file}:{short[0]}: {counted(len(short), 'line')} without {', '.join(COLUMNS[fewest:])}: "
            "there a new account has what is usual, another keeps what it has"
        )
    wrong += map(str, sorted(faults))
    return rows


def _secret(line: Line, text: str, keepClear: bool, faults: list[Fault]) -> tuple[dict[str, str], str | None] | None:
    """The columns that a password makes, and what of it is to be hashed; L{None}: it is wrong."""
    if not text:
        return {}, None
    try:
        secret = schemes.read(text)
        if secret.clear is None:
            return {"Pass": text}, None
        if keepClear:
            return {"Pass": schemes.made(secret.clear, recoverable=True)}, None
        schemes.prepared(secret.clear)
    except schemes.SchemeError as error:
        faults.append(line.fault(f"Pass: {error}", error.expected))
        return None
    return {}, secret.clear


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


def merged(rows: Sequence[Row], books: Books, update: bool, wrong: list[str]) -> tuple[AccountFile, int]:
    """
    The table of accounts with the rows in it: new ones at its end, others where they stand.

    @param update: whether accounts that are there already may be changed.
    @param wrong: gets why it cannot be.
    @return: the table, and how many accounts are there already.
    """
    table = books.lines()
    there: list[Account] = []
    for row in rows:
        account = books.directory.accounts.find(row.address)
        try:
            if account is None:
                table.add(named(row.address) | {"Pass": ""} | row.values)
            else:
                there.append(account)
                table.put(account.line, row.values)
        except Failure as failure:
            wrong += failure.lines
    if there and not update:
        names = ", ".join(str(account.address) for account in there[:NAMED]) + " …" * (len(there) > NAMED)
        wrong.append(f"{counted(len(there), 'account')} there already ({names}): with --update they are changed")
    return table, len(there)


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
    table = [list(COLUMNS)] if header else []
    table += [list(row.values()) for row in rows]
    whole = "".join("\t".join(line) + ("\r\n" if windows else "\n") for line in table)
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


def _isBare(account: Account | None) -> bool:
    """Whether an account has no password."""
    return account is not None and not account.secret


def import_(options: argparse.Namespace) -> int:
    """Read a file of accounts, all of it or nothing. All that is wrong is told, before any password is hashed."""
    began = time.monotonic()
    file = config(options)
    wrong: list[str] = []
    rows = readRows(options.file, Books(file).intact().settings.domains.local, options.keep_clear, wrong)
    with changing(file) as books:
        table, known = merged(rows, books, options.update, wrong)
        try:
            accounts = books.check(books.step(table), aloud=options.dry_run).accounts
        except Failure as failure:
            wrong += failure.lines
    if wrong:
        raise Failure(*dict.fromkeys((*wrong, NOTHING)))
    if not options.dry_run:
        hashes = sum(row.clear is not None for row in rows)
        if hashes:
            remark(f"hashing {counted(hashes, 'password')} …")
        rows = hashed(rows, options.scram)
        with changing(file) as books:
            table, known = merged(rows, books, options.update, wrong)
            if wrong:
                raise Failure(*wrong, NOTHING)
            accounts = books.write(books.step(table)).accounts
    bare = [str(row.address) for row in rows if row.clear is None and _isBare(accounts.find(row.address))]
    if bare:
        names = ", ".join(bare[:NAMED]) + " …" * (len(bare) > NAMED)
        remark(f"{counted(len(bare), 'account')} without a password, nobody can log in: {names}; epost account passwd")
    result = {
        "added": len(rows) - known,
        "updated": known,
        "without_password": len(bare),
        "seconds": round(time.monotonic() - began, 1),
    }
    words = f"{counted(len(rows) - known, 'account')} added, {known:,} updated, in {result['seconds']} seconds"
    words += " (dry run: nothing was changed)" * options.dry_run
    tell(options, {"dry_run": options.dry_run, **result}, words)
    return 0


def export(options: argparse.Namespace) -> int:
    """Write all accounts."""
    rows = exported(Books(config(options)).intact().directory.accounts, not options.no_passwords)
    octets = text(rows, options.header, options.windows)
    if options.file != "-":
        save(options.file, octets)
        tell(
            options, {"exported": len(rows), "file": options.file}, f"{counted(len(rows), 'account')} in {options.file}"
        )
    elif options.json:
        tell(options, {"accounts": rows}, "")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(octets)
    return 0
