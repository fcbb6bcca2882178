"""
C{epost doctor}: is all well with this server? Each line says ok, remark or wrong, and how to mend what is wrong.

It changes nothing and may be run beside a live server: it reads files, connects as any client does, asks the DNS. What
it looks at stands in the modules beside this one; here is the order, and the command.

    epost doctor [--config backend.toml] [--gateway gateway.toml] [--json]

Exit status: 0 nothing is wrong, 1 something is, 2 the command line is.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from epost import __version__, loading
from epost.config import readSettings
from epost.control.doctor import certificate, host, live, pair, relay, rules, wire
from epost.control.doctor.finding import Finding, Findings, State
from epost.control.doctor.names import Names, asker, look
from epost.control.doctor.pair import Half
from epost.control.terminal import CONFIGS, Failure, common, counted, tell
from epost.mail.fault import Fault
from epost.net.tls import Pairs
from epost.settings import Settings


def register(subparsers: Any) -> None:
    """Add the command to C{epost}."""
    words = "look whether all is well, and say how to mend what is not"
    parser = subparsers.add_parser("doctor", help=words, description=words, parents=[common()])
    parser.add_argument("--gateway", metavar="FILE", help="the gateway's; without it gateway.toml beside the other")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The command. @return: the exit status. @raise Failure: there is no configuration."""
    backend, gateway = configurations(options.config, options.gateway)
    found = examine(backend, gateway)
    counts = {state.value: sum(finding.state is state for finding in found) for state in State}
    lines = [str(finding) for finding in found]
    lines.append(f"{counts['ok']} ok, {counted(counts['remark'], 'remark')}, {counts['wrong']} wrong")
    tell(options, {"version": __version__, **counts, "findings": [finding.asDict() for finding in found]}, lines)
    return 1 if counts["wrong"] else 0


def configurations(backend: str | None, gateway: str | None) -> tuple[str | None, str | None]:
    """
    The files to look at; L{None}: this half is not here.

    @raise Failure: there is none.
    """
    if backend is None and gateway is None:
        named = os.environ.get("EPOST_CONFIG")
        places = [named] if named else list(CONFIGS)
        backend = next((one for one in places if _beside(one) or Path(one).exists()), places[0])
    if gateway is None and backend is not None:
        gateway = _beside(backend)
        if gateway and not Path(backend).exists():
            backend = None
    for file in filter(None, (backend, gateway)):
        if not Path(file).exists():
            raise Failure(f"{file} is not there: epost doctor --config FILE, or --gateway FILE on a gateway alone")
    return backend, gateway


def _beside(backend: str) -> str | None:
    """The gateway's configuration in the same folder."""
    path = Path(backend).parent / "gateway.toml"
    return str(path) if path.exists() else None


def examine(backend: str | None, gateway: str | None) -> list[Finding]:
    """Look at everything. It takes seconds, the more the less answers."""
    found: list[Finding] = []
    read = {kind: _read(file, kind, found) for kind, file in (("backend", backend), ("gateway", gateway)) if file}
    halves = {kind: Half(*one) for kind, one in read.items() if one[0] and one[1]}
    for settings, directory in read.values():
        if settings:
            found += onThisMachine(settings, directory)
    if gate := halves.get("gateway"):
        found += held(halves.get("backend"), gate)
    found += between(halves.get("backend"), halves.get("gateway"), bool(backend and gateway))
    if outer := outermost({kind: one[0] for kind, one in read.items()}):
        found += names(outer, domains(halves.values()))
    elif backend:
        missing = Findings("names", "backend")
        missing.remark("what strangers ask the DNS about is the gateway: run the doctor on its machine too")
        found += missing.all
    return found


def _read(file: str, kind: str, found: list[Finding]) -> tuple[Any, Any]:
    """Settings and tables of one half; L{None} for what no daemon could run on."""
    tables = Findings("tables", kind)
    faults, notes = loading.check(file, kind)
    for fault in faults:
        mend = f"expected {fault.expected}" if fault.expected else "mend the line"
        tables.wrong(f"{fault.file}:{fault.line}: {fault.why}", mend)
    for note in notes:
        if note.why == loading.UNRESTRICTING:  # allowed, but a full disk leaves this, and the next start would take it
            tables.wrong(f"{note.file}:{note.line}: {note.why}", f"what it held, from a backup; else {note.expected}")
            continue
        tables.remark(
            f"{note.file}:{note.line}: {note.why}", note.expected and f"{note.expected}, if it is not meant so"
        )
    if not faults:
        tables.ok(f"{file} and its tables have no faults")
    own: list[Fault] = []
    settings = readSettings(file, kind, own)
    if own:
        settings = None
        tables.remark("nothing else was looked at here: mend the configuration first")
    elif faults:
        tables.remark("what the rules decide was not looked at: mend the tables first")
    found += tables.all
    return settings, loading.load(file, kind)[1] if not faults else None


def onThisMachine(settings: Settings, directory: Any) -> list[Finding]:
    """Files, disk, clock, ports of one half; and whether it is an open relay."""
    accounts = list(directory.accounts) if directory else []
    found = [*wire.ports(settings), *host.folders(settings, accounts)]
    keys = [settings.path(key) for _, key in settings.tls.certificates]
    found += [*host.files(settings, keys), *host.disk(settings), *host.clock(settings), *secured(settings)]
    if directory:
        found += relay.decided(settings, directory)
        for door in filter(None, (door for _, door in wire.every(settings))):
            found += relay.probe(settings, directory, door)
    return found


def secured(settings: Settings) -> list[Finding]:
    """The certificates; a remark where there is none."""
    if settings.tls.certificates:
        pairs = Pairs(settings.file, settings.line("tls", "certificates"), settings.tls.certificates)
        return certificate.certificates(settings.kind, pairs, [settings.server.name])
    found = Findings("certificate", settings.kind)
    found.remark(
        f"there is none: mail comes in clear{', and nobody can log in' if settings.kind == 'backend' else ''}",
        f"epost cert self --name {settings.server.name}, for a first try; its lines go into {settings.file}",
    )
    return found.all


def held(backend: Half | None, gateway: Half) -> list[Finding]:
    """Whether who is to write inside only is held back at the gateway."""
    machines = pair.backendAddresses(backend, gateway) if backend else pair.addresses(domains([gateway]), gateway)
    return rules.rules(gateway.settings, gateway.directory, machines, backend.directory if backend else None)


def between(backend: Half | None, gateway: Half | None, both: bool) -> list[Finding]:
    """What the halves must agree about. @param both: whether both have configurations here."""
    if backend and gateway:
        return [*pair.pair(backend, gateway), *live.live(backend, gateway)]
    found = Findings("pair", "pair")
    if not both:
        found.remark(
            "one half is not here: whether the two agree was not looked at",
            "copy the other configuration and its tables into one folder: epost doctor --config … --gateway …",
        )
    return [*found.all, *live.live(backend, gateway)]


def outermost(read: dict[str, Settings | None]) -> Settings | None:
    """The half that strangers meet; L{None} where it is not here."""
    gateway, backend = read.get("gateway"), read.get("backend")
    return gateway or (backend if backend and backend.relay.gateway is None else None)


def domains(halves: Iterable[Half]) -> list[str]:
    """The domains that we take mail for, each once."""
    found: list[str] = []
    for half in halves:
        found += half.settings.domains.local
        relayed = (because.text.partition(",")[0].strip().lower() for _, because in half.directory.hops.hops)
        found += (domain for domain in relayed if "*" not in domain and half.directory.hops.relay(domain))
    return list(dict.fromkeys(found))


def names(settings: Settings, domains: list[str]) -> list[Finding]:
    """What the DNS says. It runs the reactor, once in a process."""
    found: list[Finding] = []

    async def ask(reactor: Any) -> None:
        found.extend(await look(Names(asker(settings, reactor)), domains, settings))

    try:
        react(lambda reactor: Deferred.fromCoroutine(ask(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return found
