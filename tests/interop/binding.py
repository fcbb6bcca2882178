"""
Logins that are tied to their TLS connection (SCRAM-SHA-256-PLUS, RFC 5802 6), by clients of others: gsasl with
tls-exporter, scramp with tls-server-end-point.

What that is good for is shown with somebody between, whose certificate the clients take. That a login was refused for
its binding, and for nothing else, was seen in the daemon's log.
"""

import base64
import contextlib
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from tests.interop.clients import SCRIPTS, Client
from tests.interop.encryption import HOST, selfSigned
from tests.interop.letters import letter
from tests.interop.places import Places
from tests.interop.report import Report
from tests.interop.sending import BUCHO, KACHO
from tests.interop.submitting import PASSWORD, WAYS
from tests.system.pair import Pair, Sections, freePorts, waitUntil

PLUS, PLAIN = "SCRAM-SHA-256-PLUS", "PLAIN"
TAKEN = {"1.3": (PLUS, "tls TLS_"), "1.2": ("SCRAM-SHA-256", "tls ECDHE-")}  # ciphers as the Received field has them
BOUND = "another channel binding"
SCRAMP = Client(
    "scramp",
    lambda where, sender, recipients: [
        *(sys.executable, str(SCRIPTS / "send_scramp.py")),
        *(where, sender, *recipients),
    ],
    [sys.executable, "-c", "import scramp"],
    "make interop fetches it from PyPI",
    ends=b"\r\n",
)


def binding(folder: Path, report: Report) -> None:
    """Make every check."""
    ports = dict(zip(WAYS, freePorts(2), strict=True))
    backend: Sections = {
        "tls": {"certificates": [["cert/cert.pem", "cert/key.pem"]]},
        "login": {"delay": 0, "failures": 1000, "failures_per_address": 1000},
        "submission": {
            "listen": [f"tcp:{ports['starttls']}:interface=127.0.0.1"],
            "listen_tls": [f"tcp:{ports['tls']}:interface=127.0.0.1"],
        },
    }
    pair = Pair(folder, backend)
    selfSigned(pair.etc / "cert", HOST)
    selfSigned(folder / "between", HOST)
    with pair, Between(ports["tls"], folder / "between") as between:
        if shutil.which("gsasl") is None:
            report.missing("gsasl", "Debian: apt install gsasl")
        else:
            Gsasl(pair, ports["starttls"], between).run(report)
        if SCRAMP.installed:
            Scramp(Places(pair), ports, between.port).run(report)
        else:
            report.missing(SCRAMP.name, SCRAMP.advice)


class Refusals:
    """Why logins were refused. Only what was logged since it was made counts."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._begin = len(pair.backend.log())

    def tell(self, mechanism: str, why: str) -> None:
        """@raise AssertionError: none was, for this reason."""
        line = f"login failed: user=<.*> address=127.0.0.1 mechanism={mechanism} why={why}"
        waitUntil(line, lambda: re.search(line, self._pair.backend.log()[self._begin :]))

    def none(self) -> None:
        """@raise AssertionError: a login counts as failed."""
        assert "login failed" not in self._pair.backend.log()[self._begin :]


class Gsasl:
    """GNU SASL's own client: it logs in, by STARTTLS alone, and sends no mail."""

    def __init__(self, pair: Pair, port: int, between: "Between") -> None:
        self._pair = pair
        self._port = port
        self._between = between.port
        self._trusted = {port: pair.etc / "cert/cert.pem", between.port: between.certificate}

    def run(self, report: Report) -> None:
        """All checks."""
        check = partial(report.check, "gsasl")
        check(f"STARTTLS, TLS 1.3, AUTH {PLUS} with tls-exporter: logged in, each has proved itself", self.exporter)
        check(f"STARTTLS, TLS 1.3, AUTH {PLUS}: a wrong password is refused", self.wrong)
        check(f"STARTTLS, TLS 1.2, AUTH {PLUS} with tls-unique, though not offered: 504, no failed login", self.unique)
        check("STARTTLS, TLS 1.2, which mechanism it likes: SCRAM-SHA-256, no failed login", self.likes)
        check("STARTTLS, TLS 1.2, AUTH SCRAM-SHA-256 without a binding: logged in", self.unbound)
        check(f"somebody between: AUTH PLAIN goes through him, AUTH {PLUS} is refused", self.between)

    def _login(self, port: int, mechanism: str, *more: str, password: str = PASSWORD) -> tuple[bool, str]:
        """Whether it is logged in, and the dialogue, with what it holds in base64."""
        command = ["gsasl", "--smtp", "--verbose", "--connect", f"{HOST}:{port}"]
        command += ["--mechanism", mechanism] if mechanism else []
        command += ["--authentication-id", BUCHO, "--password", password, *more]
        command.append(f"--x509-ca-file={self._trusted[port]}")
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        said = done.stdout.decode("utf-8", "backslashreplace")
        for word in re.findall(r"^(?:334 )?([A-Za-z0-9+/]{16,}=*)\s*$", said, re.MULTILINE):
            with contextlib.suppress(ValueError):
                said += f"\n{base64.b64decode(word).decode('utf-8', 'backslashreplace')}"
        return done.returncode == 0 and "\n235 " in said, said

    def exporter(self) -> None:
        """It ends with 0 only where the server's proof holds."""
        taken, said = self._login(self._port, PLUS)
        assert taken and "server trusted" in said and "\np=tls-exporter," in said, said

    def wrong(self) -> None:
        """By the password, not by the binding."""
        refusals = Refusals(self._pair)
        taken, said = self._login(self._port, PLUS, password="pass12345")
        assert not taken and "535 5.7.8" in said, said
        refusals.tell(PLUS, "wrong password")

    def unique(self) -> None:
        """It is not safe in TLS 1.2."""
        refusals = Refusals(self._pair)
        taken, said = self._login(self._port, PLUS, "--priority=NORMAL:-VERS-TLS1.3")
        assert not taken and "504 5.5.4" in said, said
        refusals.none()

    def likes(self) -> None:
        """
        It has tls-unique, and would choose -PLUS for it where that is offered.

        Its library gives up before it says a word: it takes no SCRAM without -PLUS where it has a binding, in TLS 1.3
        neither. With --no-cb it does.
        """
        refusals = Refusals(self._pair)
        _, said = self._login(self._port, "", "--priority=NORMAL:-VERS-TLS1.3")
        assert f" {PLUS}" not in said and "AUTH SCRAM-SHA-256\n334" in said, said
        refusals.none()

    def unbound(self) -> None:
        """So TLS 1.2 itself is no hindrance."""
        taken, said = self._login(self._port, "SCRAM-SHA-256", "--priority=NORMAL:-VERS-TLS1.3", "--no-cb")
        assert taken and "server trusted" in said, said

    def between(self) -> None:
        """He hears the password where it is sent, and cannot use what proves it."""
        taken, said = self._login(self._between, PLAIN)
        assert taken and "250-between" in said, said
        refusals = Refusals(self._pair)
        taken, said = self._login(self._between, PLUS)
        assert not taken and "535 5.7.8" in said and "\np=tls-exporter," in said, said
        refusals.tell(PLUS, BOUND)


class Scramp:
    """scramp, which sends a message after the login."""

    def __init__(self, places: Places, ports: dict[str, int], between: int) -> None:
        self.places = places
        self._ports = ports
        self._between = between

    def run(self, report: Report) -> None:
        """All checks."""
        check = partial(report.check, "scramp")
        for way, said in WAYS.items():
            for version, (mechanism, cipher) in TAKEN.items():
                check(
                    f"{said}, TLS {version}, AUTH {mechanism}, tls-server-end-point: delivered, Received says ESMTPSA",
                    partial(self.taken, way, version, mechanism, cipher),
                )
        check(f"AUTH {PLUS} with tls-server-end-point, TLS 1.2, where it is not offered: refused", self.early)
        check("AUTH SCRAM-SHA-256, whose client knows no binding (n): delivered", self.unbound)
        check(
            "AUTH SCRAM-SHA-256, whose client was told that the server knows no binding (y): refused as tampering",
            self.downgraded,
        )
        check(f"AUTH {PLUS} with the binding of another connection: refused", self.another)
        check(f"AUTH {PLUS} with tls-unique: 504, no failed login", self.unique)
        check(f"somebody between: AUTH PLAIN goes through him, AUTH {PLUS} is refused", self.between)

    def _where(self, port: int, way: str, mechanism: str, version: str, kind: str) -> str:
        return f"{port}/{way}/{mechanism}/{PASSWORD}/{version}/{kind}"

    def _delivered(self, where: str, mark: str) -> bytes:
        send = partial(SCRAMP.send, where, BUCHO, [KACHO])
        self.places.delivers(send, mark, letter(mark, "dots"), [KACHO])
        (found,) = self.places.found(mark, KACHO)
        return found

    def _refused(self, where: str, mark: str, reply: str) -> None:
        send = partial(SCRAMP.send, where, BUCHO, [KACHO])
        self.places.refuses(send, mark, letter(mark, "dots"), reply, [KACHO])

    def taken(self, way: str, version: str, mechanism: str, cipher: str) -> None:
        """The cipher tells that it was this version. Without -PLUS the client says that it could bind (y)."""
        where = self._where(self._ports[way], way, mechanism, version, "tls-server-end-point")
        found = self._delivered(where, f"scramp {way} {version}")
        assert b" with ESMTPSA id " in found and cipher.encode() in found, found[:500]

    def unbound(self) -> None:
        """As all clients that know no binding do, where the server offers it."""
        self._delivered(self._where(self._ports["tls"], "tls", "SCRAM-SHA-256", "1.3", ""), "scramp unbound")

    def downgraded(self) -> None:
        """It has a binding, and was told of SCRAM-SHA-256 alone: somebody has taken -PLUS out of the list."""
        refusals = Refusals(self.places.pair)
        where = self._where(self._ports["tls"], "tls", "SCRAM-SHA-256", "1.3", "tls-server-end-point")
        self._refused(where, "scramp downgraded", "535")
        refusals.tell("SCRAM-SHA-256", "the list of mechanisms was changed on its way")

    def another(self) -> None:
        """The password is right."""
        refusals = Refusals(self.places.pair)
        self._refused(self._where(self._ports["tls"], "tls", PLUS, "1.3", "another"), "scramp another", "535")
        refusals.tell(PLUS, BOUND)

    def early(self) -> None:
        """Another mechanism will do."""
        refusals = Refusals(self.places.pair)
        where = self._where(self._ports["tls"], "tls", PLUS, "1.2", "tls-server-end-point")
        self._refused(where, "scramp early", "504")
        refusals.none()

    def unique(self) -> None:
        """It is none in TLS 1.3, though OpenSSL gives one."""
        refusals = Refusals(self.places.pair)
        self._refused(self._where(self._ports["tls"], "tls", PLUS, "1.3", "tls-unique"), "scramp unique", "504")
        refusals.none()

    def between(self) -> None:
        """He hears the password where it is sent, and cannot use what proves it."""
        self._delivered(self._where(self._between, "starttls", PLAIN, "1.3", ""), "scramp through him")
        refusals = Refusals(self.places.pair)
        where = self._where(self._between, "starttls", PLUS, "1.3", "tls-server-end-point")
        self._refused(where, "scramp between", "535")
        refusals.tell(PLUS, BOUND)


class Between:
    """
    Somebody between a client and a port with TLS at once: he offers STARTTLS with a certificate of his own and passes
    on what he hears. A context that starts and ends him.

    @ivar port: where he listens, on 127.0.0.1.
    @ivar certificate: his.
    """

    def __init__(self, port: int, pair: Path) -> None:
        """
        @param port: of 127.0.0.1, where he passes it on.
        @param pair: the folder with his certificate and key.
        """
        self._server = ("127.0.0.1", port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate = pair / "cert.pem"
        self._context.load_cert_chain(self.certificate, pair / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "Between":
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection. It ends with whichever side ends."""
        trusting = ssl._create_unverified_context()
        with (
            contextlib.suppress(OSError),
            client,
            trusting.wrap_socket(socket.create_connection(self._server, 30)) as server,
        ):
            client.settimeout(30)
            client.sendall(server.recv(1024))  # the greeting
            lines = client.makefile("rb", buffering=0)  # octet by octet: what follows a line may be TLS
            while lines.readline().strip().upper() != b"STARTTLS":
                client.sendall(b"250-between\r\n250-STARTTLS\r\n250 8BITMIME\r\n")
            client.sendall(b"220 2.0.0 Ready\r\n")
            with self._context.wrap_socket(client, server_side=True) as secret:
                ends = {secret: server, server: secret}
                while True:
                    for end in [e for e in ends if e.pending()] or select.select(list(ends), [], [], 30)[0]:
                        octets = end.recv(16384)
                        if not octets:
                            return
                        ends[end].sendall(octets)
