"""
TLS for those who connect to us: certificates by the name that a client asks for, read again when they change.

All pairs of chain and key are read together and take effect together, for the next handshake; connections that stand
keep what they have. Where anything is wrong it is told, once, and the pairs as they were before stay in force: so a
chain that is replaced a moment before its key does no harm. Every second each file's place, size and times are looked
at, as in L{epost.reload}.

RFC 8446, RFC 5246; RFC 8314 (mail), RFC 6066 3 (SNI), RFC 9325 (versions and ciphers); RFC 5929 and 9266 (binding).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL
from twisted.application.internet import TimerService
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from epost.mail.fault import Fault

LOOK = 1.0  # seconds between two looks; a change is in force within two
WORLD = 0o007  # a key that has one of these is everybody's

# TLS 1.2: forward secrecy, and AEAD first. AES-CBC stands last for Schannel of Windows 8.1 and before, which has no
# other with an RSA certificate (RFC 9325 4.2 asks for AEAD; without these mail of such a client would go in clear).
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL"


@dataclass(frozen=True, slots=True)
class Pairs:
    """
    What the configuration names.

    @ivar file: the configuration, its name as it was given; the others are relative to it.
    @ivar line: where the pairs stand in it.
    @ivar names: chain and key, PEM; the first pair is for clients that ask for no name or for an unknown one.
    """

    file: str
    line: int
    names: tuple[tuple[str, str], ...]

    def path(self, name: str) -> Path:
        """Where a chain or a key is."""
        return Path(self.file).parent / name

    def fault(self, why: str, expected: str = "") -> Fault:
        """A fault in what they name."""
        return Fault(self.file, self.line, f"[tls] certificates: {why}", expected)


@dataclass(frozen=True, slots=True)
class Contexts:
    """
    What is in force.

    @ivar default: for who asks for no name, or for an unknown one.
    @ivar named: by host name in lower case, and C{*.domain}.
    """

    default: SSL.Context
    named: dict[str, SSL.Context]

    def choose(self, name: bytes | None) -> SSL.Context:
        """That of a name, by itself or by a wildcard for its first label (RFC 9525 6.3)."""
        host = (name or b"").decode("ascii", "replace").lower().rstrip(".")
        return self.named.get(host) or self.named.get("*." + host.partition(".")[2]) or self.default


def context() -> SSL.Context:
    """A context as all of ours are: TLS 1.2 and 1.3, and as little memory as possible while a connection idles."""
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return made


def read(pairs: Pairs, faults: list[Fault], notes: list[Fault], now: float) -> Contexts | None:
    """
    Read all pairs.

    @param faults: gets what is wrong.
    @param notes: gets what is allowed and may surprise.
    @param now: seconds since 1970, for dates.
    @return: L{None} where there is a fault.
    """
    before = len(faults)
    found: list[tuple[x509.Certificate, SSL.Context]] = []
    for chainName, keyName in pairs.names:
        chain, key = _chain(pairs, chainName, faults), _key(pairs, keyName, faults, notes)
        if not chain or key is None:
            continue
        if _spki(chain[0].public_key()) != _spki(key.public_key()):  # type: ignore[attr-defined]
            why = f'key "{keyName}" does not fit "{chainName}"'
            faults.append(pairs.fault(why, "the key of its first certificate"))
            continue
        try:
            found.append((chain[0], _loaded(chain, key)))
        except (SSL.Error, TypeError, ValueError) as error:
            faults.append(pairs.fault(f'"{chainName}" cannot be used: {reason(error)}', "a stronger key"))
        else:
            _date(pairs, chainName, chain[0], notes, datetime.fromtimestamp(now, UTC))
    if len(faults) > before or not found:
        return None
    named: dict[str, SSL.Context] = {}
    for certificate, made in found:
        for name in names(certificate):
            named.setdefault(name, made)
    contexts = Contexts(found[0][1], named)
    # pyOpenSSL allows no change of a context once it has made a connection, so this is the time.
    contexts.default.set_tlsext_servername_callback(lambda c: c.set_context(contexts.choose(c.get_servername())))
    return contexts


def names(certificate: x509.Certificate) -> list[str]:
    """The host names that a certificate is for (RFC 9525 3: those of subjectAltName alone), in lower case."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


@implementer(IOpenSSLServerConnectionCreator)
class ServerContexts(TimerService):
    """
    The certificates in force; what C{transport.startTLS} takes.

    @ivar faults: what was wrong at the last reading; empty where what is in force is what the files say.
    @ivar notes: what was remarked then.
    """

    name = "certificates"
    log = Logger()

    def __init__(self, pairs: Pairs, clock: IReactorTime) -> None:
        """Nothing is read yet: see L{load}."""
        super().__init__(LOOK, self.look)  # type: ignore[no-untyped-call]
        self.clock, self._seconds = clock, clock.seconds
        self._pairs = pairs
        self._current: Contexts | None = None
        self._seen: list[tuple[int, ...] | None] = []
        self.faults: list[Fault] = []
        self.notes: list[Fault] = []

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection; which certificate it shows the client's first octets decide."""
        assert self._current is not None, "load() comes first"
        return SSL.Connection(self._current.default, None)

    def load(self) -> bool:
        """Read everything, and let it be in force if nothing is wrong. @return: whether it is."""
        self._seen = self._marks()  # before reading: what changes meanwhile is seen at the next look
        self.faults, self.notes = [], []
        contexts = read(self._pairs, self.faults, self.notes, self._seconds())
        if contexts is None:
            return False
        self._current = contexts
        return True

    def look(self) -> None:
        """Read everything again if any file has changed."""
        if self._marks() != self._seen:
            self.reload()

    def reload(self) -> bool:
        """Read everything again. @return: whether it is in force; else the daemon's log says, once, what is wrong."""
        faults, notes = self.faults, self.notes
        loaded = self.load()
        for note in self.notes if self.notes != notes else ():
            self.log.warn("{note}", note=str(note))
        if loaded:
            self.log.info("the certificates were read again")
        elif self.faults != faults:
            for fault in self.faults:
                self.log.error("{fault}", fault=str(fault))
            self.log.error("the certificates as they were before stay in force")
        return loaded

    def _marks(self) -> list[tuple[int, ...] | None]:
        """What tells one state of each file from another; L{None} for one that is not there."""
        found: list[tuple[int, ...] | None] = []
        for name in (name for pair in self._pairs.names for name in pair):
            try:
                status = os.stat(self._pairs.path(name))
            except OSError:
                found.append(None)
            else:  # with the time of rights: what was unreadable may be readable now
                found.append((status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
        return found


def described(connection: SSL.Connection) -> str:
    """Version and cipher of a connection after its handshake, as C{TLSv1.3 TLS_AES_256_GCM_SHA384}."""
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"


def channelBinding(connection: SSL.Connection, kind: str) -> bytes | None:
    """
    What ties a login to the server's side of a TLS connection, so that nobody between can pass it on (RFC 5056).

    @param kind: C{tls-exporter}, under TLS 1.3 alone (RFC 9266: with 1.2 it is safe only with an extension that cannot
        be asked about here), or C{tls-server-end-point} (RFC 5929 4). C{tls-unique} is not safe and is not given.
    @return: L{None} where there is none of this kind.
    """
    if kind == "tls-exporter" and connection.get_protocol_version_name() == "TLSv1.3":
        return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    if kind == "tls-server-end-point":
        certificate = connection.get_certificate(as_cryptography=True)
        algorithm = certificate.signature_hash_algorithm if certificate else None
        if certificate is not None and algorithm is not None:  # with Ed25519 it is not defined
            weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
            return certificate.fingerprint(hashes.SHA256() if weak else algorithm)
    return None


def reason(error: BaseException | None) -> str:
    """What an exception of OpenSSL says, in words."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return ", ".join(dict.fromkeys(part[2] for part in error.args[0] if part[2])) or "closed"
    return str(error) or type(error).__name__


def _octets(pairs: Pairs, name: str, faults: list[Fault]) -> bytes | None:
    """A file; L{None} where it cannot be read."""
    try:
        return pairs.path(name).read_bytes()
    except OSError as error:
        why = f'"{name}" cannot be read: {error.strerror}'
        faults.append(pairs.fault(why, "a file that the daemon's user can read"))
    return None


def _chain(pairs: Pairs, name: str, faults: list[Fault]) -> list[x509.Certificate]:
    """The certificates of a file, the server's first; none where there is a fault."""
    data = _octets(pairs, name, faults)
    try:
        return [] if data is None else x509.load_pem_x509_certificates(data)
    except ValueError:
        expected = "the server's certificate and those that sign it, in PEM"
        faults.append(pairs.fault(f'"{name}" holds no certificate that can be read', expected))
    return []


def _key(pairs: Pairs, name: str, faults: list[Fault], notes: list[Fault]) -> object | None:
    """The key of a file."""
    data = _octets(pairs, name, faults)
    if data is None:
        return None
    mode = pairs.path(name).stat().st_mode & 0o777
    if mode & WORLD:
        notes.append(pairs.fault(f'key "{name}" can be read by everybody (mode {mode:04o})', "0600 or 0640"))
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        faults.append(pairs.fault(f'key "{name}" has a pass phrase', "a key without one: nobody is there to type it"))
    except (ValueError, UnsupportedAlgorithm):
        faults.append(pairs.fault(f'"{name}" holds no private key that can be read', "a private key in PEM"))
    return None


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _loaded(chain: Iterable[x509.Certificate], key: object) -> SSL.Context:
    """@raise SSL.Error: OpenSSL does not take the certificate."""
    made = context()
    made.set_cipher_list(CIPHERS)
    first, *others = chain
    made.use_certificate(first)
    for certificate in others:
        made.add_extra_chain_cert(certificate)
    made.use_privatekey(key)  # type: ignore[arg-type]
    made.check_privatekey()
    return made


def _date(pairs: Pairs, name: str, certificate: x509.Certificate, notes: list[Fault], now: datetime) -> None:
    """An old certificate is still one: clients will complain, but under STARTTLS most other servers will not."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        notes.append(pairs.fault(f'"{name}" has expired on {end:%Y-%m-%d %H:%M} UTC'))
    elif now < begin:
        notes.append(pairs.fault(f'"{name}" is not valid before {begin:%Y-%m-%d %H:%M} UTC'))
