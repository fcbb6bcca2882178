"""When the next attempt is due (spec 10)."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.envelope import Envelope
from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.mail.retry import DAY, HOUR, Patience, Schedule

QUEUED = 1246865254.0  # 2009-07-06 16:27:34 +0900

NO = Reply(550, ("Please, mail from a valid IP or Domain address.",))
LATER = Reply(451, ("Try again later.",))


def entry(*failures: Outcome, sender: str | None = "baito@test.jp") -> Entry:
    """The seed's message after some attempts."""
    envelope = Envelope(parseAddress(sender) if sender else None, (parseAddress("user2@test-sample00.jp"),))
    attempts = tuple(Attempt(QUEUED, 1.0, "gate", "", (outcome,)) for outcome in failures)
    return Entry(numbered(186), envelope, QUEUED, 100, attempts)


class ScheduleTests(SynchronousTestCase):
    """L{Schedule} tells when to try again."""

    def test_refusedTwoMinutesAfterQueueing(self) -> None:
        """The seed's message, queued at 16:27:34 and refused at 16:27:35, is tried once more, at 16:29:34."""
        seed = Schedule(waits=(120,), repeats=False)
        self.assertEqual(seed.due(1, wasDue=QUEUED, ended=QUEUED + 1), QUEUED + 120)
        self.assertIsNone(seed.due(2, wasDue=QUEUED + 120, ended=QUEUED + 121))

    def test_lastWaitRepeats(self) -> None:
        """Where the list is used up its last wait goes on."""
        hourly = Schedule(waits=(120, 3600), repeats=True)
        self.assertEqual(hourly.due(2, wasDue=QUEUED, ended=QUEUED), QUEUED + 3600)
        self.assertEqual(hourly.due(9, wasDue=QUEUED, ended=QUEUED), QUEUED + 3600)

    def test_slowFailure(self) -> None:
        """After an attempt that hung for ten minutes half of the wait passes all the same."""
        short = Schedule(waits=(120,), repeats=True)
        self.assertEqual(short.due(1, wasDue=QUEUED, ended=QUEUED + 600), QUEUED + 660)

    def test_noWaits(self) -> None:
        """With an empty list the first failure is final, also where the list would repeat."""
        self.assertIsNone(Schedule(waits=(), repeats=False).due(1, QUEUED, QUEUED))
        self.assertIsNone(Schedule(waits=(), repeats=True).due(1, QUEUED, QUEUED))


class PatienceTests(SynchronousTestCase):
    """L{Patience} counts each kind of failure by its own list."""

    def test_seed(self) -> None:
        """The gateway refuses at 16:27:35: once more at 16:29:34, then the notice."""
        patience = Patience()
        self.assertEqual(patience.due(entry(), 0, NO, True, QUEUED + 1), QUEUED + 120)
        refused = Outcome(0, Fate.REFUSED, NO, QUEUED + 120)
        self.assertIsNone(patience.due(entry(refused), 0, NO, True, QUEUED + 121))

    def test_refusedByMX(self) -> None:
        """A 5xx of a host that was found by MX is final at once (RFC 5321)."""
        self.assertIsNone(Patience().due(entry(), 0, NO, False, QUEUED + 1))

    def test_deferredDoesNotUseUpRefused(self) -> None:
        """After two 4xx the first 5xx of the gateway still gets its one retry."""
        before = entry(Outcome(0, Fate.DEFERRED, LATER, QUEUED + 120), Outcome(0, Fate.DEFERRED, LATER, QUEUED + 360))
        self.assertEqual(Patience().due(before, 0, NO, True, QUEUED + 361), QUEUED + 480)

    def test_refusedDoesNotUseUpDeferred(self) -> None:
        """After a 5xx the first 4xx waits as long as the first wait of its own list says."""
        before = entry(Outcome(0, Fate.REFUSED, NO, QUEUED + 120))
        patience = Patience(deferred=(60, 3600))
        self.assertEqual(patience.due(before, 0, LATER, True, QUEUED + 121), QUEUED + 180)

    def test_deferredFollowsTheList(self) -> None:
        """E-Post's times: 2, 6, 12, 30 and 60 minutes after queueing, then every hour."""
        patience = Patience()
        at, outcomes, times = QUEUED, [], []
        for _ in range(8):
            due = patience.due(entry(*outcomes), 0, LATER, False, at)
            assert due is not None
            outcomes.append(Outcome(0, Fate.DEFERRED, LATER, due))
            times.append((due - QUEUED) / 60)
            at = due
        self.assertEqual(times, [2, 6, 12, 30, 60, 120, 180, 240])

    def test_expires(self) -> None:
        """No attempt is planned at or after the end of patience, which a domain may have of its own."""
        late = entry(Outcome(0, Fate.DEFERRED, LATER, QUEUED + 2 * DAY - 240))
        self.assertIsNone(Patience(expire=2 * DAY).due(late, 0, LATER, False, QUEUED + 2 * DAY - 240))
        self.assertEqual(
            Patience(expire=2 * DAY + 1).due(late, 0, LATER, False, QUEUED + 2 * DAY - 240), QUEUED + 2 * DAY
        )
        longer = Patience(expire=2 * DAY, expireFor={"test-sample00.jp": 3 * DAY})
        self.assertEqual(longer.due(late, 0, LATER, False, QUEUED + 2 * DAY - 240), QUEUED + 2 * DAY)

    def test_warnsOnceAndNobodyTwice(self) -> None:
        """The sender is told after four hours, once; of a message without a sender nobody is told."""
        patience = Patience()
        self.assertFalse(patience.warns(entry(), QUEUED + 4 * HOUR - 1))
        self.assertTrue(patience.warns(entry(), QUEUED + 4 * HOUR))
        self.assertFalse(patience.warns(entry(Outcome(0, Fate.WARNED, LATER, QUEUED)), QUEUED + 5 * HOUR))
        self.assertFalse(patience.warns(entry(sender=None), QUEUED + 5 * HOUR))
