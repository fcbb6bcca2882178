"""Group commit: how many syncs there are, which ones, and who is told what."""

import errno
from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.mail.reply import Refused
from epost.storage.disk import Disk, IDisk
from epost.storage.durable import Commits, IWork, Nothing, Touched, makeFolder
from tests.storage.contracts import HEADING
from tests.world.disk import OUTCOMES, World
from tests.world.story import BOX, Story


@implementer(IWork)
class Trace:
    """A work that notes what is done with it. @ivar step: what its phases do, in order."""

    def __init__(self, *phases: Callable[[], bool], quick: bool = False) -> None:
        self.quick = quick
        self.phases = list(phases)
        self.notes: list[str] = []

    def step(self, touched: Touched) -> bool:
        """The next phase."""
        self.notes.append("step")
        return self.phases.pop(0)()

    def undo(self) -> None:
        """Note it."""
        self.notes.append("undo")

    def settled(self, durable: bool) -> None:
        """Note it."""
        self.notes.append("durable" if durable else "failed")


class CommitsTests(SynchronousTestCase):
    """L{Commits} on the simulated disk, with a thread that works when it is told."""

    def start(self, mode: str, believed: bool = True) -> None:
        """A story up to its start, the first block of numbers taken."""
        self.world = World()
        self.world.believed = believed
        self.story = Story(self.world, mode)
        self.story.start()
        self.story.mail()
        self.story.turns.run()
        self.world.log.clear()

    def syncs(self) -> list[tuple[str, str]]:
        """The syncs so far."""
        return [each for each in self.world.log if each[0] in ("fsync", "syncfs")]

    def group(self) -> None:
        """One message, and while it is written three more."""
        for _ in range(4):
            self.story.queue()
        self.story.turns.run()

    def test_roles(self) -> None:
        """The real disk and the works claim their roles."""
        self.assertTrue(verifyObject(IDisk, Disk()))
        self.assertTrue(verifyObject(IWork, Nothing()))
        self.assertTrue(verifyObject(IWork, Trace()))
        self.start("auto")
        self.assertTrue(verifyObject(IWork, self.story.inbox.draft(BOX, self.story.name(), HEADING)))

    def test_fsync(self) -> None:
        """Each file once, the folder once for the group; writing is begun for all before the first is waited for."""
        self.start("fsync")
        self.group()
        paths = [path for _, path in self.syncs()]
        self.assertEqual(paths[1::4], ["/work/incoming"] * 2)  # behind the one file of the first group, and the three
        self.assertEqual((len(paths), paths.count("/work/incoming")), (6, 2))
        kinds = [kind for kind, path in self.world.log if kind in ("begin", "fsync")]
        self.assertEqual(kinds, ["fsync"] * 2 + ["begin"] * 3 + ["fsync"] * 4)

    def test_syncfs(self) -> None:
        """One call for each group."""
        self.start("syncfs")
        self.group()
        self.assertEqual([kind for kind, _ in self.syncs()], ["syncfs", "syncfs"])

    def test_auto(self) -> None:
        """A message alone is synced by itself, several by one call."""
        self.start("auto")
        self.group()
        self.assertEqual([kind for kind, _ in self.syncs()], ["fsync", "fsync", "syncfs"])

    def test_aloneBetweenCrowds(self) -> None:
        """Behind several one alone is synced by one call too, as more are about to come; the next alone by itself."""
        self.start("auto")
        self.group()
        for expected in ["syncfs"], ["fsync", "fsync"]:
            before = len(self.syncs())
            self.story.queue()
            self.story.turns.run()
            self.assertEqual([kind for kind, _ in self.syncs()[before:]], expected)

    def test_notBelieved(self) -> None:
        """Where syncfs cannot be believed each file is synced, whatever is asked for."""
        for mode in ("auto", "syncfs"):
            self.start(mode, believed=False)
            self.group()
            self.assertEqual({kind for kind, _ in self.syncs()}, {"fsync"})

    def test_openedBefore(self) -> None:
        """The descriptor for syncfs is opened before the first message is written, and it is one."""
        world = World()
        story = Story(world, "syncfs")
        story.start()
        story.queue()
        story.turns.run()
        opened = world.log.index(("openFolder", "/work/incoming"))
        self.assertLess(opened, world.log.index(("create", "/work/incoming/B0000000001")))
        self.assertEqual(world.log.count(("openFolder", "/work/incoming")), 1)

    def test_twoFileSystems(self) -> None:
        """Queue and mailboxes on two file systems are told apart: each gets its call."""
        world = World()
        world.volumes["/work/inbox"] = 2
        story = Story(world, "syncfs")
        story.start()
        story.queue()
        story.turns.run()
        world.log.clear()
        story.queue()
        story.mail()
        story.queue()
        story.turns.run()
        folders = [path for kind, path in world.log if kind == "syncfs"]
        self.assertIn("/work/inbox/user1/new", folders)
        self.assertIn("/work/incoming", folders)
        self.assertEqual(len(story.acknowledged), 4)

    def test_syncsAreShared(self) -> None:
        """In a Maildir the sync of one message's content is the sync of the message before's name."""
        self.start("syncfs")
        self.story.mail()
        self.story.mail()
        self.story.turns.run()
        self.assertEqual(len(self.syncs()), 3)

    def test_quick(self) -> None:
        """What is quick is done when a tick begins, by whoever begins it; what may be long in the thread."""
        self.start("auto")
        jobs: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        commits = Commits(self.world, "auto", lambda f, *a: jobs.append((f, a)), self.story.turns.callFromThread)

        def full() -> bool:
            raise OSError(errno.ENOSPC, "full")

        first = Nothing()
        commits.commit(first)
        quick = Trace(lambda: False, lambda: True, quick=True)
        slow = Trace(lambda: True)
        broken = Trace(full, quick=True)
        ends = [commits.commit(work) for work in (slow, quick, broken)]
        for expected in (
            ([], [], []),  # the first tick, in which there is nothing but what waits
            ([], ["step"], ["step"]),
        ):
            self.assertEqual((slow.notes, quick.notes, broken.notes), expected)
            function, arguments = jobs.pop()
            function(*arguments)
            self.story.turns.run()
        self.assertEqual((slow.notes, broken.notes), (["step", "durable"], ["step", "undo", "failed"]))
        self.assertEqual(quick.notes, ["step", "step"])
        function, arguments = jobs.pop()
        function(*arguments)
        self.story.turns.run()
        self.assertEqual(quick.notes, ["step", "step", "durable"])
        self.assertEqual(self.failureResultOf(ends.pop(), Refused).value.reply.code, 452)
        for end in ends:
            self.successResultOf(end)

    def test_oneCallForAGroup(self) -> None:
        """The reactor is called once for each group."""
        self.start("auto")
        calls = []
        commits = Commits(self.world, "auto", self.story.turns.callInThread, lambda f, *a: (calls.append(f), f(*a)))
        fired = [commits.commit(Nothing()) for _ in range(5)]
        self.story.turns.run()
        self.assertEqual(len(calls), 2)
        for each in fired:
            self.successResultOf(each)

    def test_oneFails(self) -> None:
        """A work that fails, or has a bug, fails alone, and is undone; the others of its group are durable."""
        self.start("auto")
        commits = Commits(self.world, "auto", self.story.turns.callInThread, self.story.turns.callFromThread)
        commits.commit(Nothing())

        def full() -> bool:
            raise OSError(28, "full")

        works = [Trace(lambda: True), Trace(full), Trace(lambda: bool(1 // 0)), Trace(lambda: False, lambda: True)]
        fired: list[Deferred[None]] = [commits.commit(work) for work in works]
        self.story.turns.run()
        self.successResultOf(fired[0])
        self.assertEqual(self.failureResultOf(fired[1], Refused).value.reply.code, 452)
        self.assertEqual(self.failureResultOf(fired[2], Refused).value.reply.code, 451)
        self.successResultOf(fired[3])
        self.assertEqual(
            [work.notes for work in works],
            [["step", "durable"], ["step", "undo", "failed"], ["step", "undo", "failed"], ["step", "step", "durable"]],
        )

    def test_recordedIsSyncedAlong(self) -> None:
        """An attempt that was written down is synced with the next message, and at stop."""
        self.start("fsync")
        name = self.story.queue()
        self.story.turns.run()
        self.world.log.clear()
        entry = self.story.spool.record(self.story.entry(name), attempted())
        self.assertEqual(self.syncs(), [])
        released = self.story.spool.release()
        self.story.turns.run()
        self.successResultOf(released)
        self.assertEqual([path for _, path in self.syncs()], [f"/work/holding/{entry.name}", "/work/holding"])

    def test_makeFolder(self) -> None:
        """Folders are made as deep as needed, each synced in its parent."""
        world = World()
        makeFolder(world, "/work/a/b")
        made = [each for each in world.log if each[0] in ("mkdir", "fsync")]
        self.assertEqual(made[-3:], [("fsync", "/work"), ("mkdir", "/work/a/b"), ("fsync", "/work/a")])

    def test_makeFolderAfterAKill(self) -> None:
        """What a killed process made and did not sync is synced by the next one, up to the root."""
        world = World()
        world.mkdir("/work/a")
        world.mkdir("/work/a/b")
        makeFolder(world, "/work/a/b")
        self.assertIn("/work/a/b", world.after(Random(0), OUTCOMES["nothing"]).paths())

    def test_makeFolderAfterAFault(self) -> None:
        """A folder whose sync failed is made anew by the next start: a second sync of the old one proves nothing."""
        world = World()
        world.fault = lambda operation, path: errno.EIO if (operation, path) == ("fsync", "/work") else 0
        self.assertRaises(OSError, makeFolder, world, "/work/a")
        world.fault = lambda operation, path: 0
        makeFolder(world, "/work/a")
        self.assertIn("/work/a", world.after(Random(0), OUTCOMES["nothing"]).paths())

    def test_makeFolderInAReadOnlySystem(self) -> None:
        """A folder that was there before us need not be synced where that cannot be done; one that we made must."""
        world = World()
        world.fault = lambda operation, path: errno.EROFS if (operation, path) == ("fsync", "/") else 0
        makeFolder(world, "/work/a")
        world.fault = lambda operation, path: errno.EINVAL if operation == "fsync" else 0
        self.assertRaises(OSError, makeFolder, world, "/work/b")


def attempted():  # type: ignore[no-untyped-def]
    """The story's attempt."""
    from tests.world.story import attempt

    return attempt()
