"""
The pair for system tests: both daemons as real twistd processes on free loopback ports, a sink behind them, one folder.

    pair = self.enterContext(Pair(Path(self.mktemp())))
    submit(pair.backend.port, "bucho@test.jp", ["user2@test-sample00.jp"], content)
    pair.sink.wait(1)

The configuration is what stands in etc/, with other ports, and with what a test asks for. Nothing here imports epost:
what is looked at is what an operator could see. Where one waits, it is for something, and with a deadline.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.system.sink import Sink, Taken

ROOT = Path(__file__).parents[2]
TWISTD = Path(sys.executable).parent / "twistd"
PATIENCE = 30.0  # seconds for anything that is waited for
QUEUE = ("incoming", "holding", "dead")
SAMPLE_PORTS = ("2525", "2526")  # of the back-end and of the gateway, in etc/

Sections = Mapping[str, Mapping[str, Any]]
"""What stands in a TOML file, by section. A value of L{None} takes the key away."""

_T = TypeVar("_T")


def waitUntil(what: str, look: Callable[[], _T], seconds: float = PATIENCE) -> _T:
    """
    Look again and again until there is something.

    @return: the first true value that C{look} gave.
    @raise AssertionError: it gave none in so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not in {seconds:g} seconds")
        time.sleep(0.02)
    return seen


def interruptible() -> None:
    """Let SIGTERM, and a SIGINT that a shell has told us to ignore, end us as Ctrl-C does: nothing is left behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def freePorts(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def toml(sections: Sections) -> str:
    """Sections as TOML: JSON writes texts, numbers, switches and lists in the same way, and tables nearly so."""
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """One value as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


class Daemon:
    """
    One of the two, running or not. All it wrote stays readable when it is dead.

    @ivar name: C{backend} or C{gateway}.
    @ivar port: where it listens, on 127.0.0.1.
    @ivar config: its TOML file.
    @ivar folder: its work folder.
    @ivar process: the last process that was started; L{None} before.
    """

    def __init__(self, name: str, port: int, config: Path) -> None:
        """@param config: exists already."""
        self.name = name
        self.port = port
        self.config = config
        self.folder = (config.parent / self.sections()["server"]["folder"]).resolve()
        self.process: subprocess.Popen[bytes] | None = None
        self._output = config.parent.parent / f"{name}.log"

    def command(self, *more: str) -> list[str]:
        """The command line. @param more: options, such as C{--check}."""
        return [
            *(sys.executable, str(TWISTD), "--nodaemon", "--pidfile="),
            *(f"epost-{self.name}", "--config", str(self.config), *more),
        ]

    def environment(self) -> dict[str, str]:
        """The environment of its process: this checkout's epost, installed or not."""
        return os.environ | {"PYTHONPATH": str(ROOT)}

    def sections(self) -> dict[str, dict[str, Any]]:
        """Its configuration as it stands on disk."""
        return tomllib.loads(self.config.read_text("utf-8"))

    def configure(self, sections: Sections) -> None:
        """Change settings on disk. It reads them when it starts the next time."""
        now = self.sections()
        merged = {name: {**now.get(name, {}), **sections.get(name, {})} for name in {**now, **sections}}
        self.config.write_text(toml(merged), "utf-8")

    def launch(self) -> None:
        """Start a process and wait for nothing."""
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self._output.parent,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for whoever started us; he stops the daemons
            )

    def ready(self, seconds: float = PATIENCE) -> None:
        """Wait until it greets. @raise AssertionError: it ended, or did not greet in time; with what it said."""

        def greets() -> bool:
            if not self.running:
                raise AssertionError(f"epost-{self.name} ended with {self.status}:\n{self.log()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                    return connection.recv(3) == b"220"
            except OSError:
                return False

        waitUntil(f"epost-{self.name} on port {self.port}", greets, seconds)

    def start(self) -> None:
        """Start a process and wait until it greets."""
        self.launch()
        self.ready()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for the end. @raise AssertionError: it did not end in time, and was killed."""
        if self.running:
            self._signal(signal.SIGTERM)
            self.wait()

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """SIGHUP: it reads its tables."""
        self._signal(signal.SIGHUP)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end. @return: the exit status, negative for a signal."""
        assert self.process is not None, f"epost-{self.name} was never started"
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"epost-{self.name} did not end in {seconds:g} seconds:\n{self.log()}") from None

    def _signal(self, number: int) -> None:
        assert self.process is not None, f"epost-{self.name} was never started"
        self.process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status of the last process; L{None} while it runs and where there was none."""
        return self.process.poll() if self.process else None

    def log(self) -> str:
        """The daemon's own log, of all its lives."""
        return self._output.read_text("utf-8", "backslashreplace") if self._output.exists() else ""

    def senderlog(self) -> list[str]:
        """The lines of senderlog, of all days."""
        return self._lines("senderlog")

    def receivelog(self) -> list[str]:
        """The lines of receivelog, of all days."""
        return self._lines("receivelog")

    def _lines(self, folder: str) -> list[str]:
        files = sorted((self.folder / folder).glob("*.log"))
        return [line for file in files for line in file.read_text("utf-8").splitlines()]

    def queue(self, *folders: str) -> list[Path]:
        """
        The messages that stand in the queue.

        @param folders: where to look; none: all three of L{QUEUE}.
        """
        found = [path for name in folders or QUEUE for path in (self.folder / name).rglob("B*") if path.is_file()]
        return sorted(found)

    def mailbox(self, user: str) -> list[Path]:
        """The messages in a mailbox, new ones and others, by name."""
        box = self.folder / "inbox" / user
        return sorted([*box.glob("new/*"), *box.glob("cur/*")], key=lambda path: path.name)


class Pair:
    """
    Back-end, gateway and sink; a context that starts all three and ends them.

    @ivar folder: everything lies below: C{etc}, C{var/backend}, C{var/gateway}, C{backend.log}, C{gateway.log}.
    @ivar etc: a copy of etc/, with our ports. A table that is written here is read again by itself.
    @ivar sink: what the gateway takes for the outside.
    """

    def __init__(
        self,
        folder: Path,
        backend: Sections | None = None,
        gateway: Sections | None = None,
        heard: Callable[[Taken], None] | None = None,
    ) -> None:
        """
        @param folder: made if it is not there; a pair that ran there before goes on with its mail.
        @param backend: settings that differ from the sample's.
        @param gateway: likewise. Unless told otherwise it hands everything for outside to the sink.
        @param heard: called with every message that comes to the sink, in one of its threads.
        """
        self.folder = folder.absolute()
        self.etc = self.folder / "etc"
        self.sink = Sink(heard=heard)
        ports = freePorts(2)
        self._copy(ports)
        self.backend = Daemon("backend", ports[0], self.etc / "backend.toml")
        self.gateway = Daemon("gateway", ports[1], self.etc / "gateway.toml")
        self.gateway.configure({"relay": {"gateway": f"127.0.0.1:{self.sink.port}"}})
        self.backend.configure(backend or {})
        self.gateway.configure(gateway or {})

    def _copy(self, ports: list[int]) -> None:
        """Put a copy of etc/ into the folder."""
        shutil.rmtree(self.etc, ignore_errors=True)
        self.etc.mkdir(parents=True)
        real = dict(zip(SAMPLE_PORTS, map(str, ports), strict=True))
        anyOf = re.compile(rf"\b({'|'.join(real)})\b")
        for file in (ROOT / "etc").iterdir():
            if file.is_file():
                text = file.read_text("utf-8")
                (self.etc / file.name).write_text(anyOf.sub(lambda found: real[found[1]], text), "utf-8")

    @property
    def daemons(self) -> tuple[Daemon, Daemon]:
        """Both."""
        return self.backend, self.gateway

    def __enter__(self) -> "Pair":
        self.sink.__enter__()
        try:
            for daemon in self.daemons:
                daemon.launch()
            for daemon in self.daemons:
                daemon.ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind in (None, KeyboardInterrupt):
                for daemon in self.daemons:
                    daemon.stop()
        finally:
            self._end()

    def _end(self) -> None:
        """Leave no process behind."""
        for daemon in self.daemons:
            if daemon.running:
                daemon.kill()
        self.sink.__exit__()

    def idle(self, seconds: float = PATIENCE) -> None:
        """Wait until nothing is left in C{incoming} and C{holding}, of either."""
        waitUntil("an empty queue", lambda: not any(d.queue("incoming", "holding") for d in self.daemons), seconds)

    def census(self, mark: re.Pattern[bytes]) -> dict[bytes, list[str]]:
        """
        Where every marked message is: in a mailbox, in a queue, at the sink. Meant for a pair at rest.

        @param mark: its first group tells messages apart, such as C{X-Mark: (\\d+)}. A notice that quotes a message
            counts as a place of it; its path ends in C{-E001.MSG}.
        @return: by mark: paths relative to L{folder}, C{sink} for each copy that came there.
        """
        files = [path for d in self.daemons for path in d.queue()]
        for fresh in ("new", "cur"):
            files += (self.backend.folder / "inbox").glob(f"*/{fresh}/*")
        held = [(str(path.relative_to(self.folder)), path.read_bytes()) for path in files]
        held += [("sink", message.content) for message in self.sink.messages]
        places: dict[bytes, list[str]] = {}
        for place, content in held:
            if found := mark.search(content):
                places.setdefault(found[1], []).append(place)
        return places
