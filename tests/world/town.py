"""
The seed's town in memory: back-end, gateway and a mail server of test-sample00.jp, on a L{Net}, each on its own disk.

The daemons are those of C{twistd epost-backend} and C{twistd epost-gateway}, made by their commands from files of their
own. Only their locks and logs lie on the machine's disk. It is the afternoon of 6 July 2009.
"""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Protocol

from twisted.internet.protocol import ServerFactory
from twisted.names.dns import DNSDatagramProtocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from epost import backend, gateway
from epost.daemon import receiving
from tests.japan import QUEUED, useJapanTime
from tests.net.dns import Zone
from tests.world.client import Client
from tests.world.disk import OUTCOMES, Outcome, World
from tests.world.net import Host, Net

START = QUEUED - 454  # 2009-07-06 16:20:00 +0900
ROAD = 0.05  # seconds that anything is under way
SYNC = 0.034  # seconds of a sync

FILES = {
    "backend.toml": """\
[server]
name = "test.jp"
folder = "backend"
listen = ["tcp:25:interface=192.168.0.102"]
[domains]
local = ["test.jp"]
accounts = "accounts.dat"
postmaster = "bucho@test.jp"
[mailboxes]
place = 'inbox\\%USERNAME%'
[relay]
gateway = "192.168.0.103"
hello = "HELO"
networks = ["192.168.0.0/24"]
""",
    "gateway.toml": """\
[server]
name = "dc.epost.test"
folder = "gateway"
listen = ["tcp:25:interface=192.168.0.103"]
postmaster = "postmaster@test.jp"
[relay]
name_servers = ["203.0.113.53"]
[tables]
effect = "effect.dat"
gateway = "gateway.dat"
""",
    "accounts.dat": "".join(f"{user}\tpass1234\t\ttest.jp\n" for user in ("user1", "bucho", "kacho", "baito")),
    "effect.dat": "#< default\n#blank false\nbaito@test.jp false\nuser1@test.jp false\n192.168.0.102 true\n",
    "gateway.dat": "test.jp, 192.168.0.102, 25\n",
}


class Case(Protocol):
    """What a town needs of a test case."""

    def addCleanup(self, function: Callable[..., object], *args: object) -> object:
        """As of a test case."""

    def patch(self, owner: object, name: str, value: object) -> object:
        """As of a test case."""

    def mktemp(self) -> str:
        """As of a test case."""


def _raised(failure: Failure) -> None:
    failure.raiseException()


class Thread(ThreadPool):
    """The committing thread of a host: each call takes L{SYNC}, and nothing happens meanwhile."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nor to stop."""

    def callInThread(self, func: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Later."""
        self._host.callLater(SYNC, func, *args, **kw)


class Talk(LineReceiver):
    """One connection to L{Outside}."""

    factory: "Outside"

    def connectionMade(self) -> None:
        """A greeting."""
        self._content: list[str] | None = None
        self.sendLine(b"220 mx.test-sample00.jp")

    def lineReceived(self, line: bytes) -> None:
        """A command or content."""
        text = line.decode()
        if self._content is not None:
            if text != ".":
                self._content.append(text)
                return
            self.factory.taken.append((self._sender, self._recipients, self._content))
            self._content = None
        elif text.startswith("MAIL FROM:"):
            self._sender, self._recipients = text[10:], []
        elif text.startswith("RCPT TO:"):
            self._recipients.append(text[8:])
        elif text == "DATA":
            self._content = []
            self.sendLine(b"354 go on")
            return
        self.sendLine(b"250 mx.test-sample00.jp")


class Outside(ServerFactory):
    """A mail server that takes everything. @ivar taken: sender, recipients and lines of content of each message."""

    noisy = False
    protocol = Talk

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], list[str]]] = []


class Town:
    """
    All of it, started.

    @ivar net: what joins them.
    @ivar desk: the back-end's host; the seed's client sits there too.
    @ivar gate: the gateway's. Its clock is four seconds slow, as in the seed.
    @ivar stranger: a host outside, where L{outside} is.
    @ivar names: the DNS, which tells the gateway where that is.
    @ivar disks: of C{backend} and C{gateway}.
    @ivar services: the daemons, likewise.
    """

    def __init__(
        self, case: Case, serial: int = 186, files: Mapping[str, str] = MappingProxyType(FILES), begins: bool = True
    ) -> None:
        """
        @param serial: the back-end's first message number.
        @param files: configurations and tables.
        @param begins: whether the daemons are started.
        """
        useJapanTime(case)
        case.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        case.patch(receiving, "BUILD", "CAAIGADJA")
        self._case = case
        self._folder = Path(case.mktemp()).absolute()
        self._folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self._folder / name).write_text(text)
        self.net = Net(START)
        self.net.seconds = ROAD
        self.desk = self.net.host("192.168.0.102")
        self.gate = self.net.host("192.168.0.103", skew=-4.0)
        self.stranger = self.net.host("203.0.113.25")
        self.outside = Outside()
        self.stranger.listenTCP(25, self.outside)
        self.names = Zone()
        self.names.mx("test-sample00.jp", (10, "mx.test-sample00.jp"))
        self.names.a("mx.test-sample00.jp", "203.0.113.25")
        nameServer = self.net.host("203.0.113.53")
        nameServer.listenUDP(53, DNSDatagramProtocol(self.names, reactor=nameServer))
        self.disks = {"backend": World(), "gateway": World()}
        self.disks["backend"].put(self.path("backend/serial"), b"%010d\n" % serial)
        self.services: dict[str, Any] = {}
        case.addCleanup(lambda: [self.stop(kind) for kind in self.services])
        if begins:
            self.start("backend")
            self.start("gateway")
            self.net.run(1)

    def start(self, kind: str) -> None:
        """Start a daemon as twistd does, with version and build of the seed."""
        command, version = {"backend": (backend, "4.56"), "gateway": (gateway, "4.58")}[kind]
        host = self.host(kind)
        self._case.patch(receiving, "__version__", version)
        options = command.Options()
        options.parseOptions(["--config", self.path(f"{kind}.toml")])
        service = command.makeService(options, host, self.disks[kind], Thread(host))
        self.services[kind] = service
        service.privilegedStartService()
        service.startService()

    def stop(self, kind: str) -> None:
        """Stop it as twistd does; where it does not run there is nothing to do."""
        if self.services[kind].running:
            stopped = self.services[kind].stopService()
            self.net.until(lambda: stopped.called)
            stopped.addErrback(_raised)

    def powerCut(self, random: Random, kind: str = "backend", outcome: Outcome = OUTCOMES["any"]) -> None:
        """A machine loses its power and starts again. The disk of lock and logs keeps what it has."""
        self.lose(kind, random, outcome)
        self.start(kind)

    def lose(self, kind: str, random: Random, outcome: Outcome) -> None:
        """A machine has lost its power."""
        service = self.services[kind]
        self.darken(kind)
        if hasattr(service, "lock"):
            service.lock.release()  # the kernel's business
        if outcome.killed:
            self.disks[kind].reboot()
        else:
            self.disks[kind] = self.disks[kind].after(random, outcome)

    def darken(self, kind: str) -> None:
        """Nothing leaves a machine any more, nor does it begin anything. It can be told again."""
        service = self.services[kind]
        if hasattr(service, "store"):
            service.store.flush()
        self.host(kind).crash()

    def host(self, kind: str) -> Host:
        """Where a daemon runs."""
        return {"backend": self.desk, "gateway": self.gate}[kind]

    def at(self, clock: str) -> None:
        """Wait until the back-end's clock shows HH:MM:SS.mmm."""
        hours, minutes, seconds = clock.split(":")
        self.net.run(START + (int(hours) - 16) * 3600 + (int(minutes) - 20) * 60 + float(seconds) - self.net.now)

    def submit(self, sender: str, *recipients: str) -> str:
        """
        Somebody hands a message to the back-end; for one recipient it counts as queued 450 ms after this begins.

        @return: the reply to the end of data.
        """
        client = Client(self.desk, "192.168.0.102")
        client.reply()
        client.say("EHLO pc")
        reply = client.mail(sender, list(recipients), b"subject:test4\r\n\r\nhello\r\n")
        client.say("QUIT")
        return reply

    def path(self, name: str) -> str:
        """A path on the disks, and on the machine's for lock and logs."""
        return str(self._folder / name)

    def log(self, name: str) -> list[str]:
        """The lines of a log of the day, such as C{backend/senderlog}."""
        for service in self.services.values():
            service.store.flush()
        file = Path(self.path(f"{name}/090706.log"))
        return file.read_text().splitlines() if file.exists() else []

    def box(self, user: str) -> dict[str, str]:
        """A mailbox: contents by file name."""
        return {path.rpartition("/")[2]: text for path, text in self._files("backend", f"inbox/{user}/new").items()}

    def queue(self, kind: str) -> list[str]:
        """What stands in a queue, such as C{holding/B0000000186-R0001}."""
        found = self._files(kind, "incoming") | self._files(kind, "holding") | self._files(kind, "dead")
        return sorted(path.removeprefix(self.path(kind))[1:] for path in found)

    def _files(self, kind: str, folder: str) -> dict[str, str]:
        disk, front = self.disks[kind], self.path(f"{kind}/{folder}") + "/"
        return {path: disk.content(path).decode() for path in disk.paths() if path.startswith(front)}
