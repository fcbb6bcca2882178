"""
The SASL mechanisms, without I/O: what the server says, what it reads, and what the client offers as proof.

A mechanism is a generator. It yields octets, the next challenge, and is sent the response; or it yields a proof, and
is resumed when that holds; it ends when the client is to be told so. Where a proof does not hold it is not resumed. It
reads like the dialogue in its RFC, and a test drives it with C{send} alone.

RFC 4616 (PLAIN), draft-murchison-sasl-login-00 (LOGIN), RFC 2195 (CRAM-MD5), RFC 5802 and RFC 7677 (SCRAM-SHA-256),
RFC 5929 and RFC 9266 (channel bindings).
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from epost.login import schemes
from epost.login.schemes import ScramKeys

LONGEST = 12288  # octets of a response in base64 (RFC 4954 4)
BINDINGS = ("tls-exporter", "tls-server-end-point")  # names of channel bindings, the better first
MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5")

Binding = Callable[[str], bytes | None]  # the octets of a channel binding, by its name

_GS2 = re.compile(r"((?:([ny])|p=([A-Za-z0-9.-]+)),(?:a=([^,]*))?,)(.*)\Z", re.DOTALL)
_BARE = re.compile(r"n=([^,]+),r=([!-+\--~]+)(?:,[A-Za-z]=[^,]+)*\Z")  # m=, a mandatory extension, is none of ours
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,[A-Za-z]=[^,]+)*),p=([A-Za-z0-9+/=]+)\Z")


class Malformed(Exception):
    """
    A response that is none in this mechanism. Its text says why, without anything that the client wrote.

    @ivar name: as the client gave it before; empty: it gave none.
    """

    name = ""


class Denied(Exception):
    """
    A response that proves nothing whatever the password is. Its text says why.

    @ivar name: as the client gave it.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class Unbound(Exception):
    """A channel binding that the connection does not have: nothing was tried yet. Another mechanism may do."""


@dataclass(slots=True)
class Password:
    """
    A password in clear.

    @ivar name: as the client gave it.
    @ivar octets: the password, as it was sent.
    """

    name: str
    octets: bytes = field(repr=False)


@dataclass(slots=True)
class CramProof:
    """The answer to a CRAM-MD5 challenge. @ivar digest: in hexadecimal."""

    name: str
    challenge: bytes
    digest: bytes

    def holds(self, password: str) -> bool:
        """Whether it was made with a password, which the client may have composed or decomposed."""
        made = (hmac.new(key, self.challenge, "md5").hexdigest() for key in schemes.spellings(password))
        return any(hmac.compare_digest(digest.encode(), self.digest) for digest in made)


@dataclass(slots=True)
class ScramProof:
    """
    The answer to a SCRAM challenge.

    @ivar said: AuthMessage (RFC 5802 3).
    @ivar proof: ClientProof.
    @ivar signature: ServerSignature, as soon as the proof has held.
    """

    name: str
    said: bytes
    proof: bytes = field(repr=False)
    signature: bytes = b""

    def holds(self, keys: ScramKeys) -> bool:
        """Whether it was made with the password of these keys."""
        mask = hmac.digest(keys.stored, self.said, "sha256")
        client = bytes(a ^ b for a, b in zip(self.proof, mask, strict=True))
        self.signature = hmac.digest(keys.server, self.said, "sha256")
        return hmac.compare_digest(hashlib.sha256(client).digest(), keys.stored)


Proof = Password | CramProof | ScramProof
Talk = Generator[bytes | Proof, bytes, None]


def plain(first: bytes | None) -> Talk:
    """RFC 4616. @param first: the initial response; L{None}: there was none."""
    given = (yield b"") if first is None else first
    parts = given.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise Malformed("no PLAIN message")
    actor, name = _text(parts[0]), _text(parts[1])
    if actor and actor != name:
        raise Denied(name, "to act for another account is not offered")
    yield _password(name, parts[2])


def login(first: bytes | None) -> Talk:
    """LOGIN, for Outlook, which knows these two prompts alone."""
    name = first or (yield b"Username:")
    password = yield b"Password:"
    if not name:
        raise Malformed("no user name")
    yield _password(_text(name), password)


def cram(first: bytes | None, host: str, unique: Callable[[], bytes] = lambda: os.urandom(16)) -> Talk:
    """RFC 2195. @param host: our name."""
    if first is not None:
        raise Malformed("an initial response, and the server is first")
    challenge = f"<{unique().hex()}.{int(time.time())}@{host}>".encode()
    name, _, digest = (yield challenge).rpartition(b" ")
    if not name or not re.fullmatch(rb"[0-9a-f]{32}", digest):
        raise Malformed("no CRAM-MD5 response")
    yield CramProof(_text(name), challenge, digest)


def scram(
    first: bytes | None,
    salt: Callable[[str], tuple[bytes, int]],
    binding: Binding | None,
    plus: bool,
    unique: Callable[[], bytes] = lambda: os.urandom(18),
) -> Talk:
    """
    RFC 5802 with SHA-256.

    @param salt: salt and iterations for a name, also for one that does not exist.
    @param binding: the connection's channel bindings; L{None}: the -PLUS form was not offered.
    @param plus: whether the -PLUS form was chosen.
    """
    opened = _GS2.match(_text((yield b"") if first is None else first))
    bare = _BARE.match(opened[5]) if opened else None
    if opened is None or bare is None:
        raise Malformed("no SCRAM message")
    name = _saslname(bare[1])
    with _by(name):
        if bool(opened[3]) != plus:
            raise Malformed("channel binding and mechanism do not fit")
        bound = b""
        if plus:
            bound = (binding and opened[3] in BINDINGS and binding(opened[3])) or b""
            if not bound:
                raise Unbound  # RFC 5802 6: it must fail, and by its kind alone; gsasl knows tls-unique before TLS 1.3
        elif opened[2] == "y" and binding is not None:
            # The client did not see the -PLUS that we offered: somebody between us took it away (RFC 5802 6).
            raise Denied(name, "the list of mechanisms was changed on its way")
        if opened[4] and _saslname(opened[4]) != name:
            raise Denied(name, "to act for another account is not offered")

        nonce = bare[2] + base64.b64encode(unique()).decode()
        salted, iterations = salt(name)
        challenge = f"r={nonce},s={base64.b64encode(salted).decode()},i={iterations}"
        final = _FINAL.match(_text((yield challenge.encode())))
        if final is None:
            raise Malformed("no SCRAM message")
        if final[3] != nonce:
            raise Malformed("another nonce")
        if _base64(final[2]) != opened[1].encode() + bound:
            raise Denied(name, "another channel binding: somebody may stand between")
        proof = ScramProof(name, f"{opened[5]},{challenge},{final[1]}".encode(), _base64(final[4]))
        if len(proof.proof) != 32:
            raise Malformed("no SCRAM message")
        yield proof
        # SMTP, POP3 and IMAP have no room for this beside their "logged in" (RFC 4954 4): it is a challenge of its own.
        if (yield b"v=" + base64.b64encode(proof.signature)):
            raise Malformed("a response where none belongs")


@contextmanager
def _by(name: str) -> Iterator[None]:
    """What is malformed from here on is somebody's."""
    try:
        yield
    except Malformed as malformed:
        malformed.name = name
        raise


def _text(given: bytes) -> str:
    """A response, or a part of one, as text."""
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise Malformed("no UTF-8") from None


def _password(name: str, password: bytes) -> Password:
    if len(password) > schemes.LONGEST:
        raise Denied(name, "the password is too long")
    return Password(name, password)


def _saslname(text: str) -> str:
    """A name with its , and = in place again (RFC 5802 5.1)."""
    if re.search("=(?!2C|3D)", text):
        raise Malformed("no SCRAM name")
    return text.replace("=2C", ",").replace("=3D", "=")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Malformed("no base64") from None
