"""
TLS towards other hosts: whether a destination wants it, and what a connection is worth.

Under C{may} the other side is not asked who it is: whoever could answer in its place could as well take STARTTLS out of
its reply, so that a refusal would only put mail in clear. What the certificate is worth is found out all the same, and
told. Under C{verify} it must be signed by a trusted root and be for the host's name, which C{service_identity} checks.

RFC 3207, RFC 7435 (opportunistic security), RFC 9525 (names).
"""

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from epost.mail.route import Hop, Onward
from epost.net import tls

# What OpenSSL's numbers mean, for which pyOpenSSL has no words. Neither CRLs nor policies are given.
_CODES = SSL.X509VerificationCodes
_WORDS = {
    _CODES.ERR_CERT_HAS_EXPIRED: "the certificate has expired",
    _CODES.ERR_CERT_NOT_YET_VALID: "the certificate is not valid yet",
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is self-signed",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "the certificate's root is not trusted",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: "who signed the certificate is not known",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "who signed the certificate is not known",
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "who signed the certificate is not known",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "the certificate's signature is not that of who is said to have signed it",
    _CODES.ERR_INVALID_CA: "who signed the certificate may sign none",
    _CODES.ERR_PATH_LENGTH_EXCEEDED: "the certificate's chain is longer than who signed it allows",
    _CODES.ERR_PERMITTED_VIOLATION: "who signed the certificate may not sign for its names",
    _CODES.ERR_EXCLUDED_VIOLATION: "who signed the certificate may not sign for its names",
    _CODES.ERR_INVALID_PURPOSE: "the certificate is not one of a server",
    _CODES.ERR_UNHANDLED_CRITICAL_EXTENSION: "the certificate holds under a condition that is not known here",
    66: "the certificate's key is too weak",  # X509_V_ERR_EE_KEY_TOO_SMALL; pyOpenSSL names none of these three
    67: "the key of who signed the certificate is too weak",  # X509_V_ERR_CA_KEY_TOO_SMALL
    68: "the certificate's signature is of a kind that is too weak",  # X509_V_ERR_CA_MD_TOO_WEAK
}


class Level(enum.Enum):
    """What a destination wants."""

    NONE = "none"  # clear text
    MAY = "may"  # TLS where it works, with whomever
    VERIFY = "verify"  # TLS with who it should be, or the message waits


@dataclass(frozen=True, slots=True)
class Levels:
    """
    What each destination wants.

    @ivar default: for who is not named.
    @ivar named: by the recipient's domain where the DNS names its hosts; where a table or a setting names them, by the
        name of the host (or its IP address) as it stands there. All in lower case.
    """

    default: Level = Level.NONE
    named: Mapping[str, Level] = field(default_factory=dict)

    def of(self, route: Onward, hop: Hop) -> Level:
        """
        For one host of a destination. A name that only the DNS has told decides nothing: who can forge the DNS would
        take himself out of C{verify}.
        """
        return self.named.get(hop.host if route.hops else route.destination, self.default)


class Trust:
    """Whom we trust. Roots take time and memory: they are read when the first connection wants them."""

    def __init__(self, roots: str | None = None) -> None:
        """@param roots: a file of certificates in PEM; L{None}: what the system trusts."""
        self._roots = roots
        self._context: SSL.Context | None = None
        self._asked: WeakKeyDictionary[SSL.Connection, Outgoing] = WeakKeyDictionary()

    def context(self) -> SSL.Context:
        """@raise SSL.Error: the file of roots cannot be read, or holds no certificate."""
        if self._context is None:
            made = tls.context()
            if self._roots is None:
                made.set_default_verify_paths()
            else:
                made.load_verify_locations(self._roots)
            made.set_verify(SSL.VERIFY_PEER, self._judge)
            self._context = made
        return self._context

    def connection(self, outgoing: "Outgoing") -> SSL.Connection:
        """A connection whose certificate is judged for C{outgoing}. @raise SSL.Error: as in L{context}."""
        connection = SSL.Connection(self.context(), None)
        self._asked[connection] = outgoing  # all share a context, and what a connection itself may hold is Twisted's
        return connection

    def _judge(self, connection: SSL.Connection, certificate: object, error: int, depth: int, good: int) -> bool:
        """OpenSSL's question about each certificate of a chain: the first flaw is kept. @return: whether to go on."""
        outgoing = self._asked[connection]
        if not good and not outgoing.flaw:
            outgoing.flaw = _WORDS.get(error) or f"the certificate is not trusted (OpenSSL's error {error})"
        return bool(good) or not outgoing.demanding


@implementer(IOpenSSLClientConnectionCreator)
class Outgoing:
    """
    The TLS of one connection to a host; what C{transport.startTLS} takes.

    @ivar flaw: what is wrong with the certificate, in words; empty where nothing is, once the handshake is over.
    """

    def __init__(self, trust: Trust, host: str, level: Level) -> None:
        """@param host: name or IP address, as it must stand in the certificate."""
        self.flaw = ""
        self.demanding = level is Level.VERIFY
        self._trust = trust
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection that says which host it wants (RFC 6066 3: never by an IP address)."""
        connection = self._trust.connection(self)
        if not _isAddress(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def examine(self, connection: SSL.Connection) -> str:
        """
        Look at a connection whose handshake is done, and complete L{flaw}.

        @return: version, cipher, and C{verified} or C{unverified}.
        """
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if not self.flaw and certificate is not None:
            self.flaw = _misnamed(certificate, self._host)
        elif certificate is None:
            self.flaw = "there is no certificate"
        return f"{tls.described(connection)} {'unverified' if self.flaw else 'verified'}"


def _misnamed(certificate: x509.Certificate, host: str) -> str:
    """What is wrong with the names of a certificate, if anything."""
    try:
        if _isAddress(host):
            verify_certificate_ip_address(certificate, host)
        else:
            verify_certificate_hostname(certificate, host)
    except (VerificationError, CertificateError, ValueError):
        found = ", ".join(tls.names(certificate)[:3]) or "no name"
        return f"the certificate is for {found}, not for {host}"
    return ""


def _isAddress(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
