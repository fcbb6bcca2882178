"""
What logins cost the mail, and what an idle TLS connection costs: C{python -m bench.logins}.

The back-end as it is started by a user, in a process that counts its calls of scrypt (and of argon2, where that is
installed). Clients hand over mail on the plain port as fast as they can, for a while alone, then while one account logs
in a thousand times within a minute, each time over TLS of its own with AUTH PLAIN, then alone again. After that the
daemon is left in peace and gets connections that say EHLO and rest. Two minutes and a half, over loopback.
"""

import base64
import multiprocessing
import os
import re
import resource
import smtplib
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from epost.login import schemes
from tests.net.certificates import Authority
from tests.system.conversation import Conversation
from tests.system.pair import Daemon, Pair, freePorts

LOGINS = 1000
MINUTE = 60.0  # seconds in which they come
ALONE = 20.0  # seconds of mail alone, before and behind
SENDERS = 4  # processes that hand over mail, each on a connection that it keeps
AT_ONCE = 8  # threads that log in
CONNECTIONS = 1000
USER, PASSWORD = "bucho@test.jp", "pass1234"
MESSAGE = b"Subject: x\r\n\r\n" + b"a line of sixty-four octets, as there are many of them in mail.\r\n" * 15
WAYS = (("clear", None), ("TLS 1.2", ssl.TLSVersion.TLSv1_2), ("TLS 1.3", ssl.TLSVersion.TLSv1_3))


class Counting(Daemon):
    """A back-end that counts its hashes."""

    def command(self, *more: str) -> list[str]:
        """See L{Daemon.command}."""
        python, _, *words = super().command(*more)
        return [python, "-m", "bench.logins", str(self._count), *words]

    @property
    def _count(self) -> Path:
        return self.config.parent / "hashes"

    def hashes(self) -> int:
        """How many were calculated so far."""
        return self._count.stat().st_size if self._count.exists() else 0

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory, in KiB."""
        assert self.process is not None
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return float(found[1])


def counted(file: str, words: Sequence[str]) -> None:
    """Be twistd, and write an octet into a file for each hash."""
    count = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            os.write(count, b".")
            return function(*arguments, **named)

        return call

    schemes.hashlib.scrypt = counting(schemes.hashlib.scrypt)  # type: ignore[assignment]
    if schemes._argon2 is not None:
        schemes._argon2.verify_secret = counting(schemes._argon2.verify_secret)
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", *words]
    run()


def send(port: int, taken: "Synchronized[int]") -> None:
    """Hand over mail until we are ended."""
    with Conversation(port) as client:
        client.say("EHLO bench")
        while True:
            reply = client.mail(USER, ["kacho@test.jp"], MESSAGE)
            assert reply.startswith("250"), reply
            with taken.get_lock():
                taken.value += 1
            client.transcript.clear()


def trusting() -> ssl.SSLContext:
    """A client's context that asks for nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


class Logins:
    """
    Those who log in.

    @ivar took: seconds that each login took, from the connection to the reply to AUTH.
    @ivar refused: replies other than 235.
    """

    def __init__(self, port: int) -> None:
        self.took: list[float] = []
        self.refused: list[str] = []
        self._port = port
        self._trust = trusting()

    def run(self) -> None:
        """All of them, evenly over the minute."""
        begin = time.monotonic()
        threads = [threading.Thread(target=self._some, args=(begin, first)) for first in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _some(self, begin: float, first: int) -> None:
        words = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        for number in range(first, LOGINS, AT_ONCE):
            time.sleep(max(0.0, begin + number * MINUTE / LOGINS - time.monotonic()))
            started = time.monotonic()
            with smtplib.SMTP_SSL("127.0.0.1", self._port, "bench", context=self._trust) as client:
                client.ehlo()
                code, text = client.docmd("AUTH", f"PLAIN {words}")
                self.took.append(time.monotonic() - started)
                if code != 235:
                    self.refused.append(f"{code} {text!r}")


def flow(backend: Counting, port: int) -> None:
    """Mail alone, mail beside logins, mail alone; a line for each, and the ratio."""
    logins = Logins(port)
    taken = multiprocessing.Value("i", 0)
    senders = [multiprocessing.Process(target=send, args=(backend.port, taken), daemon=True) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(3)
    rates = []
    for name, work in (("alone", None), (f"{LOGINS} logins", logins.run), ("alone", None)):
        before, cpu, begin = taken.value, backend.cpu(), time.monotonic()
        if work is None:
            time.sleep(ALONE)
        else:
            work()
        seconds = time.monotonic() - begin
        rates.append((taken.value - before) / seconds)
        used = (backend.cpu() - cpu) / seconds
        print(f"mail, {name}: {rates[-1]:.0f} messages/s in {seconds:.0f} s; CPU of the daemon {used:.0%}", flush=True)
    for sender in senders:
        assert sender.is_alive(), "a client that hands over mail has failed"
        sender.terminate()
        sender.join()
    ratio = rates[1] / (rates[0] + rates[2]) * 2
    took = sorted(logins.took)
    print(f"mail beside the logins against mail alone: {ratio:.2f}")
    print(
        f"logins: {len(took)}, refused {len(logins.refused)} {logins.refused[:1]}; hashes {backend.hashes()};", end=" "
    )
    print(f"a login takes {took[len(took) // 2] * 1000:.0f} ms, one of a hundred {took[-len(took) // 100] * 1000:.0f}")


def rest(backend: Counting, ports: dict[str, int]) -> None:
    """Connections that idle; a line for each way."""
    for name, version in WAYS:
        backend.restart()  # what the work before has left free would be taken first
        resting = [_open(ports[name], version) for _ in range(100)]  # what is made once
        before = backend.memory()
        resting += [_open(ports[name], version) for _ in range(CONNECTIONS)]
        time.sleep(2)
        print(
            f"idle, {name}: {(backend.memory() - before) / CONNECTIONS:.1f} KiB a connection of {CONNECTIONS}",
            flush=True,
        )
        for end in resting:
            end.close()


def _open(port: int, version: ssl.TLSVersion | None) -> socket.socket:
    """A connection that has said EHLO and rests."""
    end = socket.create_connection(("127.0.0.1", port))
    if version is None:
        end.recv(1000)
    else:
        context = trusting()
        context.minimum_version = context.maximum_version = version
        end = context.wrap_socket(end)
        end.recv(1000)
    end.sendall(b"EHLO x\r\n")
    end.recv(1000)
    return end


def main() -> None:
    """Measure."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    implicit, submission = freePorts(2)
    more = {
        "tls": {"certificates": [["chain.pem", "key.pem"]]},
        "submission": {
            "listen": [f"tcp:{submission}:interface=127.0.0.1"],
            "listen_tls": [f"tcp:{implicit}:interface=127.0.0.1"],
        },
        "limits": {"connections_per_address": 5000},
    }
    print(f"load of this machine before: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder), more)
        for file, octets in zip(("chain.pem", "key.pem"), Authority().issue("mx.test.jp"), strict=True):
            (pair.etc / file).write_bytes(octets)
            (pair.etc / file).chmod(0o600)
        table = pair.etc / "accounts.dat"
        secret = schemes.made(PASSWORD, True, False)
        table.write_text(re.sub(r"(?m)^(bucho\t)\S+", lambda found: found[1] + secret, table.read_text()), "utf-8")
        pair.backend = backend = Counting("backend", pair.backend.port, pair.backend.config)
        with pair:
            pair.gateway.stop()
            print(f"the password is kept as {', '.join(re.findall('{(.*?)}', secret))}")
            flow(backend, implicit)
            rest(backend, {"clear": backend.port, "TLS 1.2": implicit, "TLS 1.3": implicit})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        counted(sys.argv[1], sys.argv[2:])
    else:
        main()
