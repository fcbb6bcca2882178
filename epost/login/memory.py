"""
What is remembered for a while: a bounded number of things, each for the same time, the oldest given up first.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

KEPT = 50000  # things that one memory holds: some megabytes

Key = tuple[str | bytes, ...]
Value = TypeVar("Value")


class Memory(Generic[Value]):
    """One memory. @param life: seconds for which something stays in it."""

    def __init__(self, life: float) -> None:
        self.life = life
        self._all: OrderedDict[Key, tuple[float, Value]] = OrderedDict()  # in the order of their ends

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: Key, now: float) -> Value | None:
        """
        What stands for a key; L{None} where there is nothing, or no longer.

        @param now: seconds. What was put later than that is not believed: the clock was ahead, and it would stay long.
        """
        until, value = self._all.get(key, (now, None))
        return value if now < until <= now + self.life else None

    def put(self, key: Key, value: Value, now: float) -> None:
        """Remember something from now on, and forget what is too old or too much."""
        self._all[key] = now + self.life, value
        self._all.move_to_end(key)
        while next(iter(self._all.values()))[0] <= now or len(self._all) > KEPT:
            self._all.popitem(last=False)

    def change(self, key: Key, value: Value) -> None:
        """Put something else in the place of what is there, until the same time."""
        self._all[key] = self._all[key][0], value

    def pop(self, key: Key) -> None:
        """Forget something, if it is there."""
        self._all.pop(key, None)

    def forget(self, of: Callable[[Key], bool]) -> int:
        """Forget what a function picks out. @return: how many."""
        picked = list(filter(of, self._all))
        for key in picked:
            del self._all[key]
        return len(picked)

    def ends(self, now: float, most: int) -> list[tuple[Key, float]]:
        """What is there, with the time until which it is: the newest, at most so many, the oldest of them first."""
        there = ((key, until) for key, (until, _) in reversed(self._all.items()) if now < until <= now + self.life)
        return list(islice(there, most))[::-1]
