"""
C{epost account}: the accounts of a back-end, in accounts.dat and accounts.toml.

Passwords are asked for and hashed before the tables are locked: nobody waits for somebody who types.
"""

import argparse
from typing import Any

from epost.control import passwords
from epost.control.account import box, lock, move, text
from epost.control.account.change import Books, Step, changing
from epost.control.account.dat import CLOSED, named
from epost.control.account.keys import readChanges
from epost.control.account.toml import literal
from epost.control.terminal import common, config, counted, remark, tell
from epost.login import schemes
from epost.tables.accounts import Account


def register(subparsers: Any) -> None:
    """Add the commands. @param subparsers: those of C{epost}."""
    group = subparsers.add_parser("account", help="accounts: passwords, what they may do, E-Post's import and export")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, words: str, address: bool = True) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words, parents=[common()])
        made.set_defaults(run=run)
        if address:
            made.add_argument("address", metavar="ADDRESS", help="user@domain, or user where one domain is local")
        return made

    def passwords(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
        stored = made.add_mutually_exclusive_group()
        keep = "keep what can be read instead of hashes (CRAM-MD5 and APOP need that)"
        stored.add_argument("--keep-clear", action="store_true", help=keep)
        keys = "no keys for SCRAM, at which a thief of the table can try passwords faster than at the hash"
        stored.add_argument("--no-scram", dest="scram", action="store_false", help=keys)
        return made

    stdin = "read the password from standard input"
    made = passwords(command("add", add, "make an account; asks for its password"))
    made.add_argument("--stdin", action="store_true", help=stdin)
    made.add_argument("pairs", metavar="KEY=VALUE", nargs="*", help="as for set")
    made = passwords(command("passwd", passwd, "give an account another password"))
    made.add_argument("--stdin", action="store_true", help=stdin)
    command("show", show, "say what is known of an account")
    command("list", list_, "list all accounts", address=False)
    made = command("set", set_, "change what an account is or may do; nothing behind = takes a key out")
    made.add_argument("pairs", metavar="KEY=VALUE", nargs="+", help="name=…, outside=no, mailbox_octets=100M, …")
    made = command("rename", move.rename, "give an account another address, with its mailbox")
    made.add_argument("new", metavar="NEW", help="the other address")
    made = command("remove", move.remove, "take an account away; its mailbox stays")
    made.add_argument("--mailbox", action="store_true", help="move the mailbox aside, where no account has it")
    command("disable", disable, "no login; mail still arrives")
    command("enable", enable, "login again")
    made = command("unlock", lock.unlock, "say who is locked out; or end it", address=False)
    made.add_argument("what", metavar="WHAT", nargs="?", help="an account, an IP address, a network, or * for all")
    made = passwords(command("import", text.import_, "read accounts as E-Post exports them", address=False))
    made.add_argument("file", metavar="FILE", help="TAB-separated, ten columns; - is standard input")
    made.add_argument("--update", action="store_true", help="change accounts that are there already")
    made.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    made = command("export", text.export, "write accounts as E-Post imports them", address=False)
    made.add_argument("file", metavar="FILE", nargs="?", default="-", help="a new file; else standard output")
    made.add_argument("--no-passwords", action="store_true", help="leave the column Pass empty")
    made.add_argument("--header", action="store_true", help="name the columns in a first line")
    made.add_argument("--windows", action="store_true", help="CP932 and CRLF; else UTF-8 and LF")


def add(options: argparse.Namespace) -> int:
    """A new account. What restricts it is there before it can log in."""
    file = config(options)
    books = Books(file).intact()
    address = books.vacant(options.address)
    readChanges(options.pairs, {})
    secret = passwords.secret(options.stdin, str(address), options.scram, options.keep_clear)
    with changing(file) as books:
        books.vacant(options.address)
        changes = readChanges(options.pairs, {})
        values = named(address) | {"Pass": secret} | changes.columns
        lines = books.lines()
        lines.add(values)
        steps = [books.step(lines)]
        if any(value is not None for value in changes.details.values()):
            closed = books.lines()
            closed.add(values | CLOSED)
            steps = [books.step(closed), books.step(books.detailed(address, changes.details)), *steps]
        account = books.write(*steps).accounts.find(address)
    old = 0 if account is None else box.messages(books.mailbox(account))
    if account is not None and old:
        remark(f"{books.mailbox(account)} was there before, with {counted(old, 'message')}: {address} will read them")
    tell(options, {"added": str(address)}, f"{address} was added")
    return 0


def passwd(options: argparse.Namespace) -> int:
    """Another password."""
    file = config(options)
    account = Books(file).intact().find(options.address)
    secret = passwords.secret(options.stdin, str(account.address), options.scram, options.keep_clear)
    with changing(file) as books:
        account = books.find(options.address)
        lines = books.lines()
        lines.put(account.line, {"Pass": secret})
        books.write(books.step(lines))
    tell(options, {"changed": str(account.address)}, f"{account.address} has another password")
    return 0


def show(options: argparse.Namespace) -> int:
    """One account."""
    books = _asked(options)
    account = books.find(options.address)
    facts = _facts(books, account)
    facts["mailbox"] = books.mailbox(account)
    facts["messages"] = box.messages(books.mailbox(account))
    width = max(map(len, facts))
    words = [f"{key:{width}}  {_said(value)}" for key, value in facts.items() if key != "details"]
    words += [f"{key:{width}}  {_said(value)}" for key, value in facts["details"].items()]
    tell(options, facts, words)
    return 0


def list_(options: argparse.Namespace) -> int:
    """All accounts, in the order of the file."""
    books = _asked(options)
    facts = [_facts(books, account) for account in books.directory.accounts]
    width = max((len(fact["address"]) for fact in facts), default=0)
    words = []
    for fact in facts:
        details = ", ".join(f"{key}={_said(value)}" for key, value in fact["details"].items())
        words.append(f"{fact['address']:{width}}  {fact['name']}  {details}".rstrip())
    tell(options, {"accounts": facts}, words or ["no accounts"])
    return 0


def set_(options: argparse.Namespace) -> int:
    """Change keys of an account."""
    return _change(options, options.pairs, "was changed")


def disable(options: argparse.Namespace) -> int:
    """No login."""
    return _change(options, ["disabled=yes"], "may no longer log in; its mail still arrives")


def enable(options: argparse.Namespace) -> int:
    """Login again."""
    return _change(options, ["disabled="], "may log in")


def _change(options: argparse.Namespace, pairs: list[str], words: str) -> int:
    with changing(config(options)) as books:
        account = books.find(options.address)
        old = books.knownTables().values(account.address).get("reply")
        changes = readChanges(pairs, dict(old) if isinstance(old, dict) else {})
        steps: list[Step] = []
        if changes.details:
            steps.append(books.step(books.detailed(account.address, changes.details)))
        if changes.columns:
            lines = books.lines()
            lines.put(account.line, changes.columns)
            steps.append(books.step(lines))
        books.write(*steps)
    tell(options, {"changed": str(account.address)}, f"{account.address} {words}")
    return 0


def _asked(options: argparse.Namespace) -> Books:
    """The accounts, for whoever asks; that a table is empty is told first, or what is said would look like all."""
    books = Books(config(options))
    for words in books.emptied():
        remark(f"{words} (a daemon that runs goes by what it held)")
    return books


def _facts(books: Books, account: Account) -> dict[str, Any]:
    """What is known of an account, without its password."""
    try:
        secret = schemes.read(account.secret)
        kinds = {"clear": secret.clear, "hash": secret.hash, "SCRAM-SHA-256": secret.scram}
        password = [kind for kind, there in kinds.items() if there is not None]
    except schemes.SchemeError as error:
        password = [f"none: {error}"]
    return {
        "address": str(account.address),
        "name": account.fullname,
        "home": account.home,
        "mailbox_octets": account.octets,
        "auth": account.auth,
        "apop": account.apop,
        "pop3": account.pop3,
        "imap4": account.imap4,
        "password": password,
        "line": account.line,
        "details": books.knownTables().values(account.address),
    }


def _said(value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(_said, value))
    return literal(value) if isinstance(value, dict) else str(value)
