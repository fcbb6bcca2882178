"""
C{epost setup} makes a pair that starts, without a fault, and never touches what is there.

The last test takes what it wrote, as it stands, and lets real daemons pass a message with it.
"""

import argparse
import base64
import builtins
import io
import json
import os
import re
import smtplib
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from epost import reload
from epost.control import setup, setuptexts
from epost.control.doctor import pair
from epost.control.doctor.finding import State
from epost.control.terminal import Failure, common
from epost.login import schemes
from epost.mail.route import Hop
from tests.system.conversation import submit
from tests.system.pair import ROOT, Daemon, freePorts, waitUntil
from tests.system.sink import Sink

PASSWORD = "正しい馬 battery staple"
GIVEN = ["--yes", "--stdin", "--domain", "test.jp", "--name", "mail.test.jp", "--account", "bucho"]


def parsed(*words: str) -> argparse.Namespace:
    """The options of a command line. @raise SystemExit: it is not understood."""
    parser = argparse.ArgumentParser(parents=[common()])
    setup.register(parser.add_subparsers())
    parser.set_defaults(config=None, json=False)
    return parser.parse_args(["setup", *words])


class Case(SynchronousTestCase):
    """A place for what is written."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.etc = self.root / "etc"
        self.places = ["--folder", str(self.etc), "--data", str(self.root / "var")]

    def run_(self, *words: str, given: Iterable[str] = GIVEN, typed: str = PASSWORD + "\n") -> str:
        """What the command says. @param typed: what comes from standard input."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode()), "utf-8"))
        said = io.StringIO()
        with redirect_stdout(said):
            self.assertEqual(setup.run(parsed(*given, *self.places, *words)), 0)
        return said.getvalue()

    def assertNothingWritten(self) -> None:
        """There is no file, and no folder either."""
        self.assertEqual(list(self.root.rglob("*")), [])


class WriteTests(Case):
    """What is written."""

    def test_withoutFaults(self) -> None:
        """Both configurations and all tables are read without a fault or a remark."""
        self.run_()
        for half in ("backend", "gateway"):
            self.assertEqual(reload.check(str(self.etc / f"{half}.toml"), half), ([], []))
        self.assertEqual({path.name for path in self.etc.iterdir()}, set(setuptexts.NAMES))

    def test_halvesAgree(self) -> None:
        """The doctor finds nothing about the pair, on one machine and on two."""
        for place, more in (("one", []), ("two", ["--backend", "192.168.0.102", "--gateway", "192.168.0.103"])):
            self.places = ["--folder", str(self.root / place), "--data", str(self.root / "var")]
            self.run_(*more, "--network", "192.168.0.0/24")
            halves = [
                pair.Half(*reload.load(str(self.root / place / f"{half}.toml"), half))
                for half in ("backend", "gateway")
            ]
            found = pair.pair(*halves)
            self.assertEqual([str(f) for f in found if f.state is not State.OK], [])

    def test_commented(self) -> None:
        """What an office may want later stands there as comments, which are right when they are none."""
        self.run_()
        file = self.etc / "backend.toml"
        text = re.sub(r"^# (?=\w+ = )", "", file.read_text("utf-8"), flags=re.MULTILINE)
        file.write_text(text, "utf-8")
        (self.etc / "lists.toml").touch()
        self.assertEqual(reload.check(str(file), "backend"), ([], []))
        settings, _ = reload.load(str(file), "backend")
        self.assertEqual((settings.domains.lists, settings.domains.separator), ("lists.toml", "+"))

    def test_password(self) -> None:
        """The password is hashed, proves itself, and stands nowhere."""
        self.run_()
        _, directory = reload.load(str(self.etc / "backend.toml"), "backend")
        (account,) = directory.accounts
        self.assertEqual(str(account.address), "bucho@test.jp")
        secret = schemes.read(account.secret)
        assert secret.hash is not None
        self.assertTrue(secret.hash.verify(schemes.prepared(PASSWORD).encode()))
        for path in self.etc.iterdir():
            self.assertNotIn(PASSWORD, path.read_text("utf-8"))

    def test_pages(self) -> None:
        """Each page of the documentation that a file names is there, and that of accounts.toml tells of its keys."""
        self.run_()
        for path in self.etc.iterdir():
            for page in re.findall(r"docs/[\w-]+\.md", path.read_text("utf-8")):
                text = (Path(ROOT) / page).read_text("utf-8")
                if path.name == "accounts.toml":
                    self.assertIn("| `mailbox_messages` |", text)

    def test_modes(self) -> None:
        """The table of accounts and the mail are for the daemon alone."""
        self.run_()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.etc.iterdir()}
        self.assertEqual((modes.pop("accounts.dat"), modes.pop("key.pem")), (0o600, 0o600))
        self.assertEqual(set(modes.values()), {0o644})
        self.assertEqual(stat.S_IMODE((self.root / "var").stat().st_mode), 0o700)

    def test_owner(self) -> None:
        """Root gives what it writes to the user that the daemons will be."""
        if os.geteuid():
            raise SkipTest("only root can give a file away")
        self.run_("--user", "nobody")
        for path in (*self.etc.iterdir(), self.etc, self.root / "var"):
            self.assertEqual(path.owner(), "nobody")
        with self.assertRaisesRegex(Failure, "there is no user nobody-has-this: useradd"):
            self.run_("--user", "nobody-has-this")

    def test_answers(self) -> None:
        """Networks, smarthost and ports stand where they belong."""
        self.run_("--network", "192.168.0.0/24", "--network", "2001:db8::/64", "--smarthost", "smtp.isp.example:2500")
        backend, _ = reload.load(str(self.etc / "backend.toml"), "backend")
        gateway, _ = reload.load(str(self.etc / "gateway.toml"), "gateway")
        self.assertEqual(
            list(map(str, backend.relay.networks)), ["127.0.0.1/32", "::1/128", "192.168.0.0/24", "2001:db8::/64"]
        )
        self.assertEqual(gateway.relay.gateway, Hop("smtp.isp.example", 2500))
        self.assertEqual(backend.relay.gateway, Hop("127.0.0.1", 25))
        self.assertEqual(gateway.server.name, "mail.test.jp")

    def test_scanners(self) -> None:
        """The port without login is the gateway's alone, unless the office has networks that may send so."""
        for words, listen in (((), "tcp:2525:interface=127.0.0.1"), (("--network", "192.168.0.0/24"), "tcp:2525")):
            self.etc = self.root / (words[-1].replace("/", "-") if words else "none")
            self.places = ["--folder", str(self.etc), "--data", str(self.root / "var")]
            self.run_(*words)
            settings, _ = reload.load(str(self.etc / "backend.toml"), "backend")
            self.assertEqual(settings.server.listen, (listen,))
            self.assertEqual(settings.submission.listen + settings.submission.listen_tls, ("tcp:587", "tcp:465"))

    def test_certificate(self) -> None:
        """The certificate is for all names and addresses by which programs come."""
        self.run_("--backend", "192.168.0.102", "--gateway", "192.168.0.103")
        certificate = x509.load_pem_x509_certificate((self.etc / "cert.pem").read_bytes())
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name.value) for name in held], ["mail.test.jp", "test.jp", "192.168.0.102"])

    def test_oddFolder(self) -> None:
        """A folder may have quotes and letters of any alphabet in its name."""
        odd = self.root / "お \"mail\\box\" 'x'"
        self.places = ["--folder", str(odd), "--data", str(odd / "var")]
        self.run_()
        settings, _ = reload.load(str(odd / "backend.toml"), "backend")
        self.assertEqual(settings.folder, odd / "var" / "backend")


class NeverOverwritesTests(Case):
    """What is there stays."""

    def test_again(self) -> None:
        """A second setup in the same place says what is there and writes nothing."""
        self.run_()
        before = {path: path.read_bytes() for path in self.etc.iterdir()}
        with self.assertRaisesRegex(Failure, "backend.toml is there already\n(.*\n)*nothing was written"):
            self.run_("--domain", "other.jp")
        self.assertEqual({path: path.read_bytes() for path in self.etc.iterdir()}, before)

    def test_one(self) -> None:
        """One file that is there, a link that leads nowhere too, and none is written."""
        for name in setuptexts.NAMES:
            self.etc.mkdir()
            (self.etc / name).symlink_to("nowhere")
            with self.assertRaisesRegex(Failure, f"{name} is there already"):
                self.run_()
            self.assertEqual([path.name for path in self.etc.iterdir()], [name])
            (self.etc / name).unlink()
            self.etc.rmdir()

    def test_unit(self) -> None:
        """A unit that is there counts as well."""
        units = self.root / "units"
        units.mkdir()
        (units / "epost-gateway.service").write_text("mine")
        self.patch(setup, "_owner", lambda user: None)
        with self.assertRaisesRegex(Failure, "epost-gateway.service is there already"):
            self.run_("--systemd", str(units))
        self.assertEqual(list(self.root.iterdir()), [units])
        self.assertEqual((units / "epost-gateway.service").read_text(), "mine")

    def test_fault(self) -> None:
        """What could not be written to its end is taken away again, folders too."""
        written: list[int] = []

        def full(descriptor: int) -> None:
            written.append(descriptor)
            if len(written) == 4:
                raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        with self.assertRaisesRegex(Failure, "No space left on device; nothing was written"):
            self.run_()
        self.assertNothingWritten()

    def test_race(self) -> None:
        """A file that appears meanwhile is not overwritten, and the others go."""
        self.patch(setup, "_vacant", lambda paths: None)
        self.etc.mkdir()
        (self.etc / "aliases.dat").write_text("mine")
        with self.assertRaisesRegex(Failure, "aliases.dat: File exists; nothing was written"):
            self.run_()
        self.assertEqual([path.name for path in self.etc.iterdir()], ["aliases.dat"])
        self.assertEqual((self.etc / "aliases.dat").read_text(), "mine")


class RefusedTests(Case):
    """What cannot be."""

    def test_flags(self) -> None:
        """A flag that is wrong ends with 2, as any wrong command line, and makes nothing."""
        for words in (
            ("--domain", "no domain"),
            ("--network", "*"),
            ("--network", "0.0.0.0/0"),
            ("--network", "192.168.0.1/24"),
            ("--backend", "mail.test.jp"),
            ("--port", "70000"),
            ("--smarthost", "a:b:c"),
        ):
            said = io.StringIO()
            self.patch(sys, "stderr", said)
            with self.assertRaises(SystemExit) as end:
                self.run_(*words)
            self.assertEqual(end.exception.code, 2, words)
            self.assertIn(words[1], said.getvalue())
        self.assertNothingWritten()

    def test_together(self) -> None:
        """What is wrong only in view of another answer is told, and makes nothing."""
        for words, why in (
            (("--name", "test.jp"), "a name of its own"),
            (("--account", "bucho@other.jp"), "is of other.jp, not of test.jp"),
            (("--account", "no one"), "no one@test.jp|no local part"),
            (("--backend", "192.168.0.102"), "--yes nothing is asked.*Address of the gateway"),
            (("--backend", "10.0.0.1", "--gateway", "10.0.0.1"), "for both"),
        ):
            with self.assertRaisesRegex(Failure, why):
                self.run_(*words)
        with self.assertRaisesRegex(Failure, "--stdin"):
            self.run_(given=[word for word in GIVEN if word != "--stdin"])
        with self.assertRaisesRegex(Failure, "not given: Domain"):
            self.run_(given=["--yes", "--stdin"])
        self.assertNothingWritten()


class QuestionTests(Case):
    """What is asked, and what is not."""

    def answers(self, *texts: str) -> list[str]:
        """Answer questions in order. @return: gets the questions."""
        asked: list[str] = []
        queue = iter(texts)

        def input_(question: str) -> str:
            asked.append(question)
            try:
                return next(queue)
            except StopIteration:
                raise EOFError from None

        self.patch(builtins, "input", input_)
        return asked

    def test_all(self) -> None:
        """Each answer goes where it belongs; one that cannot be read is asked for again; empty is what is offered."""
        asked = self.answers(
            *("test.jp", "", "bucho", "*", "192.168.0.0/24, 10.1.0.0/16", "perhaps", "no"),
            *("192.168.0.102", "192.168.0.103", "smtp.isp.example"),
        )
        self.patch(sys, "stderr", io.StringIO())
        self.patch(setup.socket, "getfqdn", lambda: "mx1.test.jp")
        self.run_(given=["--stdin"])
        self.assertEqual(len(asked), 10)
        settings, _ = reload.load(str(self.etc / "backend.toml"), "backend")
        self.assertEqual(list(map(str, settings.relay.networks))[2:], ["192.168.0.0/24", "10.1.0.0/16"])
        self.assertEqual(settings.relay.gateway, Hop("192.168.0.103", 25))
        settings, directory = reload.load(str(self.etc / "gateway.toml"), "gateway")
        self.assertEqual(settings.server.name, "mx1.test.jp")
        self.assertEqual(settings.relay.gateway, Hop("smtp.isp.example", 25))
        self.assertEqual(directory.hops.machines, {"192.168.0.102"})

    def test_offered(self) -> None:
        """A name of another domain is not offered; a user without a terminal is not waited for."""
        self.patch(setup.socket, "getfqdn", lambda: "localhost")
        self.answers("test.jp", "", "bucho", "", "", "")
        self.run_(given=["--stdin"])
        self.assertEqual(reload.load(str(self.etc / "gateway.toml"), "gateway")[0].server.name, "mail.test.jp")

    def test_noAnswer(self) -> None:
        """The end of input is no answer."""
        self.answers("test.jp")
        with self.assertRaisesRegex(Failure, "no answer to: Name of this server"):
            self.run_(given=["--stdin"])
        self.assertNothingWritten()


class SaidTests(Case):
    """What is said."""

    def test_records(self) -> None:
        """MX, addresses and SPF for the name and the domain; no key of DKIM, as nothing is signed yet."""
        said = self.run_()
        for expression in (
            r"test\.jp\. +MX +10 mail\.test\.jp\.",
            r"mail\.test\.jp\. +A +",
            r'"v=spf1 mx -all"',
            "PTR",
        ):
            self.assertRegex(said, expression)
        self.assertNotIn("dkim", said.lower())

    def test_smarthost(self) -> None:
        """Who hands mail to a provider needs the provider's SPF."""
        self.assertIn("v=spf1 mx include:", self.run_("--smarthost", "smtp.isp.example"))

    def test_json(self) -> None:
        """The same for programs."""
        told = json.loads(self.run_("--json"))
        self.assertEqual({Path(path).name for path in told["files"]}, set(setuptexts.NAMES))
        self.assertTrue(told["records"] and told["commands"] and told["clients"])
        self.assertNotIn(PASSWORD, json.dumps(told, ensure_ascii=False))


class UnitTests(Case):
    """The units of systemd."""

    def plan(self, **changed: Any) -> setuptexts.Plan:
        """A plan in the usual places."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\n"), "utf-8"))
        plan = setup.answered(parsed(*GIVEN, *self.places))
        usual = {"folder": "/etc/epost", "data": "/var/lib/epost", "twistd": "/opt/epost/bin/twistd"}
        return replace(plan, **(usual | changed))

    def test_asInTheSource(self) -> None:
        """In the usual places they are those of etc/systemd, to the letter."""
        for half in ("backend", "gateway"):
            sample = (ROOT / f"etc/systemd/epost-{half}.service").read_text("utf-8")
            self.assertEqual(setuptexts.unit(self.plan(), half, "epost"), sample)

    def test_elsewhere(self) -> None:
        """In other places they name these, and may write there."""
        unit = setuptexts.unit(self.plan(folder="/srv/e", data="/srv/v", twistd="/x/twistd"), "gateway", "mail")
        for line in (
            "User=mail",
            "ReadWritePaths=/srv/v",
            "ExecStart=/x/twistd --nodaemon --pidfile= epost-gateway --config /srv/e/gateway.toml",
        ):
            self.assertIn(f"\n{line}\n", unit)
        self.assertNotIn("StateDirectory", unit)

    def test_home(self) -> None:
        """The units cannot reach into homes, and that is said before anything is written."""
        self.places = ["--folder", "/home/nobody-has-this/etc", "--data", "/home/nobody-has-this/var"]
        self.patch(setup, "_owner", lambda user: None)
        with self.assertRaisesRegex(Failure, "shut the daemons off from /home"):
            self.run_("--systemd", str(self.root))
        self.assertNothingWritten()


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
        for daemon in daemons:
            checked = subprocess.run(
                daemon.command("--check"), env=daemon.environment(), capture_output=True, encoding="utf-8", timeout=60
            )
            self.assertEqual((checked.returncode, checked.stdout), (0, f"{daemon.config}: no faults\n"))
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
