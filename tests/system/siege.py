"""
A daemon under attack: what an attack is, what it is given, and the watch over memory and over the next client.

What the attacks are stands in L{tests.system.attack}. Memory is what Linux says of the process itself (VmHWM):
ru_maxrss of a child begins with that of its parent, and ours holds the messages that it sends.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.system.conversation import submit
from tests.system.pair import Daemon, Pair
from tests.system.slow import SlowReader

BUCHO, USER1, KACHO = "bucho@test.jp", "user1@test.jp", "kacho@test.jp"
ABROAD, SLOWLY = "user2@test-sample00.jp", "user@slow.example"
PER_ADDRESS = 150  # connections that we open from one address of ours; the default limit is 200
GROWN = 2  # megabytes that a daemon may have kept of an attack; else what it has got already hides the next one's
HEADER = b"X-Mark: attack\r\n\r\n"


class Memory:
    """What a process has in memory, in megabytes, as Linux counts it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def now(self) -> float:
        """At this moment."""
        return self._field("VmRSS")

    def peak(self) -> float:
        """At most, since L{forget}."""
        return self._field("VmHWM")

    def forget(self) -> None:
        """The peak is what there is now."""
        (self._folder / "clear_refs").write_text("5")

    def _field(self, name: str) -> float:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


class Stage:
    """A pair to be attacked. @ivar daemon: the one that is. @ivar slow: a next hop that takes its time."""

    def __init__(self, folder: Path) -> None:
        self.slow = SlowReader()
        self.pair = Pair(folder, {"tables": {"gateway": "slow.dat"}, "retry": {"refused": []}})
        (self.pair.etc / "slow.dat").write_text(f"slow.example, 127.0.0.1, {self.slow.port}\n")
        self.daemon: Daemon = self.pair.backend

    def connect(self, place: int = 0) -> socket.socket:
        """A connection whose greeting was heard. @param place: each L{PER_ADDRESS} come from one address."""
        source = f"127.0.{1 + place // PER_ADDRESS}.1"
        connection = socket.create_connection(("127.0.0.1", self.daemon.port), 30, (source, 0))
        connection.recv(512)
        return connection

    def content(self, place: int = 0) -> socket.socket:
        """A connection that was told 354."""
        connection = self.connect(place)
        connection.sendall(f"HELO x\r\nMAIL FROM:<{BUCHO}>\r\nRCPT TO:<{USER1}>\r\nDATA\r\n".encode())
        heard = b""
        while b"\n354" not in heard:
            heard += connection.recv(4096)
        return connection

    def memory(self) -> Memory:
        """The daemon's, until it is started again."""
        assert self.daemon.process is not None
        return Memory(self.daemon.process.pid)

    def served(self) -> float:
        """Have a message taken. @return: seconds. @raise AssertionError, OSError: it was not."""
        began = time.monotonic()
        reply = submit(self.daemon.port, BUCHO, [KACHO], HEADER, "127.0.0.9")
        assert reply.startswith("250"), reply
        return time.monotonic() - began

    def leftovers(self) -> list[Path]:
        """Files of messages that were never finished."""
        return [*self.daemon.queue(), *self.daemon.folder.glob("inbox/*/tmp/*")]

    def smuggled(self) -> int:
        """How many messages came in that were hidden in others."""
        files = self.daemon.mailbox("kacho")
        return sum(b"X-Mark: smuggled" in file.read_bytes().partition(b"\n\n")[0] for file in files)


Run = Callable[[Stage], Iterator[str]]
"""Yields once, at the height of the attack, what there is to say; then ends it. @raise AssertionError: it succeeded."""


@dataclass(frozen=True, slots=True)
class Attack:
    """
    One attack.

    @ivar run: its docstring says what.
    @ivar allowed: megabytes by which memory may grow.
    """

    run: Run
    allowed: float

    @property
    def what(self) -> str:
        """In words."""
        return (self.run.__doc__ or "").strip()


def besieged(stage: Stage, attacks: Mapping[str, Attack]) -> list[str]:
    """
    Run attacks, and print a line for each.

    @return: what went wrong, in words.
    """
    memory, fresh = stage.memory(), 0.0
    faults: list[str] = []
    print(
        f"{'attack':12} {'before':>7} {'peak':>7} {'after':>7} {'next client':>18}   (MB; ms while it lasts, behind it)"
    )
    for name, attack in attacks.items():
        if memory.now() > fresh + GROWN:
            stage.daemon.restart()
            stage.served()
            memory = stage.memory()
            fresh = memory.now()
        memory.forget()
        before = memory.now()
        said: list[str] = []
        waits: list[float] = []
        try:
            for words in attack.run(stage):
                said.append(words)
                waits.append(stage.served())
            waits.append(stage.served())
        except (AssertionError, OSError) as error:
            faults.append(f"{name}: {error!r}")
        if not stage.daemon.running:
            return [*faults, f"{name}: the daemon has ended with {stage.daemon.status}"]
        peak, after = memory.peak(), memory.now()
        shown = " ".join(f"{wait * 1000:8.0f}" for wait in waits)
        print(
            f"{name:12} {before:7.1f} {peak:7.1f} {after:7.1f} {shown:>18}   {attack.what} {' '.join(said)}",
            flush=True,
        )
        if peak - before > attack.allowed:
            faults.append(f"{name}: memory grew by {peak - before:.1f} MB, allowed are {attack.allowed:g}")
    return faults
