"""
What the queue knows of one message: its envelope, and what became of each recipient at each attempt.

An entry is a value. An L{Attempt} is added to it (L{Entry.after}) and never changed; everything else, who is still to
be tried, when, under which retry number, follows from the attempts. Times are seconds since 1970-01-01 UTC.
"""

import enum
from dataclasses import dataclass, replace

from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Reply


class Fate(enum.Enum):
    """What became of one recipient. The first two and C{WARNED} leave it in the queue, the last two end it."""

    DEFERRED = "deferred"  # 4xx, no answer, no DNS
    REFUSED = "refused"  # 5xx
    WARNED = "warned"  # the sender was told of the delay; no attempt
    DELIVERED = "delivered"
    RETURNED = "returned"  # a notice about it is on stable storage, or the message went to dead

    @property
    def failed(self) -> bool:
        """Whether it counts as a failed attempt."""
        return self in (Fate.DEFERRED, Fate.REFUSED)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for the recipient."""
        return self in (Fate.DELIVERED, Fate.RETURNED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What one attempt did for one recipient.

    @ivar recipient: its place in C{envelope.recipients}.
    @ivar fate: what became of it.
    @ivar reply: what the other side, or we, said.
    @ivar due: when it is to be tried again; 0 where it ended, or where patience has ended and a notice must be written.
    """

    recipient: int
    fate: Fate
    reply: Reply
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One try at one destination, or a step of ours (a notice written, a delay warned of).

    @ivar started: when.
    @ivar duration: seconds.
    @ivar host: C{host:port} that answered, the mailbox, or empty.
    @ivar tls: version and cipher; empty in clear.
    @ivar outcomes: one for each recipient that it was for.
    """

    started: float
    duration: float
    host: str
    tls: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One message of the queue.

    @ivar name: its name at the next attempt.
    @ivar envelope: as accepted.
    @ivar queued: when it was accepted.
    @ivar size: octets of content.
    @ivar attempts: all so far, in order.
    """

    name: Name
    envelope: Envelope
    queued: float
    size: int
    attempts: tuple[Attempt, ...] = ()

    def last(self) -> dict[int, Outcome]:
        """The last outcome but warnings of every recipient that has one, by its place in the envelope."""
        found: dict[int, Outcome] = {}
        for attempt in self.attempts:
            for outcome in attempt.outcomes:
                if outcome.fate is not Fate.WARNED:
                    found[outcome.recipient] = outcome
        return found

    def pending(self) -> dict[int, float]:
        """The recipients that are still to be tried or returned, and when (first attempt: when queued)."""
        last = self.last()
        waiting = {}
        for place in range(len(self.envelope.recipients)):
            outcome = last.get(place)
            if outcome is None:
                waiting[place] = self.queued
            elif not outcome.fate.ended:
                waiting[place] = outcome.due
        return waiting

    def abandoned(self) -> dict[int, Reply]:
        """The recipients with whom patience has ended and about whom nobody was told yet, and what each got."""
        return {place: o.reply for place, o in self.last().items() if o.fate.failed and not o.due}

    def failures(self, place: int, fate: Fate | None = None) -> int:
        """
        How often attempts for one recipient failed.

        @param place: its place in the envelope.
        @param fate: count this kind of failure alone (spec 10: each list is counted by failures of its own kind).
        """
        return sum(
            outcome.recipient == place and outcome.fate.failed and fate in (None, outcome.fate)
            for attempt in self.attempts
            for outcome in attempt.outcomes
        )

    @property
    def warned(self) -> bool:
        """Whether the sender was told of the delay."""
        return any(o.fate is Fate.WARNED for a in self.attempts for o in a.outcomes)

    def after(self, attempt: Attempt) -> "Entry":
        """
        The entry with one attempt more. Its name carries the highest number of failed attempts of those recipients that
        are to be tried again (spec 6); where there is none it keeps the name of the last attempt, as in the seed.
        """
        longer = replace(self, attempts=(*self.attempts, attempt))
        again = (place for place, due in longer.pending().items() if due)
        retry = max((longer.failures(place) for place in again), default=self.name.retry)
        return replace(longer, name=self.name.again(max(retry, self.name.retry)))

    @property
    def due(self) -> float | None:
        """When the next recipient is due; L{None} when none is pending."""
        return min(self.pending().values(), default=None)
