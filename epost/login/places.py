"""
From where each account has logged in lately: there no lock that others have brought about keeps it out.

Of each account its newest L{PLACES} networks are known, and each account has its own: whoever has one password, and any
number of networks, makes none of another account's be forgotten. Over a restart they stand among the hints, one fact
for each account, written once a day for each network:

    2026-12-24T16:10:02Z places user1@test.jp 2001:db8::/64=20780 192.0.2.7=20781

What stands behind C{=} is the day of the last login, counted from 1970-01-01 UTC.
"""

import re
from collections.abc import Callable

from epost.interfaces import IHints
from epost.login.memory import Memory

KNOWN = 30 * 86400.0  # seconds for which a network is one that an account has logged in from
# Home, office, school, and a dozen that a telephone was given. Who has more of them loses what he has not used longest.
PLACES = 16

_KIND = "places"
_SINGLE = "from"  # until November 2026 each network was a fact of its own, user1@test.jp/192.0.2.7
_DAY = 86400.0
_PLACE = re.compile(r"([^ =]+)=(\d{1,7})(?!\S)")


class Places:
    """Those of one daemon's accounts."""

    def __init__(self, seconds: Callable[[], float], hints: IHints | None) -> None:
        """
        @param seconds: tells the time, since 1970.
        @param hints: remember over a restart; L{None}: nobody does.
        """
        self._seconds = seconds
        self._hints = hints
        self._all = Memory[dict[str, int]](KNOWN)  # by account: its networks and their days, the oldest first

    def known(self, name: str, network: str) -> bool:
        """
        Whether an account has logged in from a network within L{KNOWN}.

        @param name: as it is compared.
        """
        day = self._of(name).get(network)
        if day is not None:
            return abs(self._today() - day) * _DAY <= KNOWN  # one from the future: the clock was ahead
        return self._hints is not None and self._hints.get(_SINGLE, f"{name}/{network}", within=KNOWN) is not None

    def add(self, name: str, network: str) -> None:
        """An account has logged in from a network."""
        places, today = self._of(name), self._today()
        if places.get(network) == today:
            return
        others = [place for place in places.items() if place[0] != network]
        places = dict([*others, (network, today)][-PLACES:])
        now = self._seconds()
        self._all.put((name,), places, now)
        if self._hints is not None:
            self._hints.put(_KIND, name, " ".join(f"{place}={day}" for place, day in places.items()), now + KNOWN)

    def _of(self, name: str) -> dict[str, int]:
        """The places of an account."""
        places = self._all.get((name,), self._seconds())
        if places is None and self._hints is not None:
            found = _PLACE.findall(self._hints.get(_KIND, name, within=KNOWN) or "")
            places = {network: int(day) for network, day in found}
        return places or {}

    def _today(self) -> int:
        return int(self._seconds() // _DAY)
