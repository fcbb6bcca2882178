"""
Facts that should survive a restart, though mail does not hang on them: how much an account has sent, who had an
automatic reply, that a warning went out. (Exim's word for such data.)

    2026-11-24T17:10:00Z hour 5939124/user1@test.jp 3 5

until when it holds (UTC), its kind, whose it is, its value, parted by one blank; in the first three a blank, C{%} and
control characters stand as C{%20}. The last line of a kind and key counts; one that is over takes the fact away. A
comment begins with C{#}. An operator may read the file at any time and change it while the daemon is stopped.

All facts are in memory. What has changed is added to the file once a second, synced, in the committing thread, so a
crash or a power cut forgets a second. A file that has grown to twice its worth is written anew and renamed. What a cut
leaves, an unfinished last line or lines that are none, is passed over. A disk that does not take it never stops mail:
the log says so once, the facts go on in memory, and a minute later the whole file is tried anew (house 5.7).
"""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import IHints
from epost.mail.safe import safe
from epost.storage.disk import IDisk
from epost.storage.durable import syncFolder

BATCH = 1.0  # seconds until what has changed is written
AGAIN = 60.0  # seconds after a fault until the disk is tried again
SPARE = 1000  # lines that a file may have beyond twice its worth: a short one is not written anew all the time
FACTS = 50_000  # of a kind, about 300 octets each; then the oldest goes

_HEADING = b"# what epost remembers: until (UTC), kind, whose, value\n"
_PART = 256 * 1024
_LATEST = 253402300799  # the end of 9999

_UNSAFE = re.compile("[\x00-\x20%\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_VALUE = r"[^\x00-\x1f\x7f\ud800-\udfff]{0,1000}"  # none is longer; of 4,301 digits Python makes no number, but a fault
_LINE = re.compile(rf"(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([^ ]+) ([^ ]+) ({_VALUE})\Z")

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact. @ivar until: seconds since 1970."""

    value: str
    until: int


@implementer(IHints)
class Hints:
    """
    The facts of one work folder, which must be locked.

    A file that cannot be read is told, and the facts begin anew.

    @param root: the work folder.
    @param clock: the time, and when a second is over.
    @param callInThread: runs a function in a thread; at most one runs at a time.
    @param callFromThread: runs a function in the reactor's thread.
    """

    _log = Logger()

    def __init__(
        self,
        disk: IDisk,
        root: str,
        clock: IReactorTime,
        callInThread: Callable[..., object],
        callFromThread: Callable[..., object],
    ) -> None:
        self._disk = disk
        self._root = root
        self._path = f"{root}/hints"
        self._clock = clock
        self._callInThread = callInThread
        self._callFromThread = callFromThread
        self._kinds: dict[str, dict[str, _Fact]] = {}
        self._changed: dict[_Key, None] = {}
        self._lines = 0  # in the file
        self._worth = 0  # of them that held when it was last written anew
        self._anew = False  # whether the whole file is to be written
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._failed: object = None  # the kind of the fault that lasts
        self._released: Deferred[None] | None = None
        self._closed = False
        self._load()

    def get(self, kind: str, key: str, within: float = float("inf")) -> str | None:
        """See L{IHints}."""
        fact = self._kinds.get(kind, {}).get(key)
        now = self._clock.seconds()
        return fact.value if fact is not None and now < fact.until <= now + within + 1 else None

    def put(self, kind: str, key: str, value: str, until: float) -> None:
        """See L{IHints}."""
        assert value.isprintable()
        facts = self._kinds.setdefault(kind, {})
        facts.pop(key, None)  # so that the order is that of age
        if len(facts) >= FACTS:
            del facts[next(iter(facts))]
        facts[key] = _Fact(value, min(max(int(-(-until // 1)), 0), _LATEST))
        self._change(kind, key)

    def forget(self, kind: str, key: str) -> None:
        """See L{IHints}."""
        if self._kinds.get(kind, {}).pop(key, None) is not None:
            self._change(kind, key)

    def release(self) -> "Deferred[None]":
        """
        At stop, while the folder is still locked: write what is unwritten. Fires when that is done, or has failed.

        What is put after that is in memory alone: the folder may be another process's.
        """
        self._released = Deferred()
        released = self._released
        if not self._busy:
            self._write()
        return released

    # Writing.

    def _change(self, kind: str, key: str) -> None:
        if self._closed:
            return
        self._changed[kind, key] = None
        if self._timer is None and not self._busy:
            self._timer = self._clock.callLater(BATCH, self._write)

    def _write(self) -> None:
        """Hand what has changed, or all, to the thread."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, {}
        if self._anew or self._lines + len(changed) > 2 * self._worth + SPARE:
            self._sweep()
            facts = [(kind, key, fact) for kind, facts in self._kinds.items() for key, fact in facts.items()]
            self._lines = self._worth = len(facts)
            self._busy = True
            self._callInThread(self._store, self._replace, facts)
        elif changed:
            over = _Fact("", 0)
            facts = [(kind, key, self._kinds[kind].get(key, over)) for kind, key in changed]
            self._lines += len(facts)
            self._busy = True
            self._callInThread(self._store, self._add, facts)
        elif self._released is not None:
            self._end(self._released)

    def _end(self, released: "Deferred[None]") -> None:
        """Nothing is written from now on."""
        self._closed = True
        released.callback(None)

    def _sweep(self) -> None:
        """Let go of what is over."""
        now = self._clock.seconds()
        self._kinds = {
            kind: alive
            for kind, facts in self._kinds.items()
            if (alive := {key: fact for key, fact in facts.items() if fact.until > now})
        }

    def _store(self, write: Callable[[bytes], None], facts: Iterable[tuple[str, str, _Fact]]) -> None:
        """In the committing thread: write lines."""
        fault = None
        try:
            write(b"".join(_line(*fact) for fact in facts))
        except Exception as error:  # whatever it is, whoever waits must be told
            fault = error
        self._callFromThread(self._stored, fault)

    def _add(self, lines: bytes) -> None:
        """At the end of the file."""
        self._disk.append(self._path, lines)
        descriptor = self._disk.open(self._path)
        try:
            self._disk.fsync(descriptor)
        finally:
            self._disk.close(descriptor)

    def _replace(self, lines: bytes) -> None:
        """A new file under another name, synced; only then it gets its name."""
        fresh = f"{self._path}.new"
        with suppress(FileNotFoundError):
            self._disk.unlink(fresh)  # what a crash left, or a full disk
        descriptor = self._disk.create(fresh)
        try:
            self._disk.write(descriptor, _HEADING + lines)
            self._disk.fsync(descriptor)
        except OSError:
            with suppress(OSError):  # a part of it would keep from mail the last room that there is
                self._disk.unlink(fresh)
            raise
        finally:
            self._disk.close(descriptor)
        self._disk.rename(fresh, self._path)
        syncFolder(self._disk, self._root)

    def _stored(self, fault: Exception | None) -> None:
        """Lines are written, or not."""
        self._busy = False
        removed = isinstance(fault, FileNotFoundError) and not self._anew  # by an operator, which is allowed
        # After a fault the end of the file may be half a line, or octets that no later sync proves.
        self._anew = fault is not None
        if fault is None:
            if self._failed is not None:
                self._log.warn("{path} is written again", path=self._path)
            self._failed = None
        elif not removed and self._failed != _kind(fault):
            self._failed = _kind(fault)
            words = "{path}: {fault!s}; mail goes on, what was counted and warned of is kept in memory alone"
            self._log.error(words, path=self._path, fault=fault)
        if self._released is not None:
            if fault is not None:
                self._end(self._released)
            else:
                self._write()
        elif self._anew or self._changed:
            self._timer = self._clock.callLater(BATCH if self._failed is None else AGAIN, self._write)

    # Reading.

    def _load(self) -> None:
        """Read the file. What is wrong in it is told once and gone when it is next written."""
        try:
            text = self._text()
        except FileNotFoundError:
            self._anew = True
            return
        except OSError as error:
            self._log.error("{path}: {error!s}; what was counted begins anew", path=self._path, error=error)
            self._anew = True
            return
        *lines, tail = text.split("\n")
        self._anew = bool(tail)  # cut in the middle of a line: nothing may be added to that
        if "\0" in tail:  # no line was ever cut to that: a power cut took what the file held
            lines.append(tail)
        damaged = [number for number, line in enumerate(lines, 1) if not self._read(line)]
        self._lines = len(lines)
        if damaged:
            self._anew = True
            words = "{path}:{first}: damaged, passed over: {line}{more}"
            more = f" (and {len(damaged) - 1} more lines)" if damaged[1:] else ""
            self._log.warn(words, path=self._path, first=damaged[0], line=safe(lines[damaged[0] - 1]), more=more)

    def _text(self) -> str:
        descriptor = self._disk.open(self._path)
        try:
            octets = bytearray()
            while part := self._disk.read(descriptor, _PART, len(octets)):
                octets += part
        finally:
            self._disk.close(descriptor)
        return octets.decode("utf-8", "surrogateescape")

    def _read(self, line: str) -> bool:
        """Take one line. @return: whether it is one."""
        if not line or line.startswith("#"):
            return True
        found = _LINE.match(line)
        if found is None:
            return False
        try:
            until = int(datetime.fromisoformat(found[1]).timestamp())
        except ValueError:
            return False
        facts = self._kinds.setdefault(unquote(found[2]), {})
        key = unquote(found[3], errors="surrogateescape")
        facts.pop(key, None)
        facts[key] = _Fact(found[4], until)
        return True


def _kind(fault: Exception) -> object:
    """What tells one fault from another: a full disk is told, and when it breaks after that too."""
    return fault.errno if isinstance(fault, OSError) else type(fault)


def _line(kind: str, key: str, fact: _Fact) -> bytes:
    """A fact as it stands in the file."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(fact.until))
    return f"{until} {_escaped(kind)} {_escaped(key)} {fact.value}\n".encode()


def _escaped(text: str) -> str:
    """Without blanks, line ends and what a terminal would obey."""
    return _UNSAFE.sub(
        lambda odd: "".join(f"%{octet:02X}" for octet in odd[0].encode("utf-8", "surrogateescape")), text
    )
