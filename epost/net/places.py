"""Where other hosts are, and what was true of such a place lately."""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from epost.mail.route import Hop

KEPT_ADDRESSES = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """One address of one host. @ivar hop: the host. @ivar address: IP address."""

    hop: Hop
    address: str

    def __str__(self) -> str:
        return str(self.hop) if self.hop.host == self.address else f"{self.hop.host}[{self.address}]:{self.hop.port}"


class Lately:
    """Addresses of which something was true lately. Forgetful: by time, and where there are too many."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until: OrderedDict[tuple[str, int], float] = OrderedDict()

    def add(self, place: Place) -> None:
        """It is true of it now."""
        self._until[place.address, place.hop.port] = self._clock.seconds() + self._seconds
        if len(self._until) > KEPT_ADDRESSES:
            self._until.popitem(last=False)

    def discard(self, place: Place) -> None:
        """It is no longer."""
        self._until.pop((place.address, place.hop.port), None)

    def __contains__(self, place: Place) -> bool:
        return self._until.get((place.address, place.hop.port), 0.0) > self._clock.seconds()


def isHere(address: str) -> bool:
    """Whether an address can only be this machine's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    plain = getattr(found, "ipv4_mapped", None) or found
    return plain.is_loopback or plain.is_unspecified
