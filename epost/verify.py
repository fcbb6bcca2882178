"""
Whether the next hop would take a recipient: a RCPT probe with a cache, so that mail for unknown users is refused at the
door and not returned to forged senders (spec 5).

A 5xx that speaks of the user refuses, and a mailbox that is full does for now. To whom not everybody may write, as to
many a list, the answer is 252: then the next hop is asked for the sender as well, and what it refuses is refused here.
No answer means accept: a back-end that is down must not turn mail away, it waits in the queue. Each next hop has its
own places, and one that did not answer is not asked for a moment: it holds up no client of another.
"""

import re
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, maybeDeferred
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

REMEMBERED = 50_000  # answers; about 300 octets each
AT_ONCE = 100  # probes under way
EACH = 5  # of them at one next hop
# No such user (RFC 3463 3.2), or no word why. What is wrong with a probe says nothing of a message: a list takes no
# null sender.
_UNKNOWN = re.compile(r"5\.(?:0\.0|1\.\d+|2\.1)\Z")
_FULL = "4.2.2"  # RFC 3463 3.3: mail for it would wait here for days, and then go back to whom anybody can forge
SILENT_SECONDS = 30.0  # for which a next hop that did not answer is not asked
_DEPENDS = 252  # the next hop cannot tell without a sender

Key = tuple[tuple[str, str], tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class _Question:
    """What a next hop is asked. @ivar sender: from whom; L{None}: from the null path."""

    address: Address
    sender: Address | None = None

    @property
    def key(self) -> Key:
        """What questions are compared by."""
        return _key(self.address, self.sender)


@dataclass(eq=False, slots=True)
class _Line:
    """
    One next hop, as long as there is anything to ask it.

    @ivar asking: probes under way.
    @ivar waiting: the questions that have no probe yet.
    """

    route: Onward
    asking: int = 0
    waiting: deque[_Question] = field(default_factory=deque)


class Verifier:
    """
    Asks and remembers.

    @ivar positive: seconds for which it is remembered that there is a recipient.
    @ivar negative: seconds for which it is that there is none, and what one takes from a sender: who may write to a
        list changes more often than who is there. That a mailbox is full is not: its owner may have made room.
    """

    def __init__(
        self, router: IRouter, carrier: ICarrier, clock: IReactorTime, positive: float, negative: float
    ) -> None:
        self.router = router
        self.carrier = carrier
        self.clock = clock
        self.positive = positive
        self.negative = negative
        self._known: OrderedDict[Key, tuple[float, Decision]] = OrderedDict()
        self._asked: dict[Key, list[Deferred[Decision]]] = {}
        self._lines: OrderedDict[str, _Line] = OrderedDict()  # by destination; who was served last comes last
        self._silent: dict[str, float] = {}  # by destination until when
        self._asking = 0
        self._beginning = False

    def __call__(self, address: Address, sender: Address | None) -> "Decision | Deferred[Decision]":
        """
        Decide about a recipient of a relay domain.

        @param sender: the reverse path; L{None}: the null one.
        @return: the decision, bare where it is remembered; the Deferred fires always.
        """
        answer = self._answer(address)
        if isinstance(answer, Decision):
            return self._further(answer, address, sender)
        return answer.addCallback(self._further, address, sender)

    def _further(self, decision: Decision, address: Address, sender: Address | None) -> "Decision | Deferred[Decision]":
        """What a next hop says of a sender, where that has a say."""
        if decision.reply.code != _DEPENDS or sender is None:
            return decision
        return self._answer(address, sender)

    def _answer(self, address: Address, sender: Address | None = None) -> "Decision | Deferred[Decision]":
        """What a next hop says, or has said."""
        found = self._known.get(_key(address, sender))
        if found is not None and found[0] > self.clock.seconds():
            return found[1]
        route = self.router.route(address)
        if not isinstance(route, Onward):
            return _taken(address, "there is nobody to ask")
        question = _Question(address, sender)
        if self._silent.get(route.destination, 0.0) > self.clock.seconds():
            return _unasked(question.address, route)
        answer: Deferred[Decision] = Deferred()
        asked = self._asked.setdefault(question.key, [])
        asked.append(answer)
        if len(asked) == 1:
            self._lines.setdefault(route.destination, _Line(route)).waiting.append(question)
            self._begin()
        return answer

    def forget(self) -> None:
        """The tables have changed: what was remembered may be about another host."""
        self._known.clear()
        self._silent.clear()

    def _begin(self) -> None:
        """Ask as many as may be asked at once. A loop: probes may end at once, and thousands may wait."""
        if self._beginning:
            return
        self._beginning = True
        while self._asking < AT_ONCE and (line := self._next()) is not None:
            self._lines.move_to_end(line.route.destination)
            question = line.waiting.popleft()
            line.asking += 1
            self._asking += 1
            probe = maybeDeferred(self.carrier.probe, line.route, question.address, question.sender)
            probe.addBoth(self._ended, line)
            probe.addCallbacks(self._heard, self._broken, callbackArgs=(question, line.route), errbackArgs=(question,))
            probe.addBoth(self._goOn)
        self._beginning = False

    def _goOn(self, result: object) -> object:
        self._begin()
        return result

    def _next(self) -> _Line | None:
        return next((line for line in self._lines.values() if line.waiting and line.asking < EACH), None)

    def _ended(self, result: Reply | Failure, line: _Line) -> Reply | Failure:
        """A probe has ended; where its next hop cannot be asked, whoever waits for that need not wait any longer."""
        destination = line.route.destination
        line.asking -= 1
        self._asking -= 1
        if isinstance(result, Reply) and result.transient and result.enhanced:  # of our own: nobody answered
            self._silent[destination] = self.clock.seconds() + SILENT_SECONDS
            waiting = list(line.waiting)
            line.waiting.clear()
            for question in waiting:
                self._tell(question, _unasked(question.address, line.route))
        elif isinstance(result, Reply):
            self._silent.pop(destination, None)
        if not line.asking and not line.waiting:
            self._lines.pop(destination, None)
        return result

    def _heard(self, reply: Reply, question: _Question, route: Onward) -> None:
        address = question.address
        because = f"{route.destination} answered {safe(reply.written(enhanced=True)[0])}"
        decision = _taken(address, because)
        if reply.permanent and question.sender is not None:
            because = f"{because} to <{question.sender}>"
            decision = Decision(wording.posting(address), Because("verification", 0, because))
        elif reply.permanent and _UNKNOWN.match(reply.status):
            decision = Decision(wording.unknownUser(address), Because("verification", 0, because))
        elif reply.transient and reply.status == _FULL:
            decision = Decision(wording.boxFull(), decision.because)
        elif reply.code == _DEPENDS:
            decision = Decision(wording.dependsOnSender(address), decision.because)
        if reply.accepts or decision.reply.permanent:
            lasting = decision.accepts and question.sender is None
            self._remember(question, decision, self.positive if lasting else self.negative)
        self._tell(question, decision)

    def _broken(self, failure: Failure, question: _Question) -> None:
        _log.failure("verification of <{address}> failed", failure, address=question.address)
        self._tell(question, _taken(question.address, "the probe failed"))

    def _remember(self, question: _Question, decision: Decision, seconds: float) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.popitem(last=False)
        self._known[question.key] = (self.clock.seconds() + seconds, decision)

    def _tell(self, question: _Question, decision: Decision) -> None:
        for answer in self._asked.pop(question.key):
            answer.callback(decision)


def _key(address: Address, sender: Address | None) -> Key:
    return address.key, None if sender is None else sender.key


def _taken(address: Address, why: str) -> Decision:
    return Decision(wording.recipientOk(address), Because("verification", 0, why))


def _unasked(address: Address, route: Onward) -> Decision:
    return _taken(address, f"{route.destination} could not be asked a moment ago")
