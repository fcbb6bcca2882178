"""A machine with many cores: several gateways behind one port, each with a folder of its own (docs/operate.md)."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.conversation import submit
from tests.system.pair import ROOT, TWISTD, toml, waitUntil
from tests.system.sink import Sink

MESSAGES = 60
START = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp; exec "$@"'  # as systemd does


class SideBySideTests(SynchronousTestCase):
    """Two gateways take what comes to one listening socket."""

    def gateway(self, stack: ExitStack, folder: Path, name: str, sink: Sink, listening: int) -> subprocess.Popen[bytes]:
        """Start one. @param listening: the socket's descriptor."""
        config = folder / f"{name}.toml"
        (folder / "gateway.dat").write_text(f"relay.example, 127.0.0.1, {sink.port}\n", "utf-8")
        sections = {
            "server": {"name": f"{name}.example", "folder": name, "listen": ["systemd:domain=INET:index=0"]},
            "relay": {"verify": False},
            "tables": {"gateway": "gateway.dat"},
        }
        config.write_text(toml(sections), "utf-8")
        command = [sys.executable, str(TWISTD), "-n", "--pidfile=", "epost-gateway", "--config", str(config)]

        def third() -> None:
            os.dup2(listening, 3)

        log = stack.enter_context((folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            ["sh", "-c", START, "sh", *command],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            preexec_fn=third,
            pass_fds=(3,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        stack.callback(process.wait, 30)
        stack.callback(process.send_signal, signal.SIGTERM)
        waitUntil(f"{name}", lambda: (folder / name / "lock").exists() or process.poll() is not None)
        self.assertIsNone(process.poll(), (folder / f"{name}.log").read_text("utf-8"))
        return process

    def test_twoGateways(self) -> None:
        """Each takes some of the mail, all of it arrives once, and a stop of one stops nothing."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sink = stack.enter_context(Sink())
            door = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            names = ("one", "two")
            first, _ = [self.gateway(stack, folder, name, sink, door.fileno()) for name in names]
            port = door.getsockname()[1]
            for number in range(MESSAGES):
                reply = submit(port, "a@ok.example", ["x@relay.example"], b"X-Mark: %d\r\n\r\nhello\r\n" % number)
                self.assertTrue(reply.startswith("250"), reply)
            first.send_signal(signal.SIGTERM)
            first.wait(30)
            for number in range(MESSAGES, MESSAGES + 5):
                submit(port, "a@ok.example", ["x@relay.example"], b"X-Mark: %d\r\n\r\nhello\r\n" % number)
            sink.wait(MESSAGES + 5)
            marks = sorted(int(taken.content.partition(b"X-Mark: ")[2].split()[0]) for taken in sink.messages)
            self.assertEqual(marks, list(range(MESSAGES + 5)))
            by = [sum(f"by {name}.example".encode() in taken.content for taken in sink.messages) for name in names]
            self.assertTrue(all(by), by)
