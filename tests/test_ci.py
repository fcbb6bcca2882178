"""
The script of continuous integration tells the truth: its closing line is trial's own count, its exit status is honest.

It is run with a C{make} of ours in front, which says what trial would have said.
"""

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"


class ClosingLineTests(SynchronousTestCase):
    """C{.ci/run} ends with C{N passed, N failed}, alone on a line."""

    def assertClosing(self, expected: str, said: str, check: int = 0, test: int = 0) -> None:
        """
        What the script says last, and whether it succeeds.

        @param said: what C{make test} prints.
        @param check: exit status of C{make check}; it always prints a good verdict, which is not to be counted.
        @param test: exit status of C{make test}.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "said").write_text(said)
        (folder / "make").write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = check ]; then echo "PASSED (successes=12)"; exit {check}; fi\n'
            f"cat {folder}/said; exit {test}\n"
        )
        (folder / "make").chmod(0o755)
        environment = {"PATH": f"{folder}:{os.defpath}"}
        done = subprocess.run([SCRIPT], env=environment, capture_output=True, encoding="utf-8", timeout=30)
        self.assertEqual(done.stdout.splitlines()[-1], expected)
        self.assertEqual(done.returncode == 0, expected.endswith(" 0 failed"))

    def test_passed(self) -> None:
        """All is well."""
        self.assertClosing("35 passed, 0 failed", "Ran 35 tests in 1.6s\n\nPASSED (successes=35)\n")

    def test_skips(self) -> None:
        """A test that was skipped did not pass."""
        self.assertClosing("34 passed, 0 failed", "Ran 35 tests in 1.6s\n\nPASSED (skips=1, successes=34)\n")

    def test_failed(self) -> None:
        """Failures and errors both fail."""
        said = "Ran 9 tests in 1.6s\n\nFAILED (failures=1, errors=2, successes=6)\n"
        self.assertClosing("6 passed, 3 failed", said, test=2)

    def test_noneSucceeded(self) -> None:
        """Where trial names no successes there are none."""
        self.assertClosing("0 passed, 1 failed", "Ran 1 tests in 1.6s\n\nFAILED (errors=1)\n", test=2)

    def test_crashed(self) -> None:
        """A trial that ends without a verdict is a failure, and so is one that goes wrong behind a good one."""
        self.assertClosing("0 passed, 1 failed", "Segmentation fault\n", test=139)
        self.assertClosing("5 passed, 1 failed", "PASSED (successes=5)\n", test=1)

    def test_ranNothing(self) -> None:
        """No test at all is no success."""
        self.assertClosing("0 passed, 1 failed", "Ran 0 tests in 0.000s\n\nPASSED\n")

    def test_checkFailed(self) -> None:
        """Format, lint, types or layers that are wrong count as one failure, and the tests run all the same."""
        self.assertClosing("5 passed, 1 failed", "Ran 5 tests in 1.6s\n\nPASSED (successes=5)\n", check=2)
