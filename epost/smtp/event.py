"""
What a server session tells its shell: the steps of RFC 5321 as frozen values.

L{Mail}, L{Rcpt}, L{Data}, L{End}, L{Auth} and L{Response} wait for an answer; the others are news. A transaction is
C{Mail Rcpt+ Data Content* End}, or is cut short anywhere by one L{Discard}. L{Closed} is the last event, again and
again.
"""

import enum
from dataclasses import field

from epost.mail.address import Address
from epost.mail.decision import Client
from epost.mail.value import value


@value(frozen=True, slots=True)
class Hello:
    """The client named itself; the session has answered. @ivar client: as it is known from now on."""

    client: Client


@value(frozen=True, slots=True)
class StartTls:
    """
    The client may begin a handshake: 220 is said, and nothing has come behind the command (RFC 3207 4).

    This session has ended; what the client says inside TLS is for a new one, which is told of it.
    """


@value(frozen=True, slots=True)
class Auth:
    """
    A login begins (RFC 4954 4). Wants an answer: a challenge, or a reply.

    @ivar mechanism: as the client wrote it.
    @ivar response: the initial response, not in base64; L{None} where there is none.
    """

    mechanism: str
    response: bytes | None = field(default=None, repr=False)


@value(frozen=True, slots=True)
class Response:
    """The response to a challenge. Wants an answer, as L{Auth} does. @ivar octets: not in base64."""

    octets: bytes = field(repr=False)


@value(frozen=True, slots=True)
class Mail:
    """
    A transaction is asked for. Wants an answer.

    @ivar path: the reverse path; L{None} for the null one and where C{blank} is set.
    @ivar blank: nothing at all stood behind C{MAIL FROM:}.
    @ivar size: octets as declared (RFC 1870); L{None} where they were not.
    @ivar utf8: whether SMTPUTF8 was asked for (RFC 6531).
    @ivar body: C{""}, C{"7BIT"} or C{"8BITMIME"} (RFC 6152).
    """

    path: Address | None
    blank: bool = False
    size: int | None = None
    utf8: bool = False
    body: str = ""


@value(frozen=True, slots=True)
class Rcpt:
    """A recipient is asked for. Wants an answer. @ivar path: the forward path."""

    path: Address


@value(frozen=True, slots=True)
class Data:
    """Content is about to come. Wants an answer: 354, or a refusal, which leaves the transaction as it is."""


@value(frozen=True, slots=True)
class Content:
    """
    The next octets of the content.

    @ivar part: dots unstuffed, every line ended by CRLF; at most L{epost.smtp.data.PART} octets, cut anywhere.
    """

    part: bytes


@value(frozen=True, slots=True)
class End:
    """The content is complete and without fault. Wants an answer; any answer ends the transaction."""


@value(frozen=True, slots=True)
class Discard:
    """
    What the shell holds of this transaction is void: RSET, a new HELO, content with a fault, the end of the session.

    It never follows an L{End}: from there on the message is the shell's.
    """


@value(frozen=True, slots=True)
class Closed:
    """Nothing more will be read. What the session still has to say is to be sent before the connection ends."""


Question = Mail | Rcpt | Data | End | Auth | Response  # what wants an answer
Event = Question | Hello | StartTls | Content | Discard | Closed


class Want(enum.Enum):
    """Why there is no event."""

    DATA = "data"  # more octets from the client
    ANSWER = "answer"  # the answer to the last event
