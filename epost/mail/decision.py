"""
A decision about a sender or a recipient, and what decided it.

The same value answers the client, the daemon's log ("which rule, which line, why") and whoever asks what would happen.
"""

import enum
from dataclasses import dataclass

from epost.mail.address import Address
from epost.mail.reply import Reply
from epost.mail.value import value


@value(frozen=True, slots=True)
class Client:
    """
    Who is at the other end of a session.

    @ivar address: IP address, IPv4-mapped ones as IPv4.
    @ivar helo: what it called itself; empty before HELO.
    @ivar extended: whether it said EHLO.
    @ivar account: the account it authenticated as; L{None} without AUTH.
    @ivar tls: version and cipher; empty in clear.
    @ivar known: whether a table names the machine: a next hop, or one with a C{true} line. What it hands over was
        taken by another server, which has put lines in front of it: the limits of a message are wider for it.
    @ivar submission: whether it came to a port for submission (RFC 6409, RFC 8314).
    """

    address: str
    helo: str = ""
    extended: bool = False
    account: Address | None = None
    tls: str = ""
    known: bool = False
    submission: bool = False

    def named(self, helo: str, extended: bool) -> "Client":
        """The same, having said HELO or EHLO."""
        return Client(self.address, helo, extended, self.account, self.tls, self.known, self.submission)


@value(frozen=True, slots=True)
class Because:
    """
    What decided.

    @ivar table: a file's name as configured, or C{matrix}, C{limit}, C{verification}.
    @ivar line: the line's number in it, from 1; 0 where there is none.
    @ivar text: the line without comment and outer blanks, or a short sentence.
    """

    table: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.table}:{self.line}" if self.line else self.table
        return f'{place} "{self.text}"'


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    How much an account may send to the outside; 0: without limit.

    @ivar messagesPerHour: messages with at least one recipient outside.
    @ivar recipientsPerHour: recipients outside.
    """

    messagesPerHour: int = 0
    messagesPerDay: int = 0
    recipientsPerHour: int = 0
    recipientsPerDay: int = 0

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self != Allowed()


@value(frozen=True, slots=True)
class Spent:
    """
    What was counted for one recipient outside, so that it can be given back.

    @ivar account: whose allowance it was.
    @ivar message: whether its message was counted with it.
    @ivar buckets: in which windows, by their names, and in which bucket of each.
    """

    account: Address
    message: bool
    buckets: tuple[tuple[str, int], ...]


class Scope(enum.Enum):
    """To whom an accepted sender may write."""

    ANYWHERE = "anywhere"
    INSIDE = "inside"


@value(frozen=True, slots=True)
class Decision:
    """
    @ivar reply: what the client is told.
    @ivar because: what decided it.
    @ivar scope: of a decision on a sender: whom it may write to; without meaning where the reply refuses.
    @ivar octets: of a decision on a sender: the greatest message that it may hand over, where that is less than anybody
        may; 0: as anybody.
    @ivar ours: of a decision on a sender: see L{epost.mail.envelope.Envelope}.
    @ivar spent: of a decision on a recipient: what was counted for it, and is to be given back if the message comes to
        nothing (L{epost.interfaces.IAdmission.giveBack}); L{None}: nothing.
    """

    reply: Reply
    because: Because
    scope: Scope = Scope.INSIDE
    octets: int = 0
    ours: bool = False
    spent: Spent | None = None

    @property
    def accepts(self) -> bool:
        """Whether the client may go on."""
        return self.reply.code < 400
