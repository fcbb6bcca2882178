"""
Thunderbird, as an office has it: an account of its own for each check, messages written in its window and sent by its
Send command. What a line says that a person sees is the text of the dialog.

It runs without a screen and is led through Marionette, the door that it has for programs (messages of C{length:JSON},
over TCP); the steps inside stand in scripts/thunderbird.js. Nothing but 127.0.0.1 is reached.
"""

import contextlib
import email
import email.policy
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.interop.clients import SCRIPTS
from tests.interop.encryption import HOST, selfSigned
from tests.interop.letters import large, letter
from tests.interop.places import SINK, Places
from tests.interop.report import Report
from tests.interop.sending import BUCHO, KACHO, LIMIT, NOBODY, USER2
from tests.interop.submitting import PASSWORD
from tests.system.pair import Pair, Sections, freePorts, waitUntil

BAITO, USER1 = "baito@test.jp", "user1@test.jp"
CLEAR, STARTTLS, TLS = 0, 2, 3  # as Thunderbird numbers its connection securities
NORMAL, ENCRYPTED = 3, 4  # and its authentication methods

# With the proxy nothing that it wants from the network leaves this machine; mail does not go through it.
_PREFERENCES: dict[str, object] = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mailnews.send_plaintext_flowed": False,  # which puts blanks before lines, for the other side to take away
    "mail.accountmanager.accounts": "account1,account2",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.accountmanager.localfoldersserver": "server2",
    "mail.account.account1.server": "server1",
    "mail.account.account2.server": "server2",
    "mail.server.server1.type": "pop3",
    "mail.server.server1.hostname": HOST,
    "mail.server.server1.userName": BUCHO,
    "mail.server.server1.check_new_mail": False,
    "mail.server.server1.login_at_startup": False,
    "mail.server.server2.type": "none",
    "mail.server.server2.hostname": "Local Folders",
    "mail.server.server2.userName": "nobody",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """
    Account settings.

    @ivar key: how Thunderbird calls identity and server.
    @ivar address: what stands in From.
    @ivar user: who logs in.
    @ivar port: of the server.
    @ivar security: L{CLEAR}, L{STARTTLS} or L{TLS}.
    @ivar method: L{NORMAL} or L{ENCRYPTED} password.
    @ivar host: the server.
    """

    key: str
    address: str
    user: str
    port: int
    security: int
    method: int = NORMAL
    host: str = HOST

    def preferences(self) -> dict[str, object]:
        """In Thunderbird's words."""
        identity, server = f"mail.identity.{self.key}", f"mail.smtpserver.{self.key}"
        return {
            f"{identity}.fullName": "部長",
            f"{identity}.useremail": self.address,
            f"{identity}.smtpServer": self.key,
            f"{identity}.fcc": False,
            f"{identity}.valid": True,
            f"{server}.hostname": self.host,
            f"{server}.port": self.port,
            f"{server}.try_ssl": self.security,
            f"{server}.authMethod": self.method,
            f"{server}.username": self.user,
        }


def thunderbird(folder: Path, report: Report) -> None:
    """Make every check."""
    if shutil.which("thunderbird") is None:
        report.missing("thunderbird", "Debian: apt install thunderbird")
        return
    starttls, tls = freePorts(2)
    backend: Sections = {
        "tls": {"certificates": [["cert/cert.pem", "cert/key.pem"]]},
        "limits": {"message_octets": LIMIT},
        "domains": {"details": "accounts.toml"},
        "login": {"delay": 0},
        "submission": {
            "listen": [f"tcp:{starttls}:interface=127.0.0.1"],
            "listen_tls": [f"tcp:{tls}:interface=127.0.0.1"],
        },
    }
    pair = Pair(folder / "pair", backend)
    selfSigned(pair.etc / "cert", HOST, "127.0.0.1")
    (pair.etc / "accounts.toml").write_text(f'["{BAITO}"]\noutside = false\n')
    desks = {
        "STARTTLS": Desk("id1", BUCHO, BUCHO, starttls, STARTTLS),
        "TLS first": Desk("id2", BUCHO, BUCHO, tls, TLS),
        "inside": Desk("id3", BAITO, BAITO, tls, TLS),
        "another's": Desk("id4", KACHO, BUCHO, tls, TLS),
        "wrong": Desk("id5", USER1, USER1, tls, TLS),
        "clear": Desk("id6", BUCHO, BUCHO, starttls, CLEAR),
        "encrypted": Desk("id7", BUCHO, BUCHO, tls, TLS, ENCRYPTED),
        "stranger": Desk("id8", BUCHO, BUCHO, tls, TLS, host="127.0.0.1"),
    }
    certificate = x509.load_pem_x509_certificate((pair.etc / "cert/cert.pem").read_bytes())
    exceptions = {f"{HOST}:{port}": certificate for port in (starttls, tls)}
    program = Thunderbird(folder / "thunderbird", list(desks.values()), exceptions)
    with pair, contextlib.ExitStack() as stack:
        if report.check("Thunderbird", f"starts: {program.version()}", lambda: stack.enter_context(program)):
            program.step("remember", "smtp://127.0.0.1", BUCHO, PASSWORD)
            for user, password in ((BUCHO, PASSWORD), (BAITO, PASSWORD), (USER1, "pass12345")):
                program.step("remember", f"smtp://{HOST}", user, password)
            Writing(Places(pair), program, desks).run(report)


class Writing:
    """Its checks."""

    def __init__(self, places: Places, program: "Thunderbird", desks: dict[str, Desk]) -> None:
        self.places = places
        self.program = program
        self._desks = desks

    def run(self, report: Report) -> None:
        """All of them."""
        check = partial(report.check, "Thunderbird")
        for way in ("STARTTLS", "TLS first"):
            for kind in ("ISO-2022-JP", "attachment"):
                check(
                    f"{way}, normal password: {kind}: the same to a reader in two mailboxes and outside",
                    partial(self.deliver, way, kind),
                )
        check("Received says ESMTPSA; Bcc arrives and is not told", self.blind)
        inside = "an account with outside = false"
        check(f"{inside}: to a colleague: delivered", self.colleague)
        check(
            f"{inside}: to the outside: a person sees the reply and for whom; a colleague in Cc gets nothing",
            self.outside,
        )
        check("From is another's address: a person sees why", partial(self.sees, "another's", "of your own"))
        check("an unknown recipient: a person sees whom", partial(self.sees, "TLS first", "User unknown", to=NOBODY))
        check("over the limit of size: a person sees that it is too large", self.size)
        check("a wrong password: a person is asked again", partial(self.sees, "wrong", "failed"))
        check("connection security None: a person sees that TLS must be", partial(self.sees, "clear", "STARTTLS"))
        check(
            "encrypted password, where CRAM-MD5 is not offered: a person sees what to set",
            partial(self.sees, "encrypted", "Normal password"),
        )
        check("a certificate that nobody has signed: a person sees it, and no password is sent", self.stranger)
        check("Confirm Security Exception, and Send once more: delivered", self.confirmed)

    def _send(self, desk: str, to: Sequence[str], content: bytes, **more: str) -> tuple[bool, str]:
        return self.program.send(self._desks[desk], to, content, **more)

    def deliver(self, way: str, kind: str) -> None:
        """Two recipients inside, one outside."""
        mark = f"Thunderbird {way} {kind}"
        send = partial(self._send, way, [KACHO, BUCHO, USER2])
        self.places.delivers(send, mark, letter(mark, kind), [KACHO, BUCHO, SINK], rewrites=True)

    def blind(self) -> None:
        """A second recipient whom the first does not see."""
        mark = "Thunderbird blind"
        send = partial(self._send, "TLS first", [KACHO], bcc=USER1)
        self.places.delivers(send, mark, letter(mark, "ISO-2022-JP"), [KACHO, USER1], rewrites=True)
        for place in (KACHO, USER1):
            (found,) = self.places.found(mark, place)
            header = found.partition(b"\n\n")[0]
            shown = header.replace(b"Delivered-To: user1@test.jp\n", b"")
            assert b" with ESMTPSA id " in header and b"user1" not in shown, header

    def colleague(self) -> None:
        """Inside."""
        mark = "Thunderbird inside"
        send = partial(self._send, "inside", [KACHO])
        self.places.delivers(send, mark, letter(mark, "ISO-2022-JP"), [KACHO], rewrites=True)

    def outside(self) -> None:
        """Thunderbird gives up all of the message, and names the recipient itself."""
        mark = "Thunderbird outside"
        send = partial(self._send, "inside", [USER2], cc=KACHO)
        said = self._refused(send, mark, letter(mark, "ISO-2022-JP"), "Please mail to a valid e-mail address.")
        assert USER2 in said, said

    def sees(self, desk: str, text: str, to: str = KACHO) -> None:
        """@param text: stands in the dialogs."""
        mark = f"Thunderbird {desk} {to}"
        self._refused(partial(self._send, desk, [to]), mark, letter(mark, "ISO-2022-JP"), text)

    def size(self) -> None:
        """By SIZE."""
        mark = "Thunderbird size"
        self._refused(partial(self._send, "TLS first", [KACHO]), mark, large(mark, LIMIT + 1000), "size")

    def stranger(self) -> None:
        """The daemon hears that the certificate was not taken."""
        begin = len(self.places.pair.backend.log())
        self.sees("stranger", "certificate")
        said = waitUntil("a handshake that failed", lambda: self.places.pair.backend.log()[begin:])
        assert "TLS handshake failed: " in said and "logged in" not in said, said

    def confirmed(self) -> None:
        """As who has no signed certificate is told to."""
        mark = "Thunderbird confirmed"
        content = letter(mark, "ISO-2022-JP")
        taken, said = self.program.write(self._desks["stranger"], [KACHO], content)
        assert not taken, said
        waitUntil("Confirm Security Exception", partial(self.program.step, "trust"))
        self.program.step("close")
        self.places.delivers(partial(self._send, "stranger", [KACHO]), mark, content, [KACHO], rewrites=True)

    def _refused(self, send: "partial[tuple[bool, str]]", mark: str, content: bytes, text: str) -> str:
        """@return: what the person has seen."""
        seen: list[str] = []

        def sending(content: bytes) -> tuple[bool, str]:
            taken, said = send(content)
            seen.append(said)
            return taken, said

        self.places.refuses(sending, mark, content, text, [KACHO, BUCHO, SINK])
        return seen[0]


class Thunderbird:
    """A Thunderbird with a profile of its own; a context that starts and ends it."""

    def __init__(self, folder: Path, desks: Sequence[Desk], exceptions: dict[str, x509.Certificate]) -> None:
        """
        @param folder: made here.
        @param exceptions: certificates that are trusted without a signature, by host and port.
        """
        (self._port,) = freePorts(1)
        self._folder = folder
        self._profile = folder / "profile"
        self._profile.mkdir(parents=True)
        keys = ",".join(desk.key for desk in desks)
        preferences = _PREFERENCES | {"marionette.port": self._port}
        preferences |= {"mail.account.account1.identities": keys, "mail.smtpservers": keys}
        for desk in desks:
            preferences |= desk.preferences()
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in preferences.items()]
        (self._profile / "user.js").write_text("".join(lines), "utf-8")
        sha256 = "OID.2.16.840.1.101.3.4.2.1"
        lines = [
            f"{at}:\t{sha256}\t{one.fingerprint(hashes.SHA256()).hex(':').upper()}\t\n"
            for at, one in exceptions.items()
        ]
        (self._profile / "cert_override.txt").write_text("".join(lines))

    def version(self) -> str:
        """What it calls itself."""
        done = subprocess.run(["thunderbird", "--version"], env=self._environment(), capture_output=True, timeout=60)
        return done.stdout.decode().strip()

    def _environment(self) -> dict[str, str]:
        # Of its own, too, for the file of the message: another Thunderbird in /tmp takes the same name, and removes it.
        own = {"HOME": str(self._folder), "TMPDIR": str(self._folder)}
        return own | {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def __enter__(self) -> "Thunderbird":
        command = ["thunderbird", "--headless", "--no-remote", "--profile", str(self._profile)]
        with (self._folder / "log").open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--marionette", "--remote-allow-system-access"],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._connection = waitUntil("Thunderbird's Marionette", self._connected)
            self._answers = self._connection.makefile("rb")
            self._read()
            self._call("WebDriver:NewSession", capabilities={"unhandledPromptBehavior": "ignore"})
            self._call("Marionette:SetContext", value="chrome")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # itself and its children; the profile is nobody's
        self._process.wait()

    def _connected(self) -> socket.socket | None:
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8", "backslashreplace")
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", self._port), 60)
        return None

    def _read(self) -> Any:
        length = b""
        while (octet := self._answers.read(1)) != b":":
            assert octet, "Thunderbird ended"
            length += octet
        return json.loads(self._answers.read(int(length)))

    def _call(self, command: str, **parameters: object) -> Any:
        """@raise AssertionError: it cannot."""
        octets = json.dumps([0, 1, command, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(octets), octets))
        _, _, fault, result = self._read()
        assert fault is None, fault
        return result

    def step(self, name: str, *words: object) -> Any:
        """One of scripts/thunderbird.js. @raise AssertionError: it failed."""
        script = (SCRIPTS / "thunderbird.js").read_text("utf-8")
        command = partial(self._call, "WebDriver:ExecuteAsyncScript", sandbox="system")
        answer = command(script=script, args=[name, *words])["value"]
        assert "fault" not in answer, f"{name}: {answer['fault']}"
        return answer["value"]

    def send(self, *words: Any, **more: str) -> tuple[bool, str]:
        """L{write}, and a window that is still open is closed."""
        answer = self.write(*words, **more)
        self.step("close")
        return answer

    def write(self, desk: Desk, to: Sequence[str], content: bytes, cc: str = "", bcc: str = "") -> tuple[bool, str]:
        """
        Write a message like this one, and send it.

        @return: whether its window closed by itself; what dialogs said, all of which were cancelled.
        """
        message = email.message_from_bytes(content, policy=email.policy.default)
        text = message.get_body(("plain",))
        assert text is not None
        body = text.get_content() + "\n" * message.is_multipart()  # behind a text of several parts it takes one away
        fields = {"to": ", ".join(to), "cc": cc, "bcc": bcc, "subject": str(message["Subject"]), "body": body}
        files = {}
        for part in message.iter_attachments():
            file = self._folder / Path(str(part.get_filename())).name
            file.write_bytes(part.get_content())
            files[file.name] = file.as_uri()
        self.step("write", desk.key, fields, files)
        said: list[str] = []

        def ended() -> bool:
            seen = self.step("look")
            said.extend(seen["said"])
            if seen["said"]:
                self.step("cancel")
                return False
            return not seen["open"] or bool(said and not seen["sending"])

        waitUntil("an end of sending", ended)
        return not said, "\n".join(said)
