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

_ATEXT = "!#$&'*+/=?^_`{|}~.-"  # beside letters and digits; a % begins what is none
_LINE_OCTETS = 998  # RFC 5322 2.1.1
_FOREIGN = re.compile(rb"(?:list-[!-9;-~]*+|precedence)[ \t]*+(?::|\Z)", re.IGNORECASE)  # at \Z one that is too long
_UNDECIDED = re.compile(rb"(?:[!-9;-~]*+[ \t]*+|\r)\Z")
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
    Takes the fields of other lists out of a message while it streams by, however long its header is.

    Nothing is kept but the begin of a line of which it is not yet clear which field it is. The header ends at an empty
    line and nowhere else: who reads on behind a line that is no field is to find no field of a list either.
    """

    def __init__(self) -> None:
        self._over = False
        self._undecided = b""
        self._inside = False  # whether the last part ended inside a line
        self._dropping = False  # whether the last line belongs to what is taken out

    def feed(self, part: bytes) -> bytes:
        """@param part: the next octets. @return: what is to be stored now."""
        if self._over:
            return part
        block, begin, kept = self._undecided + part, 0, []
        self._undecided = b""
        while begin < len(block):
            if not self._inside:
                if block.startswith((b"\r\n", b"\n"), begin):
                    self._over = True
                    kept.append(block[begin:])
                    break
                if begin >= len(block) - _LINE_OCTETS and _UNDECIDED.match(block, begin):
                    self._undecided = block[begin:]
                    break
                if block[begin] not in b" \t":
                    self._dropping = _FOREIGN.match(block, begin) is not None
            after = block.find(b"\n", begin) + 1
            self._inside = not after
            after = after or len(block)
            if not self._dropping:
                kept.append(block[begin:after])
            begin = after
        return b"".join(kept)

    def finish(self) -> bytes:
        """No header comes any more. @return: what is still to be stored."""
        return self._undecided
