"""
The sending side of SMTP, without I/O: how a conversation opens, and how one message is handed over.

A generator leads. It yields a L{Step}, is sent the L{Reply} to it, and returns what came of it; a test drives it with
C{send} alone. Where commands are pipelined their octets stand in the first step and the steps behind it are empty, so
that whoever drives it sees each command with its own reply, in order, and needs to know nothing about pipelining.

RFC 5321 3.3, 4.1.1, 4.5.2 (dots); RFC 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 6531 (SMTPUTF8), 3207 (TLS).
"""

import enum
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from epost.mail.address import Address
from epost.mail.envelope import Envelope
from epost.mail.reply import Refused, Reply

T = TypeVar("T")


class Phase(enum.Enum):
    """What is waited for, each with a patience of its own (RFC 5321 4.5.3.2)."""

    GREETING = "greeting"
    HELLO = "hello"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END = "end"


@dataclass(frozen=True, slots=True)
class Step:
    """
    One reply that is waited for.

    @ivar command: what it answers, as senderlog tells it; empty for the greeting and the end of data.
    @ivar octets: what is to be written first. Empty: it was written with an earlier step. An iterable that is not
        L{bytes} is content, to be written part by part; where it raises L{Refused} that is thrown into the generator.
    @ivar phase: for the patience.
    """

    command: str
    octets: bytes | Iterable[bytes]
    phase: Phase


Steps = Generator[Step, Reply, T]


@dataclass(frozen=True, slots=True)
class Peer:
    """
    What the other side told about itself.

    @ivar extended: whether it took EHLO.
    @ivar extensions: parameters by keyword in upper case, as it announced them.
    """

    extended: bool = False
    extensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def limit(self) -> int | None:
        """The greatest message it takes, in octets; L{None} where it told none (RFC 1870 3: 0 is none)."""
        told = self.extensions.get("SIZE", "")
        return int(told) or None if told.isascii() and told.isdigit() else None


class After(enum.Enum):
    """How a connection stands after a transaction."""

    READY = "ready"  # for the next MAIL
    RESET = "reset"  # for the next, behind RSET
    GONE = "gone"  # the other side is leaving, or nobody knows what it believes: nothing may follow


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a transaction.

    @ivar replies: for each recipient the reply that decided. 2xx: the other side has taken the message for it.
    @ivar after: how the connection stands.
    """

    replies: tuple[Reply, ...]
    after: After


def opening(name: str, word: str = "EHLO") -> Steps[Peer]:
    """
    From the greeting to a connection that is ready for MAIL.

    L{encryption} has its place behind it: whoever drives it looks at the extensions that it returns, and under TLS says
    L{hello} anew.

    @param name: our own name.
    @param word: C{"EHLO"}, which falls back to HELO (RFC 5321 3.2), or C{"HELO"}, which never says EHLO.
    @raise Refused: the other side does not want us, now (4xx) or ever (5xx).
    """
    reply = yield Step("", b"", Phase.GREETING)
    _demand("the connection", reply)
    return (yield from hello(name, word))


def hello(name: str, word: str = "EHLO") -> Steps[Peer]:
    """
    Say who we are. What the other side tells replaces all that it told before (RFC 3207 4.2).

    @param name: our own name.
    @param word: as in L{opening}.
    @raise Refused: as in L{opening}.
    """
    if word == "EHLO":
        reply = yield _step(f"EHLO {name}", Phase.HELLO)
        if reply.accepts:
            return Peer(True, _extensions(reply))
        if reply.transient:
            raise Refused(reply)
    command = f"HELO {name}"
    reply = yield _step(command, Phase.HELLO)
    _demand(command, reply)
    return Peer()


def encryption() -> Steps[None]:
    """
    Ask for TLS. Behind it the handshake follows at once, and nothing more may be said in clear.

    @raise Refused: the other side does not want to, or its reply is none to STARTTLS (RFC 3207 4: 220 alone invites).
    """
    reply = yield _step("STARTTLS", Phase.HELLO)
    if reply.code != 220:
        raise Refused(_confused("STARTTLS", reply) if reply.accepts else reply)


def transaction(
    peer: Peer,
    envelope: Envelope,
    recipients: Sequence[Address],
    content: Iterable[bytes],
    size: int,
    reset: bool = False,
) -> Steps[Outcome]:
    """
    Hand over one message.

    @param recipients: those of the envelope that it is for; at least one.
    @param content: parts of any size, lines ended by CRLF, dots not stuffed.
    @param size: octets of content.
    @param reset: whether the last transaction on this connection ended with L{After.RESET}.
    """
    count = len(recipients)
    idle = After.RESET if reset else After.READY
    obstacle = _obstacle(peer, envelope, recipients, size)
    if obstacle:
        return Outcome((obstacle,) * count, idle)
    if reset:
        reply = yield _step("RSET", Phase.MAIL)
        fault = _fault("RSET", reply) or (None if reply.accepts else _confused("RSET", reply))
        if fault:
            return Outcome((fault,) * count, After.GONE)
    heard, fault = yield from _lead(peer, [*_envelope(peer, envelope, recipients, size), "DATA"])
    if fault:
        return Outcome(_fates(heard, fault, count), After.GONE)
    invited = len(heard) == count + 2 and heard[-1].code == 354
    taken = any(reply.accepts for reply in heard[1 : count + 1])
    if not (invited and taken and heard[0].accepts):
        after = (yield from _decline(taken)) if invited else After.RESET
        return Outcome(_fates(heard, heard[-1], count), after)
    try:
        reply = yield Step("", stuffed(content), Phase.END)
    except Refused as unread:  # our own disk: what was sent so far has no end and is never taken
        return Outcome(_fates(heard, unread.reply, count), After.GONE)
    fault = _fault("the end of data", reply)
    after = After.GONE if fault else After.READY if reply.accepts else After.RESET
    return Outcome(_fates(heard, fault or reply, count), after)


def inquiry(peer: Peer, recipient: Address, sender: Address | None = None) -> Steps[Reply]:
    """
    Ask whether a recipient would be taken, from the null reverse path or from a sender. Nothing but QUIT should follow.

    @return: the reply to RCPT; to MAIL where a sender was refused there already.
    @raise Refused: MAIL was refused from the null path, which says nothing about the recipient.
    """
    envelope = Envelope(sender, (recipient,))
    obstacle = _obstacle(peer, envelope, envelope.recipients, 0)
    if obstacle:
        return obstacle
    heard, fault = yield from _lead(peer, _envelope(peer, envelope, envelope.recipients, None))
    if heard and not heard[0].accepts:
        if sender is None:
            raise Refused(heard[0])
        return heard[0]
    return fault or heard[-1]


def stuffed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """
    Content as it goes over the wire: dots doubled at line begins (RFC 5321 4.5.2), the end of data behind it.

    A line may begin anywhere in a part, at its first octet too, and CRLF may be cut in two.
    """
    last = b"\r\n"  # what was written last: content begins as if behind a line end
    for part in parts:
        if not part:
            continue
        wire = part.replace(b"\r\n.", b"\r\n..") if b"\r\n." in part else part
        if last == b"\r\n" and part.startswith(b"."):
            wire = b"." + wire
        elif last.endswith(b"\r") and part.startswith(b"\n."):
            wire = b"\n." + wire[1:]
        yield wire
        last = part[-2:] if len(part) > 1 else last[-1:] + part
    yield b".\r\n" if last == b"\r\n" else b"\r\n.\r\n"


def _lead(peer: Peer, commands: list[str]) -> Steps[tuple[list[Reply], Reply | None]]:
    """
    Say MAIL, RCPT and DATA: with PIPELINING in one write, else one by one and no further than it makes sense.

    @return: the replies, and what is wrong with the one behind them, if anything: then nothing more may be said.
    """
    pipelining = "PIPELINING" in peer.extensions
    heard: list[Reply] = []
    for place, command in enumerate(commands):
        if pipelining:
            octets = b"" if place else _wire(commands)
        elif place and not any(reply.accepts for reply in (heard[1:] if command == "DATA" else heard[:1])):
            break  # MAIL was refused, or every RCPT
        else:
            octets = _wire((command,))
        phase = Phase.DATA if command == "DATA" else Phase.RCPT if place else Phase.MAIL
        reply = yield Step(command, octets, phase)
        fault = _fault(command, reply)
        if fault:
            return heard, fault
        heard.append(reply)
    return heard, None


def _decline(taken: bool) -> Steps[After]:
    """
    What to do where DATA was pipelined, is invited, and there is nobody to send to (RFC 2920 3.1): end it at once.

    @param taken: whether any RCPT was taken though MAIL was not: an empty message might be delivered then.
    """
    if taken:
        return After.GONE
    reply = yield Step("", b".\r\n", Phase.END)
    return After.GONE if reply.code == 421 else After.RESET


def _fates(heard: list[Reply], final: Reply, count: int) -> tuple[Reply, ...]:
    """Each recipient's reply: that to MAIL or to its RCPT where it was refused there, else the final one."""
    if heard and not heard[0].accepts:
        return (heard[0],) * count
    own = heard[1 : count + 1]
    own += [final] * (count - len(own))
    return tuple(final if reply.accepts else reply for reply in own)


def _fault(command: str, reply: Reply) -> Reply | None:
    """
    What ends the session: 421 itself, or a reply that is out of step with what was said.

    Only 354 invites content, and only DATA is answered so (RFC 5321 4.3.2): a 250 to DATA must not read as delivered.
    """
    if reply.code == 421:
        return reply
    if not reply.accepts or (reply.code == 354 if command == "DATA" else reply.code < 300):
        return None
    return _confused(command, reply)


def _confused(command: str, reply: Reply) -> Reply:
    return Reply(451, (f"{command.partition(':')[0]} was answered {reply.code}",), "4.5.0")


def _demand(command: str, reply: Reply) -> None:
    """@raise Refused: it was not answered 2xx."""
    fault = _fault(command, reply)
    if fault or not reply.accepts:
        raise Refused(fault or reply)


def _obstacle(peer: Peer, envelope: Envelope, recipients: Sequence[Address], size: int) -> Reply | None:
    """Why it makes no sense to begin (spec 4), if so."""
    if peer.limit is not None and size > peer.limit:
        return Reply(552, (f"The next host takes {peer.limit} octets, the message has {size}",), "5.3.4")
    if _international(envelope, recipients) and "SMTPUTF8" not in peer.extensions:
        return Reply(553, ("The next host does not take internationalized mail (SMTPUTF8)",), "5.6.7")
    return None


def _international(envelope: Envelope, recipients: Sequence[Address]) -> bool:
    """Whether SMTPUTF8 is needed: for the content, as the envelope tells, or for an address (RFC 6531 3.2)."""
    sender = envelope.sender
    return envelope.utf8 or not all(r.ascii for r in recipients) or (sender is not None and not sender.ascii)


def _envelope(peer: Peer, envelope: Envelope, recipients: Sequence[Address], size: int | None) -> list[str]:
    """MAIL and RCPT, without line ends. @param size: octets; L{None} tells none."""
    sender = "" if envelope.sender is None else envelope.sender.text
    if not peer.extended:  # as E-Post writes them (seed); after EHLO as RFC 5321 3.3 wants them
        return [f"MAIL From: <{sender}>", *[f"RCPT To: <{recipient.text}>" for recipient in recipients]]
    mail = f"MAIL FROM:<{sender}>"
    if size is not None and "SIZE" in peer.extensions:
        mail += f" SIZE={size}"
    # What came without BODY= may hold octets above 127 all the same: many clients never say it.
    if size is not None and "8BITMIME" in peer.extensions and envelope.body != "7BIT":
        mail += " BODY=8BITMIME"
    if _international(envelope, recipients):
        mail += " SMTPUTF8"
    return [mail, *[f"RCPT TO:<{recipient.text}>" for recipient in recipients]]


def _extensions(reply: Reply) -> dict[str, str]:
    """What an EHLO reply announces: its first line is a greeting (RFC 5321 4.1.1.1)."""
    found = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        found[keyword.upper()] = parameters.strip()
    return found


def _step(command: str, phase: Phase) -> Step:
    return Step(command, _wire((command,)), phase)


def _wire(commands: Iterable[str]) -> bytes:
    """The commands as octets."""
    return "".join([f"{command}\r\n" for command in commands]).encode()
