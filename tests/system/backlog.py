"""
A large queue, measured from outside: what 20,000 deferred messages cost the gateway.

    python -m tests.system.backlog [messages]

They come by SMTP, and the host behind the gateway answers 450 to each. Told are, for the process that took them and
for one that was started afterwards: memory above an empty daemon's, CPU while nothing happens, and what a message that
is delivered at once costs beside them. Prints figures and judges them by the goals; exit 1 where one is missed.

Everything happens on 127.0.0.0/8, in a folder of its own, and ends by itself, after about two minutes.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.system.conversation import Conversation
from tests.system.pair import Daemon, Pair, interruptible, waitUntil

SENDER = "bucho@test.jp"
CONTENT = b"Subject: backlog\r\n\r\n" + b"text text\r\n" * 100
CLIENTS = 4
PROBE = 1000  # messages by which the cost of one is measured
IDLE = 10.0  # seconds that an idle daemon is watched
MEMORY, QUIET, START, SLOWER = 30.0, 1.0, 3.0, 1.15  # the goals: MiB, ms a second, s, times


def memory(daemon: Daemon) -> float:
    """MiB that its process alone takes: its proportional set."""
    assert daemon.process is not None
    text = Path(f"/proc/{daemon.process.pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) / 1024


def spent(daemon: Daemon) -> float:
    """Seconds of CPU that its threads have used so far."""
    assert daemon.process is not None
    tasks = Path(f"/proc/{daemon.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def quiet(daemon: Daemon) -> float:
    """Milliseconds of CPU a second while nothing happens."""
    before = spent(daemon)
    time.sleep(IDLE)
    return (spent(daemon) - before) * 1000 / IDLE


def send(port: int, recipients: Iterable[str]) -> None:
    """One message to each, on one connection. @raise AssertionError: one was not taken."""
    with Conversation(port, seconds=120) as conversation:
        conversation.say("EHLO test")
        for recipient in recipients:
            reply = conversation.mail(SENDER, [recipient], CONTENT)
            assert reply.startswith("250"), reply
        conversation.say("QUIT")


def sendAll(daemon: Daemon, count: int, domain: str) -> None:
    """So many messages, on L{CLIENTS} connections."""
    shares = [[f"u{number}@{domain}" for number in range(first, count, CLIENTS)] for first in range(CLIENTS)]
    threads = [threading.Thread(target=send, args=(daemon.port, share)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cost(pair: Pair) -> float:
    """Milliseconds of CPU for a message that comes and goes."""
    pair.sink.messages.clear()
    before = spent(pair.gateway)
    sendAll(pair.gateway, PROBE, "fast.example")
    pair.sink.wait(PROBE, 120)
    time.sleep(2)  # connections that rest, logs that wait
    return (spent(pair.gateway) - before) * 1000 / PROBE


def restarted(daemon: Daemon) -> float:
    """Start it anew. @return: seconds of CPU until it rests."""
    daemon.restart()
    before = -1.0
    while spent(daemon) - before > 0.01:
        before = spent(daemon)
        time.sleep(0.5)
    return before


def measured(folder: Path, count: int) -> list[str]:
    """All of it, printed. @return: goals that were missed."""
    missed: list[str] = []

    def tell(what: str, value: float, unit: str, goal: float | None = None) -> None:
        judged = "" if goal is None else f"   (goal: at most {goal:g})"
        print(f"{what:52}{value:10.2f} {unit}{judged}", flush=True)
        if goal is not None and value > goal:
            missed.append(f"{what}: {value:.2f} {unit}, above {goal:g}")

    settings = {"retry": {"deferred": ["1h"], "warn": 0}}
    with Pair(folder, gateway=settings) as pair:
        gateway, sink = pair.gateway, pair.sink
        pair.backend.stop()
        sink.answer = lambda command: "450 4.2.0 later" if command.startswith("RCPT") and "slow" in command else None
        cost(pair)  # what a process loads and keeps when it does something for the first time is not the queue's
        tell("start, empty", restarted(gateway), "s of CPU")
        fresh = memory(gateway)
        tell("memory, empty, just started", fresh, "MiB")
        tell("idle, empty", quiet(gateway), "ms/s")
        before = min(cost(pair) for _ in range(3))
        tell("a message, empty queue", before, "ms of CPU")
        worn = memory(gateway)
        tell("memory, empty, after work", worn, "MiB")

        began = time.monotonic()
        sendAll(gateway, count, "slow.example")
        taken = time.monotonic() - began
        tell(f"{count:,} messages taken", taken, "s")
        waitUntil("all deferred", lambda: len(gateway.queue("holding")) == count, 300)
        time.sleep(2)
        tell("all deferred after", time.monotonic() - began, "s")
        tell("memory above empty, in the process that took them", memory(gateway) - worn, "MiB", MEMORY)
        tell("idle, in the process that took them", quiet(gateway), "ms/s", QUIET)
        tell("a message beside them, times", min(cost(pair) for _ in range(3)) / before, "", SLOWER)

        tell("start", restarted(gateway), "s of CPU", START)
        tell("memory above empty, after the start", memory(gateway) - fresh, "MiB", MEMORY)
        tell("idle, after the start", quiet(gateway), "ms/s", QUIET)
        tell("a message beside them, times, after the start", min(cost(pair) for _ in range(3)) / before, "", SLOWER)
        left = len(gateway.queue("holding"))
        if left != count:
            missed.append(f"{left:,} of {count:,} messages are still in the queue")
    return missed


def main(arguments: list[str]) -> int:
    """The command. @return: the exit status."""
    interruptible()
    with tempfile.TemporaryDirectory(prefix="epost-backlog-") as folder:
        missed = measured(Path(folder), int(arguments[0]) if arguments else 20_000)
    for goal in missed:
        print(f"MISSED {goal}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
