"""Refusals that are said a while after the attempt began; see L{epost.login.logins}."""

from collections import OrderedDict

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from epost.interfaces import Outcome

WAITING = 1000  # refusals that wait to be said


class Waiting:
    """Answers that wait for their time, a bounded number: for one more the oldest is said now."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._all: OrderedDict[Deferred[Outcome], tuple[Outcome, IDelayedCall]] = OrderedDict()

    def hold(self, outcome: Outcome, due: float) -> "Deferred[Outcome]":
        """@param due: on the clock."""
        answer: Deferred[Outcome] = Deferred()
        call = self._clock.callLater(max(due - self._clock.seconds(), 0.0), self._say, answer)
        self._all[answer] = outcome, call
        if len(self._all) > WAITING:
            self._say(next(iter(self._all)))
        return answer

    def _say(self, answer: "Deferred[Outcome]") -> None:
        outcome, call = self._all.pop(answer)
        if call.active():
            call.cancel()
        answer.callback(outcome)

    def close(self) -> None:
        """Say all of them."""
        while self._all:
            self._say(next(iter(self._all)))
