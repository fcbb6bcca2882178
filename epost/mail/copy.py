"""
What one accepted message is stored as: a copy for each reverse path with which it goes on.

Most messages are one copy, and it is what the client handed over. Each list makes another, from the list's own
address; and so does each recipient whose mail somebody here has sent on to the outside, as that copy says who had it.
Such a copy comes back to where it was made only if the way is a circle, and then it is not made once more.

RFC 5321 6.3 (circles beyond the counting of Received); RFC 3834 2; RFC 2919.
"""

from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.autoreply import Letter
from epost.mail.envelope import Envelope
from epost.mail.route import Local
from epost.mail.value import value


@value(frozen=True, slots=True)
class Copy:
    """
    One of them.

    @ivar envelope: its own reverse path and recipients.
    @ivar front: fields that stand before those of the client, complete lines.
    @ivar list: the List-Id of the list that distributes it; empty: none does.
    @ivar by: the address whose mail is sent on; L{None}: none is.
    @ivar kept: whether another copy leads from that address into a mailbox here.
    @ivar passed: the mailboxes from which all is sent on, and that so do not get it.
    """

    envelope: Envelope
    front: bytes = b""
    list: str = ""
    by: Address | None = None
    kept: bool = False
    passed: tuple[Local, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is as the client handed it over."""
        return not self.front

    def circles(self, letter: Letter) -> bool:
        """
        Whether the message has been where this copy is made.

        To a list that is so for what a program answered to it too. What a program wrote by itself (cron) is taken.

        @param letter: the header as it came.
        """
        if self.list:
            seen = any(f"<{self.list}>" in value.lower() for value in letter.fields.get("list-id", ()))
            return seen or "auto-replied" in letter.words("auto-submitted")
        return self.by is not None and any(map(self._names, letter.fields.get("delivered-to", ())))

    def _names(self, value: str) -> bool:
        try:
            return parseAddress(value.strip("<> ")) == self.by
        except AddressError:
            return False
