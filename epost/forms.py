"""
The forms in which a setting can be written, and what is read from each.

A form reads what TOML gave (a text, a number, a list) and raises ValueError with what is wrong; what was expected
stands in the form itself and ends every error message.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epost.mail.address import domainKey, parseAddress
from epost.mail.route import Hop
from epost.mail.safe import CONTROL

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400.0
_PLACEHOLDER = re.compile(r"%[^%/]*%|%")
_ENDPOINT = re.compile(r"(tcp6?|ssl|unix|systemd)((?::(?:[^:\\]|\\.)+)+)\Z")


@dataclass(frozen=True, slots=True)
class Form:
    """
    One form.

    @ivar expected: the end of "expected …".
    @ivar read: from a TOML value to the setting's; raises ValueError with what is wrong, empty for "not this form".
    @ivar none: what stands for a value that must be there and is not or is wrong, while the tables are looked at.
    """

    expected: str
    read: Callable[[Any], Any]
    none: object = ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or CONTROL.search(value):
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _duration(value: Any) -> float:
    found = re.match(r"(\d{1,9})([smhd])\Z", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        raise ValueError
    seconds = float(int(found[1]) * _UNITS[found[2]])
    if not 0 < seconds <= _LONGEST:
        raise ValueError
    return seconds


def _durationOrNone(value: Any) -> float:
    return 0.0 if value in (0, "0", "0s") and not isinstance(value, bool) else _duration(value)


def readHop(text: Any, port: int = 25) -> Hop:
    """C{host}, C{host:port}, C{[IPv6]} or C{[IPv6]:port}. @raise ValueError: what is wrong."""
    found = re.match(r"(?:\[([^\]]*)\]|([^:\[\]]+))(?::(\d{1,5}))?\Z", _text(text), re.ASCII)
    if found is None or (found[3] and not 0 < int(found[3]) < 65536):
        raise ValueError
    number = int(found[3]) if found[3] else port
    if found[1] is not None:
        return Hop(str(ipaddress.IPv6Address(found[1])), number)
    if re.fullmatch(r"[\d.]+", found[2]):
        return Hop(str(ipaddress.IPv4Address(found[2])), number)
    return Hop(domainKey(found[2]), number)


def _nameServer(text: Any) -> Hop:
    hop = readHop(text, 53)
    ipaddress.ip_address(hop.host)  # a name would have to be asked for first
    return hop


def _network(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(_text(text))


def _networks(value: Any) -> tuple[Any, ...]:
    every = ["0.0.0.0/0", "::/0"]
    return _each(_network)([part for item in _list(value) for part in (every if item == "*" else [item])])


def _endpoint(text: Any) -> str:
    found = _ENDPOINT.match(_text(text))
    if found is None:
        raise ValueError
    first = found[2].split(":")[1]
    named = first.split("=")[-1]
    if found[1] in ("tcp", "tcp6", "ssl") and not (named.isascii() and named.isdecimal() and int(named) < 65536):
        raise ValueError(f'"{named}" is no port')
    return str(text)


def listening(endpoint: str) -> Hop | None:
    """The address and port of an endpoint; L{None} where it does not name them."""
    parts = endpoint.replace("\\:", "\0").split(":")  # Twisted's way to write the colons of IPv6
    host = next((part.partition("=")[2].replace("\0", ":") for part in parts if part.startswith("interface=")), "")
    port = parts[1].removeprefix("port=")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return Hop(str(address), int(port)) if port.isdecimal() and not address.is_unspecified else None


def _place(value: Any) -> str:
    place = _text(value).replace("\\", "/")
    parts = place.split("/")
    if re.match(r"/|[A-Za-z]:", place) or ".." in parts or not all(parts):
        raise ValueError("is no path below the work folder")
    unknown = set(_PLACEHOLDER.findall(place)) - {"%USERNAME%", "%DOMAIN%"}
    if unknown:
        raise ValueError(f"has the unknown placeholder {min(unknown)}")
    if "%USERNAME%" not in place:
        raise ValueError("is one folder for all, without %USERNAME%")
    return place


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError
    return value


def _each(read: Callable[[Any], Any], least: int = 0, once: bool = False) -> Callable[[Any], tuple[Any, ...]]:
    """A list of one form. @param least: how many there must be. @param once: whether none may stand twice."""

    def readAll(value: Any) -> tuple[Any, ...]:
        done: list[Any] = []
        for item in _list(value):
            try:
                done.append(read(item))
            except ValueError as error:
                raise ValueError(f"holds {item!r}, {error}" if str(error) else f"holds {item!r}") from error
            if once and done[-1] in done[:-1]:
                raise ValueError(f"names {item} twice")
        if len(done) < least:
            raise ValueError("is empty")
        return tuple(done)

    return readAll


def _domain(value: Any) -> str:
    return domainKey(_text(value))


def _byDomain(value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, dict):
        raise ValueError
    return tuple((domainKey(domain), _duration(time)) for domain, time in value.items())


def _pair(value: Any) -> tuple[str, str]:
    found = _each(_text)(value)
    if len(found) != 2:
        raise ValueError
    return found[0], found[1]


def _levels(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError
    levels = ("none", "may", "verify")
    wrong = next((level for level in value.values() if level not in levels), None)
    if wrong is not None:
        raise ValueError(f"holds {wrong!r}")
    return tuple((_host(name), str(level)) for name, level in value.items())


def _host(text: Any) -> str:
    """A name or an IP address, as a L{Hop} has it."""
    try:
        return str(ipaddress.ip_address(_text(text)))
    except ValueError:
        return domainKey(_text(text))


def choice(*words: str) -> Form:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return Form(" or ".join(f'"{word}"' for word in words), read)


def count(least: int = 0, most: int = 2**53) -> Form:
    """A whole number."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return Form(f"a whole number, {least} or more", read)


def choices(*words: str) -> Form:
    """A list of some words."""
    return Form("a list of " + ", ".join(f'"{word}"' for word in words), _each(choice(*words).read, once=True))


TEXT = Form("a text", _text)
FLAG = Form("true or false", _flag)
DURATION = Form('a duration such as "90s", "5m", "1h" or "5d", a year at most', _duration)
DURATION_OR_NONE = Form('a duration such as "90s", "5m", "1h" or "5d", or 0 for never', _durationOrNone)
DURATIONS = Form('a list of durations such as ["2m", "1h"], or []', _each(_duration))
WAITS = Form('a list of at least one duration, such as ["2m", "1h"]', _each(_duration, least=1))
DOMAIN = Form('a domain name such as "test.jp"', _domain)
DOMAINS = Form('a list of domain names, each once, such as ["test.jp"]', _each(_domain, once=True))
ADDRESS = Form('an address such as "bucho@test.jp"', lambda value: parseAddress(_text(value)))
HOP = Form('"host" or "host:port", with brackets around IPv6: "[::1]:25"', readHop)
NETWORKS = Form('a list of networks such as ["192.168.0.0/24", "::1"], or ["*"]', _networks)
NAME_SERVERS = Form('a list of IP addresses, perhaps with a port: ["127.0.0.1:53"]', _each(_nameServer))
ENDPOINTS = Form(
    'a list of endpoints such as ["tcp:2525:interface=127.0.0.1"]', _each(_endpoint, least=1, once=True), ()
)
ENDPOINTS_OR_NONE = Form(
    'a list of endpoints such as ["tcp:2587:interface=127.0.0.1"], or []', _each(_endpoint, once=True), ()
)
CERTIFICATES = Form(
    'a list of pairs of files, chain and key, such as [["chain.pem", "key.pem"]]', _each(_pair, once=True), ()
)
LEVELS = Form('a table of domains or hosts and "none", "may" or "verify", such as "bank.example" = "verify"', _levels)
PLACE = Form("a path below the work folder such as 'inbox\\%USERNAME%'", _place)
BY_DOMAIN = Form('a table of domains and durations, such as "example.jp" = "1d"', _byDomain)
