"""
Reading what a server says: octets in, L{Reply} values out, without I/O.

A server is not trusted: lines, replies and memory are bounded, and what is no reply ends the conversation. Less is kept
than is read, since a refusal is written down for each recipient at each attempt. Replies are pulled one by one, so that
a good one is not lost because of what follows it.

RFC 5321 4.2 (replies), 4.2.1 (several lines, no text), 4.5.3.1.5 (512 octets a line).
"""

import re

from epost.mail.reply import Refused, Reply

LINE_OCTETS = 4096  # RFC 5321 4.5.3.1.5 promises 512; real servers quote whole URLs and policies
REPLY_LINES = 200
KEPT_OCTETS = 512  # of a line
KEPT_LINES = 20  # of a refusal; a 2xx may be the answer to EHLO, each of whose lines counts

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)


class Replies:
    """The replies in a stream of octets."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = 0
        self._lines: list[str] = []

    def feed(self, octets: bytes) -> None:
        """Take octets as they came."""
        self._buffer = self._buffer + octets if self._buffer else octets

    @property
    def pending(self) -> bool:
        """Whether anything was fed that L{next} has not given out, be it half a line."""
        return bool(self._buffer or self._lines)

    def next(self) -> Reply | None:
        """
        The next whole reply; L{None} when more octets are needed.

        Octets that are no UTF-8 are kept in the text as surrogates, for the log to show. Of a line no more than
        L{KEPT_OCTETS} are kept, of a reply that is not 2xx no more than L{KEPT_LINES}.

        @raise Refused: 451 4.5.0 of our own: what came is no reply. Nothing after it can be trusted.
        """
        while (line := self._line()) is not None:
            found = _LINE.match(line)
            if found is None:
                raise _junk("no SMTP reply", line)
            code = int(found[1])
            if self._lines and code != self._code:  # RFC 5321 4.2.1: the same code on every line
                raise _junk(f"a reply that began with {self._code} goes on", line)
            self._code = code
            self._lines.append(_text(found[3] or b""))
            if found[2] != b"-":
                reply = Reply(code, tuple(self._lines if code < 300 else self._lines[:KEPT_LINES]))
                self._lines = []
                return reply
            if len(self._lines) >= REPLY_LINES:
                raise _junk("a reply without end", line)
        return None

    def _line(self) -> bytes | None:
        """The next line without its end, if it is there."""
        line, end, rest = self._buffer.partition(b"\n")
        if len(line) > LINE_OCTETS:
            raise _junk("a line without end", line)
        if not end:
            return None
        self._buffer = rest
        return line[:-1] if line.endswith(b"\r") else line  # a bare LF ends a line for qmail's and many scripts' sake


def _text(octets: bytes) -> str:
    """What is kept of a line, not cut within a character."""
    if len(octets) > KEPT_OCTETS:
        end = KEPT_OCTETS
        while end > KEPT_OCTETS - 4 and octets[end] & 0xC0 == 0x80:
            end -= 1
        octets = octets[:end]
    return octets.decode("utf-8", "surrogateescape")


def _junk(what: str, line: bytes) -> Refused:
    shown = line[:60].decode("ascii", "backslashreplace")
    return Refused(Reply(451, (f"{what}: {shown}",), "4.5.0"))
