"""Certificates by name, read again when they change: faults, half-way states, handshakes, channel binding."""

import contextlib
import hashlib
import os
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.net import tls
from epost.net.tls import Pairs, ServerContexts, channelBinding, described
from tests.net.certificates import NOW, Authority, keyPem, put

ROOT = Authority()
PAIR = ROOT.issue("mx.test.jp", "*.test.jp")
OTHER = ROOT.issue("Mail.Example.JP")


def exchange(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry what two ends have written, until they have no more. @raise SSL.Error: the handshake failed."""
    for _ in range(10):
        for end, peer in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                peer.bio_write(end.bio_read(65536))


def handshake(server: SSL.Connection, name: bytes = b"", context: SSL.Context | None = None) -> SSL.Connection:
    """A client that connects. @return: its side."""
    client = SSL.Connection(context or SSL.Context(SSL.TLS_METHOD), None)
    if name:
        client.set_tlsext_host_name(name)
    client.set_connect_state()
    server.set_accept_state()
    exchange(client, server)
    return client


def seen(connection: SSL.Connection) -> bytes:
    """The certificate that a client was shown."""
    return connection.get_peer_certificate(as_cryptography=True).fingerprint(_SHA256)


_SHA256 = x509.load_pem_x509_certificate(PAIR[0]).signature_hash_algorithm


def printOf(pem: bytes) -> bytes:
    """What tells a certificate."""
    return x509.load_pem_x509_certificate(pem).fingerprint(_SHA256)


class TlsCase(SynchronousTestCase):
    """A folder with two pairs."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        for name, (chain, key) in (("a", PAIR), ("b", OTHER)):
            put(self.folder, f"{name}.pem", chain)
            put(self.folder, f"{name}.key", key)
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())

    def make(self, *names: str) -> ServerContexts:
        """Contexts of pairs, by the first part of their names."""
        pairs = tuple((f"{name}.pem", f"{name}.key") for name in names)
        return ServerContexts(Pairs(str(self.folder / "x.toml"), 7, pairs), self.clock)

    def shown(self, contexts: ServerContexts, name: bytes = b"") -> bytes:
        """The certificate that a client is shown."""
        return seen(handshake(contexts.serverConnectionForTLS(None), name))


class ServerContextsTests(TlsCase):
    """L{ServerContexts} shows the right certificate, whatever happens to its files."""

    def test_interface(self) -> None:
        """It is what startTLS takes."""
        verifyObject(IOpenSSLServerConnectionCreator, self.make("a"))

    def test_names(self) -> None:
        """A client gets the certificate of the name that it asks for, by wildcard too; else the first."""
        contexts = self.make("a", "b")
        self.assertTrue(contexts.load())
        for name, pair in (
            (b"", PAIR),
            (b"mail.example.jp", OTHER),
            (b"MAIL.EXAMPLE.JP", OTHER),
            (b"x.test.jp", PAIR),
            (b"nobody.example", PAIR),
            (b"y.mail.example.jp", PAIR),
        ):
            self.assertEqual(self.shown(contexts, name), printOf(pair[0]), name)
        swapped = self.make("b", "a")
        self.assertTrue(swapped.load())
        self.assertEqual(self.shown(swapped, b"x.test.jp"), printOf(PAIR[0]))
        self.assertEqual(self.shown(swapped, b"x.y.test.jp"), printOf(OTHER[0]))
        self.assertEqual(self.shown(swapped), printOf(OTHER[0]))

    def test_wholeChain(self) -> None:
        """The certificates behind the first are shown as well."""
        put(self.folder, "a.pem", PAIR[0] + ROOT.pem)
        contexts = self.make("a")
        self.assertTrue(contexts.load())
        client = handshake(contexts.serverConnectionForTLS(None))
        self.assertEqual(len(client.get_peer_cert_chain()), 2)

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, 1.1 is not; neither RSA key exchange nor anonymous ciphers."""
        contexts = self.make("a")
        contexts.load()
        for most, expected in ((SSL.TLS1_3_VERSION, "TLSv1.3"), (SSL.TLS1_2_VERSION, "TLSv1.2")):
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(most)
            client = handshake(contexts.serverConnectionForTLS(None), context=context)
            self.assertEqual(client.get_protocol_version_name(), expected)
            self.assertEqual(described(client), f"{expected} {client.get_cipher_name()}")
        old = SSL.Context(SSL.TLS_METHOD)
        old.set_cipher_list(b"ALL:@SECLEVEL=0")
        old.set_max_proto_version(SSL.TLS1_1_VERSION)
        with self.assertRaises(SSL.Error):
            handshake(contexts.serverConnectionForTLS(None), context=old)
        for ciphers in (b"aNULL:@SECLEVEL=0", b"kRSA"):
            weak = SSL.Context(SSL.TLS_METHOD)
            weak.set_cipher_list(ciphers)
            weak.set_max_proto_version(SSL.TLS1_2_VERSION)
            with self.assertRaises(SSL.Error):
                handshake(contexts.serverConnectionForTLS(None), context=weak)

    def test_noRenegotiation(self) -> None:
        """A client that wants to negotiate anew under TLS 1.2 gets no second handshake."""
        contexts = self.make("a")
        contexts.load()
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        server = contexts.serverConnectionForTLS(None)
        client = handshake(server, context=context)
        client.renegotiate()
        with self.assertRaisesRegex(SSL.Error, "no renegotiation"):
            exchange(client, server)
            with contextlib.suppress(SSL.WantReadError):
                server.recv(100)
            exchange(client, server)
        self.assertEqual(server.total_renegotiations(), 0)

    def test_reload(self) -> None:
        """What changed is shown to the next client; a connection that stands goes on."""
        contexts = self.make("a")
        contexts.load()
        server = contexts.serverConnectionForTLS(None)
        client = handshake(server)
        contexts.look()
        self.assertEqual(self.shown(contexts), printOf(PAIR[0]))
        for name, octets in (("a.pem", OTHER[0]), ("a.key", OTHER[1])):
            put(self.folder, name, octets)
        with capturedLogs() as told:
            contexts.look()
        self.assertEqual([formatEvent(event) for event in told], ["the certificates were read again"])
        self.assertEqual(self.shown(contexts), printOf(OTHER[0]))
        client.send(b"hello")
        server.bio_write(client.bio_read(65536))
        self.assertEqual(server.recv(100), b"hello")

    def test_halfWay(self) -> None:
        """A chain that is there before its key changes nothing, is told once, and is right when the key has come."""
        contexts = self.make("a")
        contexts.load()
        put(self.folder, "a.pem", OTHER[0])
        with capturedLogs() as told:
            for _ in range(3):
                contexts.look()
        why = '[tls] certificates: key "a.key" does not fit "a.pem", expected the key of its first certificate'
        expected = [f"{self.folder}/x.toml:7: {why}", "the certificates as they were before stay in force"]
        self.assertEqual([formatEvent(event) for event in told], expected)
        self.assertEqual(self.shown(contexts), printOf(PAIR[0]))
        put(self.folder, "a.key", OTHER[1])
        contexts.look()
        self.assertEqual((self.shown(contexts), contexts.faults), (printOf(OTHER[0]), []))

    def test_toldOnce(self) -> None:
        """SIGHUP with the same fault says nothing new."""
        contexts = self.make("a")
        contexts.load()
        put(self.folder, "a.key", b"")
        with capturedLogs() as told:
            self.assertEqual([contexts.reload() for _ in range(3)], [False] * 3)
        self.assertEqual(len([event for event in told if event["log_level"] is LogLevel.error]), 2)

    def test_atomicReplacement(self) -> None:
        """A link that is turned to another folder, as certbot's are, is a change."""
        for name, pair in (("one", PAIR), ("two", OTHER)):
            (self.folder / name).mkdir()
            put(self.folder / name, "chain", pair[0])
            put(self.folder / name, "key", pair[1])
        (self.folder / "live").symlink_to("one")
        contexts = ServerContexts(Pairs(str(self.folder / "x.toml"), 1, (("live/chain", "live/key"),)), self.clock)
        contexts.load()
        (self.folder / "new").symlink_to("two")
        os.replace(self.folder / "new", self.folder / "live")
        contexts.look()
        self.assertEqual(self.shown(contexts), printOf(OTHER[0]))

    def test_looksEverySecond(self) -> None:
        """As a service it looks once a second, and no longer when it has stopped."""
        contexts = self.make("a")
        contexts.load()
        contexts.startService()
        put(self.folder, "a.pem", OTHER[0])
        put(self.folder, "a.key", OTHER[1])
        self.clock.advance(1)
        self.assertEqual(self.shown(contexts), printOf(OTHER[0]))
        contexts.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FaultTests(TlsCase):
    """Whatever is wrong is told with the configuration's file and line, all of it, and nothing of it is in force."""

    def told(self, *names: str) -> list[str]:
        """What is said about pairs."""
        contexts = self.make(*names)
        self.assertEqual(contexts.load(), not contexts.faults)
        return [str(fault).removeprefix(f"{self.folder}/x.toml:7: [tls] certificates: ") for fault in contexts.faults]

    def test_each(self) -> None:
        """Missing, empty and strange files, keys of others and with pass phrases; of both files of each pair."""
        notPem = "a private key in PEM"
        for name, octets, why in (
            ("b.pem", b"", '"b.pem" holds no certificate that can be read, expected '),
            ("b.pem", b"junk", '"b.pem" holds no certificate that can be read, expected '),
            ("b.pem", PAIR[1], '"b.pem" holds no certificate that can be read, expected '),
            ("b.pem", OTHER[0][:200], '"b.pem" holds no certificate that can be read, expected '),
            ("b.key", b"", f'"b.key" holds no private key that can be read, expected {notPem}'),
            ("b.key", OTHER[0], f'"b.key" holds no private key that can be read, expected {notPem}'),
            ("b.key", PAIR[1], 'key "b.key" does not fit "b.pem", expected the key of its first certificate'),
            ("b.key", keyPem(ec.generate_private_key(ec.SECP256R1()), b"secret"), 'key "b.key" has a pass phrase, '),
        ):
            self.setUp()
            put(self.folder, name, octets)
            (fault,) = self.told("a", "b")
            self.assertTrue(fault.startswith(why), fault)

    def test_unreadable(self) -> None:
        """A file that is not there, or is a folder; both are told at once."""
        os.remove(self.folder / "a.pem")
        os.remove(self.folder / "b.key")
        (self.folder / "b.key").mkdir()
        faults = self.told("a", "b")
        self.assertIn('"a.pem" cannot be read: No such file or directory, expected a file', faults[0])
        self.assertIn('"b.key" cannot be read: Is a directory, expected a file', faults[1])

    def test_remarks(self) -> None:
        """A certificate that has expired and a key that everybody can read are remarked, and work."""
        chain, key = ROOT.issue("mx.test.jp", expired=True)
        put(self.folder, "a.pem", chain)
        put(self.folder, "a.key", key, 0o644)
        contexts = self.make("a")
        self.assertTrue(contexts.load())
        said = [note.why for note in contexts.notes]
        self.assertEqual(said[0], '[tls] certificates: key "a.key" can be read by everybody (mode 0644)')
        self.assertIn('"a.pem" has expired on ', said[1])
        self.assertEqual(self.shown(contexts), printOf(chain))
        self.clock.advance(-timedelta(days=20).total_seconds())
        contexts.load()
        self.assertIn('"a.pem" is not valid before ', contexts.notes[1].why)

    def test_noNames(self) -> None:
        """A certificate without subjectAltName is for those who ask for none."""
        put(self.folder, "a.pem", (pair := ROOT.issue())[0])
        put(self.folder, "a.key", pair[1])
        self.assertEqual(self.told("a"), [])
        self.assertEqual(tls.names(x509.load_pem_x509_certificate(pair[0])), [])


class ChannelBindingTests(TlsCase):
    """L{channelBinding} gives the same to both ends, and to nobody else."""

    def ends(self, most: int) -> tuple[SSL.Connection, SSL.Connection]:
        """Client and server of a new connection."""
        contexts = self.make("a")
        contexts.load()
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(most)
        server = contexts.serverConnectionForTLS(None)
        return handshake(server, context=context), server

    def test_exporter(self) -> None:
        """Under TLS 1.3 it is RFC 9266's; under 1.2 there is none; each connection has its own."""
        client, server = self.ends(SSL.TLS1_3_VERSION)
        bound = channelBinding(server, "tls-exporter")
        self.assertEqual(client.export_keying_material(b"EXPORTER-Channel-Binding", 32), bound)
        self.assertEqual(len(bound or b""), 32)
        self.assertNotEqual(channelBinding(self.ends(SSL.TLS1_3_VERSION)[1], "tls-exporter"), bound)
        self.assertIsNone(channelBinding(self.ends(SSL.TLS1_2_VERSION)[1], "tls-exporter"))

    def test_endPoint(self) -> None:
        """The hash of the certificate that this client was shown."""
        der = x509.load_pem_x509_certificate(PAIR[0]).public_bytes(tls.Encoding.DER)
        for most in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            _, server = self.ends(most)
            self.assertEqual(channelBinding(server, "tls-server-end-point"), hashlib.sha256(der).digest())
            self.assertIsNone(channelBinding(server, "tls-unique"))
        contexts = self.make("a", "b")
        contexts.load()
        server = contexts.serverConnectionForTLS(None)
        handshake(server, b"mail.example.jp")
        self.assertEqual(channelBinding(server, "tls-server-end-point"), printOf(OTHER[0]))
