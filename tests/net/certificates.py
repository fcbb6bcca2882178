"""Certificates for tests: an authority, and what it signs. Elliptic curves, since they are made at once."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """
    Who signs.

    @ivar pem: its own certificate.
    """

    def __init__(self, name: str = "Test Root") -> None:
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._name, self._key, 1, 10)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = builder.add_extension(own, critical=False)
        uses = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
        )
        uses |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
        usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **uses)
        builder = builder.add_extension(usage, critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, *names: str, expired: bool = False) -> tuple[bytes, bytes]:
        """A certificate for some names. @return: chain and key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_named("leaf"), key, *((10, -1) if expired else (1, 10)))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        # Python 3.13 asks for it, and for the other two of the authority (RFC 5280 4.2.1.1 to 4.2.1.3).
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(signer, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), keyPem(key)

    def _builder(self, subject: x509.Name, key, ago: int, ahead: int) -> x509.CertificateBuilder:
        """@param ago: days since its begin. @param ahead: days until its end."""
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(NOW - timedelta(ago)).not_valid_after(NOW + timedelta(ahead))


def keyPem(key, phrase: bytes | None = None) -> bytes:
    """A key in PEM, with or without a pass phrase."""
    hidden = BestAvailableEncryption(phrase) if phrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def put(folder: Path, name: str, octets: bytes, mode: int = 0o600) -> str:
    """Write a file. @return: its name."""
    path = folder / name
    path.write_bytes(octets)
    path.chmod(mode)
    return name
