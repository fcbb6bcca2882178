"""
What may stand in one line: a text from outside in a log cannot end a line or begin another, and no terminal obeys it
(spec 6); what is set or typed in is refused where it holds such a character.
"""

import re

# What ends a line or a column somewhere, steers a terminal or turns round how a line reads (UAX 9), and what is no
# UTF-8. Blanks of any width are text.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

LONGEST = 512  # octets of a text from outside (spec 6)

# In a log, where it is to be seen who it was, also what is not seen at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff\udc80-\udcff]")


def safe(text: str) -> str:
    """
    A text from outside as it may stand in a log: control characters, those of Unicode for lines and directions and
    those without a width among them, and octets that are no UTF-8 as C{\\xNN}; what is beyond L{LONGEST} octets cut
    off, which C{…} tells.
    """
    if text.isascii() and text.isprintable() and len(text) <= LONGEST:
        return text
    octets = text.encode("utf-8", "surrogateescape")
    end = LONGEST
    if len(octets) <= end:
        return _UNSAFE.sub(_escaped, text)
    while end > LONGEST - 4 and octets[end] & 0xC0 == 0x80:  # never within a character
        end -= 1
    return _UNSAFE.sub(_escaped, octets[:end].decode("utf-8", "surrogateescape")) + "…"


def _escaped(found: re.Match[str]) -> str:
    """One character as the octets that it came as."""
    return "".join(f"\\x{octet:02x}" for octet in found[0].encode("utf-8", "surrogateescape"))
