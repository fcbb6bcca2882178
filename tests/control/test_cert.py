"""C{epost cert self}: a pair that the daemon can use."""

import errno
import io
import json
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from epost.control import cert
from epost.control.main import main
from epost.net.tls import Pairs, names, read


def run(*words: str) -> tuple[int, str, str]:
    """A command. @return: status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["cert", "self", *words])
    return status, out.getvalue(), err.getvalue()


class SelfTests(SynchronousTestCase):
    """A self-signed pair."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_usable(self) -> None:
        """The daemon takes the pair as it is printed, without a remark; the key is its owner's alone."""
        wanted = ["--name", "mx.test.jp", "--name", "*.日本.jp", "--name", "192.0.2.1"]
        status, out, _ = run(*wanted, "--out", str(self.folder), "--json")
        told = json.loads(out)
        faults, notes = [], []
        pairs = Pairs("x", 1, ((told["chain"], told["key"]),))
        certificate = x509.load_pem_x509_certificate(Path(told["chain"]).read_bytes())
        now = certificate.not_valid_before_utc.timestamp() + 3600
        self.assertIsNotNone(read(pairs, faults, notes, now))
        self.assertEqual((status, faults, notes), (0, [], []))
        self.assertEqual(names(certificate), ["mx.test.jp", "*.xn--wgv71a.jp"])
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual([str(ip) for ip in extension.value.get_values_for_type(x509.IPAddress)], ["192.0.2.1"])
        self.assertEqual(Path(told["key"]).stat().st_mode & 0o777, 0o600)

    def test_words(self) -> None:
        """Without --json the lines for the configuration are printed."""
        status, out, _ = run("--name", "mx.test.jp", "--out", str(self.folder))
        self.assertEqual(status, 0)
        folder = self.folder.absolute()
        self.assertIn(f'    [tls]\n    certificates = [["{folder}/cert.pem", "{folder}/key.pem"]]\n', out)

    def test_neverOverwrites(self) -> None:
        """Where one of the two is there, nothing is made and nothing is touched."""
        for name, other in (("cert.pem", "key.pem"), ("key.pem", "cert.pem")):
            self.setUp()
            (self.folder / name).write_text("mine")
            status, _, err = run("--name", "mx.test.jp", "--out", str(self.folder))
            self.assertEqual(status, 1)
            self.assertRegex(err, "is there already; nothing was made\nif a run that was killed.* remove it")
            self.assertEqual((self.folder / name).read_text(), "mine")
            self.assertFalse((self.folder / other).exists())

    def test_notMade(self) -> None:
        """A name that is none and a folder that cannot be made leave nothing behind."""
        for words in (("--name", "a b"), ("--name", "mx.test.jp", "--out", str(self.folder / "gone/gone"))):
            status, _, err = run(*words)
            self.assertEqual(status, 1)
            self.assertTrue(err)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_folder(self) -> None:
        """A folder that is not there is made, and is gone again where the pair could not be."""
        new = self.folder / "new"
        self.assertEqual(run("--name", "mx.test.jp", "--out", str(new))[0], 0)
        self.assertEqual({path.name for path in new.iterdir()}, {"cert.pem", "key.pem"})
        self.patch(cert, "createAmong", lambda *given: os.stat(self.folder / "none"))
        self.assertEqual(run("--name", "mx.test.jp", "--out", str(self.folder / "other"))[0], 1)
        self.assertFalse((self.folder / "other").exists())

    def test_interrupted(self) -> None:
        """Ctrl-C, and what ends a process or its terminal, leave nothing behind; the process is as it was."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)
            kept = signal.getsignal(number)
            written: list[int] = []

            def interrupted(descriptor: int, written: list[int] = written, number: int = number) -> None:
                written.append(descriptor)
                if len(written) == 2:
                    signal.raise_signal(number)

            self.patch(os, "fsync", interrupted)
            status, out, err = run("--name", "mx.test.jp", "--out", str(self.folder))
            self.assertEqual((status, out, err), (1, "", "interrupted; nothing was made\n"))
            self.assertEqual((list(self.folder.iterdir()), signal.getsignal(number)), ([], kept))

    def test_full(self) -> None:
        """What could not be written to its end is taken away again, whichever of the two it is, and it is told."""
        for last in (1, 2):
            written: list[int] = []

            def full(descriptor: int, written: list[int] = written, last: int = last) -> None:
                written.append(descriptor)
                if len(written) == last:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            self.patch(os, "fsync", full)
            status, out, err = run("--name", "mx.test.jp", "--out", str(self.folder))
            self.assertEqual((status, out, list(self.folder.iterdir())), (1, "", []))
            self.assertRegex(err, r"(key|cert)\.pem: No space left on device; nothing was made")
