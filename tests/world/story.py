"""
What storage is made to do on the simulated disk: messages into the queue and into mailboxes, some long, some from the
queue into a mailbox, an attempt, a removal. It notes what was acknowledged, and says after a loss of power what of it
is missing, torn or mixed.
"""

from collections.abc import Callable
from random import Random

from epost.interfaces import IDraft
from epost.mail.address import parseAddress
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from epost.storage.durable import Commits
from epost.storage.inbox import Inbox
from epost.storage.places import Places, origin
from epost.storage.serial import Serial, SerialDamaged
from epost.storage.spool import Spool
from tests.world.disk import World

BOX = Local("user1", "test.jp")
FOLDER = "/work/inbox/user1"
HEADING = b"Return-Path: <a@b.jp>\r\n"
QUEUED = 1246865254.0
BUSY = Reply(450, ("busy",), "4.2.0")


class Turns:
    """A committing thread that works when it is told. @ivar waiting: what it has to do."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def callInThread(self, function: Callable[..., object], *arguments: object) -> None:
        """Later."""
        self.waiting.append(lambda: function(*arguments))

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """At once: there is one thread in truth."""
        function(*arguments)

    def run(self) -> None:
        """Until nothing is left."""
        while self.waiting:
            self.waiting.pop(0)()


def body(name: Name, long: bool = False) -> bytes:
    """Content that tells whose it is at every place, beyond what is kept in memory where C{long}."""
    line = f"Subject: {name} ".encode().ljust(62, b".") + b"\r\n"
    return line * (700 if long else 12)


def envelope(name: Name) -> Envelope:
    """As unlike each other as the contents."""
    return Envelope(parseAddress(f"{name}@test.jp"), (parseAddress(f"to-{name}@test-sample00.jp"),))


class Story:
    """
    One process on a disk.

    @ivar acknowledged: names of messages that got their 250.
    @ivar given: all numbers that were given out.
    """

    def __init__(self, world: World, mode: str, commits: type[Commits] = Commits) -> None:
        self.world = world
        self.mode = mode
        self.turns = Turns()
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.given: list[int] = []
        self._commits = commits

    def start(self) -> None:
        """Open everything, as a daemon does."""
        commits = self._commits(self.world, self.mode, self.turns.callInThread, self.turns.callFromThread)
        self.spool = Spool(self.world, "/work", commits)
        places = Places("/work", "inbox\\%USERNAME%")
        self.serial = Serial(self.world, "/work", max(self.spool.highest, places.sweep(self.world, {})))
        self.inbox = Inbox(self.world, places, commits, self.serial.first, lambda: 0.0)

    def play(self) -> None:
        """All of it."""
        self.start()
        queued = [self.queue(), self.queue(long=True)]
        self.mail()
        self.turns.run()
        self.mail(long=True)
        queued.append(self.queue())
        self.turns.run()
        entry = self.spool.record(self.entry(queued[0]), attempt())
        self.mail()
        self.deliver(queued[1])
        self.spool.record(entry, attempt())
        self.queue()
        self.turns.run()

    def name(self) -> Name:
        """A fresh one."""
        number = self.serial.next()
        self.given.append(number)
        return numbered(number)

    def queue(self, long: bool = False) -> Name:
        """A message for the queue, up to the end of data."""
        name = self.name()
        self._sent(name, self.spool.draft(name, envelope(name), QUEUED), long)
        return name

    def mail(self, long: bool = False) -> Name:
        """A message for a mailbox, up to the end of data."""
        name = self.name()
        self._sent(name, self.inbox.draft(BOX, name, HEADING), long)
        return name

    def _sent(self, name: Name, draft: IDraft, long: bool) -> None:
        content = body(name, long)
        for start in range(0, len(content), 20000):
            draft.write(content[start : start + 20000])
        draft.commit().addCallbacks(self._told, self._failed, [name], None, [name])

    def _told(self, result: None, name: Name) -> None:
        self.acknowledged.add(name.stem)

    def _failed(self, failure: object, name: Name) -> None:
        self.refused.add(name.stem)

    def entry(self, name: Name) -> Entry:
        """What the queue knows of it."""
        return Entry(name, envelope(name), QUEUED, len(body(name)))

    def deliver(self, name: Name) -> None:
        """From the queue into the mailbox; then it leaves the queue."""
        delivered: list[Name] = []
        done = self.inbox.deliver(BOX, name, HEADING, self.spool.content(name))
        done.addCallbacks(lambda _: delivered.append(name), lambda _: None)
        self.turns.run()
        for each in delivered:
            self.spool.remove(self.entry(each))

    def faults(self, random: Random) -> list[str]:
        """What is wrong after the power went and came again: nothing, where storage keeps its word."""
        reborn = Story(self.world.after(random), self.mode)
        wrong = []
        found = set()
        try:
            reborn.start()
        except SerialDamaged as error:
            return [str(error)]
        for waiting in reborn.spool.adopt(1000):
            try:
                entry = reborn.spool.load(waiting.name)
                content = b"".join(reborn.spool.content(waiting.name).parts())
            except Refused:
                continue  # never acknowledged, or it is missed below
            whole = content in (body(entry.name.again(0)), body(entry.name.again(0), long=True))
            if not whole or entry.envelope != envelope(entry.name.again(0)):
                wrong.append(f"{waiting.name} is mixed or cut in the queue")
            found.add(entry.name.stem)
        for folder in ("new", "cur"):
            path = f"{FOLDER}/{folder}"
            for text in reborn.world.names(path) if path in reborn.world.paths() else ():
                name = origin(text)
                assert name is not None
                content = reborn.world.content(f"{path}/{text}")
                kinds = [(HEADING + body(name, long)).replace(b"\r\n", b"\n") for long in (False, True)]
                if content not in kinds:
                    wrong.append(f"{text} is torn in the mailbox")
                found.add(name.stem)
        wrong += [f"{stem} got its 250 and is lost" for stem in sorted(self.acknowledged - found)]
        if self.given and reborn.serial.next() <= max(self.given):
            wrong.append("a number is given twice")
        return wrong


def attempt() -> Attempt:
    """The first recipient is put off."""
    return Attempt(QUEUED, 1.0, "192.168.0.103:25", "", (Outcome(0, Fate.DEFERRED, BUSY, QUEUED + 120),))
