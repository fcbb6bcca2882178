"""
When the next attempt is due, and when to stop trying.

A schedule is a list of waits between attempts. The last wait of `deferred` repeats until the message expires; the
list of `refused` ends, and counts only for a host that a table or a setting named (spec 10).
Nothing here reads a clock: callers pass the time, in seconds since 1970-01-01 UTC.

Spec 10; RFC 5321 4.5.4.1 (patience), 4.2.1 (a 5xx is final); the seed's two attempts, 16:27:34 and 16:29:34.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from epost.mail.entry import Entry, Fate
from epost.mail.reply import Reply

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    The patience for one kind of failure.

    @ivar waits: seconds between attempts, in order. Empty: the first failure is final.
    @ivar repeats: whether the last wait goes on until expiry.
    """

    waits: tuple[float, ...]
    repeats: bool

    def due(self, tries: int, wasDue: float, ended: float) -> float | None:
        """
        The time of the next attempt.

        @param tries: attempts that failed in this way so far, at least 1.
        @param wasDue: when the last of them was due (the first: when the message was queued).
        @param ended: when it failed. A slow failure must not make the next attempt follow at once,
            so at least half of the wait passes after it.
        @return: a time, or L{None} when the message is to be returned.
        """
        if not self.waits or (tries > len(self.waits) and not self.repeats):
            return None
        wait = self.waits[min(tries, len(self.waits)) - 1]
        return max(wasDue + wait, ended + wait / 2)


@dataclass(frozen=True, slots=True)
class Patience:
    """
    Both lists, and how long they are good for.

    @ivar refused: waits in seconds after a 5xx of a host that we forward to. Empty: a 5xx is final.
    @ivar deferred: waits in seconds after a 4xx, no answer, no DNS. The last one repeats.
    @ivar expire: seconds after queueing from which on no attempt is planned.
    @ivar warn: seconds after queueing from which on a failed attempt tells the sender of the delay, once.
    @ivar expireFor: C{expire} for single recipient domains, lower case.
    """

    refused: tuple[float, ...] = (2 * MINUTE,)
    deferred: tuple[float, ...] = (2 * MINUTE, 4 * MINUTE, 6 * MINUTE, 18 * MINUTE, 30 * MINUTE, HOUR)
    expire: float = 5 * DAY
    warn: float = 4 * HOUR
    expireFor: Mapping[str, float] = field(default_factory=dict)

    def due(self, entry: Entry, place: int, reply: Reply, forwards: bool, ended: float) -> float | None:
        """
        When to try a recipient again that an attempt has just failed for.

        @param entry: as it was before this attempt.
        @param place: the recipient's place in the envelope.
        @param reply: what it got.
        @param forwards: whether a table or a setting named the host; a host found by MX gets no second 5xx.
        @param ended: when the attempt ended.
        @return: a time, or L{None} when the recipient is to be returned.
        """
        if reply.permanent and not forwards:
            return None
        kind = Fate.REFUSED if reply.permanent else Fate.DEFERRED
        schedule = Schedule(self.refused, False) if reply.permanent else Schedule(self.deferred, True)
        # Each list is counted by failures of its own kind: a 4xx before does not use up the retry after a 5xx.
        due = schedule.due(entry.failures(place, kind) + 1, entry.wasDue(place), ended)
        return due if due is not None and due < self.until(entry, place) else None

    def until(self, entry: Entry, place: int) -> float:
        """When patience with a recipient ends."""
        return entry.queued + self.expireFor.get(entry.envelope.recipients[place].domain, self.expire)

    def warns(self, entry: Entry, now: float) -> bool:
        """Whether the sender is to be told now that the message is late: once, and never about a notice."""
        return now >= entry.queued + self.warn and entry.envelope.sender is not None and not entry.warned
