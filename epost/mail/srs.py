"""
Reverse paths of mail that is forwarded: rewritten to an address of ours, so that the next server's SPF holds for us,
and read back when something is returned to it (SRS, the Sender Rewriting Scheme of M. Wong and S. Bird).

    SRS0=ABCDEF=T3=test-sample00.jp=user2@test.jp         user2@test-sample00.jp, forwarded by an account of test.jp
    SRS1=GHIJKL=first.example==ABCDEF=T3=…@test.jp        the same, where somebody before us had rewritten it

The six characters are a keyed digest: nobody can make us send what he likes to whom he likes under the name of a
bounce. The two are the day, so that an address that got about is worth nothing L{DAYS} later. All of it survives a host
that changes the case.

There is a library, srslib, and one from which it was made, pysrs; neither has been kept for years, and both are as long
as this. RFC 5321 4.5.3.1.1: what would be longer than any server must take stays as it is.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Sequence

from epost.mail.address import Address, AddressError, parseAddress

DAYS = 21  # until a returned message is not taken any more: longer than anybody tries

_DAY = 86400
_TURN = 1024  # days, as two characters
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DIGEST = 6  # characters of five bits
_ZERO = re.compile(r"SRS0[=+-]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_ONE = re.compile(r"SRS1[=+-]([^=]+)=([^=]+)=([=+-].+)", re.IGNORECASE | re.DOTALL)


class Srs:
    """@param secrets: keys: the first makes addresses, each of them is believed."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets

    def forward(self, sender: Address, domain: str, now: float) -> Address:
        """
        The reverse path with which something is forwarded.

        @param sender: that with which it came.
        @param domain: ours.
        @param now: seconds since 1970.
        @return: C{sender} itself where it cannot be rewritten.
        """
        local = sender.text.rpartition("@")[0]
        zero, one = _ZERO.fullmatch(local), _ONE.fullmatch(local)
        if one:
            body = f"{one[2]}={one[3]}"
        elif zero:
            body = f"{sender.domain}={local[4:]}"
        else:
            day = int(now // _DAY) % _TURN
            body = f"{_DIGITS[day >> 5]}{_DIGITS[day & 31]}={sender.domain}={local}"
        try:
            return parseAddress(f"SRS{1 if zero or one else 0}={self._digest(self._secrets[0], body)}={body}@{domain}")
        except AddressError:  # too long, or a local part in quotes
            return sender

    def isOne(self, address: Address) -> bool:
        """Whether an address looks like one of these."""
        return address.local[:5].upper() in ("SRS0=", "SRS1=")

    def reverse(self, address: Address, now: float) -> Address | None:
        """The address that was rewritten; L{None} where it was not by us, or is too old."""
        found = _ZERO.fullmatch(address.local)
        if found:
            _, stamp, domain, local = found.groups()
            body, original = f"{stamp}={domain}={local}", f"{local}@{domain}"
            day = _DIGITS.index(stamp[0].upper()) << 5 | _DIGITS.index(stamp[1].upper())
            if (int(now // _DAY) - day) % _TURN > DAYS:
                return None
        else:
            found = _ONE.fullmatch(address.local)
            if not found:
                return None
            _, domain, rest = found.groups()
            body, original = f"{domain}={rest}", f"SRS0{rest}@{domain}"
        if not any(hmac.compare_digest(self._digest(key, body), found[1].upper()) for key in self._secrets):
            return None
        try:
            return parseAddress(original)
        except AddressError:
            return None

    def _digest(self, key: bytes, body: str) -> str:
        """Of what stands behind it, whatever its case."""
        made = hmac.digest(key, body.lower().encode("utf-8", "surrogateescape"), "sha256")
        return b32encode(made).decode()[:_DIGEST]
