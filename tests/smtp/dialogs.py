r"""
Dialogues as files, and their player.

    # a comment; empty lines are none of the dialogue
    @ client 192.168.0.102      the client's address; other words are fields of ServerSettings: @ recipients 2
    @ tls TLSv1.3 X             version and cipher
    @ mechanisms PLAIN LOGIN    those that the client may use
    C: MAIL From: <a@b.c>       what the client writes, CRLF added; content in the same way
    S: 550 Please, ...          what the server writes

In C: lines C{\r \n \t \\ \xNN} are octets, C{\{x*600}} is x six hundred times, and a C{\&} at the end means no CRLF.
What stands between C{\[} and C{\]}, in S: lines too, receivelog has as C{***}.
Successive C: lines and the S: lines behind them are a turn: a client that waits sends the next after it. Where an event
of the server core wants an answer, the shell here takes it from the S: lines.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from epost.mail.address import parseAddress
from epost.mail.reply import Reply
from epost.smtp.event import Auth, Closed, Content, Data, Discard, End, Event, Mail, Rcpt, Response, Want
from epost.smtp.server import ServerSession
from epost.smtp.settings import ServerSettings

FOLDER = Path(__file__).parents[1] / "data" / "dialogs"

# What the session says itself: were the shell to say it, a check that is missing would not be seen. (501 is left out:
# it is the shell's answer to C{MAIL FROM:} with nothing behind it.)
SESSIONS_CODES = (220, 221, 252, 500, 502, 503, 530, 552, 553, 554, 555)
SESSIONS_TEXTS = (
    "Authentication response",
    "Authentication cancelled",
    "Address exceeds",
    "Non-ASCII",
    "Bad sender",
    "Bad recipient",
    "RCPT TO:<address>",
)

_SECRET = re.compile(r"\\\[(.*?)\\\]")
BUCHO = parseAddress("bucho@test.jp")  # whoever logs in
_ESCAPE = re.compile(r"\\(?:\{(.)\*(\d+)\}|x([0-9A-Fa-f]{2})|([rnt\\]))")
_BANNER = re.compile(r"220 (\S+) E-POST ESMTP Receiver \((.+?)\) Bld:(\S+) (.+)")
_PLAIN = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


@dataclass(frozen=True, slots=True)
class Turn:
    """@ivar client: octets that the client writes. @ivar server: lines that the server answers, without CRLF."""

    client: bytes
    server: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialog:
    """
    A file.

    @ivar address: the client's.
    @ivar settings: host, version and build are those of the banner.
    @ivar date: as in the banner.
    @ivar turns: the first has no octets: it is the banner.
    @ivar secrets: what receivelog must not have.
    @ivar tls: version and cipher.
    @ivar mechanisms: those that the client may log in by.
    """

    address: str
    settings: ServerSettings
    date: str
    turns: tuple[Turn, ...]
    secrets: tuple[str, ...] = ()
    tls: str = ""
    mechanisms: tuple[str, ...] = ()

    @property
    def client(self) -> bytes:
        """All that the client writes."""
        return b"".join(turn.client for turn in self.turns)

    @property
    def server(self) -> bytes:
        """All that the server writes."""
        return b"".join(wire(turn.server) for turn in self.turns)

    @property
    def transcript(self) -> list[str]:
        """What receivelog is to have: each command followed by its reply, no content and no secrets."""
        lines = self._said()
        for secret in self.secrets:
            lines = [line.replace(secret, "***") for line in lines]
        return lines

    def _said(self) -> list[str]:
        lines = list(self.turns[0].server)
        content = False
        for turn in self.turns[1:]:
            commands = turn.client
            replies = grouped(turn.server)
            if content:
                commands = (b"\r\n" + commands).partition(b"\r\n.\r\n")[2]
                lines += next(replies, [])
            for command in commands.split(b"\r\n")[:-1]:
                lines.append(command.decode("utf-8", "surrogateescape"))
                lines += (reply := next(replies))
                if reply[-1][:3] in ("221", "421"):
                    return lines  # what was pipelined behind it is not read
            lines += [line for reply in replies for line in reply]  # a 421 that nobody asked for
            content = turn.server[-1:] != () and turn.server[-1].startswith("354 ")
        return lines


def wire(lines: Iterable[str]) -> bytes:
    """Reply lines as octets."""
    return b"".join(line.encode() + b"\r\n" for line in lines)


def grouped(lines: Iterable[str]) -> Iterator[list[str]]:
    """Reply lines, reply by reply."""
    reply = []
    for line in lines:
        reply.append(line)
        if line[3:4] != "-":
            yield reply
            reply = []


def octets(text: str) -> bytes:
    """What a C: line stands for."""
    out, at = b"", 0
    end = b"\r\n"
    if text.endswith("\\&"):
        text, end = text[:-2], b""
    for found in _ESCAPE.finditer(text):
        out += text[at : found.start()].encode()
        char, times, code, plain = found.groups()
        out += char.encode() * int(times) if char else bytes([int(code, 16)]) if code else _PLAIN[plain]
        at = found.end()
    return out + text[at:].encode() + end


def load(path: Path) -> Dialog:
    """Read a file. @raise ValueError: a line is none of the four."""
    address, given = "127.0.0.1", {}
    secrets: list[str] = []
    tls, mechanisms = "", ()
    turns: list[Turn] = []
    client, server = b"", ()
    types = {field.name: field.type for field in fields(ServerSettings)}
    for line in path.read_text().splitlines():
        mark, text = line[:3], line[3:]
        if mark in ("C: ", "S: "):
            secrets += (octets(secret)[:-2].decode() for secret in _SECRET.findall(text))
            text = _SECRET.sub(r"\1", text)
        if line.startswith("@ tls "):
            tls = line[6:]
        elif line.startswith("@ mechanisms "):
            mechanisms = tuple(line.split()[2:])
        elif line.startswith("@ client "):
            address = line.split()[2]
        elif line.startswith("@ "):
            _, name, value = line.split()
            given[name] = types[name](value)
        elif mark == "C: " or line == "C:":
            if server:
                turns.append(Turn(client, server))
                client, server = b"", ()
            client += octets(text)
        elif mark == "S: ":
            server = (*server, text)
        elif line and not line.startswith("#"):
            raise ValueError(f"{path.name}: {line}")
    turns.append(Turn(client, server))
    banner = _BANNER.fullmatch(turns[0].server[0])
    if banner is None:
        raise ValueError(f"{path.name}: no banner")
    host, version, build, date = banner.groups()
    settings = ServerSettings(host, version, build, **given)
    return Dialog(address, settings, date, tuple(turns), tuple(secrets), tls, mechanisms)


def everyFile() -> list[Path]:
    """All dialogues."""
    return sorted(FOLDER.glob("*.smtp"))


class Scripted:
    """
    A shell around the server core that answers what it is asked by the S: lines of a dialogue.

    @ivar events: all, in order; of a content that ended well the parts are one, of one with a fault none.
    @ivar out: octets of the server.
    @ivar log: transcript.
    @ivar most: the most octets that the session ever held unread.
    """

    def __init__(self, dialog: Dialog) -> None:
        self.session = ServerSession(dialog.settings, dialog.address, False, dialog.tls, dialog.mechanisms)
        self.session.greet(dialog.date)
        self.events: list[Event] = []
        self.log: list[str] = []
        self.out = b""
        self.most = 0
        self._script = dialog.server
        self.run()

    def feed(self, octets: bytes) -> None:
        """The client writes."""
        self.session.receive(octets)
        self.run()

    def lost(self) -> None:
        """The client is gone."""
        self.session.lost()
        self.run()

    def run(self) -> None:
        """Go on until the session wants octets or has ended."""
        while (event := self.session.nextEvent()) is not Want.DATA:
            if event is Want.ANSWER:
                self._drain()
                self._answer(self._next())
                continue
            self._keep(event)
            if isinstance(event, Closed):
                break
        self.most = max(self.most, self.session.unread)
        self._drain()

    def _answer(self, reply: Reply) -> None:
        """What the dialogue has."""
        login = isinstance(self.events[-1], Auth | Response)
        if login and reply.code == 334:
            self.session.challenge(base64.b64decode(reply.lines[0]))
        else:
            self.session.answer(reply, account=BUCHO if login and reply.accepts else None)

    def _drain(self) -> None:
        self.out += self.session.outgoing()
        self.log += self.session.transcript()

    def _next(self) -> Reply:
        """The reply that the dialogue has at this place."""
        lines = next(grouped(self._script[len(self.out) :].decode().split("\r\n")), None)
        if not lines or not lines[0]:
            raise AssertionError(f"the file has no answer behind {self.out!r}")
        code = int(lines[0][:3])
        if code in SESSIONS_CODES or any(text in lines[0] for text in SESSIONS_TEXTS):
            raise AssertionError(f"the session asks where it should have said {lines}")
        return Reply(code, tuple(line[4:] for line in lines))

    def _keep(self, event: Event) -> None:
        events = self.events
        if isinstance(event, Closed) and event in events:
            return
        if isinstance(event, Content) and events and isinstance(events[-1], Content):
            events[-1] = Content(events[-1].part + event.part)
        elif isinstance(event, Discard) and events and isinstance(events[-1], Content):
            events[-1] = event
        else:
            events.append(event)


def play(dialog: Dialog, chunks: Iterable[bytes]) -> Scripted:
    """Feed all octets of the client in these chunks, without waiting for answers."""
    shell = Scripted(dialog)
    for chunk in chunks:
        shell.feed(chunk)
    shell.lost()
    return shell


__all__ = [
    "Data",
    "Dialog",
    "End",
    "Mail",
    "Rcpt",
    "Scripted",
    "Turn",
    "everyFile",
    "grouped",
    "load",
    "octets",
    "play",
]
