"""The secret of a work folder."""

import contextlib
import errno
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from epost.storage.secret import secrets
from tests.world.disk import PowerLost, World

RANDOM = bytes(range(40))


class SecretTests(SynchronousTestCase):
    """L{secrets} are made once."""

    def setUp(self) -> None:
        """A work folder."""
        self.world = World()
        self.world.mkdir("/work")

    def test_made(self) -> None:
        """The first start makes one, of forty characters, and every other finds it."""
        found = secrets(self.world, "/work", RANDOM)
        self.assertEqual([len(one) for one in found], [40])
        self.assertEqual(secrets(self.world, "/work", bytes(40)), found)
        self.assertEqual(self.world.names("/work"), ["srs.secret"])

    def test_several(self) -> None:
        """Each line is one; an empty file is none, and is not overwritten."""
        self.world.put("/work/srs.secret", b"new\nold\n")
        self.assertEqual(secrets(self.world, "/work", RANDOM), [b"new", b"old"])
        self.world.put("/work/srs.secret", b"\n")
        self.assertRaises(ValueError, secrets, self.world, "/work", RANDOM)

    def test_zeros(self) -> None:
        """What a power cut has made of it is no secret: anybody knows zeros."""
        for octets in (bytes(41), b"old\n" + bytes(9)):
            self.world.put("/work/srs.secret", octets)
            self.assertRaisesRegex(ValueError, "/work/srs.secret holds no", secrets, self.world, "/work", RANDOM)

    def test_full(self) -> None:
        """A disk that is full at the first start is told with the file's name, and keeps no part of one."""
        self.world.fault = lambda kind, path: errno.ENOSPC if kind == "write" else 0
        error = self.assertRaises(OSError, secrets, self.world, "/work", RANDOM)
        self.assertEqual((error.errno, error.filename), (errno.ENOSPC, "/work/srs.secret"))
        self.assertEqual(self.world.names("/work"), [])

    def test_crashes(self) -> None:
        """Wherever the power goes, what was used is there afterwards."""
        for lifetime in range(20):
            for seed in range(5):
                world = World()
                world.mkdir("/work")
                descriptor = world.openFolder("/")
                world.fsync(descriptor)
                world.lifetime = world.done + lifetime
                used = []
                with contextlib.suppress(PowerLost):
                    used = secrets(world, "/work", RANDOM)
                after = world.after(Random(f"{lifetime} {seed}"))
                found = secrets(after, "/work", bytes(40))
                self.assertEqual([len(one) for one in found], [40])
                if used:
                    self.assertEqual(found, used)

    def test_fault(self) -> None:
        """What cannot be synced is not used."""
        self.world.fault = lambda kind, path: errno.EIO if kind == "fsync" else 0
        self.assertRaises(OSError, secrets, self.world, "/work", RANDOM)
