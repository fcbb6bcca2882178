"""Tests of L{epost.storage.room}."""

import errno
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IRoom
from epost.storage.disk import Disk, Free
from epost.storage.room import BLOCK, Room
from tests.world.disk import World

MANY = 2**40


class Volumes(World):
    """
    A disk whose file systems have as much as a test says.

    @ivar left: by folder; the others have L{MANY} of everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, Free] = {}
        for path in ("/work/incoming", "/work/inbox"):
            self.mkdir(path)
        self.log.clear()

    def free(self, path: str) -> Free:
        self._operation("free", path)
        return self.left.get(path, Free(MANY, MANY, MANY, MANY))


class RoomTests(SynchronousTestCase):
    """L{Room} refuses before the disk is full."""

    def setUp(self) -> None:
        self.disk = Volumes()
        self.clock = Clock()
        self.said: list[str] = []

    def room(self, octets: int | None = 1000, files: int | None = 10) -> Room:
        """What is under test, over both folders."""
        return Room(self.disk, ["/work/incoming", "/work/inbox"], octets, files, self.clock.seconds)

    def refuses(self, room: Room, octets: int = MANY, files: int = MANY, size: int = 0, every: int = MANY) -> bool:
        """Whether it refuses, two seconds later, when so much is free."""
        self.disk.left["/work/incoming"] = Free(octets, files, every, every)
        self.clock.advance(2)
        return room.lacks(size)

    def told(self, event: LogEvent) -> None:
        """What the daemon's log would have."""
        if event["log_namespace"] == "epost.storage.room.Room":
            self.said.append(formatEvent(event))

    def test_octets(self) -> None:
        """Mail is refused while fewer octets are free than the reserve."""
        room = self.room()
        verifyObject(IRoom, room)
        self.assertEqual(
            [self.refuses(room, octets=octets) for octets in (1000, 999, 0, MANY)], [False, True, True, False]
        )

    def test_files(self) -> None:
        """The same holds for files, where the file system counts them."""
        room = self.room()
        self.assertEqual([self.refuses(room, files=files) for files in (10, 9, MANY)], [False, True, False])
        self.assertFalse(self.refuses(room, files=0, every=0))

    def test_announced(self) -> None:
        """A message is refused that would leave less than the reserve; a smaller one is taken, and nothing is said."""
        globalLogPublisher.addObserver(self.told)
        self.addCleanup(globalLogPublisher.removeObserver, self.told)
        room = self.room()
        self.assertEqual([self.refuses(room, 5000, size=size) for size in (4000, 4001, 0)], [False, True, False])
        self.assertEqual(self.said, [])

    def test_noReserve(self) -> None:
        """Without a reserve only a message that cannot fit is refused."""
        room = self.room(0, 0)
        self.assertEqual([self.refuses(room, 5, files=0, size=size) for size in (0, 5, 6)], [False, False, True])

    def test_copies(self) -> None:
        """A message for many mailboxes is refused where its copies would leave less than the reserve, of either."""
        room = self.room()
        self.assertEqual([self.refuses(room, 5000, size=size) for size in (40 * 100, 41 * 100)], [False, True])
        self.disk.left["/work/incoming"] = Free(MANY, 110, MANY, MANY)
        self.clock.advance(1)
        self.assertEqual([room.lacks(0, files) for files in (100, 101, 0)], [False, True, False])
        self.disk.left["/work/incoming"] = Free(MANY, 0, MANY, 0)
        self.clock.advance(1)
        self.assertFalse(room.lacks(0, 10**6))

    def test_copiesTold(self) -> None:
        """That a message is refused for its copies is told, once a minute; that the disk is low was told already."""
        globalLogPublisher.addObserver(self.told)
        self.addCleanup(globalLogPublisher.removeObserver, self.told)
        room = self.room()
        self.disk.left["/work/incoming"] = Free(501_000, 110, MANY, MANY)
        room.promise("B1", 6000, 60)
        for _ in range(100):
            room.lacks(5000, 50)
            self.clock.advance(1)
        words = (
            "a message that needs 209,800 octets in 50 files is refused (452): "
            "500,000 and 100 are free above what is kept, of which 251,760 and 60 are promised to others"
        )
        self.assertEqual(self.said, [words] * 2)
        self.disk.left["/work/incoming"] = Free(0, 0, MANY, MANY)
        self.clock.advance(100)
        room.lacks(5000, 50)
        self.assertEqual(len(self.said), 3)
        self.assertIn("only 0 octets", self.said[2])

    def test_promised(self) -> None:
        """What was accepted for many mailboxes has its room until it is there: no other message gets that."""
        room = self.room()
        self.disk.left["/work/incoming"] = Free(1000 + 10_000 + 100 * BLOCK, 110, MANY, MANY)
        self.assertFalse(room.promise("B1", 10_001, 100) or room.promise("B1", 0, 101))
        self.assertTrue(room.promise("B1", 6000, 60))
        self.assertEqual([room.lacks(octets, 40) for octets in (4000, 4001)], [False, True])
        self.assertTrue(room.promise("B2", 0, 40))
        self.assertEqual([room.lacks(octets) for octets in (4000, 4001)], [False, True])
        self.assertFalse(room.promise("B3", 4001, 0))
        self.assertTrue(room.promise("B3", 4000, 0))
        self.assertTrue(room.lacks(1))
        self.disk.left["/work/incoming"] = Free(2000, 110, MANY, MANY)
        self.clock.advance(1)
        self.assertEqual((room.lacks(0), room.low()), (True, False))  # what is promised is written, as it may be
        self.disk.left["/work/incoming"] = Free(1000 + 10_000 + 100 * BLOCK, 110, MANY, MANY)
        self.clock.advance(1)
        for message in ("B1", "B2", "B2", "B3", "B4"):
            room.end(message)
        self.assertEqual([room.lacks(octets, 100) for octets in (10_000, 10_001)], [False, True])

    def test_filesPromised(self) -> None:
        """So are files, where octets are no matter."""
        room = self.room()
        self.disk.left["/work/incoming"] = Free(MANY, 110, MANY, MANY)
        self.assertFalse(room.promise("B1", 0, 101))
        self.assertTrue(room.promise("B1", 0, 60))
        self.assertEqual([room.lacks(0, files) for files in (40, 41)], [False, True])
        room.end("B1")
        self.assertEqual([room.lacks(0, files) for files in (100, 101)], [False, True])

    def test_default(self) -> None:
        """Where nobody says how much, it is a twentieth, at most 64 MiB and 1000 files."""
        room = self.room(None, None)
        small = [self.refuses(room, octets, MANY, every=32_000_000) for octets in (1_600_000, 1_599_999, MANY)]
        large = [self.refuses(room, octets) for octets in (64 * 2**20, 64 * 2**20 - 1, MANY)]
        files = [self.refuses(room, MANY, files, every=MANY) for files in (1000, 999)]
        self.assertEqual((small, large, files), ([False, True, False], [False, True, False], [False, True]))

    def test_eitherFileSystem(self) -> None:
        """Mailboxes on a file system of their own are looked at too; folders on one are looked at once."""
        self.room().lacks(0)
        self.assertEqual([path for operation, path in self.disk.log if operation == "free"], ["/work/incoming"])
        self.disk.volumes["/work/inbox"] = 2
        room = self.room()
        self.disk.left["/work/inbox"] = Free(0, MANY, MANY, MANY)
        self.assertTrue(room.lacks(0))

    def test_nowAndThen(self) -> None:
        """The disk is asked ten times a second at most, whatever comes; also when the clock is set back."""
        room = self.room()
        for _ in range(100):
            room.lacks(0)
            self.clock.advance(1 / 640)
        self.assertEqual(sum(operation == "free" for operation, _ in self.disk.log), 2)
        self.clock.rightNow -= 3600
        self.disk.left["/work/incoming"] = Free(0, 0, MANY, MANY)
        self.assertTrue(room.lacks(0))

    def test_told(self) -> None:
        """The log says once that it begins and once that it is over: a quarter above the mark."""
        globalLogPublisher.addObserver(self.told)
        self.addCleanup(globalLogPublisher.removeObserver, self.told)
        room = self.room()
        refused = [self.refuses(room, octets=octets) for octets in (2000, 999, 500, 1001, 1249, 1250, 1001)]
        self.assertEqual(refused, [False, True, True, True, True, False, False])
        self.assertEqual(len(self.said), 2, self.said)
        self.assertIn("/work/incoming: only 999 octets", self.said[0])
        self.assertIn("new mail is refused (452) to keep 1,000 and 10", self.said[0])
        self.assertIn("/work/incoming: 1,250 octets", self.said[1])
        self.assertIn("taken again", self.said[1])

    def test_cannotLook(self) -> None:
        """A file system that does not answer refuses nothing: whoever writes there will hear more."""
        room = self.room()
        self.disk.fault = lambda operation, path: errno.EIO if operation == "free" else 0
        self.assertFalse(self.refuses(room, octets=0))

    def test_thisMachine(self) -> None:
        """The real disk has some room, of more."""
        folder = Path(self.mktemp())
        folder.mkdir()
        free = Disk().free(str(folder))
        self.assertTrue(0 < free.octets < free.allOctets)
