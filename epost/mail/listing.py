"""
What a mailing list writes into a message, and what of it may not stand there already.

The sender's words stay as they are, subject and Reply-To included, so that signatures of his (DKIM) hold. Fields of
another list, or such as a sender made up, go: nobody is to leave a list by somebody else's address.

RFC 2919 (List-Id); RFC 2369 (List-Post, List-Unsubscribe, List-Owner; 2 and 4: each once, none from outside);
RFC 3834 2 (Precedence, by which programs know that they must not answer).
"""

import re
from email.header import Header
from urllib.parse import quote

from epost.mail.address import Address
from epost.mail.autoreply import HEADER_OCTETS

_ATEXT = "!#$&'*+/=?^_`{|}~.-"  # beside letters and digits; a % begins what is none
_FOREIGN = re.compile(rb"^(?:list-[!-9;-~]*|precedence)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)
_PLAIN = re.compile(r"[ !#-\[\]-~]{1,60}\Z")


def identifier(address: Address) -> str:
    """The List-Id of a list, without its brackets; lower case, so that it can be compared."""
    return f"{quote(address.local, safe=_ATEXT)}.{address.domain}".lower()


def fields(address: Address, name: str, keeper: Address, posts: bool) -> bytes:
    """
    The fields of a list.

    @param name: as people call it, one line.
    @param keeper: whom people write to about it.
    @param posts: whether others than its owner may write to it.
    """
    phrase = f'"{name}"' if _PLAIN.match(name) else Header(name, "utf-8", 60).encode(linesep="\r\n")
    owner = f"<mailto:{_escaped(keeper)}"
    return (
        f"List-Id: {phrase}\r\n <{identifier(address)}>\r\n"
        f"List-Post: {f'<mailto:{_escaped(address)}>' if posts else 'NO'}\r\n"
        f"List-Unsubscribe: {owner}?subject=unsubscribe>\r\n"
        f"List-Owner: {owner}>\r\n"
        "Precedence: list\r\n"
    ).encode()


def _escaped(address: Address) -> str:
    """An address in a URI (RFC 6068 2)."""
    return f"{quote(address.text.rpartition('@')[0], safe='')}@{address.domain}"


class Cleaning:
    """
    Takes the fields of other lists out of a message while it streams by.

    The header is kept until it ends; one longer than any that is looked at comes out as it is.
    """

    def __init__(self) -> None:
        self._kept: bytearray | None = bytearray()

    def feed(self, part: bytes) -> bytes:
        """@param part: the next octets. @return: what is to be stored now."""
        if self._kept is None:
            return part
        seen = max(len(self._kept) - 3, 0)  # what is in front was looked at
        self._kept += part
        over = self._kept.find(b"\r\n\r\n", seen) >= 0 or len(self._kept) > HEADER_OCTETS
        if over or self._kept.startswith(b"\r\n"):
            return self.finish()
        return b""

    def finish(self) -> bytes:
        """No header comes any more. @return: what is still to be stored."""
        kept, self._kept = bytes(self._kept or b""), None
        if kept.startswith(b"\r\n"):
            return kept
        end = kept.find(b"\r\n\r\n") + 2
        if end < 2:
            end = len(kept) if len(kept) <= HEADER_OCTETS else 0
        return _FOREIGN.sub(b"", kept[:end]) + kept[end:]
