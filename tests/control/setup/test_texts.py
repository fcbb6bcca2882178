"""Tests of L{epost.control.setup.texts}: the configuration is read without a fault, and says what was answered."""

import os
import re
import stat
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SkipTest

from epost import loading
from epost.control.doctor import pair
from epost.control.doctor.finding import State
from epost.control.setup import texts
from epost.control.terminal import Failure
from epost.login import schemes
from epost.mail.route import Hop
from tests.control.setup.cases import PASSWORD, Case
from tests.system.pair import ROOT


class WriteTests(Case):
    """What is written."""

    def test_withoutFaults(self) -> None:
        """Both configurations and all tables are read without a fault or a remark."""
        self.run_()
        for half in ("backend", "gateway"):
            self.assertEqual(loading.check(str(self.etc / f"{half}.toml"), half), ([], []))
        self.assertEqual({path.name for path in self.etc.iterdir()}, set(texts.NAMES))

    def test_halvesAgree(self) -> None:
        """The doctor finds nothing about the pair, on one machine and on two."""
        for place, more in (("one", []), ("two", ["--backend", "192.168.0.102", "--gateway", "192.168.0.103"])):
            self.places = ["--folder", str(self.root / place), "--data", str(self.root / "var")]
            self.run_(*more, "--network", "192.168.0.0/24")
            halves = [
                pair.Half(*loading.load(str(self.root / place / f"{half}.toml"), half))
                for half in ("backend", "gateway")
            ]
            found = pair.pair(*halves)
            self.assertEqual([str(f) for f in found if f.state is not State.OK], [])

    def test_commented(self) -> None:
        """What an office may want later stands there as comments, which are right when they are none."""
        self.run_()
        (self.etc / "lists.toml").touch()
        for half, lists in (("backend", "lists.toml"), ("gateway", None)):
            file = self.etc / f"{half}.toml"
            text = re.sub(r"^# (?=\[|\w+ = )", "", file.read_text("utf-8"), flags=re.MULTILINE)
            file.write_text(text, "utf-8")
            self.assertEqual(loading.check(str(file), half), ([], []))
            settings, _ = loading.load(str(file), half)
            self.assertEqual((settings.domains.lists, settings.domains.separator), (lists, "+"))

    def test_password(self) -> None:
        """The password is hashed, proves itself, and stands nowhere."""
        self.run_()
        _, directory = loading.load(str(self.etc / "backend.toml"), "backend")
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
        backend, _ = loading.load(str(self.etc / "backend.toml"), "backend")
        gateway, _ = loading.load(str(self.etc / "gateway.toml"), "gateway")
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
            settings, _ = loading.load(str(self.etc / "backend.toml"), "backend")
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
        settings, _ = loading.load(str(odd / "backend.toml"), "backend")
        self.assertEqual(settings.folder, odd / "var" / "backend")
