"""
C{epost setup}: from nothing to a pair that runs. It asks, or takes flags; it writes both configurations and says what
comes next.

Nothing is ever overwritten: where one of the files is there already it is named, and nothing at all is written. What
could not be written to its end is taken away again.

    epost setup                                     asks for everything
    epost setup --yes --stdin --domain test.jp --name mail.test.jp --account bucho < password
"""

import argparse
import os
import pwd
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from epost import forms, reload
from epost.control import cert, passwords, setuptexts
from epost.control.files import syncFolder
from epost.control.setuptexts import CONFIGURATION, STATE, File, Plan
from epost.control.terminal import Failure, common, tell
from epost.mail.address import Address, parseAddress
from epost.mail.route import Hop

_T = TypeVar("_T")


def register(subparsers: Any) -> None:
    """Add the command to C{epost}."""
    words = "make the configuration of a new server, and say what comes next; asks for what is not given"
    made = subparsers.add_parser("setup", help=words, description=words, parents=[common()])
    add = made.add_argument
    add("--domain", type=_read(forms.DOMAIN), help="of the mail addresses, such as test.jp")
    add("--name", type=_read(forms.DOMAIN), help="of the server in the DNS, such as mail.test.jp")
    add("--account", metavar="ADDRESS", help="the first account, who is postmaster too")
    add("--stdin", action="store_true", help="read its password from standard input")
    add("--network", action="append", type=_network, help="of the office, whose programs may send without login")
    add("--backend", metavar="ADDRESS", type=_address, help="of the back-end's machine, where it is not the gateway's")
    add("--gateway", metavar="ADDRESS", type=_address, help="of the gateway's")
    add("--smarthost", metavar="HOST[:PORT]", type=_read(forms.HOP), help="who takes all mail for outside; else by MX")
    add("--folder", help=f"for the configuration; as root {CONFIGURATION}, else epost")
    add("--data", metavar="FOLDER", help=f"for mail and logs; as root {STATE}, else var in the other")
    add("--port", type=_port, default=25, help="where the gateway takes mail (25)")
    add("--inner-port", type=_port, help="where the back-end takes it (2525; 25 on a machine of its own)")
    add("--submission-port", type=_port, default=587, help="where it takes that of people, with STARTTLS (587)")
    add("--tls-port", type=_port, default=465, help="where it does so with TLS from the begin (465)")
    add("--user", help="whom the files belong to and the daemons run as; root may name one (with --systemd: epost)")
    add("--systemd", metavar="FOLDER", help="write two units there too, such as /etc/systemd/system")
    add("--yes", action="store_true", help="ask nothing: what is not given is as it is offered")
    made.set_defaults(run=run)


def _read(form: forms.Form) -> Callable[[str], Any]:
    """A flag in the form of a setting."""

    def read(text: str) -> Any:
        try:
            return form.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}, expected {form.expected}") from error

    return read


def _network(text: str) -> str:
    """One network, as text. Everybody's would make an open relay."""
    (found,) = _read(forms.NETWORKS)([text]) if text != "*" else (None,)  # type: ignore[arg-type]
    if found is None or not found.prefixlen:
        raise argparse.ArgumentTypeError(f"{text} is everybody, which makes an open relay")
    return text


def _address(text: str) -> str:
    """An IP address: a name of another machine may lead elsewhere tomorrow."""
    hop: Hop = _read(forms.HOP)(f"[{text}]" if ":" in text else text)
    if not hop.host.replace(".", "").isdecimal() and ":" not in hop.host:
        raise argparse.ArgumentTypeError(f"{text} is no IP address")
    return hop.host


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """The command. @return: the exit status. @raise Failure: something is missing, or stands there already."""
    user = options.user or ("epost" if options.systemd else "")
    owner = _owner(user)
    plan = answered(options)
    chain, key = cert.pair(setuptexts.hosts(plan), datetime.now(UTC))
    made = {f"{plan.folder}/{name}": file for name, file in setuptexts.files(plan, chain, key).items()}
    if options.systemd:
        if Path(plan.folder).is_relative_to("/home") or Path(plan.data).is_relative_to("/home"):
            raise Failure("the units shut the daemons off from /home: take other folders")
        for half in ("backend", "gateway"):
            text = setuptexts.unit(plan, half, user)
            made[f"{os.path.abspath(options.systemd)}/epost-{half}.service"] = File(text.encode())
    write(made, plan, owner)
    faults = [fault for half in ("backend", "gateway") for fault in reload.check(f"{plan.folder}/{half}.toml", half)[0]]
    if faults:
        raise Failure(*map(str, faults))
    tell(options, _facts(plan, made, bool(options.systemd)), _words(plan, made, bool(options.systemd)))
    return 0


def _owner(user: str) -> tuple[int, int] | None:
    """Whom the files are given to; L{None}: whoever runs the command."""
    if not user or os.geteuid():
        if user and user != pwd.getpwuid(os.geteuid()).pw_name:
            raise Failure(f"only root can give files to {user}")
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Failure(
            f"there is no user {user}: useradd --system --home-dir {STATE} --shell /usr/sbin/nologin {user}"
        ) from None
    return found.pw_uid, found.pw_gid


def answered(options: argparse.Namespace) -> Plan:
    """What was given, and where it was not, what was asked for. @raise Failure: a question has no answer."""
    secret = _secret(options, "the first account") if options.stdin else ""
    ask = _Asking(options.yes)
    root = os.geteuid() == 0
    folder = options.folder or ask("Folder for the configuration", CONFIGURATION if root else "epost", str)
    folder = os.path.abspath(folder)
    _vacant(f"{folder}/{name}" for name in setuptexts.NAMES)  # before more is asked
    data = options.data or ask("Folder for mail and logs", STATE if root else f"{folder}/var", str)
    domain = options.domain or ask("Domain of the mail addresses, such as test.jp", None, forms.DOMAIN.read)
    name = options.name or ask("Name of this server in the DNS", _ownName(domain), forms.DOMAIN.read)
    if name == domain:
        raise Failure(f"the server needs a name of its own, such as mail.{domain}, beside the domain's")
    text = options.account or ask("First account, who is postmaster too", None, str)
    account = _account(text, domain)
    networks = options.network
    if networks is None:
        networks = ask("Networks of the office, whose programs may send without login", "none", _networks)
    machines = _machines(options, ask)
    smarthost = options.smarthost
    if smarthost is None:
        smarthost = ask("Who takes the mail for outside, HOST:PORT; none: as the DNS says", "none", _smarthost)
    return Plan(
        name,
        domain,
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


class _Asking:
    """Questions on the terminal. @param silent: nothing is asked, and what is offered is the answer."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def __call__(self, question: str, offer: str | None, read: Callable[[str], _T]) -> _T:
        """
        An answer.

        @param offer: what an empty one means; L{None}: there is nothing to offer.
        @param read: reads it. @raise ValueError: it is none; it is asked for again.
        @raise Failure: nobody answers.
        """
        if self._silent:
            if offer is None:
                raise Failure(f"with --yes nothing is asked, and this was not given: {question}")
            return read(offer)
        while True:
            try:
                text = input(f"{question}{f' [{offer}]' if offer else ''}: ").strip() or offer
            except EOFError:
                raise Failure(f"no answer to: {question}") from None
            with suppress(ValueError, argparse.ArgumentTypeError):
                if text:
                    return read(text)
            print("That cannot be read.", file=sys.stderr)


def _ownName(domain: str) -> str:
    """The machine's name where it is one of the domain's, else one that is usual."""
    name = socket.getfqdn()
    return name if name.endswith(f".{domain}") else f"mail.{domain}"


def _networks(text: str) -> list[str]:
    return [] if text == "none" else [_network(one) for one in text.replace(",", " ").split()]


def _smarthost(text: str) -> Hop | None:
    return None if text == "none" else forms.HOP.read(text)


def _yes(text: str) -> bool:
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError
    return text.lower() in ("y", "yes")


def _machines(options: argparse.Namespace, ask: _Asking) -> tuple[str | None, str | None]:
    """The addresses of both machines; L{None} twice: it is one."""
    backend, gateway = options.backend, options.gateway
    if backend is None and gateway is None and ask("Do both halves run on this machine", "yes", _yes):
        return None, None
    backend = backend or ask("Address of the back-end's machine", None, _address)
    gateway = gateway or ask("Address of the gateway's machine", None, _address)
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


def write(files: Mapping[str, File], plan: Plan, owner: tuple[int, int] | None) -> None:
    """
    Write all files, or none.

    @param files: by path.
    @param owner: user and group that they and the folders are given to; L{None}: they stay who they are.
    @raise Failure: one stands there already, or one cannot be written. Then none is written.
    """
    _vacant(files)
    done: list[Callable[[], None]] = []
    try:
        for folder in dict.fromkeys((plan.folder, plan.data, *map(os.path.dirname, files))):
            _makeFolder(folder, 0o700 if folder == plan.data else 0o755, owner, done)
        for path, file in files.items():
            _write(path, file, owner, done)
        for folder in {os.path.dirname(path) for path in files}:
            syncFolder(folder)
    except OSError as error:
        for undo in reversed(done):
            with suppress(OSError):
                undo()
        raise Failure(f"{error.filename}: {error.strerror}; nothing was written") from error


def _vacant(paths: Iterable[str]) -> None:
    """@raise Failure: something stands at one of them."""
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise Failure(*(f"{path} is there already" for path in there), "nothing was written: setup never overwrites")


def _makeFolder(path: str, mode: int, owner: tuple[int, int] | None, done: list[Callable[[], None]]) -> None:
    """Make a folder and those above it, where they are not there."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _makeFolder(above, 0o755, None, done)
    os.mkdir(path, mode)
    done.append(lambda: os.rmdir(path))
    if owner is not None:
        os.chown(path, *owner)


def _write(path: str, file: File, owner: tuple[int, int] | None, done: list[Callable[[], None]]) -> None:
    """Write a new file and sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    done.append(lambda: os.unlink(path))
    with open(descriptor, "wb") as stream:
        stream.write(file.octets)
        stream.flush()
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, file.mode)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error


def _facts(plan: Plan, files: Mapping[str, File], units: bool) -> dict[str, Any]:
    """For C{--json}."""
    return {
        "files": list(files),
        "records": setuptexts.records(plan),
        "commands": setuptexts.commands(plan, units),
        "clients": setuptexts.clients(plan),
    }


def _words(plan: Plan, files: Mapping[str, File], units: bool) -> list[str]:
    """For people."""
    lines = ["Written:", *(f"    {path}" for path in files)]
    if not plan.both:
        lines += ["", f"To the gateway, {plan.gateway}, go {', '.join(setuptexts.FOR_GATEWAY)}."]
    lines += ["", "To publish in the DNS:", *(f"    {line}" for line in setuptexts.records(plan))]
    lines += ["", "Next:", *(f"    {line}" for line in setuptexts.commands(plan, units))]
    return [*lines, "", "In Thunderbird:", *(f"    {line}" for line in setuptexts.clients(plan))]
