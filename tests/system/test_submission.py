"""
People who hand over their mail to real daemons: with a certificate of C{epost cert self}, on the port with STARTTLS and
on the one with TLS first, to colleagues and through the gateway to the outside.
"""

import base64
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.pair import ROOT, Pair, freePorts, waitUntil

PASSWORD = "pass1234"
OUTSIDE = "user2@test-sample00.jp"
TEXT = b"Subject: hello\r\nBcc: hidden@test.jp,\r\n\tmore@test.jp\r\n\r\nhello\r\n"
DETAILS = """
["kacho@test.jp"]
message_octets = 2000
[ "user1@test.jp" ]
outside = false
"""


class SubmissionTests(SynchronousTestCase):
    """Who has logged in may write under his own names, as much as his account may; nobody else may write at all."""

    def setUp(self) -> None:
        """A pair, with ports for people."""
        self.starttls, self.tls = freePorts(2)
        submission = {
            "listen": [f"tcp:{self.starttls}:interface=127.0.0.1"],
            "listen_tls": [f"tcp:{self.tls}:interface=127.0.0.1"],
        }
        settings = {
            "tls": {"certificates": [["cert.pem", "key.pem"]]},
            "submission": submission,
            "domains": {"details": "accounts.toml"},
            "login": {"delay": 0},
        }
        pair = Pair(Path(self.mktemp()), settings, {"tls": settings["tls"]})
        (pair.etc / "accounts.toml").write_text(DETAILS, "utf-8")
        words = ["cert", "self", "--name", "localhost", "--out", str(pair.etc)]
        command = [sys.executable, "-m", "epost.control.main", *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=ROOT)
        self.pair = self.enterContext(pair)
        self.context = ssl.create_default_context(cafile=str(pair.etc / "cert.pem"))

    @contextmanager
    def client(self, port: int, user: str = "", password: str = PASSWORD) -> Iterator[smtplib.SMTP]:
        """Somebody who trusts the certificate, under its name, and has logged in."""
        if port == self.tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port, timeout=30, context=self.context)
        else:
            client = smtplib.SMTP("localhost", port, timeout=30)
        with client:
            if port != self.tls:
                client.starttls(context=self.context)
            if user:
                client.login(user, password)
            yield client

    def refused(self, call: Callable[[], object]) -> tuple[int, bytes]:
        """What an attempt is told."""
        with self.assertRaises(smtplib.SMTPException) as told:
            call()
        error = told.exception
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return next(iter(error.recipients.values()))
        return error.smtp_code, error.smtp_error

    def test_fromLoginToMailbox(self) -> None:
        """On both ports: to a colleague and to the outside, with what was missing and without blind copies."""
        for port in (self.starttls, self.tls):
            with self.client(port, "bucho") as client:
                client.sendmail("bucho@test.jp", ["kacho@test.jp", OUTSIDE], TEXT)
        self.pair.idle()
        waitUntil("both messages outside", lambda: len(self.pair.sink.messages) == 2)
        inside = [path.read_bytes() for path in self.pair.backend.mailbox("kacho")]
        outside = [message.content for message in self.pair.sink.messages]
        self.assertEqual(len(inside), 2)
        for content in inside + outside:
            self.assertRegex(content, rb"with ESMTPSA id <B\d{10}@test\.jp> tls TLS_")
            for field in (b"Message-Id: <B0", b"Date: ", b"From: bucho@test.jp"):
                self.assertIn(b"\n" + field, content)
            self.assertNotIn(b"hidden@", content)
            self.assertNotIn(b"more@", content)

    def test_whoMayNot(self) -> None:
        """Without login, with a wrong password, as another, too much, and to whom the account may not write."""
        with self.client(self.starttls) as client:
            client.ehlo()
            self.assertEqual(client.mail("bucho@test.jp")[0], 530)
        self.assertEqual(self.refused(lambda: self.client(self.tls, "bucho", "wrong").__enter__())[0], 535)
        with self.client(self.tls, "kacho") as client:
            said = self.refused(lambda: client.sendmail("bucho@test.jp", [OUTSIDE], TEXT))
            self.assertEqual((said[0], said[1][:5]), (553, b"5.7.1"))
            self.assertEqual(self.refused(lambda: client.sendmail("", [OUTSIDE], TEXT))[0], 550)
            large = TEXT + b"x" * 70 * 40
            self.assertEqual(self.refused(lambda: client.sendmail("kacho@test.jp", [OUTSIDE], large))[0], 552)
            client.ehlo_resp = None
            client.esmtp_features.clear()  # so that SIZE is not announced, and the end of data decides
            self.assertEqual(self.refused(lambda: client.sendmail("kacho@test.jp", [OUTSIDE], large))[0], 552)
            client.sendmail("kacho@test.jp", [OUTSIDE], TEXT)
        with self.client(self.tls, "user1") as client:
            self.assertEqual(self.refused(lambda: client.sendmail("user1@test.jp", [OUTSIDE], TEXT))[0], 550)
            client.sendmail("user1@test.jp", ["bucho@test.jp"], TEXT)
        self.pair.idle()
        self.assertEqual([message.sender for message in self.pair.sink.messages], ["kacho@test.jp"])

    def test_odd(self) -> None:
        """NUL, CR LF and paths in a user name, and what is no base64, let nobody in and forge no line of a log."""
        names = ["bucho\r\nMAIL FROM:<x@y>", "../../etc/passwd", "bucho\0x", "\x1b[2J", "bucho@test.jp\n", "x" * 5000]
        with self.client(self.tls) as client:
            client.ehlo()
            for name in names:
                message = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
                self.assertIn(client.docmd("AUTH", f"PLAIN {message}")[0], (501, 535), name)
            self.assertEqual(client.docmd("AUTH", "PLAIN %%%")[0], 501)
            self.assertEqual(client.mail("bucho@test.jp")[0], 530)
        log = self.pair.backend.log()
        self.assertNotIn(PASSWORD, log)
        self.assertNotIn("\x1b", log)
        self.assertEqual([line for line in log.split("\n") if line.startswith("MAIL")], [])
        heard = waitUntil("receivelog", lambda: [x for x in self.pair.backend.receivelog() if "AUTH PLAIN" in x])
        self.assertTrue(all(line.endswith("AUTH PLAIN ***") for line in heard), heard)

    def test_gateway(self) -> None:
        """The gateway has TLS on its port, and no AUTH."""
        with smtplib.SMTP("localhost", self.pair.gateway.port, timeout=30) as client:
            client.starttls(context=self.context)
            client.ehlo()
            self.assertFalse(client.has_extn("auth"))
            self.assertEqual(client.docmd("AUTH", "PLAIN AGEAYg==")[0], 502)
