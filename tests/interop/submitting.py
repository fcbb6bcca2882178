"""
Clients as people use them: each logs in by each of its mechanisms on the port with STARTTLS and on the one with TLS
first. What a line claims was seen in the mailbox: the message, and a Received field that says TLS and login (ESMTPSA).
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.interop.clients import CLIENTS, Client
from tests.interop.letters import letter
from tests.interop.places import Places
from tests.interop.report import Report
from tests.interop.sending import BUCHO, KACHO
from tests.system.pair import Pair, Sections, freePorts

PASSWORD = "pass1234"  # of all accounts of the sample
WAYS = {"starttls": "STARTTLS", "tls": "TLS first"}
MECHANISMS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"]


def submission(folder: Path, report: Report) -> None:
    """Make every check."""
    ports = dict(zip(WAYS, freePorts(2), strict=True))
    backend: Sections = {
        "tls": {"certificates": [["cert.pem", "key.pem"]]},
        "login": {"mechanisms": MECHANISMS, "delay": 0, "failures": 1000, "failures_per_address": 1000},
        "submission": {
            "listen": [f"tcp:{ports['starttls']}:interface=127.0.0.1"],
            "listen_tls": [f"tcp:{ports['tls']}:interface=127.0.0.1"],
        },
    }
    pair = Pair(folder, backend)
    command = [sys.executable, "-m", "epost.control.main", "cert", "self", "--out", str(pair.etc)]
    subprocess.run([*command, "--name", "127.0.0.1"], check=True, capture_output=True, timeout=60)
    with pair:
        for client in CLIENTS:
            if client.installed and client.mechanisms:
                Submitting(Places(pair), client, ports).run(report)
            else:
                report.skip(client.name, "no logins: it is not installed, or cannot do it by itself")


class Submitting:
    """One client and its checks."""

    def __init__(self, places: Places, client: Client, ports: dict[str, int]) -> None:
        self.places = places
        self.client = client
        self._ports = ports

    def run(self, report: Report) -> None:
        """All of them."""
        check = partial(report.check, self.client.name)
        for way, said in WAYS.items():
            for mechanism in self.client.mechanisms:
                check(
                    f"{said}, AUTH {mechanism}: delivered, Received says ESMTPSA", partial(self.taken, way, mechanism)
                )
            check(f"{said}: a wrong password is refused, and so is the message", partial(self.wrong, way))
        if not self.client.rewrites:
            check("Bcc does not arrive, whoever has taken it out", self.blind)

    def _where(self, way: str, mechanism: str, password: str = PASSWORD) -> str:
        return f"{self._ports[way]}/{way}/{mechanism}/{password}"

    def taken(self, way: str, mechanism: str) -> None:
        """With the password."""
        mark = f"{self.client.name} {way} {mechanism}"
        send = partial(self.client.send, self._where(way, mechanism), BUCHO, [KACHO])
        self.places.delivers(send, mark, letter(mark, "dots"), [KACHO], self.client.rewrites)
        (found,) = self.places.found(mark, KACHO)
        assert b" with ESMTPSA id " in found, found[:500]

    def wrong(self, way: str) -> None:
        """With another."""
        mark = f"{self.client.name} {way} wrong"
        send = partial(self.client.send, self._where(way, "PLAIN", "pass12345"), BUCHO, [KACHO])
        taken, said = send(letter(mark, "dots"))
        assert not taken and "535" in said, said
        assert not self.places.found(mark, KACHO)

    def blind(self) -> None:
        """Whoever takes it out: the client or we."""
        mark = f"{self.client.name} blind"
        content = b"Bcc: hidden@test.jp,\r\n\tmore@test.jp\r\n" + letter(mark, "dots")
        taken, said = self.client.send(self._where("tls", "PLAIN"), BUCHO, [KACHO], content)
        assert taken, said
        self.places.pair.idle()
        (found,) = self.places.found(mark, KACHO)
        assert b"hidden@test.jp" not in found, found[:800]
