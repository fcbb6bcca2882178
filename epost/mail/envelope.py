"""
Who a message is from and for, apart from what it says (RFC 5321 2.3.1).

An envelope is settled when DATA is answered with 354 and never changes: what becomes of each recipient stands in the
queue entry (L{epost.mail.entry}).
"""

from epost.mail.address import Address
from epost.mail.value import value


@value(frozen=True, slots=True)
class Envelope:
    """
    The envelope of one message.

    @ivar sender: the reverse path; L{None} is the null reverse path C{<>} (RFC 5321 4.5.5).
    @ivar recipients: the forward paths after aliases, each once, at least one.
    @ivar utf8: whether the next hop must speak SMTPUTF8 (RFC 6531).
    @ivar body: C{""}, C{"7BIT"} or C{"8BITMIME"} as MAIL said (RFC 6152).
    @ivar client: the IP address that it came from; empty for what we wrote ourselves.
    @ivar ours: whether the sender is one of ours and no stranger's invention: its client has logged in, or is in a
        network of ours.
    """

    sender: Address | None
    recipients: tuple[Address, ...]
    utf8: bool = False
    body: str = ""
    client: str = ""
    ours: bool = False
