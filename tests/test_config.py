"""
Tests of L{epost.config}, L{epost.settings} and L{epost.forms}, and of all that C{--check} says.

Every folder of tests/data/bad holds a wrong configuration and, in C{expected}, all that is said about it.
"""

import io
import re
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from epost import config, forms, loading
from epost.config import ConfigError, parseSettings, reference
from epost.mail.address import parseAddress
from epost.mail.fault import Fault
from epost.mail.route import Hop
from epost.settings import SECTIONS, Settings

ROOT = Path(__file__).parents[1]
BAD = ROOT / "tests/data/bad"
SMALL = '[server]\nname = "dc.epost.test"\nfolder = "work"\nlisten = ["tcp:25"]\n'


def parse(text: str, kind: str = "gateway") -> Settings:
    """Settings without faults."""
    faults: list[Fault] = []
    settings = parseSettings("x.toml", text.encode(), kind, faults)
    assert settings is not None and not faults, faults
    return settings


class BadTests(SynchronousTestCase):
    """A wrong configuration is told whole: every fault of every file, where it is and what was expected."""

    def test_all(self) -> None:
        """Each case says exactly what is expected of it, and cannot be loaded."""
        cases = sorted(path for path in BAD.iterdir() if path.is_dir())
        self.assertGreater(len(cases), 25)
        for case in cases:
            kind = "gateway" if (case / "gateway.toml").exists() else "backend"
            path = str(case / f"{kind}.toml")
            faults, _ = loading.check(path, kind)
            said = "".join(f"{fault}\n".replace(f"{case}/", "") for fault in faults)
            self.assertEqual(said, (case / "expected").read_text("utf-8"), case.name)
            with self.assertRaises(ConfigError) as caught:
                loading.load(path, kind)
            self.assertEqual(caught.exception.faults, faults)

    def test_form(self) -> None:
        """Whatever is said names a file and a line and ends with what was expected."""
        for case in BAD.glob("*/expected"):
            for line in case.read_text("utf-8").splitlines():
                self.assertRegex(line, r"\A[a-z./-]+:[1-9]\d*: .+, expected .+\Z")

    def test_unreadable(self) -> None:
        """A file that cannot be read is told, not raised."""
        path = Path(self.mktemp())
        path.symlink_to(path.name)
        faults, _ = loading.check(str(path), "gateway")
        self.assertEqual(len(faults), 1)
        self.assertIn("cannot be read: Too many levels of symbolic links", str(faults[0]))


class SettingsTests(SynchronousTestCase):
    """What is read from a right file."""

    def test_defaults(self) -> None:
        """Everything but server has a default on the gateway, and they are those of the RFC and of the house."""
        found = parse(SMALL)
        self.assertEqual((found.relay.gateway, found.relay.hello, found.relay.name_servers), (None, "EHLO", ()))
        self.assertEqual([str(net) for net in found.relay.networks], ["127.0.0.0/8", "::1/128"])
        self.assertEqual((found.tables.effect, found.tables.gateway, found.mailboxes), (None, None, None))
        limits = found.limits
        self.assertEqual((limits.message_octets, limits.recipients, limits.received), (26214400, 100, 100))
        self.assertEqual((limits.connections, limits.connections_per_address, limits.errors), (12000, 200, 20))
        self.assertEqual((limits.bare_line_ends, limits.long_lines), ("refuse", "accept"))
        self.assertEqual((found.queue.concurrency, found.queue.per_destination), (200, 20))
        self.assertEqual((found.retry.refused, found.retry.deferred), ((120,), (120, 240, 360, 1080, 1800, 3600)))
        self.assertEqual((found.retry.expire, found.retry.warn), (432000, 14400))
        self.assertEqual((found.timeouts.command, found.timeouts.data, found.timeouts.start), (300, 600, 120))
        self.assertEqual((found.spool.sync, found.notice.message_id), ("auto", "number"))

    def test_values(self) -> None:
        """Durations are seconds, hosts are hops, domains are A-labels; paths are relative to the file."""
        text = SMALL + 'postmaster = "bucho@test.jp"\n[domains]\nlocal = ["日本.JP"]\n[relay]\ngateway = "[::1]"\n'
        text += 'name_servers = ["127.0.0.1"]\nnetworks = ["*"]\n[retry]\nwarn = 0\n[retry.domains]\n"A.jp" = "1d"\n'
        found = parse(text)
        self.assertEqual((found.postmaster, found.domains.local), (parseAddress("bucho@test.jp"), ("xn--wgv71a.jp",)))
        self.assertEqual((found.relay.gateway, found.relay.name_servers), (Hop("::1", 25), (Hop("127.0.0.1", 53),)))
        self.assertEqual([str(net) for net in found.relay.networks], ["0.0.0.0/0", "::/0"])
        self.assertEqual((found.retry.warn, found.retry.expiry("a.jp"), found.retry.expiry("b.jp")), (0, 86400, 432000))
        faults: list[Fault] = []
        elsewhere = parseSettings("/etc/epost/x.toml", SMALL.encode(), "gateway", faults)
        assert elsewhere is not None
        self.assertEqual(elsewhere.folder, Path("/etc/epost/work"))

    def test_texts(self) -> None:
        """A path may hold every blank that can be typed, and no control character, line separator or surrogate."""
        for name in ("夏\u3000休み", "a\xa0b", "a b"):
            self.assertEqual(parse(SMALL.replace("work", name)).server.folder, name)
            self.assertEqual(forms.TEXT.read(name), name)
        for name in ("a\0b", "a\tb", "a\nb", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "\u3000", ""):
            self.assertRaises(ValueError, forms.TEXT.read, name)

    def test_notepad(self) -> None:
        """A BOM and CRLF do no harm, and do not move the lines."""
        faults: list[Fault] = []
        text = SMALL.replace("\n", "\r\n") + "lisen = 5\r\n"
        parseSettings("x.toml", text.encode("utf-8-sig"), "gateway", faults)
        self.assertEqual([fault.line for fault in faults], [5])

    def test_listening(self) -> None:
        """Only endpoints that name an address tell which one is ours."""
        found = {
            text: forms.listening(text)
            for text in ("tcp:25", "tcp:25:interface=10.0.0.1", "tcp6:port=25:interface=\\:\\:1", "unix:/x")
        }
        self.assertEqual(list(found.values()), [None, Hop("10.0.0.1", 25), Hop("::1", 25), None])

    def test_samples(self) -> None:
        """The files of etc/ are right and complete, with nothing to remark."""
        for kind in config.KINDS:
            self.assertEqual(loading.check(str(ROOT / f"etc/{kind}.toml"), kind), ([], []))
        settings, directory = loading.load(str(ROOT / "etc/gateway.toml"), "gateway")
        self.assertEqual(settings.relay.verify, True)
        self.assertEqual(
            [rule.because.text for rule in directory.effect.rules][:3],
            ["#<> default", "#blank false", "baito@test.jp false"],
        )
        _, directory = loading.load(str(ROOT / "etc/backend.toml"), "backend")
        names = [str(account.address) for account in directory.accounts]
        self.assertEqual(names, [f"{name}@test.jp" for name in ("user1", "bucho", "kacho", "baito")])

    def test_commentedInTheSample(self) -> None:
        """What stands in the samples as comments is right when it is none."""
        for kind, rest in (("backend", (3, "+", True)), ("gateway", (1, "+", False))):
            text = (ROOT / f"etc/{kind}.toml").read_text("utf-8")
            plain = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
            found: list[Fault] = []
            settings = parseSettings(f"{kind}.toml", plain.encode(), kind, found)
            assert settings is not None and not found, found
            self.assertEqual((len(settings.listening), settings.domains.separator, settings.submits), rest)


class ReferenceTests(SynchronousTestCase):
    """docs/settings.md is made from the source."""

    def test_isCurrent(self) -> None:
        """The page says what the source says; else: python -m epost.config > docs/settings.md"""
        self.assertEqual((ROOT / "docs/settings.md").read_text("utf-8"), "\n".join(reference()) + "\n")

    def test_everyKey(self) -> None:
        """Each key has a line, and each example is right."""
        out = io.StringIO()
        with redirect_stdout(out):
            print("\n".join(reference()))
        for cls in SECTIONS.values():
            for key in fields(cls):
                self.assertIn(f"| `{key.name}` |", out.getvalue())
                if key.metadata["example"] is not None:
                    key.metadata["form"].read(key.metadata["example"])
