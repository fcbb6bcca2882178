"""
What a server session keeps to, and what it announces because of that (spec 8; RFC 5321 4.1.1.1).
"""

from dataclasses import dataclass

WRITTEN = 65536  # octets that a server may have written in front of what it took


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """
    What a session keeps to.

    @ivar host: our name.
    @ivar version: as in banner and Received.
    @ivar build: as in the banner.
    @ivar messageOctets: of content at most; 0: any number.
    @ivar recipients: accepted ones of a message at most.
    @ivar errors: failed commands after which the connection ends; a message that was taken forgives all before it.
    @ivar bareLineEnds: C{refuse} or C{repair} a CR or LF in content that is no CRLF.
    @ivar longLines: C{accept} or C{refuse} lines of content above 998 octets.
    @ivar startTls: whether STARTTLS is offered to who came in clear.
    @ivar auth: whether there is AUTH, for clients that may use it.
    @ivar submission: whether this port is for people, who have to log in (RFC 6409 4.3).
    """

    host: str
    version: str
    build: str
    messageOctets: int = 26214400
    recipients: int = 100
    errors: int = 20
    bareLineEnds: str = "refuse"
    longLines: str = "accept"
    startTls: bool = False
    auth: bool = False
    submission: bool = False

    def octets(self, known: bool) -> int:
        """
        Octets of content at most; 0: any number.

        @param known: whether another server hands it over, which took it and wrote its lines in front: what it may
            take we must take too, or a message of just the limit comes back to a sender who may be forged.
        """
        return self.messageOctets + WRITTEN if known and self.messageOctets else self.messageOctets

    def extensions(self, known: bool) -> tuple[str, ...]:
        """What EHLO announces."""
        return (f"SIZE {self.octets(known)}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "SMTPUTF8")

    @property
    def commands(self) -> int:
        """Commands that may come before a message is taken: an end for a client that only talks."""
        return 100 + 10 * self.recipients
