"""
Whether the next hop would take a recipient: a RCPT probe with a cache, so that mail for unknown users is refused at the
door and not returned to forged senders (spec 5).

Only a 5xx refuses. No answer means accept: a back-end that is down must not turn mail away, it waits in the queue.
"""

from collections import OrderedDict

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from epost.interfaces import ICarrier, IRouter
from epost.mail.address import Address
from epost.mail.decision import Because, Decision
from epost.mail.reply import Reply
from epost.mail.route import Onward
from epost.mail.safe import safe
from epost.smtp import wording

_log = Logger()

REMEMBERED = 50_000  # addresses; about 300 octets each
AT_ONCE = 20  # probes under way


class Verifier:
    """
    Asks and remembers.

    @ivar positive: seconds for which a yes is remembered.
    @ivar negative: seconds for which a no is.
    """

    def __init__(
        self, router: IRouter, carrier: ICarrier, clock: IReactorTime, positive: float, negative: float
    ) -> None:
        self.router = router
        self.carrier = carrier
        self.clock = clock
        self.positive = positive
        self.negative = negative
        self._known: OrderedDict[tuple[str, str], tuple[float, Decision]] = OrderedDict()
        self._asked: dict[tuple[str, str], list[Deferred[Decision]]] = {}
        self._places = DeferredSemaphore(AT_ONCE)

    def __call__(self, address: Address) -> "Decision | Deferred[Decision]":
        """
        Decide about a recipient of a relay domain.

        @return: the decision, bare where it is remembered; the Deferred fires always.
        """
        found = self._known.get(address.key)
        if found is not None and found[0] > self.clock.seconds():
            return found[1]
        route = self.router.route(address)
        if not isinstance(route, Onward):
            return _taken(address, "there is nobody to ask")
        answer: Deferred[Decision] = Deferred()
        waiting = self._asked.setdefault(address.key, [])
        waiting.append(answer)
        if len(waiting) == 1:
            probe: Deferred[Reply] = self._places.run(self.carrier.probe, route, address)
            probe.addCallbacks(self._heard, self._broken, callbackArgs=(address, route), errbackArgs=(address,))
        return answer

    def forget(self) -> None:
        """The tables have changed: what was remembered may be about another host."""
        self._known.clear()

    def _heard(self, reply: Reply, address: Address, route: Onward) -> None:
        because = f"{route.destination} answered {safe(reply.written(enhanced=True)[0])}"
        if reply.permanent:
            decision = Decision(wording.unknownUser(address), Because("verification", 0, because))
            self._remember(address, decision, self.negative)
        else:
            decision = _taken(address, because)
            if reply.accepts:
                self._remember(address, decision, self.positive)
        self._tell(address, decision)

    def _broken(self, failure: Failure, address: Address) -> None:
        _log.failure("verification of <{address}> failed", failure, address=address)
        self._tell(address, _taken(address, "the probe failed"))

    def _remember(self, address: Address, decision: Decision, seconds: float) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.popitem(last=False)
        self._known[address.key] = (self.clock.seconds() + seconds, decision)

    def _tell(self, address: Address, decision: Decision) -> None:
        for answer in self._asked.pop(address.key):
            answer.callback(decision)


def _taken(address: Address, why: str) -> Decision:
    return Decision(wording.recipientOk(address), Because("verification", 0, why))
