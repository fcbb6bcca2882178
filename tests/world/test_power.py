"""
The proof that nothing acknowledged is lost, as far as it is played with every run of the tests: each story cut at a
share of its points, with chance choosing whose power goes and what the disks keep, and the sabotages that it must find.

All points with all outcomes: C{python -m tests.world.power}.
"""

import gc
from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.world.disk import OUTCOMES, PowerLost
from tests.world.power import FAULTS, TURN, Cut, Run, Scope, cases, parseCase, playground, points, shown
from tests.world.sabotage import SABOTAGES, found
from tests.world.soak import Storm
from tests.world.stories import KINDS, STORIES

SHARE = 200  # of so many cases one is played
LIMIT = 150  # runs in which a sabotage is found


class PowerTests(SynchronousTestCase):
    """Whatever loses its power, whenever it does: the contract holds."""

    def setUp(self) -> None:
        """A folder; what goes down with a machine may say much."""
        opened = playground()
        self.folder = opened.__enter__()
        self.addCleanup(opened.__exit__, None, None, None)

    def tearDown(self) -> None:
        """What was lost with the power is not an error of the test."""
        gc.collect()
        self.flushLoggedErrors(PowerLost)

    def play(self, name: str) -> None:
        """A share of the cases of one story."""
        found = points(name, self.folder)
        plans = [cut for number, cut in enumerate(cases(found)) if Random(f"{name} {number}").random() < 1 / SHARE]
        for cut in plans:
            run = Run(STORIES[name], cut, self.folder)
            self.assertTrue(run.reached, cut)
            self.assertEqual(run.faults, [], shown(name, cut, "", run.faults))

    def test_outcomes(self) -> None:
        """The cases of a story are all that there are: each point, each machine, each outcome and each fault."""
        plans = list(cases([("backend", 5, "rename /new/x"), (TURN, 9, ""), ("gateway", 7, "read /serial")]))
        self.assertEqual({cut.outcome for cut in plans}, set(OUTCOMES) | set(FAULTS))
        self.assertEqual(len(plans), 2 * len(OUTCOMES) + 2 + 3 * len(OUTCOMES) + 1)
        self.assertEqual({cut.who for cut in plans if cut.where == TURN}, {("backend",), ("gateway",), KINDS})

    def test_replay(self) -> None:
        """What a failure prints plays the same run again."""
        cut = Cut(KINDS, "backend", 60, "any", 3)
        self.assertEqual(parseCase(f"split/{cut}"), ("split", cut))
        scope = Scope(self.folder)
        SABOTAGES["incoming not synced"].apply(scope.patch)
        runs = [Run(STORIES["relay"], Cut(KINDS, TURN, number, "any"), self.folder) for number in range(40, 60)]
        again = [Run(STORIES["relay"], Cut(KINDS, TURN, number, "any"), self.folder) for number in range(40, 60)]
        scope.close()
        self.assertEqual([run.faults for run in runs], [run.faults for run in again])
        self.assertTrue(any(run.faults for run in runs))


class SabotageTests(SynchronousTestCase):
    """Each sabotage of the list is found, but those that the contract allows."""

    setUp, tearDown = PowerTests.setUp, PowerTests.tearDown

    def look(self, name: str) -> None:
        """One of them."""
        sabotage = SABOTAGES[name]
        failure, runs = found(sabotage, self.patch, self.folder, LIMIT)
        if sabotage.harmless:
            self.assertEqual(failure, "", f"{name} is said to be harmless")
        else:
            self.assertTrue(failure, f"{name} is not found in {runs} runs")


class StormTests(SynchronousTestCase):
    """Long runs of the whole town in bad weather; more of them: C{make soak}."""

    setUp, tearDown = PowerTests.setUp, PowerTests.tearDown

    def test_storms(self) -> None:
        """Some seeds, with every kind of trouble in them."""
        troubles: Counter[str] = Counter()
        for seed in range(100, 112):
            storm = Storm(seed, self.folder)
            self.assertEqual(storm.faults, [], f"python -m tests.world.soak 0 {seed}")
            troubles += storm.troubles
        self.assertEqual(set(troubles), {"power", "fault", "reset", "slow", "split", "clock"})

    def test_found(self) -> None:
        """They find, too, when clients are answered before the disk has done it."""
        SABOTAGES["reply before commit"].apply(self.patch)
        self.assertTrue(any(Storm(seed, self.folder).faults for seed in range(100, 120)))

    def test_replay(self) -> None:
        """A seed plays the same run again."""
        one, two = Storm(103, self.folder), Storm(103, self.folder)
        kinds = [(storm.acknowledged, storm.twice, storm.troubles, storm.log()) for storm in (one, two)]
        self.assertEqual(kinds[0], kinds[1])


def _each(case: type, play: str, names: object) -> None:
    """A test for each name, to be run and read on its own."""
    for name in names:  # type: ignore[attr-defined]
        title = "test_" + "".join(word.capitalize() for word in name.replace(",", "").split())

        def test(self, name=name):  # type: ignore[no-untyped-def]
            getattr(self, play)(name)

        test.__name__, test.__doc__ = title, f"{name[0].upper()}{name[1:]}."
        setattr(case, title, test)


_each(PowerTests, "play", STORIES)
_each(SabotageTests, "look", SABOTAGES)
