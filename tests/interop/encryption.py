"""
TLS from outside: Postfix as a peer on both sides, openssl s_client and sslscan at our ports.

A pair of its own, with two certificates of C{epost cert self}. What a line claims was seen in what the other side
wrote (its Received field, its log), or in the file of the queue and in senderlog.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from tests.interop.clients import SMTPLIB
from tests.interop.letters import letter
from tests.interop.places import Places
from tests.interop.relaying import TANAKA, USERS, Relaying
from tests.interop.report import Report
from tests.interop.sending import BUCHO, KACHO
from tests.interop.servers import Postfix, program
from tests.net.certificates import Authority
from tests.system.pair import Daemon, Pair, Sections, freePorts, waitUntil

HOST = "localhost"  # by this name both sides call each other; the only one that every machine knows
SECOND = "second.test.jp"
RETRY: Sections = {"retry": {"refused": ["1s"], "deferred": ["1s"]}}
CLEAR = b"with ESMTP id"


def encryption(folder: Path, report: Report) -> None:
    """Make every check."""
    submission, implicit, postfixPort = freePorts(3)
    tls = {"certificates": [["one/cert.pem", "one/key.pem"], ["two/cert.pem", "two/key.pem"]]}
    listen = {
        "listen": [f"tcp:{submission}:interface=127.0.0.1"],
        "listen_tls": [f"tcp:{implicit}:interface=127.0.0.1"],
    }
    pair = Pair(folder / "pair", {**RETRY, "tls": tls, "submission": listen}, {**RETRY, "tls": tls})
    selfSigned(pair.etc / "one", HOST, "127.0.0.1")
    selfSigned(pair.etc / "two", SECOND)
    with (pair.etc / "gateway.dat").open("a") as hops:
        hops.write(f"post.example, {HOST}, {postfixPort}\n")
    with pair:
        Scans(pair, submission, implicit).run(report)
        if Relaying.possible(report):
            postfix = Postfix(folder / "postfix", postfixPort, pair.gateway.port, USERS)
            with postfix:
                Peers(Places(pair, postfix.box), postfix, folder).run(report)


def selfSigned(folder: Path, *names: str) -> None:
    """C{epost cert self}."""
    folder.mkdir()
    words = [word for name in names for word in ("--name", name)]
    command = [sys.executable, "-m", "epost.control.main", "cert", "self", "--out", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _run(command: Sequence[str], said: bytes = b"", after: bytes = b"") -> str:
    """What a command prints, whatever its end. @param after: what it prints before it is said anything."""
    printed = b""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        while after not in printed and (more := os.read(process.stdout.fileno(), 65536)):
            printed += more
        printed += process.communicate(said, timeout=120)[0]
    return printed.decode("utf-8", "backslashreplace")


def _holds(pattern: str, text: str) -> None:
    assert re.search(pattern, text), f"no {pattern!r} in: {text[-1500:]}"


class Scans:
    """What those who look at TLS alone find."""

    def __init__(self, pair: Pair, submission: int, implicit: int) -> None:
        self._etc = pair.etc
        one = str(pair.etc / "one/cert.pem")
        self._trusting = ["-CAfile", one, "-verify_return_error", "-verify_hostname", HOST]
        self._ports = {
            "gateway, STARTTLS": (pair.gateway.port, True),
            "back-end, STARTTLS": (pair.backend.port, True),
            "submission, STARTTLS": (submission, True),
            "submission, TLS at once": (implicit, False),
        }

    def run(self, report: Report) -> None:
        """All checks, on each port."""
        check = partial(report.check, "openssl")
        if program("openssl") is None:
            report.missing("openssl", "Debian: apt install openssl")
        else:
            for name, (port, starttls) in self._ports.items():
                client = partial(self._client, port, starttls)
                check(f"{name}: TLS 1.3, certificate verified for its name", partial(self._spoken, client, "1_3"))
                check(f"{name}: TLS 1.2, likewise, with forward secrecy", partial(self._spoken, client, "1_2"))
                check(f"{name}: TLS 1.1 is refused by an alert", partial(self._old, client))
                check(
                    f"{name}: the certificate of each name asked for (SNI), else the first", partial(self._sni, client)
                )
                check(f"{name}: renegotiation is refused", partial(self._again, client, starttls))
        if program("sslscan") is None:
            report.missing("sslscan", "Debian: apt install sslscan")
            return
        for name, (port, starttls) in self._ports.items():
            what = f"{name}: TLS 1.2 and 1.3 alone, forward secrecy, no renegotiation, no Heartbleed"
            report.check("sslscan", what, partial(self._scan, port, starttls))

    def _client(self, port: int, starttls: bool, *more: str, said: bytes = b"QUIT\r\n", after: bytes = b"") -> str:
        """What C{openssl s_client} says."""
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", *more]
        return _run([*words, *(["-starttls", "smtp"] if starttls else [])], said, after)

    def _spoken(self, client: "partial[str]", version: str) -> None:
        said = client(f"-tls{version}", "-servername", HOST, *self._trusting)
        cipher = "TLS_" if version == "1_3" else "ECDHE-"
        _holds(rf"New, TLSv[\d.]+, Cipher is {cipher}", said)
        _holds(rf"Protocol *: TLSv{version.replace('_', '.')}|New, TLSv{version.replace('_', '.')}", said)
        _holds(r"Verif(y return code|ication): ?(0 \(ok\)|OK)", said)

    def _old(self, client: "partial[str]") -> None:
        # Debian's own client would not even offer it at its usual level.
        said = client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        _holds("alert protocol version", said)

    def _sni(self, client: "partial[str]") -> None:
        for name, folder in ((HOST, "one"), (SECOND, "two"), ("other.example", "one"), (None, "one")):
            said = client(*(["-servername", name] if name else ["-noservername"]))
            assert (self._etc / folder / "cert.pem").read_text().strip() in said, f"{name}: {said[:1500]}"

    def _again(self, client: "partial[str]", starttls: bool) -> None:
        # A greeting that came into the middle of it would end it as well.
        said = client("-tls1_2", said=b"R\n", after=b"Verify return code" if starttls else b"E-POST ESMTP")
        _holds("RENEGOTIATING", said)
        _holds("no renegotiation", said)

    def _scan(self, port: int, starttls: bool) -> None:
        words = ["sslscan", "--xml=-", *(["--starttls-smtp"] if starttls else []), f"127.0.0.1:{port}"]
        found = ElementTree.fromstring(_run(words))
        offered = {f"{p.get('type')} {p.get('version')}": p.get("enabled") for p in found.iter("protocol")}
        assert {name for name, enabled in offered.items() if enabled == "1"} == {"tls 1.2", "tls 1.3"}, offered
        assert len(offered) >= 6, f"sslscan looked for {sorted(offered)} alone"
        ciphers = [str(cipher.get("cipher")) for cipher in found.iter("cipher")]
        assert ciphers and all(c.startswith(("ECDHE-", "TLS_")) for c in ciphers), ciphers
        for element, key in (
            ("renegotiation", "supported"),
            ("heartbleed", "vulnerable"),
        ):
            values = {one.get(key) for one in found.iter(element)}
            assert values == {"0"}, f"{element}: {values}"


class Peers:
    """Postfix on both sides of the gateway."""

    def __init__(self, places: Places, postfix: Postfix, folder: Path) -> None:
        self.places = places
        self.postfix = postfix
        self._folder = folder
        self._gateway: Daemon = places.pair.gateway
        self._authority = Authority()

    def run(self, report: Report) -> None:
        """All checks."""
        before = partial(report.check, "Postfix →")
        cert = self.places.pair.etc / "one/cert.pem"
        self.postfix.set(
            relayhost=f"[{HOST}]:{self._gateway.port}",
            smtp_tls_loglevel=1,
            smtp_tls_CAfile=cert,
            smtp_host_lookup="native",
        )
        before("smtp_tls_security_level none: in clear, our Received says ESMTP", partial(self.inwards, "none", ""))
        tls = "our Received says ESMTPS and the cipher"
        before(f"may: {tls}; Postfix's log too", partial(self.inwards, "may", "(Trusted|Verified|Untrusted)"))
        before(f"encrypt: {tls}", partial(self.inwards, "encrypt", "(Trusted|Verified|Untrusted)"))
        before(f"verify: {tls}; Postfix calls our certificate verified", partial(self.inwards, "verify", "Verified"))
        before(f"secure: {tls}; Postfix calls our certificate verified", partial(self.inwards, "secure", "Verified"))
        before("secure, for another name: the message waits, and comes when the name is right", self.distrusts)
        behind = partial(report.check, "→ Postfix")
        self._present(self._authority, HOST)
        self.postfix.set(
            smtpd_tls_security_level="may",
            smtpd_tls_received_header="yes",
            smtpd_tls_chain_files=f"{self._folder}/key.pem, {self._folder}/chain.pem",
        )
        tls = "Postfix's Received names TLS and the cipher, our senderlog says"
        behind("[relay] tls none: in clear", partial(self.outwards, "none", None, ""))
        behind(
            f"may: {tls} unverified, and why", partial(self.outwards, "may", Authority("Other Root"), "unverified: ")
        )
        behind(
            f"may, its authority in tls_roots: {tls} verified",
            partial(self.outwards, "may", self._authority, "verified"),
        )
        behind(f"verify: {tls} verified", partial(self.outwards, "verify", self._authority, "verified"))
        behind("verify, another authority: 454 4.7.5 in the queue; it comes when the authority is right", self.stranger)
        behind(
            "verify, another name: 454 4.7.5 in the queue with both names; it comes when the name is right",
            self.misnamed,
        )
        behind("verify, no STARTTLS: 454 4.7.4 in the queue; it comes when STARTTLS is offered", self.bare)

    def _deliver(self, mark: str, port: int, recipient: str) -> bytes:
        """A message, as it came."""
        send = partial(SMTPLIB.send, port, BUCHO, [recipient])
        self.places.delivers(send, mark, letter(mark, "dots"), [recipient])
        return self.places.found(mark, recipient)[0]

    def inwards(self, level: str, trust: str) -> None:
        """Postfix, gateway, back-end. @param trust: what Postfix's log calls our certificate; empty: clear."""
        self.postfix.set(smtp_tls_security_level=level)
        begin = len(self.postfix.log())
        came = self._deliver(f"Postfix TLS {level}", self.postfix.port, KACHO)
        said = self.postfix.log()[begin:]
        if not trust:
            assert b"with ESMTPS" not in self._received(came, b"dc.epost.test"), came
            assert "TLS connection established" not in said, said
            return
        _holds(
            rf"{trust} TLS connection established to {HOST}\S*:{self._gateway.port}: TLSv1\.3 with cipher TLS_", said
        )
        _holds(r"with ESMTPS id .* tls TLS_\w+;", self._received(came, b"dc.epost.test").decode())

    @staticmethod
    def _received(content: bytes, by: bytes) -> bytes:
        """The Received field that somebody wrote, in one line."""
        head = re.sub(rb"\r?\n[ \t]+", b" ", content)
        found = [line for line in head.splitlines() if line.startswith(b"Received:") and b"by " + by in line]
        assert len(found) == 1, found
        return found[0]

    def distrusts(self) -> None:
        """Postfix holds what it cannot verify."""
        mark = "Postfix distrusts"
        self.postfix.set(smtp_tls_security_level="secure", smtp_tls_secure_cert_match="other.example")
        begin = len(self.postfix.log())
        taken, said = SMTPLIB.send(self.postfix.port, BUCHO, [KACHO], letter(mark, "dots"))
        assert taken, said
        waitUntil(
            "Postfix defers", lambda: "status=deferred (Server certificate not verified)" in self.postfix.log()[begin:]
        )
        assert not self.places.found(mark, KACHO)
        self.postfix.set(smtp_tls_secure_cert_match="nexthop", smtp_tls_security_level="secure")
        self.postfix.flush()
        self.places.delivers(lambda content: (True, ""), mark, letter(mark, "dots"), [KACHO])

    def _present(self, authority: Authority, *names: str) -> None:
        """Postfix's certificate."""
        chain, key = authority.issue(*names)
        (self._folder / "chain.pem").write_bytes(chain)
        (self._folder / "key.pem").write_bytes(key)

    def _relay(self, level: str, roots: Authority | None) -> None:
        """How the gateway relays from now on."""
        if roots is not None:
            (self._gateway.config.parent / "roots.pem").write_bytes(roots.pem)
        self._gateway.configure({"relay": {"tls": level, "tls_roots": "roots.pem" if roots else None}})
        self._gateway.restart()

    def outwards(self, level: str, roots: Authority | None, trust: str) -> None:
        """Gateway, Postfix."""
        self._relay(level, roots)
        begin = len(self._gateway.senderlog())
        came = self._deliver(f"relay {level} {trust}", self._gateway.port, TANAKA)
        received = self._received(came, b"mx.post.example").decode()
        ended = partial(self._since, begin, "250 2.0.0 Ok: queued")
        said = waitUntil("the end in senderlog", ended)
        if not trust:
            assert "TLS" not in received and "SendMailMess:STARTTLS" not in said, received + said
            return
        _holds(r"\(using TLSv1\.3 with cipher TLS_\w+ .*with ESMTPS id", received)
        _holds(rf"SendMailMess:TLSv1\.3 TLS_\w+ {trust}", said)

    def _since(self, begin: int, pattern: str) -> str:
        """What senderlog says behind its first lines, as soon as it has come to something: it is a second late."""
        said = "\n".join(self._gateway.senderlog()[begin:])
        return said if re.search(pattern, said) else ""

    def _waits(self, mark: str, reason: str) -> None:
        """Relay a message that cannot be relayed. @param reason: what then stands in its file of the queue."""
        taken, said = SMTPLIB.send(self._gateway.port, BUCHO, [TANAKA], letter(mark, "dots"))
        assert taken, said

        waitUntil(f"{reason} in the queue", partial(self._reason, reason))
        waitUntil(f"{reason} in senderlog", lambda: re.search(reason, "\n".join(self._gateway.senderlog())))
        assert not self.places.found(mark, TANAKA)

    def _reason(self, reason: str) -> bool:
        """Whether it stands in a file of the queue, behind the message."""
        found = []
        for file in self._gateway.queue("holding"):
            attempts = re.findall(
                r'"code": (\d+), "enhanced": "([\d.]+)", "lines": \["(.*?)"\]', file.read_text("utf-8")
            )
            found += [" ".join(attempt) for attempt in attempts]
        return any(re.search(reason, one) for one in found)

    def _comes(self, mark: str) -> None:
        self.places.delivers(lambda content: (True, ""), mark, letter(mark, "dots"), [TANAKA])

    def stranger(self) -> None:
        """Postfix's certificate is signed by somebody whom we do not trust."""
        self._relay("verify", Authority("Other Root"))
        self._waits("relay stranger", r"454 4\.7\.5 localhost\[[\d.]+\]:\d+: who signed the certificate is not known")
        self._relay("verify", self._authority)
        self._comes("relay stranger")

    def misnamed(self) -> None:
        """It is for another host."""
        self._present(self._authority, "other.example")
        self.postfix.set()
        self._waits("relay misnamed", r"454 4\.7\.5 .*the certificate is for other\.example, not for localhost")
        self._present(self._authority, HOST)
        self.postfix.set()
        self._comes("relay misnamed")

    def bare(self) -> None:
        """Postfix offers no TLS."""
        self.postfix.set(smtpd_tls_security_level="none")
        self._waits("relay bare", r"454 4\.7\.4 .*STARTTLS is not offered")
        self.postfix.set(smtpd_tls_security_level="may")
        self._comes("relay bare")
