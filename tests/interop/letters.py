"""
The messages, and whether one that was delivered is still the one that was sent.

Whoever passes a message on may write above it, in trace fields alone; the rest stays octet for octet
(RFC 5321 4.4, 6.4).
"""

import base64
import email
import email.policy
import re

HEADER = (
    "From: bucho@test.jp\r\n"
    "To: kacho@test.jp\r\n"
    "Subject: {mark}\r\n"
    "Date: Mon, 06 Jul 2009 16:27:34 +0900\r\n"
    "Message-Id: <{mark}@desk.test.jp>\r\n"
    "MIME-Version: 1.0\r\n"
)
TEXT = 'Content-Type: text/plain; charset="{charset}"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'

_TRACE = re.compile(rb"(?:(?:Return-Path|Delivered-To|X-Original-To|Received):.*\r\n(?:[ \t].*\r\n)*)*")

_FIGURES = bytes(range(256)) * 300


def _text(body: str, charset: str = "utf-8", encoding: str = "8bit") -> bytes:
    """The fields about the text, and the text."""
    return TEXT.format(charset=charset, encoding=encoding).encode() + body.encode(charset)


def _attachment() -> bytes:
    """A text and a file behind it."""
    file = base64.encodebytes(_FIGURES).replace(b"\n", b"\r\n")
    return (
        b'Content-Type: multipart/mixed; boundary="=-parts-="\r\n\r\n'
        b"--=-parts-=\r\n" + _text("A file.\r\n", "us-ascii", "7bit") + b"\r\n--=-parts-=\r\n"
        b'Content-Type: application/octet-stream; name="figures.bin"\r\nContent-Transfer-Encoding: base64\r\n'
        b'Content-Disposition: attachment; filename="figures.bin"\r\n\r\n' + file + b"--=-parts-=--\r\n"
    )


LETTERS = {
    "dots": _text(".\r\n..\r\n.dot\r\n\r\n.\r\n\r\n ..\r\n...last\r\n", "us-ascii", "7bit"),
    "8-bit": _text("日本語 € ÿ\r\nblanks at the end \t \r\n\r\n"),
    "ISO-2022-JP": _text("部長各位\r\n本日の会議は中止です。\r\n", "iso-2022-jp", "7bit"),
    "long lines": _text(
        "long " * 199 + "998\r\n" + "longer " * 5000 + "\r\n" + "." * 3000 + "\r\n", "us-ascii", "7bit"
    ),
    "attachment": _attachment(),
}
"""What stands behind L{HEADER}, by name."""


def letter(mark: str, kind: str) -> bytes:
    """A message. @param mark: its subject, by which it is found again."""
    return HEADER.format(mark=mark).encode() + LETTERS[kind]


def large(mark: str, octets: int) -> bytes:
    """A message of so many octets, or a few more."""
    line = b"seventy-eight octets, and this many times, until it is more than they will take\r\n"
    return HEADER.format(mark=mark).encode() + _text("", "us-ascii", "7bit") + line * (octets // len(line))


def marked(content: bytes, mark: str) -> bool:
    """Whether this is the message, or one that quotes it."""
    return re.search(rb"^Subject: %s\r?$" % re.escape(mark.encode()), content, re.MULTILINE) is not None


def difference(sent: bytes, got: bytes, rewrites: bool = False) -> str:
    """
    What is wrong with a message that came; nothing where it is right.

    @param got: from a wire, or from a Maildir, where lines end with LF.
    @param rewrites: the client made a message of its own: what a reader sees has to be the same.
    """
    if b"\r\n" not in got:
        got = got.replace(b"\n", b"\r\n")
    if rewrites:
        return "" if reading(got) == reading(sent) else f"a reader sees {reading(got)!r:.600}"
    if not got.endswith(sent):
        at = next((n for n, (a, b) in enumerate(zip(sent[::-1], got[::-1], strict=False)) if a != b), len(got))
        return f"other octets before the last {at} of {len(sent)}: {got[len(got) - at - 60 :][:90]!r}"
    above = got[: len(got) - len(sent)]
    return "" if _TRACE.fullmatch(above) else f"more than trace fields above it: {above!r}"


def reading(content: bytes) -> list[str | bytes]:
    """The subject, and each part decoded."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    parts = [part.get_content() for part in message.walk() if not part.is_multipart()]
    return [str(message["Subject"]), *(p.replace("\r\n", "\n") if isinstance(p, str) else p for p in parts)]
