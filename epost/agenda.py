"""
What is to be looked at when: one heap of due times, one timer.

A message rests here by name alone. Where more is due than memory has room for, it is opened as room is made, the oldest
first; where destinations are crowded, so that messages are only read to learn that they must wait, they are read at a
measured pace. So a large queue is neither read at once nor in the way of what is new.
"""

import heapq
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from epost.mail.name import Name

BATCH = 50  # messages opened in one turn of the reactor
PACE = 0.1  # seconds between two batches while destinations are crowded
FIRST = -1.0  # a due time before all others


class Agenda:
    """
    The names that wait.

    @ivar running: whether anything is opened.
    """

    def __init__(
        self,
        clock: IReactorTime,
        begin: Callable[[Name], None],
        room: Callable[[], bool],
        crowded: Callable[[], bool],
    ) -> None:
        """
        @param begin: opens a message whose time has come. It raises nothing.
        @param room: whether memory has room for one more.
        @param crowded: whether messages wait for destinations that have no room.
        """
        self.running = False
        self._clock = clock
        self._begin = begin
        self._room = room
        self._crowded = crowded
        self._heap: list[tuple[float, Name]] = []
        self._next: dict[str, tuple[float, Name]] = {}  # by stem the item of the heap that counts
        self._timer: IDelayedCall | None = None
        self._rests = 0.0  # when the next batch may be opened
        self._pumping = False

    def __len__(self) -> int:
        return len(self._next)

    def add(self, name: Name, due: float) -> None:
        """Look at a message when it is due, and not when it was said before. L{pump} is the caller's to call."""
        item = (due, name)
        self._next[name.stem] = item
        heapq.heappush(self._heap, item)

    def recall(self, names: Iterable[Name]) -> None:
        """Look at these before all others."""
        for name in names:
            self.add(name, FIRST)
        self.pump()

    def pump(self) -> None:
        """Open what is due, as far as there is room."""
        if not self.running or self._pumping or not self._heap:
            return
        self._pumping = True
        now, left = self._clock.seconds(), BATCH
        while left and self._heap and self._ripe(now) and self._room():
            item = heapq.heappop(self._heap)
            stem = item[1].stem
            if self._next.get(stem) is item:
                left -= 1
                del self._next[stem]
                self._begin(item[1])
        self._pumping = False
        if not left and self._crowded():
            self._rests = now + PACE
        if self._heap and self._room():
            due = self._heap[0][0]
            self._wind(max(due, self._rests) if due != FIRST and self._crowded() else due)

    def stop(self) -> None:
        """Open nothing more."""
        self.running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _ripe(self, now: float) -> bool:
        """Whether the first one may be opened."""
        due = self._heap[0][0]
        return due == FIRST or (due <= now and (self._rests <= now or not self._crowded()))

    def _wind(self, due: float) -> None:
        """Set the timer, unless it goes off before."""
        now = self._clock.seconds()
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= max(due, now):
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(due - now, 0), self.pump)
