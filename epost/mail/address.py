"""
Mail addresses: the grammar of RFC 5321 4.1.2 and how two of them are compared.

An address keeps the text that its owner wrote, which is what goes on the wire again, and the parts by which tables are
asked: the local part unquoted and composed (NFC), the domain in lower case as A-labels. Rules compare both parts
without regard to case (spec 3), nor to how a character is composed: what is typed alike is one (RFC 6532 3.1).

RFC 5321 4.1.2, 4.1.3 (address literals), 4.5.3.1 (limits); RFC 6531 3.3 (UTF-8 in both parts).
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

LOCAL_OCTETS = 64  # RFC 5321 4.5.3.1.1
DOMAIN_OCTETS = 255  # RFC 5321 4.5.3.1.2

# Beyond ASCII all but the C1 controls and surrogates: what stands in a log must not steer a terminal.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\xa0-\ud7ff\ue000-\U0010ffff-]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\xa0-\ud7ff\ue000-\U0010ffff]|\\[ -~])*)"\Z')
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\Z")


class AddressError(ValueError):
    """
    A text that is no address: what is wrong with it, without the text, which whoever asks knows.

    @ivar long: whether only its length is wrong.
    """

    def __init__(self, why: str, long: bool = False) -> None:
        super().__init__(why)
        self.long = long


@dataclass(frozen=True, slots=True)
class Address:
    """
    A mailbox as SMTP names it. Two are equal where C{key} is.

    @ivar text: as it was written, without brackets and source route.
    @ivar local: the local part, unquoted, composed.
    @ivar domain: lower case, A-labels; an address literal with its brackets; empty for a bare C{postmaster}.
    """

    text: str = field(compare=False)
    local: str = field(compare=False)
    domain: str = field(compare=False)
    key: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        local = self.local
        if local.isascii():
            object.__setattr__(self, "key", (local.lower(), self.domain))
            return
        object.__setattr__(self, "local", unicodedata.normalize("NFC", local))
        object.__setattr__(self, "key", (unicodedata.normalize("NFC", self.local.lower()), self.domain))

    @property
    def ascii(self) -> bool:
        """Whether the text can be written without SMTPUTF8 (RFC 6531)."""
        return self.text.isascii()

    def __str__(self) -> str:
        return self.text


def domainKey(domain: str) -> str:
    """
    The form in which domains are compared: lower case, A-labels, no dot at the end.

    @raise AddressError: for what is neither a domain nor an address literal.
    """
    if domain.startswith("["):
        return _literal(domain)
    try:
        name = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise AddressError("no domain name") from error
    name = name.lower()
    if len(name) > DOMAIN_OCTETS:
        raise AddressError("domain too long", long=True)
    if not all(_LABEL.match(label) and len(label) <= 63 for label in name.split(".")):
        raise AddressError("no domain name")
    return name


def _literal(text: str) -> str:
    """An address literal in its one normal form (RFC 5321 4.1.3)."""
    try:
        if not text.endswith("]") or "%" in text:  # behind the % of a zone Python takes any text
            raise ValueError
        inside = text[1:-1]
        if inside[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ValueError:
        raise AddressError("no address literal") from None


@lru_cache(maxsize=4096)  # the same people write to the same people
def parseAddress(text: str) -> Address:
    """
    Read C{local@domain}, quoted local parts and address literals included; no brackets, no source route.

    @raise AddressError: with C{long} set where only a length limit is passed.
    """
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError("no domain")
    quoted = _QUOTED.match(local)
    if not quoted and not _DOT_STRING.match(local):
        raise AddressError("no local part")
    if len(local.encode("utf-8", "surrogateescape")) > LOCAL_OCTETS:
        raise AddressError("local part too long", long=True)
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else local
    return Address(text, plain, domainKey(domain))


def postmaster() -> Address:
    """C{postmaster} without a domain, the one address that needs none (RFC 5321 4.5.1)."""
    return Address("postmaster", "postmaster", "")
