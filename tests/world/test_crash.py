"""
The durability contract (house 5) on a disk that loses power after every single operation.

The last class breaks storage on purpose, in the ways that look harmless, and sees the same tests find it.
"""

import errno
from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.mail.reply import Refused
from epost.storage import draft, inbox, letter, serial
from epost.storage.disk import IDisk
from epost.storage.durable import Commits, Touched
from tests.world.disk import PowerLost, World
from tests.world.story import BOX, FOLDER, HEADING, QUEUED, Story, body, envelope

SEEDS = 5


def crashes(mode: str, commits: type[Commits] = Commits, fault: Callable[[str, str], int] | None = None) -> list[str]:
    """Play the story with a loss of power after each of its operations. @return: what was wrong, each once."""
    wrong: set[str] = set()
    lifetime, alive = 0, False
    while not alive:
        lifetime += 1
        world = World()
        world.lifetime = lifetime
        world.fault = fault or world.fault
        story = Story(world, mode, commits)
        try:
            story.play()
            alive = True
        except PowerLost:
            alive = False
        for seed in range(SEEDS):
            wrong.update(story.faults(Random(f"{lifetime} {seed}")))
    return sorted(wrong)


def nth(operation: str, count: int, number: int = errno.EIO) -> Callable[[str, str], int]:
    """A disk whose n-th operation of a kind fails."""
    seen = [0]

    def fault(kind: str, path: str) -> int:
        seen[0] += kind == operation
        return number if kind == operation and seen[0] == count else 0

    return fault


class CrashTests(SynchronousTestCase):
    """What got its 250 is found again, whole, whenever the power goes."""

    def setUp(self) -> None:
        """Messages are long early, so that the story is short."""
        self.patch(draft, "SHORT", 4096)
        self.patch(letter, "PART", 8192)

    def test_world(self) -> None:
        """The simulated disk is a disk."""
        self.assertTrue(verifyObject(IDisk, World()))

    def test_fsync(self) -> None:
        """With fsync of each file and folder."""
        self.assertEqual(crashes("fsync"), [])

    def test_syncfs(self) -> None:
        """With one syncfs for a group."""
        self.assertEqual(crashes("syncfs"), [])

    def test_auto(self) -> None:
        """With whichever suits the group."""
        self.assertEqual(crashes("auto"), [])

    def test_everythingAcknowledged(self) -> None:
        """On a good disk nothing is refused: the tests above have something to find."""
        story = Story(World(), "auto")
        story.play()
        self.assertEqual((len(story.acknowledged), story.refused), (7, set()))

    def test_failedSyncs(self) -> None:
        """Whichever sync fails, what was acknowledged all the same is found, and whoever it failed was told so."""
        for mode in ("fsync", "syncfs"):
            for operation in ("fsync", "syncfs"):
                for count in range(1, 30):
                    world = World()
                    world.fault = nth(operation, count)
                    story = Story(world, mode)
                    try:
                        story.play()
                    except Exception as error:  # a start that fails, or a number that is refused, acknowledges nothing
                        self.assertFalse(isinstance(error, AssertionError))
                    for seed in range(SEEDS):
                        self.assertEqual(story.faults(Random(seed)), [], f"{mode}: {operation} {count}")

    def test_writtenBeforeAFailedSync(self) -> None:
        """What a syncfs that failed may have lost is not acknowledged behind the next one, which reports nothing."""
        for box in (False, True):
            world = World()
            story = Story(world, "syncfs")
            story.start()
            story.mail()
            story.turns.run()
            name = story.name()
            content = body(name, long=True)
            draft = story.inbox.draft(BOX, name, HEADING) if box else story.spool.draft(name, envelope(name), QUEUED)
            draft.write(content[:40000])
            world.fault = nth("syncfs", 1)
            story.queue()
            story.turns.run()
            draft.write(content[40000:])
            ended = draft.commit()
            story.turns.run()
            self.failureResultOf(ended, Refused)
            self.assertEqual(story.faults(Random(0)), [])
            story.mail()
            story.queue()
            story.turns.run()
            self.assertEqual(len(story.acknowledged), 3)

    def test_failedSyncLeavesNothing(self) -> None:
        """After a sync that failed the group's files are gone, and nothing of it is synced again as proof."""
        world = World()
        story = Story(world, "fsync")
        story.start()
        first = story.queue()  # a tick of its own, with two syncs; the next two share one
        one, two = story.queue(), story.queue()
        world.log.clear()
        world.fault = nth("fsync", 3)
        story.turns.run()
        self.assertEqual((story.acknowledged, story.refused), ({first.stem}, {one.stem, two.stem}))
        self.assertEqual(len([each for each in world.log if each[0] == "fsync"]), 3)
        self.assertEqual(world.names("/work/incoming"), [str(first)])

    def test_deliveredBeforeAProcessDied(self) -> None:
        """
        A message that a killed process named in new/ and did not sync is synced before the queue's copy goes: power
        that fails after that finds it in the mailbox.
        """
        self.assertEqual(killedThenPower(), [])


def killedThenPower() -> list[str]:
    """The process is killed after each operation of a delivery; the next one delivers; then the power goes."""
    wrong: set[str] = set()
    for lifetime in range(40):
        world = World()
        story = Story(world, "fsync")
        story.start()
        name = story.queue()
        story.turns.run()
        world.lifetime = world.done + lifetime
        try:
            story.inbox.deliver(BOX, name, HEADING, story.spool.content(name))
            story.turns.run()
        except PowerLost:
            world.reboot()
            second = Story(world, "fsync")
            second.acknowledged, second.given = story.acknowledged, story.given
            second.start()
            second.spool.adopt(10)
            second.deliver(name)
            for seed in range(10):
                wrong.update(second.faults(Random(seed)))
            content = [world.content(f"{FOLDER}/new/{text}") for text in world.names(f"{FOLDER}/new")]
            if content != [(HEADING + body(name)).replace(b"\r\n", b"\n")]:
                wrong.add("delivered twice by processes alone")
    return sorted(wrong)


class SabotageTests(SynchronousTestCase):
    """What looks harmless and is not. Each of these must be found, or the tests above prove nothing."""

    def setUp(self) -> None:
        """As above."""
        self.patch(draft, "SHORT", 4096)
        self.patch(letter, "PART", 8192)

    def found(self, fragment: str, wrong: list[str]) -> None:
        """Some of what is wrong says so."""
        self.assertTrue([each for each in wrong if fragment in each], wrong)

    def test_earlyName(self) -> None:
        """The name in new/ before the content is synced: a torn file stands in the mailbox."""
        step = inbox.MailDraft.step

        def both(self: inbox.MailDraft, touched: Touched) -> bool:
            step(self, touched)
            return step(self, touched)

        self.patch(inbox.MailDraft, "step", both)
        self.found("torn in the mailbox", crashes("fsync"))

    def test_noFolderSync(self) -> None:
        """250 before the folder is synced: the name is lost."""
        self.patch(Touched, "folder", lambda self, path, volume: None)
        self.found("got its 250 and is lost", crashes("fsync"))

    def test_noContentSync(self) -> None:
        """250 before the content is synced."""
        self.patch(Touched, "file", lambda self, descriptor, volume: None)
        self.found("got its 250 and is lost", crashes("fsync"))

    def test_syncAgain(self) -> None:
        """A failed sync that is tried again, and believed."""

        class Stubborn(Commits):
            """It tries twice."""

            def sync(self, touched: Touched) -> None:
                """Twice."""
                for descriptor, _ in touched.files:
                    try:
                        self._disk.fsync(descriptor)
                    except OSError:
                        self._disk.fsync(descriptor)
                super().sync(touched)

        def wrong(commits: type[Commits]) -> list[str]:
            found: set[str] = set()
            for count in range(1, 30):
                world = World()
                story = Story(world, "fsync", commits)
                story.start()
                story.name()
                world.fault = nth("fsync", count)
                for _ in range(3):
                    story.queue()
                    story.mail()
                    story.turns.run()
                for seed in range(SEEDS):
                    found.update(story.faults(Random(seed)))
            return sorted(found)

        self.assertEqual(wrong(Commits), [])
        self.found("got its 250 and is lost", wrong(Stubborn))

    def test_writtenBeforeAFailedSync(self) -> None:
        """What was written before a syncfs failed, and is believed to the next one."""
        self.patch(Commits, "failures", property(lambda self: 0, lambda self, value: None))
        wrong: set[str] = set()
        for count in range(1, 10):
            world = World()
            story = Story(world, "syncfs")
            story.start()
            world.fault = nth("syncfs", count)
            for _ in range(3):
                story.queue()
                story.queue(long=True)
                story.turns.run()
            for seed in range(SEEDS):
                wrong.update(story.faults(Random(seed)))
        self.found("got its 250 and is lost", sorted(wrong))

    def test_mailboxNotSyncedInItsParent(self) -> None:
        """A mailbox that was made and not synced above: it is lost with all that is in it."""
        self.patch(inbox.Box, "chain", lambda self, touched: None)
        self.found("got its 250 and is lost", crashes("fsync"))

    def test_removedBeforeDelivered(self) -> None:
        """The queue's copy goes while the mailbox's name is not synced."""
        self.patch(inbox.Box, "names", lambda self, touched: None)
        self.found("got its 250 and is lost", killedThenPower())

    def test_serialNotSynced(self) -> None:
        """Numbers that are given out before the block is on disk come again."""
        self.patch(serial, "syncFolder", lambda disk, path: None)
        self.found("given twice", crashes("fsync"))
