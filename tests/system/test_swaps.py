"""
Files that change while people use them: certificates, and the table of accounts. No session fails, no answer is wrong.

Real processes and threads of clients, which go on from before the first change until behind the last one. What is
waited for is an effect of a change; no test asserts how long it took.
"""

import base64
import itertools
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.system.pair import Pair, Sections, freePorts, waitUntil

SWAPS = 20
CHANGES = 100
COMMANDS = 4  # as many of them are made by the command, each a process of its own
PAUSE = 0.06  # seconds between two changes of a table: several within each look of the daemon, and several looks
PASSWORD = "pass1234"
NAME = "mx.test.jp"

MANY = 10**6
UNLOCKED = {"delay": 0, "failures": MANY, "failures_per_address": MANY, "failures_per_account": MANY}
HALF = "does not fit"  # what the daemon's log says of the chain of one pair and the key of another


def trusting(authority: Authority) -> ssl.SSLContext:
    """A client's context that takes certificates of one authority, for a right name alone."""
    return ssl.create_default_context(cadata=authority.pem.decode())


def replace(path: Path, octets: bytes) -> None:
    """Put another file in the place of one, at once."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(octets)
    fresh.chmod(0o600)
    fresh.replace(path)


class Crowd:
    """
    Threads that do something again and again; a context that begins and ends them.

    @ivar done: how often each thing was done, by name.
    @ivar wrong: what was not as it should be.
    """

    def __init__(self, *things: Callable[[], object]) -> None:
        """@param things: each in a thread of its own; what one raises is wrong, and it goes on."""
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._names = [f"{thing.__name__} {number}" for number, thing in enumerate(things)]
        pairs = zip(self._names, things, strict=True)
        self._threads = [threading.Thread(target=self._again, args=pair) for pair in pairs]

    def _again(self, name: str, thing: Callable[[], object]) -> None:
        while not self._over.is_set():
            try:
                thing()
            except Exception as error:
                self.wrong.append(f"{name}: {error!r}")
                self._over.wait(0.1)
            else:
                self.done[name] += 1

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goOn(self) -> None:
        """Wait until each thread has done its thing once more, begun after now; or until something is wrong."""
        enough = {name: self.done[name] + 2 for name in self._names}
        waitUntil("more sessions", lambda: self.wrong or all(self.done[name] >= n for name, n in enough.items()))


class Ports:
    """The pair, and where its back-end takes logins."""

    def __init__(self, case: SynchronousTestCase, more: Sections | None = None) -> None:
        self.submission, self.implicit = freePorts(2)
        self.authority = Authority()
        self.trust = trusting(self.authority)
        sections: Sections = {
            "tls": {"certificates": [["chain.pem", "key.pem"]]},
            "submission": {
                "listen": [f"tcp:{self.submission}:interface=127.0.0.1"],
                "listen_tls": [f"tcp:{self.implicit}:interface=127.0.0.1"],
            },
            **(more or {}),
        }
        self.pair = Pair(Path(case.mktemp()), sections)
        self.etc = self.pair.etc
        chain, key = self.authority.issue(NAME)
        replace(self.etc / "chain.pem", chain)
        replace(self.etc / "key.pem", key)
        case.enterContext(self.pair)

    def command(self, *words: str) -> None:
        """C{epost account}. @raise AssertionError: it failed; with what it said."""
        command = [sys.executable, "-m", "epost.control.main", "account", *words, "--config", self.pair.backend.config]
        done = subprocess.run(command, env=self.pair.backend.environment(), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()

    def starttls(self, port: int) -> smtplib.SMTP:
        """A session behind STARTTLS, with a certificate that was checked."""
        client = smtplib.SMTP("127.0.0.1", port, "desk", 30)
        client._host = NAME  # type: ignore[attr-defined]  # the name that is asked for, and checked
        client.starttls(context=self.trust)
        client.ehlo()
        return client

    def wrapped(self) -> smtplib.SMTP:
        """A session whose TLS comes first."""
        return _Wrapped(self.implicit, self.trust)

    def served(self) -> bytes:
        """The certificate that a new connection gets, DER."""
        with self.wrapped() as client:
            found: bytes = client.sock.getpeercert(True)  # type: ignore[attr-defined]
            return found


class _Wrapped(smtplib.SMTP_SSL):
    """One that looks for our name at 127.0.0.1."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port, "desk", timeout=30, context=trust)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        return self.context.wrap_socket(plain, server_hostname=NAME)  # type: ignore[attr-defined,no-any-return]


class CertificateTests(SynchronousTestCase):
    """Certificates are swapped while clients come and go, and while one stays."""

    def test_swaps(self) -> None:
        """No session fails; each new pair is served; halves of two pairs are not, and what was before is."""
        here = Ports(self)
        backend = here.pair.backend
        etc = here.etc

        def deliver(client: smtplib.SMTP) -> None:
            with client:
                refused = client.sendmail("bucho@test.jp", ["kacho@test.jp"], b"Subject: x\r\n\r\ntext\r\n")
                assert not refused, refused

        def receiver() -> None:
            deliver(here.starttls(backend.port))

        def submission() -> None:
            client = here.starttls(here.submission)
            client.login("bucho@test.jp", PASSWORD)
            deliver(client)

        def implicit() -> None:
            client = here.wrapped()
            client.login("bucho@test.jp", PASSWORD)
            deliver(client)

        stayed = here.wrapped()
        first = here.served()
        with Crowd(receiver, submission, implicit, implicit) as crowd:
            crowd.goOn()
            for turn in range(SWAPS):
                before = here.served()
                chain, key = here.authority.issue(NAME)
                if turn % 5 == 4:  # the key comes so late that the daemon looks between the two
                    told = backend.log().count(HALF)
                    replace(etc / "chain.pem", chain)
                    waitUntil("the half-way state in the log", lambda told=told: backend.log().count(HALF) > told, 5)
                    for _ in range(5):
                        self.assertEqual(here.served(), before)
                    crowd.goOn()
                else:
                    replace(etc / "chain.pem", chain)
                replace(etc / "key.pem", key)
                wanted = ssl.PEM_cert_to_DER_cert(chain.decode())
                if turn % 2:
                    backend.reload()  # else it looks by itself
                waitUntil("the new certificate", lambda wanted=wanted: here.served() == wanted, 10)
        self.assertEqual(crowd.wrong, [])
        self.assertEqual(stayed.noop()[0], 250)
        self.assertEqual(ssl.SSLSocket.getpeercert(stayed.sock, True), first)  # type: ignore[arg-type]
        stayed.quit()
        here.pair.idle()
        self.assertEqual(len(backend.mailbox("kacho")), sum(crowd.done.values()))
        self.assertNotIn("Traceback", backend.log())


class AccountTests(SynchronousTestCase):
    """The table of accounts changes while people log in and are written to."""

    def test_changes(self) -> None:
        """Who is in every state of the table is never refused, who is in none is never let in."""
        here = Ports(self, {"login": UNLOCKED})
        backend = here.pair.backend
        table = here.etc / "accounts.dat"

        def plain(name: str, password: str) -> int:
            with here.wrapped() as client:
                client.ehlo()
                octets = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
                return client.docmd("AUTH", f"PLAIN {octets}")[0]

        def expect(what: str, code: int, *right: int) -> None:
            assert code in right, f"{what}: {code}"

        def unchanged() -> None:
            expect("bucho's login", plain("bucho@test.jp", PASSWORD), 235)

        def wrong() -> None:
            expect("a wrong password", plain("kacho@test.jp", "not so"), 535)
            expect("a name in no state", plain("nobody@test.jp", PASSWORD), 535)

        def recipients() -> None:
            with smtplib.SMTP("127.0.0.1", backend.port, "desk", 30) as client:
                client.ehlo()
                for _ in range(8):  # twenty refusals end a connection
                    expect("MAIL", client.mail("bucho@test.jp")[0], 250)
                    expect("kacho", client.rcpt("kacho@test.jp")[0], 250)
                    expect("nobody", client.rcpt("nobody@test.jp")[0], 550)
                    expect("a guest", client.rcpt("guest@test.jp")[0], 250, 550)
                    expect("RSET", client.rset()[0], 250)

        with Crowd(unchanged, unchanged, wrong, recipients) as crowd:
            crowd.goOn()
            lines, names = table.read_text("utf-8"), itertools.count()
            for turn in range(CHANGES):
                if turn % (CHANGES // COMMANDS) == 7:
                    replace(table, lines.encode())
                    here.command("set", "kacho@test.jp", f"name=Kacho {turn}")
                    lines = table.read_text("utf-8")
                    self.assertIn(f"Kacho {turn}", lines)
                else:
                    strangers = "".join(f"u{next(names)}\tsecret\t\ttest.jp\n" for _ in range(50))
                    guest = "guest\tsecret\t\ttest.jp\n" * (turn % 2)
                    replace(table, f"{strangers}{lines}{guest}".encode())
                time.sleep(PAUSE)
            last = f"u{next(names) - 1}@test.jp"
            waitUntil("the last state", lambda: plain(last, "secret") == 235, 10)
            crowd.goOn()
        self.assertEqual(crowd.wrong, [])
        self.assertGreater(backend.log().count("the tables were read again"), 3)
        self.assertNotIn("stay in force", backend.log())
        self.assertNotIn("Traceback", backend.log())
