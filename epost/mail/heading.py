"""
A look at the header of a message while its content streams by.

It counts the Received fields (RFC 5321 6.3: a message that goes round), and puts fields that are missing behind the
client's own lines (spec 8). What the client wrote comes out octet for octet, but for its blind copies where these are
to be taken out (RFC 5322 3.6.3: nobody else may see them). Nothing is kept but the begin of a line
of which it is not yet clear whether it is a field: less than 1,000 octets, however long a header is.

The header ends at an empty line, or at the first line that is neither a field nor a continuation. Where not even the
first line is a field an empty one is put in front of it: else our own Received would make a header of the body.
"""

import re
from collections.abc import Mapping, Sequence

_NAME_OCTETS = 998  # RFC 5322 2.1.1: no line is longer, so no name is

# RFC 5322 3.6.8 and 4.5: a name, blanks where the writer is old, a colon. The quantifiers within a line are
# possessive, so that none is looked at twice; that of the lines is not, as before 3.11.5 Python gets that wrong
# (gh-106052).
_FIELD = rb"[!-9;-~]++[ \t]*+:"
_LINES = re.compile(rb"(?:(?:[ \t]|" + _FIELD + rb")[^\n]*+\n)*")
_OPEN = re.compile(rb"(?:[ \t]|" + _FIELD + rb")[^\n]*+\Z")
_UNDECIDED = re.compile(rb"(?:[!-9;-~]*+[ \t]*+|\r)\Z")
_BLIND = re.compile(rb"(?:resent-)?bcc[ \t]*+:", re.IGNORECASE)
_RECEIVED = re.compile(rb"^received[ \t]*+:", re.IGNORECASE | re.MULTILINE)
_WANTED = re.compile(rb"^(message-id|date|from)[ \t]*+:", re.IGNORECASE | re.MULTILINE)


class Heading:
    """
    The header of one message.

    @ivar received: how many Received fields went by.
    @ivar ended: whether the header is over: what comes now need not be fed any more.
    """

    received = 0
    ended = False
    _undecided = b""
    _started = False  # whether a field went by
    _inside = False  # whether the last part ended inside a line that belongs to the header
    _dropping = False  # inside a field that is taken out

    def __init__(self, limit: int, missing: Mapping[str, bytes] | None = None, blind: bool = False) -> None:
        """
        @param limit: how many Received fields are too many, less one.
        @param missing: lines to add where the message has no such field, by lower-case name: C{message-id}, C{date},
            C{from}.
        @param blind: whether Bcc and Resent-Bcc are taken out.
        """
        self._limit = limit
        self._missing = dict(missing) if missing else {}
        self._blind = blind

    @property
    def tooMany(self) -> bool:
        """Whether the message has gone in circles: more Received fields than the limit."""
        return self.received > self._limit

    def feed(self, part: bytes) -> Sequence[bytes]:
        """Look at the next part of the content. @return: what is to be stored now, in order."""
        if self.ended:
            return (part,)
        block = self._undecided + part if self._undecided else part
        self._undecided = b""
        begin = 0
        if self._inside:
            begin = block.find(b"\n") + 1
            if not begin:
                return () if self._dropping else (block,)
            self._inside = False
        end = self._header(block, begin)
        header = self._seeing(block, begin, end) if self._blind else block[:end]
        if end < len(block) and not (end >= len(block) - _NAME_OCTETS and _UNDECIDED.match(block, end)):
            return (header, *self._end(block[end:]))
        self._undecided = block[end:]
        return (header,) if header else ()

    def finish(self) -> Sequence[bytes]:
        """The content is over. @return: what is still to be stored."""
        return () if self.ended else self._end(self._undecided)

    def _header(self, block: bytes, begin: int) -> int:
        """Where the lines of the header end, of those that begin at C{begin}; an open last line counts."""
        if not self._started and block[begin : begin + 1] in (b" ", b"\t"):
            return begin  # a continuation of nothing
        lines = _LINES.match(block, begin)
        end = lines.end() if lines else begin
        if _OPEN.match(block, end):
            end = len(block)
            self._inside = True
        self._started = self._started or end > begin
        self.received += len(_RECEIVED.findall(block, begin, end))
        if self._missing:
            for name in _WANTED.findall(block, begin, end):
                self._missing.pop(name.lower().decode(), None)
        return end

    def _seeing(self, block: bytes, begin: int, end: int) -> bytes:
        """A part of the header without what is to be taken out. @param begin: where its first line begins."""
        kept = [] if self._dropping else [block[:begin]]
        while begin < end:
            after = block.find(b"\n", begin, end) + 1 or end
            if block[begin] not in b" \t":
                self._dropping = _BLIND.match(block, begin) is not None
            if not self._dropping:
                kept.append(block[begin:after])
            begin = after
        return b"".join(kept)

    def _end(self, rest: bytes) -> list[bytes]:
        """The header is over and C{rest} stands behind it."""
        self.ended = True
        added = list(self._missing.values())
        if not self._started and rest and not rest.startswith(b"\r\n"):
            added.append(b"\r\n")
        return [*added, rest] if rest else added
