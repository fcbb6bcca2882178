"""
The fields that a mail server puts in front of a message, and the date as all of them write it.

Every field is bytes, complete, its lines ended by CRLF. What a client said of itself is made harmless first: it can
neither end a comment nor begin a field.

Spec 8 (Received in three lines folded with TAB; fields that are added where they miss); RFC 5321 4.4 (trace), RFC 3848
and RFC 6531 3.7.3 (with), RFC 8314 4.3 (tls), RFC 5322 3.3 (date).
"""

import re
import time
from functools import lru_cache

from epost.mail.address import Address
from epost.mail.decision import Client
from epost.mail.name import Name

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_UNSAFE = re.compile(r"[^A-Za-z0-9\[\]:._+=/-]")
_HELO_CHARACTERS = 255  # RFC 5321 4.5.3.1.2


def date(seconds: float) -> str:
    """
    C{Mon, 06 Jul 2009 16:27:34 +0900}: local time, English names whatever the locale.

    @param seconds: since 1970-01-01 UTC.
    """
    return _date(int(seconds), time.tzname)  # the zone is part of the question, for who changes it at run time


@lru_cache(maxsize=8)
def _date(second: int, zone: tuple[str, str]) -> str:
    """One text for all messages of a second."""
    t = time.localtime(second)
    sign, offset = "-" if t.tm_gmtoff < 0 else "+", abs(t.tm_gmtoff) // 60
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} {sign}{offset // 60:02d}{offset % 60:02d}"
    )


def protocol(client: Client, utf8: bool) -> str:
    """The word behind C{with}: SMTP, ESMTP, ESMTPSA, UTF8SMTPS … @param utf8: whether MAIL asked for SMTPUTF8."""
    if not client.extended:
        return "SMTP"
    kind = "UTF8SMTP" if utf8 else "ESMTP"
    return f"{kind}{'S' if client.tls else ''}{'A' if client.account else ''}"


def received(client: Client, host: str, version: str, name: Name, utf8: bool, when: float) -> bytes:
    """
    The Received field.

    @param client: who handed the message over.
    @param host: our name.
    @param version: ours.
    @param utf8: whether MAIL asked for SMTPUTF8.
    @param when: seconds since 1970-01-01 UTC.
    """
    helo = _UNSAFE.sub("?", client.helo[:_HELO_CHARACTERS])
    literal = f"IPv6:{client.address}" if ":" in client.address else client.address  # RFC 5321 4.1.3
    tls = f" tls {client.tls.rpartition(' ')[2]}" if client.tls else ""
    return (
        f"Received: from {helo}{' ' if helo else ''}(unverified [{literal}]) by {host}\r\n"
        f"\t(E-POST ESMTP Receiver ({version})) with {protocol(client, utf8)} id <{name.stem}@{host}>{tls};\r\n"
        f"\t{date(when)}\r\n"
    ).encode()


def delivery(sender: Address | None, recipient: Address) -> bytes:
    """What stands in front of a message in a mailbox: Return-Path and Delivered-To (RFC 5321 4.4)."""
    return f"Return-Path: <{sender or ''}>\r\nDelivered-To: {recipient}\r\n".encode()


def missing(name: Name, host: str, sender: Address | None, when: float) -> dict[str, bytes]:
    """
    The fields that a message of ours must have, in the order of the seed.

    @param sender: the reverse path; a null one gives no From.
    @return: complete lines by lower-case field name.
    """
    fields = {
        "message-id": f"Message-Id: <{name.stem}@{host}>\r\n".encode(),
        "date": f"Date: {date(when)}\r\n".encode(),
    }
    if sender is not None:
        fields["from"] = f"From: {sender}\r\n".encode()
    return fields
