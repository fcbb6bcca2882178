"""Message numbers on disk, and the lock on the folder."""

import os

from epost.interfaces import ISerial
from epost.mail.name import numbered
from epost.mail.reply import Refused
from epost.storage.disk import Disk
from epost.storage.lock import FolderLock, FolderTaken
from epost.storage.serial import BLOCK, Serial, SerialDamaged
from tests.storage.contracts import SerialContract
from tests.world.disk import World


class FileSerialTests(SerialContract):
    """L{Serial} on this machine's disk."""

    def setUp(self) -> None:
        """An empty work folder."""
        self.root = self.mktemp()
        os.mkdir(self.root)

    def make(self, highest: int = 0) -> Serial:
        """The serial of the next process."""
        return Serial(Disk(), self.root, highest)

    def text(self, octets: bytes | None = None) -> bytes:
        """Look into the file, or write it."""
        path = f"{self.root}/serial"
        if octets is not None:
            with open(path, "wb") as file:
                file.write(octets)
        with open(path, "rb") as file:
            return file.read()

    def test_first(self) -> None:
        """The first message of all is B0000000001."""
        self.assertEqual(str(numbered(self.make().next())), "B0000000001")

    def test_crash(self) -> None:
        """A process that died gave out no number that the next one gives."""
        serial = self.make()
        given = [serial.next() for _ in range(BLOCK + 5)]
        self.assertGreater(self.make().next(), max(given))

    def test_stopped(self) -> None:
        """After an orderly stop numbers go on without a gap, and a stop without a number changes nothing."""
        serial = self.make()
        last = [serial.next() for _ in range(7)][-1]
        serial.release()
        self.make().release()
        after = self.make()
        self.assertEqual((after.first, after.next()), (last + 1, last + 1))

    def test_unread(self) -> None:
        """Where a mailbox cannot be read the file tells the number; without the file nobody does, and none is given."""
        with self.assertRaisesRegex(SerialDamaged, "serial is missing, and inbox/user1/new cannot be read"):
            Serial(Disk(), self.root, 7, unread=["inbox/user1/new"])
        self.text(b"0000000300\n")
        self.assertEqual(Serial(Disk(), self.root, 7, unread=["inbox/user1/new"]).next(), 300)

    def test_raised(self) -> None:
        """It starts above what lies on disk, where the file was lost or is old; never below the file."""
        self.assertEqual(self.make(highest=185).next(), 186)
        self.text(b"0000000300\n")
        self.assertEqual(self.make(highest=185).next(), 300)

    def test_tenDigits(self) -> None:
        """The file holds at least ten digits, and more where ten do not do."""
        self.make().next()
        self.assertEqual(self.text(), b"0000001001\n")
        self.text(b"99999999999\n")
        self.make().next()
        self.assertEqual(self.text(), b"100000000999\n")

    def test_damaged(self) -> None:
        """A file without a number is an error that names the file and the remedy; the file stays."""
        for octets in (b"", b"\0\0\0\0", b"B0000000186", b"-5", b"1" * 60):
            self.text(octets)
            error = self.assertRaises(SerialDamaged, self.make, 185)
            self.assertIn(f"{self.root}/serial", str(error))
            self.assertEqual(self.text(), octets)

    def test_disk(self) -> None:
        """A disk that fails gives no number, and none is lost or given twice when it works again."""
        world = World()
        serial: ISerial = Serial(world, "/work", 0)
        for operation in ("create", "write", "fsync", "rename"):
            world.fault = lambda kind, path, operation=operation: 28 if kind == operation else 0  # type: ignore[misc]
            self.assertEqual(self.assertRaises(Refused, serial.next).reply.enhanced, "4.3.1")
            self.assertEqual(world.names("/work"), [], operation)
        world.fault = lambda kind, path: 0
        self.assertEqual([serial.next(), serial.next()], [1, 2])

    def test_leftOver(self) -> None:
        """A new file that a crash left is gone at the next start, whatever it holds, and counts for nothing."""
        self.make(highest=185).release()
        for left in (b"", b"0000099999\n", b"00000000"):
            serial = self.make(highest=185)
            given = serial.next()
            with open(f"{self.root}/serial.new", "wb") as file:
                file.write(left)
            after = self.make(highest=185)
            self.assertEqual((os.listdir(self.root), after.next()), (["serial"], given + BLOCK))

    def test_leftOverMeanwhile(self) -> None:
        """What could not be removed is when the disk works again."""
        world = World()
        serial = Serial(world, "/work", 0)
        world.fault = lambda kind, path: 28 if kind in ("write", "unlink") else 0
        self.assertRaises(Refused, serial.next)
        self.assertEqual(world.names("/work"), ["serial.new"])
        world.fault = lambda kind, path: 0
        self.assertEqual((serial.next(), world.names("/work")), (1, ["serial"]))

    def test_lock(self) -> None:
        """A second daemon is refused and told the process that has the folder; afterwards it is free."""
        lock = FolderLock(self.root)
        error = self.assertRaises(FolderTaken, FolderLock, self.root)
        self.assertEqual(error.process, os.getpid())
        self.assertIn(str(os.getpid()), str(error))
        lock.release()
        lock.release()
        FolderLock(self.root).release()


del SerialContract  # trial must not run it bare
