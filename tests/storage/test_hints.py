"""Facts that survive a restart, and a disk that does not take them."""

from random import Random

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IHints
from epost.storage import hints
from epost.storage.hints import AGAIN, BATCH, SPARE, Hints
from tests.world.disk import OUTCOMES, PowerLost, World
from tests.world.story import Turns

PATH = "/work/hints"
NOON = 1796040000.0  # 2026-11-30 12:00:00 UTC
HOUR = 3600.0


class HintsTests(SynchronousTestCase):
    """L{Hints} on the simulated disk."""

    def setUp(self) -> None:
        """An empty work folder at noon."""
        self.world = World()
        self.clock = Clock()
        self.clock.advance(NOON)
        self.turns = Turns()
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self._heard)
        self.addCleanup(globalLogPublisher.removeObserver, self._heard)
        self.hints = self.make()

    def _heard(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "epost.storage.hints.Hints":
            self.logged.append(event["log_format"].format_map({key: str(value) for key, value in event.items()}))

    def make(self) -> Hints:
        """What the next process knows."""
        return Hints(self.world, "/work", self.clock, self.turns.callInThread, self.turns.callFromThread)

    def pass_(self, seconds: float = BATCH) -> None:
        """Time goes by, and the thread works."""
        self.clock.advance(seconds)
        self.turns.run()

    def put(self, *keys: str, until: float = NOON + 7 * 86400) -> None:
        """Some facts."""
        for key in keys:
            self.hints.put("replied", key, f"to {key}", until)

    def known(self, *keys: str) -> list[str]:
        """Which of them the next process knows."""
        there = self.make()
        return [key for key in keys if there.get("replied", key) == f"to {key}"]

    def test_role(self) -> None:
        """It claims its role."""
        self.assertTrue(verifyObject(IHints, self.hints))

    def test_file(self) -> None:
        """An operator can read it: a line for a fact, in the order in which they were put."""
        self.hints.put("hour", "5/user1@test.jp", "3 5", NOON + HOUR - 0.5)
        self.hints.put("warned", '"a b%"@日本.jp', "", NOON + HOUR)
        self.pass_()
        self.assertEqual(
            self.world.content(PATH).decode(),
            "# what epost remembers: until (UTC), kind, whose, value\n"
            "2026-11-30T13:00:00Z hour 5/user1@test.jp 3 5\n"
            '2026-11-30T13:00:00Z warned "a%20b%25"@日本.jp \n',
        )
        there = self.make()
        self.assertEqual((there.get("hour", "5/user1@test.jp"), there.get("warned", '"a b%"@日本.jp')), ("3 5", ""))

    def test_survives(self) -> None:
        """What was put, changed and forgotten is so in the next process; at most a second later, and at a stop."""
        self.put("a", "b", "c")
        self.pass_()
        self.put("d")
        self.hints.put("replied", "b", "other", NOON + HOUR)
        self.hints.forget("replied", "c")
        self.assertEqual(self.known(*"abcd"), ["a", "b", "c"])
        released = self.hints.release()
        self.assertNoResult(released)
        self.turns.run()
        self.successResultOf(released)
        self.assertEqual((self.known(*"abcd"), self.make().get("replied", "b")), (["a", "d"], "other"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopInTheMiddle(self) -> None:
        """A stop while the thread writes waits for that, and for what came since."""
        self.put("a")
        self.clock.advance(BATCH)
        self.put("b")
        released = self.hints.release()
        self.turns.run()
        self.successResultOf(released)
        self.assertEqual(self.known("a", "b"), ["a", "b"])

    def test_released(self) -> None:
        """What is put when the stop is over is not written: the folder may be another process's by then."""
        self.put("a")
        released = self.hints.release()
        self.turns.run()
        self.successResultOf(released)
        self.world.log.clear()
        self.put("b")
        self.hints.forget("replied", "a")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pass_(AGAIN)
        self.assertEqual((self.world.log, self.hints.get("replied", "b")), ([], "to b"))

    def test_releasedOnABrokenDisk(self) -> None:
        """So it is where the disk did not take the last of it."""
        self.world.fault = lambda operation, path: 28
        self.put("a")
        released = self.hints.release()
        self.turns.run()
        self.successResultOf(released)
        self.world.fault = lambda operation, path: 0
        self.put("b")
        self.pass_(AGAIN)
        self.assertEqual(self.known("a", "b"), [])

    def test_nothingToWrite(self) -> None:
        """A stop without anything unwritten does not wait for the thread."""
        self.put("a")
        self.pass_()
        self.successResultOf(self.hints.release())

    def test_batched(self) -> None:
        """However much is put in a second, the disk sees one addition and one sync, away from the reactor."""
        self.put("first")
        self.pass_()
        self.world.log.clear()
        self.put(*map(str, range(100)))
        self.put(*map(str, range(100)))
        self.assertEqual(self.world.log, [])
        self.clock.advance(BATCH)
        self.assertEqual(self.world.log, [])
        self.turns.run()
        self.assertEqual([operation for operation, _ in self.world.log], ["append", "open", "fsync"])
        self.assertEqual(self.world.content(PATH).count(b"\n"), 102)

    def test_over(self) -> None:
        """A fact holds until its time, not at it; what is over is not read again."""
        self.put("a", until=NOON + HOUR)
        self.clock.advance(HOUR - 1)
        self.assertEqual(self.hints.get("replied", "a"), "to a")
        self.pass_(1)
        self.assertIsNone(self.hints.get("replied", "a"))
        self.assertEqual(self.known("a"), [])

    def test_clockThatWasAhead(self) -> None:
        """What was put while the clock was years ahead is not believed for years."""
        self.put("a", until=NOON + 10 * HOUR)
        self.assertIsNone(self.hints.get("replied", "a", within=HOUR))
        self.assertEqual(self.hints.get("replied", "a", within=10 * HOUR), "to a")

    def test_farAway(self) -> None:
        """No time is too far for the file."""
        self.put("a", until=float(10**15))
        self.put("b", until=-5.0)
        self.pass_()
        self.assertEqual(self.known("a", "b"), ["a"])

    def test_rewritten(self) -> None:
        """A file that has grown beyond twice its worth is written anew, without what is over."""
        self.put("old", until=NOON + 10)
        self.pass_()
        for _ in range(SPARE + 10):
            self.put("a", "b")
            self.pass_()
        self.assertLess(self.world.content(PATH).count(b"\n"), SPARE + 30)
        self.assertNotIn(b"old", self.world.content(PATH))
        self.assertEqual(self.known("a", "b"), ["a", "b"])
        self.assertEqual(self.world.names("/work"), ["hints"])

    def test_bounded(self) -> None:
        """A flood of one kind pushes out its own oldest facts, and none of another kind."""
        self.patch(hints, "FACTS", 3)
        self.hints.put("over", "x", "", NOON + HOUR)
        self.put("a", "b", "c", "c")  # who is put again pushes out nobody
        self.assertEqual([key for key in "abcd" if self.hints.get("replied", key)], ["a", "b", "c"])
        self.put("a", "d")
        self.assertEqual([key for key in "abcd" if self.hints.get("replied", key)], ["a", "c", "d"])
        self.assertEqual(self.hints.get("over", "x"), "")

    def test_tornTail(self) -> None:
        """An unfinished last line is dropped without a word, and nothing is added to it."""
        good = b"2026-12-07T12:00:00Z replied a to a\n"
        self.world.put(PATH, good + b"2026-12-07T12:00:00Z replied b to ")
        self.hints = self.make()
        self.put("c")
        self.pass_()
        self.assertEqual((self.known("a", "b", "c"), self.logged), (["a", "c"], []))

    def test_damaged(self) -> None:
        """Lines that are none are told once, made safe, and passed over; the others count."""
        good = b"2026-12-07T12:00:00Z replied a to a\n"
        bad = b"rubbish\x1b[2J\n\0\0\0\0\n2026-99-07T12:00:00Z replied b to b\n2026-12-07T12:00:00Z replied\n\n"
        self.world.put(PATH, good + bad + good.replace(b"a", b"c") + b"# a remark\n")
        self.assertEqual(self.known("a", "b", "c"), ["a", "c"])
        told = "/work/hints:2: damaged, passed over: rubbish\\x1b[2J (and 3 more lines)"
        self.assertEqual(self.logged, [told])
        self.hints = self.make()
        self.put("d")
        self.pass_()
        self.assertNotIn(b"rubbish", self.world.content(PATH))

    def test_longValue(self) -> None:
        """Ten thousand digits, which no Python reads as a number, are damage, and no value."""
        self.world.put(
            PATH, b"2026-12-07T12:00:00Z hour 5/a " + b"9" * 10_000 + b" 1\n2026-12-07T12:00:00Z replied a to a\n"
        )
        self.hints = self.make()
        self.assertEqual((self.hints.get("hour", "5/a"), self.known("a")), (None, ["a"]))

    def test_zeros(self) -> None:
        """Zeros, as a power cut leaves them in a file, are told: what was counted is gone."""
        self.world.put(PATH, b"2026-12-07T12:00:00Z replied a to a\n" + bytes(4))
        self.assertEqual(self.known("a"), ["a"])
        self.assertEqual(self.logged, ["/work/hints:2: damaged, passed over: \\x00\\x00\\x00\\x00"])

    def test_noText(self) -> None:
        """A value that is no UTF-8 is damaged too: it would keep the file from being written anew for ever."""
        self.world.put(PATH, b"2026-12-07T12:00:00Z full user1@test.jp \xff\n2026-12-07T12:00:00Z replied a to a\n")
        self.hints = self.make()
        self.put("b")
        self.pass_()
        self.assertEqual(
            self.logged, ["/work/hints:1: damaged, passed over: 2026-12-07T12:00:00Z full user1@test.jp \\xff"]
        )
        self.assertEqual(self.known("a", "b"), ["a", "b"])

    def test_unreadable(self) -> None:
        """A file that cannot be read begins anew and stops no start."""
        self.put("a")
        self.pass_()
        self.world.fault = lambda operation, path: 5 if operation == "read" else 0
        self.hints = self.make()
        self.assertIsNone(self.hints.get("replied", "a"))
        self.assertEqual(
            self.logged, ["/work/hints: [Errno 5] Input/output error: '/work/hints'; what was counted begins anew"]
        )
        self.world.fault = lambda operation, path: 0
        self.put("b")
        self.pass_()
        self.assertEqual(self.known("a", "b"), ["b"])

    def test_full(self) -> None:
        """A full disk is told once; facts go on in memory and are all written when there is room again."""
        self.put("a")
        self.pass_()
        self.world.room = 20
        for key in "bcd":
            self.put(key)
            self.pass_(AGAIN)
        self.assertEqual([line.partition(";")[0] for line in self.logged], ["/work/hints: [Errno 28] full"])
        self.assertEqual((self.hints.get("replied", "b"), self.known(*"abcd")), ("to b", ["a"]))
        self.assertEqual(self.world.names("/work"), ["hints"])  # no part of a file that takes the last room
        self.world.room = None
        self.pass_(AGAIN)
        self.assertEqual((self.logged[1:], self.known(*"abcd")), (["/work/hints is written again"], [*"abcd"]))

    def test_anotherFault(self) -> None:
        """A full disk that then breaks is told once more, and that it is well again once."""
        for number, key in ((28, "a"), (28, "b"), (5, "c"), (5, "d"), (0, "e")):
            self.world.fault = lambda operation, path, number=number: number  # type: ignore[misc]
            self.put(key)
            self.pass_(AGAIN)
        told = [line.partition(":")[2][1:9] for line in self.logged]
        self.assertEqual((told, self.logged[2]), (["[Errno 2", "[Errno 5", ""], "/work/hints is written again"))
        self.assertEqual(self.known(*"abcde"), [*"abcde"])

    def test_syncThatFailed(self) -> None:
        """After a sync that failed a new file is written: a second sync of the old one would prove nothing."""
        self.put("a")
        self.pass_()
        self.world.fault = lambda operation, path: 5 if operation == "fsync" else 0
        self.put("b")
        self.pass_()
        self.world.fault = lambda operation, path: 0
        self.pass_(AGAIN)
        self.world = self.world.after(Random(1), OUTCOMES["nothing"])
        self.assertEqual(self.known("a", "b"), ["a", "b"])

    def test_stopOnABrokenDisk(self) -> None:
        """A stop does not wait for a disk that is gone."""
        self.world.fault = lambda operation, path: 5
        self.put("a")
        released = self.hints.release()
        self.turns.run()
        self.successResultOf(released)

    def test_removed(self) -> None:
        """Who removes the file of a running daemon gets it back, without a word; without its folder it is told."""
        self.put("a")
        self.pass_()
        self.world.unlink(PATH)
        self.put("b")
        self.pass_()
        self.pass_()
        self.assertEqual((self.known("a", "b"), self.logged), (["a", "b"], []))
        self.world.fault = lambda operation, path: 2
        self.put("c")
        for _ in range(5):
            self.pass_()
        self.assertEqual(len(self.logged), 1)

    def test_everyLossOfPower(self) -> None:
        """Whatever is lost and wherever: what was written a second before is there, each fact whole or not at all."""
        lifetime, ended = 0, False
        while not ended:
            for name, outcome in OUTCOMES.items():
                world = self.world = World()
                self.clock = Clock()
                self.clock.advance(NOON)
                self.hints = self.make()
                world.lifetime, sure, ended = lifetime, [], True
                try:
                    for key in "abcdefgh":
                        if key == "e":
                            self.hints._anew = True  # as when it has grown
                        self.put(f"{key}{key * 300}")
                        self.pass_()
                        sure.append(f"{key}{key * 300}")
                except PowerLost:
                    ended = False
                    self.turns.waiting.clear()
                world.reboot()
                self.world = world.after(Random(lifetime), outcome)
                self.assertEqual(self.known(*sure), sure, f"{name}, {lifetime} operations")
                for key in "abcdefgh":
                    self.assertIn(self.make().get("replied", key * 301), (None, f"to {key * 301}"))
            lifetime += 1
        self.assertGreater(lifetime, 20)
