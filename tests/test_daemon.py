"""Tests of L{epost.daemon}: what is said where it cannot start. What it does: tests/system and tests/world."""

import errno
import os
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from epost import loading
from epost.daemon.service import Daemon
from tests.control.doctor.cases import BACKEND, TABLES
from tests.system.pair import toml


class Barred(Clock):
    """A network whose ports cannot be opened. @ivar number: why."""

    number = errno.EACCES

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As the system answers."""
        raise CannotListenError(interface, port, OSError(self.number, os.strerror(self.number)))


class PortTests(SynchronousTestCase):
    """Ports that cannot be opened."""

    def said(self, number: int) -> str:
        """What a start ends with."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "backend.toml").write_text(toml(BACKEND), "utf-8")
        for name, text in TABLES.items():
            (folder / name).write_text(text, "utf-8")
        reactor = Barred()
        reactor.number = number
        daemon = Daemon(*loading.load(str(folder / "backend.toml"), "backend"), reactor)
        with capturedLogs() as events:
            self.assertEqual(self.assertRaises(SystemExit, daemon.privilegedStartService).code, 1)
        return formatEvent(events[-1])

    def test_right(self) -> None:
        """Where a right is missing the line names what gives it; where another program has the port it does not."""
        said = self.said(errno.EACCES)
        self.assertRegex(said, r"backend\.toml:4: cannot listen on tcp:2525:.*Permission denied")
        self.assertIn("CAP_NET_BIND_SERVICE", said)
        self.assertNotIn("CAP_NET", self.said(errno.EADDRINUSE))
