"""
A message on its way between 354 and 250: what streams in is completed and stored, once or in several copies.

L{epost.intake} decides where it is stored; here the trace goes in front, missing fields behind the client's own, and a
message that has gone in circles is refused at its end. Several copies are accepted together or not at all.

Where the disk comes to its low-water mark meanwhile what was written is given up at once. A message of the queue that
will be copied into mailboxes is accepted only where there is room for all the copies (L{IRoom.promise}).

House contract 1; spec 8 (Received, missing fields); RFC 5321 4.4, 6.3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.interfaces import IDraft, IRoom
from epost.mail.autoreply import HEADER_OCTETS, Letter
from epost.mail.copy import Copy
from epost.mail.entry import Entry
from epost.mail.heading import Heading
from epost.mail.listing import Cleaning
from epost.mail.reply import Refused, Reply
from epost.smtp import wording

_log = Logger()


class Incoming(ABC):
    """What streams in, and what is to be known of it. @ivar header: the begin; L{None} where nobody asks for it."""

    _full = False  # the disk is, so this was given up

    def __init__(self, room: IRoom, field: bytes, heading: Heading, header: bytearray | None) -> None:
        """@param field: goes in front of all that the client wrote."""
        self.header = header
        self._room = room
        self._front = field  # goes in front of the next part
        self._heading = heading

    def write(self, part: bytes) -> None:
        """See L{IDraft}."""
        if not self._front and not self._full and self._room.low():  # for the first part there was room at MAIL
            self._full = True
            self.discard()
        if self._full:
            return
        if not self._heading.ended:
            if self.header is not None and len(self.header) < HEADER_OCTETS:
                self.header += part
            part = b"".join((self._front, *self._heading.feed(part)))
            self._front = b""
        self.put(part)

    def commit(self) -> "Deferred[None]":
        """See L{IDraft}. Fails with 554 5.4.6 where the message has gone in circles."""
        if self._full:
            return fail(Refused(wording.diskFull()))
        heading = self._heading
        if not heading.ended:
            self.put(b"".join((self._front, *heading.finish())))
        why = wording.tooManyReceived() if heading.tooMany else self.circles()
        if why is not None:
            self.discard()
            return fail(Refused(why))
        return self.finish()

    def circles(self) -> Reply | None:
        """Why it cannot go where it is to go, as it has been there; L{None}: it can."""
        return None

    @abstractmethod
    def put(self, piece: bytes) -> None:
        """Store something."""

    @abstractmethod
    def finish(self) -> "Deferred[None]":
        """All is there and in order: make it durable."""

    @abstractmethod
    def discard(self) -> None:
        """See L{IDraft}."""


@implementer(IDraft)
class Promising:
    """
    A message of the queue that will lie in mailboxes too: it is stored where there is room for these copies.

    @param stem: of its name. The promise of the room is under it, and is the dispatcher's when the message is.
    @param boxes: how many they are.
    """

    def __init__(self, room: IRoom, stem: str, boxes: int, store: IDraft) -> None:
        self._room = room
        self._stem = stem
        self._boxes = boxes
        self._store = store
        self._size = 0

    def write(self, part: bytes) -> None:
        """See L{IDraft}."""
        self._size += len(part)
        self._store.write(part)

    def commit(self) -> "Deferred[None]":
        """See L{IDraft}."""
        if not self._room.promise(self._stem, self._size * self._boxes, self._boxes):
            self.discard()
            return fail(Refused(wording.diskFull()))
        return self._store.commit().addErrback(self._failed)

    def discard(self) -> None:
        """See L{IDraft}."""
        self._store.discard()

    def _failed(self, failure: Failure) -> Failure:
        self._room.end(self._stem)
        return failure


@implementer(IDraft)
class Draft(Incoming):
    """The content on its way into a store, with what we write in front of it."""

    _size = 0

    def __init__(
        self,
        room: IRoom,
        store: IDraft,
        field: bytes,
        heading: Heading,
        done: Callable[[int], None],
        told: Callable[[bytes], None] | None = None,
    ) -> None:
        """
        @param field: our own Received field.
        @param done: called with its size when it is durable.
        @param told: called with its header then.
        """
        super().__init__(room, field, heading, None if told is None else bytearray())
        self._store = store
        self._done = done
        self._told = told

    def finish(self) -> "Deferred[None]":
        """In the store."""
        return self._store.commit().addCallback(self._stored)

    def discard(self) -> None:
        """See L{IDraft}."""
        self._store.discard()

    def put(self, piece: bytes) -> None:
        """Into the store."""
        self._size += len(piece)
        self._store.write(piece)

    def _stored(self, result: None) -> None:
        self._done(self._size)
        if self._told is not None and self.header is not None:
            self._told(bytes(self.header))


class Branch:
    """One of several copies on its way into the queue. @ivar entry: what it will be; its size grows."""

    def __init__(self, copy: Copy, entry: Entry, draft: IDraft, field: bytes) -> None:
        """@param field: our own Received field."""
        self.copy = copy
        self.entry = entry
        self.draft = draft
        self._cleaning = Cleaning() if copy.list else None
        self._size = 0
        self._write(field + copy.front)

    def put(self, piece: bytes) -> None:
        """What the client wrote."""
        self._write(piece if self._cleaning is None else self._cleaning.feed(piece))

    def commit(self) -> "Deferred[None]":
        """See L{IDraft}."""
        if self._cleaning is not None:
            self._write(self._cleaning.finish())
        self.entry = replace(self.entry, size=self._size)
        return self.draft.commit()

    def _write(self, piece: bytes) -> None:
        if piece:
            self._size += len(piece)
            self.draft.write(piece)


@implementer(IDraft)
class Branches(Incoming):
    """Several copies on their way, which are accepted together or not at all."""

    def __init__(
        self,
        room: IRoom,
        branches: list[Branch],
        heading: Heading,
        accepted: Callable[[Entry], None],
        removed: Callable[[Entry], None],
        told: Callable[[bytes], None] | None,
    ) -> None:
        """
        @param accepted: called with each when all are durable.
        @param removed: takes back one that is durable where another is not.
        @param told: called with the header then.
        """
        super().__init__(room, b"", heading, bytearray())
        self._branches = branches
        self._accepted = accepted
        self._removed = removed
        self._told = told

    def put(self, piece: bytes) -> None:
        """Into all of them."""
        for branch in self._branches:
            branch.put(piece)

    def circles(self) -> Reply | None:
        """A copy that would go where the message has been is left out where the mailbox has it; else all is refused."""
        assert self.header is not None
        letter = Letter(bytes(self.header))
        round_ = [branch for branch in self._branches if branch.copy.circles(letter)]
        if not all(branch.copy.kept for branch in round_):
            return wording.looping()
        for branch in round_:
            branch.draft.discard()
            self._branches.remove(branch)
        return None

    def finish(self) -> "Deferred[None]":
        """In the queue, all of them."""
        if len(self._branches) > 1:  # the number that the client hears is the first one's
            first, *others = (str(branch.entry.name) for branch in self._branches)
            _log.info("{name} goes on as {others} too", name=first, others=", ".join(others))
        ends = DeferredList([branch.commit() for branch in self._branches], consumeErrors=True)
        return ends.addCallback(self._ended)

    def discard(self) -> None:
        """See L{IDraft}."""
        for branch in self._branches:
            branch.draft.discard()

    def _ended(self, results: list[tuple[bool, Any]]) -> None:
        """All are durable, or some have failed and take the others with them."""
        failures = [result for durable, result in results if not durable]
        if failures:
            for branch, (durable, _) in zip(self._branches, results, strict=True):
                if durable:
                    self._removed(branch.entry)
            failures[0].raiseException()
        for branch in self._branches:
            self._accepted(branch.entry)
        if self._told is not None and self.header is not None:
            self._told(bytes(self.header))
