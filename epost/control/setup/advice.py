"""
What is to be done after C{epost setup}: DNS records, commands, and what goes into a mail program.
"""

import os
from collections.abc import Iterable

from epost.control.cert import CHAIN, KEY
from epost.control.setup.plan import Plan
from epost.control.setup.texts import BACKEND, GATEWAY

FOR_GATEWAY = (GATEWAY, "effect.dat", "gateway.dat", CHAIN, KEY)


def records(plan: Plan) -> list[str]:
    """The DNS records to publish."""
    spf = "v=spf1 mx -all" if plan.smarthost is None else "v=spf1 mx include:NAME-THAT-YOUR-PROVIDER-TELLS -all"
    domain, name = f"{plan.domain}.", f"{plan.name}."
    width = max(len(domain), len(name), len("_dmarc.") + len(domain))
    return [
        f"{domain:{width}} MX    10 {name}",
        f"{name:{width}} A     OUTER-IPv4-ADDRESS-OF-THE-GATEWAY",
        f"{name:{width}} AAAA  OUTER-IPv6-ADDRESS, where gateway.toml listens on tcp6:{plan.port}",
        f'{domain:{width}} TXT   "{spf}"',
        f'{"_dmarc." + domain:{width}} TXT   "v=DMARC1; p=none; rua=mailto:{plan.account}"',
        f"and the PTR of each address is {name} (its owner, your provider, sets it)",
    ]


def commands(plan: Plan, units: bool, user: str = "") -> list[str]:
    """
    What to do next on this machine, which is the back-end's where there are two.

    @param user: who the files belong to, where it is not whoever runs the command.
    """
    halves = ("backend", "gateway") if plan.both else ("backend",)
    return [*_start(plan, halves, units, user), f"{_epost(plan)} doctor --config {plan.folder}/{BACKEND}"]


def elsewhere(plan: Plan, units: str | None, user: str = "") -> list[str]:
    """
    What to do next on the gateway's machine, where it is another.

    @param units: the folder of the units; L{None}: there are none.
    @param user: as for L{commands}.
    """
    if plan.both:
        return []
    files = f"{', '.join(FOR_GATEWAY)} go to {plan.folder}"
    if units:
        files += f", and {units}/epost-gateway.service to {units}"
    return [
        f"{files}, with their owners and rights",
        *_start(plan, ("gateway",), bool(units), user),
        f"{_epost(plan)} doctor --gateway {plan.folder}/{GATEWAY}",
    ]


def rights(plan: Plan, units: bool) -> list[str]:
    """What a user who is not root needs for ports that are root's."""
    low = sorted(number for number in {plan.port, plan.inner, plan.submission, plan.submissions} if number < 1024)
    if units or not os.geteuid() or not low:
        return []
    ports = ", ".join(map(str, low))
    return [f"ports {ports} need root, or the units (--systemd, as root); or take others (--port and so on)"]


def _start(plan: Plan, halves: Iterable[str], units: bool, user: str) -> list[str]:
    if units:
        names = " ".join(f"epost-{half}" for half in halves)
        return ["systemctl daemon-reload", f"systemctl enable --now {names}"]
    twistd = f"{plan.twistd} --uid {user}" if user else plan.twistd
    return [
        f"{twistd} --pidfile={plan.data}/{half}.pid --logfile={plan.data}/{half}.log"
        f" epost-{half} --config {plan.folder}/{half}.toml"
        for half in halves
    ]


def _epost(plan: Plan) -> str:
    return plan.twistd.removesuffix("twistd") + "epost"


def clients(plan: Plan) -> list[str]:
    """What goes into a mail program."""
    host = plan.backend or plan.name
    lines = [
        f"outgoing server {host}, port {plan.submissions}, SSL/TLS, normal password, user name {plan.account}",
        f"or port {plan.submission}, STARTTLS; it asks once whether to trust the certificate, which nobody has signed",
        f"no POP3 and no IMAP yet: what comes for {plan.account} stands in a Maildir below {plan.data}/backend/inbox",
    ]
    if plan.networks:
        lines.append(f"scanners in {', '.join(plan.networks)}: {host}, port {plan.inner}, no login")
    return lines
