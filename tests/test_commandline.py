"""Tests of L{epost.commandline}, as twistd runs it."""

import os
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests.system.pair import ROOT, TWISTD


class ConfigTests(SynchronousTestCase):
    """Which configuration."""

    def test_missing(self) -> None:
        """Without one the command ends with one line that has an example, not with twistd's own options."""
        for half in ("backend", "gateway"):
            done = subprocess.run(
                [TWISTD, "-n", "--pidfile=", f"epost-{half}"],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                encoding="utf-8",
                timeout=60,
            )
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            example = f"twistd -n epost-{half} --config {half}.toml"
            self.assertEqual(done.stderr, f"--config is missing; for example: {example}\n")
