"""
The clients: programs and libraries of others, each a command line that sends the message on its standard input.

What is no such command is driven by a few lines in scripts/, which get port, sender and recipients as arguments, and
end with 0 where the message was taken, else with what the server said. So all are alike, and L{CLIENTS} is a table.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SCRIPTS = Path(__file__).parent / "scripts"
NODE_MODULES = Path(sys.prefix) / "interop" / "node_modules"
PATIENCE = 60  # seconds for a client to end

Command = Callable[[str, str, Sequence[str]], list[str]]
"""
From port, sender and recipients to a command line. The word C{FILE} stands for a file with the message. Behind the port
may stand how to log in as the sender, as in C{587/starttls/PLAIN/password} or C{465/tls/LOGIN/password}.
"""


@dataclass(frozen=True, slots=True)
class Client:
    """
    One program.

    @ivar name: as it is called in the report.
    @ivar command: its command line.
    @ivar probe: a command that succeeds where the client is installed.
    @ivar advice: how to get it.
    @ivar ends: the line end that it wants on its input. On the wire each has to make CRLF of it.
    @ivar end: what it wants behind the last line.
    @ivar rewrites: whether it makes a message of its own out of text and attachments.
    @ivar utf8: whether it speaks SMTPUTF8.
    @ivar mechanisms: those that it can log in by.
    """

    name: str
    command: Command
    probe: Sequence[str]
    advice: str
    ends: bytes = b"\n"
    end: bytes = b""
    rewrites: bool = False
    utf8: bool = False
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "CRAM-MD5")

    @property
    def installed(self) -> bool:
        """Whether it can be used here."""
        return shutil.which(self.probe[0]) is not None and _run(self.probe, b"", "/").returncode == 0

    def send(self, port: int | str, sender: str, recipients: Sequence[str], content: bytes) -> tuple[bool, str]:
        """
        Hand over one message on a connection of its own.

        @param port: of 127.0.0.1, and how to log in.
        @param content: lines ended by CRLF, dots as they are.
        @return: whether the client says that it was taken, and all that it printed.
        @raise subprocess.TimeoutExpired: it did not end.
        """
        octets = content.replace(b"\r\n", self.ends) + self.end
        with TemporaryDirectory(prefix="epost-interop-") as folder:
            file = Path(folder) / "message"
            file.write_bytes(octets)
            words = [str(file) if word == "FILE" else word for word in self.command(str(port), sender, recipients)]
            done = _run(words, octets, folder)
        return done.returncode == 0, done.stdout.decode("utf-8", "backslashreplace")


def _run(command: Sequence[str], octets: bytes, home: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command that finds no configuration of whoever started us. @param home: its folder."""
    environment = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8", "NODE_PATH": str(NODE_MODULES)}
    return subprocess.run(
        command,
        input=octets,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=home,
        timeout=PATIENCE,
    )


def _swaks(port: str, sender: str, recipients: Sequence[str]) -> list[str]:
    port, *login = port.split("/")
    whom = ["--from", sender, "--to", ",".join(recipients)]
    if login:
        whom += ["--tls" if login[0] == "starttls" else "--tlsc", "--auth", login[1]]
        whom += ["--auth-user", sender, "--auth-password", login[2]]
    return ["swaks", "--server", f"127.0.0.1:{port}", *whom, "--data", "-", "--timeout", "30"]


def _curl(port: str, sender: str, recipients: Sequence[str]) -> list[str]:
    port, *login = port.split("/")
    whom = ["--mail-from", sender, *(word for recipient in recipients for word in ("--mail-rcpt", recipient))]
    if login:
        whom += ["--ssl-reqd", "--insecure", "--user", f"{sender}:{login[2]}", "--login-options", f"AUTH={login[1]}"]
    address = f"{'smtps' if 'tls' in login else 'smtp'}://127.0.0.1:{port}"
    return ["curl", "--disable", "--silent", "--verbose", *whom, "--upload-file", "FILE", address]


def _msmtp(port: str, sender: str, recipients: Sequence[str]) -> list[str]:
    port, *login = port.split("/")
    words = ["msmtp", "--host=127.0.0.1", f"--port={port}", f"--from={sender}"]
    if login:
        words += ["--tls=on", f"--tls-starttls={'on' if login[0] == 'starttls' else 'off'}", "--tls-certcheck=off"]
        words += [f"--auth={login[1].lower()}", f"--user={sender}", f"--passwordeval=echo {login[2]}"]
    return [*words, "--", *recipients]


def _script(interpreter: str, file: str) -> Command:
    return lambda port, sender, recipients: [interpreter, str(SCRIPTS / file), port, sender, *recipients]


SMTPLIB = Client(
    "smtplib",
    _script(sys.executable, "send_smtplib.py"),
    [sys.executable, "-c", "import smtplib"],
    "it is part of Python",
    ends=b"\r\n",  # it mends no line end in octets
    utf8=True,
)

CLIENTS = (
    # To what does not end with a dot swaks adds an empty line.
    Client("swaks", _swaks, ["swaks", "--version"], "Debian: apt install swaks", end=b".\n"),
    Client("curl", _curl, ["curl", "--version"], "Debian: apt install curl", ends=b"\r\n", utf8=True),
    Client(
        "msmtp",
        _msmtp,
        ["msmtp", "--version"],
        "Debian: apt install msmtp",
        mechanisms=("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"),
    ),
    Client(
        "s-nail",
        _script(sys.executable, "send_snail.py"),
        ["s-nail", "--version"],
        "Debian: apt install s-nail",
        rewrites=True,
    ),
    Client(
        "Net::SMTP",
        _script("perl", "send.pl"),
        ["perl", "-MNet::SMTP", "-e1"],
        "Debian: apt install perl",
        mechanisms=(),  # it would want three more modules
    ),
    SMTPLIB,
    Client(
        "aiosmtplib",
        _script(sys.executable, "send_aiosmtplib.py"),
        [sys.executable, "-c", "import aiosmtplib"],
        "make interop fetches it from PyPI",
        utf8=True,
    ),
    Client(
        "nodemailer",
        _script("node", "send.js"),
        ["node", "-e", "require('nodemailer')"],
        "Debian: apt install npm; make interop fetches it from npm",
        utf8=True,
    ),
)
