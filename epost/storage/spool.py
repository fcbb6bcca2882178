"""
The queue on disk. Names are the state; this page lists every one of them and what a crash leaves behind.

    incoming/B0000000186           accepted; to be tried at once (its date does not matter)
    holding/B0000000186-R0001      failed once; due at its date (mtime), so a start reads names and dates, no content
    holding/B0000000186            held, or warned of, without a failed attempt; due at its date. What is held
                                   when it is accepted is written here at once
    dead/B0000000186-R0001         neither delivered nor returned; its last line says why; to be moved to incoming

L{epost.storage.format} says what is in a file.

A crash, of the process or of the machine:

    while content comes            incoming/X without a seal: never acknowledged, dropped at the next load
    before the sync of a group     incoming/X whole, torn, empty or missing: no 250 was sent. Whole: it is sent all the
                                   same (RFC 1047). Not one octet of it: dropped. Else: dead, as it cannot be told from
                                   a message that the disk spoiled later
    after it, before the 250       incoming/X whole: it is sent; the client may send it again
    in record                      the line is there or not, torn is not; name and date are the old ones or the new.
                                   A forgotten attempt is made again, a forgotten date means at once
    in remove                      the name may come back: the message is delivered twice
    in bury                        it stands in the queue still, and is buried again

One message under two names is the work of an operator's copy: the one with the higher retry number, then the longer
history, is taken, the other goes to dead.
"""

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import IContent, ISpool, Waiting
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.name import Name, parseName
from epost.mail.reply import Refused, Reply
from epost.storage import format
from epost.storage.disk import IDisk
from epost.storage.durable import FAILED, Commits, makeFolder
from epost.storage.letter import Damaged, LetterContent, LetterDraft, ShortContent, isWorthless, readBegin, readLetter

AGAIN = 5  # messages that are removed when one is: itself, and some that could not be before
FRESH = 100  # contents of at most a draft's memory each
T = TypeVar("T")

INCOMING, HOLDING, DEAD = "incoming", "holding", "dead"
GONE = Reply(554, ("The message is gone.",), "5.3.0")


@implementer(ISpool)
class Spool:
    """
    The queue under one folder, which must be locked (L{epost.storage.lock}). Its folders lie on one file system.

    @ivar highest: the highest message number found at start, C{dead} included; 0 where there is none.
    @param root: the work folder; it is made where it is missing.
    @raise OSError: from the constructor alone: the folders cannot be made or read.
    """

    _log = Logger()

    def __init__(self, disk: IDisk, root: str, commits: Commits) -> None:
        self._disk = disk
        self._root = root
        self._commits = commits
        self._moved: dict[str, str] = {}  # stem -> path, of those that do not stand where their name says
        self._unremoved: list[str] = []  # messages that have ended and could not be removed
        self._unwritten: dict[str, tuple[Attempt, ...]] = {}  # by stem: what the disk did not take
        self._fresh: dict[str, bytes] = {}  # by stem: content of short messages, which came last and nobody asked for
        self._moving = Lock()  # a path is looked up and opened in the committing thread too
        for name in (INCOMING, HOLDING, DEAD):
            makeFolder(disk, self._folder(name))
        self._volume = commits.volume(self._folder(INCOMING))
        found = self._found()
        dead = (parseName(text) for text in disk.names(self._folder(DEAD)))
        self.highest = max([name.number for name, _ in found] + [name.number for name in dead if name], default=0)
        self._unowned = self._unique(found)
        self._waiting = len(self._unowned)
        self._notices = {name.stem for name, _ in self._unowned if name.isNotice}  # in the queue now

    # What a start finds.

    def _found(self) -> list[tuple[Name, str]]:
        """All messages of the queue and their paths. Costs a listing, about a second for a million names."""
        found = []
        for folder in (self._folder(INCOMING), self._folder(HOLDING)):
            for text in self._disk.names(folder):
                name = parseName(text)
                if name:
                    found.append((name, f"{folder}/{text}"))
                else:
                    self._log.warn("{folder}/{text} is no message and is left alone", folder=folder, text=text)
        return found

    def _unique(self, found: list[tuple[Name, str]]) -> list[tuple[Name, str]]:
        """Each message once, the oldest last, as L{adopt} takes from the end."""
        found.sort(key=lambda each: (each[0].number, each[0].stem), reverse=True)
        unique: list[tuple[Name, str]] = []
        for name, path in found:
            if unique and unique[-1][0].stem == name.stem:
                other, another = unique.pop()
                winner, loser = sorted(((name, path), (other, another)), key=self._history, reverse=True)
                self._toDead(loser[0], loser[1], f"the same message stands at {winner[1]}")
                unique.append(winner)
            else:
                unique.append((name, path))
        return unique

    def _history(self, each: tuple[Name, str]) -> tuple[bool, int, int, str]:
        """How much is known of a message: by this two of one stem are compared. C{incoming} is the greater word."""
        try:
            status = self._disk.status(each[1])
        except OSError:  # a link to nothing
            return False, each[0].retry, 0, each[1]
        return status.regular, each[0].retry, status.size, each[1]

    def adopt(self, limit: int) -> list[Waiting]:
        """The oldest that the process before left: one stat for each. What is no file is none of them."""
        taken: list[Waiting] = []
        while self._unowned and len(taken) < limit:
            name, path = self._unowned.pop()
            changed = 0.0
            with suppress(OSError):  # removed by hand; load says so
                status = self._disk.status(path)
                changed = status.changed
                if not status.regular:
                    self._log.warn("{path} is no file and is left alone", path=path)
                    self._waiting -= 1
                    continue
            if path != self._place(name):
                self._moved[name.stem] = path
            taken.append(Waiting(name, 0.0 if path.startswith(self._folder(INCOMING)) else changed))
        return taken

    # What is asked of a message.

    def draft(self, name: Name, envelope: Envelope, queued: float, history: tuple[Attempt, ...] = ()) -> LetterDraft:
        """
        Begin a message, in C{incoming}; in C{holding} where it has a history.

        @raise Refused: it is a notice, and an earlier process has left one of its name that is still to be delivered.
        """
        if name.stem in self._notices:  # by its stem a message is found: there cannot be two
            raise Refused(FAILED)
        head, tail = format.head(envelope, queued), b"".join(map(format.line, history))
        folder = self._folder(HOLDING if history else INCOMING)
        return LetterDraft(self._disk, self._commits, folder, name, self._volume, head, tail, self._stored)

    def _stored(self, draft: LetterDraft) -> None:
        """A message is durable."""
        name = draft.name
        self._waiting += 1
        if name.isNotice:
            self._notices.add(name.stem)
        if draft.tried:
            self._moved[name.stem] = draft.path
        elif draft.short is not None:
            self._fresh[name.stem] = draft.short
            if len(self._fresh) > FRESH:
                del self._fresh[next(iter(self._fresh))]

    def load(self, name: Name) -> Entry:
        """Read envelope and history, and the whole content for its checksum, part by part."""
        letter = self._read(name, readLetter)
        attempts = letter.attempts + self._unwritten.get(name.stem, ())
        return Entry(self._standing(name), letter.envelope, letter.queued, letter.size, attempts)

    def content(self, name: Name) -> IContent:
        """Read the first block, which is all of a message that is not long; what has just come is still at hand."""
        fresh = self._fresh.pop(name.stem, None)
        if fresh is not None:
            return ShortContent(fresh)
        seal, begin = self._read(name, readBegin)
        return LetterContent(self._disk, lambda: self._open(name), seal, begin)

    def _read(self, name: Name, look: Callable[[IDisk, int], T]) -> T:
        """Look into a file. @raise Refused: it cannot be read now, or is damaged and no longer in the queue."""
        descriptor = self._open(name)
        try:
            return look(self._disk, descriptor)
        except Damaged as damaged:
            raise self._damaged(name, descriptor, str(damaged)) from damaged
        except OSError as error:
            self._trouble(self._path(name), "cannot be read", error)
            raise Refused(FAILED) from error
        finally:
            self._disk.close(descriptor)

    def record(self, entry: Entry, *attempts: Attempt) -> Entry:
        """
        Add a line for each; then a name and a date, where it is to be tried again.

        What a full disk does not take is remembered and added with the next line, or whoever has the message already
        would get it at each attempt. The next start has forgotten it; the name tells of it still. Where the name could
        not be given the entry that is returned keeps the old one.
        """
        after = entry.after(*attempts)
        due = after.due
        old = self._path(entry.name)
        attempts = self._unwritten.pop(entry.name.stem, ()) + attempts
        try:
            self._disk.append(old, b"".join(map(format.line, attempts)))
        except OSError as error:
            self._unwritten[entry.name.stem] = attempts
            self._trouble(old, "an attempt is not written down", error)
        if due is not None:
            new = f"{self._folder(HOLDING)}/{after.name}"
            try:
                with self._moving:
                    self._disk.rename(old, new)
                    self._moved[after.name.stem] = new
                self._disk.date(new, due)
            except OSError as error:
                self._moved.setdefault(after.name.stem, old)  # where no rename was done it stands where it stood
                self._trouble(old, "not renamed or dated", error)
        self._commits.alongside(self._path(after.name), self._folder(HOLDING), self._volume)
        stands = self._standing(after.name)
        return after if stands == after.name else replace(after, name=stands)

    def remove(self, entry: Entry) -> None:
        """
        Unlink; its sync is not waited for.

        What cannot be removed would be delivered again by the next start, so it is tried again when others go.
        """
        self._unremoved.append(self._path(entry.name))
        self._forget(entry.name)
        self._removeAll(AGAIN)

    def _removeAll(self, most: int) -> None:
        """Remove what has ended, the newest first; as long as that works also what could not be removed before."""
        for _ in range(min(most, len(self._unremoved))):
            path = self._unremoved[-1]
            try:
                self._disk.unlink(path)
            except OSError as error:
                if not self._taken(path, error):
                    self._trouble(path, "a message that has ended is not removed", error)
                    return
            self._unremoved.pop()

    def bury(self, entry: Entry, why: str) -> None:
        """Put it aside for the operator."""
        self._toDead(entry.name, self._path(entry.name), why)
        self._forget(entry.name)

    def count(self) -> int:
        """How many messages wait."""
        return self._waiting

    def release(self) -> "Deferred[None]":
        """Sync what was recorded. The lock on the folder (L{epost.storage.lock}) is let go by whoever took it."""
        self._removeAll(len(self._unremoved))
        return self._commits.close()

    # Where a message stands.

    def _folder(self, name: str) -> str:
        """The path of one of the folders."""
        return f"{self._root}/{name}"

    def _place(self, name: Name) -> str:
        """Where a message of this name is expected."""
        return f"{self._folder(HOLDING if name.retry else INCOMING)}/{name}"

    def _path(self, name: Name) -> str:
        """Where a message stands: found by its stem, as it may have got another name since somebody asked for it."""
        return self._moved.get(name.stem) or self._place(name)

    def _standing(self, name: Name) -> Name:
        """The name that a message has on disk."""
        return parseName(self._path(name).rpartition("/")[2]) or name

    def _forget(self, name: Name) -> None:
        """It has left the queue."""
        self._notices.discard(name.stem)
        self._moved.pop(name.stem, None)
        self._unwritten.pop(name.stem, None)
        self._fresh.pop(name.stem, None)
        self._waiting -= 1

    def _open(self, name: Name) -> int:
        """The file of a message. @raise Refused: there is none."""
        try:
            with self._moving:
                return self._disk.open(self._path(name))
        except OSError as error:
            self._trouble(self._path(name), "cannot be read", error)
            if error.errno == errno.ELOOP and self._toDead(
                name, self._path(name), "it is a link, which may lead anywhere"
            ):
                self._forget(name)
                raise Refused(GONE) from error
            raise Refused(GONE if self._taken(self._path(name), error) else FAILED) from error

    def _taken(self, path: str, error: OSError) -> bool:
        """Whether a file is missing because somebody took it: its folder is there. A file system may be away."""
        return isinstance(error, FileNotFoundError) and self._stood(path.rpartition("/")[0])

    def _trouble(self, path: str, what: str, error: OSError) -> None:
        """Tell the log of a fault of the disk."""
        self._commits.trouble.tell(self._log, path, what, error)

    # What is not whole.

    def _damaged(self, name: Name, descriptor: int, why: str) -> Refused:
        """
        Take a file out of the queue: drop what was never acknowledged, put aside all else. @return: to be raised.

        What has been tried was acknowledged, whatever is left of it.
        """
        path = self._path(name)
        try:
            worthless = not name.retry and isWorthless(self._disk, descriptor)
        except OSError:  # it cannot be read, so it may be worth something
            worthless = False
        if worthless:
            self._log.warn("{path}: dropped, it was never acknowledged: {why}", path=path, why=why)
            with suppress(OSError):  # then the next start drops it
                self._disk.unlink(path)
        else:
            if not self._toDead(name, path, f"damaged, or torn before it was acknowledged: {why}"):
                return Refused(FAILED)  # it stays in the queue, to be looked at again
            self._log.error("{path}: damaged, moved to dead: {why}", path=path, why=why)
        self._forget(name)
        return Refused(GONE)

    def _toDead(self, name: Name, path: str, why: str) -> bool:
        """Move a file to dead, with a last line; never over another. @return: whether it lies there now."""
        target = f"{self._folder(DEAD)}/{name}"
        with suppress(OSError):  # a full disk: that it lies in dead says enough
            self._disk.append(path, format.lastLine(why))
        try:
            while self._stood(target):
                target += "+"
            self._disk.rename(path, target)
        except OSError as error:
            self._trouble(path, "not moved to dead", error)
            return False
        return True

    def _stood(self, path: str) -> bool:
        """Whether something has this name."""
        try:
            self._disk.status(path)
        except FileNotFoundError:
            return False
        return True
