"""
Message numbers: counted up, never given out twice, also after a crash (spec 2).

The file C{serial} holds the first number that nobody may have given out yet. A block of numbers is taken by writing a
higher one there, synced with its folder, before the first of the block is used; that costs two syncs for a thousand
messages. A crash skips what is left of a block.

The file is written anew under the name C{serial.new}. What a crash leaves of that is nobody's: it is never read, and is
removed at the next start. A full disk leaves nothing: it would keep from mail the last file that can be made.

At start the count is raised above every number found in the queue and in the mailboxes, so a C{serial} that was lost or
came back from an old backup does no harm. A file that is there and holds no number is an error: the messages that are
on disk do not tell which numbers went to other hosts. So is one that was lost while a mailbox cannot be read: the
highest number may stand there.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import ISerial
from epost.storage.disk import IDisk
from epost.storage.durable import refusal, syncFolder
from epost.storage.trouble import Trouble

BLOCK = 1000

_HIGHER = "a number that is higher than every message number in the senderlog folder, like 0000001000"


class SerialDamaged(Exception):
    """The file does not tell the number, and nothing else does; the text says what to do."""


@implementer(ISerial)
class Serial:
    """
    The count of one work folder, which must be locked.

    @ivar first: the first number that this process gives out; all below it are an earlier process's.
    @param root: the work folder.
    @param highest: the highest number found in the queue and in the mailboxes; 0 for none.
    @param trouble: tells the log of what the disk refuses; L{None}: one of its own.
    @param unread: folders in which there may be higher numbers, since they cannot be read.
    @raise SerialDamaged: from the constructor: the file holds no number, or is missing where folders cannot be read.
    @raise OSError: from the constructor: it cannot be read.
    """

    _log = Logger()

    def __init__(
        self, disk: IDisk, root: str, highest: int, trouble: Trouble | None = None, unread: Sequence[str] = ()
    ) -> None:
        self._trouble = trouble or Trouble(time.monotonic)
        self._disk = disk
        self._root = root
        self._path = f"{root}/serial"
        self._fresh = f"{self._path}.new"
        self._drop()
        self.first = max(self._stored(unread), highest + 1)
        self._next = self._end = self.first

    def next(self) -> int:
        """One more; every thousandth waits for the disk."""
        if self._next == self._end:
            try:
                self._store(self._end + BLOCK)
            except OSError as error:
                self._trouble.tell(self._log, self._path, "no new numbers", error)
                raise refusal(error) from error
            self._end += BLOCK
        self._next += 1
        return self._next - 1

    def release(self) -> None:
        """At stop: give back what is left of the block, so that numbers go on without a gap."""
        if self._next != self._end:
            try:
                self._store(self._next)
            except OSError as error:
                self._log.warn("{path}: {error!s}; some numbers are skipped", path=self._path, error=error)
            self._end = self._next

    def _stored(self, unread: Sequence[str]) -> int:
        """What the file says; 1 where there is none."""
        try:
            descriptor = self._disk.open(self._path)
        except FileNotFoundError:
            if unread:
                raise SerialDamaged(
                    f"{self._path} is missing, and {unread[0]} cannot be read: which numbers were used nobody knows. "
                    f"Let the daemon's user read all mailboxes, or write into {self._path} {_HIGHER}"
                ) from None
            return 1
        try:
            text = self._disk.read(descriptor, 64, 0).strip()
        finally:
            self._disk.close(descriptor)
        if not text.isdigit() or len(text) > 18:
            raise SerialDamaged(f"{self._path} holds no number: write into it {_HIGHER}")
        return int(text)

    def _store(self, number: int) -> None:
        """Write a new file, sync it, give it the name, sync that."""
        self._drop()
        try:
            descriptor = self._disk.create(self._fresh)
            try:
                self._disk.write(descriptor, b"%010d\n" % number)
                self._disk.fsync(descriptor)
            finally:
                self._disk.close(descriptor)
            self._disk.rename(self._fresh, self._path)
        except OSError:
            self._drop()
            raise
        syncFolder(self._disk, self._root)

    def _drop(self) -> None:
        """Remove a new file that did not get its name."""
        with suppress(OSError):  # none, as a rule; where it cannot be removed no other can be made, and that is told
            self._disk.unlink(self._fresh)
