"""
The proof that nothing acknowledged is ever lost: each story of L{tests.world.stories}, cut at every point.

A point is the moment before a turn of the network (so between any two of: octets arrive, a reply leaves, the disk is
asked to sync), or the moment before an operation that changes the back-end's or the gateway's disk. At it the back-end,
the gateway or both lose their power; what was not synced becomes one of L{tests.world.disk.OUTCOMES}. The machine
starts again, time passes until the queues are empty, and the L{Ledger} says what is wrong. At each operation of a disk
that can also be said to have failed, once, with EIO, and where room is needed with ENOSPC; when all has come to rest
the power goes as well, so that nothing counts that was not proved.

    python -m tests.world.power [N] [STORY …]    everything, or each Nth case; exit 1 where anything is wrong
    python -m tests.world.power CASE …           one run again, as a failure prints it, such as
                                                 refused/backend/backend:41/torn/0
"""

import errno
import gc
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from twisted.logger import LogEvent, globalLogBeginner, globalLogPublisher

from epost import reload
from epost.storage.serial import Serial
from tests.world.disk import OUTCOMES, PowerLost
from tests.world.stories import EPILOGUE, KINDS, STORIES, Ledger, Story, begin, hand, makeTown
from tests.world.town import Town

CHANGING = frozenset(
    ("create", "write", "append", "overwrite", "fsync", "syncfs", "rename", "unlink", "mkdir", "rmdir", "date")
)
FILLING = frozenset(("create", "write", "append", "mkdir", "rename"))
FAULTS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
TURN = "turn"
REST = 3.0  # seconds in which something that is still to be done begins
PATIENCE = 400.0  # seconds after which a queue that is not empty will not become so; a fault puts off by 300
WHO = (("backend",), ("gateway",), KINDS)


class Scope:
    """What a test case is to a town, for one run. @ivar bugs: exceptions that somebody logged, unless C{deaf}."""

    def __init__(self, folder: str) -> None:
        self.bugs: list[str] = []
        self.deaf = False  # a program whose power has gone may still say much
        self._folder = folder
        self._cleanups: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        # What a dead program leaves logs when it is collected: not while somebody else writes to the same log.
        gc.disable()
        self.addCleanup(gc.enable)
        globalLogPublisher.addObserver(self._logged)
        self.addCleanup(globalLogPublisher.removeObserver, self._logged)

    def addCleanup(self, function: Callable[..., object], *args: object) -> None:
        """Do something at the end."""
        self._cleanups.append((function, args))

    def patch(self, owner: Any, name: str, value: object) -> None:
        """Put something in another's place until the end."""
        self.addCleanup(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def mktemp(self) -> str:
        """The folder for lock, logs and tables; it may be there already."""
        return self._folder

    def close(self) -> None:
        """The end."""
        while self._cleanups:
            function, args = self._cleanups.pop()
            function(*args)

    def _logged(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and not self.deaf and not failure.check(PowerLost):
            self.bugs.append(f"an exception is logged: {failure.value!r}")


@dataclass(frozen=True, slots=True)
class Cut:
    """
    When and how power goes.

    @ivar who: whose.
    @ivar where: C{backend} or C{gateway}: before an operation of that disk; L{TURN}: before a turn of the network.
    @ivar number: of the operation or turn, from 0.
    @ivar outcome: of L{OUTCOMES}, or of L{FAULTS}: the operation fails and the power stays.
    @ivar seed: for what is left to chance.
    """

    who: tuple[str, ...]
    where: str
    number: int
    outcome: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{'+'.join(self.who)}/{self.where}:{self.number}/{self.outcome}/{self.seed}"


def parseCase(text: str) -> tuple[str, Cut]:
    """Read what a failure has printed. @raise ValueError: it is no case."""
    story, who, point, outcome, seed = text.split("/")
    where, _, number = point.partition(":")
    return story, Cut(tuple(who.split("+")), where, int(number), outcome, int(seed))


class Run:
    """
    One story with one cut, or with none.

    @ivar faults: what is wrong.
    @ivar points: where it can be cut: C{where} and C{number}; what happens there.
    @ivar acknowledged: how many letters got their 250.
    @ivar twice: copies beyond the first.
    @ivar reached: whether the cut came about.
    """

    def __init__(self, story: Story, cut: Cut | None, folder: str) -> None:
        self.faults: list[str] = []
        self.points: list[tuple[str, int, str]] = []
        self.reached = False
        self.acknowledged = self.twice = 0
        self._story = story
        self._cut = cut
        self._dead = False
        self._random = Random(str(cut))
        self._scope = Scope(folder)
        try:
            self._play()
        except Exception as error:
            self.faults.append("".join(traceback.format_exception(error)))
        try:
            self._scope.close()
        except Exception as error:
            self.faults.append(f"does not stop: {error!r}")
        for service in self._town.services.values():
            service.lock.release()
        self.faults += self._scope.bugs

    def _play(self) -> None:
        self._scope.patch(reload, "LOOK", self._story.look)
        town = self._town = makeTown(self._scope, self._story)
        self._tellers = begin(town, self._story)
        self._ledger = Ledger(town, self._tellers)
        self._recordNumbers()
        for kind in KINDS:
            self._watch(kind)
        if self._cut is not None and self._cut.outcome in FAULTS:
            town.disks[self._cut.where].fault = self._fault
        elif self._cut is not None and self._cut.where in KINDS:
            town.disks[self._cut.where].lifetime = self._cut.number
        for kind in KINDS:
            with suppress(PowerLost):
                self._start(kind)
            self._after()
        town.net.before = self._before
        self._rest()
        town.net.before = lambda: None
        for disk in town.disks.values():  # what has not come about is not to come about when the daemons stop
            disk.lifetime, disk.fault = None, lambda operation, path: 0
        self.acknowledged = sum(teller.acknowledged for teller in self._tellers)
        if self._cut is None:
            for kind in KINDS:
                for number, (operation, path) in enumerate(town.disks[kind].log):
                    self.points.append((kind, number, f"{operation} {path.removeprefix(town.path(''))}"))
            self.faults += self._ledger.faults(cuts=0)
        else:
            failed = self._cut.outcome in FAULTS
            if self.reached and (failed or OUTCOMES[self._cut.outcome].killed):
                self._ledger.doubt(KINDS)
                if not failed:  # a file that could not be removed stays until the next start
                    self.faults += self._ledger.faults(cuts=1)
                # Nothing is synced since but what the daemons synced themselves: now power goes as well.
                self._fell(KINDS, "removals")
                self._rest()
            self._ledger.tellers[EPILOGUE.token] = hand(town, EPILOGUE)
            self._rest()
            self.faults += self._ledger.faults(cuts=2)
        self.twice = self._ledger.twice()

    def log(self) -> list[tuple[str, str]]:
        """What the disks have done since they last lost their power."""
        return [entry for kind in KINDS for entry in self._town.disks[kind].log]

    def _recordNumbers(self) -> None:
        """Note every number that either daemon gives out."""
        following, ledger, town = Serial.next, self._ledger, self._town

        def recorded(serial: Serial) -> int:
            number = following(serial)
            kind = "backend" if serial._disk is town.disks["backend"] else "gateway"
            ledger.given[kind].append(number)
            return number

        self._scope.patch(Serial, "next", recorded)

    def _watch(self, kind: str) -> None:
        """When this disk's machine loses its power, nothing leaves any machine that does."""

        def lost() -> None:
            if not self._dead:
                self._dead = True
                self._doom()

        self._town.disks[kind].lost = lost

    def _doom(self) -> None:
        """Power goes: what happens in the rest of this turn does not happen."""
        assert self._cut is not None
        self._scope.deaf = True
        self._ledger.doubt(self._cut.who)
        for kind in self._cut.who:
            if kind in self._town.services:
                self._town.darken(kind)
            self._town.disks[kind].lifetime = 0

    def _fault(self, operation: str, path: str) -> int:
        """The errno of this operation, or 0."""
        assert self._cut is not None
        if self.reached or self._town.disks[self._cut.where].done - 1 != self._cut.number:
            return 0
        self.reached = True
        self._ledger.doubt(self._cut.who)
        return FAULTS[self._cut.outcome]

    def _before(self) -> None:
        """Between two turns."""
        if self._dead:
            self._after()
        turns = self._town.net.turns
        if self._cut is None:
            if not self.points or self.points[-1][1] != turns:
                self.points.append((TURN, turns, ""))
        elif self._cut.where == TURN and self._cut.number == turns and not self.reached:
            self._dead = True
            self._doom()
            self._after()

    def _after(self) -> None:
        """Where power has gone in this turn, it comes again."""
        if self._dead and self._cut is not None:
            self.reached = True
            self._fell(self._cut.who, self._cut.outcome)

    def _fell(self, who: tuple[str, ...], outcome: str) -> None:
        town = self._town
        for kind in who:
            if kind in town.services:
                town.lose(kind, self._random, OUTCOMES[outcome])
        self._dead = self._scope.deaf = False
        for kind in who:
            if kind in town.services:
                if self._story.down:
                    town.host(kind).callLater(self._story.down, self._start, kind)
                else:
                    self._start(kind)

    def _start(self, kind: str) -> None:
        """Nobody lends a hand, but who keeps it running starts it once more where its disk has failed."""
        failed = self._cut is not None and self._cut.outcome in FAULTS
        try:
            self._town.start(kind)
        except SystemExit:
            if failed:
                self._town.lose(kind, self._random, OUTCOMES["killed"])
                self._town.start(kind)
            else:
                self.faults.append(f"{kind} does not start again")

    def _rest(self) -> None:
        """Let time pass until there is nothing left to do."""
        net = self._town.net
        net.run(self._story.busy + self._story.down)
        end, quiet = net.now + PATIENCE, 0
        while net.now < end and quiet < 2:
            net.run(REST)
            quiet = quiet + 1 if self._ledger.resting() else 0


@contextmanager
def playground() -> Iterator[str]:
    """A folder for lock, logs and tables, in memory where the machine has that: what counts is on disks of our own."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="epost-power-", dir=memory if Path(memory).is_dir() else None) as folder:
        yield folder


def points(name: str, folder: str) -> list[tuple[str, int, str]]:
    """Where a story can be cut. @raise AssertionError: it does not go well without."""
    run = Run(STORIES[name], None, folder)
    if run.faults or run.twice:
        raise AssertionError(f"{name}, without a cut: {run.faults}, {run.twice} twice")
    return run.points


def cases(found: list[tuple[str, int, str]]) -> Iterator[Cut]:
    """Every cut of a story: at each point, of each machine, with each outcome; and every fault of a disk."""
    for where, number, what in found:
        operation = what.partition(" ")[0]
        for who in WHO:
            if where == TURN or (where in who and operation in CHANGING):
                for outcome in OUTCOMES:
                    yield Cut(who, where, number, outcome)
        for fault in FAULTS:
            if where != TURN and (fault == "EIO" or operation in FILLING):
                yield Cut((where,), where, number, fault)


def shown(name: str, cut: Cut, what: str, faults: list[str]) -> str:
    """A failure, with the line that replays it."""
    lines = [f"story {name}, {' and '.join(cut.who)} cut before {cut.where} {cut.number} {what}, seed {cut.seed}:"]
    lines += [f"    {fault}" for fault in faults]
    return "\n".join([*lines, f"    again: python -m tests.world.power {name}/{cut}"])


def prove(names: list[str], folder: str, nth: int = 1) -> int:
    """Every case of some stories, or each nth. @return: in how many something is wrong."""
    bad = 0
    for name in names:
        found = points(name, folder)
        whats = {(where, number): what for where, number, what in found}
        runs = acknowledged = twice = missed = 0
        for cut in islice(cases(found), 0, None, nth):
            run = Run(STORIES[name], cut, folder)
            runs += 1
            missed += not run.reached
            acknowledged += bool(run.acknowledged)
            twice += run.twice > 0
            if run.faults:
                bad += 1
                print(shown(name, cut, whats[cut.where, cut.number], run.faults))
        print(
            f"{name}: {len(found)} points, {runs} runs, {acknowledged} acknowledged, {twice} with a copy twice",
            flush=True,
        )
        if missed:
            print(f"    {missed} cuts did not come about")
            bad += 1
    return bad


def main(arguments: list[str]) -> int:
    """The command. @return: the exit status."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)  # what went down with a machine says much
    with playground() as path:
        if not any("/" in text for text in arguments):
            nth = next((int(text) for text in arguments if text.isdigit()), 1)
            return 1 if prove([text for text in arguments if not text.isdigit()] or list(STORIES), path, nth) else 0
        bad = 0
        for name, cut in map(parseCase, arguments):
            run = Run(STORIES[name], cut, path)
            bad += bool(run.faults)
            print(shown(name, cut, "", run.faults or ["nothing is wrong"]))
    return 1 if bad else 0


__all__ = ["Cut", "Run", "Scope", "Town", "cases", "main", "parseCase", "points", "prove", "shown"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
