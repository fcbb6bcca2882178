"""
The column Pass of accounts.dat: a password in clear, or what can prove one.

    pass1234
    {SCRYPT}ln=15,r=8,p=1$salt$hash {SCRAM-SHA-256}60000$salt$storedkey$serverkey
    {ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$salt$hash
    {CLEAR}pass1234          what stands behind it is the password, to its last letter

Several stand side by side, a blank between them. What would cost this machine too much to check is refused when it is
read, not when it runs. Octets are in base64. Pure functions: salts come from the system, nothing else does.

RFC 7914 (scrypt), RFC 9106 (argon2), RFC 5802 3 and RFC 7677 (SCRAM keys), RFC 4013 (SASLprep).
"""

import base64
import binascii
import hashlib
import hmac
import importlib
import os
import re
import stringprep
import unicodedata
from dataclasses import dataclass, field
from typing import Any

try:
    _argon2: Any = importlib.import_module("argon2.low_level")  # the extra "argon2"
except ImportError:
    _argon2 = None

LONGEST = 1024  # octets of a password; nobody types more, and each octet of it would be hashed

# A tenth of a second on one core of 2020, and 32 MiB.
SCRYPT = {"ln": 15, "r": 8, "p": 1}
# The least memory that the OWASP cheat sheet on password storage allows: many may log in at one time.
ARGON2 = {"m": 19456, "t": 2, "p": 1}
# RFC 7677 4 wants 4,096 or more. The client, which may be a telephone, calculates them at each login.
ITERATIONS = 60000

_MOST_SCRYPT = 1 << 20  # N * r * p: half a second; with r = 8 it is 128 MiB as well
_MOST_ARGON2 = 1 << 19  # m * t, KiB: half a second
_MOST_MEMORY = 1 << 17  # KiB
_MOST_ITERATIONS = 1_000_000
_LEAST_ITERATIONS = 4096

_SCHEME = re.compile(r"\{([A-Za-z0-9-]+)\}")
_SCRYPT = re.compile(r"ln=(\d{1,3}),r=(\d{1,6}),p=(\d{1,6})\$([^$]*)\$([^$]*)\Z")
_SCRAM = re.compile(r"(\d{1,12})\$([^$]*)\$([^$]*)\$([^$]*)\Z")
_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[A-Za-z0-9+/]{8,90}\$[A-Za-z0-9+/]{16,90}\Z"
)

_PROHIBITED = (  # RFC 4013 2.3
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class SchemeError(ValueError):
    """
    A password, or a column Pass, that cannot be used. The text says why and never repeats any of it.

    @ivar expected: what would be right.
    """

    def __init__(self, why: str, expected: str) -> None:
        super().__init__(why)
        self.expected = expected


def prepared(text: str) -> str:
    """
    SASLprep: one form for what looks the same.

    Code points that Unicode 3.2 does not know are let through in passwords that are stored, too (2.5 forbids it there):
    Unicode 3.2 is of 2002, and people have them on their keyboards.

    @raise SchemeError: it is empty or has characters that nobody can type, or mixes directions.
    """
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))  # 2.1
    done = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)  # 2.2
    if not done or any(prohibited(c) for c in done for prohibited in _PROHIBITED):
        raise SchemeError("control characters in it, or nothing", "characters that can be typed")
    if any(map(stringprep.in_table_d1, done)) and (  # RFC 3454 6
        any(map(stringprep.in_table_d2, done))
        or not (stringprep.in_table_d1(done[0]) and stringprep.in_table_d1(done[-1]))
    ):
        raise SchemeError("letters written from the left and from the right", "one direction of writing")
    return done


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What proves a password in SCRAM (RFC 5802 3). All but C{iterations} octets."""

    iterations: int
    salt: bytes
    stored: bytes = field(repr=False)
    server: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """Whether a password, prepared, is the one."""
        return hmac.compare_digest(scramKeys(password, self.salt, self.iterations).stored, self.stored)

    def __str__(self) -> str:
        """As it stands in the column."""
        return f"{{SCRAM-SHA-256}}{self.iterations}${_b64(self.salt)}${_b64(self.stored)}${_b64(self.server)}"


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A hash of scrypt. @ivar ln: log2 of N."""

    ln: int
    r: int
    p: int
    salt: bytes
    hash: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """Whether a password, prepared, is the one."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.ln, self.r, self.p, len(self.hash)), self.hash)

    def __str__(self) -> str:
        """As it stands in the column."""
        return f"{{SCRYPT}}ln={self.ln},r={self.r},p={self.p}${_b64(self.salt)}${_b64(self.hash)}"


@dataclass(frozen=True, slots=True)
class Argon2:
    """A hash of argon2id. @ivar text: as the library writes it."""

    text: str = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """Whether a password, prepared, is the one."""
        try:
            return bool(_argon2.verify_secret(self.text.encode(), password, _argon2.Type.ID))
        except Exception as error:
            if type(error).__name__ == "VerifyMismatchError":
                return False
            raise SchemeError(f"argon2: {error}", "a hash that the library can read") from error

    def __str__(self) -> str:
        """As it stands in the column."""
        return f"{{ARGON2ID}}{self.text}"


@dataclass(frozen=True, slots=True)
class Secret:
    """
    A column Pass that was read.

    @ivar clear: the password; L{None} where it cannot be had back.
    @ivar hash: the slow hash; L{None} where there is none.
    @ivar scram: the keys of SCRAM; L{None} where there are none.
    """

    clear: str | None = field(default=None, repr=False)
    hash: Scrypt | Argon2 | None = None
    scram: ScramKeys | None = None

    def verify(self, password: bytes) -> bool:
        """
        Whether a password, as it was sent, is the one. May take a part of a second.

        What another program has hashed may not have been prepared: it is tried as it is, too.

        @raise SchemeError: the library refuses the hash.
        """
        tries = dict.fromkeys((octets(_text(password)), password))  # of ASCII they are one
        if self.hash is not None:
            return any(map(self.hash.verify, tries))
        if self.clear is not None:
            return hmac.compare_digest(octets(self.clear), octets(_text(password)))
        return self.scram is not None and any(map(self.scram.verify, tries))


def form(text: str) -> str:
    """
    A name or a password in the form in which two are compared that look the same: prepared where that can be done, and
    composed (NFC, as RFC 8265 wants it) where not.
    """
    if text.isascii():
        return text
    try:
        return prepared(text)
    except SchemeError:
        return unicodedata.normalize("NFC", text)


def octets(password: str) -> bytes:
    """A password as it is compared and hashed; see L{form}."""
    return form(password).encode("utf-8", "surrogateescape")


def spellings(password: str) -> tuple[bytes, ...]:
    """What a client that prepares nothing may have for a password: as it is, composed, decomposed, prepared."""
    composed, decomposed = unicodedata.normalize("NFC", password), unicodedata.normalize("NFD", password)
    texts = dict.fromkeys((password, composed, decomposed, form(password)))
    return tuple(text.encode("utf-8", "surrogateescape") for text in texts)


def _text(octets: bytes) -> str:
    """A password that was sent."""
    return octets.decode("utf-8", "surrogateescape")


def read(column: str) -> Secret:
    """
    Read a column Pass.

    @raise SchemeError: a scheme that nobody knows, one that is not installed, or a cost that nobody should pay.
    """
    if not _SCHEME.match(column):
        if not column:
            raise SchemeError("there is no password", "a password, or {SCHEME}value")
        return Secret(clear=column)
    found: dict[str, Any] = {}
    rest = column
    while rest:
        scheme = _SCHEME.match(rest)
        if scheme is None:
            raise SchemeError("a value without its scheme", "{SCHEME}value, one blank between two of them")
        name, rest = scheme[1].upper(), rest[scheme.end() :]
        if name == "CLEAR":
            value, rest = rest, ""
        else:
            value, _, rest = rest.partition(" ")
        if name not in _READERS:
            raise SchemeError("the scheme is unknown", "one of " + ", ".join(f"{{{known}}}" for known in _READERS))
        kind, reader = _READERS[name]
        if kind in found:
            raise SchemeError(f"{name} and another of its kind", "one hash, one set of keys")
        found[kind] = reader(value)
    return Secret(**found)


def made(password: str, scram: bool = True, recoverable: bool = False) -> str:
    """
    The column Pass for a new password. Takes a part of a second.

    @param scram: whether SCRAM is to work. Whoever steals the table can try passwords at them faster than at the hash.
    @param recoverable: whether it must be possible to have it back, as CRAM-MD5 needs it: it then stands in clear.
    @raise SchemeError: it is empty, too long, or nobody could type it; nothing that can stand in a column.
    """
    secret = prepared(password).encode()
    if len(secret) > LONGEST:
        raise SchemeError(f"{len(secret)} octets", f"{LONGEST} at most")
    if recoverable:
        if password.strip() != password:  # what would end a line or a column is not let through by SASLprep
            raise SchemeError("blanks at its ends", "none, since it is to stand in a column")
        return f"{{CLEAR}}{password}"
    hashed = _hash(secret)
    keys = [scramKeys(secret, os.urandom(16), ITERATIONS)] if scram else []
    return " ".join(map(str, (hashed, *keys)))


def _hash(secret: bytes) -> Scrypt | Argon2:
    """The slow hash that this machine makes."""
    if _argon2 is not None:
        made = _argon2.hash_secret(secret, os.urandom(16), ARGON2["t"], ARGON2["m"], ARGON2["p"], 32, _argon2.Type.ID)
        return Argon2(made.decode())
    salt = os.urandom(16)
    return Scrypt(**SCRYPT, salt=salt, hash=_scrypt(secret, salt, **SCRYPT, length=32))


def dummy() -> Secret:
    """What nobody's password is, and what takes as long to find that out as with a hash that is made here."""
    hash: Scrypt | Argon2 = Scrypt(**SCRYPT, salt=os.urandom(16), hash=os.urandom(32))
    if _argon2 is not None:
        salt, end = (_b64(os.urandom(octets)).rstrip("=") for octets in (16, 32))
        hash = Argon2(f"$argon2id$v=19$m={ARGON2['m']},t={ARGON2['t']},p={ARGON2['p']}${salt}${end}")
    return Secret(hash=hash, scram=ScramKeys(ITERATIONS, os.urandom(16), os.urandom(32), os.urandom(32)))


def scramKeys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """The keys of a password, prepared (RFC 5802 3). Takes a part of a second."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return ScramKeys(iterations, salt, hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(
        password, salt=salt, n=1 << ln, r=r, p=p, maxmem=132 * r * ((1 << ln) + p) + 65536, dklen=length
    )


def _readScrypt(value: str) -> Scrypt:
    form = "{SCRYPT}ln=15,r=8,p=1$salt$hash"
    found = _SCRYPT.match(value)
    if found is None:
        raise SchemeError("scrypt in another form", form)
    ln, r, p = (int(number) for number in found.groups()[:3])
    if not (1 <= ln <= 20 and r and p and r * p << ln <= _MOST_SCRYPT and ln < 16 * r):  # the last: RFC 7914 2
        limits = f"2^ln times r times p at most {_MOST_SCRYPT}, ln less than 16 times r"
        raise SchemeError(f"scrypt at ln={ln},r={r},p={p}", limits)
    return Scrypt(ln, r, p, _octets(found[4], 8, form), _octets(found[5], 16, form))


def _readArgon2(value: str) -> Argon2:
    found = _ARGON2.match(value)
    if found is None:
        raise SchemeError("argon2 in another form", "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$salt$hash")
    m, t, p = map(int, found.groups())
    if not (8 * p <= m <= _MOST_MEMORY and t and m * t <= _MOST_ARGON2 and 1 <= p <= 16):
        limits = f"m at most {_MOST_MEMORY}, m times t at most {_MOST_ARGON2}, p at most 16"
        raise SchemeError(f"argon2id at m={m},t={t},p={p}", limits)
    if _argon2 is None:
        raise SchemeError("argon2id, and argon2-cffi is not installed", "epost[argon2] installed, or {SCRYPT}")
    return Argon2(value)


def _readScram(value: str) -> ScramKeys:
    form = "{SCRAM-SHA-256}60000$salt$storedkey$serverkey"
    found = _SCRAM.match(value)
    if found is None:
        raise SchemeError("SCRAM keys in another form", form)
    iterations = int(found[1])
    if not _LEAST_ITERATIONS <= iterations <= _MOST_ITERATIONS:
        raise SchemeError(f"SCRAM keys of {iterations} iterations", f"{_LEAST_ITERATIONS} to {_MOST_ITERATIONS}")
    stored, server = (_octets(part, 32, form) for part in found.groups()[2:])
    if not len(stored) == len(server) == 32:
        raise SchemeError("SCRAM keys of another length", form)
    return ScramKeys(iterations, _octets(found[2], 4, form), stored, server)


def _readClear(value: str) -> str:
    if not value:
        raise SchemeError("there is no password", "{CLEAR}password")
    return value


_READERS: dict[str, tuple[str, Any]] = {
    "ARGON2ID": ("hash", _readArgon2),
    "SCRYPT": ("hash", _readScrypt),
    "SCRAM-SHA-256": ("scram", _readScram),
    "CLEAR": ("clear", _readClear),
}


def _octets(text: str, least: int, form: str) -> bytes:
    """Base64, its padding perhaps missing, of C{least} to 128 octets."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise SchemeError("no base64", form) from None
    if not least <= len(found) <= 128:
        raise SchemeError(f"{len(found)} octets in base64", form)
    return found


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
