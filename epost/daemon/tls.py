"""Whose certificates: ours, which [tls] names, and those of others that [relay] tls_roots makes good."""

from OpenSSL import SSL

from epost.mail.fault import Fault
from epost.net.security import Trust
from epost.net.tls import Pairs, read, reason
from epost.settings import Settings


def certificates(settings: Settings) -> Pairs | None:
    """What [tls] names; L{None} where it names nothing."""
    pairs = settings.tls.certificates
    return Pairs(settings.file, settings.line("tls", "certificates"), pairs) if pairs else None


def trust(settings: Settings, faults: list[Fault]) -> Trust:
    """Whose certificates are good. @param faults: gets what is wrong with the file of [relay] tls_roots."""
    roots = settings.relay.tls_roots
    if roots is None:
        return Trust()
    trusted = Trust(str(settings.path(roots)))
    try:
        trusted.context()
    except SSL.Error as error:
        why = f'[relay] tls_roots = "{roots}" cannot be read: {reason(error)}'
        faults.append(Fault(settings.file, settings.line("relay", "tls_roots"), why, "certificates in PEM"))
    return trusted


def checkTls(settings: Settings, faults: list[Fault], notes: list[Fault], now: float) -> None:
    """What is wrong with what settings name for TLS. @param now: seconds since 1970."""
    pairs = certificates(settings)
    if pairs is not None:
        read(pairs, faults, notes, now)
    trust(settings, faults)
