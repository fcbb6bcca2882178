"""
What C{epost doctor} says of certificates: what the daemon itself would refuse or remark, and what others will say.

Whether the names are ours, how long they last, and whether a stranger could follow the chain to an authority that this
machine knows. RFC 5280 6, RFC 9525 (names).
"""

import ssl
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from epost.control.doctor.finding import Finding, Findings
from epost.mail.fault import Fault
from epost.net import tls

SOON = 14  # days before its end; who renews by ACME has renewed by then


def authorities() -> list[x509.Certificate]:
    """Those that this machine trusts."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    found = []
    with warnings.catch_warnings(action="ignore"):  # each old root that is not quite by the book is told on stderr
        for octets in known:
            with suppress(ValueError):  # and some are not DER
                found.append(x509.load_der_x509_certificate(octets))
    return found


def certificates(
    half: str,
    pairs: tls.Pairs,
    wanted: Iterable[str],
    trusted: Callable[[], Sequence[x509.Certificate]] = authorities,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """
    All pairs of a daemon.

    @param wanted: the names that clients will ask for.
    @param trusted: gives the authorities.
    """
    found = Findings("certificate", half)
    faults: list[Fault] = []
    tls.read(pairs, faults, [], now())
    for fault in faults:
        found.wrong(f"{fault.file}:{fault.line}: {fault.why}", fault.expected)
    if faults:
        return found.all
    chains = [(name, x509.load_pem_x509_certificates(pairs.path(name).read_bytes())) for name, _ in pairs.names]
    for name, chain in chains:
        _days(found, name, chain[0], datetime.fromtimestamp(now(), UTC))
        _trust(found, name, chain, trusted, datetime.fromtimestamp(now(), UTC))
    held = {one for _, chain in chains for one in tls.names(chain[0])}
    for host in dict.fromkeys(wanted):
        if host in held or "*." + host.partition(".")[2] in held:
            found.ok(f"a certificate is for {host}")
        else:
            has = ", ".join(sorted(held)) or "no name"
            found.wrong(f"no certificate is for {host}, but for {has}", f"get one that names {host}")
    return found.all


def _days(found: Findings, name: str, leaf: x509.Certificate, now: datetime) -> None:
    """Its time."""
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        found.wrong(f"{name} has expired on {end:%Y-%m-%d}", "renew it; the daemon reads it by itself")
    elif now < begin:
        found.wrong(f"{name} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "wait, or set the clock")
    elif (end - now).days < SOON:
        found.remark(f"{name} expires on {end:%Y-%m-%d}", "renew it; the daemon reads it by itself")
    else:
        found.ok(f"{name} is valid until {end:%Y-%m-%d}, and its key fits")


def _trust(
    found: Findings,
    name: str,
    chain: Sequence[x509.Certificate],
    trusted: Callable[[], Sequence[x509.Certificate]],
    now: datetime,
) -> None:
    """Whether a stranger can follow the chain."""
    leaf, *others = chain
    if leaf.issuer == leaf.subject:
        found.remark(f"{name} is signed by itself: other servers take it, programs like Thunderbird ask their user")
        return
    hosts = tls.names(leaf)
    known = trusted()
    if not known or not hosts or not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        return  # told elsewhere, or nobody to ask
    host = hosts[0].replace("*", "x", 1)
    verifier = PolicyBuilder().store(Store(list(known))).time(now).build_server_verifier(x509.DNSName(host))
    try:
        verifier.verify(leaf, others)
    except VerificationError as error:
        mend = "put the certificates of who signed it behind it, in the same file (fullchain.pem)"
        found.wrong(f"no authority that this machine knows is found from {name}: {error}", mend)
    else:
        found.ok(f"{name} is signed by an authority that this machine knows")
