"""
Long runs of the whole town in bad weather: many letters, and from a seed what goes wrong meanwhile.

Power cuts at some operation of a disk, processes killed, EIO and ENOSPC, connections reset, slow and choppy roads, the
network split, clocks that jump. At last the weather is fine, the power of both goes once more, and when all has come to
rest the L{Ledger} says what is wrong. Copies beyond the first are counted; in a mailbox here there may be none.

    python -m tests.world.soak SECONDS [SEED]    as many runs as begin in that time; exit 1 where anything is wrong
    python -m tests.world.soak 0 SEED            that one run again
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from twisted.logger import globalLogBeginner

from tests.world.disk import OUTCOMES
from tests.world.power import FAULTS, WHO, Cut, Run, playground
from tests.world.stories import (
    BACKEND,
    BOX,
    EPILOGUE,
    GATEWAY,
    KINDS,
    OUTSIDE,
    RETURNED,
    Ledger,
    Letter,
    Story,
    begin,
    hand,
    makeTown,
)
from tests.world.town import ROAD
from tests.world.wire import CHUNK

LETTERS = (5, 15)
TROUBLES = (2, 8)
LASTS = 40.0  # seconds in which letters are handed over and things go wrong
CALM = 600.0  # seconds after which all that is put off is tried again: a fault puts off by 300, a clock by as it jumped
_OUT, _NOBODY = "user2@test-sample00.jp", "nobody@test-sample00.jp"
_CHOICES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("kacho@test.jp", {"bucho@test.jp": BOX}, ""),
    ("bucho@test.jp", {"kacho@test.jp": BOX, "user1@test.jp": BOX}, ""),
    ("bucho@test.jp", {_OUT: OUTSIDE}, ""),
    ("kacho@test.jp", {_OUT: OUTSIDE, "user1@test.jp": BOX, _NOBODY: RETURNED}, ""),
    ("baito@test.jp", {_OUT: RETURNED}, ""),
    ("user1@test.jp", {"kacho@test.jp": BOX, _OUT: RETURNED}, ""),
    (_OUT, {"kacho@test.jp": BOX}, GATEWAY),
    (_OUT, {"kacho@test.jp": BOX, "baito@test.jp": BOX}, GATEWAY),
)


def letters(random: Random) -> tuple[Letter, ...]:
    """What is handed over; one in eight is long."""
    found = []
    for number in range(random.randint(*LETTERS)):
        sender, fates, front = random.choice(_CHOICES)
        lines = random.choice((1, 3, 3, 3, 20, 20, 100, 1300))
        at = random.uniform(0, LASTS)
        found.append(Letter(f"n{number}", sender, fates, at, lines, front or BACKEND))
    return tuple(found)


class Storm(Run):
    """
    One run.

    @ivar troubles: what went wrong, by kind how often.
    """

    def __init__(self, seed: int, folder: str) -> None:
        self._chance = Random(seed)
        self.troubles: Counter[str] = Counter()
        story = Story(letters(self._chance), down=self._chance.choice((0.0, 0.0, 1.0, 15.0)))
        super().__init__(story, None, folder)

    def _play(self) -> None:
        chance, story = self._chance, self._story
        self._random = chance
        town = self._town = makeTown(self._scope, story)
        self._tellers = begin(town, story)
        self._ledger = Ledger(town, self._tellers)
        self._recordNumbers()
        town.net.segment = chance.choice((CHUNK, CHUNK, 1460, 200))
        for kind in KINDS:
            self._watch(kind)
            self._start(kind)
        kinds: list[Callable[[], None]] = [
            self.power, self.power, self.fail, self.fail, self.reset, self.slow, self.split, self.jump
        ]  # fmt: skip
        for _ in range(chance.randint(*TROUBLES)):
            town.stranger.callLater(chance.uniform(0, LASTS), chance.choice(kinds))
        town.net.before = self._before
        town.net.run(LASTS + story.down)
        self._clear()
        town.net.run(story.down + 1.0)
        self._cut = None
        self._fell(KINDS, "removals")
        self._rest()
        self._ledger.tellers[EPILOGUE.token] = hand(town, EPILOGUE)
        self._rest()
        town.net.before = lambda: None
        self.acknowledged = sum(teller.acknowledged for teller in self._tellers)
        for token in self._ledger.tellers:
            self._ledger.doubtful[token] += 1 + self.troubles.total()
        self.faults += self._ledger.faults(1 + self.troubles.total())
        self.twice = self._ledger.twice()

    def _clear(self) -> None:
        """Fine weather."""
        town = self._town
        town.net.seconds, town.net.segment = ROAD, CHUNK
        town.net.parted.clear()
        for disk in town.disks.values():
            disk.lifetime, disk.fault = None, lambda operation, path: 0

    # What goes wrong.

    def power(self) -> None:
        """At once, or before one of the next operations of a disk."""
        if self._cut is None:
            who, outcome = self._chance.choice(WHO), self._chance.choice(list(OUTCOMES))
            where = self._chance.choice(who)
            disk = self._town.disks[where]
            self._cut = Cut(who, where, disk.done + self._chance.randint(0, 60), outcome)
            if self._chance.random() < 0.5:
                self._dead = True
                self._doom()
            else:
                disk.lifetime = self._cut.number
            self.troubles["power"] += 1

    def fail(self) -> None:
        """One of the next operations of a disk fails."""
        disk = self._town.disks[self._chance.choice(KINDS)]
        goal, number = disk.done + self._chance.randint(1, 40), self._chance.choice(list(FAULTS.values()))
        disk.fault = lambda operation, path: number if disk.done == goal else 0
        self.troubles["fault"] += 1

    def reset(self) -> None:
        """A connection breaks."""
        ends = [end for end in self._town.net.ends if end.connected and end.protocol is not None]
        if ends:
            self._chance.choice(ends).reset()
            self.troubles["reset"] += 1

    def slow(self) -> None:
        """The roads are slow for a while."""
        net = self._town.net
        net.seconds = self._chance.uniform(0.2, 3.0)
        self._town.stranger.callLater(self._chance.uniform(1, 10), setattr, net, "seconds", ROAD)
        self.troubles["slow"] += 1

    def split(self) -> None:
        """Two machines do not reach each other for a while."""
        net = self._town.net
        two = frozenset(self._chance.sample(sorted(net.hosts), 2))
        net.parted[two] = net.now + self._chance.uniform(0.5, 12)
        self.troubles["split"] += 1

    def jump(self) -> None:
        """A clock is set."""
        host = self._town.host(self._chance.choice(KINDS))
        host.skew += self._chance.choice((-60, -5, 5, 60, 3600))
        host.look()
        self.troubles["clock"] += 1

    # As in a run.

    def _before(self) -> None:
        self._after()

    def _fell(self, who: tuple[str, ...], outcome: str) -> None:
        super()._fell(who, outcome)
        self._cut = None
        for kind in who:
            self._watch(kind)

    def _start(self, kind: str) -> None:
        """Who keeps it running starts it again where a disk has failed."""
        try:
            self._town.start(kind)
        except SystemExit:
            if not self.troubles["fault"]:
                self.faults.append(f"{kind} does not start again")
            self._town.lose(kind, self._chance, OUTCOMES["killed"])
            self._town.start(kind)

    def _rest(self) -> None:
        net = self._town.net
        net.run(self._story.down + 3.0)
        end, quiet = net.now + CALM, 0
        while net.now < end and quiet < 3:
            net.run(3.0)
            quiet = quiet + 1 if self._ledger.resting() else 0


def soak(seconds: float, seed: int, folder: str) -> bool:
    """@return: whether nothing was wrong, and something was acknowledged."""
    end = time.monotonic() + seconds
    totals: Counter[str] = Counter()
    bad = 0
    while True:
        storm = Storm(seed, folder)
        totals += Counter(runs=1, letters=storm.acknowledged, twice=storm.twice) + storm.troubles
        if storm.faults:
            bad += 1
            print("\n    ".join([f"seed {seed}: {dict(storm.troubles)}", *storm.faults]))
            print(f"    again: python -m tests.world.soak 0 {seed}", flush=True)
        seed += 1
        if time.monotonic() >= end:
            break
    told = ", ".join(f"{totals[kind]} {kind}" for kind in ("power", "fault", "reset", "slow", "split", "clock"))
    print(f"{totals['runs']} runs: {totals['letters']} acknowledged, {totals['twice']} copies beyond the first; {told}")
    return not bad and bool(totals["letters"])


def main(arguments: list[str]) -> int:
    """The command. @return: the exit status."""
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else Random().randrange(1_000_000)
    print(f"the town in bad weather, {seconds:g} seconds, seeds from {seed}", flush=True)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    with playground() as folder:
        return 0 if soak(seconds, seed, folder) else 1


__all__ = ["Storm", "main", "soak"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
