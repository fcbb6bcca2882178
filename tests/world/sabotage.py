"""
The proof of the proof: the product broken on purpose, at run time, in ways that look harmless.

Each L{Sabotage} leaves out a sync, swaps an order, or answers too early. The runs of L{tests.world.power} must find
what it does. Where they cannot, as the contract allows what comes of it, it says why. The lock of the work folder is
not among them: it is the kernel's, and what a crash leaves in its file means nothing.

    python -m tests.world.sabotage [NAME …]      each of them, and the first run that finds it
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, succeed

from epost import drafts, errand, returns
from epost.storage import draft, durable, inbox, letter, serial, spool
from epost.storage.disk import IDisk
from epost.storage.durable import Commits, Touched, Volume
from tests.world.disk import World
from tests.world.power import Run, Scope, cases, playground, points, shown
from tests.world.stories import STORIES

Patch = Callable[[Any, str, object], object]


@dataclass(frozen=True, slots=True)
class Sabotage:
    """
    One of them.

    @ivar stories: where it is looked for.
    @ivar apply: does it, with the C{patch} of a test case.
    @ivar outcomes: which runs can find it; empty: any.
    @ivar at: before which operations they are cut; empty: any.
    @ivar seeds: how often each is played, with another chance each time.
    @ivar harmless: why it cannot be found; empty: it must be.
    """

    stories: tuple[str, ...]
    apply: Callable[[Patch], object]
    harmless: str = ""
    outcomes: tuple[str, ...] = ()
    at: str = ""
    seeds: int = 1


def _without(patch: Patch, *ends: str) -> None:
    """Folders that end so are not synced by a group."""
    folder = Touched.folder

    def some(touched: Touched, path: str, volume: Volume) -> None:
        if not path.endswith(ends):
            folder(touched, path, volume)

    patch(Touched, "folder", some)


def _letGo(self: draft.Draft, touched: Touched) -> None:
    """In place of handing the file over to be synced."""
    descriptor, self._descriptor = self._descriptor, None
    self.disk.close(descriptor)


def _deaf(patch: Patch, owner: type, name: str, *ends: str) -> None:
    """An operation of the disk that is left out, for paths that end so; none: for all."""
    operation = getattr(owner, name)

    def some(disk: World, descriptor: int) -> None:
        if ends and not disk._open[descriptor][1].endswith(ends):
            operation(disk, descriptor)

    patch(owner, name, some)


def doNotSyncContent(patch: Patch) -> None:
    """No file is synced."""
    patch(draft.Draft, "handOver", _letGo)


def doNotSyncLetters(patch: Patch) -> None:
    """No file of the queue is synced."""
    patch(letter.LetterDraft, "handOver", _letGo)


def doNotSyncMail(patch: Patch) -> None:
    """No file of a mailbox is synced."""
    patch(inbox.MailDraft, "handOver", _letGo)


def doAnswerAtOnce(patch: Patch) -> None:
    """The reply does not wait for the disk; nor does whoever else waits for a commit."""
    commit = Commits.commit

    def early(self: Commits, work: Any) -> "Deferred[None]":
        commit(self, work).addErrback(lambda failure: None)
        return succeed(None)

    patch(Commits, "commit", early)


def doAnswerClients(patch: Patch) -> None:
    """Clients alone are answered before the disk has done it."""
    finish = drafts.Draft.finish

    def early(self: drafts.Draft) -> "Deferred[None]":
        finish(self).addErrback(lambda failure: None)
        return succeed(None)

    patch(drafts.Draft, "finish", early)


def doAnswerAfterOneSync(patch: Patch) -> None:
    """A message for a mailbox is answered when its content is synced; its name is given, but not synced."""
    step = inbox.MailDraft.step

    def short(self: inbox.MailDraft, touched: Touched) -> bool:
        return step(self, Touched() if self._written else touched)

    patch(inbox.MailDraft, "step", short)


def doNameEarly(patch: Patch) -> None:
    """The name in new/ is given before the content is synced."""
    step = inbox.MailDraft.step
    patch(inbox.MailDraft, "step", lambda self, touched: step(self, touched) or step(self, touched))


def doNotAwaitDelivery(patch: Patch) -> None:
    """The queue's copy goes while the mailbox's is on its way."""
    deliver = inbox.Inbox.deliver

    def early(self: inbox.Inbox, *args: Any) -> "Deferred[None]":
        deliver(self, *args).addErrback(lambda failure: None)
        return succeed(None)

    patch(inbox.Inbox, "deliver", early)


def doRemoveWhenTried(patch: Patch) -> None:
    """The queue's copy goes when the attempt begins, before the next hop has said 250."""
    begin = errand.Errand.begin

    def early(self: errand.Errand, *args: Any) -> object:
        parcel = begin(self, *args)
        queue: Any = self.desk.spool
        queue._disk.unlink(queue._path(self.message.entry.name))
        return parcel

    patch(errand.Errand, "begin", early)


def doBelieveBrokenCalls(patch: Patch) -> None:
    """A connection that breaks before the reply to the end of data is taken for a receipt."""
    outcome = errand.Errand._outcome

    def hopeful(self: errand.Errand, place: int, reply: Any, now: float) -> object:
        return outcome(self, place, errand.Reply(250, ("surely",)) if reply.code == 451 else reply, now)

    patch(errand.Errand, "_outcome", hopeful)


def doNotAwaitNotices(patch: Patch) -> None:
    """The message goes while the notice about it is on its way to the disk."""

    async def early(draft: Any, notice: Any) -> int:
        size = 0
        for part in notice.parts():
            draft.write(part)
            size += len(part)
        draft.commit().addErrback(lambda failure: None)
        return size

    patch(returns, "_store", early)


def doForgetFirst(patch: Patch) -> None:
    """The message is removed, then the notice about it is written."""
    settle = returns.Returns.settle

    async def backwards(self: returns.Returns, entry: Any) -> object:
        content = b"".join(self._spool.content(entry.name).parts())
        queue: Any = self._spool
        queue._disk.unlink(queue._path(entry.name))

        class Kept:
            """What was read before."""

            size = len(content)

            def parts(self) -> Iterator[bytes]:
                """All of it."""
                yield content

        fetch, queue.content = queue.content, lambda name: Kept()
        try:
            return await settle(self, entry)
        finally:
            queue.content = fetch

    patch(returns.Returns, "settle", backwards)


def doNotProveNumbers(patch: Patch) -> None:
    """Numbers are given out before the folder with the file that sets them aside is synced."""
    patch(serial, "syncFolder", lambda disk, path: None)


def doNotSyncNumbers(patch: Patch) -> None:
    """That file gets its name before its content is synced."""
    _deaf(patch, World, "fsync", "serial.new")


def doNotSyncParents(patch: Patch) -> None:
    """The work folder and the folders in it are not synced in their parents."""
    patch(durable, "syncFolder", lambda disk, path: None)


def doTrustParents(patch: Patch) -> None:
    """Only those are that this process has made."""

    def trusting(disk: IDisk, path: str) -> None:
        parent = path.rstrip("/").rpartition("/")[0] or "/"
        if parent != path:
            trusting(disk, parent)
            if disk.mkdir(path):
                durable.syncFolder(disk, parent)

    for module in (spool, inbox):
        patch(module, "makeFolder", trusting)


def doKeepFailedFolders(patch: Patch) -> None:
    """A folder whose sync failed stays, and the next start believes a second sync."""
    patch(World, "rmdir", lambda disk, path: None)


def doSyncTwice(patch: Patch) -> None:
    """A sync that failed is tried again, and believed."""
    fsync, syncfs = World.fsync, World.syncfs

    def stubborn(operation: Callable[[World, int], None]) -> Callable[[World, int], None]:
        def twice(disk: World, descriptor: int) -> None:
            try:
                operation(disk, descriptor)
            except OSError:
                operation(disk, descriptor)

        return twice

    patch(World, "fsync", stubborn(fsync))
    patch(World, "syncfs", stubborn(syncfs))


def doIgnoreFaults(patch: Patch) -> None:
    """Nobody looks whether a sync worked."""
    sync = Commits.sync

    def careless(self: Commits, touched: Touched) -> None:
        with suppress(OSError):
            sync(self, touched)

    patch(Commits, "sync", careless)


def doAwaitOneCopy(patch: Patch) -> None:
    """Of several copies of a message the client's 250 waits for the first alone."""
    finish = drafts.Branches.finish

    def early(self: Any) -> "Deferred[None]":
        heard: Deferred[None] = Deferred()
        draft = self._branches[0].draft
        first = draft.commit

        def told() -> "Deferred[None]":
            return first().addCallbacks(heard.callback, heard.errback)

        draft.commit = told
        finish(self).addErrback(lambda failure: None)
        return heard

    patch(drafts.Branches, "finish", early)


def doNotCheck(patch: Patch) -> None:
    """Nobody compares the checksum of what a crash left."""
    patch(letter, "crc32", lambda octets, total=0: crc32(b""))


def doNotRecord(patch: Patch) -> None:
    """What an attempt has done is not written down."""
    patch(World, "append", lambda disk, path, octets: disk._operation("append", path))


def doNotLookInMailboxes(patch: Patch) -> None:
    """Nobody looks whether an earlier process has delivered."""
    patch(inbox.Box, "holds", lambda self, stem: False)


SABOTAGES: dict[str, Sabotage] = {
    "content not synced": Sabotage(("local", "relay"), doNotSyncContent),
    "content of the queue not synced": Sabotage(("relay", "refused"), doNotSyncLetters),
    "content of the queue not synced, long": Sabotage(("longer",), doNotSyncLetters),
    "content of a mailbox not synced": Sabotage(("group",), doNotSyncMail),
    "content of a mailbox not synced, long": Sabotage(("long",), doNotSyncMail),
    "syncfs left out": Sabotage(("local", "crowd"), lambda patch: _deaf(patch, World, "syncfs")),
    "fsync of a group left out": Sabotage(("group",), lambda patch: patch(Commits, "sync", lambda self, touched: None)),
    "no folder synced": Sabotage(("local", "relay"), lambda patch: patch(Touched, "folder", lambda *_: None)),
    "incoming not synced": Sabotage(("relay",), lambda patch: _without(patch, "/incoming")),
    "holding not synced": Sabotage(("held",), lambda patch: _without(patch, "/holding")),
    "new not synced": Sabotage(("local",), lambda patch: _without(patch, "/new")),
    "mailbox not synced in its parent": Sabotage(
        ("group",), lambda patch: patch(inbox.Box, "chain", lambda self, touched: None)
    ),
    "found in a mailbox, not synced": Sabotage(
        ("twins", "group"), lambda patch: patch(inbox.Box, "names", lambda self, touched: None), at="syncfs"
    ),
    "work folder not synced in its parents": Sabotage(("relay",), doNotSyncParents),
    "parents of an earlier process not synced": Sabotage(("relay",), doTrustParents, outcomes=("killed",), at="fsync"),
    "folder kept whose sync failed": Sabotage(("local",), doKeepFailedFolders, outcomes=("EIO",), at="fsync"),
    "serial not synced": Sabotage(("local",), doNotSyncNumbers),
    "serial not synced in its folder": Sabotage(("relay",), doNotProveNumbers),
    "nothing waits for the disk": Sabotage(("local",), doAnswerAtOnce),
    "reply before commit": Sabotage(("relay",), doAnswerClients, at="fsync"),
    "reply after the first of two syncs": Sabotage(("local",), doAnswerAfterOneSync),
    "name given before the sync": Sabotage(("local",), doNameEarly, outcomes=("names", "torn"), at="syncfs"),
    "removed before the copy is durable": Sabotage(("twins",), doNotAwaitDelivery),
    "removed before the receipt": Sabotage(("relay",), doRemoveWhenTried),
    "a broken call taken for a receipt": Sabotage(("relay",), doBelieveBrokenCalls),
    "notice not awaited": Sabotage(("refused",), doNotAwaitNotices),
    "removed before the notice": Sabotage(("refused",), doForgetFirst),
    "failed sync tried again": Sabotage(("local", "relay"), doSyncTwice, outcomes=("EIO",), at="fsync"),
    "failed sync ignored": Sabotage(("local", "relay"), doIgnoreFaults, outcomes=("EIO",), at="fsync"),
    "checksum not compared": Sabotage(
        ("relay",), doNotCheck, outcomes=("torn",), at="fsync /backend/incoming/B", seeds=60
    ),
    "one of several copies awaited": Sabotage(("list",), doAwaitOneCopy, outcomes=("EIO", "ENOSPC"), at="create"),
    "earlier delivery not looked for": Sabotage(("split",), doNotLookInMailboxes),
    "attempts not written down": Sabotage(
        ("bounce",),
        doNotRecord,
        "an attempt that is forgotten is made again: whoever has the message already may have it twice, as after any"
        " crash between the 250 of the next hop and the sync of what was noted",
    ),
    "attempts not synced": Sabotage(
        ("due",),
        lambda patch: patch(Commits, "alongside", lambda *_: None),
        "as above: no sync of an attempt is ever waited for",
    ),
    "writing not begun early": Sabotage(
        ("group",), lambda patch: _deaf(patch, World, "begin"), "it only saves time: the fsync that follows proves"
    ),
}


def found(sabotage: Sabotage, patch: Patch, folder: str, limit: int = 0) -> tuple[str, int]:
    """
    Look for what a sabotage does.

    @param limit: how many runs at most; 0: all there are.
    @return: the first failure, empty where there is none; and how many runs that took.
    """
    sabotage.apply(patch)
    plans = []
    for name in sabotage.stories:
        every = cases([point for point in points(name, folder) if point[2].startswith(sabotage.at)])
        plans += [
            (name, replace(cut, seed=seed))
            for cut in every
            for seed in range(sabotage.seeds)
            if not sabotage.outcomes or cut.outcome in sabotage.outcomes
        ]
    Random(1).shuffle(plans)
    for number, (name, cut) in enumerate(plans[: limit or None], 1):
        run = Run(STORIES[name], cut, folder)
        if run.faults:
            return shown(name, cut, "", run.faults), number
    return "", len(plans[: limit or None])


def main(names: list[str]) -> int:
    """The command. @param names: which; none: all. @return: the exit status."""
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    bad = 0
    with playground() as folder:
        for name in names or SABOTAGES:
            sabotage = SABOTAGES[name]
            scope = Scope(folder)
            failure, runs = found(sabotage, scope.patch, folder)
            scope.close()
            bad += bool(failure) == bool(sabotage.harmless)
            first = failure.splitlines()[1].strip() if failure else f"not found; {sabotage.harmless or 'IT SHOULD BE'}"
            print(f"{name}: {runs} runs: {first}", flush=True)
    return 1 if bad else 0


__all__ = ["SABOTAGES", "Sabotage", "found"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
