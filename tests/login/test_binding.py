"""Tests of L{epost.login.binding}: what both ends of a TLS connection know."""

import contextlib
import hashlib
import subprocess
from pathlib import Path

from OpenSSL.crypto import FILETYPE_ASN1, FILETYPE_PEM, dump_certificate, load_certificate
from OpenSSL.SSL import TLS1_2_VERSION, TLS1_3_VERSION, TLS_METHOD, Connection, Context, WantReadError
from twisted.trial.unittest import SynchronousTestCase

from epost.login.binding import bindings


def certificate(folder: Path, *kind: str) -> tuple[str, str]:
    """A key and a self-signed certificate, by OpenSSL's own command. @param kind: its -newkey and digest options."""
    folder.mkdir()
    key, pem = str(folder / "key.pem"), str(folder / "cert.pem")
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=test.jp", "-days", "2", "-keyout", key, "-out", pem]
    subprocess.run([*command, *kind], check=True, capture_output=True)
    return key, pem


def pair(key: str, pem: str, version: int = TLS1_3_VERSION) -> tuple[Connection, Connection]:
    """Two ends of one connection in memory, after the handshake: server and client."""
    inside = Context(TLS_METHOD)
    inside.use_privatekey_file(key)
    inside.use_certificate_file(pem)
    inside.set_max_proto_version(version)
    server, client = Connection(inside, None), Connection(Context(TLS_METHOD), None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for here, there in ((client, server), (server, client)):
            with contextlib.suppress(WantReadError):
                here.do_handshake()
            with contextlib.suppress(WantReadError):
                there.bio_write(here.bio_read(65536))
    return server, client


class BindingTests(SynchronousTestCase):
    """Both ends calculate the same octets, each in its own way."""

    def make(self, *kind: str) -> tuple[str, str]:
        """A certificate."""
        return certificate(Path(self.mktemp()), *kind)

    def test_exporter(self) -> None:
        """tls-exporter is the same at both ends of a connection and another in each connection (RFC 9266)."""
        made = self.make("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        server, client = pair(*made)
        octets = bindings(server)("tls-exporter")
        assert octets is not None
        self.assertEqual(len(octets), 32)
        self.assertEqual(client.export_keying_material(b"EXPORTER-Channel-Binding", 32), octets)
        self.assertNotEqual(bindings(pair(*made)[0])("tls-exporter"), octets)

    def test_olderTLS(self) -> None:
        """In TLS 1.2 there is no tls-exporter, and tls-server-end-point is there."""
        server, _ = pair(*self.make("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), version=TLS1_2_VERSION)
        self.assertIsNone(bindings(server)("tls-exporter"))
        self.assertIsNotNone(bindings(server)("tls-server-end-point"))

    def test_endPoint(self) -> None:
        """tls-server-end-point is a hash of the certificate, by that of its signature, SHA-256 for SHA-1 (RFC 5929)."""
        for digest, name in (("-sha256", "sha256"), ("-sha384", "sha384"), ("-sha1", "sha256")):
            key, pem = self.make("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", digest)
            inside = load_certificate(FILETYPE_PEM, Path(pem).read_bytes())
            expected = hashlib.new(name, dump_certificate(FILETYPE_ASN1, inside)).digest()
            try:
                server, _ = pair(key, pem)
            except Exception:
                if digest != "-sha1":
                    raise
                continue  # an OpenSSL that takes no such certificate any more needs no binding for it
            self.assertEqual(bindings(server)("tls-server-end-point"), expected)

    def test_ed25519(self) -> None:
        """A certificate that is signed without a hash has no tls-server-end-point."""
        server, _ = pair(*self.make("-newkey", "ed25519"))
        self.assertIsNone(bindings(server)("tls-server-end-point"))
        self.assertIsNotNone(bindings(server)("tls-exporter"))

    def test_unknown(self) -> None:
        """There are no others."""
        server, _ = pair(*self.make("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
        for name in ("tls-unique", "", "TLS-EXPORTER"):
            self.assertIsNone(bindings(server)(name))
