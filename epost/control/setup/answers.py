"""
What C{epost setup} is told: as flags, and what they leave open as answers on the terminal.
"""

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from epost import forms
from epost.control import passwords
from epost.control.setup import writing
from epost.control.setup.plan import CONFIGURATION, STATE, Plan
from epost.control.setup.texts import NAMES
from epost.control.terminal import Failure
from epost.mail.address import Address, parseAddress
from epost.mail.route import Hop

_T = TypeVar("_T")


def read(form: forms.Form) -> Callable[[str], Any]:
    """A flag in the form of a setting."""

    def reader(text: str) -> Any:
        try:
            return form.read(text)
        except ValueError as error:
            why = str(error) if text in str(error) else f"{text}: {error}".removesuffix(": ")
            raise argparse.ArgumentTypeError(f"{why}, expected {form.expected}") from error

    return reader


def domain(text: str) -> str:
    """A domain, which no IP address is."""
    found: str = read(forms.DOMAIN)(text)
    if found.rpartition(".")[2].isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is an IP address, expected {forms.DOMAIN.expected}")
    return found


def serverName(text: str) -> str:
    """The name of a machine, whole: other servers look it up, and many take no mail from a name without a dot."""
    found = domain(text)
    if "." not in found:
        raise argparse.ArgumentTypeError(f"{text} is half a name, expected the whole, such as {text}.test.jp")
    return found


def network(text: str) -> str:
    """One network, as text. Everybody's would make an open relay."""
    try:
        (found,) = forms.NETWORKS.read([text]) if text != "*" else (None,)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no network{_near(text)}") from None
    if found is None or not found.prefixlen:
        raise argparse.ArgumentTypeError(f"{text} is everybody, which makes an open relay")
    return text


def _near(text: str) -> str:
    """What somebody may have meant who wrote an address with the length of its network."""
    try:
        return f", perhaps {ipaddress.ip_network(text, strict=False)}, or {text.partition('/')[0]} for one machine"
    except ValueError:
        return ", expected one such as 192.168.0.0/24"


def address(text: str) -> str:
    """An IP address: a name of another machine may lead elsewhere tomorrow."""
    hop: Hop = read(forms.HOP)(f"[{text}]" if ":" in text else text)
    if not hop.host.replace(".", "").isdecimal() and ":" not in hop.host:
        raise argparse.ArgumentTypeError(f"{text} is no IP address")
    return hop.host


def port(text: str) -> int:
    """The number of a port."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def answered(options: argparse.Namespace) -> Plan:
    """What was given, and where it was not, what was asked for. @raise Failure: a question has no answer."""
    secret = _secret(options, "the first account") if options.stdin else ""
    ask = _Asking(options.yes)
    root = os.geteuid() == 0
    folder = options.folder or ask("Folder for the configuration", CONFIGURATION if root else "epost", str)
    folder = os.path.abspath(folder)
    writing.vacant(f"{folder}/{name}" for name in NAMES)  # before more is asked
    data = options.data or ask("Folder for mail and logs", STATE if root else f"{folder}/var", str)
    of = options.domain or ask("Domain of the mail addresses, such as test.jp", None, domain, "--domain")
    name = options.name or ask("Name of this server in the DNS", _ownName(of), serverName)
    if name == of:
        raise Failure(f"the server needs a name of its own, such as mail.{of}, beside the domain's")
    text = options.account or ask("First account, who is postmaster too", None, str, "--account")
    account = _account(text, of)
    networks = options.network
    if networks is None:
        networks = ask("Networks of the office, whose programs may send without login", "none", _networks)
    machines = _machines(options, ask)
    smarthost = options.smarthost
    if smarthost is None:
        smarthost = ask("Who takes the mail for outside, HOST:PORT; none: as the DNS says", "none", _smarthost)
    plan = Plan(
        name,
        of,
        account,
        secret or _secret(options, str(account)),
        tuple(networks),
        *machines,
        folder,
        os.path.abspath(data),
        smarthost,
        options.port,
        options.inner_port or (2525 if machines[0] is None else 25),
        options.submission_port,
        options.tls_port,
        str(Path(sys.executable).parent / "twistd"),
    )
    _apart(plan)
    return plan


def _apart(plan: Plan) -> None:
    """@raise Failure: two listen on one port of one machine."""
    inner = ("--inner-port", plan.inner), ("--submission-port", plan.submission), ("--tls-port", plan.submissions)
    flags: dict[int, list[str]] = {}
    for flag, number in (("--port", plan.port), *inner) if plan.both else inner:
        flags.setdefault(number, []).append(flag)
    for number, several in flags.items():
        if len(several) > 1:
            raise Failure(f"port {number} is {' and '.join(several)} at once; each needs one of its own")


class _Asking:
    """Questions on the terminal. @param silent: nothing is asked, and what is offered is the answer."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def __call__(self, question: str, offer: str | None, read: Callable[[str], _T], flag: str = "") -> _T:
        """
        An answer.

        @param offer: what an empty one means; L{None}: there is nothing to offer.
        @param read: reads it. @raise ValueError: it is none; it is asked for again.
        @param flag: what would have answered it, where nothing is offered.
        @raise Failure: nobody answers.
        """
        if self._silent:
            if offer is None:
                raise Failure(f"with --yes nothing is asked, and this was not given: {question}: {flag}")
            return read(offer)
        while True:
            try:
                text = input(f"{question}{f' [{offer}]' if offer else ''}: ").strip() or offer
            except EOFError:
                raise Failure(f"no answer to: {question}") from None
            why = ""
            try:
                if text:
                    return read(text)
            except (ValueError, argparse.ArgumentTypeError) as error:
                why = str(error)
            print(f"That cannot be read: {why}".removesuffix(": "), file=sys.stderr)


def _ownName(domain: str) -> str:
    """The machine's name where it is one of the domain's, else one that is usual."""
    name = socket.getfqdn()
    return name if name.endswith(f".{domain}") else f"mail.{domain}"


def _networks(text: str) -> list[str]:
    return [] if text == "none" else [network(one) for one in text.replace(",", " ").split()]


def _smarthost(text: str) -> Hop | None:
    return None if text == "none" else forms.HOP.read(text)


def _yes(text: str) -> bool:
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError(f"{text}, expected yes or no")
    return text.lower() in ("y", "yes")


def _machines(options: argparse.Namespace, ask: _Asking) -> tuple[str | None, str | None]:
    """The addresses of both machines; L{None} twice: it is one."""
    backend, gateway = options.backend, options.gateway
    if backend is None and gateway is None and ask("Do both halves run on this machine", "yes", _yes):
        return None, None
    backend = backend or ask("Address of the back-end's machine", None, address, "--backend")
    gateway = gateway or ask("Address of the gateway's machine", None, address, "--gateway")
    if backend == gateway:
        raise Failure(f"two machines, and {backend} for both: leave --backend and --gateway out where it is one")
    return backend, gateway


def _account(text: str, domain: str) -> Address:
    """The first account. @raise Failure: it is no address of the domain."""
    try:
        found = parseAddress(text if "@" in text else f"{text}@{domain}")
    except ValueError as error:
        raise Failure(f"{text}: {error}") from None
    if found.domain != domain:
        raise Failure(f"the first account is of {found.domain}, not of {domain}")
    return found


def _secret(options: argparse.Namespace, whose: str) -> str:
    """The column Pass."""
    if options.yes and not options.stdin:
        raise Failure("with --yes the password comes from standard input: --stdin")
    return passwords.secret(options.stdin, whose)
