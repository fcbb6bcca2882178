"""
What C{epost doctor} hears on the wire: who listens where the configuration says, and what its greeting tells.

Blocking sockets, each with an end to its patience. No C{DATA} is ever said: a conversation ends with RSET and QUIT, and
what a server keeps of it are lines in its logs and a number that it does not use.
"""

import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from epost import __version__
from epost.control.doctor.finding import Finding, Findings, State
from epost.control.doctor.host import holder
from epost.mail.reply import Reply
from epost.mail.route import Hop
from epost.mail.safe import safe
from epost.settings import Settings
from epost.storage.disk import userName

UNITS = Path("/etc/systemd/system")
PATIENCE = 5.0  # seconds for one connection and for one reply
LONGEST = 10_000  # octets of one reply
APART = 60.0  # seconds between the clocks of two machines from which on it is told

_GREETING = re.compile(r"(\S+) E-POST ESMTP Receiver \(([^)]*)\) Bld:\S+ (.*)\Z")
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_FIRST_FREE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass(frozen=True, slots=True)
class Door:
    """
    An endpoint of a daemon as a client on this machine reaches it.

    @ivar description: as it is configured.
    @ivar hop: address and port.
    @ivar wide: whether it takes clients at every address of the machine.
    @ivar people: whether it is for people, who log in, and not for other servers.
    @ivar secure: whether TLS comes first.
    """

    description: str
    hop: Hop
    wide: bool
    people: bool = False
    secure: bool = False

    def is_(self, hop: Hop) -> bool:
        """Whether another host's way may lead here: a name may be ours, an address must be."""
        same = self.wide or hop.host == self.hop.host or not re.fullmatch(r"[\d.]+|.*:.*", hop.host)
        return same and hop.port == self.hop.port


def door(description: str, people: bool = False, secure: bool = False) -> Door | None:
    """An endpoint in Twisted's words, as L{Door} has it; L{None}: it is none of TCP."""
    kind, *parts = description.replace("\\:", "\0").split(":")
    if kind not in ("tcp", "tcp6", "ssl"):
        return None
    port = int(parts[0].removeprefix("port="))
    named = (part.partition("=")[2].replace("\0", ":") for part in parts if part.startswith("interface="))
    host = next(named, "::" if kind == "tcp6" else "")
    return Door(description, Hop(_ANY.get(host, host), port), host in _ANY, people, secure)


def doors(settings: Settings) -> list[Door]:
    """Those of a daemon at which other servers hand over mail."""
    return [found for found in map(door, settings.server.listen) if found is not None]


def every(settings: Settings) -> list[tuple[str, Door | None]]:
    """All endpoints of a daemon, those for people too."""
    people = settings.submission
    found = [(one, door(one)) for one in settings.server.listen]
    found += [(one, door(one, people=True)) for one in people.listen]
    return found + [(one, door(one, people=True, secure=True)) for one in people.listen_tls]


class Talk:
    """
    A conversation as a client.

    @ivar greeting: what the server said first.
    """

    def __init__(self, hop: Hop, source: str = "", patience: float = PATIENCE, secure: bool = False) -> None:
        """
        @param source: our own address; empty: whichever the system takes.
        @param secure: whether TLS comes first. Whose certificate it is does not matter here.
        @raise OSError: nobody answers there, or what answers speaks no SMTP.
        """
        self._patience = patience
        self._socket = socket.create_connection(
            (hop.host, hop.port), patience, source_address=(source, 0) if source else None
        )
        self._buffer = b""
        try:
            if secure:
                self._socket = _anybody().wrap_socket(self._socket)
            self.greeting = self._reply()
        except BaseException:
            self._socket.close()
            raise

    def say(self, command: str) -> Reply:
        """One command and its reply. @raise OSError: there was none."""
        self._socket.sendall(f"{command}\r\n".encode())
        return self._reply()

    def close(self) -> None:
        """QUIT, whatever the other side thinks of it."""
        try:
            self.say("QUIT")
        except OSError:
            pass
        finally:
            self._socket.close()

    def _reply(self) -> Reply:
        deadline = time.monotonic() + self._patience
        lines: list[str] = []
        while True:
            while b"\n" not in self._buffer:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                octets = self._socket.recv(4096)
                if not octets or len(self._buffer) > LONGEST or len(lines) > LONGEST // 100:
                    raise OSError("it ended the connection" if not octets else "it speaks no SMTP")
                self._buffer += octets
            line, _, self._buffer = self._buffer.partition(b"\n")
            text = line.decode("utf-8", "surrogateescape").rstrip("\r")
            if not re.match(r"[2-5]\d\d(?:[ -]|\Z)", text):
                raise OSError(f'it speaks no SMTP: "{safe(text)}"')
            lines.append(safe(text[4:]))
            if text[3:4] != "-":
                return Reply(int(text[:3]), tuple(lines))


def _anybody() -> ssl.SSLContext:
    """TLS with whoever it is."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


@contextmanager
def talk(hop: Hop, source: str = "", patience: float = PATIENCE, secure: bool = False) -> Iterator[Talk]:
    """A conversation that is closed at its end. @raise OSError: as L{Talk}."""
    open_ = Talk(hop, source, patience, secure)
    try:
        yield open_
    finally:
        open_.close()


def ports(settings: Settings, patience: float = PATIENCE, now: Callable[[], float] = time.time) -> list[Finding]:
    """Whether the daemon listens where its configuration says, is who it says, and of this version."""
    found = Findings("ports", settings.kind)
    for description, where in every(settings):
        if where is None:
            found.remark(f"{description} cannot be tried from here")
            continue
        try:
            with talk(where.hop, patience=patience, secure=where.secure) as open_:
                greeting = open_.greeting
                offered = open_.say("EHLO doctor.invalid").lines if greeting.code == 220 else ()
        except ConnectionRefusedError:
            found.wrong(f"{description}: nobody listens there", start(settings, where.hop.port))
        except OSError as error:
            found.wrong(f"{description}: {error}", f"see who listens there: ss -ltnp sport = :{where.hop.port}")
        else:
            _greeted(found, settings, where, greeting, now)
            if found.all[-1].state is State.OK and settings.tls.certificates and not where.secure:
                _encrypts(found, settings, where, offered)
    return found.all


def _greeted(found: Findings, settings: Settings, where: Door, greeting: Reply, now: Callable[[], float]) -> None:
    """What one greeting tells."""
    known = _GREETING.match(greeting.lines[0])
    if greeting.code != 220:
        mend = "421 means too many connections, or that it is stopping: look into the daemon's own log"
        found.wrong(f'{where.description}: it answers "{greeting}"', mend)
    elif known is None:
        mend = f"stop what has the port, or take another: ss -ltnp sport = :{where.hop.port}"
        found.wrong(f'{where.description}: another server has the port: "{greeting}"', mend)
    elif known[1] != settings.server.name:
        mend = f"restart epost-{settings.kind}, if it is the one; else the two share a port: change [server] listen"
        found.wrong(f"{where.description}: it greets as {known[1]}, not {settings.server.name}", mend)
    elif known[2] != __version__:
        mend = f"restart epost-{settings.kind}"
        found.wrong(f"{where.description}: version {known[2]} runs, {__version__} is installed", mend)
    else:
        found.ok(f"{where.description}: epost-{settings.kind} {known[2]} greets as {known[1]}")
    if known is not None:
        found.all += heardDate(settings.kind, str(where.hop), known[3], now())


def _encrypts(found: Findings, settings: Settings, where: Door, offered: Sequence[str]) -> None:
    """Whether STARTTLS is offered where there is a certificate."""
    if "STARTTLS" not in offered:
        mend = f"restart epost-{settings.kind}: whether there is a certificate is read at its start alone"
        found.wrong(f"{where.description}: STARTTLS is not offered, and [tls] names a certificate", mend)


def heardDate(half: str, who: str, text: str, here: float) -> list[Finding]:
    """
    Another clock against ours. Nothing is found where they agree.

    @param text: the date of a greeting.
    @param here: our time, seconds since 1970.
    """
    found = Findings("clock", half)
    try:
        there = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        found.remark(f'{who}: its greeting has no date: "{safe(text)}"')
        return found.all
    if abs(there - here) > APART:
        found.wrong(
            f"the clock of {who} is {there - here:+.0f} seconds away from this machine's",
            "let chrony or systemd-timesyncd keep both",
        )
    return found.all


def start(settings: Settings, port: int) -> str:
    """How to bring a daemon to listen."""
    if process := holder(settings.folder):
        return f"restart epost-{settings.kind} (process {process}): the configuration is read at its start alone"
    name = f"epost-{settings.kind}"
    if (UNITS / f"{name}.service").exists():
        return f"start it: systemctl start {name}; why it ended: journalctl -u {name}"
    twistd = Path(sys.executable).parent / "twistd"
    start = f"start it: {twistd} --nodaemon --pidfile= {name} --config {settings.file}"
    user = settings.folder.stat().st_uid if settings.folder.is_dir() else os.geteuid()
    if user != os.geteuid():
        start += f", as {userName(user)} and not as {userName(os.geteuid())}"
    if port < firstFree() and user:
        return f"{start}; port {port} needs root or CAP_NET_BIND_SERVICE, which the units in etc/systemd give"
    return start


def firstFree() -> int:
    """The first port that needs no right."""
    try:
        return int(_FIRST_FREE.read_text("ascii"))
    except (OSError, ValueError):
        return 1024


def neighbour(
    half: str, what: str, hop: Hop, name: str = "", patience: float = PATIENCE, now: Callable[[], float] = time.time
) -> list[Finding]:
    """
    Whether the next host answers.

    @param what: what leads there, such as C{[relay] gateway}.
    @param name: what it must greet as; empty: anything.
    """
    found = Findings("pair", half)
    try:
        with talk(hop, patience=patience) as open_:
            greeting = open_.greeting
    except OSError as error:
        found.wrong(f"{what} leads to {hop}: {error}", "start the server there, or let it lead elsewhere")
        return found.all
    known = _GREETING.match(greeting.lines[0])
    if not greeting.accepts:
        found.wrong(f'{what} leads to {hop}, which answers "{greeting}"', "look into the log of that server")
    elif name and (known is None or known[1] != name):
        mend = f"another address or port in {what}"
        found.wrong(f'{what} leads to {hop}, which is not {name}: "{greeting}"', mend)
    else:
        found.ok(f"{what} leads to {hop}, which greets as {greeting.lines[0].split(' ')[0]}")
    if known is not None:
        found.all += heardDate(half, str(hop), known[3], now())
    return found.all
