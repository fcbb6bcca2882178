"""
The transport of the SMTP server: octets from a socket into a L{ServerSession}, its events to admission and intake.

A connection keeps one rule: while an event is undecided at most one read of the transport is taken, and the next when
all of that is done, so what a client can make us hold is two of them, whatever it sends; and while it does not read our
replies we neither read its commands nor begin those that we hold.
How many may be connected, and who gives way when all places are taken, is the business of L{epost.net.crowd}.

TLS begins behind STARTTLS, or at once on a port for that. Either way nothing is said until the handshake is done, and
then by a session that knows nothing of what was said in clear. Whoever gives way in a handshake is just cut.

RFC 5321 4.5.3.2.7 (timeouts), 3.8 (421 at shutdown); RFC 3207, RFC 8314 3.3 (TLS at once); spec 7 (receivelog), 8.
"""

from collections.abc import Callable
from copy import copy
from itertools import count
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.interfaces import IAdmission, IIntake, ILogins, IReceiveLog
from epost.mail.address import Address
from epost.mail.decision import Client
from epost.mail.reply import Reply
from epost.mail.safe import safe
from epost.net.crowd import Crowd
from epost.net.reading import close
from epost.net.refusals import Refusals
from epost.net.tls import ServerContexts, channelBinding, described
from epost.net.tls import reason as explained
from epost.net.transaction import ACTIONS, COMMANDS, Patience, Transaction
from epost.net.writing import Outbox
from epost.smtp import wording
from epost.smtp.event import Closed, Want
from epost.smtp.server import ServerSession
from epost.smtp.settings import ServerSettings

_ANSWER: Final = Want.ANSWER  # an attribute of an enum is slow to get

UNIX = "unix"  # who comes over a socket that has no addresses: no table names it, and it is not us

Binding = Callable[[str], bytes | None]


@implementer(IPushProducer, IHandshakeListener)
class Receiver(Protocol):
    """
    One connection of a client.

    @ivar session: the protocol.
    @ivar number: identifies the connection in receivelog.
    @ivar peer: IP address.
    """

    transport: Any  # ITCPTransport, IConsumer and IPushProducer at once
    _timeout: IDelayedCall
    _fires: float  # when that is
    _since: float  # since when we are patient
    _starting = False  # 220 to STARTTLS is about to be said
    _shaking = False  # a handshake is under way: there is nobody to talk to
    _waiting = False  # an event is undecided
    _paused = False  # the client went on meanwhile: one read is kept, the next waits
    _running = False  # inside _run
    _choked = False  # the client does not read our replies
    _closing = False
    _leaving: Reply | None = None  # say this as soon as the message at hand is done

    def __init__(self, house: "ReceiverFactory", session: ServerSession, number: int, peer: str) -> None:
        self.house = house
        self.session = session
        self.number = number
        self.peer = peer
        self._transaction = Transaction(house, self)

    def connectionMade(self) -> None:
        """Say the greeting, or why there is none; where TLS comes first, when it stands."""
        self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = COMMANDS
        self.transport.registerProducer(self, True)
        self._since = self.house.clock.seconds()
        self._wake(self.house.patience.shortest)
        refusal = self.house.crowd.arrived(self, self.peer, self.session.client.known)
        if refusal is not None:
            self.house.refusals.seldom(self.peer, f"refused: {refusal}")
        if not self.house.implicit:
            self._open(refusal)
        elif refusal is None:
            self._shake()
        else:  # a handshake, to say no behind it, is what costs
            self._closing = True
            self.transport.abortConnection()

    def _open(self, refusal: Reply | None = None) -> None:
        """The first words."""
        if refusal is None:
            self.session.greet(self.house.date(self.house.clock.seconds()))
        else:
            self.session.close(refusal)
        self._run()

    def _shake(self) -> None:
        """Begin a handshake. What was written before goes out in clear, and nothing that comes is read in clear."""
        self._starting, self._shaking = False, True
        self._expect(self.house.patience.handshake)
        self.transport.startTLS(self.house.contexts, True)
        if self._choked:  # our replies in clear have not been taken yet; the handshake has to be read all the same
            self._choked = False
            self.transport.resumeProducing()

    def handshakeCompleted(self) -> None:
        """TLS stands: a new session."""
        if self._closing:
            return
        self._shaking = False
        self.house.log.lines(self.number, self.session.transcript())
        tls = described(self.transport.getHandle())
        self.session = self.house.session(self.peer, self.session.client.known, tls, self.binding)
        if self.house.implicit:
            self._open()
        else:
            self._run()

    def binding(self, name: str) -> bytes | None:
        """A channel binding of this connection, by its name; see L{ILogins}."""
        return channelBinding(self.transport.getHandle(), name) if self.transport.TLS else None

    def secure(self) -> None:
        """STARTTLS was taken, and is the last that the session reads."""
        self._starting = True

    def dataReceived(self, data: bytes) -> None:
        """Feed the session and do what it asks; where it cannot go on yet, read no more than this."""
        if self._closing:
            return
        if self._transaction.draft is None:
            self.house.crowd.heard(self)
        self.session.receive(data)
        if self._waiting or self._choked:
            self._paused = True
            self.transport.pauseProducing()
        else:
            self._run()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was not finished; a commit under way goes on, for the client may send no second time."""
        if self._timeout.active():
            self._timeout.cancel()
        if self._shaking and not self._closing:
            self.house.refusals.seldom(self.peer, "TLS handshake failed", safe(explained(reason.value)))
        self._closing = True
        if not self._waiting:
            self._transaction.discard()
        self.house.log.closed(self.number, self.session.transcript())
        self.house.crowd.left(self, self.peer)

    def pauseProducing(self) -> None:
        """Our replies pile up: read no more commands."""
        self._choked = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Our replies are gone."""
        self._choked = False
        if self._paused:
            self._goOn()
        elif not self._closing:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""

    def leave(self, reply: Reply) -> None:
        """End the session with a 421, now or when the message at hand has its answer."""
        if self._shaking:
            self._cut(str(reply))
        elif self.busy:
            self._leaving = reply
        else:
            self.session.close(reply)
            self._run()

    def rest(self) -> None:
        """Between two messages: who is to leave does, and what was pipelined behind the one at hand is not begun."""
        if self._leaving is not None and not self.busy:
            self.session.close(self._leaving)

    def _cut(self, why: str) -> None:
        """End a handshake that is under way."""
        if not self._closing:
            self._closing = True
            self.house.refusals.seldom(self.peer, "TLS handshake cut off", why)
            self.transport.abortConnection()

    @property
    def busy(self) -> bool:
        """Whether a message is being received or made durable."""
        return self._transaction.draft is not None

    def _run(self) -> None:
        """Do everything that can be done without more octets or an answer."""
        if self._running:
            return
        self._running = True
        house, session, transaction = self.house, self.session, self._transaction
        event = session.nextEvent()
        while (action := ACTIONS.get(type(event))) is not None:
            action(transaction, event)
            event = session.nextEvent()
        self._running = False
        self._waiting = event is _ANSWER
        house.log.lines(self.number, session.transcript())
        octets = session.outgoing()
        if self._starting:
            house.outbox.put(self.transport, octets)
            house.outbox.flush()
            self._shake()
        elif type(event) is Closed:
            self._part(octets)
        else:
            if octets:
                house.outbox.put(self.transport, octets)
            self._since = house.clock.seconds()

    def _part(self, octets: bytes) -> None:
        """Say our last words, once, and end the connection behind them."""
        if self._closing:
            return
        self._closing = True
        self._transaction.discard()
        if octets:
            self.house.outbox.put(self.transport, octets, self._farewell)
        else:
            self._farewell(False)

    def _farewell(self, gone: bool) -> None:
        """
        End the connection behind our last words.

        Where the client may still be sending only our half is closed at first: closing all with octets unread would
        make TCP throw away the reply that says why. TLS waits for the client's end behind ours (RFC 8446 6.1). Where
        all is said on both sides there is nothing to wait for.

        @param gone: whether the system has them, so that nobody need be waited for where the client has ended it.
        """
        if not self._timeout.active():  # the client has gone meanwhile
            return
        self.transport.unregisterProducer()
        over = gone and self.session.farewell and not self.session.client.tls
        if not over:  # to move a timer costs more the more there are
            self._expect(self.house.patience.farewell)
        if over:
            close(self.transport)
        elif self.session.client.tls:
            self.transport.resumeProducing()
            self.transport.loseConnection()
        elif self.session.farewell:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()

    def _expect(self, seconds: float) -> None:
        """Be patient for so long from now, and look then."""
        self._since = now = self.house.clock.seconds()
        if now + seconds < self._fires:
            self._fires = now + seconds
            self._timeout.reset(seconds)

    def _wake(self, seconds: float) -> None:
        """Look at our patience again after so long."""
        self._fires = self.house.clock.seconds() + seconds
        self._timeout = self.house.clock.callLater(seconds, self._timedOut)

    def _patience(self) -> float:
        """For how long the client may be silent, in seconds since L{_since}."""
        patience = self.house.patience
        if self._closing:
            return patience.farewell
        return patience.handshake if self._shaking else self._transaction.patience(self._since)

    def _timedOut(self) -> None:
        """
        The client was silent for too long, or does not take our last words; or it has spoken since.

        A timer is not moved with each command: it finds out itself that it is early, and looks again as soon as any
        patience that may have begun meanwhile can end.
        """
        early = self._since + self._patience() - self.house.clock.seconds()
        if early > 0:
            self._wake(min(early, self.house.patience.shortest))
            return
        if self._closing:
            self.transport.abortConnection()
            return
        if self._shaking:
            self._cut(f"it took longer than {self.house.patience.handshake:g} s")
            return
        self._since = self.house.clock.seconds()
        self._wake(self.house.patience.shortest)
        if not self._waiting:  # else it is us who are slow
            self.house.refusals.seldom(self.peer, "was silent, or slow with its content, for too long")
            self.session.close(wording.timedOut(self.house.settings.host))
            self._run()

    def answer(self, reply: Reply, octets: int = 0, account: Address | None = None) -> None:
        """Answer the undecided event, now or after a Deferred; see L{ServerSession.answer}."""
        if self._closing:  # nobody is there to hear it
            self._transaction.discard()
            return
        self.session.answer(reply, octets, account)
        if self._leaving is not None:
            self.rest()
        if self._waiting:
            self._answered()

    def challenge(self, octets: bytes) -> None:
        """Answer a step of a login with another; see L{ServerSession.challenge}."""
        if not self._closing:
            self.session.challenge(octets)
            if self._waiting:
                self._answered()

    def _answered(self) -> None:
        """The answer has come later."""
        self._waiting = False
        if self._choked:  # what it goes on with waits in the session, and so does this answer
            self._paused = True
        else:
            self._goOn()

    def _goOn(self) -> None:
        """
        Go on with what is kept, and read on when all of it is done.

        A read may hold a thousand messages: to read on behind each of them would be to keep whatever is sent.
        """
        self._run()
        if self._paused and not self._waiting and not self._choked and not self._closing:
            self._paused = False
            self.transport.resumeProducing()


class ReceiverFactory(Factory):
    """
    Makes a L{Receiver} for each connection to one kind of port.

    @ivar date: the RFC 5322 date, for the greeting.
    @ivar outbox: what its connections say in one turn of the reactor.
    @ivar contexts: the certificates; L{None} where there is no TLS.
    @ivar logins: who may log in; L{None} where nobody may.
    @ivar implicit: whether TLS comes first.
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
        contexts: ServerContexts | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.settings = settings
        self.admission = admission
        self.intake = intake
        self.log = log
        self.crowd = crowd
        self.patience = patience
        self.clock = clock
        self.date = date
        self.outbox = outbox or Outbox(clock)
        self.contexts = contexts
        self.logins: ILogins | None = None
        self.implicit = False
        self.refusals = Refusals(clock)
        self._numbers = count(1)

    def buildProtocol(self, addr: IAddress | None) -> Receiver:
        """A session of its own."""
        peer = getattr(addr, "host", "") or UNIX
        if peer.startswith("::ffff:"):
            peer = peer[7:]  # IPv4-mapped: spec 3 compares it as IPv4
        return Receiver(self, self.session(peer, self.admission.exempt(Client(peer))), next(self._numbers), peer)

    def session(self, address: str, known: bool, tls: str = "", binding: Binding | None = None) -> ServerSession:
        """
        What a connection begins with, in clear or inside TLS.

        @param address: the client's.
        @param known: see L{Client}.
        @param tls: version and cipher; empty in clear.
        @param binding: see L{ILogins}.
        """
        offered: tuple[str, ...] = ()
        if self.logins is not None:
            offered = self.logins.mechanisms(Client(address, tls=tls), binding)
        return ServerSession(self.settings, address, known, tls, offered)

    def beside(self, settings: ServerSettings, logins: ILogins | None, implicit: bool = False) -> "ReceiverFactory":
        """One for another kind of port, which shares all else: the crowd, the numbers of connections, the logs."""
        other = copy(self)
        other.settings, other.logins, other.implicit = settings, logins, implicit
        return other
