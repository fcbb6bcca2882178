"""Tests of L{epost.storage.trouble}."""

import errno

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from epost.storage.trouble import QUIET, Trouble

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
