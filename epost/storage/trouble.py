"""
Faults of the disk in the daemon's log: the first of a kind at once, those that follow by their number, once a minute.

A disk that is full or gone fails every message, hundreds in a second: a log that tells each is one that nobody reads,
and may fill up what is left. A kind is what could not be done and the errno.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

QUIET = 60.0  # seconds in which a kind is not told again


@dataclass(slots=True)
class _Kind:
    """@ivar told: when it was told last. @ivar more: how often it came since."""

    told: float
    more: int = 0


class Trouble:
    """Tells them. @param seconds: tells the time."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._kinds: dict[tuple[str, object], _Kind] = {}

    def tell(self, log: Logger, where: str, what: str, error: Exception) -> None:
        """
        Something failed.

        @param where: a path, which may be another each time.
        @param what: the same words each time.
        """
        now = self._seconds()
        key = (what, error.errno if isinstance(error, OSError) else type(error))
        kind = self._kinds.get(key)
        if kind is not None and 0 <= now - kind.told < QUIET:
            kind.more += 1
            return
        more = f"; {kind.more} more like it before" if kind is not None and kind.more else ""
        self._kinds[key] = _Kind(now)
        said = str(error) if isinstance(error, OSError) else repr(error)
        log.error("{where}: {what}: {said}{more}", where=where, what=what, said=said, more=more)
