"""
Octets on the wire: a reply as it is written, and the buffer that command lines are read from.

A command line ends with CRLF and with nothing else (RFC 5321 2.3.8): a bare CR or LF is an octet of the line, and no
command holds one. A line that never ends must not fill the memory: what goes beyond the limit is dropped as it comes,
and the line, cut, is given once when its CRLF is there.
"""

from epost.mail.reply import Reply

LINE_OCTETS = 512  # with CRLF, commands and replies (RFC 5321 4.5.3.1.4, 4.5.3.1.5)


def spoken(reply: Reply, enhanced: bool) -> tuple[list[str], bytes]:
    """
    The lines of a reply as they go out, without line ends, and as octets.

    No text can hold a line end or another control: our own wording has none, a reply that quotes another server might.
    A line that is too long is cut.
    """
    lines = reply.written(enhanced)
    if len(lines) == 1 and len(lines[0]) < LINE_OCTETS // 4 and lines[0].isprintable():  # as nearly all are
        return lines, lines[0].encode() + b"\r\n"
    if not all(map(str.isprintable, lines)):
        lines = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    octets = [line.encode("utf-8", "replace")[: LINE_OCTETS - 2] + b"\r\n" for line in lines]
    return lines, b"".join(octets)


class Unread:
    """
    What has come and is not yet read, in order.

    @ivar limit: octets of a line with its CRLF; a longer one is cut.
    """

    __slots__ = ("_at", "_cut", "_octets", "_sought", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._octets = b""
        self._at = 0  # what is before is read
        self._sought = 0  # what is before holds no CRLF
        self._cut = b""  # the begin of a line whose rest is being dropped

    def __len__(self) -> int:
        """Octets that are held."""
        return len(self._octets) - self._at + len(self._cut)

    def add(self, octets: bytes) -> None:
        """Put octets behind."""
        if self._at == len(self._octets):
            self._octets = octets
            self._at = self._sought = 0
        else:
            self._octets = self._octets[self._at :] + octets
            self._sought -= self._at
            self._at = 0

    def line(self) -> bytes | None:
        """
        The next line without its CRLF, or L{None} while it has not ended.

        One above the limit comes cut to C{limit} octets, which no line within the limit has.
        """
        end = self._octets.find(b"\r\n", self._sought)
        if end < 0:
            if self._octets:
                self._wait()
            return None
        line = self._cut + self._octets[self._at : end]
        self._at = self._sought = end + 2
        self._cut = b""
        if self._at == len(self._octets):
            self._octets, self._at, self._sought = b"", 0, 0
        return line if len(line) <= self.limit - 2 else line[: self.limit]

    def _wait(self) -> None:
        """Remember how far was sought; drop what is read (an idle session must cost little) and what is too much."""
        # The last octet may be the CR of the CRLF to come.
        sought = max(self._at, len(self._octets) - 1)
        if self._cut or len(self._octets) - self._at > self.limit:
            self._cut = self._cut or self._octets[self._at : self._at + self.limit]
            self._at = sought
        self._octets = self._octets[self._at :]
        self._sought = sought - self._at
        self._at = 0

    def take(self, limit: int) -> bytes:
        """The next octets, at most C{limit}, as they are; empty when there are none."""
        start = self._at
        self._at = self._sought = min(start + limit, len(self._octets))
        if start == self._at:
            self.clear()
        return self._octets[start : self._at]

    def back(self, count: int) -> None:
        """Put back the last octets that L{take} gave."""
        self._at -= count
        self._sought = self._at

    def clear(self) -> None:
        """Forget everything."""
        self._octets = self._cut = b""
        self._at = self._sought = 0
