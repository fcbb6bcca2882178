"""A few attacks of L{tests.system.attack} that take seconds, and the proof that the watch over them is awake."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.system.attack import ATTACKS
from tests.system.siege import Attack, Memory, Stage, besieged

QUICK = ("bigBoxes", "bigReturned", "headerLine", "line", "nul", "gone", "lookalikes", "sizes")
GREEDY = "a = input(); b = bytearray(50 << 20); del b; print(1, flush=True); input()"


def attacked(stage: Stage) -> Iterator[str]:
    """Does nothing."""
    yield "nothing"


def succeeded(stage: Stage) -> Iterator[str]:
    """Says that something came through."""
    yield "something"
    raise AssertionError("it came through")


def murder(stage: Stage) -> Iterator[str]:
    """Ends the daemon."""
    stage.daemon.kill()
    yield "dead"


class AttackTests(SynchronousTestCase):
    """Attacks on the back-end."""

    def setUp(self) -> None:
        if not Path("/proc/self/clear_refs").exists():
            raise SkipTest("no /proc/PID/clear_refs here, so the peak of memory cannot be watched")

    def faults(self, attacks: dict[str, Attack]) -> list[str]:
        """What they find."""
        stage = Stage(Path(self.mktemp()).absolute())
        self.enterContext(stage.slow)
        with stage.pair, redirect_stdout(io.StringIO()):
            return besieged(stage, attacks)

    def test_quick(self) -> None:
        """Whatever comes, the next client is served, nothing is smuggled or left behind, and memory stays bounded."""
        self.assertEqual(self.faults({name: ATTACKS[name] for name in QUICK}), [])

    def test_found(self) -> None:
        """An attack that comes through is told, one that takes more memory than allowed, and one that kills."""
        faults = self.faults(
            {
                "harmless": Attack(attacked, 4),
                "big": Attack(attacked, -1),
                "open": Attack(succeeded, 4),
                "dead": Attack(murder, 4),
            }
        )
        self.assertEqual([fault.partition(":")[0] for fault in faults], ["big", "open", "dead", "dead"])

    def test_peak(self) -> None:
        """Memory that was given back is seen in the peak, and forgotten when that is wanted."""
        command = [sys.executable, "-c", GREEDY]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            memory = Memory(process.pid)
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            self.assertGreater(memory.peak() - memory.now(), 40)
            memory.forget()
            self.assertLess(memory.peak() - memory.now(), 5)
            process.communicate(b"\n")
