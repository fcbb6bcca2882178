"""senderlog and receivelog against the seed's own lines."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IReceiveLog, ISenderLog
from epost.mail.address import parseAddress
from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.storage.journal import LOT, ReceiveLog, SenderLog
from tests.seed import RECEIVELOG, SENDERLOG

SEED = numbered(186)
DOMAIN = "test-sample00.jp"
GREETING = "dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul"
WRONG = "Please, mail from a valid IP or Domain address."

FIRST = "".join(SENDERLOG.splitlines(keepends=True)[2:12])
LAST = "".join(SENDERLOG.splitlines(keepends=True)[-7:])
RECEIVED = "".join(RECEIVELOG.splitlines(keepends=True)[:4])


def tokyo(hour: int, minute: int, second: int, thousandth: int = 0, day: int = 6) -> float:
    """A time of the seed's day."""
    zone = timezone(timedelta(hours=9))
    return datetime(2009, 7, day, hour, minute, second, thousandth * 1000, zone).timestamp()


class JournalTestCase(SynchronousTestCase):
    """A clock that stands in Tokyo on the seed's day."""

    def setUp(self) -> None:
        """The zone is the machine's, as the logs tell local time."""
        zone = os.environ.get("TZ")
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        self.addCleanup(self.restore, zone)
        self.clock = Clock()
        self.folder = self.mktemp()

    def restore(self, zone: str | None) -> None:
        """The machine's zone again."""
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()

    def at(self, hour: int, minute: int, second: int, thousandth: int = 0, day: int = 6) -> float:
        """Set the clock, without anything coming due."""
        self.clock.rightNow = tokyo(hour, minute, second, thousandth, day)
        return self.clock.rightNow

    def text(self, day: str = "090706") -> str:
        """A log file."""
        with open(f"{self.folder}/{day}.log", encoding="utf-8", newline="") as file:
            return file.read()


class SenderLogTests(JournalTestCase):
    """L{SenderLog}."""

    def setUp(self) -> None:
        """A log."""
        super().setUp()
        self.log = SenderLog(self.folder, self.clock)

    def test_role(self) -> None:
        """It claims its role."""
        self.assertTrue(verifyObject(ISenderLog, self.log))

    def test_firstAttempt(self) -> None:
        """The seed's first attempt, line for line."""
        now = self.at(16, 27, 35, 1)
        self.log.trying(SEED, DOMAIN, now, tokyo(16, 27, 34), 0)
        self.log.connecting(SEED, "192.168.0.103")
        self.at(16, 27, 35, 111)
        self.log.heard(SEED, Reply(220, (GREETING,)))
        self.log.said(SEED, "HELO test.jp")
        self.at(16, 27, 35, 131)
        self.log.heard(SEED, Reply(250, ("dc.epost.test Hello [192.168.0.102], pleased to meet you",)))
        self.log.said(SEED, "MAIL From: <baito@test.jp>")
        self.at(16, 27, 35, 171)
        self.log.heard(SEED, Reply(550, (WRONG,)))
        self.log.said(SEED, "QUIT")
        self.log.flush()
        self.assertEqual(self.text(), FIRST)

    def test_return(self) -> None:
        """The end of the seed's second attempt and the return, line for line."""
        name = SEED.again(1)
        now = self.at(16, 29, 35, 274)
        self.log.trying(name, DOMAIN, now, now, 1)
        now = self.at(16, 29, 35, 284)
        self.log.returning(name, parseAddress("baito@test.jp"), "test.jp", "192.168.0.103", now, now, 1)
        self.log.flush()
        self.assertEqual(self.text(), LAST)

    def test_everyThousandth(self) -> None:
        """A time is cut to its thousandth as it was given, though no float is exactly that."""
        expected = ""
        for thousandth in range(1000):
            self.at(16, 27, 35, thousandth)
            self.log.said(SEED, "QUIT")
            expected += f"[16:27:35:{thousandth:03d}] [B0000000186] SendMailMess:QUIT\n"
        self.log.flush()
        self.assertEqual(self.text(), expected)

    def test_severalLines(self) -> None:
        """A reply of several lines is logged line by line."""
        self.at(16, 27, 35, 1)
        self.log.heard(SEED, Reply(250, ("a", "SIZE 1")))
        self.log.flush()
        front = "[16:27:35:001] [B0000000186] SendMailMess:[16:27:35:001] "
        self.assertEqual(self.text(), f"{front}250-a\n{front}250 SIZE 1\n")

    def test_noForgery(self) -> None:
        """Whatever a server, a client or a table says, a line stays one line."""
        evil = "x\r\n[16:00:00:000] [B1] forged\u2028\x85"
        self.at(16, 0, 0)
        self.log.trying(SEED, evil, 0, 0, 0)
        self.log.connecting(SEED, evil)
        self.log.heard(SEED, Reply(250, (evil,)))
        self.log.said(SEED, evil)
        self.log.returning(SEED, parseAddress("a@b.jp"), evil, evil, 0, 0, 0)
        self.log.flush()
        self.assertEqual(len(self.text().splitlines()), 3 + 1 + 1 + 1 + 4)


class ReceiveLogTests(JournalTestCase):
    """L{ReceiveLog}."""

    def setUp(self) -> None:
        """A log."""
        super().setUp()
        self.log = ReceiveLog(self.folder, self.clock)

    def test_role(self) -> None:
        """It claims its role."""
        self.assertTrue(verifyObject(IReceiveLog, self.log))

    def test_seed(self) -> None:
        """The end of a session, line for line."""
        self.at(16, 23, 57)
        self.log.lines(0x00153008, ("quit", "221 dc.epost.test closing connection."))
        self.log.closed(0x00153008)
        self.log.flush()
        self.assertEqual(self.text(), RECEIVED)

    def test_connection(self) -> None:
        """Eight lower-case hexadecimal digits, however many connections there were."""
        self.at(16, 23, 57)
        self.log.lines(0xABC, ["x"])
        self.log.lines(2**32 + 0xABC, ["x"])
        self.log.flush()
        self.assertEqual(self.text(), "[06/Jul/2009:16:23:57], 00000abc, x\n" * 2)

    def test_flushedInASecond(self) -> None:
        """A line is on disk a second after it was written; nothing is timed while nothing waits."""
        self.at(16, 0, 0)
        self.log.lines(1, ["a"])
        self.clock.advance(0.5)
        self.log.lines(1, ["b"])
        self.clock.advance(0.5)
        self.assertEqual(len(self.text().splitlines()), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_batch(self) -> None:
        """Under load lines do not pile up until the second is over: nearly all are in the file already."""
        self.at(16, 0, 0)
        for _ in range(500):
            self.log.lines(1, ["a" * 500] * 10)
        written = len(self.text().splitlines())
        self.assertGreater(written, 5000 - 3 * LOT * 10)
        self.log.flush()
        self.assertEqual(len(self.text().splitlines()), 5000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_secondsApart(self) -> None:
        """Each line has the second in which it was said, whenever it was written out."""
        for second in (0, 1, 1, 3):
            self.at(16, 0, second)
            self.log.lines(1, [str(second)])
        self.log.flush()
        expected = [f"[06/Jul/2009:16:00:0{second}], 00000001, {second}" for second in (0, 1, 1, 3)]
        self.assertEqual(self.text().splitlines(), expected)

    def test_oneUnsafe(self) -> None:
        """One line that has to be made safe leaves the others as they are."""
        self.at(16, 23, 57)
        for text in ("a", "b\n", "c" * 600, "d"):
            self.log.lines(0xABC, [text])
        self.log.flush()
        lines = [line.rpartition(" ")[2] for line in self.text().splitlines()]
        self.assertEqual(lines, ["a", "b\\x0a", "c" * 512 + "…", "d"])

    def test_midnight(self) -> None:
        """Each local day has its file; a clock that is set back finds the day before."""
        for day, hour in ((6, 23), (7, 0), (6, 23)):
            self.at(hour, 59 if hour else 0, 59 if hour else 0, day=day)
            self.log.lines(1, ["x"])
        self.log.flush()
        self.assertEqual(self.text(), "[06/Jul/2009:23:59:59], 00000001, x\n" * 2)
        self.assertEqual(self.text("090707"), "[07/Jul/2009:00:00:00], 00000001, x\n")

    def test_summerTime(self) -> None:
        """A day of 25 hours is one day."""
        os.environ["TZ"] = "Europe/Berlin"
        time.tzset()
        for hour in range(25):
            self.clock.rightNow = datetime(2009, 10, 24, 22, 30, tzinfo=UTC).timestamp() + 3600 * hour
            self.log.lines(1, ["x"])
        self.log.flush()
        self.assertEqual(os.listdir(self.folder), ["091025.log"])

    def test_moved(self) -> None:
        """An operator may move a log away; it is begun anew."""
        self.at(16, 0, 0)
        self.log.lines(1, ["a"])
        self.log.flush()
        os.rename(f"{self.folder}/090706.log", f"{self.folder}/old")
        self.log.lines(1, ["b"])
        self.log.flush()
        self.assertEqual(self.text(), "[06/Jul/2009:16:00:00], 00000001, b\n")

    def test_removed(self) -> None:
        """An operator may even remove the folder; it is made anew."""
        self.at(16, 0, 0)
        os.rmdir(self.folder)
        self.log.lines(1, ["a"])
        self.log.flush()
        self.assertEqual(self.text(), "[06/Jul/2009:16:00:00], 00000001, a\n")

    def test_brokenDisk(self) -> None:
        """A disk that does not take the log stops nothing; what is missing is told once, when it works again."""
        self.at(16, 0, 0)
        os.mkdir(f"{self.folder}/090706.log")  # no file can be made there
        for _ in range(3):
            self.log.lines(1, ["a", "b"])
            self.log.flush()
        os.rmdir(f"{self.folder}/090706.log")
        self.log.lines(1, ["c"])
        self.log.flush()
        self.assertEqual(self.text(), "[06/Jul/2009:16:00:00], 00000001, c\n")

    def test_allButFull(self) -> None:
        """A disk that takes the log now and then is told twice a minute, and no missing line is forgotten."""
        self.at(16, 0, 0)
        path = f"{self.folder}/090706.log"
        with capturedLogs() as events:
            for _ in range(70):
                self.clock.advance(1)
                os.mkdir(path)
                self.log.lines(1, ["a", "b"])
                self.log.flush()
                os.rmdir(path)
                self.log.lines(1, ["c"])
                self.log.flush()
                os.remove(path)
        said = [formatEvent(event).removeprefix(f"{path}: ") for event in events]
        fault = f"mail goes on without this log: [Errno 21] Is a directory: '{path}'"
        self.assertEqual(
            said, [fault, "2 lines are missing", f"{fault}; 59 more like it before", "120 lines are missing"]
        )
