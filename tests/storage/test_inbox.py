"""The mailboxes as Maildirs: the contract, and what other programs do to them meanwhile."""

import os

from twisted.trial.unittest import SynchronousTestCase

from epost.interfaces import Usage
from epost.mail.name import numbered
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from epost.smtp import wording
from epost.storage.disk import Disk
from epost.storage.durable import Commits
from epost.storage.inbox import Inbox
from epost.storage.meter import FRESH
from epost.storage.places import Places
from tests.storage.contracts import CONTENT, HEADING, SEED, USER1, InboxContract
from tests.storage.memory import MemoryContent
from tests.storage.test_spool import atOnce
from tests.world.disk import World
from tests.world.story import BOX, FOLDER, Story, Turns


class Unreadable(MemoryContent):
    """It breaks off."""

    def parts(self):  # type: ignore[no-untyped-def]
        """One part, and no more."""
        yield b"x" * 100000
        raise Refused(Reply(451, ("gone",), "4.3.0"))


class FileInboxTests(InboxContract):
    """L{Inbox} on this machine's disk."""

    def setUp(self) -> None:
        """An empty work folder."""
        self.root = self.mktemp()
        os.mkdir(self.root)
        self.now = 0.0
        self.inbox = self.make(since=1)

    def make(self, since: int) -> Inbox:
        """Mailboxes whose process gave out numbers from C{since} on."""
        disk = Disk()
        places = Places(self.root, "inbox\\%USERNAME%")
        commits = Commits(disk, "auto", atOnce, atOnce)
        return Inbox(disk, places, commits, since, lambda: self.now)

    def next(self) -> Inbox:
        """All numbers so far are of an earlier process."""
        return self.make(since=10**9)

    def folder(self, name: str, user: str = "user1") -> str:
        """A folder of a mailbox."""
        return f"{self.root}/inbox/{user}/{name}"

    def stored(self, box: Local) -> dict[str, bytes]:
        """What stands in C{new}."""
        found = {}
        path = self.folder("new", box.user)
        for text in os.listdir(path) if os.path.exists(path) else ():
            self.assertTrue(text.endswith(".MSG"))
            with open(f"{path}/{text}", "rb") as file:
                found[text.removesuffix(".MSG")] = file.read()
        return found

    def test_maildir(self) -> None:
        """Any Maildir reader can open it; nothing is left in tmp."""
        self.write()
        self.assertEqual(sorted(os.listdir(self.folder("."))), ["cur", "new", "tmp"])
        self.assertEqual(os.listdir(self.folder("tmp")), [])
        self.assertEqual(os.stat(self.folder("new/B0000000186.MSG")).st_mode & 0o777, 0o600)

    def test_readMeanwhile(self) -> None:
        """A message that was read since, so that it lies in cur/ with flags, is delivered all the same."""
        self.write()
        for flags in ("", ":2,", ":2,S", ":2,FRS"):
            [there] = os.listdir(self.folder("cur")) or [""]
            old = self.folder(f"cur/{there}") if there else self.folder("new/B0000000186.MSG")
            os.rename(old, self.folder(f"cur/B0000000186.MSG{flags}"))
            for origin in (SEED, SEED.again(1)):
                self.successResultOf(self.next().deliver(USER1, origin, HEADING, MemoryContent(CONTENT)))
            self.assertEqual(self.stored(USER1), {})

    def test_noticeIsAnother(self) -> None:
        """A notice about a message is not taken for it."""
        self.write()
        notice = SEED.again(1).notice(1)
        self.successResultOf(self.next().deliver(USER1, notice, HEADING, MemoryContent(CONTENT)))
        self.assertEqual(sorted(self.stored(USER1)), ["B0000000186", "B0000000186-R0001-E001"])

    def test_neverReplaces(self) -> None:
        """A draft whose name stands there is refused, and the file stays as it is."""
        self.write()
        draft = self.inbox.draft(USER1, SEED, HEADING)
        draft.write(b"another")
        self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply.code, 451)
        self.assertEqual(self.stored(USER1), {"B0000000186": self.lf()})
        self.assertEqual(os.listdir(self.folder("tmp")), [])

    def test_removedMailbox(self) -> None:
        """A mailbox that was removed under a running daemon is made anew."""
        self.write()
        os.unlink(self.folder("new/B0000000186.MSG"))
        for folder in ("tmp", "new", "cur", "."):
            os.rmdir(self.folder(folder).removesuffix("/."))
        self.write(numbered(187))
        self.assertEqual(list(self.stored(USER1)), ["B0000000187"])

    def test_usageOfWhatOthersDid(self) -> None:
        """What a reader deletes is seen within seconds; what it moves to cur/ still counts."""
        self.write()
        self.write(numbered(187))
        both = self.inbox.usage(USER1)
        os.rename(self.folder("new/B0000000186.MSG"), self.folder("cur/B0000000186.MSG:2,S"))
        os.unlink(self.folder("new/B0000000187.MSG"))
        os.utime(self.folder("new"), (9, 9))  # the clock of the file system may be coarse
        self.assertEqual(self.inbox.usage(USER1), both)
        self.now = FRESH
        self.inbox.usage(USER1)
        self.assertEqual(self.inbox.usage(USER1), Usage(both.octets // 2, 1))

    def test_watchers(self) -> None:
        """Who watches hears of each delivery and each new count, once somebody has asked for the usage."""
        heard: list[tuple[Local, Usage]] = []
        self.inbox.subscribe(lambda box, usage: heard.append((box, usage)))
        self.write()
        self.assertEqual(heard, [])
        one = self.inbox.usage(USER1)
        self.write(numbered(187))
        self.assertEqual(heard, [(USER1, Usage(2 * one.octets, 2))])
        os.unlink(self.folder("new/B0000000187.MSG"))
        os.utime(self.folder("new"), (9, 9))
        self.now = FRESH
        self.inbox.usage(USER1)
        self.assertEqual(heard[1:], [(USER1, one)])

    def test_manyAtOneTime(self) -> None:
        """Of drafts that were all begun in an empty mailbox one goes beyond the limit; the others hear 450."""
        size = len(self.lf())
        for limit, taken in ((Usage(2 * size + 1), 3), (Usage(3 * size), 3), (Usage(0, 5), 5), (Usage(), 40)):
            self.root = self.mktemp()
            os.mkdir(self.root)
            turns = Turns()
            commits = Commits(Disk(), "auto", turns.callInThread, turns.callFromThread)
            inbox = Inbox(Disk(), Places(self.root, "inbox\\%USERNAME%"), commits, 1, lambda: 0.0)
            inbox.limit = {USER1: limit}.__getitem__
            drafts = [inbox.draft(USER1, numbered(number), HEADING) for number in range(1, 41)]
            for draft in drafts:
                draft.write(CONTENT)
            fired = [draft.commit() for draft in drafts]
            turns.run()
            for each in fired[:taken]:
                self.assertIsNone(self.successResultOf(each))
            for each in fired[taken:]:
                self.assertEqual(self.failureResultOf(each, Refused).value.reply, wording.boxFull())
            self.assertEqual((len(self.stored(USER1)), os.listdir(self.folder("tmp"))), (taken, []))
            self.assertEqual(inbox.usage(USER1), Usage(taken * size, taken))

    def test_fullForTheQueue(self) -> None:
        """What comes from the queue is put off too, before it is read; what is in the mailbox already is delivered."""
        self.write()
        self.write(numbered(187))
        content = MemoryContent(CONTENT)
        for inbox, origin in ((self.inbox, SEED), (self.next(), numbered(187)), (self.next(), SEED.again(1))):
            inbox.limit = lambda box: Usage(0, 2)
            self.successResultOf(inbox.deliver(USER1, origin, HEADING, content))
        inbox.limit = lambda box: Usage(0, 2)
        refused = self.failureResultOf(inbox.deliver(USER1, numbered(188), HEADING, Unreadable(b"")), Refused)
        self.assertEqual(refused.value.reply, wording.boxFull())
        self.assertEqual(sorted(self.stored(USER1)), ["B0000000186", "B0000000187"])
        self.successResultOf(inbox.deliver(USER1, numbered(188), HEADING, content, bounded=False))
        os.unlink(self.folder("new/B0000000186.MSG"))
        os.unlink(self.folder("new/B0000000187.MSG"))
        os.utime(self.folder("new"), (9, 9))
        self.now = FRESH
        self.successResultOf(inbox.deliver(USER1, numbered(189), HEADING, content))

    def test_faultOfTheQueue(self) -> None:
        """Content that cannot be read refuses this delivery, with its own words, and leaves nothing."""

        fired = self.inbox.deliver(USER1, SEED, HEADING, Unreadable(b""))
        self.assertEqual(self.failureResultOf(fired, Refused).value.reply.lines, ("gone",))
        self.assertEqual((self.stored(USER1), os.path.exists(self.folder("tmp/B0000000186.MSG"))), ({}, False))

    def test_noMailbox(self) -> None:
        """A user who can have none is refused before anything is written."""
        self.assertEqual(self.assertRaises(Refused, self.inbox.draft, Local("", "x"), SEED, b"").reply.code, 550)
        fired = self.inbox.deliver(Local("x" * 300, "x"), SEED, b"", MemoryContent(b""))
        self.assertEqual(self.failureResultOf(fired, Refused).value.reply.code, 550)


class FaultyInboxTests(SynchronousTestCase):
    """Mailboxes on a disk that fails or is full."""

    def setUp(self) -> None:
        """A story on the simulated disk, up to its start."""
        self.world = World()
        self.story = Story(self.world, "auto")
        self.story.start()

    def test_full(self) -> None:
        """A full disk: 452, nothing is left, and when there is room again mail goes on."""
        self.story.name()
        self.world.room = 100
        self.story.mail()
        self.story.mail(long=True)
        self.story.turns.run()
        self.assertEqual(len(self.story.refused), 2)
        self.world.room = None
        good = self.story.mail()
        self.story.turns.run()
        self.assertEqual(self.story.acknowledged, {good.stem})
        self.assertEqual(self.world.names(f"{FOLDER}/tmp"), [])

    def test_failedSyncUnmakes(self) -> None:
        """Folders whose sync failed are made anew: a second sync of the old ones would prove nothing."""
        self.story.name()
        self.world.fault = lambda operation, path: 5 if operation == "syncfs" else 0
        self.story.mail()
        self.story.turns.run()
        self.assertNotIn(FOLDER, self.world.paths())

    def test_oneOfAGroupFails(self) -> None:
        """In a mailbox that is made for a group one message that fails takes no folder from the others."""
        first = self.story.queue()  # behind its tick the others come together
        names = [self.story.mail() for _ in range(3)]
        broken = f"{names[1]}"
        self.world.fault = lambda operation, path: 28 if operation == "write" and broken in path else 0
        self.story.turns.run()
        self.assertEqual(self.story.refused, {names[1].stem})
        self.assertEqual(self.story.acknowledged, {first.stem, names[0].stem, names[2].stem})

    def test_takenBack(self) -> None:
        """A message whose name could not be synced does not count, and the sum goes on right."""
        self.story.mail()
        self.story.turns.run()
        one = self.story.inbox.usage(BOX)
        broken = iter((0, 5, 0))  # of its two syncs the second
        self.world.fault = lambda operation, path: next(broken, 0) if operation in ("syncfs", "fsync") else 0
        self.story.mail()
        self.story.turns.run()
        self.assertEqual((len(self.story.refused), self.story.inbox.usage(BOX)), (1, one))
        self.story.mail()
        self.story.turns.run()
        self.assertEqual(self.story.inbox.usage(BOX).messages, 2)

    def test_usageRaisesRefused(self) -> None:
        """A mailbox that cannot be measured is told as Refused."""
        self.story.mail()
        self.story.turns.run()
        self.world.fault = lambda operation, path: 5
        self.assertEqual(self.assertRaises(Refused, self.story.inbox.usage, BOX).reply.code, 451)

    def test_tooLateToDiscard(self) -> None:
        """What is to be committed is not given up while its mailbox is measured."""
        self.story.inbox.limit = lambda box: Usage(10**6)
        draft = self.story.inbox.draft(BOX, self.story.name(), b"")
        draft.write(b"x" * 100)
        fired = draft.commit()
        draft.discard()
        self.story.turns.run()
        self.assertIsNone(self.successResultOf(fired))
        [name] = self.world.names(f"{FOLDER}/new")
        self.assertEqual(self.world.content(f"{FOLDER}/new/{name}"), b"x" * 100)

    def test_cannotBeMeasured(self) -> None:
        """A mailbox with a limit that cannot be measured takes nothing now, and nothing is left of the message."""
        self.story.inbox.limit = lambda box: Usage(10**6)
        draft = self.story.inbox.draft(BOX, self.story.name(), b"")
        draft.write(b"x" * 100000)
        self.assertEqual(len(self.world.names(f"{FOLDER}/tmp")), 1)
        self.world.fault = lambda operation, path: 5 if operation == "names" else 0
        fired = draft.commit()
        self.story.turns.run()
        self.assertEqual(self.failureResultOf(fired, Refused).value.reply.code, 451)
        self.assertEqual([path for path in self.world.paths() if path.startswith(FOLDER)], [])


del InboxContract  # trial must not run it bare
