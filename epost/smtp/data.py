"""
The content of a message between 354 and the end of data.

CRLF.CRLF alone ends it, wherever chunks are cut; LF.LF, CR.CR, LF.CRLF and whatever else looks like it are content,
and a fault. After a fault reading goes on to the real end, keeping nothing, so that no content is read as a command.
Nothing is done line by line: what may be the begin of the end of data is held back, and the rest of a chunk is
searched and counted as a whole, in a time that grows with its length alone.

RFC 5321 4.1.1.4 (end of data), 4.5.2 (dots), 2.3.8 (line ends), 4.5.3.1.6 (length of lines), RFC 1870 6.1 (size).
"""

import re

from epost.mail.reply import Reply
from epost.smtp import wording

PART = 65536  # octets of a part at most
FEW = 4096  # octets in which all dots are sought at once
DOTS = 20  # that are looked at one by one
LINE_OCTETS = 998  # without CRLF

_END = b"\r\n.\r\n"
_BEGINS_OF_END = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")  # the longest first
_LINE_END = re.compile(rb"\r\n|\r|\n")


class MailData:
    """
    One content.

    @ivar ended: whether the end of data has come.
    @ivar excess: octets of the last chunk that stand behind the end of data.
    @ivar room: octets that a chunk may have, so that no part is longer than L{PART}.
    """

    ended = False
    excess = 0
    _first = True
    _size = _column = 0
    _bare = _big = _long = False

    def __init__(self, limit: int, repair: bool, refuseLong: bool) -> None:
        """
        @param limit: octets of content; 0: any number.
        @param repair: make CRLF of each bare CR and LF, where else they are a fault.
        @param refuseLong: whether a line above 998 octets is a fault.
        """
        self._limit = limit
        self._repair = repair
        self._refuseLong = refuseLong
        # The CRLF of the command line: with it in front the first line is like all others.
        self._held = b"\r\n"
        self.room = (PART // 2 if repair else PART) - len(_END)

    @property
    def fault(self) -> Reply | None:
        """What the client will be told at the end of data; L{None} while there is no fault."""
        if self._bare:
            return wording.bareLineEnds()
        if self._big:
            return wording.tooBig()
        return wording.longLines() if self._long else None

    def feed(self, octets: bytes) -> bytes:
        """
        Read a chunk. Once C{ended} is set there is no more.

        @param octets: at most C{room}.
        @return: content, dots unstuffed; empty after a fault. It is at most as much longer than the chunk as was held.
        """
        data = self._held + octets
        dots = _dotted(data)
        end = data.find(_END, dots) if dots >= 0 else -1
        if end >= 0:
            self.ended = True
            self.excess = len(data) - end - len(_END)
            text = data[: end + 2]  # its first CRLF belongs to the content
        else:
            held = self._undecided(data)
            text = data[:-held] if held else data
            self._held = data[len(text) :]
        # Where each LF has its CR, and no other is there, this gives the same; to count the pairs takes thrice as long.
        if text.replace(b"\r", b"").replace(b"\n", b"\r\n") != text:
            if self._repair:
                text = _LINE_END.sub(b"\r\n", text)
                dots = 0
            else:
                self._bare = True
        if 0 <= dots != end:  # the first dot is not the one that ends it
            text = text.replace(b"\r\n.", b"\r\n")
        if self._first and text:
            self._first = False
            text = text[2:]
        return self._checked(text)

    def _undecided(self, data: bytes) -> int:
        """How many of the last octets cannot be judged before the next come."""
        for begin in _BEGINS_OF_END:
            if data.endswith(begin):
                return len(begin)
        # A bare LF that is repaired begins a line, whose dot goes like every other: LF.LF becomes an empty line.
        # Else a lone dot would stand in the content for a next hop to trip over.
        return 1 if self._repair and data.endswith(b"\n") else 0

    def _checked(self, text: bytes) -> bytes:
        """Apply the limits. Every one is looked at to the end, so that the verdict does not depend on chunks."""
        self._size += len(text)
        if self._limit and self._size > self._limit:
            self._big = True
        if self._refuseLong and not self._long:
            self._measure(text)
        return b"" if self._bare or self._big or self._long else text

    def _measure(self, text: bytes) -> None:
        """Look for a line that is too long, leaping from a line end to the last one that the limit allows."""
        at = -self._column
        while (end := text.rfind(b"\n", max(at, 0), at + LINE_OCTETS + 2)) >= 0:
            at = end + 1
        self._column = len(text) - at
        self._long = self._column > LINE_OCTETS


def _dotted(data: bytes) -> int:
    """
    Where the first line begins that has a dot in front, its CRLF included; negative: none does.

    To look for one octet takes a fiftieth of what it takes to look for three. In what is encoded there are dots in the
    header alone, so there they are soon through; in what has more of them the rest is searched in one go.
    """
    if len(data) < FEW:
        return data.find(b"\r\n.")
    at = data.find(b".")
    for _ in range(DOTS):
        if at < 0 or data.endswith(b"\r\n", 0, at):
            return at - 2
        at = data.find(b".", at + 1)
    return data.find(b"\r\n.", at - 2) if at >= 0 else -1
