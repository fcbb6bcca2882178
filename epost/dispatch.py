"""
The queue service: what is due is routed, handed over, and tried again, returned or buried.

A message rests, by name alone, in a heap of due times, or it is open: its entry is in memory, each of its destinations
carries out an errand, and when the last one has ended it is closed: removed, returned to its sender, or laid to rest
until it is due again. What became of each recipient is recorded as soon as it is known, and nothing is removed before
the notice about it is durable. Whatever else happens follows from the entry, so a crash at any point is only a restart.

An exception in one message is logged with its name and puts that message off; the queue goes on.

House contract 2 and 3; spec 6 (order of the senderlog), 9, 10; RFC 5321 4.5.4.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from epost.agenda import Agenda
from epost.errand import Desk, Errand, Open, endTogether
from epost.interfaces import ICarrier, IContent, IInbox, IReplies, IRouter, ISenderLog, ISpool, Parcel, Report
from epost.lanes import Lanes, Limits
from epost.mail import trace
from epost.mail.entry import Attempt, Entry, Fate
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.retry import Patience
from epost.mail.route import Held, Local, Nowhere, Onward, Route
from epost.returns import Letterhead, Returns, isLetter, isReply

RECIPIENTS = 100  # of one transaction: every server takes as many (RFC 5321 4.5.3.1.8)
PAUSE = 60.0  # seconds after a fault of ours
ADOPTED = 500  # names taken over in one turn

DELIVERED = Reply(250, ("Delivered.",), "2.0.0")


@dataclass(frozen=True, slots=True)
class Counts:
    """
    @ivar waiting: messages that are not due, or for which there was no room.
    @ivar held: messages that a table holds.
    @ivar parked: messages that are due at a crowded destination, once for each.
    @ivar open: messages in memory.
    @ivar connections: to other hosts.
    """

    waiting: int
    held: int
    parked: int
    open: int
    connections: int


class Dispatcher(Service):
    """The queue."""

    _log = Logger()

    def __init__(
        self,
        spool: ISpool,
        inbox: IInbox | None,
        router: IRouter,
        carrier: ICarrier,
        senderLog: ISenderLog,
        clock: IReactorTime,
        letterhead: Letterhead,
        patience: Patience | None = None,
        limits: Limits | None = None,
        grace: float = 10.0,
        replies: IReplies | None = None,
        copied: Callable[[str], object] = lambda stem: None,
    ) -> None:
        """
        @param inbox: L{None} on a daemon without mailboxes.
        @param grace: seconds that attempts have to end when the service stops.
        @param replies: is told of what arrives for who is away; L{None} on a daemon without mailboxes.
        @param copied: called with its stem when a message lies where it could be delivered.
        """
        self.spool = spool
        self.inbox = inbox
        self.router = router
        self.clock = clock
        self.patience = patience or Patience()
        self.limits = limits or Limits()
        self.grace = grace
        self.replies = replies
        self._copied = copied
        self.returns = Returns(letterhead, spool, inbox, router, senderLog, clock, self.patience, self.accepted)
        self._desk = Desk(spool, senderLog, clock, self.patience, self._less)
        self._lanes = Lanes(carrier, self.limits, clock, self._spawn, self._recall)
        self._agenda = Agenda(clock, self._resume, self._room, self._lanes.crowded)
        self._tasks: set[Deferred[None]] = set()
        self._open: dict[str, Open] = {}
        self._held: dict[str, Name] = {}
        self._generation = 0
        self._adopting: IDelayedCall | None = None

    # What the daemon asks.

    def startService(self) -> None:
        """Take over what the process before left, and begin."""
        super().startService()  # type: ignore[no-untyped-call]
        self._agenda.running = True
        self._adopt()

    def stopService(self) -> "Deferred[None]":
        """Begin nothing more. @return: fires when all attempts have ended, or were abandoned after the grace."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._lanes.stop()
        self._agenda.stop()
        if self._adopting is not None and self._adopting.active():
            self._adopting.cancel()
        tasks = list(self._tasks)
        bound = self.clock.callLater(self.grace, _cancel, tasks)
        return DeferredList(tasks).addCallback(lambda _: bound.cancel() if bound.active() else None)

    def accepted(self, entry: Entry) -> None:
        """A new message is durable in the spool. It is tried at once, where memory has room and no table holds it."""
        if entry.attempts and all(isinstance(self.router.route(each), Held) for each in entry.envelope.recipients):
            self._held[entry.name.stem] = entry.name  # it lies where it must, with a line that says why
        elif self._agenda.running and self._room():
            self._begin(entry)
        else:
            self._agenda.add(entry.name, entry.queued)

    def lookAgain(self) -> None:
        """The tables have changed: what they held is routed anew."""
        self._generation += 1
        held, self._held = self._held, {}
        for stem, name in held.items():
            if stem not in self._open:
                self._agenda.add(name, self.clock.seconds())
        self._agenda.pump()

    def counts(self) -> Counts:
        """For the operator."""
        return Counts(len(self._agenda), len(self._held), self._lanes.parked(), len(self._open), self._lanes.workers)

    # What rests.

    def _adopt(self) -> None:
        """Take over the queue, names alone, some in each turn."""
        found = self.spool.adopt(ADOPTED)
        for waiting in found:
            self._agenda.add(waiting.name, waiting.due)
        self._agenda.pump()
        if found:
            self._adopting = self.clock.callLater(0, self._adopt)

    def _recall(self, names: list[Name]) -> None:
        """A destination has room again; messages that are open look after themselves when they are closed."""
        self._agenda.recall(name for name in names if name.stem not in self._open)

    def _resume(self, name: Name) -> None:
        """Read a message and open it."""
        try:
            entry = self.spool.load(name)
        except Refused as refused:
            if refused.reply.transient:  # the spool has told the log why
                self._agenda.add(name, self.clock.seconds() + PAUSE)
            else:
                self._copied(name.stem)
        except Exception:
            self._log.failure("{name} is put off", name=name)
            self._agenda.add(name, self.clock.seconds() + PAUSE)
        else:
            self._begin(entry)

    # An open message.

    def _begin(self, entry: Entry) -> None:
        message = self._open[entry.name.stem] = Open(entry, self._generation)
        try:
            self._spread(message)
        except Exception:
            message.fault()
        self._less(message)

    def _spread(self, message: Open) -> None:
        """Route the recipients that are due and send each group its way."""
        entry, now = message.entry, self.clock.seconds()
        groups: dict[Route, list[int]] = {}
        abandoned = entry.abandoned()
        for place, due in entry.pending().items():
            if due <= now and place not in abandoned:
                groups.setdefault(self.router.route(entry.envelope.recipients[place]), []).append(place)
        boxes: list[Errand] = []
        for route, places in groups.items():
            if isinstance(route, Held):
                message.held = places
                if not entry.attempts:  # it leaves C{incoming}, and has a line that says why
                    message.entry = self.spool.record(message.entry, Attempt(now, 0.0, route.because, "", ()))
            else:
                for start in range(0, len(places), RECIPIENTS):
                    self._send(message, route, tuple(places[start : start + RECIPIENTS]), boxes)
        if boxes:
            self._spawn(self._deliver(boxes))

    def _send(
        self, message: Open, route: Onward | Local | Nowhere, places: tuple[int, ...], boxes: list[Errand]
    ) -> None:
        """Begin the attempt of one group. @param boxes: gets what goes into a mailbox, which begins with all others."""
        entry = message.entry
        tries = max(entry.failures(place) for place in places) if entry.attempts else 0
        errand = Errand(self._desk, message, route, places, entry.name.again(tries))
        message.busy += 1
        if isinstance(route, Local):
            boxes.append(errand)
        elif isinstance(route, Nowhere):
            if errand.begin() is not None:
                errand.endAll(route.reply)
        elif not self._lanes.put(route, errand):
            message.busy -= 1
            message.crowded.update(dict.fromkeys(places, route))

    async def _deliver(self, errands: list[Errand]) -> None:
        """Into mailboxes, all of a message side by side and recorded together."""
        begun: list[tuple[Errand, Deferred[Report | None]]] = []
        content = None
        for errand in errands:
            parcel = errand.begin(content)
            if parcel is not None:
                content = parcel.content
                begun.append((errand, Deferred.fromCoroutine(self._intoBox(errand, parcel))))
        results = await DeferredList([report for _, report in begun], consumeErrors=True)
        # Without a report: it was broken, or cancelled.
        ended = [
            (errand, result) for (errand, _), (done, result) in zip(begun, results, strict=True) if done and result
        ]
        if ended:
            endTogether(ended)

    async def _intoBox(self, errand: Errand, parcel: Parcel) -> Report | None:
        """Into a mailbox, once for each message however many recipients lead there."""
        box = errand.route
        assert isinstance(box, Local)
        host = f"{box.user}@{box.domain}"
        try:
            if self.inbox is None:
                raise ValueError("a local route without mailboxes")
            heading = trace.delivery(parcel.envelope.sender, parcel.recipients[0])
            if not _reached(errand.message.entry, host):
                # A warning may say just that the mailbox is full. Who gets an automatic reply is easily made up.
                bounded = not isLetter(errand.message.entry) or isReply(parcel.content)
                await self.inbox.deliver(box, errand.name, heading, parcel.content, bounded)
                if self.replies is not None and self.replies.awaits(box, parcel.envelope):
                    self.replies.arrived(box, parcel.recipients[0], parcel.envelope, _begin(parcel.content))
            reply = DELIVERED
        except Refused as refused:
            reply = refused.reply
        except CancelledError:
            raise
        except Exception:
            errand.broken()
            return None
        return Report((reply,) * len(errand.places), host)

    # Its end.

    def _less(self, message: Open) -> None:
        """One errand has ended; the last one closes the message."""
        message.busy -= 1
        if not message.busy:
            if not message.ended and not message.faulty and self.returns.wanted(message.entry):
                self._spawn(self._tell(message))
            else:
                self._close(message)

    async def _tell(self, message: Open) -> None:
        """Write the notices."""
        try:
            message.entry = await self.returns.settle(message.entry)
            message.ended = not message.entry.pending()
        except Refused as refused:
            self._log.warn("{name}: no notice now: {reply}", name=message.entry.name, reply=refused.reply)
            message.faulty = True
        except CancelledError:
            return
        except Exception:
            message.fault()
        self._close(message)

    def _close(self, message: Open) -> None:
        """Nothing is under way for a message any more."""
        name, now = message.entry.name, self.clock.seconds()
        del self._open[name.stem]
        self._copied(name.stem)
        try:
            if message.ended:
                self.returns.forget(message.entry)
            elif not message.faulty:
                self._rest(message, now)
        except Exception:
            message.fault()
        if message.faulty:
            self._agenda.add(name, now + PAUSE)
        self._agenda.pump()

    def _rest(self, message: Open, now: float) -> None:
        """Lay a message down where it will be found again."""
        name, pending = message.entry.name, message.entry.pending()
        due = min((d for p, d in pending.items() if p not in message.crowded and p not in message.held), default=None)
        for route in dict.fromkeys(message.crowded.values()):
            if not self._lanes.park(route, name):
                due = now
        if message.held and message.generation != self._generation:
            due = now
        elif message.held:
            self._held[name.stem] = name
        if due is not None:
            self._agenda.add(name, due)

    def _room(self) -> bool:
        """Whether memory has room for one more message."""
        return len(self._open) < self.limits.open

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; the service does not stop before it has ended."""
        task = Deferred.fromCoroutine(work)
        if not task.called:
            self._tasks.add(task)
            task.addBoth(self._done, task)

    def _done(self, result: object, task: "Deferred[None]") -> object:
        self._tasks.discard(task)
        return result


def _cancel(tasks: "list[Deferred[None]]") -> None:
    """Abandon what has not ended."""
    for task in tasks:
        task.cancel()


def _begin(content: IContent) -> bytes:
    """The header of a message, as much of it as anybody looks at; nothing where it cannot be read now."""
    with suppress(Refused):
        return next(iter(content.parts()), b"")
    return b""


def _reached(entry: Entry, host: str) -> bool:
    """Whether an earlier attempt has put the message into this mailbox."""
    return any(a.host == host and any(o.fate is Fate.DELIVERED for o in a.outcomes) for a in entry.attempts)
