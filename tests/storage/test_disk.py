"""The real disk: what a simulated one cannot show."""

import errno
import os

from twisted.trial.unittest import SynchronousTestCase

from epost.storage.disk import Disk


class FaultTests(SynchronousTestCase):
    """A fault of a descriptor names its file."""

    def test_write(self) -> None:
        """A full disk, where one file system of several is full."""
        disk = Disk()
        descriptor = disk.open("/dev/full")
        self.addCleanup(disk.close, descriptor)
        error = self.assertRaises(OSError, disk.write, descriptor, b"x")
        self.assertEqual(str(error), "[Errno 28] No space left on device: '/dev/full'")
        self.assertEqual(self.assertRaises(OSError, disk.append, "/dev/full", b"x").filename, "/dev/full")

    def test_sync(self) -> None:
        """A sync that fails; whoever asks for the kind of fault gets it as before."""
        disk = Disk()
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        self.addCleanup(os.close, writes)
        error = self.assertRaises(OSError, disk.fsync, reads)
        self.assertEqual((error.errno, error.filename), (errno.EINVAL, os.readlink(f"/proc/self/fd/{reads}")))

    def test_syncfs(self) -> None:
        """The same of a whole file system; what is no descriptor has no name."""
        error = self.assertRaises(OSError, Disk().syncfs, 10_000)
        self.assertEqual((error.errno, error.filename), (errno.EBADF, None))
