"""
C{KEY=VALUE} as `epost account set` and `add` take it: which key stands where, and how its value is written.

Columns of accounts.dat have names of their own here; the other keys are those of accounts.toml, C{reply.text} being
C{text} within C{reply}. Nothing behind C{=} takes the key out, so that its default holds.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from epost.control.terminal import Failure, oneLine

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key.

    @ivar read: from text to what stands in the file; raises ValueError.
    @ivar expected: the end of "expected …".
    @ivar column: of accounts.dat; empty: it stands in accounts.toml.
    """

    read: Callable[[str], Any]
    expected: str
    column: str = ""


@dataclass(slots=True)
class Changes:
    """
    What is to be changed.

    @ivar columns: of accounts.dat.
    @ivar details: of accounts.toml; L{None}: the key goes.
    """

    columns: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def _flag(text: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError
    return int(text)


def _octets(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15})([KMG]?)", text.upper(), re.ASCII)
    if found is None:
        raise ValueError
    return int(found[1]) * _UNITS[found[2]]


def _several(text: str) -> list[str]:
    return [oneLine("a value", part.strip()) for part in text.split(",") if part.strip()]


def _text(text: str) -> str:
    return text.replace("\r\n", "\n")


def _flagColumn(text: str) -> str:
    return str(int(_flag(text)))


def _octetsColumn(text: str) -> str:
    return str(_octets(text))


_FLAG = "yes or no"
_COUNT = "a whole number, 0 for no limit"
_OCTETS = "octets, such as 1000000 or 10M, 0 for no limit"
_LIST = "one or more, separated by commas"
_DATE = "a day such as 2026-12-24"
_ANY = "a text"

KEYS: dict[str, Key] = {
    "name": Key(str, _ANY, "Fullname"),
    "home": Key(str, _ANY, "Home"),
    "mailbox_octets": Key(_octetsColumn, _OCTETS, "MailBoxSize"),
    "auth": Key(_flagColumn, _FLAG, "SMTPauthflag"),
    "apop": Key(_flagColumn, _FLAG, "APOPflag"),
    "pop3": Key(_flagColumn, _FLAG, "POP3"),
    "imap4": Key(_flagColumn, _FLAG, "IMAP4"),
    "outside": Key(_flag, _FLAG),
    "disabled": Key(_flag, _FLAG),
    "networks": Key(_several, _LIST),
    "senders": Key(_several, _LIST),
    "message_octets": Key(_octets, _OCTETS),
    "messages_per_hour": Key(_count, _COUNT),
    "messages_per_day": Key(_count, _COUNT),
    "recipients_per_hour": Key(_count, _COUNT),
    "recipients_per_day": Key(_count, _COUNT),
    "mailbox_messages": Key(_count, _COUNT),
    "forward": Key(_several, _LIST),
    "keep": Key(_flag, _FLAG),
    "reply": Key(str, "reply.text, reply.subject, reply.from, reply.until or reply.charset; reply= to end it"),
    "reply.text": Key(_text, _ANY),
    "reply.subject": Key(_text, _ANY),
    "reply.from": Key(date.fromisoformat, _DATE),
    "reply.until": Key(date.fromisoformat, _DATE),
    "reply.charset": Key(_text, "UTF-8 or ISO-2022-JP"),
}


def readChanges(pairs: Iterable[str], reply: dict[str, Any]) -> Changes:
    """
    Read the arguments of a command.

    @param reply: the automatic reply as it stands now, whose parts are set one by one.
    @raise Failure: a key that is none, or a value that cannot be its.
    """
    found = Changes()
    for pair in pairs:
        name, equals, text = pair.partition("=")
        key = KEYS.get(name)
        if key is None and not equals:  # it may be a password, and is not repeated
            raise Failure(
                "an argument that is no KEY=VALUE. Is it a password? It is asked for, or read from standard input with "
                "--stdin; on the command line everybody on this machine could read it"
            )
        if key is None or not equals:
            raise Failure(f"{oneLine('an argument', pair)}: expected KEY=VALUE, KEY one of {', '.join(KEYS)}")
        try:
            if name == "reply" and text:
                raise ValueError
            value = key.read(text) if text else None
        except ValueError:
            raise Failure(f"{name} = {text!r}, expected {key.expected}") from None
        if key.column:
            found.columns[key.column] = value or ""
        elif name.startswith("reply"):
            part = name.partition(".")[2]
            reply = {other: old for other, old in reply.items() if other != part and part}
            if value is not None:
                reply[part] = value
            found.details["reply"] = reply or None
        else:
            found.details[name] = value
    return found
