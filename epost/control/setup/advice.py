"""
What is to be done after C{epost setup}: DNS records, commands, and what goes into a mail program.
"""

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


def commands(plan: Plan, units: bool) -> list[str]:
    """What to do next."""
    start = [
        f"{plan.twistd} --pidfile={plan.data}/{half}.pid --logfile={plan.data}/{half}.log"
        f" epost-{half} --config {plan.folder}/{half}.toml"
        for half in ("backend", "gateway")
    ]
    if units:
        start = ["systemctl daemon-reload", "systemctl enable --now epost-backend epost-gateway"]
    epost = plan.twistd.removesuffix("twistd") + "epost"
    return [*start, f"{epost} doctor --config {plan.folder}/{BACKEND}"]


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
