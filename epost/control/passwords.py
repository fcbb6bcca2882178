"""
A new password, and what proves it in the column Pass.

It comes from the terminal, twice and unseen, or from standard input; never from the command line, where every user of
the machine can read it (proc(5), cmdline).
"""

import getpass
import sys

from epost.control.terminal import Failure, counted, oneLine, remark
from epost.login import schemes

SHORT = 8  # characters; a password with fewer is remarked (NIST SP 800-63B 5.1.1.1)
LONGEST = 1024  # octets of a line of standard input that is a password


def secret(stdin: bool, whose: str, scram: bool = True, keepClear: bool = False) -> str:
    """
    A new password as it stands in the column Pass.

    @param stdin: whether it is read from standard input.
    @param whose: as the question calls the account.
    @param scram: whether with keys for SCRAM.
    @param keepClear: whether it can be read there.
    @raise Failure: there is none, the two are not the same, or it cannot be a password.
    """
    password = _password(stdin, whose)
    if len(password) < SHORT:
        remark(f"a password of {counted(len(password), 'character')} is soon guessed: take {SHORT} or more")
    try:
        return schemes.made(password, scram, keepClear)
    except schemes.SchemeError as error:
        raise Failure(f"the password: {error}, expected {error.expected}") from None


def _password(stdin: bool, whose: str) -> str:
    """What is typed, or comes from standard input."""
    if stdin:
        return _fromInput()
    if not sys.stdin.isatty():
        raise Failure("standard input is no terminal: with --stdin the password is read from it")
    first = getpass.getpass(f"Password for {whose}: ")
    if not first:
        raise Failure("no password was given")
    if getpass.getpass("Once more: ") != first:
        raise Failure("the two passwords are not the same")
    return oneLine("the password", first)


def _fromInput() -> str:
    """The first line of standard input, without its end."""
    octets = sys.stdin.buffer.readline(LONGEST + 3)
    line = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise Failure("standard input holds no password")
    if len(line) > LONGEST:
        raise Failure(f"a password has {LONGEST} octets at most")
    try:
        return oneLine("the password", line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Failure("the password is not UTF-8") from None
