"""
Faults of the disk in the daemon's log: the first of a kind at once, those that follow by their number, once a minute.

A disk that is full or gone fails every message, hundreds in a second: a log that tells each is one that nobody reads,
and may fill up what is left. A kind is what could not be done, the errno, and in which folder: that the queue is full
does not hide that a mailbox is too, on another disk. There may be thousands of mailboxes, so of one errno no more than
L{PLACES} folders are told apart; all others are one kind.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

QUIET = 60.0  # seconds in which a kind is not told again
PLACES = 5  # folders that are told apart


@dataclass(slots=True)
class _Kind:
    """@ivar told: when it was told last. @ivar more: how often it came since."""

    told: float
    more: int = 0


class Trouble:
    """Tells them. @param seconds: tells the time."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._kinds: dict[tuple[str, object], dict[str, _Kind]] = {}  # by folder; empty: all others

    def tell(self, log: Logger, where: str, what: str, error: Exception) -> None:
        """
        Something failed.

        @param where: a path, which may be another each time; a fault that names a file says more.
        @param what: the same words each time.
        """
        now = self._seconds()
        fault = error if isinstance(error, OSError) else None
        kinds = self._kinds.setdefault((what, fault.errno if fault else type(error)), {"": _Kind(float("-inf"))})
        place = os.path.dirname(str(fault.filename if fault and fault.filename else where))
        if place not in kinds and len(kinds) > PLACES:
            for old in [each for each, kind in kinds.items() if each and not _lasts(kind, now)]:
                del kinds[old]
            if len(kinds) > PLACES:
                place = ""
        kind = kinds.get(place)
        if kind is not None and _lasts(kind, now):
            kind.more += 1
            return
        more = f"; {kind.more} more like it before" if kind is not None and kind.more else ""
        kinds[place] = _Kind(now)
        said = str(error) if fault else repr(error)
        log.error("{where}: {what}: {said}{more}", where=where, what=what, said=said, more=more)


def _lasts(kind: _Kind, now: float) -> bool:
    """Whether a kind is not to be told again yet. A clock that was set back silences nothing."""
    return 0 <= now - kind.told < QUIET
