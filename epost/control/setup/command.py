"""
C{epost setup}: from nothing to a pair that runs. It asks, or takes flags; it writes both configurations and says what
comes next.

    epost setup                                     asks for everything
    epost setup --yes --stdin --domain test.jp --name mail.test.jp --account bucho < password
"""

import argparse
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epost import forms, loading
from epost.control import cert
from epost.control.setup import advice, texts, writing
from epost.control.setup.answers import address, answered, domain, network, port, read, serverName
from epost.control.setup.plan import CONFIGURATION, STATE, File, Plan
from epost.control.setup.units import unit
from epost.control.terminal import Failure, common, tell


def register(subparsers: Any) -> None:
    """Add the command to C{epost}."""
    words = "make the configuration of a new server, and say what comes next; asks for what is not given"
    made = subparsers.add_parser("setup", help=words, description=words, parents=[common()])
    add = made.add_argument
    add("--domain", type=domain, help="of the mail addresses, such as test.jp")
    add("--name", type=serverName, help="of the server in the DNS, such as mail.test.jp")
    add("--account", metavar="ADDRESS", help="the first account, who is postmaster too")
    add("--stdin", action="store_true", help="read its password from standard input")
    add("--network", action="append", type=network, help="of the office, whose programs may send without login")
    add("--backend", metavar="ADDRESS", type=address, help="of the back-end's machine, where it is not the gateway's")
    add("--gateway", metavar="ADDRESS", type=address, help="of the gateway's")
    add("--smarthost", metavar="HOST[:PORT]", type=read(forms.HOP), help="who takes all mail for outside; else by MX")
    add("--folder", help=f"for the configuration; as root {CONFIGURATION}, else epost")
    add("--data", metavar="FOLDER", help=f"for mail and logs; as root {STATE}, else var in the other")
    add("--port", type=port, default=25, help="where the gateway takes mail (25)")
    add("--inner-port", type=port, help="where the back-end takes it (2525; 25 on a machine of its own)")
    add("--submission-port", type=port, default=587, help="where it takes that of people, with STARTTLS (587)")
    add("--tls-port", type=port, default=465, help="where it does so with TLS from the beginning (465)")
    add("--user", help="whom the files belong to and the daemons run as; root may name one (with --systemd: epost)")
    add("--systemd", metavar="FOLDER", help="write two units there too, such as /etc/systemd/system")
    add("--yes", action="store_true", help="ask nothing: what is not given is as it is offered")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The command. @return: the exit status. @raise Failure: something is missing, or stands there already."""
    if options.config:
        raise Failure("setup reads no configuration but makes one: --folder says where")
    if options.systemd and not os.path.isdir(options.systemd):
        raise Failure(f"{options.systemd} is not there: systemd looks for units in /etc/systemd/system")
    user = options.user or ("epost" if options.systemd else "")
    owner = writing.owner(user)
    plan = answered(options)
    chain, key = cert.pair(plan.hosts, datetime.now(UTC))
    made = {f"{plan.folder}/{name}": file for name, file in texts.files(plan, chain, key).items()}
    if options.systemd:
        if Path(plan.folder).is_relative_to("/home") or Path(plan.data).is_relative_to("/home"):
            raise Failure("the units shut the daemons off from /home: take other folders")
        for half in ("backend", "gateway"):
            path = f"{os.path.abspath(options.systemd)}/epost-{half}.service"
            made[path] = File(unit(plan, half, user).encode())
    writing.write(made, plan, owner)
    faults = [
        fault for half in ("backend", "gateway") for fault in loading.check(f"{plan.folder}/{half}.toml", half)[0]
    ]
    if faults:
        raise Failure(*map(str, faults))
    units = options.systemd and os.path.abspath(options.systemd)
    user = user if owner else ""
    tell(options, _facts(plan, made, units, user), _words(plan, made, units, user))
    return 0


def _facts(plan: Plan, files: Mapping[str, File], units: str | None, user: str) -> dict[str, Any]:
    """For C{--json}. @param units: the folder of the units; L{None}: there are none."""
    return {
        "files": list(files),
        "records": advice.records(plan),
        "commands": advice.commands(plan, bool(units), user),
        "elsewhere": advice.elsewhere(plan, units, user),
        "clients": advice.clients(plan),
    }


def _words(plan: Plan, files: Mapping[str, File], units: str | None, user: str) -> list[str]:
    """For people."""
    lines = ["Written:", *(f"    {path}" for path in files)]
    lines += ["", "To publish in the DNS:", *(f"    {line}" for line in advice.records(plan))]
    here = [*advice.rights(plan, bool(units)), *advice.commands(plan, bool(units), user)]
    lines += ["", "Next:" if plan.both else "Next, here, on the back-end's machine:", *(f"    {line}" for line in here)]
    if there := advice.elsewhere(plan, units, user):
        lines += ["", f"And on the gateway's, {plan.gateway}, where epost is installed too:"]
        lines += [f"    {line}" for line in there]
    return [*lines, "", "In Thunderbird:", *(f"    {line}" for line in advice.clients(plan))]
