"""
Octets on the wire: a reply as it is written, and the buffer that command lines are read from.

A command line ends with CRLF and with nothing else (RFC 5321 2.3.8): a bare CR or LF is an octet of the line, and no
command holds one. A line that never ends must not fill the memory: what goes beyond the limit is dropped as it comes,
and the line, cut, is given once when its CRLF is there.
"""

from functools import lru_cache

from epost.mail.reply import Reply

LINE_OCTETS = 512  # with CRLF, commands and replies (RFC 5321 4.5.3.1.4, 4.5.3.1.5)
_PLAIN = LINE_OCTETS // 4  # characters that take no more octets


def spoken(reply: Reply, enhanced: bool) -> tuple[list[str], bytes]:
    """
    The lines of a reply as they go out, without line ends, and as octets.

    No text can hold a line end or another control: our own wording has none, a reply that quotes another server might.
    A line that is too long is cut.
    """
    lines = reply.lines
    if len(lines) == 1:  # as nearly all are
        status = f"{reply.enhanced} " if enhanced and reply.enhanced else ""
        line = f"{reply.code} {status}{lines[0]}"
        if len(line) < _PLAIN and line.isprintable():
            return [line], f"{line}\r\n".encode()
    return _spoken(reply, enhanced)


@lru_cache(maxsize=256)  # the reply to EHLO is long, and the same for the same client
def _spoken(reply: Reply, enhanced: bool) -> tuple[list[str], bytes]:
    """Any reply."""
    lines = reply.written(enhanced)
    if not all(map(str.isprintable, lines)):
        lines = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    octets = [line.encode("utf-8", "replace")[: LINE_OCTETS - 2] + b"\r\n" for line in lines]
    return lines, b"".join(octets)


class Unread:
    """
    What has come and is not yet read, in order.

    @ivar limit: octets of a line with its CRLF; a longer one is cut.
    @ivar octets: what is held; where it is empty there is nothing to read.
    """

    __slots__ = ("_at", "_cut", "_sought", "limit", "octets")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.octets = b""
        self._at = 0  # what is before is read
        self._sought = 0  # what is before holds no CRLF
        self._cut = b""  # the begin of a line whose rest is being dropped

    def __len__(self) -> int:
        """Octets that are held."""
        return len(self.octets) - self._at + len(self._cut)

    def add(self, octets: bytes) -> None:
        """Put octets behind."""
        if not self.octets:
            self.octets = octets
        else:
            self.octets = self.octets[self._at :] + octets
            self._sought -= self._at
            self._at = 0

    def line(self) -> bytes | None:
        """
        The next line without its CRLF, or L{None} while it has not ended.

        One above the limit comes cut to C{limit} octets, which no line within the limit has.
        """
        octets = self.octets
        end = octets.find(b"\r\n", self._sought)
        if end < 0:
            if octets:
                self._wait()
            return None
        line = octets[self._at : end]
        if end + 2 < len(octets):
            self._at = self._sought = end + 2
        else:
            self.octets = b""
            self._at = self._sought = 0
        if self._cut:
            line, self._cut = self._cut + line, b""
        return line if len(line) <= self.limit - 2 else line[: self.limit]

    def _wait(self) -> None:
        """Remember how far was sought; drop what is read (an idle session must cost little) and what is too much."""
        # The last octet may be the CR of the CRLF to come.
        sought = max(self._at, len(self.octets) - 1)
        if self._cut or len(self.octets) - self._at > self.limit:
            self._cut = self._cut or self.octets[self._at : self._at + self.limit]
            self._at = sought
        self.octets = self.octets[self._at :]
        self._sought = sought - self._at
        self._at = 0

    def take(self, limit: int) -> bytes:
        """The next octets, at most C{limit}, as they are; empty when there are none."""
        start = self._at
        octets = self.octets
        if start + limit < len(octets):
            self._at = self._sought = start + limit
            return octets[start : self._at]
        self.octets = b""
        self._at = self._sought = 0
        return octets[start:] if start else octets

    def back(self, octets: bytes) -> None:
        """Put the last octets that L{take} gave in front again."""
        if octets:
            self.octets = octets + self.octets[self._at :]
            self._at = self._sought = 0

    def clear(self) -> None:
        """Forget everything."""
        self.octets = self._cut = b""
        self._at = self._sought = 0
