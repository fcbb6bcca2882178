"""Tests of L{epost.control.doctor.certificate}: what is wrong with a certificate."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from epost.control.doctor import certificate
from epost.control.doctor.finding import Finding
from epost.net.tls import Pairs
from tests.control.doctor.cases import REMARK, WRONG, Case

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
        return certificate.certificates("gateway", pairs, wanted or ("mx.test.jp",), lambda: known)

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
        self.assertGreaterEqual(held, len(certificate.authorities()))
