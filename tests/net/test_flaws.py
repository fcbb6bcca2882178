"""What is wrong with a certificate is told in words, whatever it is: real ones, judged in a real handshake."""

import contextlib
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from epost.net.security import Level, Outgoing, Trust
from tests.net.certificates import NOW, put

MX = x509.DNSName("mx.test")
OTHER = x509.DNSName("other.test")
MAY_SIGN = x509.BasicConstraints(ca=True, path_length=None)
CRITICAL = (x509.BasicConstraints, x509.NameConstraints, x509.UnrecognizedExtension)
RSA_SHA256, RSA_SHA1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")  # RFC 8017 A.2.4


def curve():
    """A key that is made at once."""
    return ec.generate_private_key(ec.SECP256R1())


def weak():
    """A key that is too short for anybody today."""
    return rsa.generate_private_key(65537, 1024)


def signed(subject: str, key, issuer: str, signer, *extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate. @param key: its own. @param signer: the key of who signs it."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    builder = builder.not_valid_before(NOW - timedelta(1)).not_valid_after(NOW + timedelta(1))
    builder = builder.serial_number(x509.random_serial_number())
    for extension in extensions:
        builder = builder.add_extension(extension, isinstance(extension, CRITICAL))
    return builder.sign(signer, hashes.SHA256())


def leaf(key, issuer: str, signer, *extensions: x509.ExtensionType) -> x509.Certificate:
    """The certificate of mx.test."""
    return signed("mx", key, issuer, signer, x509.SubjectAlternativeName([MX]), *extensions)


class FlawTests(SynchronousTestCase):
    """A chain, and what is said about it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.key, self.middle, self.own = curve(), curve(), curve()
        self.root = signed("root", self.key, "root", self.key, MAY_SIGN)

    def assertFlaw(self, words: str, *chain: x509.Certificate, key=None, root: x509.Certificate | None = None) -> None:
        """
        A server shows a chain, and one that trusts C{root} says this about it.

        @param key: the server's; else C{own}.
        """
        pem = (root or self.root).public_bytes(Encoding.PEM)
        outgoing = Outgoing(Trust(str(self.folder / put(self.folder, "root.pem", pem))), "mx.test", Level.MAY)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")  # it shows whatever it has
        context.use_privatekey(key or self.own)
        context.use_certificate(chain[0])
        for more in chain[1:]:
            context.add_extra_chain_cert(more)
        server, client = SSL.Connection(context, None), outgoing.clientConnectionForTLS(None)
        server.set_accept_state()
        client.set_connect_state()
        for _ in range(3):
            for end, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    end.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(end.bio_read(65536))
        outgoing.examine(client)
        self.assertEqual(outgoing.flaw, words)

    def test_none(self) -> None:
        """A chain that is right."""
        between = signed("middle", self.middle, "root", self.key, MAY_SIGN)
        self.assertFlaw("", leaf(self.own, "middle", self.middle), between)

    def test_forged(self) -> None:
        """One that was signed by another key than that of the authority that it names."""
        self.assertFlaw(
            "the certificate's signature is not that of who is said to have signed it", leaf(self.own, "root", curve())
        )

    def test_signerMayNot(self) -> None:
        """One that was signed by somebody who may sign none, not one more, or none for this name."""
        below = leaf(self.own, "middle", self.middle)
        one = x509.BasicConstraints(ca=True, path_length=0)
        for words, extensions in (
            ("who signed the certificate may sign none", [x509.BasicConstraints(ca=False, path_length=None)]),
            ("who signed the certificate may not sign for its names", [MAY_SIGN, x509.NameConstraints([OTHER], None)]),
            ("who signed the certificate may not sign for its names", [MAY_SIGN, x509.NameConstraints(None, [MX])]),
        ):
            self.assertFlaw(words, below, signed("middle", self.middle, "root", self.key, *extensions))
        upper = curve()
        chain = [signed("middle", self.middle, "upper", upper, MAY_SIGN), signed("upper", upper, "root", self.key, one)]
        self.assertFlaw("the certificate's chain is longer than who signed it allows", below, *chain)

    def test_halfTrusted(self) -> None:
        """One whose authority we have, but not that authority's own."""
        between = signed("middle", self.middle, "root", self.key, MAY_SIGN)
        self.assertFlaw("who signed the certificate is not known", leaf(self.own, "middle", self.middle), root=between)

    def test_weak(self) -> None:
        """Keys that are too short, and a signature that somebody else could make."""
        short = weak()
        self.assertFlaw("the certificate's key is too weak", leaf(short, "root", self.key), key=short)
        between = signed("middle", short, "root", self.key, MAY_SIGN)
        words = "the key of who signed the certificate is too weak"
        self.assertFlaw(words, leaf(self.own, "middle", short), between)
        old = rsa.generate_private_key(65537, 2048)
        root = signed("root", old, "root", old, MAY_SIGN)
        octets = leaf(self.own, "root", old).public_bytes(Encoding.DER).replace(RSA_SHA256, RSA_SHA1)
        words = "the certificate's signature is of a kind that is too weak"
        self.assertFlaw(words, x509.load_der_x509_certificate(octets), root=root)

    def test_otherPurpose(self) -> None:
        """One for clients, and one with a condition that nobody here knows."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        self.assertFlaw("the certificate is not one of a server", leaf(self.own, "root", self.key, usage))
        condition = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\5\0")  # RFC 5612
        words = "the certificate holds under a condition that is not known here"
        self.assertFlaw(words, leaf(self.own, "root", self.key, condition))
