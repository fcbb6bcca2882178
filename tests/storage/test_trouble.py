"""Tests of L{epost.storage.trouble}."""

import errno

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from epost.storage.trouble import PLACES, QUIET, Trouble

FULL = OSError(errno.ENOSPC, "full")
WRITE = "not written"


class TroubleTests(SynchronousTestCase):
    """L{Trouble} tells what is wrong, not how often it is tried."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.trouble = Trouble(self.clock.seconds)
        self.said: list[str] = []
        self.log = Logger(observer=self.observe)

    def observe(self, event: LogEvent) -> None:
        """What the daemon's log would have."""
        self.said.append(formatEvent(event))

    def test_once(self) -> None:
        """The first of a kind is told at once, the others of the next minute are not."""
        for number in range(1000):
            self.trouble.tell(self.log, f"/work/{number}", WRITE, FULL)
        self.assertEqual(self.said, ["/work/0: not written: [Errno 28] full"])

    def test_kinds(self) -> None:
        """Another errno is another kind, and so is another thing that failed; a defect of ours is shown as it is."""
        for what, error in (
            (WRITE, FULL),
            (WRITE, OSError(errno.EIO, "bad")),
            ("not read", FULL),
            (WRITE, KeyError(5)),
        ):
            self.trouble.tell(self.log, "/x", what, error)
        self.assertEqual(len(self.said), 4)
        self.assertEqual(self.said[3], "/x: not written: KeyError(5)")

    def test_places(self) -> None:
        """A fault in another folder is another kind, by the file that it names or else by what is said of it."""
        for where, file in (
            ("/queue/1", None),
            ("/queue/2", None),
            ("storage", "/box/u1/1"),
            ("storage", "/box/u1/2"),
            ("storage", "/box/u2/1"),
        ):
            self.trouble.tell(self.log, where, WRITE, OSError(errno.ENOSPC, "full", file))
        self.assertEqual(
            [line.rpartition("] ")[2] for line in self.said], ["full", "full: '/box/u1/1'", "full: '/box/u2/1'"]
        )

    def test_manyPlaces(self) -> None:
        """However many folders fail, a few are told in a minute; the others are one kind, and another errno is none."""
        for round_ in range(2):
            for number in range(1000):
                self.trouble.tell(self.log, f"/box/{number}/1", WRITE, FULL)
            self.assertEqual(len(self.said), (PLACES + 1) * (round_ + 1))
            self.clock.advance(QUIET)
        lasts = f"; {999 - PLACES} more like it before"
        self.assertEqual(self.said[-1], f"/box/{PLACES}/1: not written: [Errno 28] full{lasts}")
        self.clock.advance(-1)
        self.trouble.tell(self.log, "/box/new/1", WRITE, FULL)
        self.trouble.tell(self.log, "/box/new/1", WRITE, OSError(errno.EIO, "bad"))
        self.assertEqual(self.said[-1], "/box/new/1: not written: [Errno 5] bad")
        self.assertEqual(len(self.said), 2 * (PLACES + 1) + 1)

    def test_again(self) -> None:
        """While it lasts it is told once a minute, with the number of the others, and when it comes anew."""
        for _ in range(150):
            self.trouble.tell(self.log, "/x", WRITE, FULL)
            self.clock.advance(1)
        lasts = "/x: not written: [Errno 28] full; 59 more like it before"
        self.assertEqual(self.said, ["/x: not written: [Errno 28] full", lasts, lasts])
        self.clock.advance(QUIET)
        self.trouble.tell(self.log, "/x", WRITE, FULL)
        self.assertEqual(len(self.said), 4)

    def test_clockSetBack(self) -> None:
        """A clock that is set back silences nothing."""
        self.trouble.tell(self.log, "/x", WRITE, FULL)
        self.clock.rightNow -= 3600
        self.trouble.tell(self.log, "/x", WRITE, FULL)
        self.assertEqual(len(self.said), 2)
