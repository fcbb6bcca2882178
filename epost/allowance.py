"""
What an account has used: what it sent to the outside, how full its mailbox is, whom it has answered automatically.

An hour is counted in buckets of five minutes and a day in buckets of an hour. A limit holds for the bucket that runs
and all that began within the hour, or the day, before it: no hour has more than the limit, and who has used it up waits
five minutes more than an hour at most. What is refused is not counted: each recipient is when it is taken, so that
many messages at one time do not pass together, and is given back when its message comes to nothing.

That somebody was told is remembered before it is written, so that nobody is told twice; what then could not be written
is remembered for a minute alone, and tried again when there is cause behind that.

Everything lies in L{IHints}, which a restart does not empty; a fact goes when its window is over. A bucket is known by
the time at which it began, so a clock that jumps forgets or delays for a window, never for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import IAllowance, IHints, Usage
from epost.mail.address import Address
from epost.mail.autoreply import AGAIN
from epost.mail.decision import Allowed, Because, Spent
from epost.mail.route import Local
from epost.mail.trace import date

REPLIES = 50  # automatic ones of an account in an hour
HEARD = 10  # automatic ones that anybody gets in an hour, from all accounts: a message to a group may meet many
NEARLY = 90  # per cent of a mailbox's limit at which its owner is warned
LATER = 60.0  # seconds until what could not be written is tried again: not for each message on a full disk
YEAR = 365 * 86400.0  # after which a mailbox that was nearly full all the time is warned of again


@dataclass(frozen=True, slots=True)
class Window:
    """
    A time that is looked back on.

    @ivar name: of the facts, and what people are told.
    @ivar bucket: seconds.
    @ivar buckets: how many of them make the window; one more is counted, that which runs.
    """

    name: str
    bucket: int
    buckets: int

    def over(self, number: int) -> int:
        """When a bucket does not count any more. @param number: of buckets since 1970."""
        return (number + self.buckets + 1) * self.bucket


HOUR = Window("hour", 300, 12)
DAY = Window("day", 3600, 24)
_WINDOWS = {window.name: window for window in (HOUR, DAY)}


@dataclass(slots=True)
class _Count:
    """Messages, and recipients, outside."""

    messages: int = 0
    recipients: int = 0


@dataclass(slots=True)
class _Tally:
    """
    What one account has sent in one window.

    @ivar number: of the bucket that runs.
    @ivar running: what was sent in it.
    @ivar total: what was sent in all that count, it included.
    """

    number: int
    running: _Count
    total: _Count


@implementer(IAllowance)
class Allowance:
    """
    What accounts send to the outside.

    The facts are read when a bucket begins to run; until it is over the sums are at hand.

    @param seconds: tells the time, since 1970.
    @param warn: called with an account and a text once in a window that is used up; fires with whether it was written.
    """

    def __init__(
        self,
        hints: IHints,
        seconds: Callable[[], float],
        warn: Callable[[Address, str], Deferred[bool]] = lambda account, text: succeed(True),
    ) -> None:
        self._hints = hints
        self._seconds = seconds
        self._warn = warn
        self._tallies: dict[tuple[str, str], _Tally] = {}  # at most two for each account

    def spend(self, account: Address, allowed: Allowed, message: bool) -> Because | Spent:
        """See L{IAllowance}. A window without a limit is not counted."""
        now, key = self._seconds(), _key(account)
        spent = []
        for window, messages, recipients in (
            (HOUR, allowed.messagesPerHour, allowed.recipientsPerHour),
            (DAY, allowed.messagesPerDay, allowed.recipientsPerDay),
        ):
            if not messages and not recipients:
                continue
            tally = self._tally(window, key, int(now // window.bucket))
            if recipients and tally.total.recipients >= recipients:
                return self._over(account, window, now, f"{recipients} recipients")
            if message and messages and tally.total.messages >= messages:
                return self._over(account, window, now, f"{messages} messages")
            spent.append((window, tally))
        for window, tally in spent:
            for count in (tally.running, tally.total):
                count.messages += message
                count.recipients += 1
            self._keep(window, key, tally.number, tally.running)
        return Spent(account, message, tuple((window.name, tally.number) for window, tally in spent))

    def giveBack(self, spent: Spent) -> None:
        """See L{IAllowance}. Where the bucket is over, or its fact has gone, there is nothing to give back to."""
        key = _key(spent.account)
        for name, number in spent.buckets:
            count = _count(self._hints.get(name, f"{number}/{key}"))
            if count.recipients:
                rest = _Count(max(count.messages - spent.message, 0), count.recipients - 1)
                self._keep(_WINDOWS[name], key, number, rest)
                self._tallies.pop((name, key), None)  # the sums are made anew from the facts

    def _keep(self, window: Window, key: str, number: int, count: _Count) -> None:
        """What stands in a bucket from now on."""
        value = f"{count.messages} {count.recipients}"
        self._hints.put(window.name, f"{number}/{key}", value, window.over(number))

    def _tally(self, window: Window, key: str, number: int) -> _Tally:
        """What counts now. @param number: of the bucket that runs."""
        tally = self._tallies.get((window.name, key))
        if tally is None or tally.number != number:
            counts = self._counts(window, key, number)
            messages, recipients = (sum(count.messages for count in counts), sum(count.recipients for count in counts))
            tally = _Tally(number, counts[-1], _Count(messages, recipients))
            self._tallies[window.name, key] = tally
        return tally

    def _counts(self, window: Window, key: str, number: int) -> list[_Count]:
        """What stands in each bucket that counts, the oldest first; the last is the one that runs."""
        numbers = range(number - window.buckets, number + 1)
        return [_count(self._hints.get(window.name, f"{each}/{key}")) for each in numbers]

    def _over(self, account: Address, window: Window, now: float, limit: str) -> Because:
        """Refuse, and warn the first time."""
        key, lasts = _key(account), window.over(0)
        kind = f"over-{window.name}"
        if self._hints.get(kind, key, within=lasts) is None:
            self._hints.put(kind, key, limit, now + lasts)
            number = int(now // window.bucket)
            counts = self._counts(window, key, number)
            sent = (place for place, count in enumerate(counts, number - window.buckets) if count.recipients)
            warned = self._warn(
                account,
                f"{account} has sent to the outside as much as it may: {limit} within one {window.name}. What it sends "
                f"now is refused, and may be sent again from {date(window.over(next(sent, number)))} on. "
                f"If this is more than its owner knows of, others may have its password.",
            )
            warned.addCallback(_shorten, self._hints, kind, key, limit, now + LATER)
        return Because("limit", 0, f"{account} may send to the outside {limit} per {window.name}")


class Quota:
    """
    Whose mailbox is nearly full: a warning once, and again only after the usage fell below.

    @param limit: what a mailbox may hold.
    @param seconds: tells the time, since 1970.
    @param warn: called with a mailbox, its usage and its limit; fires with whether the warning was written.
    """

    def __init__(
        self,
        hints: IHints,
        seconds: Callable[[], float],
        limit: Callable[[Local], Usage],
        warn: Callable[[Local, Usage, Usage], Deferred[bool]],
    ) -> None:
        self._hints = hints
        self._seconds = seconds
        self._limit = limit
        self._warn = warn

    def seen(self, box: Local, usage: Usage) -> None:
        """To be called when the usage of a mailbox has changed, or may have."""
        limit, key = self._limit(box), f"{box.user}@{box.domain}"
        warned = self._hints.get("full", key, within=YEAR) is not None
        nearly = _nearly(usage.octets, limit.octets) or _nearly(usage.messages, limit.messages)
        if nearly and not warned:
            now, held = self._seconds(), f"{usage.octets} octets, {usage.messages} messages"
            self._hints.put("full", key, held, now + YEAR)
            self._warn(box, usage, limit).addCallback(_shorten, self._hints, "full", key, held, now + LATER)
        elif warned and not nearly:
            self._hints.forget("full", key)


class Answered:
    """
    Who had an automatic reply, and how many were written lately: a reverse path is easily made up, and each tag behind
    a plus is another, so that who sends a thousand messages could have us write a thousand, and a message to a group
    could have each of its members write one (RFC 3834 5).

    @param seconds: tells the time, since 1970.
    """

    _log = Logger()

    def __init__(self, hints: IHints, seconds: Callable[[], float]) -> None:
        self._hints = hints
        self._seconds = seconds

    def first(self, account: Address, sender: Address) -> bool:
        """
        Whether a sender is to have a reply from an account: he has had none lately, and there were not too many. He
        counts as one that has from now on.
        """
        key, now = f"{_key(account)}/{_key(sender)}", self._seconds()
        if self._hints.get("replied", key, within=AGAIN) is not None:
            return False
        if not self._room("replies", _key(account), REPLIES, "{who} has written", now):
            return False
        if not self._room("heard", _mailbox(sender), HEARD, "{who} has been sent", now):
            return False
        self._count("replies", _key(account), now)
        self._count("heard", _mailbox(sender), now)
        self._hints.put("replied", key, "", now + AGAIN)
        return True

    def unwritten(self, account: Address, sender: Address) -> None:
        """A reply could not be written. It counts among those of the hour all the same, so the tries have an end."""
        self._hints.put("replied", f"{_key(account)}/{_key(sender)}", "", self._seconds() + LATER)

    def _room(self, kind: str, key: str, limit: int, words: str, now: float) -> bool:
        """Whether one more may be written; of those that may not be the log hears once in an hour."""
        number = int(now // HOUR.bucket)
        if sum(self._replies(kind, key, each) for each in range(number - HOUR.buckets, number + 1)) < limit:
            return True
        if self._hints.get(f"over-{kind}", key, within=3600) is None:
            self._hints.put(f"over-{kind}", key, "", now + 3600)
            self._log.warn(
                words + " {count} automatic replies within an hour, and no more for now", who=key, count=limit
            )
        return False

    def _count(self, kind: str, key: str, now: float) -> None:
        """One more is written."""
        number = int(now // HOUR.bucket)
        self._hints.put(kind, f"{number}/{key}", f"{self._replies(kind, key, number) + 1}", HOUR.over(number))

    def _replies(self, kind: str, key: str, number: int) -> int:
        """What stands in one bucket; what is no count is none."""
        value = self._hints.get(kind, f"{number}/{key}") or ""
        return int(value) if value.isdecimal() else 0


def _key(address: Address) -> str:
    """One text for all ways to write an address."""
    return "@".join(address.key)


def _mailbox(address: Address) -> str:
    """One text for all tags of what may be one mailbox: nobody here knows what divides them elsewhere."""
    local, domain = address.key
    return f"{local.partition('+')[0]}@{domain}"


def _count(value: str | None) -> _Count:
    """Read what L{Allowance.spend} wrote, or an operator; what is no count is none."""
    messages, _, recipients = (value or "").partition(" ")
    return _Count(int(messages), int(recipients)) if messages.isdecimal() and recipients.isdecimal() else _Count()


def _shorten(written: bool, hints: IHints, kind: str, key: str, value: str, until: float) -> None:
    """Where a warning was not written, remember only for a moment that it was."""
    if not written:
        hints.put(kind, key, value, until)


def _nearly(used: int, limit: int) -> bool:
    """Whether a limit, where there is one, is all but reached."""
    return limit > 0 and used * 100 >= limit * NEARLY
