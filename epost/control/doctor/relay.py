"""
Whether a stranger could send mail to strangers through this server: an open relay is used within hours.

Twice: what the rules would decide about a client far away, by the very functions that the daemon uses; and what the
daemon that runs says to a client that its rules do not trust, or that has not logged in where people do. RCPT is the
last word of the second: no message is sent.
"""

from collections.abc import Iterable, Iterator

from epost.control.doctor.finding import Finding, Findings
from epost.control.doctor.wire import PATIENCE, Door, talk
from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.decision import Client, Decision
from epost.matrix import decideRecipient, decideSender
from epost.settings import Settings
from epost.tables.directory import Directory
from epost.tables.effect import Kind
from epost.tables.patterns import isMachine

STRANGERS = ("192.0.2.1", "2001:db8::1")  # RFC 5737, RFC 3849: nobody's
OUTSIDE = parseAddress("probe@example.net")  # RFC 2606: nobody's
FOREIGN = parseAddress("probe@example.org")
SOURCES = ("127.0.0.1", "127.66.66.66")  # where a live probe may come from
ACCOUNTS = 3  # of them are tried as forged senders


def senders(directory: Directory) -> Iterator[Address | None]:
    """What a stranger could write as reverse path: foreign, null, one of ours, and who is named by a rule."""
    yield FOREIGN
    yield None
    for account in list(directory.accounts)[:ACCOUNTS]:
        yield account.address
    relayed = (because.text.partition(",")[0].strip() for _, because in directory.hops.hops)
    for domain in (*directory.ground.local, *(domain for domain in relayed if "*" not in domain)):
        yield parseAddress(f"nobody-has-this-name@{domain}")
    for rule in directory.effect.rules:
        pattern = rule.because.text.split()[0]
        if rule.kind in (Kind.TRUE, Kind.ONLY) and not isMachine(pattern) and not pattern.startswith("#"):
            text = pattern if "@" in pattern else f"*@{pattern}"
            try:
                yield parseAddress(text.replace("*", "x"))
            except AddressError:
                continue  # no address can match it either


def decide(directory: Directory, client: Client, path: Address | None, forward: Address) -> Decision:
    """MAIL and RCPT together: the first refusal, or the last yes."""
    sender = decideSender(directory, client, path)
    return decideRecipient(directory, client, path, sender, forward) if sender.accepts else sender


def relays(directory: Directory, addresses: Iterable[str], path: Address | None) -> Iterator[Decision]:
    """The decisions that let clients at some addresses write to the outside."""
    found = (decide(directory, Client(address), path, OUTSIDE) for address in addresses)
    return (decision for decision in found if decision.accepts)


def decided(settings: Settings, directory: Directory) -> list[Finding]:
    """What the rules would decide."""
    found = Findings("relay", settings.kind)
    for path in dict.fromkeys(senders(directory)):
        last = next(relays(directory, STRANGERS, path), None)
        if last is not None:
            mend = (
                "take the line out, or name machines instead of senders: a sender's address can be written by anybody"
            )
            if last.because.table == "matrix":
                mend = 'name only your own networks in [relay] networks; "*" is everybody'
            found.wrong(f"anybody who writes <{path or ''}> as sender may relay, by {last.because}", mend)
    if not found.all:
        found.ok("by its rules a stranger may write to those inside alone")
    return found.all


def probe(settings: Settings, directory: Directory, door: Door, patience: float = PATIENCE) -> list[Finding]:
    """What the daemon that listens says to a client that may not relay there."""
    found = Findings("relay", settings.kind)
    paths = list(dict.fromkeys(senders(directory)))[:8]  # fewer than [limits] errors
    # Where people hand over mail no address is trusted: who has not logged in may write to nobody.
    free = [one for one in SOURCES if door.people or not any(any(relays(directory, [one], path)) for path in paths)]
    if not free:
        found.remark(
            f"{door.description} was not probed: its rules trust every address of this machine",
            'to have it probed trust "127.0.0.1" alone, not 127.0.0.0/8; or try from a machine outside',
        )
        return found.all
    try:
        _probe(found, door, free[-1], paths, patience)
    except OSError as error:
        found.remark(f"{door.description} was not probed from {free[-1]}: {error}")
    return found.all


def _probe(found: Findings, door: Door, source: str, paths: list[Address | None], patience: float) -> None:
    """The dialogue. @raise OSError: it broke off."""
    who = "who has not logged in" if door.people else "whom the rules do not trust"
    with talk(door.hop, source, patience, door.secure) as open_:
        open_.say(f"EHLO [{source}]")
        for path in paths:
            reply = open_.say(f"MAIL FROM:<{path or ''}>")
            if reply.accepts:
                reply = open_.say(f"RCPT TO:<{OUTSIDE}>")
                open_.say("RSET")
            if reply.accepts:
                found.wrong(
                    f"{door.description}: a client at {source}, {who}, may write from <{path or ''}> to <{OUTSIDE}>",
                    "stop it; then see which rules it runs with: its configuration is read at its start alone",
                )
                return
            if reply.transient:
                found.remark(f'{door.description}: it did not decide about <{path or ""}>: "{reply}"')
                return
    found.ok(f"{door.description}: it refused {len(paths)} tries to relay, as a client at {source}")
