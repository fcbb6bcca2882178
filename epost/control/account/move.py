"""
C{epost account rename} and C{remove}: accounts that go, and what becomes of their mailboxes.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from epost.control.account.box import aside, isRunning, messages, move, unmoved
from epost.control.account.change import PART, Books, Step, changing
from epost.control.account.dat import CLOSED, named
from epost.control.files import NOTHING
from epost.control.terminal import Failure, config, remark, tell
from epost.mail.address import Address
from epost.tables.accounts import Account


def rename(options: argparse.Namespace) -> int:
    """Another address: what restricts the account goes before it, its mailbox follows."""
    with changing(config(options)) as books:
        account = books.find(options.address)
        address = books.vacant(options.new)
        running = isRunning(books.settings)
        lines = books.lines()
        lines.put(account.line, named(address))
        steps = [books.step(lines)]
        if books.knownTables().name(account.address) is not None:
            steps = _renamed(books, account, address)
        found = books.check(*steps).accounts.find(address)
        if found is None:
            raise Failure(f"{address} cannot be an account")
        old, new = books.mailbox(account), books.mailbox(found)
        if old != new and messages(new):
            raise Failure(f"{new} holds mail of somebody who had that address; move it away first. Nothing was changed")
        with _ahead(old, new):
            books.write(*steps)
        if old != new:
            move(old, new, books.settings, running)
    remark(f"mail for {account.address} is refused from now on, unless aliases.dat has a line for it")
    tell(options, {"renamed": str(account.address), "to": str(address)}, f"{account.address} is now {address}")
    return 0


@contextmanager
def _ahead(old: str, new: str) -> Iterator[None]:
    """Where the accounts were changed and something failed all the same: say that the mailbox has not followed."""
    try:
        yield
    except Failure as failure:
        if old == new or NOTHING in failure.lines or PART in failure.lines or not os.path.isdir(old):
            raise
        raise Failure(*failure.lines, *unmoved(old, new, "not begun")) from failure


def _renamed(books: Books, account: Account, address: Address) -> list[Step]:
    """The steps for an account that has a table in accounts.toml: at none of them it is free of what stands there."""
    both, tables = books.lines(), books.tables()
    both.double(account.line, named(address) | CLOSED)
    opened = books.lines()
    opened.double(account.line, named(address))
    opened.put(account.line, CLOSED)
    alone = books.lines()
    alone.put(account.line, named(address))
    tables.double(account.address, address)
    renamed = books.tables()
    renamed.rename(account.address, address)
    return [books.step(text) for text in (both, tables, opened, renamed, alone)]


def remove(options: argparse.Namespace) -> int:
    """Take an account away."""
    with changing(config(options)) as books:
        account = books.find(options.address)
        box, now = books.mailbox(account), time.time()
        lines = books.lines()
        lines.remove(account.line)
        steps = [books.step(lines)]
        if books.knownTables().name(account.address) is not None:
            closed, tables = books.lines(), books.tables()
            closed.put(account.line, CLOSED)
            tables.remove(account.address)
            steps = [books.step(closed), books.step(tables), *steps]
        new = aside(books.places, account, now) if options.mailbox else box
        with _ahead(box, new):
            books.write(*steps)
        result = {"removed": str(account.address), "mailbox": box}
        if options.mailbox:
            result["mailbox"] = new if move(box, new, books.settings) else ""
    words = f"{account.address} was removed; its mailbox is {result['mailbox']}"
    tell(options, result, words if result["mailbox"] else f"{account.address} was removed; it had no mailbox")
    return 0
