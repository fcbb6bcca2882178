"""
Whether the two halves agree: mail from outside finds the back-end, mail from the back-end passes the gateway.

The decisions are asked from the functions that the daemons use, with the tables as they stand on the disk.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from epost.admission import Admission
from epost.control.doctor.finding import Finding, Findings
from epost.control.doctor.relay import FOREIGN, OUTSIDE, STRANGERS, decide
from epost.control.doctor.wire import doors
from epost.mail.address import parseAddress
from epost.mail.decision import Client
from epost.mail.route import Held, Hop
from epost.matrix import decideSender, writers
from epost.settings import Settings
from epost.tables.directory import Directory

NAMED = 3  # lists in one line
NOBODY = "nobody-has-this-name"


@dataclass(frozen=True, slots=True)
class Half:
    """A daemon's configuration without faults. @ivar settings: its settings. @ivar directory: its tables."""

    settings: Settings
    directory: Directory


def pair(backend: Half, gateway: Half) -> list[Finding]:
    """All that two configurations tell about each other."""
    found = [*inward(backend, gateway), *outward(backend, gateway), *trust(backend)]
    return [*found, *tags(backend, gateway), *sizes(backend, gateway)]


def inward(backend: Half, gateway: Half) -> list[Finding]:
    """From the outside: gateway.dat leads each local domain to the back-end, and both take what comes."""
    found = Findings("pair", "pair")
    table = gateway.settings.tables.gateway or "gateway.dat"
    ports = ", ".join(backend.settings.server.listen)
    for domain in backend.settings.domains.local:
        destination = gateway.directory.hops.find(domain)
        line = f"in {table} a line: {domain}, {_host(backend, gateway)}"
        if destination is None:
            found.wrong(f"{table} does not say where mail for {domain} goes", line)
        elif isinstance(destination.route, Held):
            found.remark(f"mail for {domain} is held at the gateway, by {destination.because}", line)
        elif not destination.relays:
            found.wrong(f"{domain} is no relay domain: {destination.because} is too wide and only routes", line)
        elif not any(door.is_(hop) for hop in destination.route.hops for door in doors(backend.settings)):
            found.wrong(f"{destination.because} does not lead to the back-end, which listens on {ports}", line)
        else:
            _taken(found, backend, gateway, domain)
    return found.all


def _host(backend: Half, gateway: Half) -> str:
    """Where the gateway can reach the back-end, as a line of gateway.dat has it."""
    door = doors(backend.settings)[0].hop if doors(backend.settings) else Hop("ADDRESS")
    loopback = backend.settings.relay.gateway and isLoopback(backend.settings.relay.gateway.host)
    return f"{door.host if loopback else 'ADDRESS OF THE BACK-END'}, {door.port}"


def _taken(found: Findings, backend: Half, gateway: Half, domain: str) -> None:
    """Whether both take a stranger's mail for one domain."""
    account = next((a.address for a in backend.directory.accounts if a.address.domain == domain), None)
    somebody = account or parseAddress(f"postmaster@{domain}")
    stranger = Client(STRANGERS[0])
    machines = sorted(gatewayAddresses(backend)) or [STRANGERS[0]]
    for half, client in ((gateway, stranger), *((backend, Client(machine)) for machine in machines)):
        decision = decide(half.directory, client, FOREIGN, somebody)
        if not decision.accepts:
            found.wrong(
                f"the {half.settings.kind} refuses mail from outside for {somebody}, by {decision.because}",
                "mend that line, or the account",
            )
            return
    found.ok(f"mail from outside for {domain} goes through the gateway to the back-end")


def outward(backend: Half, gateway: Half) -> list[Finding]:
    """To the outside: the back-end hands over to the gateway, whose rules let the machine through."""
    found = Findings("pair", "pair")
    hop = backend.settings.relay.gateway
    listen = ", ".join(gateway.settings.server.listen)
    if hop is None:
        found.wrong(
            "the back-end has no [relay] gateway: its mail for outside meets none of the gateway's rules",
            f'in {backend.settings.file}, [relay]: gateway = "HOST:PORT" of the gateway, which listens on {listen}',
        )
        return found.all
    if not any(door.is_(hop) for door in doors(gateway.settings)):
        found.wrong(
            f"[relay] gateway of the back-end leads to {hop}, and the gateway listens on {listen}",
            "let it lead to where the gateway listens",
        )
        return found.all
    machines = backendAddresses(backend, gateway)
    if not machines:
        found.remark("whether the back-end's machine may send to the outside: its address stands in no table")
    for machine in sorted(machines):
        _letThrough(found, backend, gateway, machine)
    return found.all


def _letThrough(found: Findings, backend: Half, gateway: Half, machine: str) -> None:
    """What the gateway decides about mail that the back-end's machine hands over."""
    effect = gateway.settings.tables.effect or "effect.dat"
    senders = [account.address for account in backend.directory.accounts]
    senders = senders or [parseAddress(f"{NOBODY}@{domain}") for domain in backend.settings.domains.local]
    decisions = [decide(gateway.directory, Client(machine), sender, OUTSIDE) for sender in senders]
    let = sum(decision.accepts for decision in decisions)
    if not let:
        found.wrong(
            f"the gateway lets nobody write outside through the back-end at {machine}, by {decisions[0].because}",
            f"in {effect}, behind the lines for those who may not: {machine} true",
        )
    else:
        found.ok(f"the gateway lets {let} of {len(senders)} accounts write outside through the back-end at {machine}")
    notice = decide(gateway.directory, Client(machine), None, OUTSIDE)
    if not notice.accepts:
        found.wrong(
            f"the gateway refuses the back-end's notices to senders outside, by {notice.because}",
            f"in {effect}, at its beginning: #<> default",
        )


def trust(backend: Half) -> list[Finding]:
    """What strangers write reaches the back-end from the gateway's address: a sender of ours is not believed there."""
    found = Findings("pair", "pair")
    directory, file, relay = backend.directory, backend.settings.file, backend.settings.relay
    if relay.gateway is not None and not _isAddress(relay.gateway.host) and not relay.gateways:
        found.remark(
            f"whether the back-end believes senders that {relay.gateway.host} hands over: its address stands nowhere",
            f'in {file}, [relay]: gateways = ["ADDRESS OF {relay.gateway.host}"]',
        )
    for machine in sorted(gatewayAddresses(backend)):
        line = f'in {file}, [relay]: gateways = ["{machine}"]; programs there then send through the gateway, or log in'
        because = _believed(directory, machine)
        if because:
            found.wrong(
                f"the back-end believes whatever sender the gateway at {machine} hands over, by {because}: "
                f"strangers write{_toLists(directory)}, and get automatic replies, in the name of whom they like",
                line,
            )
        elif not Admission(lambda: directory).exempt(Client(machine)):
            found.wrong(
                f"the back-end does not know the gateway at {machine}: a message at the limits that the gateway took "
                "is refused, and returned to senders outside, whom anybody can forge",
                line,
            )
        else:
            found.ok(f"the back-end knows the gateway at {machine}, and believes no sender that it hands over")
    return found.all


def _believed(directory: Directory, machine: str) -> str:
    """By what a sender of ours is believed who comes from a machine without login; empty: he is not."""
    if directory.believes(machine):
        return "[relay] networks"
    client = Client(machine)
    for account in directory.accounts:
        sender = decideSender(directory, client, account.address)
        if sender.accepts and writers(directory, client, account.address, sender):
            return str(sender.because)
    return ""


def _toLists(directory: Directory) -> str:
    """The lists that take mail of some senders alone, as the end of "writes"."""
    names = [str(one.address) for one in directory.lists if directory.posters[one.address.key] is not None]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f" to {', '.join(names[:NAMED])}{more}" if names else ""


def tags(backend: Half, gateway: Half) -> list[Finding]:
    """Where a sender may have a tag, a line about him holds for it: on the gateway too, which reads effect.dat."""
    found = Findings("pair", "pair")
    ours, theirs = backend.settings.domains.separator, gateway.settings.domains.separator
    if ours and theirs != ours:
        effect = gateway.settings.tables.effect or "effect.dat"
        domain = backend.settings.domains.local[0]
        found.wrong(
            f"to the back-end NAME{ours}TAG@{domain} is NAME@{domain}, to the gateway it is another: "
            f"with a tag a sender goes round the lines of {effect} about him",
            f'in {gateway.settings.file}, [domains]: separator = "{ours}"',
        )
    elif ours:
        found.ok(f"to both {ours} divides a name from a tag")
    return found.all


def sizes(backend: Half, gateway: Half) -> list[Finding]:
    """What one takes the other takes, and neither is taken for the other."""
    found = Findings("pair", "pair")
    ours, theirs = backend.settings.limits.message_octets, gateway.settings.limits.message_octets
    if theirs < ours:
        found.wrong(
            f"the back-end takes messages of {ours:,} octets, the gateway of {theirs:,}: what lies between is returned",
            f"in {gateway.settings.file}, [limits]: message_octets = {ours}",
        )
    elif theirs > ours:
        found.remark(
            f"the gateway takes messages of {theirs:,} octets, the back-end of {ours:,}: what lies between is returned "
            "to senders outside, whom anybody can forge",
            f"in {gateway.settings.file}, [limits]: message_octets = {ours}",
        )
    else:
        found.ok(f"both take messages of {ours:,} octets")
    if backend.settings.folder.resolve() == gateway.settings.folder.resolve():
        found.wrong(f"both have the work folder {backend.settings.folder}", "another [server] folder for each")
    if backend.settings.server.name == gateway.settings.server.name:
        found.wrong(
            f"both are called {backend.settings.server.name}: they would give the same Message-Id to two messages",
            "another [server] name for each",
        )
    if not gateway.settings.relay.verify:
        found.remark(
            "[relay] verify is off: mail for users who are not there is accepted and returned to forged senders",
            f"in {gateway.settings.file}, [relay]: verify = true",
        )
    return found.all


def isLoopback(host: str) -> bool:
    """Whether a host is this machine."""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _isAddress(host: str) -> bool:
    return re.fullmatch(r"[\d.]+|.*:.*", host) is not None


def backendAddresses(backend: Half, gateway: Half) -> set[str]:
    """From which addresses the back-end comes to the gateway, as far as the configurations tell."""
    hop = backend.settings.relay.gateway
    if hop is not None and isLoopback(hop.host):
        return {"::1" if hop.host == "::1" else "127.0.0.1"}
    return addresses(backend.settings.domains.local, gateway)


def addresses(domains: Iterable[str], gateway: Half) -> set[str]:
    """The hosts to which gateway.dat leads some domains, as far as it names them by address."""
    return {hop.host for hop in _hops(domains, gateway) if _isAddress(hop.host)}


def gatewayAddresses(backend: Half) -> set[str]:
    """From which address the gateway comes to the back-end, where the configuration tells."""
    hop = backend.settings.relay.gateway
    return {hop.host} if hop is not None and _isAddress(hop.host) else set()


def _hops(domains: Iterable[str], gateway: Half) -> list[Hop]:
    """The hosts to which gateway.dat leads some domains."""
    found = [gateway.directory.hops.find(domain) for domain in domains]
    return [hop for one in found if one is not None and not isinstance(one.route, Held) for hop in one.route.hops]
