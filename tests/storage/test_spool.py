"""The queue as files: the contract, what names and files say, and every way in which a file can be damaged."""

import errno
import os
import resource

from twisted.trial.unittest import SynchronousTestCase

from epost.interfaces import ISpool, Waiting
from epost.mail.entry import Attempt, Fate, Outcome
from epost.mail.name import numbered
from epost.mail.reply import Refused, Reply
from epost.storage import format
from epost.storage.disk import Disk
from epost.storage.draft import SHORT
from epost.storage.durable import Commits
from epost.storage.spool import FRESH, Spool
from tests.storage.contracts import CONTENT, ENVELOPE, QUEUED, SEED, SpoolContract, failed
from tests.world.disk import World
from tests.world.story import Story


def atOnce(function: object, *arguments: object) -> None:
    """A thread, or the reactor, that runs a function where it is called."""
    assert callable(function)
    function(*arguments)


class FileSpoolTests(SpoolContract):
    """L{Spool} on this machine's disk."""

    def setUp(self) -> None:
        """An empty work folder."""
        self.root = self.mktemp()
        self.spool = self.next()

    def next(self) -> Spool:
        """What is left."""
        disk = Disk()
        return Spool(disk, self.root, Commits(disk, "auto", atOnce, atOnce))

    def there(self, folder: str) -> list[str]:
        """Names."""
        return sorted(os.listdir(f"{self.root}/{folder}"))

    def octets(self, path: str) -> bytes:
        """A file."""
        with open(f"{self.root}/{path}", "rb") as file:
            return file.read()

    def test_names(self) -> None:
        """The names of the spec, from acceptance to the end."""
        entry = self.put()
        self.assertEqual(self.there("incoming"), ["B0000000186"])
        after = self.spool.record(entry, failed())
        self.assertEqual((self.there("incoming"), self.there("holding")), ([], ["B0000000186-R0001"]))
        self.spool.bury(after, "nobody\nwants it")
        self.assertEqual((self.there("holding"), self.there("dead")), ([], ["B0000000186-R0001"]))
        self.assertTrue(self.octets("dead/B0000000186-R0001").endswith(b"\ndead: nobody\\nwants it\n"))

    def test_fresh(self) -> None:
        """What has just come, and is not long, is handed on without a look at the disk, once."""
        self.put()
        self.put(numbered(187), content=b"x" * 100_000)
        for name, there in ((SEED, True), (numbered(187), False)):
            os.unlink(f"{self.root}/incoming/{name}")
            if there:
                self.assertEqual(b"".join(self.spool.content(name).parts()), CONTENT)
            self.assertEqual(self.refusal(self.spool.content, name).code, 554)

    def test_freshIsBounded(self) -> None:
        """Only so many are kept in memory, those that came last."""
        for number in range(FRESH + 1):
            self.put(numbered(number + 1))
            os.unlink(f"{self.root}/incoming/{numbered(number + 1)}")
        self.assertEqual(self.refusal(self.spool.content, numbered(1)).code, 554)
        self.assertEqual(self.spool.content(numbered(2)).size, len(CONTENT))

    def test_oneReplyForMany(self) -> None:
        """What a next hop says of a hundred recipients is written down once, however long it is."""
        reply, other = Reply(451, ("x" * 500,) * 20, "4.0.0"), Reply(452, ("y",))
        outcomes = [Outcome(place, Fate.DEFERRED, other if place == 7 else reply, 9.0) for place in range(100)]
        after = self.spool.record(self.put(), Attempt(QUEUED, 1.0, "host", "", tuple(outcomes)))
        self.assertEqual(self.next().load(after.name).attempts, after.attempts)
        self.assertLess(os.path.getsize(f"{self.root}/holding/{after.name}"), 20_000)

    def test_unremoved(self) -> None:
        """What could not be removed is removed with the next, or at the end: it must not be delivered again."""
        entries = [self.put(numbered(number)) for number in range(1, 5)]
        unlink, asked = os.unlink, []

        def refuse(path: str) -> None:
            asked.append(path)
            raise OSError(errno.EPERM, "no")

        self.patch(os, "unlink", refuse)
        for entry in entries[:2]:
            self.spool.remove(entry)
        self.assertEqual((len(asked), len(self.there("incoming")), self.spool.count()), (2, 4, 2))
        self.patch(os, "unlink", unlink)
        self.spool.remove(entries[2])
        self.assertEqual(self.there("incoming"), [str(entries[3].name)])
        self.patch(os, "unlink", refuse)
        self.spool.remove(entries[3])
        self.patch(os, "unlink", unlink)
        self.successResultOf(self.spool.release())
        self.assertEqual(self.there("incoming"), [])

    def test_folderAway(self) -> None:
        """While a folder is away its messages are not gone: they are read later, and removed later."""
        entry, other = self.put(numbered(1)), self.put(numbered(2))
        third = self.put(numbered(3))
        os.rename(f"{self.root}/incoming", f"{self.root}/away")
        self.assertEqual(self.refusal(self.spool.load, entry.name).code, 451)
        self.spool.remove(other)
        os.rename(f"{self.root}/away", f"{self.root}/incoming")
        self.assertEqual(self.spool.load(entry.name), entry)
        self.spool.remove(third)
        self.assertEqual(self.there("incoming"), [str(entry.name)])

    def test_emptied(self) -> None:
        """What was tried was acknowledged: it is never dropped, though nothing is left of it."""
        for octets in (b"", b"\0" * 5000):
            after = self.spool.record(self.put(), failed())
            with open(f"{self.root}/holding/{after.name}", "wb") as file:
                file.write(octets)
            self.assertEqual(self.refusal(self.spool.load, after.name).code, 554)
        self.assertEqual(self.there("dead"), ["B0000000186-R0001", "B0000000186-R0001+"])

    def test_noFiles(self) -> None:
        """What is no file is left alone; a link is never followed; both stop no start and nobody else's message."""
        self.put()
        os.mkdir(f"{self.root}/incoming/B0000000187")
        os.mkfifo(f"{self.root}/incoming/B0000000188")
        os.mkfifo(f"{self.root}/holding/B0000000186-R0002")
        os.symlink("/etc/passwd", f"{self.root}/incoming/B0000000189")
        os.symlink("nowhere", f"{self.root}/incoming/B0000000186-R0001")
        reborn = self.next()
        self.assertEqual([str(each.name) for each in reborn.adopt(9)], ["B0000000186", "B0000000189"])
        self.assertEqual(reborn.load(SEED).size, len(CONTENT))
        self.assertEqual(self.refusal(reborn.load, numbered(189)).code, 554)
        self.assertEqual(self.there("dead"), ["B0000000186-R0001", "B0000000186-R0002", "B0000000189"])
        self.assertEqual(reborn.count(), 1)

    def test_readable(self) -> None:
        """An operator reads envelope, content and history with any tool; the content stands as it came."""
        self.spool.record(self.put(), failed())
        octets = self.octets("holding/B0000000186-R0001")
        self.assertTrue(octets.startswith(b"epost 1 head "))
        for text in (b'"baito@test.jp"', b"\n\n" + CONTENT, b'"fate": "refused"', b"Please, mail from a valid IP"):
            self.assertIn(text, octets)

    def test_private(self) -> None:
        """Nobody else may read mail."""
        self.put()
        self.assertEqual(os.stat(f"{self.root}/incoming/B0000000186").st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(f"{self.root}/incoming").st_mode & 0o777, 0o700)

    def test_highest(self) -> None:
        """The highest number of all folders is told to the serial."""
        self.assertEqual(self.spool.highest, 0)
        self.spool.record(self.put(numbered(5)), failed())
        self.put(numbered(4))
        self.spool.bury(self.put(numbered(12345678901)), "why")
        self.assertEqual(self.next().highest, 12345678901)

    def test_moved(self) -> None:
        """What an operator moves from dead to incoming is tried at once, with its history."""
        after = self.spool.record(self.put(), failed())
        self.spool.bury(after, "why")
        os.rename(f"{self.root}/dead/B0000000186-R0001", f"{self.root}/incoming/B0000000186-R0001")
        reborn = self.next()
        self.assertEqual(reborn.adopt(9), [Waiting(after.name, 0.0)])
        self.assertEqual(reborn.load(after.name), after)

    def test_foreign(self) -> None:
        """A file that is no message is left where it is."""
        with open(f"{self.root}/incoming/README", "w"):
            pass
        self.assertEqual((self.next().adopt(9), self.there("incoming")), ([], ["README"]))

    def test_twoNames(self) -> None:
        """Of one message under two names the one with the longer history is taken; the other goes to dead."""
        entry = self.put()
        old = self.octets("incoming/B0000000186")
        after = self.spool.record(entry, failed())
        with open(f"{self.root}/incoming/B0000000186", "wb") as file:
            file.write(old)
        reborn = self.next()
        self.assertEqual((reborn.count(), reborn.adopt(9)), (1, [Waiting(after.name, QUEUED + 120)]))
        self.assertEqual((self.there("incoming"), self.there("dead")), ([], ["B0000000186"]))

    def test_deadIsNotReplaced(self) -> None:
        """A name that stands in dead is not given twice."""
        for _ in range(3):
            self.spool.bury(self.put(), "why")
        self.assertEqual(self.there("dead"), ["B0000000186", "B0000000186+", "B0000000186++"])

    def test_everyDamage(self) -> None:
        """A file that is cut anywhere, or has one octet changed anywhere, is never taken for the message."""
        self.put()
        whole = self.octets("incoming/B0000000186")
        damaged = [whole[:end] for end in range(len(whole))]
        damaged += [whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :] for at in range(len(whole))]
        for octets in damaged:
            with open(f"{self.root}/incoming/B0000000186", "wb") as file:
                file.write(octets)
            self.assertEqual(self.refusal(self.spool.load, SEED).code, 554)
            self.assertEqual(self.there("incoming"), [])
            self.assertEqual(self.there("dead"), ["B0000000186"] if octets else [])
            if octets:
                os.unlink(f"{self.root}/dead/B0000000186")

    def test_nothingLeft(self) -> None:
        """What holds not one octet of a message, or was never sealed, was acknowledged to nobody and is dropped."""
        unfinished = format.UNSEALED + format.head(ENVELOPE, QUEUED) + CONTENT
        for octets in (b"", bytes(5000), unfinished):
            with open(f"{self.root}/incoming/B0000000186", "wb") as file:
                file.write(octets)
            self.refusal(self.spool.load, SEED)
            self.assertEqual((self.there("incoming"), self.there("dead")), ([], []))

    def test_tornHistory(self) -> None:
        """A torn line of the history is passed over, wherever it is cut; lines behind it count."""
        entry = self.put()
        path = f"{self.root}/incoming/B0000000186"
        line = format.line(failed())
        whole = self.octets("incoming/B0000000186")
        for end in range(len(line) - 1):
            with open(path, "wb") as file:
                file.write(whole + line[:end] + bytes(9) + format.line(failed(due=7.0)))
            self.assertEqual(
                self.spool.load(SEED),
                entry.after(failed(due=7.0)).__class__(SEED, ENVELOPE, QUEUED, len(CONTENT), (failed(due=7.0),)),
            )

    def test_cutWhileItIsRead(self) -> None:
        """Content that got shorter ends with Refused, never as if it were whole."""
        self.put(content=b"x" * 100000)
        content = self.spool.content(SEED)
        os.truncate(f"{self.root}/incoming/B0000000186", 70000)
        self.assertRaises(Refused, list, content.parts())

    def test_longIsNeverInMemory(self) -> None:
        """Long content goes to the file as it comes; until it is sealed it is nobody's."""
        draft = self.spool.draft(SEED, ENVELOPE, QUEUED)
        for _ in range(100):
            draft.write(b"x" * SHORT)
        self.assertGreater(os.stat(f"{self.root}/incoming/B0000000186").st_size, 99 * SHORT)
        self.assertTrue(self.octets("incoming/B0000000186").startswith(format.UNSEALED))
        self.successResultOf(draft.commit())
        self.assertEqual(self.spool.load(SEED).size, 100 * SHORT)

    def test_fileTooLarge(self) -> None:
        """A disk that takes no more, here by a limit of the kernel: 452 4.3.1, and nothing is left."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        draft = self.spool.draft(SEED, ENVELOPE, QUEUED)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, hard))
        try:
            for _ in range(1100):
                draft.write(b"x" * 2**16)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        refused = self.failureResultOf(draft.commit(), Refused).value.reply
        self.assertEqual((refused.code, refused.enhanced), (452, "4.3.1"))
        self.assertEqual((self.there("incoming"), self.spool.count()), ([], 0))

    def test_nameTaken(self) -> None:
        """A file that stands there is never replaced."""
        self.put()
        draft = self.spool.draft(SEED, ENVELOPE, QUEUED)
        draft.write(b"other")
        self.assertEqual(self.failureResultOf(draft.commit(), Refused).value.reply.code, 451)
        self.assertEqual(b"".join(self.spool.content(SEED).parts()), CONTENT)


class FaultyDiskTests(SynchronousTestCase):
    """A spool on a disk that fails or is full."""

    def setUp(self) -> None:
        """A story on the simulated disk, up to its start."""
        self.world = World()
        self.story = Story(self.world, "auto")
        self.story.start()

    def test_full(self) -> None:
        """A full disk: 452, nothing is left, and when there is room again mail goes on."""
        self.story.name()
        for room in (0, 10, 500):
            self.world.room = room
            name = self.story.name()
            draft = self.story.spool.draft(name, ENVELOPE, QUEUED)
            draft.write(b"x" * 1000)
            fired = draft.commit()
            self.story.turns.run()
            self.assertEqual(self.failureResultOf(fired, Refused).value.reply.enhanced, "4.3.1")
        self.assertEqual(self.world.names("/work/incoming"), [])
        self.world.room = None
        good = self.story.queue()
        self.story.turns.run()
        self.assertEqual(self.story.acknowledged, {good.stem})

    def test_recordOnAFullDisk(self) -> None:
        """
        An attempt that cannot be written down is known to this process, and its name and date tell the next; when there
        is room again it is written down with the attempt that follows.
        """
        name = self.story.queue()
        self.story.turns.run()
        self.world.room = 5
        after = self.story.spool.record(self.story.entry(name), failed())
        self.assertEqual(after, self.story.entry(name).after(failed()))
        self.assertEqual(self.world.names("/work/holding"), [str(after.name)])
        self.assertEqual(self.story.spool.load(after.name), after)
        self.world.room = None
        twice = self.story.spool.record(after, failed())
        self.assertEqual(self.story.spool.load(twice.name), twice)
        self.story = Story(self.world, "fsync")
        self.story.start()
        self.story.spool.adopt(1)
        self.assertEqual(self.story.spool.load(twice.name).attempts, (failed(), failed()))

    def test_noticeOnce(self) -> None:
        """While a notice waits none of its name is written."""
        name = numbered(1).notice(1)
        self.story.spool.draft(name, ENVELOPE, QUEUED).commit()
        self.story.turns.run()
        self.assertRaises(Refused, self.story.spool.draft, name, ENVELOPE, QUEUED)
        self.story.spool.remove(self.story.entry(name))
        self.story.spool.draft(name, ENVELOPE, QUEUED)

    def test_noticeLeftBehind(self) -> None:
        """While a notice of a process before waits, be it under another retry number, none of its name is written."""
        name = numbered(1).notice(1)
        self.world.put(f"/work/holding/{name}-R0001", b"")
        self.story = Story(self.world, "fsync")
        self.story.start()
        self.assertRaises(Refused, self.story.spool.draft, name, ENVELOPE, QUEUED)
        (left,) = self.story.spool.adopt(1)
        self.assertRaises(Refused, self.story.spool.load, left.name)  # it is empty, so it is dropped
        self.story.spool.draft(name, ENVELOPE, QUEUED)

    def test_renameFails(self) -> None:
        """Where the new name cannot be given the entry says which one the file has."""
        name = self.story.queue()
        self.story.turns.run()
        self.world.fault = lambda operation, path: 5 if operation == "rename" else 0
        after = self.story.spool.record(self.story.entry(name), failed())
        self.assertEqual((after.name, after.attempts), (name, (failed(),)))
        self.assertEqual(self.story.spool.load(after.name), after)

    def test_nothingRaises(self) -> None:
        """Whatever the disk does, only Refused comes out."""
        name = self.story.queue()
        self.story.turns.run()
        entry = self.story.entry(name)
        for operation in ("open", "read", "append", "rename", "unlink", "date", "status"):
            self.world.fault = lambda kind, path, operation=operation: 5 if kind == operation else 0  # type: ignore[misc]
            for function in (self.story.spool.load, self.story.spool.content):
                try:
                    function(name)
                except Refused as refused:
                    self.assertEqual(refused.reply.code, 451)
            self.assertEqual(self.story.spool.record(entry, failed()).attempts, (failed(),))
        self.world.fault = lambda kind, path: 5
        self.story.spool.bury(entry, "why")
        self.story.spool.remove(entry)


def role(spool: ISpool) -> ISpool:
    """The type checker's word that a Spool is one."""
    return spool


del SpoolContract  # trial must not run it bare
