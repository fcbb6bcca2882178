"""Tests of L{epost.control.doctor.wire}: who listens, and what greetings tell."""

import os
import time

from twisted.trial.unittest import SkipTest

from epost.control.doctor import wire
from epost.control.doctor.finding import Finding
from epost.mail.route import Hop
from epost.storage.disk import userName
from epost.storage.lock import FolderLock
from tests.control.doctor.cases import HASTE, NOBODY, OK, REMARK, WRONG, Case, greeting
from tests.system.pair import freePorts
from tests.system.sink import GREETING, Sink


class PortTests(Case):
    """Who listens where the configuration says."""

    def found(self, said: str, port: int | None = None) -> list[Finding]:
        """What is found of a server that greets so."""
        sink = self.enterContext(Sink())
        sink.answer = lambda command: said if command == GREETING else None
        listen = [f"tcp:{port or sink.port}:interface=127.0.0.1"]
        return wire.ports(self.half("backend", server={"listen": listen}).settings, HASTE)

    def test_ours(self) -> None:
        """The daemon that is configured greets."""
        self.assertAllOk(self.found(greeting()))

    def test_nobody(self) -> None:
        """A port on which nobody listens is told with the command that starts the daemon."""
        self.assertFound(
            self.found("", freePorts(1)[0]), WRONG, "nobody listens", "--nodaemon --pidfile= epost-backend"
        )

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
        self.assertFound(wire.ports(settings), REMARK, "cannot be tried")

    def test_clocks(self) -> None:
        """A greeting whose date is an hour away tells that one of the clocks is wrong."""
        self.assertFound(self.found(greeting(when=time.time() - 3600)), WRONG, "clock of .* is -3[56]")

    def test_noDate(self) -> None:
        """A greeting without a date tells nothing about clocks, and that is said."""
        self.assertFound(wire.heardDate("gateway", "mx", "yesterday", time.time()), REMARK, "has no date")

    def test_encryption(self) -> None:
        """Where a certificate is named STARTTLS must be offered."""
        sink = self.enterContext(Sink())
        hello = "250 test.jp"
        sink.answer = lambda command: {"": greeting(), "EHLO": hello}.get(command[:4])
        half = self.half(
            "backend",
            server={"listen": [f"tcp:{sink.port}:interface=127.0.0.1"]},
            tls={"certificates": [["cert.pem", "key.pem"]]},
        )
        self.assertFound(wire.ports(half.settings, HASTE), WRONG, "STARTTLS is not offered", "restart")
        hello = "250-test.jp\r\n250 STARTTLS"
        self.assertAllOk(wire.ports(half.settings, HASTE))

    def test_privileged(self) -> None:
        """Port 25 of a daemon that is not root needs a right, and the mending says which."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        if os.geteuid() == 0:
            os.chown(half.settings.folder, NOBODY, NOBODY)
        self.assertIn("CAP_NET_BIND_SERVICE", wire.start(half.settings, 25))
        self.assertNotIn("CAP_NET_BIND_SERVICE", wire.start(half.settings, 2525))

    def test_unit(self) -> None:
        """Where there is a unit the daemon is started by it: by hand it would run as whoever asks, root perhaps."""
        half = self.half("backend")
        self.patch(wire, "UNITS", half.settings.folder.parent)
        self.assertIn("bin/twistd --nodaemon", wire.start(half.settings, 2525))
        (half.settings.folder.parent / "epost-backend.service").touch()
        self.assertIn("start it: systemctl start epost-backend;", wire.start(half.settings, 2525))

    def test_anotherUser(self) -> None:
        """Where the work folder belongs to another user it is he who starts the daemon."""
        if os.geteuid():
            raise SkipTest("only root can give a folder away")
        half = self.half("backend")
        half.settings.folder.mkdir()
        self.assertNotIn("not as", wire.start(half.settings, 2525))
        os.chown(half.settings.folder, NOBODY, NOBODY)
        self.assertIn(f", as {userName(NOBODY)} and not as root", wire.start(half.settings, 2525))

    def test_oldConfiguration(self) -> None:
        """Where the daemon runs and does not listen there, its configuration is newer than itself."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        self.addCleanup(FolderLock(str(half.settings.folder)).release)
        self.assertIn(f"restart epost-backend (process {os.getpid()})", wire.start(half.settings, 2525))

    def test_crashed(self) -> None:
        """A crash leaves its process id in the file, which is another process's by now: nothing is to be restarted."""
        half = self.half("backend")
        half.settings.folder.mkdir()
        (half.settings.folder / "lock").write_text(f"{os.getpid()}\n")
        self.assertIn("start it", wire.start(half.settings, 2525))

    def test_doors(self) -> None:
        """Endpoints as Twisted writes them, and where a client on this machine finds them."""
        for description, host, port, wide in (
            ("tcp:25", "127.0.0.1", 25, True),
            ("tcp:port=25:interface=192.168.0.102", "192.168.0.102", 25, False),
            (r"tcp6:2525:interface=\:\:1", "::1", 2525, False),
            ("tcp6:25", "::1", 25, True),
        ):
            found = wire.door(description)
            assert found is not None
            self.assertEqual((found.hop.host, found.hop.port, found.wide), (host, port, wide))


class NeighbourTests(Case):
    """The host that one half leads to."""

    def test_neighbour(self) -> None:
        """The next host answers, does not, says no, or is somebody else."""
        sink = self.enterContext(Sink())
        hop = Hop("127.0.0.1", sink.port)
        for said, name, state, why in (
            (greeting("mx.test.jp"), "mx.test.jp", OK, "greets as mx.test.jp"),
            ("220 sink.example ESMTP", "", OK, "greets as sink.example"),
            ("220 sink.example ESMTP", "mx.test.jp", WRONG, "not mx.test.jp"),
            ("554 go away", "", WRONG, "answers .554"),
        ):
            sink.answer = lambda command, said=said: said if command == GREETING else None
            self.assertFound(wire.neighbour("backend", "[relay] gateway", hop, name, HASTE), state, why)
        gone = Hop("127.0.0.1", freePorts(1)[0])
        self.assertFound(wire.neighbour("backend", "[relay] gateway", gone), WRONG, "refused", "start")
