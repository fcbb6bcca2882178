"""
What a message costs inside: the daemon's own parts, without sockets and without syncs, in one thread.

    python -m bench.inside                    microseconds of CPU a message, for each kind of work
    python -m bench.inside steps [KIND]       steps of the interpreter a message, and of one kind, by function
    python -m bench.inside profile [KIND]     where they go, by function; cProfile makes short functions look dear
    python -m bench.inside growth             how they grow with rules, accounts, recipients, size, queue, destinations

It needs nothing but Python and takes a minute. Its figures differ by a few per cent from run to run, where those of a
daemon under load (docs/performance.md) differ by ten or twenty: to see what a change is worth, run it before and
behind. Steps do not differ, whatever else the machine does, and tell nothing of the system's part. The work folder is
in memory where there is a /dev/shm.
"""

import cProfile
import gc
import os
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from epost import loading
from epost.daemon.service import Daemon
from epost.interfaces import Parcel, Report
from epost.mail.reply import Reply
from epost.storage.disk import Disk

LINE = b"0123456789" * 7 + b"\r\n"
HEAD = (
    b"From: <a@ok.example>\r\nTo: <b@ok.example>\r\nDate: Tue, 24 Nov 2026 13:26:00 +0000\r\nMessage-Id: <1@ok>\r\n\r\n"
)
OK = Reply(250, ("Ok",), "2.0.0")
LATER = Reply(450, ("Later",), "4.2.0")
NOW = 1795526760.0  # seconds

GATEWAY = """
[server]
name = "gateway.example"
folder = "work"
listen = ["tcp:2525:interface=127.0.0.1"]
postmaster = "p@ok.example"
[relay]
verify = false
[tables]
effect = "effect.dat"
gateway = "gateway.dat"
[limits]
recipients = 100000
"""
BACKEND = """
[server]
name = "local.example"
folder = "work"
listen = ["tcp:2525:interface=127.0.0.1"]
[domains]
local = ["local.example"]
accounts = "accounts.dat"
postmaster = "u0@local.example"
[mailboxes]
place = 'inbox\\%USERNAME%'
[relay]
gateway = "192.0.2.1"
[limits]
recipients = 100000
"""
RULES = "#<> default\n#blank false\nbaito@test.jp false\nuser1@test.jp false\n*@spam.example false\n127.0.0.1 true\n"
HOPS = "hold.example, hold\n*.relay.example, 192.0.2.2\n"


class Unsynced(Disk):
    """A disk that is never waited for."""

    def fsync(self, descriptor: int) -> None:
        """Not here."""

    def syncfs(self, descriptor: int) -> None:
        """Nor here."""


class Here(ThreadPool):
    """The committing thread is the one that asks for it."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def callInThread(self, func: Callable[..., object], *args: Any, **kw: Any) -> None:
        """At once."""
        func(*args, **kw)


class Reactor(Clock):
    """Time stands still, and what a thread says is heard at once."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """At once."""
        function(*arguments)


class Channel:
    """Hands everything over at once: what a queue costs without a network."""

    answer = OK

    def send(self, parcel: Parcel) -> "Deferred[Report]":
        """All of the content is read."""
        for _ in parcel.content.parts():
            pass
        return succeed(Report((self.answer,) * len(parcel.recipients), "host:25"))

    def quit(self) -> None:
        """Nothing to end."""


class Wire:
    """A transport that keeps what was written last."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, octets: bytes) -> None:
        """Keep it."""
        self.last = octets

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class House:
    """
    A daemon.

    @param rules, accounts: as the tables have them.
    """

    def __init__(self, kind: str, rules: str = RULES, accounts: int = 100) -> None:
        shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._place = tempfile.TemporaryDirectory(prefix="epost-inside-", dir=shm)
        folder = Path(self._place.name)
        table = "".join(f"u{number}\tx\t\tlocal.example\n" for number in range(accounts))
        for name, text in (("gateway.toml", GATEWAY), ("backend.toml", BACKEND), ("gateway.dat", HOPS)):
            (folder / name).write_text(text, "utf-8")
        (folder / "effect.dat").write_text(rules, "utf-8")
        (folder / "accounts.dat").write_text(table, "utf-8")
        began = time.process_time()
        settings, directory = loading.load(str(folder / f"{kind}.toml"), kind)
        self.loading = time.process_time() - began
        clock = Reactor()
        clock.advance(NOW)
        self.channel = Channel()
        self.daemon = Daemon(settings, directory, clock, Unsynced(), Here())  # type: ignore[arg-type]
        self.daemon.build()
        self.daemon.dispatcher._lanes._carrier = SimpleNamespace(channel=lambda route: self.channel)  # type: ignore
        self.daemon.dispatcher.startService()
        clock.advance(0)

    def connect(self) -> "Client":
        """A client that has said EHLO."""
        client = Client(self.daemon.ports.receiver.buildProtocol(SimpleNamespace(host="127.0.0.1")))  # type: ignore[arg-type]
        client.say(b"EHLO client.example\r\n", b"250")
        return client

    def close(self) -> None:
        """Remove the folder."""
        self.daemon.lock.release()
        self._place.cleanup()


class Client:
    """One connection."""

    def __init__(self, protocol: Any) -> None:
        self.protocol, self.wire = protocol, Wire()
        protocol.makeConnection(self.wire)

    def say(self, octets: bytes, expected: bytes) -> None:
        """One read of the daemon. @raise AssertionError: what it wrote last begins otherwise."""
        self.protocol.dataReceived(octets)
        assert self.wire.last.startswith(expected), (octets[:100], self.wire.last)

    def send(self, content: bytes, *recipients: str, sender: str = "sender@ok.example") -> None:
        """One message, each command in a read of its own. @param content: with its end of data."""
        self.say(b"MAIL FROM:<%b>\r\n" % sender.encode(), b"250")
        for recipient in recipients:
            self.say(b"RCPT TO:<%b>\r\n" % recipient.encode(), b"250")
        self.say(b"DATA\r\n", b"354")
        for start in range(0, len(content), 65536):
            self.protocol.dataReceived(content[start : start + 65536])
        assert self.wire.last.startswith(b"250"), self.wire.last

    def quit(self) -> None:
        """The end of the connection."""
        self.say(b"QUIT\r\n", b"221")
        self.protocol.connectionLost()


def content(octets: int) -> bytes:
    """A message of about so many octets, with its end of data."""
    return HEAD + LINE * max(1, (octets - len(HEAD)) // len(LINE)) + b".\r\n"


def kept(house: House, *recipients: str, size: int = 1024) -> Callable[[], None]:
    """A message on a connection that is kept."""
    client, text = house.connect(), content(size)
    return lambda: client.send(text, *recipients)


def fresh(house: House, recipient: str) -> Callable[[], None]:
    """A connection for each message."""
    text = content(1024)

    def once() -> None:
        client = house.connect()
        client.send(text, recipient)
        client.quit()

    return once


def refused(house: House) -> Callable[[], None]:
    """A connection whose MAIL a rule refuses."""

    def once() -> None:
        client = house.connect()
        client.say(b"MAIL FROM:<x@spam.example>\r\n", b"550")
        client.quit()

    return once


KINDS: dict[str, tuple[str, Callable[[House], Callable[[], None]]]] = {
    "hold": ("gateway", lambda house: kept(house, "x@hold.example")),
    "relay": ("gateway", lambda house: kept(house, "x@a.relay.example")),
    "local": ("backend", lambda house: kept(house, "u0@local.example")),
    "accepted": ("gateway", lambda house: fresh(house, "x@hold.example")),
    "connection": ("backend", lambda house: fresh(house, "u0@local.example")),
    "refused": ("gateway", refused),
}


def cost(once: Callable[[], None], times: int = 300, rounds: int = 15) -> float:
    """CPU of one call in microseconds: the best of some rounds, as whoever else is on the machine only adds to it."""
    once()
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            once()
        best = min(best, time.process_time() - began)
    return best / times * 1e6


@contextmanager
def house(kind: str, **given: Any) -> Iterator[House]:
    """A daemon for a while."""
    made = House(kind, **given)
    try:
        yield made
    finally:
        made.close()
        gc.collect()


def costs() -> None:
    """The first table."""
    for name, (kind, make) in KINDS.items():
        with house(kind) as made:
            print(f"{name:<12}{cost(make(made)):8.1f} us")


def profile(name: str) -> None:
    """Where the time goes."""
    kind, make = KINDS[name]
    with house(kind) as made:
        once = make(made)
        cost(once, rounds=1)
        with cProfile.Profile() as seen:
            for _ in range(2000):
                once()
    pstats.Stats(seen).strip_dirs().sort_stats("tottime").print_stats(40)


def steps(once: Callable[[], None], times: int = 40) -> Counter[str]:
    """Steps of the interpreter in one call, by function."""
    seen: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            code = frame.f_code
            seen[f"{os.path.basename(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"] += 1
        return trace

    for _ in range(times):
        once()
    sys.settrace(trace)
    try:
        for _ in range(times):
            once()
    finally:
        sys.settrace(None)
    return Counter({function: round(count / times) for function, count in seen.items()})


def allSteps(only: str | None) -> None:
    """Of each kind, or the functions of one."""
    for name, (kind, make) in KINDS.items():
        if only in (None, name):
            with house(kind) as made:
                found = steps(make(made))
            print(f"{name:<12}{found.total():8} steps")
            for function, count in found.most_common(60 if only else 0):
                print(f"{count:8}  {function}")


def growth() -> None:
    """The second table: each line is one thing that grows, and what a message costs with so much of it."""
    rows: list[tuple[str, str, Callable[[int], tuple[float, str]], tuple[int, ...]]] = [
        ("lines in effect.dat", "us a message", withRules, (10, 1000, 10000, 100000)),
        ("accounts", "us a message", withAccounts, (10, 1000, 10000, 100000)),
        ("recipients, one destination", "us a recipient", withRecipients, (1, 10, 100, 1000)),
        ("mailboxes of one message", "us a recipient", withMailboxes, (1, 10, 100)),
        ("octets", "us a KiB", withOctets, (1024, 20480, 1048576, 26000000)),
        ("messages waiting", "us a message", withQueue, (100, 1000, 10000, 100000)),
        ("destinations, each in turn", "us a message", withDestinations, (1, 10, 100, 1000)),
        ("connections, each in turn", "us a message", withConnections, (1, 10, 100, 1000)),
    ]
    for what, unit, measure, steps in rows:
        found = [(step, *measure(step)) for step in steps]
        print(f"{what:<30}" + "".join(f"{step:>10,}: {value:8.1f}{more}" for step, value, more in found) + f"   {unit}")


def withRules(count: int) -> tuple[float, str]:
    """Rules of all kinds in front of the one that decides."""
    kinds = ("10.{a}.{b}.0/24 false", "x{n}@y.example false", "d{n}.example false")
    lines = [kinds[n % 3].format(n=n, a=n // 250 % 250, b=n % 250) for n in range(count)]
    with house("gateway", rules="\n".join([*lines, RULES])) as made:
        return cost(kept(made, "x@hold.example"), rounds=5), f" ({made.loading * 1000:.0f} ms to read)"


def withAccounts(count: int) -> tuple[float, str]:
    """Accounts of one domain."""
    with house("backend", accounts=count) as made:
        return cost(kept(made, f"u{count - 1}@local.example"), rounds=5), f" ({made.loading * 1000:.0f} ms to read)"


def withRecipients(count: int) -> tuple[float, str]:
    """Recipients that share a destination."""
    with house("gateway") as made:
        once = kept(made, *(f"x{n}@a.relay.example" for n in range(count)))
        return cost(once, max(1, 300 // count), 5) / count, ""


def withMailboxes(count: int) -> tuple[float, str]:
    """One message for many mailboxes."""
    with house("backend", accounts=count) as made:
        once = kept(made, *(f"u{n}@local.example" for n in range(count)))
        return cost(once, max(1, 300 // count), 5) / count, ""


def withOctets(count: int) -> tuple[float, str]:
    """One message of this size."""
    with house("gateway") as made:
        once = kept(made, "x@hold.example", size=count)
        return cost(once, max(1, 1000000 // count), 3) / (count / 1024), ""


def withQueue(count: int) -> tuple[float, str]:
    """Messages that were put off and wait for their time."""
    with house("gateway") as made:
        made.channel.answer = LATER
        client, text = made.connect(), content(1024)
        for _ in range(count):
            client.send(text, "x@a.relay.example")
        made.channel.answer = OK
        return cost(kept(made, "x@b.relay.example"), rounds=5), ""


def withDestinations(count: int) -> tuple[float, str]:
    """Each message for another destination."""
    with house("gateway") as made:
        client, text, turn = made.connect(), content(1024), iter(range(10**9))
        return cost(lambda: client.send(text, f"x@d{next(turn) % count}.org"), rounds=5), ""


def withConnections(count: int) -> tuple[float, str]:
    """Each message from another connection."""
    with house("gateway") as made:
        clients, text, turn = [made.connect() for _ in range(count)], content(1024), iter(range(10**9))
        return cost(lambda: clients[next(turn) % count].send(text, "x@hold.example"), rounds=5), ""


def main(arguments: list[str]) -> None:
    """The command."""
    match arguments:
        case []:
            costs()
        case ["profile", *names] if not names or names[0] in KINDS:
            profile(names[0] if names else "relay")
        case ["steps", *names] if not names or names[0] in KINDS:
            allSteps(names[0] if names else None)
        case ["growth"]:
            growth()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
