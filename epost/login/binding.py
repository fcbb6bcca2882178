"""
The channel bindings of a TLS connection, for SCRAM-SHA-256-PLUS: what both ends of one connection know, and nobody who
stands between two has.

RFC 9266 (tls-exporter; here of TLS 1.3 alone, since older ones need a look at how keys were agreed, section 3),
RFC 5929 4 (tls-server-end-point).
"""

import hashlib

from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from OpenSSL.SSL import Connection

from epost.login.sasl import Binding


def bindings(connection: Connection) -> Binding:
    """
    Those of a connection whose handshake is done, to be asked for by name.

    @param connection: the server's end; of Twisted's TLS transports, C{getHandle()} gives it.
    """

    def binding(name: str) -> bytes | None:
        if name == "tls-exporter" and connection.get_protocol_version_name() == "TLSv1.3":
            return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        if name == "tls-server-end-point":
            return _endPoint(connection)
        return None

    return binding


def _endPoint(connection: Connection) -> bytes | None:
    """A hash of our certificate, by the hash that it was signed with; L{None} where it was signed without (Ed25519)."""
    own = connection.get_certificate()
    if own is None:
        return None
    signed = own.to_cryptography().signature_hash_algorithm
    if signed is None:
        return None
    name = "sha256" if signed.name in ("md5", "sha1") else signed.name  # RFC 5929 4.1
    return hashlib.new(name, dump_certificate(FILETYPE_ASN1, own)).digest()
