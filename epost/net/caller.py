"""
One connection to another mail server: it writes what a dialogue says, and tells the dialogue what it heard.

The dialogue is a generator of L{epost.smtp.client}; one Deferred fires when it has ended. A L{Caller} adds what needs
a socket and a clock: patience, back-pressure on content, senderlog, and the suspicion that a reply is not to be trusted
that comes before it was asked for. What it cannot go on with ends it with L{Refused}, a 4xx of our own.

Between two dialogues the connection can turn to TLS. What came in clear behind the invitation to it is never believed.

RFC 5321 4.5.3.2 (timeouts), 3.8 (QUIT), 7.8; RFC 1047 (a lost reply to the end of data may mean a second copy);
RFC 3207 (TLS).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPullProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.interfaces import ISenderLog
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.net.security import Outgoing
from epost.net.tls import reason as spoken
from epost.net.writing import Outbox
from epost.smtp.client import Phase, Step, Steps
from epost.smtp.replies import Replies

T = TypeVar("T")

PART_OCTETS = 65536  # content in the transport's buffer at a time
FAREWELL = 5.0  # seconds for the reply to QUIT, and for TLS's own good-bye; nobody waits for them but the socket


class Insecure(Refused):
    """TLS did not come about; nothing of the message was said. Its reply is 454 4.7.x of our own."""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long each thing may take, in seconds (RFC 5321 4.5.3.2); the names behind C{connect} are those of L{Phase}.

    @ivar connect: for the connection.
    @ivar handshake: for the handshake of TLS.
    @ivar block: for each part of content to leave.
    @ivar probe: for a whole question about a recipient.
    """

    connect: float = 30.0
    greeting: float = 300.0
    hello: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    end: float = 600.0
    probe: float = 20.0
    handshake: float = 30.0


@implementer(IPullProducer, IHandshakeListener)
class Caller(Protocol):
    """
    The calling side of a connection.

    @ivar label: what the other side is called in replies of our own.
    @ivar usable: whether a dialogue can be held: the connection stands and both sides are in step.
    @ivar answered: replies heard in the dialogue that was begun last.
    @ivar tls: version, cipher, and C{verified} or C{unverified}; empty in clear.
    """

    transport: Any  # ITCPTransport and IConsumer: zope interfaces cannot be joined in a type

    def __init__(self, clock: IReactorTime, log: ISenderLog, patience: Patience, label: str, outbox: Outbox) -> None:
        self.label = label
        self._outbox = outbox
        self.usable = False
        self.answered = 0
        self.tls = ""
        self._clock = clock
        self._log = log
        self._patience = patience
        self._replies = Replies()
        self._name: Name | None = None
        self._steps: Steps[Any] | None = None
        self._step: Step | None = None
        self._done: Deferred[Any] | None = None
        self._outgoing: Outgoing | None = None  # while the handshake is under way
        self._over = False  # whether the end was begun
        self._parts: Iterator[bytes] | None = None
        self._flowing = False  # whether the transport knows us as a producer
        self._timer: IDelayedCall | None = None
        self._patient = 0.0

    def connectionMade(self) -> None:
        """The dialogue is not begun here: whoever made the connection does."""
        self.usable = True
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def perform(self, steps: Steps[T], name: Name | None) -> "Deferred[T]":
        """
        Hold a dialogue. One at a time, and only where L{usable}.

        @param name: the message in senderlog; L{None} logs nothing.
        @return: fires with what the dialogue returns; fails with L{Refused}: raised by the dialogue, or 4xx of our own
            where it could not be held to its end. Cancelled, it drops the connection.
        """
        done: Deferred[T] = Deferred(lambda _: self._abandon())
        self._steps, self._name, self._done, self.answered = steps, name, done, 0
        self._go(partial(next, steps))
        return done

    def secure(self, outgoing: Outgoing) -> "Deferred[None]":
        """
        Turn to TLS, behind a dialogue that has come to this.

        @return: fires when the handshake is done, and the other side is who it should be if that is demanded; fails
            with L{Insecure}, and then the connection is over. Cancelled, it drops the connection.
        """
        self._done = done = Deferred[None](lambda _: self._abandon())
        self._outgoing = outgoing
        if not self.usable:  # whoever can write into the connection could give us replies to believe inside TLS
            self._insecure("octets came behind the reply to STARTTLS")
        else:
            self._wait(self._patience.handshake)
            self.transport.startTLS(outgoing, True)
        return done

    def handshakeCompleted(self) -> None:
        """TLS stands; whether it is good enough is to be seen."""
        outgoing = self._outgoing
        if outgoing is None:
            return
        tls = outgoing.examine(self.transport.getHandle())
        if outgoing.flaw and outgoing.demanding:
            self._insecure(outgoing.flaw)
            return
        self._rest()
        self.tls, self._outgoing = tls, None
        if self._name is not None:
            self._log.said(self._name, f"{tls}: {outgoing.flaw}" if outgoing.flaw else tls)
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)

    def quit(self) -> None:
        """Say QUIT and hang up when that is answered, or soon. Logged under the name of the last dialogue."""
        if not self.usable:
            return
        self.usable = False
        if self._name is not None:
            self._log.said(self._name, "QUIT")
        self._outbox.put(self.transport, b"QUIT\r\n")
        self._wait(FAREWELL)

    def hangUp(self) -> None:
        """End the connection without a word; what was written still leaves."""
        self.usable = False
        self._over = True
        self._rest()
        self._outbox.flush()
        self.transport.loseConnection()
        if self.tls:  # whose end waits for an answer
            self._wait(FAREWELL)

    def dataReceived(self, data: bytes) -> None:
        """What the other side says: replies, as long as a dialogue waits for them."""
        if self._steps is None:  # the reply to QUIT, or 421 on an idle connection
            if not self._over:
                self.hangUp()
            return
        self._replies.feed(data)
        while self._steps is not None:
            try:
                reply = self._replies.next()
            except Refused as junk:
                self._fail(junk.reply.lines[0], junk.reply.enhanced)
                return
            if reply is None:
                return
            self._hear(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other side, or the net, has ended it."""
        self.usable = False
        self._rest()
        if self._outgoing is not None:
            lost = isinstance(reason.value, ConnectionDone | ConnectionLost)
            why = "connection lost in the TLS handshake" if lost else f"TLS handshake: {spoken(reason.value)}"
            self._insecure(self._outgoing.flaw or why)
        elif self._steps is not None:
            self._fail(f"connection lost before {self._awaited()}", "4.4.2")

    def _hear(self, reply: Reply) -> None:
        self.answered += 1
        if self._name is not None:
            self._log.heard(self._name, reply)
        if self._parts is not None and reply.accepts:
            self._fail(f"{reply.code} came before the end of data was sent", "4.5.0")
            return
        self._go(partial(self._dialogue.send, reply))

    def _go(self, resume: Callable[[], Step]) -> None:
        """Let the dialogue take its next step, or end."""
        try:
            step = resume()
        except StopIteration as end:
            self._end(end.value)
        except Refused as refusal:
            self._end(None, refusal)
        else:
            self._take(step)

    def _take(self, step: Step) -> None:
        """Write what a step wants written, and wait."""
        self._step = step
        if self._name is not None and step.command:
            self._log.said(self._name, step.command)
        if step.octets and self._replies.pending:
            self._fail(f"a reply came before {step.command or 'the content'}", "4.5.0")
        elif isinstance(step.octets, bytes):
            if step.octets:
                self._outbox.put(self.transport, step.octets)
            self._wait(getattr(self._patience, step.phase.value))
        else:
            self._parts = iter(step.octets)
            self.resumeProducing()  # most messages are one part and need no producer
            if self._parts is not None:
                self._flowing = True
                self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The transport has room: the next part of the content, and behind the last one the wait for its reply."""
        parts, ready = [], 0
        try:
            for part in self._parts or ():
                parts.append(part)
                ready += len(part)
                if ready >= PART_OCTETS:
                    self.transport.write(b"".join(parts))
                    self._wait(self._patience.block)
                    return
        except Refused as unread:
            self._go(partial(self._dialogue.throw, unread))
            return
        self._parts = None
        self._still()
        self._outbox.put(self.transport, b"".join(parts))
        self._wait(self._patience.end)

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} follows."""

    @property
    def _dialogue(self) -> Steps[Any]:
        assert self._steps is not None
        return self._steps

    def _end(self, result: object, refusal: Refused | None = None) -> None:
        """The dialogue has ended: tell, and keep the connection only where both sides are in step."""
        done, self._done, self._steps = self._done, None, None
        self._rest()
        if self._parts is not None:
            self._abort()
        elif self._replies.pending:
            self.hangUp()
        if done is None:
            return
        if refusal is None:
            done.callback(result)
        else:
            done.errback(refusal)

    def _fail(self, what: str, enhanced: str) -> None:
        """The dialogue cannot go on. @param what: for an administrator."""
        self._abort()
        self._dialogue.close()
        self._end(None, Refused(Reply(451, (f"{self.label}: {what}",), enhanced)))

    def _insecure(self, why: str) -> None:
        """TLS did not come about. @param why: for an administrator."""
        self._outgoing = None
        self._abort()
        done, self._done = self._done, None
        if done is not None:
            done.errback(Insecure(Reply(454, (f"{self.label}: {why}",), "4.7.5")))

    def _abandon(self) -> None:
        """Whoever waited has given up."""
        self._done = self._outgoing = None
        self._abort()
        if self._steps is not None:
            self._steps.close()
            self._end(None)

    def _abort(self) -> None:
        """End the connection now: what is unsent must not leave, and content that was cut must have no end."""
        self.usable = False
        self._over = True
        self._rest()
        self._parts = None
        self._still()
        self._outbox.drop(self.transport)
        self.transport.abortConnection()

    def _still(self) -> None:
        if self._flowing:
            self._flowing = False
            self.transport.unregisterProducer()

    def _wait(self, seconds: float) -> None:
        """Have patience from now on."""
        self._patient = seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._expired)
        else:
            self._timer.reset(seconds)

    def _rest(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        if self._outgoing is not None:
            self._insecure(f"no TLS handshake within {self._patient:g} s")
        elif self._steps is None:  # no reply to QUIT
            self._abort()
        elif self._parts is not None:
            self._fail(f"took no content for {self._patient:g} s", "4.4.2")
        else:
            self._fail(f"no answer within {self._patient:g} s: {self._awaited()}", "4.4.2")

    def _awaited(self) -> str:
        """What is waited for, in words."""
        assert self._step is not None
        if self._parts is not None:
            return "the end of the content"
        if self._step.phase is Phase.GREETING:
            return "the greeting"
        return f"the reply to {self._step.command.partition(' ')[0] or 'the end of data'}"
