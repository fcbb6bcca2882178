"""How full a mailbox is: what it costs to know, and what other programs do to it."""

import os
from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from epost.interfaces import Usage
from epost.mail.name import numbered
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.storage.disk import Disk, Status
from epost.storage.durable import Commits
from epost.storage.inbox import Inbox
from epost.storage.meter import DAY, FRESH, PART, SLICE
from epost.storage.places import Places
from tests.storage.memory import MemoryContent
from tests.world.story import Turns

BOX = Local("user1", "test.jp")
BODY = b"Subject: x\r\n\r\nx\r\n"
SIZE = len(BODY.replace(b"\r\n", b"\n"))


class CountingDisk(Disk):
    """
    This machine's disk.

    @ivar calls: how often each operation was used.
    @ivar broken: whether no file in C{cur} can be looked at.
    @ivar between: done once, before C{cur} is listed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.broken = False
        self.between: Callable[[], object] = lambda: None

    def status(self, path: str) -> Status:
        """Counted."""
        self.calls["status"] += 1
        if self.broken and "/cur/" in path:
            raise OSError(5, "broken")
        return super().status(path)

    def names(self, path: str) -> list[str]:
        """Counted."""
        self.calls["names"] += 1
        if path.endswith("/cur"):
            between, self.between = self.between, lambda: None
            between()
        return super().names(path)


class MeterTests(SynchronousTestCase):
    """L{epost.storage.meter}, by way of the mailboxes, on this machine's disk."""

    def setUp(self) -> None:
        """A mailbox with three messages, and somebody has asked."""
        self.root = self.mktemp()
        os.mkdir(self.root)
        self.now = 0.0
        self.number = 0
        self.disk = CountingDisk()
        self.turns = Turns()
        self.start()
        self.deliver(3)
        self.assertEqual(self.usage(), Usage(3 * SIZE, 3))
        self.disk.calls.clear()

    def start(self) -> None:
        """A process that knows nothing yet."""
        commits = Commits(self.disk, "fsync", self.turns.callInThread, self.turns.callFromThread)
        places = Places(self.root, "inbox\\%USERNAME%")
        self.inbox = Inbox(self.disk, places, commits, 1, lambda: self.now)
        self.disk.calls.clear()

    def copy(self, box: Local = BOX) -> "Deferred[None]":
        """A message of the queue, up to where the thread begins."""
        self.number += 1
        return self.inbox.deliver(box, numbered(self.number), b"", MemoryContent(BODY))

    def usage(self) -> Usage:
        """What it is said to hold."""
        return self.inbox.usage(BOX)

    def truth(self) -> Usage:
        """What it holds."""
        files = [self.path(f"{folder}/{name}") for folder in ("new", "cur") for name in os.listdir(self.path(folder))]
        return Usage(sum(map(os.path.getsize, files)), len(files))

    def path(self, name: str) -> str:
        """In the mailbox."""
        return f"{self.root}/inbox/user1/{name}"

    def begin(self, count: int = 1) -> None:
        """Messages up to the end of data."""
        for _ in range(count):
            self.number += 1
            draft = self.inbox.draft(BOX, numbered(self.number), b"")
            draft.write(BODY)
            draft.commit()

    def deliver(self, count: int = 1) -> None:
        """Messages, to their end."""
        self.begin(count)
        self.turns.run()

    def others(self, count: int) -> None:
        """Another program puts files into cur."""
        for number in range(count):
            with open(self.path(f"cur/{number}.other:2,S"), "wb") as file:
                file.write(b"x" * 10)
        self.touch("cur")

    def touch(self, folder: str) -> None:
        """The clock of the file system may be coarse: what another program did shall have another date."""
        self.number += 1
        os.utime(self.path(folder), (self.number, self.number))

    def look(self) -> None:
        """Time goes by, somebody asks, and the thread works."""
        self.now += FRESH
        self.usage()
        self.turns.run()

    def test_costsNothing(self) -> None:
        """Deliveries and questions list no folder and look at no message; most questions ask the system nothing."""
        for _ in range(50):
            self.deliver()
            before = self.disk.calls.copy()
            self.assertEqual(self.usage(), self.truth())
            self.assertEqual(self.disk.calls, before)
        for _ in range(20):
            self.look()
        self.assertEqual(self.disk.calls["names"], 0)
        self.assertEqual(self.usage(), Usage(53 * SIZE, 53))

    def test_copied(self) -> None:
        """Files that are copied in, as by rsync, are counted, and ours go on from there."""
        self.others(20)
        self.assertEqual(self.usage(), Usage(3 * SIZE, 3))
        self.look()
        self.assertEqual(self.usage(), Usage(3 * SIZE + 200, 23))
        self.deliver()
        self.assertEqual(self.usage(), self.truth())

    def test_readAndRemoved(self) -> None:
        """A reader moves messages to cur, sets flags, removes some: each time the sum is right."""
        for message in (1, 2, 3):
            os.rename(self.path(f"new/B000000000{message}.MSG"), self.path(f"cur/B000000000{message}.MSG:2,S"))
        self.touch("new")
        self.touch("cur")
        self.look()
        self.assertEqual(self.usage(), Usage(3 * SIZE, 3))
        os.unlink(self.path("cur/B0000000002.MSG:2,S"))
        self.touch("cur")
        self.look()
        self.assertEqual(self.usage(), Usage(2 * SIZE, 2))

    def test_removedBeforeADelivery(self) -> None:
        """What was removed before one of ours came is seen all the same: only our own change is taken for known."""
        os.unlink(self.path("new/B0000000001.MSG"))
        self.touch("new")
        self.deliver()
        self.look()
        self.assertEqual(self.usage(), self.truth())
        self.assertEqual(self.disk.calls["names"], 2)

    def test_deliveredMeanwhile(self) -> None:
        """A count of many slices, with deliveries before, in and behind it, ends right, and no other need follow."""
        self.others(3 * SLICE)
        self.begin()
        self.now = FRESH
        self.usage()
        for _ in range(12):
            self.turns.waiting.pop(0)()
            self.begin()
        self.turns.run()
        self.assertEqual(self.usage(), self.truth())
        self.disk.calls.clear()
        self.now += 1000
        self.look()
        self.assertEqual(self.disk.calls["names"], 0)

    def test_movedMeanwhile(self) -> None:
        """What others change while a count goes on is right after the next."""
        self.others(2 * SLICE)
        self.now = FRESH
        self.usage()
        self.turns.waiting.pop(0)()
        for number in range(0, 2 * SLICE, 2):
            os.rename(self.path(f"cur/{number}.other:2,S"), self.path(f"cur/{number}.other:2,ST"))
            os.unlink(self.path(f"cur/{number + 1}.other:2,S"))
        self.touch("cur")
        self.turns.run()
        self.now += 1000
        self.look()
        self.assertEqual(self.usage(), self.truth())

    def test_movedWhileListed(self) -> None:
        """A message that a reader moves between the two listings counts once."""
        old, new = self.path("new/B0000000001.MSG"), self.path("cur/B0000000001.MSG:2,S")
        self.disk.between = lambda: os.rename(old, new)
        self.touch("new")
        self.look()
        self.assertEqual(self.usage(), Usage(3 * SIZE, 3))

    def test_slices(self) -> None:
        """A large mailbox is counted some hundred files at a time, so that messages come between."""
        self.others(4 * SLICE)
        self.now = FRESH
        self.usage()
        most, seen = 0, 0
        while self.turns.waiting:
            self.turns.waiting.pop(0)()
            most, seen = max(most, self.disk.calls["status"] - seen), self.disk.calls["status"]
        self.assertLess(most, SLICE + 10)
        self.assertEqual(self.usage(), self.truth())

    def test_firstBesideOthers(self) -> None:
        """What comes from the queue has its mailbox counted in the thread, and ends as it would otherwise."""
        self.others(2 * SLICE)
        for more in (2, 1):
            self.start()
            limit = Usage(0, self.truth().messages + more)
            self.inbox.limit = lambda box, limit=limit: limit  # type: ignore[misc]
            copies = [self.copy(), self.copy(), self.copy()]
            self.assertEqual(self.disk.calls, {})
            self.turns.run()
            for fired in copies[:more]:
                self.assertIsNone(self.successResultOf(fired))
            for fired in copies[more:]:
                self.assertEqual(self.failureResultOf(fired, Refused).value.reply.code, 450)
            self.assertEqual((self.usage(), self.disk.calls["names"]), (self.truth(), 2))
            self.look()
            self.assertEqual(self.disk.calls["names"], 2)

    def test_askedMeanwhile(self) -> None:
        """Who asks while a first count goes on has his answer at once, and nothing is counted twice."""
        self.others(2 * SLICE)
        for turns in range(5):
            self.start()
            self.inbox.limit = lambda box: Usage(0, 10**6)
            fired = self.copy()
            self.begin()
            for _ in range(turns):
                self.turns.waiting.pop(0)()
            self.assertEqual(self.usage(), self.truth())
            self.turns.run()
            self.assertIsNone(self.successResultOf(fired))
            self.assertEqual(self.usage(), self.truth())

    def test_oneAfterTheOther(self) -> None:
        """A message for many mailboxes that nobody has asked about has no two of them counted in one tick."""
        self.start()
        self.inbox.limit = lambda box: Usage(0, 10**6)
        copies = [self.copy(Local(f"user{number}", "test.jp")) for number in range(1, 20)]
        self.assertEqual(self.inbox.usage(Local("user19", "test.jp")), Usage())
        while self.turns.waiting:
            before = self.disk.calls["names"]
            self.turns.waiting.pop(0)()
            self.assertLessEqual(self.disk.calls["names"] - before, 2)
        self.assertEqual([self.successResultOf(fired) for fired in copies], [None] * 19)
        self.assertEqual(self.disk.calls["names"], 2 * 19)
        self.assertEqual(self.usage(), self.truth())

    def test_firstFails(self) -> None:
        """Where the first count fails the message is put off, and the next one tries again."""
        self.others(1)
        self.start()
        self.inbox.limit = lambda box: Usage(0, 10**6)
        self.disk.broken = True
        fired = self.copy()
        self.turns.run()
        self.assertEqual(self.failureResultOf(fired, Refused).value.reply.code, 451)
        self.disk.broken = False
        fired = self.copy()
        self.turns.run()
        self.assertIsNone(self.successResultOf(fired))
        self.assertEqual(self.usage(), self.truth())

    def test_partOfTheTime(self) -> None:
        """A count that took long is not made again at once, however often the mailbox changes."""
        self.others(SLICE)
        self.now = FRESH
        self.usage()
        self.now += 3
        self.turns.run()
        self.others(2)
        self.disk.calls.clear()
        for _ in range(int(3 * PART / FRESH) - 1):
            self.look()
        self.assertEqual(self.disk.calls["names"], 0)
        self.look()
        self.look()
        self.assertEqual(self.disk.calls["names"], 2)

    def test_daily(self) -> None:
        """What left no trace in the dates is found within a day."""
        dates = os.stat(self.path("new"))
        os.unlink(self.path("new/B0000000001.MSG"))
        os.utime(self.path("new"), ns=(dates.st_mtime_ns, dates.st_mtime_ns))
        self.look()
        self.assertEqual(self.usage().messages, 3)
        self.now += DAY
        self.look()
        self.assertEqual(self.usage().messages, 2)

    def test_clockSetBack(self) -> None:
        """A clock that is set back stops no look."""
        self.now = 1000.0
        self.look()
        self.others(1)
        self.now = -500.0
        self.look()
        self.look()
        self.assertEqual(self.usage().messages, 4)

    def test_noMessages(self) -> None:
        """Hidden files and folders are no messages."""
        os.mkdir(self.path("cur/folder"))
        with open(self.path("cur/.nfs0001"), "wb") as file:
            file.write(b"x" * 999)
        self.touch("cur")
        self.look()
        self.assertEqual(self.usage(), Usage(3 * SIZE, 3))

    def test_removedMailbox(self) -> None:
        """A mailbox that is gone is empty, and full again from the first message on."""
        for number in (1, 2, 3):
            os.unlink(self.path(f"new/B000000000{number}.MSG"))
        for folder in ("tmp", "new", "cur", ""):
            os.rmdir(self.path(folder))
        self.look()
        self.assertEqual(self.usage(), Usage(0, 0))
        self.deliver()
        self.assertEqual(self.usage(), Usage(SIZE, 1))

    def test_brokenDisk(self) -> None:
        """A count that fails leaves the sum and fails no message; the next question tries again."""
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.others(1)
        self.disk.broken = True
        self.now += FRESH
        self.usage()
        self.deliver()
        self.assertEqual(len(os.listdir(self.path("new"))), 4)
        self.assertEqual(self.usage(), Usage(4 * SIZE, 4))
        self.assertEqual(logged, [])  # nobody is told that a message was refused
        self.disk.broken = False
        self.look()
        self.assertEqual(self.usage(), self.truth())
