"""
An SMTP session as the side sees it that is led: lines and content in, events and replies out, without I/O.

What is said by whom in which order is the business of L{epost.smtp.server}; here lines are read by a table of commands,
content up to its end, and replies are kept until they are taken. The session does not run ahead of an undecided answer,
so a pipelined command is read only when everything before it is settled.
Memory: what has come and is not read (the shell stops reading while an answer is undecided, so at most one read of the
transport; of a line without end only L{LINE_OCTETS} and what the extensions add are kept), one part of content, and
the replies until L{Session.outgoing} takes them.

RFC 5321 2.3.8 and 4.1.1; RFC 2920 (pipelining), RFC 4954 4 (exchange of a login); spec 8.
"""

import base64
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from epost.mail.decision import Client
from epost.mail.reply import Refused, Reply
from epost.smtp import command, wording
from epost.smtp.data import MailData
from epost.smtp.event import Auth, Closed, Content, Discard, End, Event, Mail, Question, Response, Want
from epost.smtp.settings import ServerSettings
from epost.smtp.wire import LINE_OCTETS, Unread, spoken

EXCHANGE_OCTETS = 12288  # of a line in a login, with CRLF (RFC 4954 4)
IDLE = 20  # commands between two messages that do nothing; each more counts as a failed one

# The first words of HTTP, of RTSP and of a proxy's: what a program writes that was tricked into calling here, with SMTP
# in its body (Postfix has smtpd_forbidden_commands for them).
FOREIGN = ("GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PRI", "DESCRIBE", "HOST:")


class State(enum.Enum):
    """Where a session stands."""

    NAMELESS = "before HELO or EHLO"
    READY = "between transactions"
    LOGIN = "a challenge was said"
    SENDER = "MAIL was accepted"
    RECIPIENT = "MAIL and a recipient were accepted"
    CONTENT = "DATA was accepted"
    ENDED = "nothing more is read"


# Tuples, and names of what every command looks at: an enum's hash and the attributes of its class are slow to get.
ALWAYS = tuple(State)
_OPEN = (State.SENDER, State.RECIPIENT, State.CONTENT)
_ENDED, _LOGIN = State.ENDED, State.LOGIN
_DATA, _ANSWER = Want.DATA, Want.ANSWER
_ENDS, _CLOSED = End(), Closed()
_FIRST = {State.NAMELESS: "send HELO or EHLO", State.READY: "send MAIL"}  # where a command is out of turn


@dataclass(frozen=True, slots=True)
class Row:
    """
    One command.

    @ivar method: what it does. Raises L{Refused} where it fails.
    @ivar states: those in which it may come.
    @ivar argument: whether it may have one.
    @ivar extra: octets that extensions add to the limit of its line.
    @ivar auth: octets that AUTH adds to it, where there is AUTH.
    """

    method: Callable[[Any, str], None]
    states: tuple[State, ...] = ALWAYS
    argument: bool = True
    extra: int = 0
    auth: int = 0


class Session:
    """
    One connection of one client.

    @cvar commands: by verb.
    @cvar longest: octets of a command line.
    """

    commands: ClassVar[Mapping[str, Row]]
    longest: ClassVar[int]

    _state = State.NAMELESS
    _lost = _quit = False
    _undecided: Question | None = None
    _mail = Mail(None)
    _data: MailData | None = None
    _accepted = _refused = _errors = _commands = _idle = 0
    _octets = 0  # of content at most, for whom less is granted than others; 0: as others
    _tried = False  # MAIL was said since the last RSET, which so has something to end, whatever has become of it
    _betrayed = False  # a login was refused: what comes behind it may be the password that was pipelined

    def __init__(
        self,
        settings: ServerSettings,
        address: str,
        known: bool = False,
        tls: str = "",
        mechanisms: tuple[str, ...] = (),
    ) -> None:
        """
        @param address: the client's IP address, IPv4-mapped ones as IPv4.
        @param known: whether a table names the machine.
        @param tls: version and cipher; empty in clear.
        @param mechanisms: those that the client may log in by.
        """
        self.client = Client(address, known=known, tls=tls, submission=settings.submission)
        self._settings = settings
        self._mechanisms = mechanisms
        self._unread = Unread(EXCHANGE_OCTETS if settings.auth else self.longest)
        self._events: list[Event] = []  # a few at most: an empty deque takes more than all else of a session
        self._mostCommands = settings.commands
        self._out: list[bytes] = []
        self._transcript: list[str] = []

    # What the shell calls.

    def receive(self, octets: bytes) -> None:
        """Take what the client sent."""
        if self._state is not _ENDED:
            self._unread.add(octets)

    def lost(self) -> None:
        """
        Nothing more will come (end of file). What came whole is still worked off; half a command, or content
        without its end, is nothing.
        """
        self._lost = True

    def nextEvent(self) -> Event | Want:
        """The next event, or why there is none."""
        events = self._events
        while not events:
            if self._undecided is not None:
                return _ANSWER
            if self._state is _ENDED:
                return _CLOSED
            if self._unread.octets and (self._readCommand() if self._data is None else self._readContent(self._data)):
                continue
            if not self._lost:
                return _DATA
            self._end()
        return events.pop(0)

    def challenge(self, octets: bytes) -> None:
        """
        Answer the L{Auth} or L{Response} that is undecided with a challenge. After the end it is of no effect.

        @param octets: not in base64.
        """
        if self._state is State.ENDED:
            return
        if not isinstance(self._undecided, Auth | Response):
            raise ValueError("nothing is to be answered by a challenge")
        self._undecided = None
        self._state = State.LOGIN
        self._out.append(b"334 " + base64.b64encode(octets) + b"\r\n")  # as long as it is: RFC 4954 4
        # A log from which the password can be guessed, as from a signature of SCRAM, is as good as a stolen table.
        self._transcript.append(f"334 {command.HIDDEN}" if octets else "334 ")

    def close(self, reply: Reply) -> None:
        """
        End the session from our side, now: what is unread is forgotten, what is undecided stays unanswered.

        @param reply: 421 and why.
        """
        if self._state is not State.ENDED:
            self._say(reply)
            self._end()

    def outgoing(self) -> bytes:
        """What is to be written since the last call."""
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def transcript(self) -> list[str]:
        """
        What receivelog is to have since the last call: greeting, commands as written, replies, in order.

        Octets that are not UTF-8 are surrogates; the log makes every text safe.
        """
        lines, self._transcript = self._transcript, []
        return lines

    @property
    def unread(self) -> int:
        """Octets that are held and not read."""
        return len(self._unread)

    @property
    def inTransaction(self) -> bool:
        """Whether MAIL was accepted and the end of data is not answered."""
        return self._state in _OPEN

    @property
    def inContent(self) -> bool:
        """Whether content is expected."""
        return self._data is not None

    @property
    def farewell(self) -> bool:
        """Whether the client itself ended the session, by QUIT or end of file: it sends nothing more."""
        return self._quit or self._lost

    # Reading.

    def _readCommand(self) -> bool:
        """Work off one line. @return: whether there was one."""
        line = self._unread.line()
        if line is None:
            return False
        self._commands += 1
        if self._commands > self._mostCommands:
            self.close(wording.tooManyErrors(self._settings.host))
            return True
        text = line.decode("utf-8", "surrogateescape")
        if self._state is _LOGIN:
            self._transcript.append(text if text == "*" else command.HIDDEN)
            self._exchange(line, text)
            return True
        self._transcript.append(text)  # as the client wrote it, unless it belongs to a login
        verb, row = "", None
        try:
            verb, argument = command.split(text)
            row = self.commands.get(verb)
            if len(line) + 2 > LINE_OCTETS and len(line) + 2 > self._longest(row):
                raise Refused(wording.exchangeTooLong() if verb == "AUTH" else wording.lineTooLong())
            if row is None:
                if verb in FOREIGN and self._state is State.NAMELESS:
                    self.close(wording.tooManyErrors(self._settings.host))
                    return True
                raise Refused(wording.unknownCommand())
            self._betrayed = False
            if self._state not in row.states:
                raise Refused(wording.badSequence(_FIRST.get(self._state, "end this transaction")))
            if argument and not row.argument:
                raise Refused(wording.badArgument(f"{verb} alone"))
            row.method(self, argument)
        except Refused as refused:
            if command.beginsLogin(text):
                self._betrayed = True
                self._transcript[-1] = command.shown(text)
            elif self._betrayed and row is None:
                self._transcript[-1] = command.HIDDEN
            self._say(refused.reply)
            self._judge(refused.reply)
        return True

    def _longest(self, row: "Row | None") -> int:
        """Octets that the line of a command may have."""
        if row is None:
            return LINE_OCTETS
        return LINE_OCTETS + row.extra + (row.auth if self._settings.auth else 0)

    def _exchange(self, line: bytes, text: str) -> None:
        """Work off the response to a challenge."""
        self._state = State.READY
        try:
            if len(line) + 2 > EXCHANGE_OCTETS:
                raise Refused(wording.exchangeTooLong())
            if text == "*":
                raise Refused(wording.cancelled())
            self._ask(Response(command.response(text)))
        except Refused as refused:
            self._betrayed = True
            self._say(refused.reply)
            self._judge(refused.reply)

    def _readContent(self, data: MailData) -> bool:
        """Work off one chunk of content. @return: whether there was one."""
        octets = self._unread.take(data.room)
        if not octets:
            return False
        part = data.feed(octets)
        fault = data.fault
        if part:
            self._events.append(Content(part))
        elif fault and self._state is State.CONTENT:
            self._void()  # told as soon as it is known, answered at the end of data
        if data.ended:
            if data.excess:
                self._unread.back(octets[-data.excess :])
            self._data = None
            if fault:
                self._say(fault)
                self._judge(fault)
            else:
                self._ask(_ENDS)
        return True

    # Telling.

    def _say(self, reply: Reply) -> None:
        """Reply to the client."""
        if self.client.extended:
            said = reply.spoken
            if said is None:
                said = reply.spoken = spoken(reply, True)  # type: ignore[misc]
            lines, octets = said
        else:
            lines, octets = spoken(reply, False)
        self._transcript += lines
        self._out.append(octets)

    def _judge(self, reply: Reply) -> None:
        """Count a failure; end the session after too many, and after a 421."""
        if reply.permanent:
            self._errors += 1
            if self._errors >= self._settings.errors:
                self.close(wording.tooManyErrors(self._settings.host))
        elif reply.code == 421:
            self._end()

    def _idled(self) -> None:
        """Count a command that does nothing: its answer and the lines in the log are many times what it costs."""
        if not self.client.known:  # those ask much that comes to no message
            self._idle += 1
            if self._idle > IDLE:
                self._errors += 1
                if self._errors >= self._settings.errors:
                    self.close(wording.tooManyErrors(self._settings.host))

    def _ask(self, event: Question) -> None:
        """Tell an event that wants an answer."""
        self._undecided = event
        self._events.append(event)

    def _void(self) -> None:
        """End the transaction, if there is one, without a message."""
        if self._state in _OPEN:
            self._state = State.READY
            self._events.append(Discard())

    def _end(self) -> None:
        """Nothing more is read. From its end on the content is the shell's, so that is not taken back here."""
        if isinstance(self._undecided, Mail):
            self._events.append(Discard())
        elif not isinstance(self._undecided, End):
            self._void()
        self._undecided = self._data = None
        self._state = State.ENDED
        self._unread.clear()
        self._events.append(_CLOSED)
