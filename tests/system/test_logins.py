"""Who is logged in at a real daemon while his account changes, and what is known of him after a restart."""

import smtplib
import subprocess
import sys
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.pair import ROOT, Pair, freePorts, waitUntil

PASSWORD = "pass1234"
TEXT = b"Subject: hello\r\n\r\nhello\r\n"


class LoginsTests(SynchronousTestCase):
    """A back-end that lets people of this machine log in in clear."""

    def setUp(self) -> None:
        """A pair."""
        (self.port,) = freePorts(1)
        submission = {"listen": [f"tcp:{self.port}:interface=127.0.0.1"]}
        login = {"clear": ["127.0.0.1"], "delay": 0, "mechanisms": ["PLAIN"]}
        self.pair = self.enterContext(Pair(Path(self.mktemp()), {"submission": submission, "login": login}))

    def enter(self, user: str, password: str = PASSWORD) -> smtplib.SMTP:
        """Somebody who has logged in."""
        client = self.enterContext(smtplib.SMTP("127.0.0.1", self.port, timeout=30))
        client.login(user, password)
        return client

    def account(self, *words: str, text: str = "") -> None:
        """C{epost account}."""
        command = [sys.executable, "-m", "epost.control.main", "account", words[0]]
        command += ["-c", str(self.pair.etc / "backend.toml"), *words[1:]]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=ROOT, input=text.encode())

    def test_changed(self) -> None:
        """Another password, SMTPauthflag 0, and both, end the connection of whoever was logged in; nobody else's."""
        people = {name: self.enter(name) for name in ("user1", "bucho", "kacho", "baito")}
        for name, client in people.items():
            client.sendmail(f"{name}@test.jp", ["bucho@test.jp"], TEXT)
            client.mail(f"{name}@test.jp")
            client.rcpt("bucho@test.jp")
        self.account("passwd", "user1", "--stdin", text="other5678\n")
        self.account("set", "bucho", "auth=no")
        self.account("set", "kacho", "auth=no")
        self.account("passwd", "kacho", "--stdin", text="other5678\n")
        for name in ("user1", "bucho", "kacho"):
            probe = people[name]
            code, words = waitUntil(f"{name} is over", partial(self.over, probe, f"{name}@test.jp"))
            self.assertEqual((code, words), (421, b"4.7.0 test.jp Log in again, closing connection."))
            self.assertRaises(smtplib.SMTPServerDisconnected, probe.noop)
        self.assertEqual(people["baito"].docmd("DATA")[0], 354)
        self.assertEqual(people["baito"].docmd(".")[0], 250)
        self.enter("user1", "other5678").sendmail("user1@test.jp", ["bucho@test.jp"], TEXT)
        self.assertRaises(smtplib.SMTPAuthenticationError, self.enter, "bucho")
        self.assertRaises(smtplib.SMTPAuthenticationError, self.enter, "kacho", "other5678")

    def over(self, client: smtplib.SMTP, own: str) -> tuple[int, bytes] | None:
        """What MAIL is told, if it is no more taken. Another's address would be too many errors before it is."""
        client.rset()
        said = client.mail(own)
        return said if said[0] == 421 else None

    def test_places(self) -> None:
        """Where an account has logged in stands in the file hints."""
        self.enter("bucho").quit()
        self.pair.backend.stop()
        text = (self.pair.folder / "var/backend/hints").read_text("utf-8")
        self.assertRegex(text, r"(?m)^\S+Z places bucho@test\.jp 127\.0\.0\.1=\d{5}$")
