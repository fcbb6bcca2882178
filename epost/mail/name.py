"""
The names of messages: C{B0000000186}, C{B0000000186-R0001}, C{B0000000186-R0001-E001}.

A name is the same on disk, in senderlog, in the mailbox and in the reply to the end of data (spec 2). Its stem never
changes; the retry number behind it does. The notice about C{B0000000186-R0001} has the stem C{B0000000186-R0001-E001}
and retries of its own.
"""

import re
from dataclasses import replace

from epost.mail.value import value

# No number has more than 17 digits: the file of a stranger must not carry the count beyond what can be written.
_PARTS = re.compile(r"(B(\d{10,17})(?:(?:-R\d{4,})?-[EW]\d{3,})?)(?:-R(\d{4,}))?\Z")


@value(frozen=True, slots=True, order=True)
class Name:
    """
    The name of one message at one attempt.

    @ivar number: as allotted by the serial.
    @ivar stem: what stays the same from attempt to attempt.
    @ivar retry: 0 for the first attempt, n for C{-R000n}.
    """

    number: int
    stem: str
    retry: int = 0

    def __str__(self) -> str:
        return f"{self.stem}-R{self.retry:04d}" if self.retry else self.stem

    def again(self, retry: int) -> "Name":
        """The same message at another attempt."""
        return replace(self, retry=retry)

    def notice(self, ordinal: int, kind: str = "E") -> "Name":
        """The name of a notice about this message: kind C{E} for failure, C{W} for a warning of delay (spec 9)."""
        return Name(self.number, f"{self}-{kind}{ordinal:03d}")

    @property
    def isNotice(self) -> bool:
        """Whether this message is one that we wrote: it is never returned."""
        return "-" in self.stem


def numbered(number: int) -> Name:
    """The name of a new message."""
    return Name(number, f"B{number:010d}")


def parseName(text: str) -> Name | None:
    """Read a name, without C{.MSG}; L{None} where the text is none."""
    found = _PARTS.match(text)
    return Name(int(found[2]), found[1], int(found[3] or 0)) if found else None
