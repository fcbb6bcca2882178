"""
A simulated disk that keeps what was synced apart from what was only written, and loses power where a test wants it.

After L{World.after} any state may stand that house.md 5.9 permits, chosen by a seed:

  - a name that was given, changed or taken away since the last sync of its folder is so, or is as before; each file for
    itself, in any order, so a rename may survive earlier operations that were not synced; one rename is atomic;
  - a folder whose own name was not synced may be gone with all that is in it;
  - content since the last sync is whole, cut, zeros, old, or a mixture page by page.

L{Outcome} chooses among these: all of it by chance, or one kind throughout.

After a sync that failed, what it was to prove is never proven again: a later sync says it worked, and does nothing.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from os.path import commonprefix
from random import Random

from zope.interface import implementer

from epost.storage.disk import Free, IDisk, Status

PAGE = 512
SIZE = 2**40  # octets of the disk where its room is not told, and files


class PowerLost(BaseException):
    """The machine is dead. No C{except Exception} of the code under test survives it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a disk keeps of what was not synced.

    @ivar names: how probable it is that a change of names is kept.
    @ivar removals: how probable, where the change takes a name away.
    @ivar content: what becomes of content: C{old}, C{new}, C{torn} or, by chance, any of them (C{any}).
    @ivar killed: the process died alone, the machine goes on: everything stands as written, and nothing more is synced.
    """

    names: float
    removals: float
    content: str
    killed: bool = False


OUTCOMES = {
    "nothing": Outcome(0.0, 0.0, "old"),
    "all": Outcome(1.0, 1.0, "new"),
    "names": Outcome(1.0, 1.0, "old"),
    "content": Outcome(0.0, 0.0, "new"),
    "removals": Outcome(0.0, 1.0, "old"),
    "torn": Outcome(1.0, 1.0, "torn"),
    "any": Outcome(0.5, 0.5, "any"),
    "killed": Outcome(1.0, 1.0, "new", killed=True),
}


@dataclass(eq=False)
class Node:
    """
    A file, or a folder (its L{folder} set).

    @ivar versions: content at the last sync, and after each write since.
    @ivar changed: date at the last sync, and now.
    @ivar doomed: whether a sync of it failed.
    """

    folder: bool = False
    versions: list[bytes] = field(default_factory=lambda: [b""])
    changed: tuple[float, float] = (0.0, 0.0)
    doomed: bool = False

    def prove(self) -> None:
        """Sync it."""
        if not self.doomed:
            self.versions = self.versions[-1:]
            self.changed = (self.changed[1], self.changed[1])

    def survivor(self, random: Random, content: str) -> "Node":
        """What a loss of power leaves. @param content: see L{Outcome}."""
        left = self.versions[0] if len(self.versions) == 1 else _left(self.versions, random, content)
        dates = {"old": self.changed[:1], "new": self.changed[1:]}
        changed = random.choice(dates.get(content, self.changed))
        return Node(self.folder, [left], (changed, changed))


def _left(versions: list[bytes], random: Random, content: str) -> bytes:
    """Old, whole, zeros, cut, or a mixture."""
    old, new = versions[0], versions[-1]
    kind = {"old": 0, "new": 1, "torn": random.randrange(2, 5)}.get(content)
    kind = random.randrange(5) if kind is None else kind
    if kind == 0:
        return old
    if kind == 1:
        return new
    if kind == 2:
        return old + bytes(max(0, len(new) - len(old)))
    if kind == 3:
        return new[: random.randint(min(len(old), len(new)), len(new))]
    pages = []
    for start in range(0, random.choice((len(old), len(new), random.randint(len(old), len(new)))), PAGE):
        source = random.choice([*versions, bytes(len(new))])
        pages.append(source[start : start + PAGE].ljust(min(PAGE, len(new) - start), b"\0"))
    # What was synced and not written again stays, whatever is written behind it.
    kept = len(commonprefix(versions))  # noqa: RUF071 - octets are what is meant
    return old[:kept] + b"".join(pages)[kept:]


@dataclass(eq=False)
class Change:
    """One change of names. @ivar old: name taken away, if any. @ivar new: name given, if any."""

    node: Node
    old: str | None
    new: str | None
    doomed: bool = False

    @property
    def folder(self) -> str:
        """Whose sync proves it: of a rename the target's, as it is atomic."""
        return os.path.dirname(self.new or self.old or "")

    def needs(self, other: "Change") -> bool:
        """Whether it cannot survive without an earlier one: the same file's, or the same name's."""
        return other.node is self.node or bool({self.old, self.new} & {other.old, other.new} - {None})


@implementer(IDisk)
class World:
    """
    The disk. C{/work} stands on it.

    @ivar lifetime: how many operations it does until the power goes; L{None}: it stays.
    @ivar lost: told when it goes.
    @ivar done: how many it has done.
    @ivar fault: asked before each operation, by its name and path: an errno, or 0.
    @ivar room: how many octets can still be written; L{None}: any number.
    @ivar believed: what C{reports} says.
    @ivar volumes: paths that lie on file systems of their own, and their numbers.
    """

    def __init__(self) -> None:
        self.lifetime: int | None = None
        self.lost: Callable[[], object] = lambda: None
        self.done = 0
        self.fault: Callable[[str, str], int] = lambda operation, path: 0
        self.room: int | None = None
        self.believed = True
        self.volumes: dict[str, int] = {}
        self.now = 0.0
        self.log: list[tuple[str, str]] = []
        self._names: dict[str, Node] = {"/": Node(folder=True), "/work": Node(folder=True)}
        self._stable = dict(self._names)
        self._changes: list[Change] = []
        self._open: dict[int, tuple[Node, str]] = {}
        self._descriptor = 100

    def after(self, random: Random, outcome: Outcome = OUTCOMES["any"]) -> "World":
        """The disk as the next boot finds it."""
        kept: set[Change] = set()
        for place, change in reversed([*enumerate(self._changes)]):
            if change in kept or random.random() < (outcome.removals if change.new is None else outcome.names):
                kept |= self._closure(place)
        names = dict(self._stable)
        for change in self._changes:
            if change in kept:
                self._apply(names, change)
        world = World()
        world.believed, world.volumes, world.now = self.believed, self.volumes, self.now
        survivors: dict[Node, Node] = {}
        for path, node in names.items():
            if node not in survivors:
                survivors[node] = node.survivor(random, outcome.content)
            if self._reachable(names, path):
                world._names[path] = survivors[node]
        world._stable = dict(world._names)
        return world

    def reboot(self) -> None:
        """The process died, the machine did not: everything stands as it was written."""
        self.lifetime = None
        self._open.clear()

    def stable(self, folder: str) -> list[bytes]:
        """What is sure to stand in a folder after a loss of power, the name with it: contents as last synced."""
        return [node.versions[0] for path, node in self._stable.items() if os.path.dirname(path) == folder]

    def content(self, path: str) -> bytes:
        """What a reader sees."""
        return self._node(path).versions[-1]

    def paths(self) -> set[str]:
        """All that stands there."""
        return set(self._names)

    def put(self, path: str, content: bytes) -> None:
        """A file that stands there, synced, with its folders."""
        for end in range(1, len(path)):
            if path[end] == "/":
                self._names.setdefault(path[:end], Node(folder=True))
        self._names[path] = Node(versions=[content])
        self._stable = dict(self._names)

    # IDisk

    def create(self, path: str) -> int:
        self._operation("create", path)
        if path in self._names:
            raise OSError(errno.EEXIST, "exists", path)
        self._folder(os.path.dirname(path))
        node = Node(changed=(self.now, self.now))
        self._change(node, None, path)
        return self._opened(node, path)

    def open(self, path: str) -> int:
        self._operation("open", path)
        return self._opened(self._node(path), path)

    def openFolder(self, path: str) -> int:
        self._operation("openFolder", path)
        return self._opened(self._folder(path), path)

    def close(self, descriptor: int) -> None:
        if self.lifetime is None or self.done < self.lifetime:
            del self._open[descriptor]

    def write(self, descriptor: int, octets: bytes) -> None:
        node, path = self._open[descriptor]
        self._operation("write", path)
        self._written(node, octets)

    def append(self, path: str, octets: bytes) -> None:
        self._operation("append", path)
        self._written(self._node(path), octets)

    def overwrite(self, descriptor: int, octets: bytes) -> None:
        node, path = self._open[descriptor]
        self._operation("overwrite", path)
        node.versions.append(octets + node.versions[-1][len(octets) :])

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        node, path = self._open[descriptor]
        self._operation("read", path)
        return node.versions[-1][offset : offset + size]

    def begin(self, descriptor: int) -> None:
        self._operation("begin", self._open[descriptor][1])

    def fsync(self, descriptor: int) -> None:
        node, path = self._open[descriptor]
        changes = [change for change in self._changes if node.folder and change.folder == path]
        try:
            self._operation("fsync", path)
        except OSError:
            node.doomed = True
            for change in changes:
                change.doomed = True
            raise
        node.prove()
        self._prove(changes)

    def syncfs(self, descriptor: int) -> None:
        volume = self._volume(self._open[descriptor][1])
        nodes = [node for path, node in self._names.items() if self._volume(path) == volume]
        changes = [change for change in self._changes if self._volume(change.folder) == volume]
        try:
            self._operation("syncfs", self._open[descriptor][1])
        except OSError:
            for dirty in (*(node for node in nodes if len(node.versions) > 1), *changes):
                dirty.doomed = True
            raise
        for node in nodes:
            node.prove()
        self._prove(changes)

    def reports(self, path: str) -> bool:
        return self.believed

    def rename(self, old: str, new: str) -> None:
        self._operation("rename", new)
        self._folder(os.path.dirname(new))
        if self._volume(old) != self._volume(new):
            raise OSError(errno.EXDEV, "another file system", new)
        self._change(self._node(old), old, new)

    def unlink(self, path: str) -> None:
        self._operation("unlink", path)
        self._change(self._node(path), path, None)

    def mkdir(self, path: str) -> bool:
        self._operation("mkdir", path)
        if path in self._names:
            return False
        self._folder(os.path.dirname(path))
        self._change(Node(folder=True), None, path)
        return True

    def rmdir(self, path: str) -> None:
        self._operation("rmdir", path)
        if any(os.path.dirname(name) == path for name in self._names):
            raise OSError(errno.ENOTEMPTY, "not empty", path)
        self._change(self._folder(path), path, None)

    def status(self, path: str) -> Status:
        self._operation("status", path)
        node = self._node(path)
        return Status(len(node.versions[-1]), node.changed[1], self._volume(path))

    def free(self, path: str) -> Free:
        self._operation("free", path)
        return Free(SIZE if self.room is None else self.room, SIZE, SIZE, SIZE)

    def date(self, path: str, when: float) -> None:
        self._operation("date", path)
        node = self._node(path)
        node.changed = (node.changed[0], when)

    def names(self, path: str) -> list[str]:
        self._operation("names", path)
        self._folder(path)
        return [os.path.basename(name) for name in self._names if os.path.dirname(name) == path and name != "/"]

    # How it is done.

    def _operation(self, operation: str, path: str) -> None:
        if self.lifetime is not None and self.done >= self.lifetime:
            self.lost()
            raise PowerLost
        self.done += 1
        self.log.append((operation, path))
        number = self.fault(operation, path)
        if number:
            raise OSError(number, os.strerror(number), path)

    def _opened(self, node: Node, path: str) -> int:
        self._descriptor += 1
        self._open[self._descriptor] = (node, path)
        return self._descriptor

    def _node(self, path: str) -> Node:
        node = self._names.get(path)
        if node is None:
            raise OSError(errno.ENOENT, "not there", path)
        return node

    def _folder(self, path: str) -> Node:
        node = self._node(path)
        if not node.folder:
            raise OSError(errno.ENOTDIR, "no folder", path)
        return node

    def _volume(self, path: str) -> int:
        while path not in self.volumes and path != "/":
            path = os.path.dirname(path)
        return self.volumes.get(path, 1)

    def _written(self, node: Node, octets: bytes) -> None:
        room = len(octets) if self.room is None else min(self.room, len(octets))
        if room:
            node.versions.append(node.versions[-1] + octets[:room])
        node.changed = (node.changed[0], self.now)
        if self.room is not None:
            self.room -= room
        if room < len(octets):
            raise OSError(errno.ENOSPC, "full")

    def _change(self, node: Node, old: str | None, new: str | None) -> None:
        change = Change(node, old, new)
        self._changes.append(change)
        self._apply(self._names, change)

    def _apply(self, names: dict[str, Node], change: Change) -> None:
        if change.old is not None and names.get(change.old) is change.node:
            del names[change.old]
        if change.new is not None:
            names[change.new] = change.node

    def _closure(self, place: int) -> set[Change]:
        """A change and all earlier ones that it cannot survive without."""
        closure = {self._changes[place]}
        for earlier in reversed(self._changes[:place]):
            if any(change.needs(earlier) for change in closure):
                closure.add(earlier)
        return closure

    def _prove(self, changes: list[Change]) -> None:
        proven: set[Change] = set()
        for change in changes:
            if not change.doomed:
                proven |= self._closure(self._changes.index(change))
        for change in self._changes:
            if change in proven:
                self._apply(self._stable, change)
        self._changes = [change for change in self._changes if change not in proven]

    def _reachable(self, names: dict[str, Node], path: str) -> bool:
        while path != "/":
            path = os.path.dirname(path)
            if path not in names:
                return False
        return True
