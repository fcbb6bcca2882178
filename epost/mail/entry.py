"""
What the queue knows of one message: its envelope, and what became of each recipient at each attempt.

An entry is a value. An L{Attempt} is added to it (L{Entry.after}) and never changed; everything else, who is still to
be tried, when, under which retry number, follows from the attempts. What follows is counted once for each entry and
handed on to the next, so that a thousand recipients cost a thousand times what one does. Times are seconds since
1970-01-01 UTC.
"""

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import field

from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Reply
from epost.mail.value import value


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


@value(frozen=True, slots=True)
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


@value(frozen=True, slots=True)
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


class _Standing:
    """
    What follows from attempts.

    @ivar last: the last outcome but warnings of every recipient that has one, by its place in the envelope.
    @ivar failures: how often each recipient failed, by place and fate.
    @ivar warned: whether the sender was told of the delay.
    """

    __slots__ = ("failures", "last", "warned")

    def __init__(self, attempts: tuple[Attempt, ...], before: "_Standing | None" = None) -> None:
        """@param before: what followed from those in front of C{attempts}."""
        self.last: dict[int, Outcome] = dict(before.last) if before else {}
        self.failures: Counter[tuple[int, Fate]] = Counter(before.failures if before else ())
        self.warned: bool = before is not None and before.warned
        for attempt in attempts:
            for outcome in attempt.outcomes:
                if outcome.fate is Fate.WARNED:
                    self.warned = True
                    continue
                self.last[outcome.recipient] = outcome
                if outcome.fate.failed:
                    self.failures[outcome.recipient, outcome.fate] += 1


@value(frozen=True, slots=True)
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
    _counted: _Standing | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def _standing(self) -> _Standing:
        if self._counted is None:
            object.__setattr__(self, "_counted", _Standing(self.attempts))
        assert self._counted is not None
        return self._counted

    def last(self) -> Mapping[int, Outcome]:
        """The last outcome but warnings of every recipient that has one, by its place in the envelope."""
        return self._standing.last

    def pending(self) -> dict[int, float]:
        """The recipients that are still to be tried or returned, and when (first attempt: when queued)."""
        last = self.last()
        return {
            place: self.wasDue(place)
            for place in range(len(self.envelope.recipients))
            if place not in last or not last[place].fate.ended
        }

    def wasDue(self, place: int) -> float:
        """When a recipient is, or was, due (first attempt: when queued)."""
        outcome = self.last().get(place)
        return self.queued if outcome is None else outcome.due

    def abandoned(self) -> dict[int, Reply]:
        """The recipients with whom patience has ended and about whom nobody was told yet, and what each got."""
        return {place: o.reply for place, o in self.last().items() if o.fate.failed and not o.due}

    def failures(self, place: int, fate: Fate | None = None) -> int:
        """
        How often attempts for one recipient failed.

        @param place: its place in the envelope.
        @param fate: count this kind of failure alone (spec 10: each list is counted by failures of its own kind).
        """
        counted = self._standing.failures
        return sum(counted[place, kind] for kind in ((Fate.DEFERRED, Fate.REFUSED) if fate is None else (fate,)))

    @property
    def warned(self) -> bool:
        """Whether the sender was told of the delay."""
        return self._standing.warned

    def after(self, *attempts: Attempt) -> "Entry":
        """
        The entry with some attempts more. Its name carries the highest number of failed attempts of those recipients
        that are to be tried again (spec 6); where there is none it keeps the name of the last attempt, as in the seed.
        """
        longer = self._with(self.name, attempts, _Standing(attempts, self._standing))
        again = (place for place, due in longer.pending().items() if due)
        retry = max((longer.failures(place) for place in again), default=self.name.retry)
        return longer._with(self.name.again(max(retry, self.name.retry)), (), longer._standing)

    def _with(self, name: Name, more: tuple[Attempt, ...], counted: _Standing) -> "Entry":
        entry = Entry(name, self.envelope, self.queued, self.size, self.attempts + more)
        object.__setattr__(entry, "_counted", counted)
        return entry

    @property
    def due(self) -> float | None:
        """When the next recipient is due; L{None} when none is pending."""
        return min(self.pending().values(), default=None)
