"""
Destinations side by side: who may connect where, and in which order.

A lane is one destination with what waits for it. Workers take from it, one message after the other over one channel,
until it is empty. There is a limit of workers for each lane and one for all; where all are taken, lanes that wait for
one get it in turn, and a worker gives way after a number of messages. So a slow destination holds up only itself.

A worker that has sent one message and is alone says QUIT at once, as in the seed. At a destination where more is going
on it rests for a moment with its connection open: a stream of mail is not a connection for each message.

What a lane may hold in memory is its share: as many as can fill the memory only when all workers are busy. What comes
beyond it is parked, by name alone, and called back when there is room.

Anybody can make mail for as many domains as he likes, with hosts that accept a connection and say nothing. So a quarter
of the workers and of the memory is kept for the hosts that a table or a setting names: back-end and gateway.
"""

import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from epost.interfaces import ICarrier, Parcel, Report
from epost.mail.name import Name
from epost.mail.route import Onward

TURN = 20  # messages after which a worker gives way to a lane that has none
REST = 1.0  # seconds that a worker keeps its connection for the next message


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much happens at once.

    @ivar concurrency: connections in all.
    @ivar perDestination: connections to one destination.
    @ivar open: messages of the queue that are in memory.
    """

    concurrency: int = 200
    perDestination: int = 20
    open: int = 2000

    @property
    def share(self) -> int:
        """How many messages one destination may hold in memory without a connection."""
        return max(self.perDestination, self.open * self.perDestination // self.concurrency - self.perDestination)

    @property
    def lookedUp(self) -> int:
        """Connections to destinations whose hosts the DNS names: three quarters, at least one."""
        return max(1, self.concurrency - max(1, self.concurrency // 4))

    @property
    def waiting(self) -> int:
        """How many messages those destinations together may hold in memory without a connection."""
        return max(1, self.open * self.lookedUp // self.concurrency - self.lookedUp)


class Errand(Protocol):
    """What a lane carries out. None of its methods raises anything."""

    def begin(self) -> Parcel | None:
        """The attempt starts now. @return: L{None} where it has failed already."""

    def end(self, report: Report) -> None:
        """What came of it."""

    def broken(self) -> None:
        """An exception, to be found in C{sys.exc_info}, ended it."""


@dataclass(eq=False, slots=True)
class _Lane:
    """
    One destination.

    @ivar workers: those that rest included.
    @ivar resting: to wake them; the last went to rest last.
    @ivar turn: its number in the line of those that wait for a worker; 0 where it does not stand there.
    """

    route: Onward
    queue: deque[Errand] = field(default_factory=deque)
    workers: int = 0
    resting: "list[Deferred[None]]" = field(default_factory=list)
    turn: int = 0
    parked: dict[str, Name] = field(default_factory=dict)


class Lanes:
    """
    All destinations that have anything to do.

    @ivar workers: connections that are open or being made.
    """

    def __init__(
        self,
        carrier: ICarrier,
        limits: Limits,
        clock: IReactorTime,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        recall: Callable[[list[Name]], None],
    ) -> None:
        """
        @param spawn: runs a coroutine.
        @param recall: takes the names of parked messages for which there is room again.
        """
        self.workers = 0
        self._carrier = carrier
        self._limits = limits
        self._clock = clock
        self._spawn = spawn
        self._recall = recall
        self._lanes: dict[Onward, _Lane] = {}
        self._lookedUp = 0  # of the workers, those at destinations that are looked up
        self._waiting = 0  # errands without a worker at such destinations
        self._parked: dict[str, Name] = {}  # what is beyond those, at whichever destination
        self._lines: dict[bool, deque[_Lane]] = {False: deque(), True: deque()}  # by C{forwards}
        self._numbers = itertools.count(1)
        self._resting = 0
        self._stopped = False

    def put(self, route: Onward, errand: Errand) -> bool:
        """Carry out an errand, now or in its turn. @return: whether there was room for it."""
        lane = self._lanes.get(route)
        if self._crowded(lane) or self._outOfMemory(route):
            return False
        if lane is None:
            lane = self._lanes[route] = _Lane(route)
        lane.queue.append(errand)
        self._waiting += not route.forwards
        self._staff(lane)
        return True

    def park(self, route: Onward, name: Name) -> bool:
        """Remember a message for which there was no room. @return: whether there still is none."""
        lane = self._lanes.get(route)
        if lane is not None and self._crowded(lane):
            lane.parked[name.stem] = name
        elif self._outOfMemory(route):
            self._parked[name.stem] = name
        else:
            return False
        return True

    def parked(self) -> int:
        """How many wait by name alone, a message counted once for each crowded destination."""
        return len(self._parked) + sum(len(lane.parked) for lane in self._lanes.values())

    def crowded(self) -> bool:
        """Whether anything is parked."""
        return bool(self._parked) or any(lane.parked for lane in self._lanes.values())

    def stop(self) -> None:
        """Start nothing more. What is under way comes to its end, unless it is cancelled."""
        self._stopped = True
        for line in self._lines.values():
            line.clear()
        for lane in self._lanes.values():
            lane.queue.clear()
        for lane in list(self._lanes.values()):
            while lane.resting:
                self._wake(lane)

    def _crowded(self, lane: _Lane | None) -> bool:
        return lane is not None and len(lane.queue) >= self._limits.share

    def _outOfMemory(self, route: Onward) -> bool:
        return not route.forwards and self._waiting >= self._limits.waiting

    def _full(self, forwards: bool) -> bool:
        """Whether no worker is left for lanes of a kind."""
        return self.workers >= self._limits.concurrency or self._overShare(forwards)

    def _overShare(self, forwards: bool) -> bool:
        return not forwards and self._lookedUp >= self._limits.lookedUp

    def _staff(self, lane: _Lane) -> None:
        """Give a lane the workers that it can use."""
        forwards = lane.route.forwards
        while lane.queue and lane.resting:
            self._wake(lane)
        while lane.queue and lane.workers < self._limits.perDestination and not self._stopped:
            if self._full(forwards) and self._resting:
                self._relieve(forwards)
            if self._full(forwards):
                if not lane.turn:
                    lane.turn = next(self._numbers)
                    self._lines[forwards].append(lane)
                return
            self._hire(lane)

    def _relieve(self, forwards: bool) -> None:
        """Let a worker go that rests, if there is one whose place can be had by a lane of this kind."""
        over = self._overShare(forwards)
        found = (other for other in self._lanes.values() if other.resting and not (over and other.route.forwards))
        if (lane := next(found, None)) is not None:
            self._wake(lane)

    def _awaited(self, lane: _Lane) -> bool:
        """Whether a lane waits that can have the place of a worker of this one."""
        over = lane.route.forwards and self._overShare(False)
        return bool(self._lines[True] or (self._lines[False] and not over))

    def _hire(self, lane: _Lane) -> None:
        self._count(lane, 1)
        self._spawn(self._work(lane))

    def _count(self, lane: _Lane, more: int) -> None:
        lane.workers += more
        self.workers += more
        self._lookedUp += 0 if lane.route.forwards else more

    async def _work(self, lane: _Lane) -> None:
        """Hand over one message after the other on one channel."""
        channel = self._carrier.channel(lane.route)
        try:
            sent, last = 0, False
            while lane.queue and not last:
                errand = self._take(lane)
                parcel = errand.begin()
                if parcel is None:
                    continue
                try:
                    report = await channel.send(parcel)
                except CancelledError:
                    raise
                except Exception:
                    errand.broken()
                    break
                sent += 1
                alone = sent == lane.workers == 1
                last = (not lane.queue and alone) or (self._awaited(lane) and (not lane.queue or sent >= TURN))
                if last:
                    channel.quit()  # before the outcome: in senderlog QUIT stands before what follows (seed)
                errand.end(report)
                if not (lane.queue or lane.parked or last or self._stopped):
                    await self._rest(lane)
            if not last:
                channel.quit()
        except CancelledError:
            channel.quit()
        finally:
            self._leave(lane)

    async def _rest(self, lane: _Lane) -> None:
        """Wait for the next errand, or for the end of patience."""
        woken: Deferred[None] = Deferred()
        late = self._clock.callLater(REST, self._wake, lane, woken)
        lane.resting.append(woken)
        self._resting += 1
        try:
            await woken
        except CancelledError:
            lane.resting.remove(woken)
            self._resting -= 1
            raise
        finally:
            if late.active():
                late.cancel()

    def _wake(self, lane: _Lane, woken: "Deferred[None] | None" = None) -> None:
        """Let a worker that rests go on, or leave where there is nothing to do. C{woken}: which; else the last."""
        if woken is None:
            woken = lane.resting[-1]
        lane.resting.remove(woken)
        self._resting -= 1
        woken.callback(None)

    def _take(self, lane: _Lane) -> Errand:
        """The next errand; what is parked moves up."""
        errand = lane.queue.popleft()
        self._waiting -= not lane.route.forwards
        if self._parked and not self._outOfMemory(lane.route):
            self._recall([self._parked.pop(next(iter(self._parked)))])
        room = self._limits.share - len(lane.queue)
        if lane.parked and room > self._limits.share // 2:
            names = [lane.parked.pop(stem) for stem in list(lane.parked)[:room]]
            self._recall(names)
        return errand

    def _leave(self, lane: _Lane) -> None:
        """A worker has gone: its place is for the lane whose turn it is."""
        self._count(lane, -1)
        while (first := self._first()) is not None:
            self._lines[first.route.forwards].popleft()
            first.turn = 0
            if first.queue:
                self._hire(first)
                self._staff(first)
        self._staff(lane)
        if not lane.workers and not lane.queue and self._lanes.get(lane.route) is lane:
            del self._lanes[lane.route]
            if lane.parked:
                self._recall(list(lane.parked.values()))

    def _first(self) -> _Lane | None:
        """The lane whose turn it is, of those that may have a worker."""
        heads = (line[0] for forwards, line in self._lines.items() if line and not self._full(forwards))
        return min(heads, key=lambda lane: lane.turn, default=None)
