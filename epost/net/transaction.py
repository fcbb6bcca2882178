"""
What a client hands over, from MAIL to the reply to the end of data, and as whom: the session's events, to admission,
intake and logins.

It decides nothing and stores nothing; it keeps what was decided until it is needed, and answers each event once, now or
when a Deferred fires. The connection that the client has is the business of L{epost.net.receiver}.

RFC 5321 3.3 (mail transactions), 4.5.3.2.5 and 6 (timeouts within content); RFC 4954 (AUTH); spec 8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from epost.interfaces import Challenge, IAdmission, IDraft, IIntake, ILogin, ILogins, Outcome
from epost.mail.address import Address
from epost.mail.decision import Decision, Spent
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.net.crowd import Crowd
from epost.net.refusals import Refusals
from epost.smtp import wording
from epost.smtp.event import Auth, Content, Data, Discard, End, Hello, Mail, Rcpt, Response, StartTls
from epost.smtp.server import ServerSession

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
    @ivar handshake: for one of TLS.
    """

    command: float = 300.0
    content: float = 180.0
    message: float = 600.0
    farewell: float = 5.0
    handshake: float = 30.0

    @property
    def shortest(self) -> float:
        """Of those that begin with a command or with content."""
        return min(self.command, self.content, self.message)


class House(Protocol):
    """What all transactions of a daemon share."""

    admission: IAdmission
    intake: IIntake
    logins: ILogins | None
    crowd: Crowd
    refusals: Refusals
    patience: Patience
    clock: IReactorTime


class Guest(Protocol):
    """The connection of one client."""

    session: ServerSession
    peer: str
    transport: Any

    def leave(self, reply: Reply) -> None:
        """See L{epost.net.crowd.Member}."""

    def rest(self) -> None:
        """The message at hand has come to nothing."""

    def answer(self, reply: Reply, octets: int = 0, account: Address | None = None) -> None:
        """Answer the event that is undecided."""

    def challenge(self, octets: bytes) -> None:
        """Answer a step of a login by another."""

    def secure(self) -> None:
        """Begin a handshake."""

    def binding(self, name: str) -> bytes | None:
        """A channel binding of the connection."""


class Transaction:
    """
    What one client hands over, one message after the other.

    @ivar draft: the content on its way; L{None} where no message is at hand.
    """

    _mail: Mail
    _verdict: Decision
    _name: Name
    _until: float  # when patience with the content ends
    _login: ILogin | None = None  # the last that has begun

    def __init__(self, house: House, guest: Guest) -> None:
        self.house = house
        self.guest = guest
        self.draft: IDraft | None = None
        self._recipients: list[Address] = []
        self._spent: list[Spent] = []  # for this message; given back unless it is taken

    def patience(self, since: float) -> float:
        """For how long the client may be silent, in seconds. @param since: when it began to be."""
        if self.draft is None:
            return self.house.patience.command
        return min(self.house.patience.content, max(self._until - since, 0.0))

    def _hello(self, event: Hello) -> None:
        """Nothing is to be done."""

    def _secure(self, event: StartTls) -> None:
        """STARTTLS was answered: whoever has logged in in clear is nobody again."""
        self._login = None
        self.guest.secure()

    def _beginLogin(self, event: Auth) -> None:
        """AUTH: a login by a mechanism. One that the client gave up before is forgotten."""
        logins = self.house.logins
        assert logins is not None, "a port without logins has no AUTH"
        try:
            self._login = logins.begin(event.mechanism, self.guest.session.client, self.guest.binding)
        except Refused as refused:
            self.guest.answer(refused.reply)
        else:
            self._goOn(event.response)

    def _continueLogin(self, event: Response) -> None:
        self._goOn(event.octets)

    def _goOn(self, response: bytes | None) -> None:
        """The next step of a login."""
        assert self._login is not None
        said = self._login.step(response)
        if isinstance(said, Deferred):
            said.addCallbacks(self._stepped, self._unable)
        else:
            self._stepped(said)

    def _stepped(self, said: Challenge | Outcome) -> None:
        if isinstance(said, Challenge):
            self.guest.challenge(said.octets)
            return
        if said.account is not None:
            tls = self.guest.session.client.tls or "in clear"
            _log.info("{peer} logged in as {account}, {tls}", peer=self.guest.peer, account=said.account, tls=tls)
        self.guest.answer(said.reply, account=said.account)

    def _unable(self, failure: Failure) -> None:
        """A defect of ours."""
        _log.failure("a login from {peer}", failure, peer=self.guest.peer)
        self._login = None
        self.guest.answer(wording.loginsBusy())

    def _over(self, login: ILogin) -> bool:
        """Whether who has logged in is welcome no more: then the connection ends."""
        reply = login.over()
        if reply is not None:
            self.guest.answer(reply)
        return reply is not None

    def _decideMail(self, event: Mail) -> None:
        """MAIL: the rules, then a number."""
        house = self.house
        if self._login is not None and self._over(self._login):
            return
        verdict = house.admission.sender(self.guest.session.client, event.path, event.blank)
        reply = verdict.reply
        if verdict.octets and (event.size or 0) > verdict.octets:
            reply = wording.tooBig()
        elif verdict.accepts:
            try:
                self._name = house.intake.name(event.size or 0)
            except Refused as refused:
                reply = refused.reply
            self._mail, self._verdict = event, verdict
            self._recipients.clear()
        else:
            house.refusals.tell(self.guest.peer, "MAIL", event.path, verdict)
        self.guest.answer(reply, verdict.octets)

    def _decideRcpt(self, event: Rcpt) -> None:
        """RCPT: the rules, which may have to ask the next hop."""
        client, mail = self.guest.session.client, self._mail
        decision = self.house.admission.recipient(client, mail.path, self._verdict, event.path, self._recipients)
        if isinstance(decision, Decision):  # of a Deferred, which has an abstract base, it takes longer to ask
            self._recipientDecided(decision, event.path)
        else:
            decision.addCallbacks(self._recipientDecided, self._broken, callbackArgs=(event.path,))

    def _recipientDecided(self, decision: Decision, path: Address) -> None:
        if decision.accepts:
            self._recipients.append(path)
            if decision.spent is not None:
                self._spent.append(decision.spent)
        else:
            self.house.refusals.tell(self.guest.peer, "RCPT", path, decision, f" from <{self._mail.path or ''}>")
        self.guest.answer(decision.reply)

    def _openDraft(self, event: Data) -> None:
        """DATA: somewhere to put the content."""
        if self._login is not None and self._over(self._login):
            return
        mail, client, ours = self._mail, self.guest.session.client, self._verdict.ours
        envelope = Envelope(mail.path, tuple(self._recipients), mail.utf8, mail.body, client.address, ours)
        try:
            self.draft = self.house.intake.open(self._name, client, envelope, mail.size or 0)
        except Refused as refused:
            self.guest.answer(refused.reply)
        else:
            self.house.crowd.working(self.guest)
            self._until = self.house.clock.seconds() + self.house.patience.message
            self.guest.transport.bufferSize = CONTENT
            self.guest.answer(wording.startInput(self._name))

    def _content(self, event: Content) -> None:
        draft = self.draft
        assert draft is not None
        self._until += len(event.part) / SLOW
        draft.write(event.part)

    def _commit(self, event: End) -> None:
        """The end of data: the reply waits until the message is durable."""
        draft = self.draft
        assert draft is not None
        draft.commit().addCallbacks(self._committed, self._uncommitted)

    def _committed(self, result: object) -> None:
        self._spent.clear()
        self._ended()
        self.guest.answer(wording.received(self._name, self.guest.session.client.extended))

    def _uncommitted(self, failure: Failure) -> None:
        self._ended()
        self._giveBack()
        self._broken(failure)

    def _broken(self, failure: Failure) -> None:
        """
        What could not be done: a refusal is told, a defect of ours is logged and means not now.

        Of what may be done later the log is told once, by whoever could not do it, and not for each message.
        """
        if isinstance(failure.value, Refused):
            reply = failure.value.reply
            if reply.permanent:
                _log.warn("{name} of {peer} refused: {reply}", name=self._name, peer=self.guest.peer, reply=reply)
        else:
            _log.failure("{name} of {peer} failed", failure, name=self._name, peer=self.guest.peer)
            reply = wording.notNow()
        self.guest.answer(reply)

    def _voided(self, event: Discard) -> None:
        """The transaction is void."""
        self.discard()
        self._recipients.clear()
        self.guest.rest()

    def discard(self) -> None:
        """Forget the message at hand, if there is one."""
        if self.draft is not None:
            self.draft.discard()
            self._ended()
        self._giveBack()

    def _giveBack(self) -> None:
        """The message has come to nothing: it was not sent."""
        if self._spent:
            spent, self._spent = self._spent, []
            self.house.admission.giveBack(spent)

    def _ended(self) -> None:
        """No message is at hand any more."""
        self.draft = None
        self.guest.transport.bufferSize = COMMANDS
        self._recipients = []
        self.house.crowd.idle(self.guest)


# What is to be done for each event of the session.
ACTIONS: dict[object, Callable[..., None]] = {
    Hello: Transaction._hello,
    StartTls: Transaction._secure,
    Auth: Transaction._beginLogin,
    Response: Transaction._continueLogin,
    Mail: Transaction._decideMail,
    Rcpt: Transaction._decideRcpt,
    Data: Transaction._openDraft,
    Content: Transaction._content,
    End: Transaction._commit,
    Discard: Transaction._voided,
}
