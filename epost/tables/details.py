"""
accounts.toml: what an account may do and what becomes of its mail, where accounts.dat has no column for it (spec 5).

    ["baito@test.jp"]
    outside = false                     # may write inside only
    senders = ["sales@test.jp"]         # reverse paths beside its own address and its aliases
    forward = ["me@home.example"]

Every key may be left out; an account without a table has the defaults of L{Details}. A table for somebody who has no
account is a fault: what it forbids would be forbidden to nobody.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from epost.mail.address import Address
from epost.mail.decision import Allowed, Because
from epost.mail.fault import Fault
from epost.tables import toml
from epost.tables.patterns import MACHINES, Network, Networks, expression, mailboxPattern, network

CHARSETS = ("UTF-8", "ISO-2022-JP")

_COUNT = "a whole number, 0 for no limit"
_ALLOWED = ("messages_per_hour", "messages_per_day", "recipients_per_hour", "recipients_per_day")
_KEYS = (
    "outside",
    "disabled",
    "networks",
    "senders",
    "message_octets",
    *_ALLOWED,
    "mailbox_messages",
    "forward",
    "keep",
    "reply",
)
_REPLY_KEYS = ("text", "subject", "from", "until", "charset")


@dataclass(frozen=True, slots=True)
class Absence:
    """
    An automatic reply (RFC 3834).

    @ivar subject: empty where none was given.
    @ivar first: the first day on which it is sent, by local time; L{None}: from now on.
    @ivar last: the last day; L{None}: until further notice.
    @ivar charset: one of L{CHARSETS}; text and subject can be written in it.
    """

    text: str
    subject: str = ""
    first: date | None = None
    last: date | None = None
    charset: str = CHARSETS[0]

    def on(self, day: date) -> bool:
        """Whether it is sent on a day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Details:
    """
    What stands in accounts.toml about one account.

    @ivar outside: whether it may write to recipients outside.
    @ivar disabled: whether it may not log in. Its mail arrives all the same.
    @ivar networks: from where alone it may log in; L{None}: from anywhere.
    @ivar senders: reverse paths that it may write as, as they stand there.
    @ivar messageOctets: the greatest message that it may hand over; 0: as anybody.
    @ivar mailboxMessages: how many messages its mailbox may hold; 0: any number.
    @ivar forward: to whom its mail goes.
    @ivar keep: whether its mailbox gets what is forwarded too.
    @ivar lines: for each key that stands there file, line and what it says.
    """

    outside: bool = True
    disabled: bool = False
    networks: Networks | None = field(default=None, compare=False)
    senders: tuple[str, ...] = ()
    messageOctets: int = 0
    allowed: Allowed = field(default_factory=Allowed)
    mailboxMessages: int = 0
    forward: tuple[Address, ...] = ()
    keep: bool = True
    reply: Absence | None = None
    lines: Mapping[str, Because] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    _globs: tuple[re.Pattern[str], ...] = field(default=(), repr=False)

    def mayFrom(self, address: str) -> bool:
        """Whether it may log in from an IP address."""
        return self.networks is None or address in self.networks

    def grants(self, path: Address) -> bool:
        """Whether C{senders} names a reverse path."""
        text = f"{path.key[0].replace('@', ' ')}@{path.key[1]}"  # what is quoted may hold an @, and no * is one
        return any(glob.match(text) for glob in self._globs)


def readDetails(
    file: str, data: bytes, isAccount: Callable[[Address], bool], faults: list[Fault]
) -> dict[tuple[str, str], Details]:
    """
    Read an accounts.toml.

    @param file: its name as configured.
    @param faults: gets what is wrong, all of it.
    @return: by C{Address.key}.
    """
    found = {}
    for part in toml.parts(file, data, faults):
        if isAccount(part.address):
            found[part.address.key] = _details(part)
        else:
            faults.append(Fault(file, part.line, f"{part.address} is no account", "one of accounts.dat"))
    return found


def _details(part: toml.Part) -> Details:
    """One table; what is wrong in it has its default."""
    part.known(_KEYS)
    networks: tuple[Network, ...] = part.read("networks", toml.each(_network), f"a list of networks: {MACHINES}", ())
    senders: tuple[tuple[str, str], ...] = part.read(
        "senders", toml.each(_pattern), 'a list of addresses, perhaps with *: ["*@shop.test.jp"]', ()
    )
    forward: tuple[Address, ...] = part.read(
        "forward", toml.each(toml.address), 'a list of addresses such as ["me@home.example"]', ()
    )
    keep = part.read("keep", toml.flag, "true or false", True)
    if "keep" in part.values and not forward:
        part.fault("keep", "keep without forward", "forward beside it, or neither")
    if any(target.key == part.address.key for target in forward):
        part.fault("forward", f"forward leads back to {part.address}", "keep = true for a copy here")
    return Details(
        outside=part.read("outside", toml.flag, "true or false", True),
        disabled=part.read("disabled", toml.flag, "true or false", False),
        networks=Networks((one, 0) for one in networks) if networks else None,
        senders=tuple(f"{local}@{domain}" for local, domain in senders),
        messageOctets=part.read("message_octets", toml.count, _COUNT, 0),
        allowed=Allowed(*(part.read(key, toml.count, _COUNT, 0) for key in _ALLOWED)),
        mailboxMessages=part.read("mailbox_messages", toml.count, _COUNT, 0),
        forward=forward,
        keep=keep,
        reply=_reply(part),
        lines=MappingProxyType({key: part.because(key) for key in part.values}),
        _globs=tuple(expression(f"{local.replace('@', ' ')}@{domain}") for local, domain in senders),
    )


def _network(value: Any) -> Network:
    """A network; a C{*} stands for the end of an address alone."""
    found = network(toml.line(value))
    if isinstance(found, re.Pattern):
        raise ValueError("has a number behind a *")
    return found


def _pattern(value: Any) -> tuple[str, str]:
    return mailboxPattern(toml.line(value))


def _reply(part: toml.Part) -> Absence | None:
    """The automatic reply; L{None} where there is none, or where it is wrong."""
    values = part.values.get("reply")
    if values is None:
        return None
    if not isinstance(values, dict):
        part.fault("reply", "reply is no table", 'reply = { text = "…" }')
        return None
    before = len(part.faults)
    inside = part.inside("reply", values)
    inside.known(_REPLY_KEYS)
    text = inside.read("text", _text, "a text", "")
    subject = inside.read("subject", toml.line, "a text of one line", "")
    first = inside.read("from", _day, "a day such as 2026-12-24", None)
    last = inside.read("until", _day, "a day such as 2027-01-06", None)
    charset = inside.read("charset", _charset, f'"{CHARSETS[0]}" or "{CHARSETS[1]}"', CHARSETS[0])
    if "text" not in values:
        inside.fault("text", "reply without text", 'text = "…" in it')
    if first is not None and last is not None and last < first:
        inside.fault("until", f"until {last} is before from {first}", "a later day")
    try:
        (text + subject).encode(charset)
    except UnicodeEncodeError as error:
        inside.fault("text", f"{error.object[error.start]!r} cannot be written in {charset}", 'charset = "UTF-8"')
    return Absence(text, subject, first, last, charset) if len(part.faults) == before else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _day(value: Any) -> date | None:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError
    return value


def _charset(value: Any) -> str:
    if not isinstance(value, str) or value.upper() not in CHARSETS:
        raise ValueError
    return value.upper()
