"""
Storage that lives in memory, for the tests of the rooms around it.

The three providers hold the same contracts as the files do (tests.storage.test_contracts runs over both). By default a
commit is durable at once; a test that wants to stand between the end of data and its reply sets C{manual} and calls
L{Ticks.tick}, and a test that wants a fault puts a reply into C{faults}.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from epost.interfaces import IContent, IDraft, IInbox, IRoom, ISerial, ISpool, Usage, Waiting
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local

GONE = Reply(554, ("The message is gone.",), "5.3.0")


@implementer(IContent)
class MemoryContent:
    """Content in one piece, given out in parts of C{size} octets or less."""

    def __init__(self, content: bytes, part: int = 65536) -> None:
        self.size = len(content)
        self.content = content
        self._part = part

    def parts(self) -> Iterator[bytes]:
        """The parts."""
        for start in range(0, self.size, self._part):
            yield self.content[start : start + self._part]


@dataclass
class Ticks:
    """
    When commits fire.

    @ivar manual: whether a commit waits for L{tick}.
    @ivar faults: replies that the next commits fail with, first come first served.
    """

    manual: bool = False
    faults: list[Reply] = field(default_factory=list)
    waiting: list[tuple[Deferred[None], Callable[[], None]]] = field(default_factory=list)

    def commit(self, then: Callable[[], None]) -> Deferred[None]:
        """Run C{then} and fire, now or at the next tick."""
        if self.faults:
            return fail(Refused(self.faults.pop(0)))
        if not self.manual:
            then()
            return succeed(None)
        fired: Deferred[None] = Deferred()
        self.waiting.append((fired, then))
        return fired

    def tick(self) -> None:
        """Make durable all that waits."""
        waiting, self.waiting = self.waiting, []
        for fired, then in waiting:
            then()
            fired.callback(None)


@implementer(IDraft)
class MemoryDraft:
    """A draft. @ivar parts: what was written. @ivar discarded: whether it was forgotten."""

    def __init__(self, ticks: Ticks, then: Callable[[bytes], None], refusal: Reply | None = None) -> None:
        """@param refusal: what its commit fails with."""
        self.parts: list[bytes] = []
        self.discarded = False
        self._ticks = ticks
        self._then = then
        self._refusal = refusal

    def write(self, part: bytes) -> None:
        """Keep it."""
        self.parts.append(part)

    def commit(self) -> Deferred[None]:
        """Hand the content on."""
        if self._refusal is not None:
            return fail(Refused(self._refusal))
        return self._ticks.commit(lambda: self._then(b"".join(self.parts)))

    def discard(self) -> None:
        """Forget it."""
        self.discarded = True
        self.parts.clear()


@implementer(ISerial)
class MemorySerial:
    """Numbers from C{start} on."""

    def __init__(self, start: int = 1, faults: list[Reply] | None = None) -> None:
        self._next = start
        self.faults = faults or []

    def next(self) -> int:
        """The next one, or the next fault."""
        if self.faults:
            raise Refused(self.faults.pop(0))
        self._next += 1
        return self._next - 1


@implementer(IRoom)
class MemoryRoom:
    """
    A disk with so much room.

    @ivar octets: above the reserve; negative: it is low.
    @ivar promises: by stem.
    """

    def __init__(self, octets: int = 2**40, files: int = 10**6) -> None:
        self.octets = octets
        self.files = files
        self.promises: dict[str, tuple[int, int]] = {}

    def lacks(self, octets: int, files: int = 0) -> bool:
        """By what is set, without what is promised."""
        kept = [sum(promise[place] for promise in self.promises.values()) for place in (0, 1)]
        return octets > self.octets - kept[0] or files > self.files - kept[1]

    def low(self) -> bool:
        """By what is set."""
        return self.octets < 0

    def promise(self, message: str, octets: int, files: int) -> bool:
        """By what is set."""
        if self.lacks(octets, files):
            return False
        self.promises[message] = octets, files
        return True

    def end(self, message: str) -> None:
        """It may have none."""
        self.promises.pop(message, None)


@implementer(ISpool)
class MemorySpool:
    """
    A spool.

    @ivar entries: what waits, by stem.
    @ivar contents: its content, by stem.
    @ivar dead: what was buried, and why, by name.
    @ivar ticks: when commits fire.
    @ivar released: whether it was let go.
    """

    def __init__(self) -> None:
        self.ticks = Ticks()
        self.entries: dict[str, Entry] = {}
        self.contents: dict[str, bytes] = {}
        self.dead: dict[str, tuple[Entry, str]] = {}
        self.released = False
        self._unowned: list[str] = []

    def reborn(self) -> "MemorySpool":
        """The spool that the next process finds after this one died."""
        after = MemorySpool()
        after.entries, after.contents, after.dead = self.entries, self.contents, self.dead
        after._unowned = sorted(self.entries, reverse=True)
        return after

    def draft(self, name: Name, envelope: Envelope, queued: float, history: tuple[Attempt, ...] = ()) -> MemoryDraft:
        """Begin a message."""

        def keep(content: bytes) -> None:
            self.entries[name.stem] = Entry(name, envelope, queued, len(content), history)
            self.contents[name.stem] = content

        return MemoryDraft(self.ticks, keep)

    def adopt(self, limit: int) -> list[Waiting]:
        """What the process before left."""
        taken = []
        while self._unowned and len(taken) < limit:
            entry = self.entries[self._unowned.pop()]
            taken.append(Waiting(entry.name, (entry.due or 0.0) if entry.attempts else 0.0))
        return taken

    def load(self, name: Name) -> Entry:
        """The entry, found by its stem."""
        entry = self.entries.get(name.stem)
        if entry is None:
            raise Refused(GONE)
        return entry

    def content(self, name: Name) -> MemoryContent:
        """The content."""
        self.load(name)
        return MemoryContent(self.contents[name.stem])

    def record(self, entry: Entry, *attempts: Attempt) -> Entry:
        """Add attempts."""
        after = entry.after(*attempts)
        self.entries[entry.name.stem] = after
        return after

    def remove(self, entry: Entry) -> None:
        """Forget it."""
        self.entries.pop(entry.name.stem, None)
        self.contents.pop(entry.name.stem, None)

    def bury(self, entry: Entry, why: str) -> None:
        """Put it aside."""
        self.dead[str(entry.name)] = (entry, why)
        self.remove(entry)

    def count(self) -> int:
        """How many wait."""
        return len(self.entries)

    def release(self) -> Deferred[None]:
        """Let go."""
        self.ticks.tick()
        self.released = True
        return succeed(None)


@implementer(IInbox)
class MemoryInbox:
    """
    Mailboxes.

    @ivar boxes: by box the messages by file name without C{.MSG}, heading included, lines ended by CRLF.
    @ivar ticks: when commits fire.
    @ivar full: what everybody hears who is bounded; L{None}: there is room.
    """

    def __init__(self) -> None:
        self.ticks = Ticks()
        self.full: Reply | None = None
        self.boxes: dict[Local, dict[str, bytes]] = {}

    def draft(self, box: Local, origin: Name, heading: bytes) -> MemoryDraft:
        """Begin a message."""
        return MemoryDraft(self.ticks, lambda content: self._keep(box, origin, heading + content), self.full)

    def deliver(
        self, box: Local, origin: Name, heading: bytes, content: IContent, bounded: bool = True
    ) -> Deferred[None]:
        """Copy a message, unless it stands there."""
        if bounded and self.full is not None:
            return fail(Refused(self.full))
        try:
            whole = heading + b"".join(content.parts())
        except Refused:
            return fail()
        return self.ticks.commit(lambda: self._keep(box, origin, whole))

    def usage(self, box: Local) -> Usage:
        """As stored with LF."""
        sizes = [len(whole.replace(b"\r\n", b"\n")) for whole in self.boxes.get(box, {}).values()]
        return Usage(sum(sizes), len(sizes))

    def _keep(self, box: Local, origin: Name, whole: bytes) -> None:
        self.boxes.setdefault(box, {}).setdefault(str(origin), whole)
