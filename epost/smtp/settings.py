"""
What a server session keeps to, and what it announces because of that (spec 8; RFC 5321 4.1.1.1).
"""

from dataclasses import dataclass


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
    """

    host: str
    version: str
    build: str
    messageOctets: int = 26214400
    recipients: int = 100
    errors: int = 20
    bareLineEnds: str = "refuse"
    longLines: str = "accept"

    @property
    def extensions(self) -> tuple[str, ...]:
        """What EHLO announces."""
        return (f"SIZE {self.messageOctets}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "SMTPUTF8")
