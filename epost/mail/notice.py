"""
The message that tells a sender what became of his message (spec 9): C{…-E001} that it failed, C{…-W001} that it waits.

The form is E-Post's, line for line, made valid MIME: what the seed shows of it is a test. The original is never in
memory: it is read to choose a boundary that none of its lines begins with and to see whether it has 8-bit octets, and
read again to be passed on.

Seed, C{B0000000186-R0001-E001.MSG}; RFC 2046 5.1 (multipart, boundary), 5.2.1; RFC 6532 3.7 (message/global);
RFC 3834 5 (Auto-Submitted); RFC 6522 4 (headers alone); RFC 5321 4.5.5 (null reverse path).
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from epost.mail.address import Address
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Reply
from epost.mail.trace import date

_BOUNDARY_OCTETS = 70  # RFC 2046 5.1.1
_CHANGED_OCTETS = 16
_LINE_OCTETS = 512  # as in the logs (spec 6)
_HEADER_OCTETS = 65536  # of an original of which only the header is returned

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Original = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Notice:
    """
    A notice, ready to be stored.

    @ivar envelope: from the null reverse path to the sender of the original.
    @ivar head: what stands in front of the original.
    @ivar original: gives the original in parts.
    @ivar tail: what stands behind it.
    """

    envelope: Envelope
    head: bytes
    original: Original
    tail: bytes

    def parts(self) -> Iterator[bytes]:
        """The whole content, as on the wire, the original's parts as they are."""
        yield self.head
        yield from self.original()
        yield self.tail


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What a notice is about.

    @ivar name: the notice's own name.
    @ivar envelope: of the original.
    @ivar domain: of the postmaster who writes, decided by the caller (spec 9).
    @ivar replies: what each recipient got.
    @ivar until: of a warning of delay: when tries end, seconds since 1970; L{None} where the delivery has failed.
    @ivar whole: whether the Message-Id holds the whole name. That of the first failure is by E-Post's way the
        original's own; every other notice has the whole name anyway.
    @ivar long: whether the original is too long to be returned: only its header is (RFC 6522 4). The next host would
        not take more than we did, and what is returned to a forged sender should be little.
    """

    name: Name
    envelope: Envelope
    domain: str
    replies: Mapping[Address, Reply]
    until: float | None = None
    whole: bool = False
    long: bool = False

    @property
    def messageId(self) -> str:
        """Without angle brackets."""
        first = self.name.stem.endswith("-E001")
        return f"{self.name if self.whole or not first else self.name.stem.partition('-')[0]}@{self.domain}"


def compose(about: Subject, original: Original, when: float) -> Notice:
    """
    Write a notice.

    @param original: gives the original in parts; called more than once.
    @param when: seconds since 1970-01-01 UTC.
    """
    sender = about.envelope.sender
    assert sender is not None  # nobody is told of what nobody sent
    kind = "message/global" if about.envelope.utf8 else "message/rfc822"
    if about.long:
        whole, kind = original, "message/global-headers" if about.envelope.utf8 else "text/rfc822-headers"

        def original() -> Iterator[bytes]:
            yield _header(whole())

    boundary, eightBit = _survey(original, b"-----" + b64encode(f"{date(when)}{about.domain}".encode()))
    text = _text(about)
    plain = text.isascii()
    bits = "8bit" if eightBit or not plain else ""
    delimiter = f"--{boundary.decode()}"
    lines = [
        f"Subject: {'Delivery failure' if about.until is None else 'Delivery delayed'}",
        f"From: postmaster@{about.domain}",
        f"To: {sender}",
        f"Date: {date(when)}",
        f"Message-Id: <{about.messageId}>",
        "Content-Type: multipart/mixed;",
        f'    boundary="{boundary.decode()}"',
        "MIME-Version: 1.0",
        "Auto-Submitted: auto-replied",
        *_encoding(bits),
        "",
        delimiter,
        f"Content-Type: text/plain{'' if plain else '; charset=utf-8'}",
        *_encoding("" if plain else "8bit"),
        "",
        text,
        delimiter,
        f"Content-Type: {kind}",
        *_encoding("8bit" if eightBit else ""),
        "",
        "",
    ]
    envelope = Envelope(None, (sender,), utf8=not sender.ascii, body="8BITMIME" if bits else "")
    return Notice(envelope, "\r\n".join(lines).encode(), original, f"\r\n{delimiter}--\r\n".encode())


def _encoding(bits: str) -> list[str]:
    """The field, where it is needed."""
    return [f"Content-Transfer-Encoding: {bits}"] if bits else []


def _text(about: Subject) -> str:
    """The first part: who did not get it and why; its last line end belongs to the delimiter (RFC 2046 5.1.1)."""
    failed = about.until is None
    lines = [
        "Your message has encountered delivery problems to the following recipients:"
        if failed
        else "Your message has not been delivered yet to the following recipients:"
    ]
    for recipient, reply in about.replies.items():
        lines += [_safe(str(recipient)), "", *(f"> {_safe(line)}" for line in reply.written(enhanced=True)), ""]
    if about.long:
        lines += ["It is too long to be returned: only its header follows.", ""]
    if about.until is not None:
        lines += [f"Attempts go on until {date(about.until)}. You need not send it again.", ""]
    return "\r\n".join(lines)


def _safe(text: str) -> str:
    """Text from outside as one line of valid UTF-8 that no terminal obeys, cut where it is over-long."""
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    line = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02X}", valid)
    octets = line.encode()
    return line if len(octets) <= _LINE_OCTETS else octets[:_LINE_OCTETS].decode("utf-8", "ignore") + "…"


def _header(parts: Iterable[bytes]) -> bytes:
    """The header of a message, its lines whole; of one that is very long only its begin."""
    held = b""
    for part in parts:
        held += part
        end = held.find(b"\r\n\r\n")
        if 0 <= end <= _HEADER_OCTETS:
            return held[: end + 2]
        if len(held) > _HEADER_OCTETS:
            end = held.rfind(b"\r\n", 0, _HEADER_OCTETS)
            return held[: end + 2 if end >= 0 else _HEADER_OCTETS]
    return held


def _survey(original: Original, wish: bytes) -> tuple[bytes, bool]:
    """
    Read the original: choose the boundary, and see whether there are 8-bit octets.

    Where a line begins with the boundary that we wish, its end is changed into a digest of the original. An original
    cannot contain its own digest, so this ends whatever a sender has prepared.
    """
    boundary = wish[:_BOUNDARY_OCTETS]
    line = b"\n--" + boundary
    eightBit, taken, before = False, False, b"\n"
    for part in original():
        eightBit = eightBit or not part.isascii()
        taken = taken or line in before + part[: len(line)] or line in part
        before = (before + part[-len(line) :])[1 - len(line) :]
    if taken:
        digest = hashlib.sha256()
        for part in original():
            digest.update(part)
        boundary = boundary[:-_CHANGED_OCTETS] + digest.hexdigest()[:_CHANGED_OCTETS].encode()
    return boundary, eightBit
