"""
An attempt: some recipients of one message at one destination, from the first log line to the recorded outcome.

It keeps the order of the senderlog (spec 6): the three GetTryServer lines before, once more for what failed, once for
each domain. Nothing that goes wrong in it leaves it: an exception puts its message off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from epost.interfaces import IContent, ISenderLog, ISpool, Parcel, Report
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.retry import Patience
from epost.mail.route import Local, Onward, Route

_log = Logger()


@dataclass(eq=False, slots=True)
class Open:
    """
    A message in memory.

    @ivar entry: as recorded.
    @ivar generation: of the tables that it was routed by.
    @ivar busy: errands under way, and one while it is being routed.
    @ivar held: places that a table holds.
    @ivar crowded: places for which a destination had no room.
    @ivar ended: whether no recipient is pending any more; the entry need not tell.
    @ivar faulty: whether something of ours failed.
    """

    entry: Entry
    generation: int
    busy: int = 1
    held: list[int] = field(default_factory=list)
    crowded: dict[int, Onward] = field(default_factory=dict)
    ended: bool = False
    faulty: bool = False

    def fault(self) -> None:
        """Put it off, because of the exception that is being handled."""
        _log.failure("{name} is put off", name=self.entry.name)
        self.faulty = True


@dataclass(frozen=True, slots=True)
class Desk:
    """What every errand needs. @ivar over: told when an errand has ended."""

    spool: ISpool
    senderLog: ISenderLog
    clock: IReactorTime
    patience: Patience
    over: Callable[[Open], None]


@dataclass(eq=False, slots=True)
class Errand:
    """
    One attempt.

    @ivar places: its recipients, by their places in the envelope.
    @ivar name: with the number of attempts at this destination.
    """

    desk: Desk
    message: Open
    route: Route
    places: tuple[int, ...]
    name: Name
    _started: float = 0.0

    def begin(self, content: IContent | None = None) -> Parcel | None:
        """
        Log the attempt and fetch the content.

        @param content: where it is at hand.
        @return: L{None} where that failed and the errand has ended.
        """
        entry = self.message.entry
        try:
            self._started = self.desk.clock.seconds()
            self._trying(self.places)
            recipients = tuple(entry.envelope.recipients[place] for place in self.places)
            content = content or self.desk.spool.content(entry.name)
            return Parcel(self.name, entry.envelope, recipients, content)
        except Refused as refused:
            self.endAll(refused.reply)
        except Exception:
            self.broken()
        return None

    def end(self, report: Report) -> None:
        """Record what came of it."""
        endTogether([(self, report)])

    def endAll(self, reply: Reply, host: str = "") -> None:
        """One reply for all recipients."""
        self.end(Report((reply,) * len(self.places), host))

    def broken(self) -> None:
        """An exception, which is being handled, ended it: the message is put off."""
        self.message.fault()
        self.desk.over(self.message)

    def _trying(self, places: tuple[int, ...]) -> None:
        """GetTryServer, once for each domain, in order of RCPT; a notice into a mailbox writes nothing."""
        entry, now, tries = self.message.entry, self.desk.clock.seconds(), self.name.retry
        if places and not (entry.name.isNotice and isinstance(self.route, Local)):
            recipients = entry.envelope.recipients
            for domain in dict.fromkeys(recipients[place].domain for place in places):
                self.desk.senderLog.trying(self.name, domain, now, now if tries else entry.queued, tries)

    def attempt(self, report: Report) -> Attempt:
        """What the attempt has done; what failed is logged."""
        now = self.desk.clock.seconds()
        replies = zip(self.places, report.replies, strict=True)
        outcomes = tuple(self._outcome(place, reply, now) for place, reply in replies)
        self._trying(tuple(outcome.recipient for outcome in outcomes if outcome.fate.failed))
        return Attempt(self._started, now - self._started, report.host, report.tls, outcomes)

    def _outcome(self, place: int, reply: Reply, now: float) -> Outcome:
        """What one reply means for its recipient."""
        if reply.accepts:
            return Outcome(place, Fate.DELIVERED, reply)
        forwards = isinstance(self.route, Onward) and self.route.forwards
        due = self.desk.patience.due(self.message.entry, place, reply, forwards, now)
        return Outcome(place, Fate.REFUSED if reply.permanent else Fate.DEFERRED, reply, due or 0.0)


def endTogether(ended: Sequence[tuple[Errand, Report]]) -> None:
    """Record what came of errands of one message, at once: for many mailboxes it is one write, and not one for each."""
    message, desk = ended[0][0].message, ended[0][0].desk
    try:
        attempts = [errand.attempt(report) for errand, report in ended]
        outcomes = [outcome for attempt in attempts for outcome in attempt.outcomes]
        if all(o.fate is Fate.DELIVERED for o in outcomes) and len(outcomes) == len(message.entry.pending()):
            message.ended = True  # the file goes: nothing need be written into it
        else:
            message.entry = desk.spool.record(message.entry, *attempts)
    except Exception:
        message.fault()
    for _ in ended:
        desk.over(message)
