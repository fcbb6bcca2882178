"""
The receiving side of SMTP: what a client may say when, and what is told and replied.

The client leads, so this side is a table: verb, method, states in which it may come.

Where TLS begins a session ends, and another one, which is told so, goes on: nothing is remembered (RFC 3207 4.2).
What belongs to a login is not in the transcript.

RFC 5321 3 and 4; RFC 1870, 2034, 2920, 3207, 4954, 6152, 6531; spec 8.
"""

from dataclasses import replace

from epost.mail.address import Address
from epost.mail.reply import Refused, Reply
from epost.smtp import command, wording
from epost.smtp.data import MailData
from epost.smtp.event import Data, End, Hello, Mail, Rcpt, StartTls
from epost.smtp.session import EXCHANGE_OCTETS, Row, Session, State
from epost.smtp.wire import LINE_OCTETS

_READY, _SENDER, _RECIPIENT, _ENDED = State.READY, State.SENDER, State.RECIPIENT, State.ENDED
_BEGINS = Data()


class ServerSession(Session):
    """One connection of one client, from the greeting to QUIT."""

    def greet(self, date: str) -> None:
        """
        Say the greeting; whoever is not welcome gets L{close} in its place (RFC 5321 3.1).

        @param date: RFC 5322.
        """
        settings = self._settings
        self._say(wording.banner(settings.host, settings.version, settings.build, date))

    def answer(self, reply: Reply, octets: int = 0, account: Address | None = None) -> None:
        """
        Answer the event that is undecided. One with code 421 ends the session too. After the end it is of no effect.

        @param octets: with MAIL: how many the content may have, where that is less than for others; 0: as others.
        @param account: with a login: who the client is from now on; L{None}: nobody.
        @raise ValueError: no event is undecided.
        """
        event, self._undecided = self._undecided, None
        if self._state is _ENDED:
            return
        if event is None:
            raise ValueError("nothing is to be answered")
        self._say(reply)
        accepts = reply.code < 400
        kind = type(event)
        if kind is Mail:
            if accepts:
                self._mail = event  # type: ignore[assignment]
                self._state = _SENDER
                self._octets = octets
                self._accepted = self._refused = 0
        elif kind is Rcpt:
            if accepts:
                self._state = _RECIPIENT
                self._accepted += 1
            else:
                self._refused += 1
        elif kind is Data:
            if reply.code == 354:
                self._state = State.CONTENT
                kept = self._settings
                self._data = MailData(self._limit(), kept.bareLineEnds == "repair", kept.longLines == "refuse")
        elif kind is End:
            self._state = _READY
            if accepts:
                self._errors = self._commands = self._idle = 0
        else:
            self._state = _READY
            self._betrayed = not accepts
            if account is not None:
                self.client = replace(self.client, account=account)
        if not accepts:
            if reply.enhanced.startswith("4.3."):  # the fault is ours, so he is not one who only talks
                self._commands = 0
            self._judge(reply)

    # Commands.

    def _greet(self, name: str, extended: bool) -> None:
        """HELO and EHLO, which also reset (RFC 5321 4.1.4)."""
        helo = command.hello(name)
        self._void()
        extensions = self._extensions() if extended else ()
        self.client = self.client.named(helo, extended)
        self._state = State.READY
        self._say(wording.hello(self._settings.host, self.client.address, extensions))
        self._events.append(Hello(self.client))
        self._idled()

    def _helo(self, argument: str) -> None:
        self._greet(argument, extended=False)

    def _ehlo(self, argument: str) -> None:
        self._greet(argument, extended=True)

    def _extensions(self) -> tuple[str, ...]:
        """What EHLO announces."""
        settings, client = self._settings, self.client
        extensions = settings.extensions(client.known)
        if settings.startTls and not client.tls:
            extensions = ("STARTTLS", *extensions)  # gsasl overlooks it in the last line
        if self._mechanisms and client.account is None:
            extensions += (f"AUTH {' '.join(self._mechanisms)}",)
        return extensions

    def _startTls(self, argument: str) -> None:
        settings = self._settings
        if self.client.tls:
            raise Refused(wording.tlsAlready())
        if not settings.startTls:
            raise Refused(wording.notImplemented())
        self._extendedAlone()
        if len(self._unread):  # who wrote it, nobody knows; it is neither obeyed in clear nor inside TLS
            self.close(wording.behindStartTls(settings.host))
            return
        self._say(wording.readyForTls())
        self._events.append(StartTls())
        self._end()

    def _auth(self, argument: str) -> None:
        if not self._settings.auth:
            raise Refused(wording.notImplemented())
        self._extendedAlone()
        if self.client.account is not None:
            raise Refused(wording.loggedInAlready())
        event = command.auth(argument)
        self._transcript[-1] = command.shown(self._transcript[-1])
        self._ask(event)

    def _extendedAlone(self) -> None:
        """What is no command after HELO."""
        if not self.client.extended:
            raise Refused(wording.badSequence("send EHLO"))

    def _limit(self) -> int:
        """Octets of content at most; 0: any number."""
        limit = self._settings.octets(self.client.known)
        return min(limit or self._octets, self._octets) if self._octets else limit

    def _mailFrom(self, argument: str) -> None:
        settings, client = self._settings, self.client
        self._tried = True
        if settings.submission and client.account is None:
            hopeless = settings.startTls and not client.tls and not self._mechanisms
            raise Refused(wording.startTlsFirst() if hopeless else wording.loginFirst())
        event = command.mail(argument, client.extended, settings.auth)
        limit = settings.octets(client.known)
        if limit and event.size is not None and event.size > limit:
            raise Refused(wording.tooBig())  # RFC 1870 6.1
        self._ask(event)

    def _rcptTo(self, argument: str) -> None:
        event = command.rcpt(argument, self.client.extended, self._mail.utf8)
        if self._accepted >= self._settings.recipients:
            raise Refused(wording.tooManyRecipients())
        self._ask(event)

    def _dataNow(self, argument: str) -> None:
        if self._state is State.SENDER:
            raise Refused(wording.noRecipients() if self._refused else wording.badSequence("send RCPT"))
        self._ask(_BEGINS)

    def _rset(self, argument: str) -> None:
        tried, self._tried = self._tried, False
        self._void()
        self._say(wording.reset())
        if not tried:
            self._idled()

    def _noop(self, argument: str) -> None:
        self._say(wording.done())
        self._idled()

    def _vrfy(self, argument: str) -> None:
        if not argument:
            raise Refused(wording.badArgument("VRFY address"))
        self._say(wording.notVerified())
        self._idled()

    def _expn(self, argument: str) -> None:
        raise Refused(wording.notImplemented())

    def _help(self, argument: str) -> None:
        self._say(wording.commands(self.commands))
        self._idled()

    def _bye(self, argument: str) -> None:
        self._quit = True
        self._say(wording.closing(self._settings.host))
        self._end()


ServerSession.commands = {
    "HELO": Row(ServerSession._helo),
    "EHLO": Row(ServerSession._ehlo),
    # SIZE adds 26 (RFC 1870 3), BODY 17 (RFC 6152 2), SMTPUTF8 10 (RFC 6531 3.1).
    "MAIL": Row(ServerSession._mailFrom, (State.READY,), extra=26 + 17 + 10, auth=500),  # RFC 4954 3
    "RCPT": Row(ServerSession._rcptTo, (State.SENDER, State.RECIPIENT)),
    "DATA": Row(ServerSession._dataNow, (State.SENDER, State.RECIPIENT), argument=False),
    "RSET": Row(ServerSession._rset, argument=False),
    "NOOP": Row(ServerSession._noop),
    "VRFY": Row(ServerSession._vrfy),
    "EXPN": Row(ServerSession._expn),
    "HELP": Row(ServerSession._help),
    "QUIT": Row(ServerSession._bye, argument=False),
    "STARTTLS": Row(ServerSession._startTls, (State.READY,), argument=False),
    "AUTH": Row(ServerSession._auth, (State.READY,), auth=EXCHANGE_OCTETS - LINE_OCTETS),
}
ServerSession.longest = LINE_OCTETS + max(row.extra for row in ServerSession.commands.values())
