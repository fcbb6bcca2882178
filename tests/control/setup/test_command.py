"""Tests of L{epost.control.setup.command}: real daemons pass a message with what it wrote, as it stands."""

import base64
import json
import os
import smtplib
import ssl
import subprocess
import sys

from tests.control.setup.cases import GIVEN, PASSWORD, Case
from tests.system.conversation import submit
from tests.system.pair import ROOT, Daemon, freePorts, waitUntil
from tests.system.sink import Sink


class PairTests(Case):
    """What was written runs."""

    def command(self, *words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """The command as its user has it."""
        epost = [sys.executable, "-m", "epost.control.main", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            epost, cwd=self.root, env=environment, input=typed, capture_output=True, encoding="utf-8", timeout=60
        )

    def sendAsAProgram(self, submission: int, secure: int) -> None:
        """One message over STARTTLS and one over TLS, each with a login and with the certificate looked at."""
        context = ssl.create_default_context(cafile=str(self.etc / "cert.pem"))
        context.check_hostname = False  # 127.0.0.1 is not its name here
        with smtplib.SMTP("127.0.0.1", submission, timeout=30) as clear:
            clear.starttls(context=context)
            self.send(clear)
        with smtplib.SMTP_SSL("127.0.0.1", secure, timeout=30, context=context) as encrypted:
            self.send(encrypted)

    def send(self, client: smtplib.SMTP) -> None:
        """Log in and send."""
        client.ehlo()
        token = base64.b64encode(f"\0bucho@test.jp\0{PASSWORD}".encode()).decode()  # smtplib's own is ASCII alone
        self.assertEqual(client.docmd("AUTH", f"PLAIN {token}")[0], 235)
        client.sendmail("bucho@test.jp", ["friend@example.org"], b"Subject: out\r\n\r\ntext\r\n")

    def test_aMessagePasses(self) -> None:
        """
        From nothing: setup, check, start. Mail goes out and comes in, and the doctor finds nothing wrong but what the
        DNS does not say yet.
        """
        sink = self.enterContext(Sink())
        gateway, inner, submission, secure = freePorts(4)
        ports = ["--port", str(gateway), "--inner-port", str(inner)]
        ports += ["--submission-port", str(submission), "--tls-port", str(secure)]
        smarthost = ["--smarthost", f"127.0.0.1:{sink.port}"]
        made = self.command("setup", *GIVEN, *self.places, *ports, *smarthost, typed=f"{PASSWORD}\n")
        self.assertEqual((made.returncode, made.stderr), (0, ""), made.stdout)
        daemons = [
            Daemon(half, port, self.etc / f"{half}.toml") for half, port in (("backend", inner), ("gateway", gateway))
        ]
        reader = "" if os.geteuid() else ", read as root"
        for daemon in daemons:
            checked = subprocess.run(
                daemon.command("--check"), env=daemon.environment(), capture_output=True, encoding="utf-8", timeout=60
            )
            self.assertEqual((checked.returncode, checked.stdout), (0, f"{daemon.config}: no faults{reader}\n"))
        for daemon in daemons:
            self.addCleanup(daemon.stop)
            daemon.start()
        self.sendAsAProgram(submission, secure)
        for out in sink.wait(2):
            self.assertEqual((out.sender, out.recipients), ("bucho@test.jp", ("friend@example.org",)))
        submit(gateway, "friend@example.org", ["bucho@test.jp"], b"Subject: in\r\n\r\ntext\r\n")
        waitUntil("a message in the mailbox", lambda: daemons[0].mailbox("bucho"))
        looked = self.command("doctor", "--json", "--config", str(self.etc / "backend.toml"))
        self.assertEqual(looked.stderr, "")
        told = json.loads(looked.stdout)
        wrong = [finding for finding in told["findings"] if finding["state"] == "wrong"]
        self.assertEqual([finding for finding in wrong if finding["about"] != "names"], [])
        self.assertEqual(looked.returncode, 1 if wrong else 0)
        again = self.command("setup", *GIVEN, *self.places, typed=f"{PASSWORD}\n")
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertIn("never overwrites", again.stderr)
