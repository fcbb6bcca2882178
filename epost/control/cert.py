"""
C{epost cert self}: a certificate that nobody else has signed, for a first try.

Programs will warn of it and other servers cannot verify it, yet mail to and from them is encrypted. Nothing is ever
overwritten; the key is its owner's alone.
"""

import argparse
import ipaddress
import os
import socket
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from epost.control.files import LEFT, createAmong, syncFolder, unmade
from epost.control.terminal import Failure, common, tell
from epost.mail.address import domainKey

CHAIN, KEY = "cert.pem", "key.pem"
DAYS = 825  # longer ones some programs refuse whoever has signed them


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of this group."""
    group = subparsers.add_parser("cert", help="certificates").add_subparsers(metavar="COMMAND", required=True)
    made = group.add_parser("self", help="make a self-signed pair for a first try", parents=[common()])
    made.add_argument("--name", action="append", help="a name or IP address of this server; may stand more than once")
    made.add_argument("--out", metavar="DIR", default=".", help=f"where {CHAIN} and {KEY} are made; else here")
    made.set_defaults(run=selfSigned)


def selfSigned(options: argparse.Namespace) -> int:
    """Make a pair, and say how it is used. @raise Failure: nothing was made."""
    names = options.name or [socket.getfqdn()]
    chain, key = pair(names, datetime.now(UTC))
    folder = Path(options.out)
    paths = {folder / KEY: (key, 0o600), folder / CHAIN: (chain, 0o644)}
    for path in paths:
        if os.path.lexists(path):
            raise Failure(f"{path} is there already; nothing was made", LEFT)
    try:
        with unmade() as undoings:
            if not folder.is_dir():
                undoings.append(partial(os.rmdir, folder))  # before it is made; nothing but an empty one is removed
                folder.mkdir()
                syncFolder(str(folder.parent))
            for path, (octets, mode) in paths.items():
                createAmong(undoings, str(path), octets, mode)
            syncFolder(str(folder))
    except KeyboardInterrupt:
        raise Failure("interrupted; nothing was made") from None
    except OSError as error:
        raise Failure(f"{error.filename or folder}: {error.strerror}; nothing was made") from error
    found = {"chain": str(folder.absolute() / CHAIN), "key": str(folder.absolute() / KEY), "names": names, "days": DAYS}
    words = [f"a certificate for {', '.join(names)}, good for {DAYS} days, and its key. Into the configuration:", ""]
    words += ["    [tls]", f'    certificates = [["{found["chain"]}", "{found["key"]}"]]', ""]
    words += ["The daemon's user must be able to read the key: chown it to that user."]
    tell(options, found, words)
    return 0


def pair(names: list[str], now: datetime) -> tuple[bytes, bytes]:
    """
    A certificate and its key, in PEM.

    @param names: host names, perhaps C{*.} in front, and IP addresses.
    @raise Failure: one of them is neither.
    """
    alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
    key = ec.generate_private_key(ec.SECP256R1())
    # RFC 5280 4.1.2.4, 4.2.1.6: the names stand in the extension; a common name is too short for some of them.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "epost self-signed")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(DAYS))
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    chain = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName("*." * text.startswith("*.") + domainKey(text.removeprefix("*.")))
    except ValueError:
        raise Failure(f'"{text}" is no host name and no IP address') from None
