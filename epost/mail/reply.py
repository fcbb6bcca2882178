"""
What an SMTP server says, as a value.

The same value is sent to a client, kept with an attempt, written to the logs and quoted in a notice, so that all of
them tell one story. What somebody will be told about is a Reply; L{Refused} carries one out of a call that ends.

RFC 5321 4.2 (replies), RFC 2034 and RFC 3463 (enhanced status codes).
"""

import re
from dataclasses import field

from epost.mail.value import value

_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")


@value(frozen=True, slots=True)
class Reply:
    """
    One reply.

    @ivar code: 200 to 599.
    @ivar lines: the text of each line, without code and line end. At least one, which may be empty.
    @ivar enhanced: our own enhanced status code, like C{5.7.1}; empty where none belongs in front of the text. It is
        empty in a reply that was heard from another server: what that one wrote stands in C{lines}.
    @ivar spoken: how L{epost.smtp.wire} writes it, once somebody has heard it: decisions that are remembered are said
        again and again.
    """

    code: int
    lines: tuple[str, ...]
    enhanced: str = ""
    spoken: tuple[list[str], bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def accepts(self) -> bool:
        """Whether the other side took what it was given (2xx, 3xx)."""
        return self.code < 400

    @property
    def transient(self) -> bool:
        """Whether the same may succeed later (4xx)."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the same would be refused again (5xx)."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code, our own or the one that the text begins with; C{x.0.0} where there is none."""
        if self.enhanced:
            return self.enhanced
        found = _STATUS.match(self.lines[0])
        return found[1] if found else f"{self.code // 100}.0.0"

    def written(self, enhanced: bool) -> list[str]:
        """
        The lines as they go over the wire, without line ends.

        @param enhanced: whether the session announced ENHANCEDSTATUSCODES (after EHLO); then each line has the code in
            front (RFC 2034 4).
        """
        status = f"{self.enhanced} " if enhanced and self.enhanced else ""
        if len(self.lines) == 1:
            return [f"{self.code} {status}{self.lines[0]}"]
        last = len(self.lines) - 1
        return [f"{self.code}{' ' if i == last else '-'}{status}{text}" for i, text in enumerate(self.lines)]

    def __str__(self) -> str:
        """All lines, joined by LF, as a notice quotes them."""
        return "\n".join(self.written(enhanced=True))


class Refused(Exception):
    """
    A call ends with something that a client or a sender is told.

    @ivar reply: what.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
