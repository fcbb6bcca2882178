"""
The servers of others: a Postfix of our own, and smtp-sink, both in a folder and on 127.0.0.1; both end with us.

Postfix wants root, since its processes change to a user of their own.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where Postfix stands, whatever the shell of the caller says
ADVICE = "Debian: apt install postfix"
NOBODY = "nobody"  # who owns mail that nobody logs in for

# DNS is switched off: hosts are addresses, and the tests stay on this machine. A line above 998 octets would be folded.
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.post.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_line_length_limit = 0
smtpd_delay_reject = no
relayhost = [127.0.0.1]:{relay}
smtpd_sender_restrictions = check_sender_access texthash:{folder}/senders
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/recipients, permit_mynetworks, reject
virtual_mailbox_domains = post.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

# Service, type, limit of processes, program; none in a chroot, none waits for a timer but those that have to.
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup   unix n - n 60 1 pickup
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
flush    unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp     unix - - n - - smtp
relay    unix - - n - - smtp
showq    unix n - n - - showq
error    unix - - n - - error
retry    unix - - n - - error
tlsmgr   unix - - n 1000? 1 tlsmgr
virtual  unix - n n - - virtual
anvil    unix - - n - 1 anvil
scache   unix - - n - 1 scache
postlog  unix-dgram n - n - 1 postlogd
"""


def program(name: str) -> str | None:
    """Where a program of Postfix stands; L{None} where it does not."""
    return shutil.which(name, path=PATH)


class Postfix:
    """
    A Postfix with mailboxes of post.example, which hands all other mail on; a context that starts and stops it.

    @ivar port: where it listens, on 127.0.0.1.
    """

    def __init__(self, folder: Path, port: int, relay: int, users: dict[str, str]) -> None:
        """
        @param folder: made here. Every user must be able to walk through to it.
        @param relay: the port of 127.0.0.1 that gets all mail for other domains.
        @param users: the addresses with a mailbox, each with the name of its folder.
        """
        self.port = port
        self._folder = folder
        self._users = users
        owner = pwd.getpwnam(NOBODY)
        for name, user in (("etc", "root"), ("queue", "root"), ("data", "postfix"), ("mail", NOBODY)):
            (folder / name).mkdir(parents=True)
            shutil.chown(folder / name, user)
        values = {"folder": folder, "relay": relay, "uid": owner.pw_uid, "gid": owner.pw_gid}
        (folder / "etc/main.cf").write_text(_MAIN.format(**values))
        (folder / "etc/master.cf").write_text(_MASTER.format(port=port))
        self._table("mailboxes", {address: f"{name}/" for address, name in users.items()})
        self._table("senders", {})
        self._table("recipients", {})

    def __enter__(self) -> "Postfix":
        try:
            self._command("start")
        except BaseException:
            with contextlib.suppress(AssertionError):
                self._command("stop")
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self._command("stop")

    def refuse(self, table: str, replies: dict[str, str]) -> None:
        """
        Answer with these replies from now on.

        @param table: C{senders} or C{recipients}.
        @param replies: by address; whom it does not name is accepted.
        """
        self._table(table, replies)
        self._command("reload")

    def limit(self, octets: int) -> None:
        """Take messages of so many octets from now on."""
        self.set(message_size_limit=octets)

    def set(self, **values: object) -> None:
        """Have these values of main.cf from now on; files that it names are read again."""
        if values:
            self._run("postconf", "-e", *(f"{key}={value}" for key, value in values.items()))
        self._command("reload")

    def flush(self) -> None:
        """Try again now what waits."""
        self._command("flush")

    def box(self, address: str) -> list[bytes]:
        """The messages in a mailbox."""
        return [file.read_bytes() for file in (self._folder / "mail" / self._users[address]).glob("new/*")]

    def _table(self, name: str, values: dict[str, str]) -> None:
        lines = [f"{key} {value}\n" for key, value in values.items()]
        (self._folder / name).write_text("".join(lines), "utf-8")

    def _command(self, word: str) -> None:
        """C{postfix start}, C{stop} or C{reload}."""
        self._run("postfix", word)

    def _run(self, name: str, *words: str) -> None:
        """@raise AssertionError: it failed; with what it said."""
        command = [program(name) or name, "-c", str(self._folder / "etc"), *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"{name} {' '.join(words)}: {said}{self.log()}"

    def log(self) -> str:
        """Its log."""
        file = self._folder / "log"
        return file.read_text("utf-8", "backslashreplace") if file.exists() else ""


class SmtpSink:
    """
    Postfix's smtp-sink, which writes every message into a file; a context that starts and ends it.

    @ivar folder: where the files are; made here.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._port = port

    def __enter__(self) -> "SmtpSink":
        self.folder.mkdir()
        owner = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, NOBODY)
            owner = ["-u", NOBODY]
        command = [program("smtp-sink") or "smtp-sink", *owner, "-c", "-d", f"{self.folder}/m."]
        self._process = subprocess.Popen(
            [*command, f"127.0.0.1:{self._port}", "256"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.terminate()
        self._process.wait()

    def messages(self) -> list[bytes]:
        """What came so far; of a transaction without content (a probe) nothing."""
        files = (file.read_bytes() for file in self.folder.iterdir())
        return [content for content in files if b"\nMessage-Id:" in content]


def pour(port: int, count: int, recipient: str) -> None:
    """
    Postfix's smtp-source: so many messages from bucho, in 50 sessions at a time.

    @raise AssertionError: one was refused; with what it said.
    """
    command = [program("smtp-source") or "smtp-source", "-s", "50", "-m", str(count), "-l", "2000"]
    command += ["-f", "bucho@test.jp", "-t", recipient, f"127.0.0.1:{port}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
