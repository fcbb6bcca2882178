"""
The transport of the SMTP server: octets from a socket into a L{ServerSession}, its events to admission and intake.

A connection keeps one rule: while an event is undecided at most one read of the transport is taken, so what a client
can make us hold is two of them, whatever it sends; and while it does not read our replies we do not read its commands.
How many may be connected, and who gives way when all places are taken, is the business of L{epost.net.crowd}.

RFC 5321 4.5.3.2.7 (timeouts), 3.8 (421 at shutdown); spec 7 (receivelog), 8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.interfaces import IAdmission, IDraft, IIntake, IReceiveLog
from epost.mail.address import Address
from epost.mail.decision import Client, Decision
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.net.crowd import Crowd
from epost.net.refusals import Refusals
from epost.net.writing import write
from epost.smtp import wording
from epost.smtp.server import (
    Closed,
    Content,
    Data,
    Discard,
    End,
    Event,
    Hello,
    Mail,
    Rcpt,
    ServerSession,
    ServerSettings,
    Want,
)

_log = Logger()

COMMANDS = 4096  # octets of commands read at a time: a reply may be twenty times as long as its command
CONTENT = 65536  # octets of content read at a time
SLOW = 1000  # octets a second: who sends more slowly for long holds a place that others want


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a client may be silent, in seconds.

    @ivar command: between commands (RFC 5321 4.5.3.2.7).
    @ivar content: between two pieces of content.
    @ivar message: for a whole content, and a second more for each L{SLOW} octets of it.
    @ivar farewell: until a client has read our last words and closed.
    """

    command: float = 300.0
    content: float = 180.0
    message: float = 600.0
    farewell: float = 5.0


@implementer(IPushProducer)
class Receiver(Protocol):
    """
    One connection of a client.

    @ivar session: the protocol.
    @ivar number: identifies the connection in receivelog.
    @ivar peer: IP address.
    """

    transport: Any  # ITCPTransport, IConsumer and IPushProducer at once
    _mail: Mail
    _verdict: Decision
    _name: Name
    _timeout: IDelayedCall
    _until: float  # when patience with the content ends

    def __init__(self, house: "ReceiverFactory", session: ServerSession, number: int, peer: str) -> None:
        self.house = house
        self.session = session
        self.number = number
        self.peer = peer
        self._recipients: list[Address] = []
        self._draft: IDraft | None = None
        self._waiting = False  # an event is undecided
        self._paused = False  # the client went on meanwhile: one read is kept, the next waits
        self._running = False  # inside _run
        self._choked = False  # the client does not read our replies
        self._closing = False
        self._leaving: Reply | None = None  # say this as soon as the message at hand is done

    def connectionMade(self) -> None:
        """Say the greeting, or why there is none."""
        self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = COMMANDS
        self.transport.registerProducer(self, True)
        self._timeout = self.house.clock.callLater(self.house.patience.command, self._timedOut)
        refusal = self.house.crowd.arrived(self, self.peer, self.session.client.known)
        if refusal is None:
            self.session.greet(self.house.date(self.house.clock.seconds()))
        else:
            _log.warn("{peer} refused: {reply}", peer=self.peer, reply=refusal)
            self.session.close(refusal)
        self._run()

    def dataReceived(self, data: bytes) -> None:
        """Feed the session and do what it asks; where it cannot go on yet, read no more than this."""
        if self._closing:
            return
        if self._draft is None:
            self.house.crowd.heard(self)
        self.session.receive(data)
        if self._waiting:
            self._paused = True
            self.transport.pauseProducing()
        else:
            self._run()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was not finished; a commit under way goes on, for the client may send no second time."""
        if self._timeout.active():
            self._timeout.cancel()
        self._closing = True
        if not self._waiting:
            self._discard()
        self.house.log.lines(self.number, self.session.transcript())
        self.house.log.closed(self.number)
        self.house.crowd.left(self, self.peer)

    def pauseProducing(self) -> None:
        """Our replies pile up: read no more commands."""
        self._choked = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Our replies are gone."""
        self._choked = False
        if not self._paused and not self._closing:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""

    def leave(self, reply: Reply) -> None:
        """End the session with a 421, now or when the message at hand has its answer."""
        self._leaving = reply
        if not self.busy:
            self._run()

    @property
    def busy(self) -> bool:
        """Whether a message is being received or made durable."""
        return self._draft is not None

    def _run(self) -> None:
        """Do everything that can be done without more octets or an answer."""
        if self._running:
            return
        self._running = True
        session = self.session
        closed = False
        while True:
            if self._leaving is not None and not self.busy:
                session.close(self._leaving)  # what was pipelined behind the message at hand is not begun
            event = session.nextEvent()
            if event is Want.DATA:
                break
            if event is Want.ANSWER:
                self._waiting = True
                break
            if type(event) is Closed:
                closed = True
                break
            _ACTIONS[type(event)](self, event)
        self._running = False
        self._flush()
        if closed:
            self._farewell()
        else:
            patience = self.house.patience
            if self._draft is None:
                self._timeout.reset(patience.command)
            else:
                left = max(self._until - self.house.clock.seconds(), 0.0)
                self._timeout.reset(min(patience.content, left))

    def _flush(self) -> None:
        """Write what is to be written, at one go, and what receivelog is told."""
        lines = self.session.transcript()
        if lines:
            self.house.log.lines(self.number, lines)
        octets = self.session.outgoing()
        if octets:
            write(self.transport, octets)

    def _farewell(self) -> None:
        """
        End the connection behind our last words.

        Where the client may still be sending only our half is closed at first: closing all with octets unread would
        make TCP throw away the reply that says why.
        """
        if self._closing:
            return
        self._closing = True
        self._discard()
        self._timeout.reset(self.house.patience.farewell)
        self.transport.unregisterProducer()
        if self.session.farewell:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()

    def _timedOut(self) -> None:
        """The client was silent for too long, or does not take our last words."""
        if self._closing:
            self.transport.abortConnection()
            return
        self._timeout = self.house.clock.callLater(self.house.patience.command, self._timedOut)
        if not self._waiting:  # else it is us who are slow
            _log.info("{peer} was silent, or slow with its content, for too long", peer=self.peer)
            self.session.close(wording.timedOut(self.house.settings.host))
            self._run()

    def _answer(self, reply: Reply) -> None:
        """Answer the undecided event, now or after a Deferred."""
        if self._closing:
            return  # nobody is there to hear it
        self.session.answer(reply)
        if self._waiting:
            self._waiting = False
            if self._paused:
                self._paused = False
                if not self._choked:
                    self.transport.resumeProducing()
            self._run()

    # What the session asks, one method for each event.

    def _hello(self, event: Hello) -> None:
        pass

    def _decideMail(self, event: Mail) -> None:
        """MAIL: the rules, then a number."""
        house = self.house
        verdict = house.admission.sender(self.session.client, event.path, event.blank)
        reply = verdict.reply
        if verdict.accepts:
            try:
                self._name = house.intake.name(event.size or 0)
            except Refused as refused:
                reply = refused.reply
            self._mail, self._verdict = event, verdict
            self._recipients.clear()
        else:
            house.refusals.tell(self.peer, "MAIL", event.path, verdict)
        self._answer(reply)

    def _decideRcpt(self, event: Rcpt) -> None:
        """RCPT: the rules, which may have to ask the next hop."""
        decision = self.house.admission.recipient(self.session.client, self._mail.path, self._verdict, event.path)
        if isinstance(decision, Deferred):
            decision.addCallbacks(self._recipientDecided, self._broken, callbackArgs=(event.path,))
        else:
            self._recipientDecided(decision, event.path)

    def _recipientDecided(self, decision: Decision, path: Address) -> None:
        if decision.accepts:
            self._recipients.append(path)
        else:
            self.house.refusals.tell(self.peer, "RCPT", path, decision, f" from <{self._mail.path or ''}>")
        self._answer(decision.reply)

    def _openDraft(self, event: Data) -> None:
        """DATA: somewhere to put the content."""
        mail, client = self._mail, self.session.client
        envelope = Envelope(mail.path, tuple(self._recipients), mail.utf8, mail.body, client.address)
        try:
            self._draft = self.house.intake.open(self._name, client, envelope)
        except Refused as refused:
            self._answer(refused.reply)
        else:
            self.house.crowd.working(self)
            self._until = self.house.clock.seconds() + self.house.patience.message
            self.transport.bufferSize = CONTENT
            self._answer(wording.startInput(self._name))

    def _content(self, event: Content) -> None:
        draft = self._draft
        assert draft is not None
        self._until += len(event.part) / SLOW
        draft.write(event.part)

    def _commit(self, event: End) -> None:
        """The end of data: the reply waits until the message is durable."""
        draft = self._draft
        assert draft is not None
        draft.commit().addCallbacks(self._committed, self._broken)

    def _committed(self, result: object) -> None:
        self._ended()
        self._answer(wording.received(self._name, self.session.client.extended))

    def _broken(self, failure: Failure) -> None:
        """What could not be done: a refusal is told, a defect of ours is logged and means not now."""
        self._ended()
        if isinstance(failure.value, Refused):
            reply = failure.value.reply
            _log.warn("{name} of {peer} refused: {reply}", name=self._name, peer=self.peer, reply=reply)
        else:
            _log.failure("{name} of {peer} failed", failure, name=self._name, peer=self.peer)
            reply = wording.notNow()
        self._answer(reply)

    def _voided(self, event: Discard) -> None:
        """The transaction is void."""
        self._discard()
        self._recipients.clear()

    def _discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._ended()

    def _ended(self) -> None:
        """No message is at hand any more."""
        self._draft = None
        self.transport.bufferSize = COMMANDS
        self._recipients = []
        self.house.crowd.idle(self)


_ACTIONS: dict[type[Event], Callable[..., None]] = {
    Hello: Receiver._hello,
    Mail: Receiver._decideMail,
    Rcpt: Receiver._decideRcpt,
    Data: Receiver._openDraft,
    Content: Receiver._content,
    End: Receiver._commit,
    Discard: Receiver._voided,
}


class ReceiverFactory(Factory):
    """
    Makes a L{Receiver} for each connection.

    @ivar date: the RFC 5322 date, for the greeting.
    @ivar refusals: the daemon's log of them; to be flushed at the end.
    """

    noisy = False

    def __init__(
        self,
        settings: ServerSettings,
        admission: IAdmission,
        intake: IIntake,
        log: IReceiveLog,
        crowd: Crowd,
        patience: Patience,
        clock: IReactorTime,
        date: Callable[[float], str],
    ) -> None:
        self.settings = settings
        self.admission = admission
        self.intake = intake
        self.log = log
        self.crowd = crowd
        self.patience = patience
        self.clock = clock
        self.date = date
        self.refusals = Refusals(clock)
        self._numbers = count(1)

    def buildProtocol(self, addr: IAddress | None) -> Receiver:
        """A session of its own."""
        peer = getattr(addr, "host", "")
        if peer.startswith("::ffff:"):
            peer = peer[7:]  # IPv4-mapped: spec 3 compares it as IPv4
        session = ServerSession(self.settings, peer, self.admission.exempt(Client(peer)))
        return Receiver(self, session, next(self._numbers), peer)
