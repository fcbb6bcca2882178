"""
The mailboxes: a Maildir for each user, C{tmp}, C{new}, C{cur}, lines ended by LF (spec 2).

The content is written to C{tmp} and synced; only then it gets its name in C{new}, and the names of C{new} are synced;
only then it is delivered (house 5.6). With one sync a power cut could leave an empty file under its last name.

A message may have been delivered before a crash that forgot it. So before a message of an earlier process is delivered,
its stem is looked for in C{new} and C{cur}. What stands there is synced before it counts: the process before may have
died between giving the name and syncing it, and the queue's copy is about to go.

Folders that were made are synced in their parents before the first message in them is acknowledged (house 5.8).

Whether a mailbox is full is asked when a message gets its name: in the committing thread each sees all that went
before it, so of many at one time the last that is taken goes beyond the limit, as one alone may.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from epost.interfaces import IContent, IInbox, Usage
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from epost.storage.disk import IDisk
from epost.storage.draft import Draft
from epost.storage.durable import Commits, Touched, Volume, makeFolder, refusal
from epost.storage.meter import Meter
from epost.storage.places import FOLDERS, SUFFIX, Places, origin

Watcher = Callable[[Local, Usage], object]

FULL = Reply(450, ("Sorry. e-mail address box is full.",), "4.2.2")  # as to RCPT (spec 8)


class Box:
    """
    One mailbox, as far as this process knows it.

    @ivar local: whose it is.
    @ivar path: its folder.
    @ivar proved: whether its folders are known to be on stable storage.
    @ivar meter: what it holds.
    """

    def __init__(
        self, local: Local, disk: IDisk, commits: Commits, base: str, folders: list[str], seconds: Callable[[], float]
    ) -> None:
        self.local = local
        self.path = folders[-1]
        self.meter = Meter(disk, self.path, seconds)
        self.proved = False
        self._made: list[str] = []
        self._chain = [base, *folders]
        self._disk = disk
        self._commits = commits
        self._volume: Volume | None = None
        self._stems: frozenset[str] | None = None

    def prepare(self) -> Volume:
        """Make what is missing. @return: where it lies."""
        if self._volume is None:
            for path in (*self._chain[1:], *(f"{self.path}/{folder}" for folder in FOLDERS)):
                if self._disk.mkdir(path):
                    self._made.append(path)
            self._volume = self._commits.volume(f"{self.path}/new")
        return self._volume

    def create(self, name: str) -> int:
        """A new file in C{tmp}; the mailbox is made anew where somebody removed it."""
        self.prepare()
        try:
            return self._disk.create(f"{self.path}/tmp/{name}")
        except FileNotFoundError:
            self._volume, self.proved, self._stems = None, False, None
            self.prepare()
            return self._disk.create(f"{self.path}/tmp/{name}")

    def prove(self) -> None:
        """What L{chain} named is synced."""
        self.proved = True
        self._made.clear()

    def unmake(self) -> None:
        """The sync of L{chain} failed: folders that we made are made anew, as a second sync of them proves nothing."""
        while not self.proved and self._made:
            self._volume = None
            try:
                self._disk.rmdir(self._made[-1])
            except FileNotFoundError:
                pass  # somebody was faster
            except OSError:
                return  # another message of the group lies there and is undone after this one
            self._made.pop()

    def chain(self, touched: Touched) -> None:
        """The folders that hold the names of folders that we may have made; those made by an earlier process too."""
        if not self.proved:
            for path in self._chain:
                touched.folder(path, self._commits.volume(path))

    def names(self, touched: Touched) -> None:
        """The names of C{new} and C{cur} must be synced, whoever gave them."""
        self.chain(touched)
        for folder in ("new", "cur"):
            touched.folder(f"{self.path}/{folder}", self.prepare())

    def holds(self, stem: str) -> bool:
        """Whether a message of an earlier process was here when this one first looked."""
        if self._stems is None:
            found = set()
            for folder in ("new", "cur"):
                with suppress(FileNotFoundError):
                    found |= {name.stem for name in map(origin, self._disk.names(f"{self.path}/{folder}")) if name}
            self._stems = frozenset(found)
        return stem in self._stems


class MailDraft(Draft):
    """
    A message on its way into a mailbox: content, sync, name, sync.

    @ivar bounded: whether the limit of the mailbox holds for it.
    """

    bounded = True

    def __init__(self, inbox: "Inbox", disk: IDisk, commits: Commits, box: Box, name: str, heading: bytes) -> None:
        super().__init__(disk, commits, f"{box.path}/tmp/{name}")
        self._inbox = inbox
        self._box = box
        self._name = name
        self._heading = heading.replace(b"\r\n", b"\n")
        self._written = False
        self._tail = b""
        self._size = len(self._heading)
        self._placed = False
        self._limit: Usage | None = None

    def commit(self) -> "Deferred[None]":
        """See L{IDraft}. A mailbox that has a limit is measured, if it was not."""
        if self.bounded:
            limit = self._inbox.limit(self._box.local)
            if limit.octets or limit.messages:
                self._limit = limit
        if self._limit is None:
            return super().commit()
        self._committed = True
        counted = self._inbox.measure(self._box)
        return self._measured() if counted is None else counted.addCallback(self._measured)

    def _measured(self, result: None = None) -> "Deferred[None]":
        """What the mailbox holds is known, or is not to be known now."""
        try:
            self._inbox.usage(self._box.local)
        except Refused:
            self._committed = False
            self.discard()
            return fail()
        return super().commit()

    def taken(self, part: bytes) -> bytes:
        """With LF. A CR at the end of a part waits for what follows."""
        part = self._tail + part
        self._tail = part[-1:] if part.endswith(b"\r") else b""
        part = part[: len(part) - len(self._tail)].replace(b"\r\n", b"\n")
        self._size += len(part)
        return part

    def front(self) -> bytes:
        """Return-Path and Delivered-To."""
        return self._heading

    def volume(self) -> Volume:
        """That of the mailbox."""
        return self._box.prepare()

    def create(self) -> int:
        """In C{tmp}."""
        return self._box.create(self._name)

    def step(self, touched: Touched) -> bool:
        """Write; then, with that synced, give the name."""
        if not self._written:
            self._written = True
            if self._full():
                self._isThere()  # nothing need be written
            self.fill()
            self._parts.append(self._tail)
            self.pour(self._heading)
            self.handOver(touched)
            self._box.chain(touched)
            return False
        self._box.prove()
        if self._isThere():
            return self.stands(touched)
        new = f"{self._box.path}/new"
        date = self._box.meter.date()
        self.disk.rename(self.path, f"{new}/{self._name}")
        self.path = f"{new}/{self._name}"
        self._placed = True
        self._box.meter.grown(date, self._size)
        touched.folder(new, self.volume())
        return True

    def fill(self) -> None:
        """The content has come by L{write}."""

    def _isThere(self) -> bool:
        """Whether a file has the name already. @raise Refused: it has not, and the mailbox is full."""
        try:
            self.disk.status(f"{self._box.path}/new/{self._name}")
        except FileNotFoundError:
            if self._full():
                raise Refused(FULL) from None
            return False
        return True

    def _full(self) -> bool:
        """Whether the mailbox holds what it may."""
        return self._limit is not None and self._box.meter.reaches(self._limit)

    def stands(self, touched: Touched) -> bool:
        """A file has the name already, which is another message's. @raise OSError: always."""
        raise FileExistsError(f"{self._box.path}/new/{self._name}")

    def undo(self) -> None:
        """Remove file and folders."""
        if self._placed:
            self._placed = False
            self._box.meter.shrunk(self._size)
        super().undo()
        self._box.unmake()

    def settled(self, durable: bool) -> None:
        """The mailbox has grown."""
        if durable:
            self._inbox.changed(self._box)


class Delivery(MailDraft):
    """A message that is copied from the queue, in the committing thread: it may be long."""

    quick = False

    def __init__(self, inbox: "Inbox", disk: IDisk, commits: Commits, box: Box, name: str, heading: bytes) -> None:
        super().__init__(inbox, disk, commits, box, name, heading)
        self.content: IContent | None = None
        self.doubted = ""

    def step(self, touched: Touched) -> bool:
        """As a draft's, after a look whether it was delivered."""
        if self.doubted and self._box.holds(self.doubted):
            return self.stands(touched)
        return super().step(touched)

    def fill(self) -> None:
        """Copy the content."""
        if self.content is not None:
            content, self.content = self.content, None
            for part in content.parts():
                self.write(part)
            if self._refused:
                raise self._refused

    def stands(self, touched: Touched) -> bool:
        """It is delivered, once the name is synced."""
        super(MailDraft, self).undo()
        self._box.names(touched)
        return True


@implementer(IInbox)
class Inbox:
    """
    All mailboxes.

    The folder that holds all mailboxes is made at once.

    @raise OSError: from the constructor: it cannot be made.
    @param since: messages with this number and above were given out by this process (L{epost.storage.serial}), so
        nobody has delivered them before.
    @param seconds: the time; seconds since any begin.
    @ivar limit: what a mailbox may hold, asked for each message; set by whoever knows. At first: any number.
    """

    def __init__(self, disk: IDisk, places: Places, commits: Commits, since: int, seconds: Callable[[], float]) -> None:
        self._disk = disk
        self._places = places
        self._commits = commits
        self._since = since
        self._seconds = seconds
        self.limit: Callable[[Local], Usage] = lambda box: Usage()
        self._boxes: dict[Local, Box] = {}
        makeFolder(disk, places.fixed())
        self._watchers: list[Watcher] = []
        self._uncounted: dict[Box, list[Deferred[None]]] = {}  # who waits until one is counted
        self._counting = False

    def draft(self, box: Local, origin: Name, heading: bytes) -> MailDraft:
        """Begin a message. @raise Refused: 550, there can be no such mailbox."""
        return MailDraft(self, self._disk, self._commits, self._box(box), f"{origin}{SUFFIX}", heading)

    def deliver(
        self, box: Local, origin: Name, heading: bytes, content: IContent, bounded: bool = True
    ) -> "Deferred[None]":
        """Copy a message. C{content.parts} is called in the committing thread."""
        try:
            copy = Delivery(self, self._disk, self._commits, self._box(box), f"{origin}{SUFFIX}", heading)
        except Refused:
            return fail()
        copy.content = content
        copy.bounded = bounded
        copy.doubted = origin.stem if origin.number < self._since else ""
        return copy.commit()

    def usage(self, box: Local) -> Usage:
        """See L{IInbox}; what readers have changed is known some seconds later (L{epost.storage.meter})."""
        found = self._box(box)
        try:
            return found.meter.read(self._commits, lambda: self.changed(found))
        except OSError as error:
            raise refusal(error) from error

    def measure(self, box: Box) -> "Deferred[None] | None":
        """
        Count what a mailbox holds, one after the other: a message for a thousand of them shall hold up nothing.

        @return: fires when that is over, also where it has failed; L{None}: it is known.
        """
        if box.meter.usage is not None:
            return None
        counted: Deferred[None] = Deferred()
        self._uncounted.setdefault(box, []).append(counted)
        if not self._counting:
            self._counting = True
            Deferred.fromCoroutine(self._count())
        return counted

    async def _count(self) -> None:
        """Until all are counted."""
        while self._uncounted:
            box = next(iter(self._uncounted))
            if box.meter.usage is None:
                await box.meter.count(self._commits, partial(self.changed, box))
            for counted in self._uncounted.pop(box):
                counted.callback(None)
        self._counting = False

    def subscribe(self, watcher: Watcher) -> None:
        """Tell somebody of each change that is seen to a mailbox whose usage was asked for once."""
        self._watchers.append(watcher)

    def changed(self, box: Box) -> None:
        """A message was delivered, or a mailbox was counted anew."""
        usage = box.meter.usage
        if usage is not None:
            for watcher in self._watchers:
                watcher(box.local, usage)

    def _box(self, box: Local) -> Box:
        """What is known of a mailbox."""
        found = self._boxes.get(box)
        if found is None:
            folders = self._places.folders(box)
            found = Box(box, self._disk, self._commits, self._places.base, folders, self._seconds)
            self._boxes[box] = found
        return found
