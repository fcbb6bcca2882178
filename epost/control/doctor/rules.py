"""
Whether the lines of effect.dat that hold people back reach them: such a line can be without a fault and do nothing.

It does nothing where a line above it decides, most often that of the back-end's machine; and where nobody has the name
that it is about. What it says of strangers may still be meant, so these are remarks.
"""

from collections.abc import Iterable

from epost.control.doctor.finding import Finding, Findings
from epost.control.terminal import counted
from epost.mail.address import Address, AddressError, parseAddress
from epost.settings import Settings
from epost.tables.directory import Directory
from epost.tables.effect import Kind, Rule
from epost.tables.patterns import isMachine

HOLDING = (Kind.FALSE, Kind.NORELAY)  # the kinds that hold a sender back


def rules(settings: Settings, directory: Directory, machines: Iterable[str], people: Directory | None) -> list[Finding]:
    """
    What is found of a gateway's lines.

    @param machines: the addresses from which the back-end hands over.
    @param people: the back-end's tables; L{None}: they are not here, and whether somebody exists is not looked at.
    """
    found = Findings("tables", settings.kind)
    places, held = sorted(machines), 0
    for rule in directory.effect.rules:
        pattern = rule.because.text.split()[0]
        if rule.kind not in HOLDING or isMachine(pattern) or pattern.startswith("#"):
            continue
        sender = _sender(pattern)
        if "@" not in pattern and "." not in pattern and not _ours(pattern.lower(), directory, people):
            mend = f"the whole address, if it is about one: {pattern}@DOMAIN {rule.kind.value}"
            found.remark(f"{rule.because} is about a domain called {pattern}, and about no account", mend)
        elif sender is None:
            continue
        elif "*" not in pattern and people and people.isLocal(sender.domain) and not people.exists(sender):
            found.remark(f"{rule.because}: there is no {sender}", "look how he is written: epost account list")
        elif above := _above(directory, places, sender):
            why = f"{above.because} stands above it and decides about what the back-end hands over"
            found.remark(
                f"{rule.because} holds back strangers alone: {why}", "move it above that line, if it is for ours"
            )
        else:
            held += 1
    if held and places:
        table = settings.tables.effect
        found.ok(f"what the back-end hands over meets {counted(held, 'line')} of {table} that hold senders back")
    return found.all


def _sender(pattern: str) -> Address | None:
    """Somebody whom a pattern is about; L{None}: it is about a whole domain, which strangers write as well."""
    if "@" not in pattern or pattern.startswith("*@"):
        return None
    try:
        return parseAddress(pattern.replace("*", "x"))
    except AddressError:
        return None


def _ours(domain: str, directory: Directory, people: Directory | None) -> bool:
    """Whether a domain is one of ours."""
    return directory.hops.find(domain) is not None or bool(people and people.isLocal(domain))


def _above(directory: Directory, machines: Iterable[str], sender: Address) -> Rule | None:
    """The line that decides instead, and lets a sender through; L{None}: none does."""
    for machine in machines:
        first = directory.effect.first(machine, sender)
        if first is not None and first.kind not in HOLDING:
            return first
    return None
