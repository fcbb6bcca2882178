"""Tests of L{epost.control.doctor.command}: what is looked at, and the command beside a real pair."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import TestCase

from epost.control.cert import pair
from epost.control.doctor.command import _read, configurations, domains, outermost, secured
from epost.control.doctor.finding import Finding
from epost.control.terminal import Failure
from tests.control.doctor.cases import OK, OUTER, REMARK, WRONG, Case
from tests.net.dns import Zone
from tests.system.pair import ROOT, Pair, freePorts


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

    def test_noCertificate(self) -> None:
        """A server without certificate is remarked, with the command that makes one."""
        self.assertFound(secured(self.half("gateway").settings), REMARK, "there is none", "epost cert self --name mx")

    def test_emptied(self) -> None:
        """A table that restricts and has 0 octets, as a full disk leaves it, is wrong; one that says so is not."""
        half = self.half("backend", {"accounts.toml": ""}, domains={"details": "accounts.toml"})
        folder = half.settings.folder.parent
        for text, state in (("", WRONG), ("# none\n", OK)):
            (folder / "accounts.toml").write_text(text)
            found: list[Finding] = []
            _read(str(folder / "backend.toml"), "backend", found)
            self.assertEqual(found[0].state, state, found)
        (folder / "accounts.toml").write_text("")
        found = []
        _read(str(folder / "backend.toml"), "backend", found)
        self.assertFound(found, WRONG, "accounts.toml:1: is empty: it restricts nobody", "from a backup; else rules")

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
        clear, secure = (f"tcp:{port}:interface=127.0.0.1" for port in freePorts(2))
        certificate = {"tls": {"certificates": [["cert.pem", "key.pem"]]}}
        submission = {"submission": {"listen": [clear], "listen_tls": [secure]}}
        trusted = {"relay": {"networks": ["127.0.0.1"], "gateways": ["127.0.0.1"], "hello": "EHLO"}}
        servers = {"relay": {"name_servers": [f"{host}:{port}"]}}
        self.pair = Pair(Path(self.mktemp()), certificate | submission | trusted, certificate | servers)
        for name, octets in zip(
            ("cert.pem", "key.pem"), pair(["test.jp", "dc.epost.test"], datetime.now(UTC)), strict=True
        ):
            (self.pair.etc / name).write_bytes(octets)
            (self.pair.etc / name).chmod(0o600)
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
            # Who has signed the certificate, and, as the sink is a smarthost, whose SPF it is: that is all.
            others = [finding for finding in told["findings"] if finding["state"] != "ok"]
            self.assertEqual([finding["about"] for finding in others], ["certificate"] * 2 + ["names"], others)
            self.assertEqual((status, told["wrong"], told["remark"]), (0, 0, 3))
            ports = [finding for finding in told["findings"] if finding["about"] == "ports"]
            self.assertEqual(len(ports), 4)
            abouts = {"tables", "ports", "folders", "rights", "disk", "clock", "certificate", "relay", "pair", "names"}
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
