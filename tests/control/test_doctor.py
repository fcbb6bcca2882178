"""
C{epost doctor} finds what is wrong, each kind of it, and says how to mend it; where all is well it says so.

Servers are small fakes with real sockets; the DNS is a zone on a loopback port; the last tests run the command itself
beside a real pair.
"""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from epost import __version__, reload
from epost.control import doctorcertificate, doctorhost, doctorpair, doctorrelay, doctorwire
from epost.control.doctor import configurations, domains, outermost
from epost.control.doctorfinding import Finding, State
from epost.control.doctornames import Names, Spf, asker, look
from epost.control.doctorpair import Half
from epost.control.terminal import Failure
from epost.mail.trace import date
from epost.net.exchanges import Asker
from epost.net.tls import Pairs
from tests.net.dns import Odd, Zone
from tests.system.pair import ROOT, Pair, Sections, freePorts, toml
from tests.system.sink import GREETING, Sink

OK, REMARK, WRONG = State.OK, State.REMARK, State.WRONG
HASTE = 0.2  # seconds of patience with a server that says nothing
OUTER = "11.22.33.44"  # an address that could be anybody's; nothing is sent there
NOBODY = 65534

BACKEND: Sections = {
    "server": {"name": "test.jp", "folder": "backend", "listen": ["tcp:2525:interface=127.0.0.1"]},
    "domains": {"local": ["test.jp"], "accounts": "accounts.dat", "postmaster": "bucho@test.jp"},
    "mailboxes": {"place": "inbox/%USERNAME%"},
    "relay": {"gateway": "127.0.0.1:2526", "networks": ["127.0.0.1"]},
}
GATEWAY: Sections = {
    "server": {
        "name": "mx.test.jp",
        "folder": "gateway",
        "listen": ["tcp:2526:interface=127.0.0.1"],
        "postmaster": "postmaster@test.jp",
    },
    "tables": {"effect": "effect.dat", "gateway": "gateway.dat"},
}
TABLES = {
    "accounts.dat": "bucho\tx\t\ttest.jp\nbaito\tx\t\ttest.jp\n",
    "effect.dat": "#<> default\nbaito@test.jp false\n127.0.0.1 true\n",
    "gateway.dat": "test.jp, 127.0.0.1, 2525\n",
}


class Case(SynchronousTestCase):
    """Configurations in a folder of their own, and what is expected of findings."""

    def half(self, kind: str, texts: "dict[str, str] | None" = None, **changed: dict[str, Any]) -> Half:
        """A half. @param texts: tables that differ. @param changed: sections that differ."""
        folder = Path(self.mktemp())
        folder.mkdir()
        base = BACKEND if kind == "backend" else GATEWAY
        merged = {name: {**base.get(name, {}), **changed.get(name, {})} for name in {**base, **changed}}
        (folder / f"{kind}.toml").write_text(toml(merged), "utf-8")
        for name, text in {**TABLES, **(texts or {})}.items():
            (folder / name).write_text(text, "utf-8")
            (folder / name).chmod(0o600)
        return Half(*reload.load(str((folder / f"{kind}.toml").absolute()), kind))

    def assertFound(self, found: Iterable[Finding], state: State, expression: str, mend: str = ".*") -> None:
        """Exactly one finding of this state is there, and says this."""
        said = [finding for finding in found if finding.state is state]
        self.assertEqual(len(said), 1, "\n".join(map(str, found)))
        self.assertRegex(said[0].text, expression)
        self.assertRegex(said[0].mend, mend)
        if state is WRONG:
            self.assertTrue(said[0].mend)

    def assertAllOk(self, found: Iterable[Finding]) -> None:
        """Something was looked at, and all of it is right."""
        self.assertEqual({finding.state for finding in found}, {OK}, "\n".join(map(str, found)))


def greeting(name: str = "test.jp", version: str = __version__, when: float | None = None) -> str:
    """The greeting of an epost."""
    stamp = date(time.time() if when is None else when)
    return f"220 {name} E-POST ESMTP Receiver ({version}) Bld:EPOST {stamp}"


class PortTests(Case):
    """Who listens where the configuration says."""

    def found(self, said: str, port: int | None = None) -> list[Finding]:
        """What is found of a server that greets so."""
        sink = self.enterContext(Sink())
        sink.answer = lambda command: said if command == GREETING else None
        listen = [f"tcp:{port or sink.port}:interface=127.0.0.1"]
        return doctorwire.ports(self.half("backend", server={"listen": listen}).settings, HASTE)

    def test_ours(self) -> None:
        """The daemon that is configured greets."""
        self.assertAllOk(self.found(greeting()))

    def test_nobody(self) -> None:
        """A port on which nobody listens is told with the command that starts the daemon."""
        self.assertFound(self.found("", freePorts(1)[0]), WRONG, "nobody listens", "start it: twistd epost-backend")

    def test_another(self) -> None:
        """Another server, another half, an old version, and one that is too busy are told apart."""
        for said, why, mend in (
            ("220 test.jp ESMTP Postfix", "another server", "ss -ltnp"),
            (greeting("mx.test.jp"), r"greets as mx\.test\.jp, not test\.jp", "restart"),
            (greeting(version="0.0.1"), "version 0.0.1 runs", "restart"),
            ("421 test.jp too many", "it answers .421", "421 means"),
            ("SSH-2.0-OpenSSH_9.2", "speaks no SMTP", "ss -ltnp"),
            ("", "ended the connection", "ss -ltnp"),
        ):
            self.assertFound(self.found(said), WRONG, why, mend)

    def test_silence(self) -> None:
        """A server that says nothing does not hold up the doctor."""
        import socket

        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.assertFound(self.found("", silent.getsockname()[1]), WRONG, "timed out")

    def test_drip(self) -> None:
        """Neither does one whose greeting never ends."""
        self.assertFound(self.found("\r\n".join(["220-more"] * 2000)), WRONG, "speaks no SMTP")

    def test_elsewhere(self) -> None:
        """A socket of systemd cannot be tried, and that is said."""
        settings = self.half("backend", server={"listen": ["systemd:domain=INET:index=0"]}).settings
        self.assertFound(doctorwire.ports(settings), REMARK, "cannot be tried")

    def test_clocks(self) -> None:
        """A greeting whose date is an hour away tells that one of the clocks is wrong."""
        self.assertFound(self.found(greeting(when=time.time() - 3600)), WRONG, "clock of .* is -3[56]")

    def test_privileged(self) -> None:
        """Port 25 of a daemon that is not root needs a right, and the mending says which."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        if os.geteuid() == 0:
            os.chown(half.settings.folder, NOBODY, NOBODY)
        self.assertIn("CAP_NET_BIND_SERVICE", doctorwire.start(half.settings, 25))
        self.assertNotIn("CAP_NET_BIND_SERVICE", doctorwire.start(half.settings, 2525))

    def test_oldConfiguration(self) -> None:
        """Where the daemon runs and does not listen there, its configuration is newer than itself."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        (half.settings.folder / "lock").write_text(f"{os.getpid()}\n")
        self.assertIn("restart epost-backend", doctorwire.start(half.settings, 2525))

    def test_doors(self) -> None:
        """Endpoints as Twisted writes them, and where a client on this machine finds them."""
        for description, host, port, wide in (
            ("tcp:25", "127.0.0.1", 25, True),
            ("tcp:port=25:interface=192.168.0.102", "192.168.0.102", 25, False),
            (r"tcp6:2525:interface=\:\:1", "::1", 2525, False),
            ("tcp6:25", "::1", 25, True),
        ):
            found = doctorwire.door(description)
            assert found is not None
            self.assertEqual((found.hop.host, found.hop.port, found.wide), (host, port, wide))


class FolderTests(Case):
    """Folders and rights."""

    def made(self) -> Half:
        """A half whose folders stand as the daemon makes them."""
        half = self.half("backend")
        for name in ("", *doctorhost.MADE, "inbox", "inbox/bucho"):
            (half.settings.folder / name).mkdir(mode=0o700)
        return half

    def folders(self, half: Half) -> list[Finding]:
        """What is found of them."""
        return doctorhost.folders(half.settings, half.directory.accounts)

    def test_asTheDaemonMakesThem(self) -> None:
        """All is well with what the daemon makes; a mailbox that got nothing yet is not missed."""
        self.assertAllOk(self.folders(self.made()))

    def test_notYet(self) -> None:
        """Before the first start there is no folder, and that is no fault."""
        self.assertFound(self.folders(self.half("backend")), REMARK, "not there yet")

    def test_notToBeMade(self) -> None:
        """A folder that the daemon could not make is told."""
        half = self.half("backend", server={"folder": "accounts.dat/backend"})
        self.assertFound(self.folders(half), WRONG, "cannot be looked at", "root")
        half = self.half("backend", server={"folder": "accounts.dat"})
        self.assertFound(self.folders(half), WRONG, "is no folder", r"\[server\] folder")

    def test_rights(self) -> None:
        """A folder that its owner may not write, or that others may, or that is a file."""
        for mode, why, mend in ((0o500, "may not be written", "u\\+rwx"), (0o720, "others may write", "go-w")):
            half = self.made()
            (half.settings.folder / "holding").chmod(mode)
            self.assertFound(self.folders(half), WRONG, f"holding.*{why}|{why}.*holding", mend)
        half = self.made()
        (half.settings.folder / "dead").rmdir()
        (half.settings.folder / "dead").touch()
        self.assertFound(self.folders(half), WRONG, "dead is no folder", "move it away")

    def test_owner(self) -> None:
        """A mailbox that belongs to another user gets no mail."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        os.chown(half.settings.folder / "inbox/bucho", NOBODY, -1)
        self.assertFound(self.folders(half), WRONG, "bucho belongs to", "chown -R")

    def test_anotherUserRuns(self) -> None:
        """A daemon that runs as another user than the folder's owner cannot write."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        (half.settings.folder / "lock").write_text(f"{os.getpid()}\n")
        self.assertAllOk(self.folders(half))
        other = subprocess.Popen(["sleep", "60"], user=NOBODY, stdin=subprocess.DEVNULL)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        (half.settings.folder / "lock").write_text(f"{other.pid}\n")
        self.assertFound(self.folders(half), WRONG, f"process {other.pid}, runs as", "chown -R")

    def test_secrets(self) -> None:
        """Passwords and keys are for the daemon alone."""
        half = self.half("backend")
        table = half.settings.path("accounts.dat")
        self.assertAllOk(doctorhost.files(half.settings, []))
        table.chmod(0o644)
        self.assertFound(doctorhost.files(half.settings, []), WRONG, "everybody", "chmod o=")
        table.chmod(0o600)
        missing = table.parent / "key.pem"
        self.assertFound(doctorhost.files(half.settings, [missing]), WRONG, "No such file", "put it there")

    def test_unreadable(self) -> None:
        """A table that the daemon's user may not read is told before the daemon starts and fails."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.made()
        os.chown(half.settings.folder, NOBODY, -1)
        self.assertFound(doctorhost.files(half.settings, []), WRONG, "may not read .*accounts.dat", "chown")


class DiskTests(Case):
    """Room above the reserve."""

    def found(self, octets: int, files: int) -> list[Finding]:
        """What is found where so much is free of a terabyte."""
        room = os.statvfs_result((4096, 1, 2**40, octets, octets, 10**6, files, files, 0, 255))
        return doctorhost.disk(self.half("backend").settings, lambda path: room)

    def test_room(self) -> None:
        """Much is free; little is free; less is free than is kept."""
        self.assertAllOk(self.found(2**30, 10**5))
        self.assertFound(self.found(2**27, 10**5), REMARK, "new mail is refused", "soon")
        self.assertFound(self.found(2**25, 10**5), WRONG, "new mail is refused with 452", "make room")
        self.assertFound(self.found(2**30, 10), WRONG, "10 files", "make room")

    def test_real(self) -> None:
        """The machine's own disk can be asked, also where the folder is not there yet."""
        self.assertEqual(len(doctorhost.disk(self.half("backend").settings)), 1)


class ClockTests(Case):
    """The clock of this machine by itself."""

    def test_right(self) -> None:
        """Now is now."""
        self.assertAllOk(doctorhost.clock(self.half("backend").settings))

    def test_year(self) -> None:
        """A machine without a battery believes that it is 1970 or 2009."""
        found = doctorhost.clock(self.half("backend").settings, lambda: 1246865254.0)
        self.assertFound(found, WRONG, "the year 2009", "timedatectl")

    def test_fileSystem(self) -> None:
        """A file system, of another machine perhaps, whose time is another."""
        found = doctorhost.clock(self.half("backend").settings, lambda: time.time() + 100)
        self.assertFound(found, WRONG, "-1(00|01|02) seconds away")

    def test_setBack(self) -> None:
        """A number that was kept in the future."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        serial = half.settings.folder / "serial"
        serial.touch()
        os.utime(serial, (time.time() + 1000, time.time() + 1000))
        self.assertFound(doctorhost.clock(half.settings), WRONG, "set back")


Key = ec.EllipticCurvePrivateKey


class CertificateTests(Case):
    """Certificates as a stranger sees them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.root = ec.generate_private_key(ec.SECP256R1())
        self.authority = self.certificate("An authority", self.root, self.root, "An authority", 3650, [])

    def certificate(
        self, subject: str, key: Key, signer: Key, issuer: str, days: float, names: list[str], since: float = 1
    ) -> x509.Certificate:
        """A certificate. @param days: until its end. @param names: empty: an authority's."""
        now = datetime.now(UTC)
        common = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
        signerId = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        use = {name: False for name in ("data_encipherment", "key_agreement", "encipher_only", "decipher_only")}
        use |= {"content_commitment": False, "key_encipherment": False, "digital_signature": bool(names)}
        builder = (
            x509.CertificateBuilder()
            .subject_name(common[0])
            .issuer_name(common[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=since))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(not names, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(signerId, critical=False)
            .add_extension(x509.KeyUsage(**use, key_cert_sign=not names, crl_sign=not names), critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(signer, hashes.SHA256())

    def found(
        self,
        *wanted: str,
        names: tuple[str, ...] = ("mx.test.jp",),
        days: float = 300,
        since: float = 1,
        itself: bool = False,
        trusted: "list[x509.Certificate] | None" = None,
        fits: bool = True,
    ) -> list[Finding]:
        """What is found of one pair."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer, issuer = (key, "mx.test.jp") if itself else (self.root, "An authority")
        made = self.certificate("mx.test.jp", key, signer, issuer, days, list(names), since)
        kept = key if fits else ec.generate_private_key(ec.SECP256R1())
        (self.folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
        octets = kept.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "key.pem").write_bytes(octets)
        (self.folder / "key.pem").chmod(0o600)
        pairs = Pairs(str(self.folder / "gateway.toml"), 1, (("cert.pem", "key.pem"),))
        known = [self.authority] if trusted is None else trusted
        return doctorcertificate.certificates("gateway", pairs, wanted or ("mx.test.jp",), lambda: known)

    def test_good(self) -> None:
        """Valid, for the name, signed by somebody who is known; a wildcard is for one label."""
        self.assertAllOk(self.found())
        self.assertAllOk(self.found("mx.test.jp", names=("*.test.jp",)))

    def test_dates(self) -> None:
        """Expired, about to, and not yet."""
        self.assertFound(self.found(days=-0.5), WRONG, "has expired on", "renew")
        self.assertFound(self.found(days=3), REMARK, "expires on", "renew")
        self.assertFound(self.found(since=-1), WRONG, "not valid before", "clock")

    def test_names(self) -> None:
        """For another name."""
        self.assertFound(self.found("smtp.test.jp"), WRONG, "for smtp.test.jp, but for mx.test.jp", "names smtp")
        self.assertFound(self.found("a.b.test.jp", names=("*.test.jp",)), WRONG, "for a.b.test.jp")

    def test_key(self) -> None:
        """A key of another certificate, which the daemon would refuse."""
        self.assertFound(self.found(fits=False), WRONG, "does not fit")

    def test_trust(self) -> None:
        """Signed by itself is allowed between servers; signed by nobody who is known is a mistake."""
        self.assertFound(self.found(itself=True), REMARK, "signed by itself")
        other = ec.generate_private_key(ec.SECP256R1())
        stranger = self.certificate("Another", other, other, "Another", 3650, [])
        self.assertFound(self.found(trusted=[stranger]), WRONG, "no authority", "fullchain")

    def test_authorities(self) -> None:
        """Those of this machine can be read, whatever stands among them."""
        held = len(ssl.create_default_context().get_ca_certs())
        self.assertGreaterEqual(held, len(doctorcertificate.authorities()))


class RelayTests(Case):
    """Open relays."""

    def test_rules(self) -> None:
        """The rules that are usual are no open relay."""
        for kind in ("backend", "gateway"):
            half = self.half(kind)
            self.assertAllOk(doctorrelay.decided(half.settings, half.directory))

    def test_everybodysNetwork(self) -> None:
        """E-Post's own rule, that whoever writes one of our addresses is ours, is one."""
        half = self.half("backend", relay={"networks": ["*"]})
        found = [f for f in doctorrelay.decided(half.settings, half.directory) if f.state is WRONG]
        self.assertRegex(found[0].text, "anybody who writes <bucho@test.jp> as sender may relay")
        self.assertRegex(found[0].mend, "own networks")

    def test_senderInARule(self) -> None:
        """A rule that lets a sender relay, and no machine, is one for whoever writes it."""
        for rule in ("abc.co.jp", "abc@abc.co.jp true", "sales-*@abc.co.jp only"):
            half = self.half("gateway", {"effect.dat": f"{rule}\n"})
            found = doctorrelay.decided(half.settings, half.directory)
            self.assertFound(found, WRONG, r"abc.co.jp> as sender may relay, by effect\.dat:1", "machines")

    def test_everyMachine(self) -> None:
        """A rule that lets every machine relay."""
        half = self.half("gateway", {"effect.dat": "*.*.*.*\n"})
        found = doctorrelay.decided(half.settings, half.directory)
        self.assertEqual({f.state for f in found}, {WRONG})

    def probed(self, half: Half, answer: Callable[[str], str | None]) -> tuple[list[Finding], list[str]]:
        """What is found of a server that answers so, and what it heard."""
        sink = self.enterContext(Sink())
        sink.answer = answer
        door = doctorwire.door(f"tcp:{sink.port}:interface=127.0.0.1")
        assert door is not None
        found = doctorrelay.probe(half.settings, half.directory, door, HASTE)
        self.assertEqual(sink.messages, [])
        self.assertFalse([word for word in sink.commands if word.upper().startswith("DATA")])
        return found, sink.commands

    def test_open(self) -> None:
        """A server that takes what its rules refuse is one, and hears no DATA."""
        found, heard = self.probed(self.half("backend"), lambda command: None)
        self.assertFound(found, WRONG, "127.66.66.66, whom the rules do not trust, may write from", "stop it")
        self.assertEqual(heard[-2:], ["RSET", "QUIT"])

    def test_closed(self) -> None:
        """A server that refuses at RCPT, or at MAIL, is none."""
        for verb in ("RCPT", "MAIL"):
            found, heard = self.probed(self.half("backend"), lambda c, verb=verb: "550 no" if c[:4] == verb else None)
            self.assertAllOk(found)
            self.assertEqual(heard[-1], "QUIT")
            self.assertIn("MAIL FROM:<bucho@test.jp>", heard)

    def test_undecided(self) -> None:
        """A server that says "later" has decided nothing; one that hangs up neither."""
        found, _ = self.probed(self.half("backend"), lambda c: "451 later" if c[:4] == "RCPT" else None)
        self.assertFound(found, REMARK, "did not decide")
        found, _ = self.probed(self.half("backend"), lambda c: "" if c[:4] == "RCPT" else None)
        self.assertFound(found, REMARK, "was not probed")

    def test_trusted(self) -> None:
        """Where the rules trust all of this machine nothing can be learnt from it, and that is said."""
        half = self.half("backend", relay={"networks": ["127.0.0.0/8"]})
        found, heard = self.probed(half, lambda command: None)
        self.assertFound(found, REMARK, "was not probed", "outside")
        self.assertEqual(heard, [])


class PairTests(Case):
    """What the halves must agree about."""

    def test_agree(self) -> None:
        """The usual pair."""
        found = doctorpair.pair(self.half("backend"), self.half("gateway"))
        self.assertAllOk(found)
        self.assertIn("lets 1 of 2 accounts write outside", " ".join(f.text for f in found))

    def test_twoMachines(self) -> None:
        """The pair of the seed, each on a machine of its own."""
        backend = self.half("backend", server={"listen": ["tcp:25"]}, relay={"gateway": "192.168.0.103"})
        tables = {"gateway.dat": "test.jp, 192.168.0.102\n", "effect.dat": "baito@test.jp false\n192.168.0.102 true\n"}
        gateway = self.half("gateway", tables, server={"listen": ["tcp:25:interface=192.168.0.103"]})
        self.assertAllOk(doctorpair.pair(backend, gateway))

    def test_gatewayTable(self) -> None:
        """gateway.dat without the domain, with another port, with a pattern that only routes, with hold."""
        for table, state, why in (
            ("other.jp, 127.0.0.1, 2525", WRONG, "does not say where mail for test.jp goes"),
            ("test.jp, 127.0.0.1, 2527", WRONG, "does not lead to the back-end"),
            ("test.jp, 192.168.0.9, 2525", WRONG, "does not lead to the back-end"),
            ("*.jp, 127.0.0.1, 2525", WRONG, "is no relay domain"),
            ("test.jp, hold", REMARK, "is held"),
        ):
            gateway = self.half("gateway", {"gateway.dat": f"{table}\n"})
            found = doctorpair.inward(self.half("backend"), gateway)
            self.assertFound(found, state, why, r"test\.jp, 127\.0\.0\.1, 2525")

    def test_refusedInside(self) -> None:
        """A rule of the back-end that refuses what the gateway passes on."""
        table = {"effect.dat": "127.0.0.1 false\n"}
        backend = self.half("backend", table, tables={"effect": "effect.dat"})
        found = doctorpair.inward(backend, self.half("gateway"))
        self.assertFound(found, WRONG, r"the backend refuses mail from outside .* by effect\.dat:1")

    def test_relay(self) -> None:
        """A back-end without a gateway, or with one that is elsewhere."""
        gateway = self.half("gateway")
        backend = self.half("backend", relay={"gateway": None})
        self.assertFound(doctorpair.outward(backend, gateway), WRONG, r"no \[relay\] gateway", "gateway = ")
        backend = self.half("backend", relay={"gateway": "127.0.0.1:25"})
        self.assertFound(doctorpair.outward(backend, gateway), WRONG, "leads to 127.0.0.1:25", "where the gateway")

    def test_machine(self) -> None:
        """effect.dat without a line for the back-end's machine lets nobody out, and its notices are stopped too."""
        gateway = self.half("gateway", {"effect.dat": "baito@test.jp false\n"})
        self.assertFound(doctorpair.outward(self.half("backend"), gateway), WRONG, "nobody", "127.0.0.1 true")
        gateway = self.half("gateway", {"effect.dat": "#<> false\n127.0.0.1 true\n"})
        self.assertFound(doctorpair.outward(self.half("backend"), gateway), WRONG, "notices", "#<> default")

    def test_sizes(self) -> None:
        """A gateway that takes less, or more; one folder for both; one name; no verification."""
        backend = self.half("backend")
        smaller = self.half("gateway", limits={"message_octets": 1000000})
        self.assertFound(doctorpair.sizes(backend, smaller), WRONG, "1,000,000", "message_octets = 26214400")
        larger = self.half("gateway", limits={"message_octets": 100000000})
        self.assertFound(doctorpair.sizes(backend, larger), REMARK, "100,000,000", "message_octets = 26214400")
        folder = str(backend.settings.folder.resolve())
        shared = self.half("gateway", server={"folder": folder})
        self.assertFound(doctorpair.sizes(backend, shared), WRONG, "both have the work folder", "another")
        alike = self.half("gateway", server={"name": "test.jp"})
        self.assertFound(doctorpair.sizes(backend, alike), WRONG, "both are called test.jp", "another")
        blind = self.half("gateway", relay={"verify": False})
        self.assertFound(doctorpair.sizes(backend, blind), REMARK, "verify is off", "verify = true")

    def test_neighbour(self) -> None:
        """The next host answers, does not, says no, or is somebody else."""
        sink = self.enterContext(Sink())
        hop = doctorpair.Hop("127.0.0.1", sink.port)
        for said, name, state, why in (
            (greeting("mx.test.jp"), "mx.test.jp", OK, "greets as mx.test.jp"),
            ("220 sink.example ESMTP", "", OK, "greets as sink.example"),
            ("220 sink.example ESMTP", "mx.test.jp", WRONG, "not mx.test.jp"),
            ("554 go away", "", WRONG, "answers .554"),
        ):
            sink.answer = lambda command, said=said: said if command == GREETING else None
            self.assertFound(doctorwire.neighbour("backend", "[relay] gateway", hop, name, HASTE), state, why)
        gone = doctorpair.Hop("127.0.0.1", freePorts(1)[0])
        self.assertFound(doctorwire.neighbour("backend", "[relay] gateway", gone), WRONG, "refused", "start")

    def test_verification(self) -> None:
        """The back-end tells who is there; or takes anybody, or nobody, or hangs up."""
        sink = self.enterContext(Sink())
        hop = doctorpair.Hop("127.0.0.1", sink.port)

        def found(answer: Callable[[str], str | None]) -> list[Finding]:
            sink.answer = answer
            return doctorpair.verification(self.half("backend"), hop, HASTE)

        self.assertAllOk(found(lambda c: "550 unknown" if "nobody" in c else None))
        self.assertFound(found(lambda c: None), REMARK, "takes mail for nobody")
        self.assertFound(found(lambda c: "550 no" if c[:4] == "MAIL" else None), WRONG, "asked about bucho@test.jp")
        self.assertFound(found(lambda c: "" if c[:4] == "RCPT" else None), WRONG, "ended the conversation")
        self.assertFalse([word for word in sink.commands if word.upper().startswith("DATA")])


class NameTests(TestCase):
    """What the DNS says of us."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.zone = Zone()
        server, stop = self.zone.listen(reactor)
        self.addCleanup(stop)
        self.names = Names(Asker(servers=[server], timeout=(HASTE, HASTE), reactor=reactor))
        self.case = Case("half")

    def publish(self, *without: str, spf: Iterable[str] = ("v=spf1 mx -all",), mx: str = "mx.test.jp") -> None:
        """All that should be published, but some kinds of it."""
        self.zone.add("mx.test.jp")
        self.zone.add("test.jp")
        if "A" not in without:
            self.zone.a("mx.test.jp", OUTER)
        if "PTR" not in without:
            self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("mx.test.jp", 300))
        if "MX" not in without:
            self.zone.mx("test.jp", (10, mx))
        self.zone.add("test.jp", *[dns.Record_TXT(text.encode(), ttl=300) for text in spf])

    async def found(self, **changed: dict[str, Any]) -> list[Finding]:
        """What is found."""
        self.case.mktemp = self.mktemp
        return await look(self.names, ["test.jp"], self.case.half("gateway", **changed).settings)

    async def test_right(self) -> None:
        """All is published."""
        self.publish()
        self.case.assertAllOk(await self.found())

    async def test_addresses(self) -> None:
        """A name without address."""
        self.publish("A")
        found = [f for f in await self.found() if f.state is WRONG]
        self.assertRegex(found[0].text, "mx.test.jp has no address")

    async def test_noPointer(self) -> None:
        """An address without PTR."""
        self.publish("PTR")
        self.case.assertFound(await self.found(), WRONG, f"{OUTER}, which has no PTR", "provider")

    async def test_pointerElsewhere(self) -> None:
        """A PTR whose name does not have the address."""
        self.publish("PTR")
        self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("elsewhere.example", 300))
        self.case.assertFound(await self.found(), WRONG, "elsewhere.example, which does not have", "provider")

    async def test_pointerOfAnotherName(self) -> None:
        """A PTR that leads back by another name than the server's."""
        self.publish("PTR")
        self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("host.example", 300))
        self.zone.a("host.example", OUTER)
        self.case.assertFound(await self.found(), REMARK, "PTR is host.example")

    async def test_innerAddress(self) -> None:
        """An address that nobody outside can reach."""
        self.publish("A")
        self.zone.a("mx.test.jp", "192.168.0.103")
        self.case.assertFound(await self.found(), REMARK, "nobody outside can reach", "outer")

    async def test_exchange(self) -> None:
        """No MX."""
        self.publish("MX", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.case.assertFound(await self.found(), WRONG, "test.jp has no MX", r"test\.jp\. MX 10 mx\.test\.jp\.")

    async def test_exchangeElsewhere(self) -> None:
        """An MX of somebody else, alone or beside ours, or by another name of ours."""
        self.publish(mx="other.example", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.zone.a("other.example", "11.22.33.55")
        self.case.assertFound(await self.found(), WRONG, "names other.example, and not mx.test.jp", "MX 10")
        self.zone.mx("test.jp", (20, "alias.example"))
        self.zone.a("alias.example", OUTER)
        self.names = Names(Asker(servers=[self.names._resolver.servers[0]], timeout=(HASTE,)))
        self.case.assertFound(await self.found(), REMARK, "also names other.example")

    async def test_nullExchange(self) -> None:
        """A null MX."""
        self.publish(mx="", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.case.assertFound(await self.found(), WRONG, "null MX", "MX 10")

    async def test_policy(self) -> None:
        """No SPF; two; one that does not allow us."""
        for spf, why, mend in (
            ([], "has no SPF", "v=spf1 mx -all"),
            (["v=spf1 mx -all", "v=spf1 -all"], "has 2 SPF records", "v=spf1 mx -all"),
            (["v=spf1 ip4:11.22.33.55 -all"], 'says "fail"', f"ip4:{OUTER}"),
        ):
            self.zone._names.clear()
            self.publish(spf=spf)
            self.case.assertFound(await self.found(), WRONG, why, mend)

    async def test_smarthost(self) -> None:
        """Where a provider's server sends for us SPF is his to tell."""
        self.publish()
        self.case.assertFound(await self.found(relay={"gateway": "smtp.isp.example"}), REMARK, "smtp.isp.example")

    async def test_evaluated(self) -> None:
        """SPF as RFC 7208 has it, as far as it goes without a message."""
        self.zone.a("a.example", OUTER)
        self.zone.mx("m.example", (10, "a.example"))
        self.zone.add("none.example")
        for number, (text, result) in enumerate(
            (
                ("v=spf1 a:a.example -all", "pass"),
                ("v=spf1 mx:m.example ~all", "pass"),
                ("v=spf1 a:a.example/24 -all", "pass"),
                ("v=spf1 ip4:11.22.33.0/24 -all", "pass"),
                ("v=spf1 -ip4:11.22.33.44 +all", "fail"),
                ("v=spf1 ~all", "softfail"),
                ("v=spf1 ?all", "neutral"),
                ("v=spf1", "neutral"),
                ("v=spf1 include:0.spf.example -all", "pass"),
                ("v=spf1 include:5.spf.example -all", "fail"),
                ("v=spf1 include:none.example -all", "permerror"),
                ("v=spf1 redirect=0.spf.example", "pass"),
                ("v=spf1 include:12.spf.example -all", "permerror"),  # itself, for ever
                ("v=spf1 exists:%{i}.example -all", "unknown"),
                ("v=spf1 ptr -all", "unknown"),
                ("v=spf1 ip4:1.2.3 -all", "permerror"),
                ("v=spf1 nonsense -all", "permerror"),
            )
        ):
            name = f"{number}.spf.example"
            self.zone.add(name, dns.Record_TXT(text.encode(), ttl=300))
            self.assertEqual(await Spf(self.names).check(name, ip_address(OUTER)), result, text)

    async def test_noDns(self) -> None:
        """A machine without DNS is no fault, and costs a few seconds once."""
        self.zone.odd("mx.test.jp", Odd.SILENCE)
        found = await self.found()
        self.case.assertFound(found, REMARK, "the DNS cannot be asked from here")
        self.assertEqual(len(found), 1)
        self.assertEqual(set(self.zone.asked), {"A mx.test.jp"})

    async def test_fault(self) -> None:
        """A zone that is broken is a remark, and the others are looked at."""
        self.publish()
        self.zone.odd("test.jp", Odd.SERVFAIL)
        self.case.assertFound(await self.found(), REMARK, "did not answer about test.jp: DNSServerError")

    def test_asker(self) -> None:
        """The name servers that are configured are asked."""
        half = self.case
        half.mktemp = self.mktemp
        settings = half.half("gateway", relay={"name_servers": ["127.0.0.1:5353"]}).settings
        from twisted.internet import reactor

        self.assertEqual(asker(settings, reactor).servers, [("127.0.0.1", 5353)])


class ChoiceTests(Case):
    """Which files, which domains, which half strangers meet."""

    def test_configurations(self) -> None:
        """The gateway's configuration stands beside the back-end's, alone, or is named."""
        folder = Path(self.mktemp())
        folder.mkdir()
        backend, gateway = str(folder / "backend.toml"), str(folder / "gateway.toml")
        with self.assertRaisesRegex(Failure, "is not there"):
            configurations(backend, None)
        (folder / "backend.toml").touch()
        self.assertEqual(configurations(backend, None), (backend, None))
        (folder / "gateway.toml").touch()
        self.assertEqual(configurations(backend, None), (backend, gateway))
        self.assertEqual(configurations(None, gateway), (None, gateway))
        (folder / "backend.toml").unlink()
        self.assertEqual(configurations(backend, None), (None, gateway))
        with self.assertRaisesRegex(Failure, "elsewhere.toml is not there"):
            configurations(None, str(folder / "elsewhere.toml"))

    def test_environment(self) -> None:
        """Without a name $EPOST_CONFIG tells."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "b.toml").touch()
        self.patch(os, "environ", {**os.environ, "EPOST_CONFIG": str(folder / "b.toml")})
        self.assertEqual(configurations(None, None), (str(folder / "b.toml"), None))

    def test_domains(self) -> None:
        """Local domains and relay domains, each once."""
        gateway = self.half("gateway", {"gateway.dat": "test.jp, 127.0.0.1, 2525\n*.x.jp, h.jp\n*, h.jp\nb.jp, h.jp\n"})
        self.assertEqual(domains([self.half("backend"), gateway]), ["test.jp", "b.jp"])

    def test_outermost(self) -> None:
        """The gateway; a back-end alone where no gateway stands before it."""
        backend, gateway = self.half("backend").settings, self.half("gateway").settings
        alone = self.half("backend", relay={"gateway": None}).settings
        self.assertIs(outermost({"backend": backend, "gateway": gateway}), gateway)
        self.assertIs(outermost({"backend": backend}), None)
        self.assertIs(outermost({"backend": alone}), alone)


class CommandTests(TestCase):
    """The command beside a real pair."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.zone = Zone()
        (host, port), stop = self.zone.listen(reactor)
        self.addCleanup(stop)
        servers = {"relay": {"name_servers": [f"{host}:{port}"]}}
        trusted = {"relay": {"networks": ["127.0.0.1"]}}
        self.pair = Pair(Path(self.mktemp()), trusted, servers)
        (self.pair.etc / "accounts.dat").chmod(0o600)

    async def doctor(self, *words: str) -> "tuple[int, dict[str, Any]]":
        """The exit status, and what is said."""
        command = [sys.executable, "-m", "epost.control.main", "doctor", "--json", *words]
        done = await deferToThread(subprocess.run, command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
        return done.returncode, json.loads(done.stdout)

    async def test_well(self) -> None:
        """All is well with a pair that runs, and the doctor has changed nothing."""
        self.zone.a("dc.epost.test", OUTER)
        self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("dc.epost.test", 300))
        self.zone.mx("test.jp", (10, "dc.epost.test"))
        self.zone.add("test.jp", dns.Record_TXT(b"v=spf1 mx -all", ttl=300))
        pair = self.pair
        pair.__enter__()
        try:
            before = {path: path.stat().st_mtime_ns for path in pair.etc.iterdir()}
            status, told = await self.doctor("-c", str(pair.backend.config))
            self.assertEqual({path: path.stat().st_mtime_ns for path in pair.etc.iterdir()}, before)
            self.assertEqual([daemon.queue() for daemon in pair.daemons], [[], []])
            self.assertEqual(pair.sink.messages, [])
            # The sink in the place of a smarthost: whose SPF it is cannot be known, and that is all.
            others = [finding for finding in told["findings"] if finding["state"] != "ok"]
            self.assertEqual([finding["about"] for finding in others], ["names"], others)
            self.assertEqual((status, told["wrong"], told["remark"]), (0, 0, 1))
            abouts = {"tables", "ports", "folders", "rights", "disk", "clock", "relay", "pair", "names"}
            self.assertEqual({finding["about"] for finding in told["findings"]}, abouts)
        finally:
            await deferToThread(pair.__exit__, None)

    async def test_ill(self) -> None:
        """Nothing runs, a table is wrong, and the DNS knows nothing: all of it is told, and the status is 1."""
        (self.pair.etc / "effect.dat").write_text("nonsense here\n")
        status, told = await self.doctor("-c", str(self.pair.backend.config))
        self.assertEqual(status, 1)
        wrong = {(finding["half"], finding["about"]) for finding in told["findings"] if finding["state"] == "wrong"}
        self.assertLessEqual(
            {("gateway", "tables"), ("backend", "ports"), ("gateway", "ports"), ("gateway", "names")}, wrong
        )
        self.assertTrue(all(finding["mend"] for finding in told["findings"] if finding["state"] == "wrong"))

    async def test_configuration(self) -> None:
        """A configuration that cannot be read is told, and of this half nothing else."""
        self.pair.gateway.config.write_text("[server\n")
        _, told = await self.doctor("--gateway", str(self.pair.gateway.config))
        self.assertEqual([f["state"] for f in told["findings"] if f["about"] == "tables"], ["wrong", "remark"])
        self.assertEqual({f["about"] for f in told["findings"]}, {"tables", "pair"})

    async def test_nothing(self) -> None:
        """Without a configuration there is nothing to look at: status 1; a wrong command line: 2."""
        command = [sys.executable, "-m", "epost.control.main", "doctor"]
        for words, status in ((["--gateway", "nowhere.toml"], 1), (["--nonsense"], 2)):
            done = await deferToThread(
                subprocess.run, [*command, *words], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60
            )
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
