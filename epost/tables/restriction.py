"""
sender.dat, 送信の制限: to whom an account may write (spec 5). It lies in the account's mailbox folder.

    boss@test.jp,-1         ,-1 forbids
    *@test.jp               a pattern alone allows

The first line that matches the recipient decides. Where none does everything is allowed, unless the file has a line
that allows. A line that forbids also sees where an alias leads: another name of the recipient would be a way round.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from epost.mail.address import Address, AddressError
from epost.mail.decision import Because
from epost.mail.fault import Fault
from epost.tables.lines import lines
from epost.tables.patterns import expression, mailboxPattern

NAME = "sender.dat"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line. @ivar allows: whether it allows."""

    glob: re.Pattern[str]
    allows: bool
    because: Because


@dataclass(frozen=True, slots=True)
class Restriction:
    """
    A sender.dat that was read.

    @ivar broken: why it could not be, where there was none before it: then it is not known who may be written to.
    """

    _rules: tuple[_Rule, ...] = ()
    broken: Because | None = None

    def forbids(self, forward: Address, leads: Iterable[Address] = ()) -> Because | None:
        """
        What forbids a recipient.

        @param forward: it, as it was written.
        @param leads: where it leads by aliases.
        @return: the line; L{None}: nothing does.
        """
        if not self._rules:
            return None
        text = _text(forward)
        others = [text, *map(_text, leads)]
        for rule in self._rules:
            if rule.allows and rule.glob.match(text):
                return None
            if not rule.allows and any(map(rule.glob.match, others)):
                return rule.because
        allowing = next((rule for rule in self._rules if rule.allows), None)
        if allowing is None:
            return None
        where = allowing.because
        return Because(where.table, where.line, f"{where.text}, and no line for the recipient")


def _text(address: Address) -> str:
    """What patterns are matched with: what is quoted may hold an @, and no * is one."""
    return f"{address.key[0].replace('@', ' ')}@{address.key[1]}"


def readRestriction(file: str, data: bytes, faults: list[Fault]) -> Restriction:
    """
    Read a sender.dat.

    @param file: its path, as an operator is told it.
    @param faults: gets what is wrong, all of it.
    """
    rules = []
    for line in lines(file, data, faults):
        pattern, comma, mark = (part.strip() for part in line.text.rpartition(","))
        if not comma:
            pattern, mark = mark, ""
        if comma and mark != "-1":
            faults.append(line.fault(f'"{mark}" behind the comma', "-1, or no comma"))
            continue
        try:
            local, domain = mailboxPattern(pattern)
        except AddressError as error:
            faults.append(line.fault(f"{error}: {pattern}", "*@domain or user@domain, and ,-1 to forbid it"))
            continue
        glob = expression(f"{local.replace('@', ' ')}@{domain}")
        rules.append(_Rule(glob, not comma, Because(file, line.number, line.text.strip())))
    return Restriction(tuple(rules))
