"""What accounts have used: windows that slide, one warning, and both over a restart."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.allowance import HEARD, LATER, REPLIES, YEAR, Allowance, Answered, Quota
from epost.interfaces import IAllowance, Usage
from epost.mail import trace
from epost.mail.address import Address, parseAddress
from epost.mail.autoreply import AGAIN
from epost.mail.decision import Allowed, Spent
from epost.mail.route import Local
from epost.storage.hints import Hints
from tests.world.disk import World
from tests.world.story import Turns

NOON = 1796040000.0  # 2026-11-30 12:00:00 UTC
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ANNA = parseAddress("anna@test.jp")
BUCHO = parseAddress("bucho@test.jp")
USER1 = parseAddress("user1@test.jp")
BOX = Local("user1", "test.jp")


class _Case(SynchronousTestCase):
    """Facts on a disk, at noon."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.world = World()
        self.clock = Clock()
        self.clock.advance(NOON)
        self.turns = Turns()
        self.start()

    def start(self) -> None:
        """As a daemon does."""
        self.hints = Hints(self.world, "/work", self.clock, self.turns.callInThread, self.turns.callFromThread)

    def restart(self) -> None:
        """Stop in order, and start."""
        self.hints.release()
        self.turns.run()
        self.start()


class AllowanceTests(_Case):
    """L{Allowance} counts what goes outside."""

    def start(self) -> None:
        """As a daemon does."""
        super().start()
        self.warned: list[tuple[Address, str]] = []
        self.written: Deferred[bool] = succeed(True)
        self.allowance = Allowance(self.hints, self.clock.seconds, self.warn)

    def warn(self, account: Address, text: str) -> "Deferred[bool]":
        """A warning, which is remembered first, and written as the test wants."""
        kinds = ("over-hour", "over-day")
        self.assertTrue([kind for kind in kinds if self.hints.get(kind, "@".join(account.key)) is not None])
        self.warned.append((account, text))
        return self.written

    def send(self, count: int, allowed: Allowed, recipients: int = 1, account: Address = USER1) -> int:
        """Messages to so many recipients each. @return: how many recipients were taken."""
        taken = 0
        for _ in range(count):
            outside = 0
            for _ in range(recipients):
                outside += isinstance(self.allowance.spend(account, allowed, not outside), Spent)
            taken += outside
        return taken

    def test_role(self) -> None:
        """It claims its role."""
        self.assertTrue(verifyObject(IAllowance, self.allowance))

    def test_noLimit(self) -> None:
        """Where there is no limit nothing is counted."""
        self.assertEqual(self.send(1000, Allowed()), 1000)
        self.restart()
        self.assertEqual(self.send(10, Allowed(messagesPerHour=10)), 10)

    def test_eachLimit(self) -> None:
        """Each of the four holds by itself and says so."""
        for allowed, taken, text in (
            (Allowed(messagesPerHour=5), 10, "5 messages per hour"),
            (Allowed(messagesPerDay=5), 10, "5 messages per day"),
            (Allowed(recipientsPerHour=5), 5, "5 recipients per hour"),
            (Allowed(recipientsPerDay=5), 5, "5 recipients per day"),
        ):
            self.setUp()
            self.assertEqual(self.send(9, allowed, recipients=2), taken)
            because = self.allowance.spend(USER1, allowed, True)
            self.assertEqual(str(because), f'limit "user1@test.jp may send to the outside {text}"')

    def test_recipientsOfOneMessage(self) -> None:
        """The last message that is allowed goes to all its recipients."""
        self.assertEqual(self.send(2, Allowed(messagesPerHour=1), recipients=50), 50)

    def test_eachAccount(self) -> None:
        """What one has used is no other's, however its address is written."""
        allowed = Allowed(messagesPerHour=3)
        self.assertEqual(self.send(4, allowed), 3)
        self.assertEqual(self.send(4, allowed, account=ANNA), 3)
        self.assertEqual(self.send(4, allowed, account=parseAddress("USER1@Test.JP")), 0)

    def test_refusedIsNotCounted(self) -> None:
        """Who asks again and again is not kept out by that."""
        both = Allowed(messagesPerHour=3, recipientsPerDay=10)
        self.assertEqual(self.send(100, both), 3)
        self.clock.advance(HOUR + 5 * MINUTE)
        self.assertEqual(self.send(100, both, recipients=2), 6)
        self.clock.advance(HOUR + 5 * MINUTE)
        self.assertEqual(self.send(100, both), 1)

    def spent(self, allowed: Allowed, message: bool = True) -> Spent:
        """One recipient, who is taken."""
        spent = self.allowance.spend(USER1, allowed, message)
        assert isinstance(spent, Spent)
        return spent

    def test_givenBack(self) -> None:
        """What came to nothing makes room at once, of messages and recipients, and no more than it took."""
        both = Allowed(messagesPerHour=2, recipientsPerDay=5)
        self.send(1, both)
        one, two = self.spent(both), self.spent(both, message=False)
        self.assertEqual(self.send(9, both), 0)
        self.allowance.giveBack(two)
        self.assertEqual(self.send(9, both), 0)
        self.allowance.giveBack(one)
        self.assertEqual(self.send(9, both, recipients=9), 4)
        self.assertEqual(self.send(9, both), 0)

    def test_givenBackLater(self) -> None:
        """However many buckets later, over a restart too: what was sent before it and after it is counted on."""
        for window, allowed in ((HOUR, Allowed(messagesPerHour=9)), (DAY, Allowed(messagesPerDay=9))):
            for later in (0.0, window / 12, window / 2, window):
                for again in (False, True):
                    self.setUp()
                    self.send(2, allowed)
                    spent = self.spent(allowed)
                    self.clock.advance(later)
                    self.send(1, allowed)
                    if again:
                        self.restart()
                    self.allowance.giveBack(spent)
                    self.assertEqual(self.send(9, allowed), 6, (window, later, again))
                    self.restart()
                    self.assertEqual(self.send(9, allowed), 0, (window, later, again))

    def test_givenBackTooLate(self) -> None:
        """What has ceased to count gives no more than there was, and leaves no fact."""
        for window, allowed, wait in (
            ("hour", Allowed(messagesPerHour=3), 65 * MINUTE),
            ("day", Allowed(messagesPerDay=3), 25 * HOUR),
        ):
            self.setUp()
            spent = self.spent(allowed)
            self.clock.advance(wait)
            self.send(1, allowed)
            self.allowance.giveBack(spent)
            self.assertIsNone(self.hints.get(window, f"{spent.buckets[0][1]}/user1@test.jp"))
            self.assertEqual(self.send(9, allowed), 2)

    def test_givenBackOfNothing(self) -> None:
        """Where the facts were lost meanwhile nothing becomes less than nothing."""
        allowed = Allowed(messagesPerHour=3, recipientsPerHour=10)
        spent = [self.spent(allowed) for _ in range(3)]
        key = f"{spent[0].buckets[0][1]}/user1@test.jp"
        self.hints.put("hour", key, "1 8", NOON + HOUR)
        for each in spent:
            self.allowance.giveBack(each)
        self.assertEqual(self.send(9, allowed, recipients=2), 5)
        self.hints.forget("hour", key)
        self.allowance.giveBack(spent[0])
        self.assertIsNone(self.hints.get("hour", key))

    def test_slides(self) -> None:
        """No hour has more than the limit, wherever it begins; each message makes room an hour later, or soon after."""
        for window, allowed, bucket in (
            (HOUR, Allowed(messagesPerHour=20), 5 * MINUTE),
            (DAY, Allowed(recipientsPerDay=20), HOUR),
        ):
            self.setUp()
            sent: list[float] = []
            for step in range(400):
                now = self.clock.seconds()
                got = self.send(1 + step % 3, allowed)
                self.assertGreaterEqual(got, min(1 + step % 3, 20 - sum(now - at < window + bucket for at in sent)))
                sent += [now] * got
                self.assertLessEqual(sum(now - at <= window for at in sent), 20)
                self.clock.advance(window / 37)
            self.assertGreater(len(sent), 150)

    def test_restart(self) -> None:
        """What was used, and that a warning was sent, is known after a restart."""
        allowed = Allowed(messagesPerHour=5)
        self.send(3, allowed)
        self.restart()
        self.assertEqual((self.send(5, allowed), len(self.warned)), (2, 1))
        self.restart()
        self.assertEqual((self.send(5, allowed), self.warned), (0, []))

    def test_oneWarning(self) -> None:
        """The first refusal of a window warns, the hundreds after it do not; in the next window one does again."""
        allowed = Allowed(messagesPerHour=5)
        self.send(5, allowed)
        self.assertEqual(self.warned, [])
        self.send(500, allowed)
        [(account, text)] = self.warned
        self.assertEqual(account, USER1)
        self.assertIn("user1@test.jp has sent to the outside as much as it may: 5 messages within one hour.", text)
        for _ in range(12):
            self.clock.advance(5 * MINUTE)
            self.assertEqual(self.send(50, allowed), 0)
        self.assertEqual(len(self.warned), 1)
        self.clock.advance(5 * MINUTE)
        self.assertEqual((self.send(50, allowed), len(self.warned)), (5, 2))

    def test_unwritten(self) -> None:
        """A warning that could not be written is tried again soon, not at each refusal; after a restart too."""
        allowed = Allowed(messagesPerHour=5)
        self.written = Deferred()
        self.send(50, allowed)
        self.assertEqual(len(self.warned), 1)
        self.written.callback(False)
        self.send(50, allowed)
        self.clock.advance(LATER - 1)
        self.send(50, allowed)
        self.assertEqual(len(self.warned), 1)
        self.restart()
        self.clock.advance(2)
        self.send(50, allowed)
        self.assertEqual(len(self.warned), 1)
        self.clock.advance(2 * LATER)
        self.send(50, allowed)
        self.assertEqual(len(self.warned), 1)

    def test_whenAgain(self) -> None:
        """The warning names a time, and at that time there is room."""
        for allowed, wait in ((Allowed(messagesPerHour=2), 65 * MINUTE), (Allowed(recipientsPerDay=2), 25 * HOUR)):
            self.setUp()
            self.send(1, allowed)
            self.clock.advance(wait / 4)
            self.send(2, allowed)
            self.assertIn(f"from {trace.date(NOON + wait)} on", self.warned[0][1])
            self.clock.advance(wait * 3 / 4 - 1)
            self.assertEqual(self.send(2, allowed), 0)
            self.clock.advance(1)
            self.assertEqual(self.send(2, allowed), 1)

    def test_clockThatJumps(self) -> None:
        """Back or forth, by hours or years: the limit holds again at once, and never blocks for more than a window."""
        for jump in (-3 * HOUR, -90 * DAY, 3 * HOUR, 30 * HOUR, 40 * 365 * DAY):
            self.setUp()
            allowed = Allowed(messagesPerHour=5, recipientsPerDay=50)
            self.send(9, allowed)
            self.clock.rightNow += jump
            self.assertLessEqual(self.send(9, allowed), 5, jump)
            self.assertEqual(self.send(9, allowed), 0, jump)
            self.assertIn(len(self.warned), (1, 2))
            self.clock.rightNow -= jump
            self.assertLessEqual(self.send(9, allowed), 5, jump)
            self.clock.advance(HOUR + 5 * MINUTE)
            self.assertEqual(self.send(9, allowed), 5, jump)

    def test_clockThatWasAhead(self) -> None:
        """A warning that was sent while the clock was years ahead does not stand for years."""
        self.clock.rightNow += 10 * YEAR
        self.send(2, Allowed(messagesPerHour=1))
        self.clock.rightNow -= 10 * YEAR
        self.send(2, Allowed(messagesPerHour=1))
        self.assertEqual(len(self.warned), 2)

    def test_bounded(self) -> None:
        """However much is sent, an account is a few facts."""
        allowed = Allowed(recipientsPerHour=10**6, recipientsPerDay=10**6)
        for _ in range(1000):
            self.send(3, allowed)
            self.clock.advance(10 * MINUTE)
            self.turns.run()
        self.restart()
        self.assertLess(self.world.content("/work/hints").count(b"\n"), 1500)

    def test_touched(self) -> None:
        """What an operator wrote into the file that is no count is none."""
        self.send(1, Allowed(messagesPerHour=5))
        self.hints.release()
        self.turns.run()
        content = self.world.content("/work/hints")
        for wrong in (b"", b"1", b"x y", b"1 -5", b"- 1"):
            self.world.put("/work/hints", content.replace(b" 1 1\n", b" %s\n" % wrong))
            self.start()
            self.assertEqual(self.send(9, Allowed(messagesPerHour=5)), 5, wrong)


class QuotaTests(_Case):
    """L{Quota} warns whose mailbox is nearly full."""

    def start(self) -> None:
        """As a daemon does."""
        super().start()
        self.warned: list[tuple[Local, Usage, Usage]] = []
        self.limit = Usage(1000, 10)
        self.written: Deferred[bool] = succeed(True)
        self.quota = Quota(self.hints, self.clock.seconds, lambda box: self.limit, self.warn)

    def warn(self, box: Local, usage: Usage, limit: Usage) -> "Deferred[bool]":
        """A warning, which is remembered first, and written as the test wants."""
        self.assertIsNotNone(self.hints.get("full", "user1@test.jp"))
        self.warned.append((box, usage, limit))
        return self.written

    def warns(self, octets: int, messages: int = 0) -> bool:
        """Whether a usage brings a warning."""
        self.warned.clear()
        self.quota.seen(BOX, Usage(octets, messages))
        return bool(self.warned)

    def test_nearly(self) -> None:
        """At ninety per cent of the octets or of the messages, and with the figures."""
        self.assertEqual([self.warns(octets) for octets in (0, 899, 900)], [False, False, True])
        self.assertEqual(self.warned, [(BOX, Usage(900, 0), Usage(1000, 10))])
        self.setUp()
        self.assertEqual([self.warns(0, messages) for messages in (0, 8, 9)], [False, False, True])

    def test_once(self) -> None:
        """Once, however much more comes; and again only after it fell below; over restarts too."""
        self.assertTrue(self.warns(950))
        self.assertEqual([self.warns(octets, 10) for octets in (960, 1000, 2000)], [False] * 3)
        self.restart()
        self.assertFalse(self.warns(950))
        self.clock.advance(YEAR / 2)
        self.assertFalse(self.warns(950))
        self.assertFalse(self.warns(899))
        self.restart()
        self.assertTrue(self.warns(900))

    def test_unwritten(self) -> None:
        """A warning that could not be written is tried again, but not with each message of a moment."""
        self.written = Deferred()
        self.assertTrue(self.warns(950))
        self.assertFalse(self.warns(951))
        self.written.callback(False)
        self.assertFalse(self.warns(952))
        self.restart()
        self.clock.advance(LATER - 1)
        self.assertFalse(self.warns(953))
        self.clock.advance(2)
        self.assertTrue(self.warns(954))
        self.clock.advance(2 * LATER)
        self.assertFalse(self.warns(955))

    def test_noLimit(self) -> None:
        """Where there is no limit nothing is nearly full."""
        self.limit = Usage()
        self.assertFalse(self.warns(10**12, 10**9))
        self.limit = Usage(0, 10)
        self.assertFalse(self.warns(10**12, 1))


class AnsweredTests(_Case):
    """L{Answered} knows who had a reply."""

    def start(self) -> None:
        """As a daemon does."""
        super().start()
        self.seen = 0
        self.answered = Answered(self.hints, self.clock.seconds)

    def test_oncePerSender(self) -> None:
        """One in seven days for each pair of sender and account, over a restart too."""
        self.assertTrue(self.answered.first(USER1, ANNA))
        self.assertFalse(self.answered.first(USER1, parseAddress("ANNA@test.jp")))
        self.assertTrue(self.answered.first(ANNA, USER1))
        self.assertTrue(self.answered.first(USER1, parseAddress("b@test.jp")))
        self.restart()
        self.clock.advance(AGAIN - 1)
        self.assertFalse(self.answered.first(USER1, ANNA))
        self.clock.advance(1)
        self.assertTrue(self.answered.first(USER1, ANNA))

    def test_unwritten(self) -> None:
        """Whose reply could not be written may have one soon, not at once; the tries count among those of the hour."""
        self.assertTrue(self.answered.first(USER1, ANNA))
        self.answered.unwritten(USER1, parseAddress("Anna@Test.jp"))
        self.assertFalse(self.answered.first(USER1, ANNA))
        self.clock.advance(LATER + 1)
        self.assertTrue(self.answered.first(USER1, ANNA))
        self.clock.advance(2 * LATER)
        self.assertFalse(self.answered.first(USER1, ANNA))
        self.assertEqual(self.answer(1000), REPLIES - 2)

    def answer(self, count: int, account: Address = USER1) -> int:
        """So many senders whom nobody has seen before. @return: how many are to have a reply."""
        first = self.seen
        self.seen += count
        return sum(self.answered.first(account, parseAddress(f"x{n}@x.example")) for n in range(first, self.seen))

    def test_atMost(self) -> None:
        """No hour has more than the limit, however many senders somebody makes up, and each account its own."""
        self.assertEqual(self.answer(REPLIES - 10), REPLIES - 10)
        self.clock.advance(30 * MINUTE)
        self.assertEqual((self.answer(1000), self.answer(1, ANNA)), (10, 1))
        self.restart()
        self.clock.advance(30 * MINUTE)
        self.assertEqual(self.answer(1), 0)
        self.clock.advance(5 * MINUTE)
        self.assertEqual(self.answer(1000), REPLIES - 10)

    def test_heard(self) -> None:
        """Nobody is sent more than some in an hour, by however many accounts, and whatever he puts behind a plus."""
        accounts = [parseAddress(f"user{number}@test.jp") for number in range(100)]

        def heard(sender: str) -> int:
            return sum(self.answered.first(each, parseAddress(sender.format(each.local))) for each in accounts)

        self.assertEqual((heard("a@x.example"), heard("b+{}@x.example"), heard("B@x.example")), (HEARD, HEARD, 0))
        self.assertEqual(heard("+{}@x.example"), HEARD)
        self.restart()
        self.clock.advance(HOUR)
        self.assertEqual(heard("a+x@x.example"), 0)
        self.clock.advance(5 * MINUTE)
        self.assertEqual(heard("a+x@x.example"), HEARD)

    def test_notHeardIsNotWritten(self) -> None:
        """What a sender is spared does not use up what an account may write."""
        for number in range(HEARD):
            self.answered.first(parseAddress(f"user{number}@x.example"), ANNA)
        for number in range(REPLIES):
            self.assertFalse(self.answered.first(USER1, parseAddress(f"anna+{number}@test.jp")))
        self.assertEqual(self.answer(1000), REPLIES)

    def test_nobodyIsTakenForAnswered(self) -> None:
        """Who had no reply because there were too many has one when he writes again later; who had one has none."""
        self.answered.first(USER1, ANNA)
        self.answer(1000)
        self.assertFalse(self.answered.first(USER1, BUCHO))
        self.clock.advance(2 * HOUR)
        self.assertTrue(self.answered.first(USER1, BUCHO))
        self.assertFalse(self.answered.first(USER1, ANNA))

    def test_toldOnceAnHour(self) -> None:
        """The log hears of it once an hour, over a restart too, and of each account."""
        told: list[str] = []

        def hear(event: LogEvent) -> None:
            told.append(str(formatEvent(event)))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        self.clock.rightNow += YEAR  # a clock that is ahead for a moment silences nothing
        self.answer(1000)
        self.clock.rightNow -= YEAR
        told.clear()
        words = f"user1@test.jp has written {REPLIES} automatic replies within an hour, and no more for now"
        for minutes, lines in ((0, 1), (1, 1), (58, 1), (6, 2)):
            self.clock.advance(minutes * MINUTE)
            self.restart()
            self.answer(1000)
            self.assertEqual(told, [words] * lines)
        self.answer(1000, ANNA)
        self.assertEqual(len(told), 3)

    def test_written(self) -> None:
        """An operator reads how many there were; what he writes there that is no count is none."""
        self.answer(3)
        number = int(NOON // 300)
        self.assertEqual(self.hints.get("replies", f"{number}/user1@test.jp"), "3")
        self.assertEqual(self.hints.get("heard", f"{number}/x1@x.example"), "1")
        self.hints.put("replies", f"{number}/user1@test.jp", "many", NOON + HOUR)
        self.assertEqual(self.answer(1000), REPLIES)

    def test_clockThatWasAhead(self) -> None:
        """A clock that was years ahead for a moment does not silence for years."""
        self.clock.rightNow += 10 * YEAR
        self.answer(1000)
        self.answered.first(USER1, ANNA)
        self.clock.rightNow -= 10 * YEAR
        self.assertTrue(self.answered.first(USER1, ANNA))
        self.assertFalse(self.answered.first(USER1, ANNA))
