"""
One file of the queue: how it is written, and how it is read.

It is written under its last name at once, in one phase with one sync: the seal in front of it, length and checksum,
tells a torn one. A long message has no seal while it comes; what a crash leaves of it is known to be nobody's.

What is read and is not whole raises L{Damaged}, and what the disk does not give raises OSError; the spool, which knows
the file's name, says more and decides what becomes of it. L{epost.storage.format} says what is in a file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

from twisted.internet.defer import Deferred
from zope.interface import implementer

from epost.interfaces import IContent
from epost.mail.entry import Attempt
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Refused
from epost.storage import format
from epost.storage.disk import IDisk
from epost.storage.draft import Draft
from epost.storage.durable import FAILED, Commits, Touched, Volume

PART = 64 * 1024


class Damaged(Exception):
    """A file is not whole; the text says what is wrong."""


class LetterDraft(Draft):
    """
    A message on its way into the queue.

    @param folder: where it is to lie.
    @param volume: the folder's.
    @param head: envelope, as in the file.
    @param tail: history, as in the file.
    @param stored: called with it in the reactor's thread when it is durable.
    @ivar name: the message's.
    @ivar tried: whether it has a history.
    @ivar short: the content, once it is written, where it was never more than the memory of a draft.
    """

    short: bytes | None = None
    _size = 0

    def __init__(
        self,
        disk: IDisk,
        commits: Commits,
        folder: str,
        name: Name,
        volume: Volume,
        head: bytes,
        tail: bytes,
        stored: "Callable[[LetterDraft], None]",
    ) -> None:
        super().__init__(disk, commits, f"{folder}/{name!s}")
        self.name = name
        self.tried = bool(tail)
        self._folder = folder
        self._volume = volume
        self._head = head
        self._tail = tail
        self._stored = stored
        self._sum = crc32(head)

    def taken(self, part: bytes) -> bytes:
        """Measure it."""
        self._sum = crc32(part, self._sum)
        self._size += len(part)
        return part

    def front(self) -> bytes:
        """No seal yet."""
        return format.UNSEALED + self._head

    def volume(self) -> Volume:
        """That of the queue."""
        return self._volume

    def create(self) -> int:
        """Under its last name."""
        return self.disk.create(self.path)

    def commit(self) -> "Deferred[None]":
        """Write it here: the committing thread would be as long at it, and wait for the interpreter between."""
        if not self._refused:
            try:
                self._seal()
            except OSError as error:
                self._refused = self._commits.refused(error)
                self.discard()
        return super().commit()

    def _seal(self) -> None:
        """Write with the seal, or seal what is written."""
        seal = format.seal(len(self._head), self._size, self._sum)
        begun = self._made
        if not begun:
            self.short = b"".join(self._parts)
        self._parts.append(self._tail)
        descriptor = self.pour(seal + self._head)
        if begun:
            self.disk.overwrite(descriptor, seal)

    def step(self, touched: Touched) -> bool:
        """All is written."""
        self.handOver(touched)
        touched.folder(self._folder, self._volume)
        return True

    def settled(self, durable: bool) -> None:
        """One more waits."""
        if durable:
            self._stored(self)


@implementer(IContent)
class ShortContent:
    """Content that is at hand."""

    def __init__(self, octets: bytes) -> None:
        self.size = len(octets)
        self._octets = octets

    def parts(self) -> Iterator[bytes]:
        """All of it."""
        if self._octets:
            yield self._octets


@implementer(IContent)
class LetterContent:
    """
    Content in its file.

    @param open: gives a descriptor, in any thread; raises L{Refused}. It is called when the content is read, as the
        file may get another name until then.
    @param begin: the first L{PART} octets of the file, or all of it: most messages need no second look at the disk.
    """

    def __init__(self, disk: IDisk, open: Callable[[], int], seal: format.Seal, begin: bytes) -> None:
        self.size = seal.content
        self._disk = disk
        self._open = open
        self._seal = seal
        self._whole = begin[seal.start : seal.end] if len(begin) >= seal.end else None

    def parts(self) -> Iterator[bytes]:
        """Read on, in any thread. @raise Refused: the disk failed, or the file is shorter than it was."""
        if self._whole is not None:
            if self._whole:
                yield self._whole
            return
        descriptor = self._open()
        try:
            yield from readParts(self._disk, descriptor, self._seal.start, self._seal.end)
        except (OSError, Damaged) as error:
            raise Refused(FAILED) from error
        finally:
            self._disk.close(descriptor)


@dataclass(frozen=True, slots=True)
class Letter:
    """What stands in a file beside the content; the fields are those of L{epost.mail.entry.Entry}."""

    envelope: Envelope
    queued: float
    size: int
    attempts: tuple[Attempt, ...]


def readBegin(disk: IDisk, descriptor: int) -> tuple[format.Seal, bytes]:
    """The seal, and the first L{PART} octets of the file. @raise Damaged: there is no seal."""
    begin = disk.read(descriptor, PART, 0)
    seal = format.parseSeal(begin[: format.SEAL_OCTETS])
    if seal is None:
        raise Damaged("it has no seal")
    return seal, begin


def readParts(disk: IDisk, descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """The octets between two places, in parts of at most L{PART}. @raise Damaged: the file ends before."""
    while start < end:
        part = disk.read(descriptor, min(PART, end - start), start)
        if not part:
            raise Damaged("it is cut")
        yield part
        start += len(part)


def readLetter(disk: IDisk, descriptor: int) -> Letter:
    """Read all of it; the content for its checksum alone. @raise Damaged: something does not fit."""
    seal, _ = readBegin(disk, descriptor)
    head = b"".join(readParts(disk, descriptor, format.SEAL_OCTETS, seal.start))
    total = crc32(head)
    for part in readParts(disk, descriptor, seal.start, seal.end):
        total = crc32(part, total)
    if total != seal.checksum:
        raise Damaged("its checksum is wrong")
    history = bytearray()
    while more := disk.read(descriptor, PART, seal.end + len(history)):
        history += more
    try:
        envelope, queued = format.parseHead(head)
        return Letter(envelope, queued, seal.content, format.attempts(bytes(history)))
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"no envelope of ours: {error}") from error


def isWorthless(disk: IDisk, descriptor: int) -> bool:
    """
    Whether a damaged file can be dropped: it was never sealed, so nobody got a 250 for it, or there is not one octet in
    it but zeros. All else may be what is left of a message that was whole once.
    """
    if disk.read(descriptor, format.SEAL_OCTETS, 0) == format.UNSEALED:
        return True
    place = 0
    while part := disk.read(descriptor, PART, place):
        if part.strip(b"\0"):
            return False
        place += len(part)
    return True
