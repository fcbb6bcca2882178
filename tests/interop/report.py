"""What is printed: a line for each check, C{ok}, C{FAILED} or C{skipped}, and the sum."""

import subprocess
from collections import Counter
from collections.abc import Callable


class Unable(Exception):
    """A check that cannot be made here; its text says why."""


class Report:
    """The checks so far. @ivar counts: how many of C{ok}, C{FAILED} and C{skipped}."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def check(self, who: str, what: str, holds: Callable[[], object]) -> bool:
        """
        Make a check and print its line.

        @param holds: raises L{AssertionError} where it does not hold, L{Unable} where that cannot be told.
        @return: whether it holds.
        """
        why = ""
        try:
            holds()
            state = "ok"
        except Unable as unable:
            state, what = "skipped", f"{what}: {unable}"
        except (AssertionError, OSError, subprocess.SubprocessError) as fault:
            state, why = "FAILED", f"{type(fault).__name__}: {fault}"
        self.counts[state] += 1
        print(f"{state:8} {who:11} {what}", flush=True)
        for line in why.splitlines():
            print(f"         | {line:.300}", flush=True)
        return state == "ok"

    def missing(self, program: str, advice: str) -> None:
        """A program is not there, so that none of its checks is made."""
        self.counts["skipped"] += 1
        print(f"skipped: {program} is not installed ({advice})", flush=True)

    def skip(self, who: str, why: str) -> None:
        """None of its checks can be made."""
        self.counts["skipped"] += 1
        print(f"{'skipped':8} {who:11} {why}", flush=True)

    @property
    def failed(self) -> bool:
        """Whether a check failed, or none was made."""
        return bool(self.counts["FAILED"]) or not self.counts["ok"]

    def __str__(self) -> str:
        """The sum."""
        return ", ".join(f"{self.counts[state]} {state}" for state in ("ok", "FAILED", "skipped"))
