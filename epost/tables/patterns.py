"""
The patterns that tables are written in: networks, domains and mailboxes with C{*}.

C{*} is any run of characters but C{@}. Domains are compared as lower-case A-labels, local parts unquoted and in lower
case, IPv4-mapped addresses as IPv4 (spec 3).
"""

import functools
import ipaddress
import re
from collections.abc import Iterable

from epost.mail.address import AddressError, domainKey, parseAddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# No domain: digits, stars and dots alone, or a colon. What looks like an address must be one.
_MACHINE = re.compile(r"(?:[\d*]+(?:\.[\d*]*)*|[^@\[]*:[^@]*)(?:/.*)?\Z")

MACHINES = "an address or a network, such as 192.168.1.5, 192.168.1.*, 192.168.1.0/28 or 2001:db8::/32"


def isMachine(text: str) -> bool:
    """Whether a pattern is about a client's IP address and not about a reverse path."""
    return _MACHINE.match(text) is not None


def network(text: str) -> Network | re.Pattern[str]:
    """
    Read an IP pattern.

    @return: a network; a regular expression only where a C{*} stands in front of a number (C{10.*.1.*}).
    @raise ValueError: what is wrong.
    """
    if "*" not in text:
        return _unmapped(ipaddress.ip_network(text))
    parts = text.split(".")
    if len(parts) != 4 or not all(p == "*" or (p.isdecimal() and p.isascii() and int(p) < 256) for p in parts):
        raise ValueError(f"{text} has not four parts, each a number or *")
    known = parts.index("*")
    if all(part == "*" for part in parts[known:]):
        zeros = ["0"] * (4 - known)
        return ipaddress.IPv4Network(f"{'.'.join(parts[:known] + zeros)}/{8 * known}")
    return re.compile(r"\.".join(r"\d+" if part == "*" else str(int(part)) for part in parts) + r"\Z")


def _unmapped(net: Network) -> Network:
    """An IPv4-mapped network as IPv4."""
    if isinstance(net, ipaddress.IPv6Network) and net.prefixlen >= 96 and net.network_address.ipv4_mapped:
        return ipaddress.IPv4Network((net.network_address.ipv4_mapped, net.prefixlen - 96))
    return net


@functools.lru_cache(maxsize=8192)
def number(address: str) -> tuple[int, int]:
    """
    An IP address as its version and its value.

    @return: (0, 0), which is in no network, for a text that is no address.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return 0, 0
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (4, int(mapped)) if mapped else (ip.version, int(ip))


class Networks:
    """
    Many networks, asked at once: one look into a dictionary for each prefix length that occurs.

    @param items: networks, each with the number of its line; the lowest number of a network is kept.
    """

    __slots__ = ("_masks",)

    def __init__(self, items: Iterable[tuple[Network, int]]) -> None:
        masks: dict[tuple[int, int], dict[int, int]] = {}
        for net, line in items:
            known = masks.setdefault((net.version, int(net.netmask)), {})
            value = int(net.network_address)
            known[value] = min(line, known.get(value, line))
        self._masks = tuple((version, mask, known) for (version, mask), known in masks.items())

    def first(self, address: str) -> int | None:
        """The lowest number of a network that holds an IP address; L{None} where none does."""
        if not self._masks:
            return None
        version, value = number(address)
        found = None
        for itsVersion, mask, known in self._masks:
            if itsVersion == version:
                line = known.get(value & mask)
                if line is not None and (found is None or line < found):
                    found = line
        return found

    def __contains__(self, address: str) -> bool:
        return self.first(address) is not None


def domainPattern(text: str) -> str:
    """
    A domain, perhaps with C{*}, as it is compared.

    @raise AddressError: it is none.
    """
    if "*" not in text:
        return domainKey(text)
    labels = text.lower().split(".")
    done = [label if "*" in label else domainKey(label) for label in labels]
    for label in labels:
        if "*" in label:  # an A-label is made of a whole label, so one with a star must be ASCII
            domainKey(label.replace("*", "x")) if label.isascii() else domainKey("*")
    return ".".join(done)


def mailboxPattern(text: str) -> tuple[str, str]:
    """
    C{local@domain}, perhaps with C{*} in both, as (local part, domain) that are compared.

    @raise AddressError: it is none.
    """
    local, at, domain = text.rpartition("@")
    if not at or not domain:
        raise AddressError("no domain")
    return parseAddress(f"{local}@x").key[0], domainPattern(domain)


def expression(pattern: str) -> re.Pattern[str]:
    """
    A pattern as a regular expression; the text behind each C{*} is a group.

    What stands between two stars is taken where it first stands, which is enough for a match and is never taken back:
    a pattern of many stars costs no more than one of few.
    """
    first, *parts = map(re.escape, pattern.split("*"))
    between = "".join(f"(?>([^@]*?){part})" for part in parts[:-1])
    last = f"([^@]*){parts[-1]}" if parts else ""
    return re.compile(f"{first}{between}{last}\\Z", re.DOTALL)
