"""Tests of L{epost.login.logins} and L{epost.login.checker}: who may log in, and what comes of those who may not."""

import base64
import hashlib
import hmac
import re
from pathlib import Path
from typing import cast
from unicodedata import normalize

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, formatEventAsClassicLogText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import Challenge, ILogin, ILogins, IWorkers, Outcome
from epost.login import checker, logins, memory, sasl, schemes, waiting
from epost.login.checker import ICramProof, IPassword, IScramProof, Realm
from epost.login.lockout import Lockout
from epost.login.logins import Login, Logins, Rules, shown
from epost.login.sasl import CramProof, Password, ScramProof
from epost.mail.address import parseAddress
from epost.mail.decision import Client
from epost.mail.fault import Fault
from epost.mail.reply import Refused
from epost.tables.building import build
from epost.tables.directory import Directory, Ground
from epost.tables.patterns import network
from tests.login.fakes import Anybody, Hands, OneLogin
from tests.login.test_schemes import HASH, SALT, cheap

USER = parseAddress("user1@test.jp")
HERE = Client("192.0.2.1", tls="TLSv1.3 X")
THERE = Client("198.51.100.7", tls="TLSv1.3 X")
KEYS = schemes.scramKeys(b"pass1234", b"salt" * 4, 4096)
Step = Challenge | Outcome


def accounts(*lines: str, local: tuple[str, ...] = ("test.jp",), separator: str = "") -> Directory:
    """A directory. @param lines: of accounts.dat, columns separated by blanks; ~ stands for a blank in one."""
    text = "\n".join(line.replace(" ", "\t").replace("~", " ") for line in lines)
    faults: list[Fault] = []
    ground = Ground("b.toml", "mx.test.jp", local, mailboxes=True, separator=separator)
    directory = build(ground, {"accounts": ("a", text.encode())}, faults, [])
    assert not faults, faults
    return directory


class LoginsCase(SynchronousTestCase):
    """A back-end with some accounts; hashes cost nothing."""

    def setUp(self) -> None:
        self.patch(schemes, "_argon2", None)
        self.patch(schemes, "SCRYPT", {"ln": 1, "r": 1, "p": 1})
        self.patch(schemes, "ITERATIONS", 4096)
        self.clock = Clock()
        self.clock.advance(1000000)
        self.directory = accounts(
            f"user1 {cheap()}~{KEYS}",
            "clear pass1234",
            f"hash {cheap()}",
            "off pass1234    0",
            "nopop pass1234    1 1  0 0",
        )
        self.hands = Hands()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.logins = self.make()

    def make(self, **rules: object) -> Logins:
        """The service."""
        self.lockout = Lockout(self.clock.seconds, 3, 6, 9, 900.0)
        known = {"mechanisms": sasl.MECHANISMS} | rules
        return Logins(
            Rules("mx.test.jp", **known),  # type: ignore[arg-type]
            lambda: self.directory,
            self.clock,
            self.hands,
            self.lockout,
            b"k" * 32,
        )

    def observe(self, event: LogEvent) -> None:
        """Keep a line of the daemon's log."""
        if str(event["log_namespace"]).startswith("epost."):
            self.lines.append(formatEvent(event))

    def step(self, login: Login, response: bytes | None) -> "Deferred[Step]":
        """What a step gives, whether it is at hand or not."""
        answer = login.step(response)
        if isinstance(answer, Deferred):
            return answer
        done: Deferred[Step] = Deferred()
        done.callback(answer)
        return done

    def plain(
        self, name: str, password: str = "pass1234", client: Client = HERE, service: str = "smtp"
    ) -> "Deferred[Step]":
        """A PLAIN login."""
        login = self.logins.begin("PLAIN", client, None, service)
        return self.step(login, f"\0{name}\0{password}".encode("utf-8", "surrogateescape"))

    def told(self, answer: "Deferred[Step]") -> Step:
        """What is said in the end."""
        if not answer.called:
            self.clock.advance(logins.SLOWEST)
        return self.successResultOf(answer)

    def assertIn_(self, answer: "Deferred[Step]", name: str = "user1@test.jp") -> None:
        """Somebody is logged in, without delay."""
        outcome = self.successResultOf(answer)
        assert isinstance(outcome, Outcome)
        self.assertEqual((outcome.reply.code, outcome.account), (235, parseAddress(name)))

    def assertOut(self, answer: "Deferred[Step]", code: int = 535) -> None:
        """Nobody is."""
        outcome = self.told(answer)
        assert isinstance(outcome, Outcome)
        self.assertEqual((outcome.reply.code, outcome.account), (code, None))

    def scram(
        self,
        name: str,
        password: bytes = b"pass1234",
        plus: bytes = b"",
        given: dict[str, bytes] | None = None,
        header: bytes = b"n,,",
    ) -> "Deferred[Step]":
        """A SCRAM login, by a client that calculates what RFC 5802 says. @param plus: the octets it binds to."""
        mechanism = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        login = self.logins.begin(mechanism, HERE, given.get if given else None)
        header = b"p=tls-exporter,," if plus and header == b"n,," else header
        bare = b"n=" + name.encode() + b",r=client"
        said = self.successResultOf(self.step(login, header + bare))
        assert isinstance(said, Challenge), said
        parts = dict(part.split(b"=", 1) for part in said.octets.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(parts[b"s"]), int(parts[b"i"]))
        final = b"c=" + base64.b64encode(header + plus) + b",r=" + parts[b"r"]
        message = b",".join((bare, said.octets, final))
        client = hmac.digest(salted, b"Client Key", "sha256")
        mask = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, mask, strict=True))
        answer = self.step(login, final + b",p=" + base64.b64encode(proof))
        if answer.called and isinstance(said := self.successResultOf(answer), Challenge):
            server = hmac.digest(salted, b"Server Key", "sha256")
            self.assertEqual(said.octets, b"v=" + base64.b64encode(hmac.digest(server, message, "sha256")))
            return self.step(login, b"")
        return answer

    def cram(self, name: str, password: bytes = b"pass1234") -> "Deferred[Step]":
        """A CRAM-MD5 login."""
        login = self.logins.begin("CRAM-MD5", HERE)
        said = self.successResultOf(self.step(login, None))
        assert isinstance(said, Challenge)
        return self.step(login, name.encode() + b" " + hmac.new(password, said.octets, "md5").hexdigest().encode())


class InterfaceTests(LoginsCase):
    """Who claims what."""

    def test_claims(self) -> None:
        """Service, login, checker, realm, proofs and fakes are what they claim to be."""
        verifyObject(ILogins, self.logins)
        verifyObject(ILogins, Anybody())
        verifyObject(ILogin, self.logins.begin("PLAIN", HERE))
        verifyObject(ILogin, OneLogin(Anybody()))
        verifyObject(IWorkers, self.hands)
        verifyObject(ICredentialsChecker, self.logins.checker)
        verifyObject(IRealm, Realm(lambda: self.directory))
        for interface, proof in (
            (IPassword, Password("a", b"b")),
            (ICramProof, CramProof("a", b"b", b"c")),
            (IScramProof, ScramProof("a", b"b", b"c")),
        ):
            verifyObject(interface, proof)
            verifyObject(ICredentials, proof)


class OfferTests(LoginsCase):
    """What is offered, and to whom."""

    def test_nothingInClear(self) -> None:
        """Without TLS nothing is offered and nothing begins, whatever the mechanism hides."""
        client = Client("192.0.2.1")
        self.assertEqual(self.logins.mechanisms(client), ())
        for name in sasl.MECHANISMS:
            refused = self.assertRaises(Refused, self.logins.begin, name, client)
            self.assertEqual((refused.reply.code, refused.reply.enhanced), (538, "5.7.11"))

    def test_clearNetworks(self) -> None:
        """Named networks may do without TLS."""
        self.logins = self.make(clear=(network("192.0.2.0/24"),))
        self.assertEqual(self.logins.mechanisms(Client("192.0.2.1"))[0], "SCRAM-SHA-256")
        self.assertEqual(self.logins.mechanisms(Client("198.51.100.7")), ())
        self.assertIn_(self.plain("user1", client=Client("192.0.2.1")))

    def test_plusWithABinding(self) -> None:
        """-PLUS is offered, and begins, where the connection has tls-exporter: TLS 1.2 has a binding, and not this."""
        self.assertNotIn("SCRAM-SHA-256-PLUS", self.logins.mechanisms(HERE))
        self.assertNotIn("SCRAM-SHA-256-PLUS", self.logins.mechanisms(HERE, {}.get))
        given = {"tls-server-end-point": b"h"}
        self.assertNotIn("SCRAM-SHA-256-PLUS", self.logins.mechanisms(HERE, given.get))
        for binding in (None, given.get):
            refused = self.assertRaises(Refused, self.logins.begin, "SCRAM-SHA-256-PLUS", HERE, binding)
            self.assertEqual(refused.reply.code, 504)
        given["tls-exporter"] = b"e"
        self.assertEqual(self.logins.mechanisms(HERE, given.get)[0], "SCRAM-SHA-256-PLUS")

    def test_unknown(self) -> None:
        """What is not in the setting does not begin; names are read in any case."""
        self.logins = self.make(mechanisms=("PLAIN",))
        for name in ("CRAM-MD5", "SCRAM-SHA-256", "GSSAPI", "", "EXTERNAL\r\n", "é"):
            self.assertEqual(self.assertRaises(Refused, self.logins.begin, name, HERE).reply.code, 504)
        self.assertEqual(self.logins.mechanisms(HERE), ("PLAIN",))
        self.logins.begin("plain", HERE)


class MechanismTests(LoginsCase):
    """Each mechanism logs in who has the password, and nobody else."""

    def test_plain(self) -> None:
        """PLAIN, for each form in which a password is kept."""
        for name in ("user1", "clear", "hash"):
            self.assertIn_(self.plain(name), f"{name}@test.jp")
            self.assertOut(self.plain(name, "pass1235"))
            self.assertOut(self.plain(name, ""))
            self.lockout.unlock("*")
        self.assertOut(self.plain("nobody"))

    def test_login(self) -> None:
        """LOGIN, prompt by prompt."""
        for password, account in ((b"pass1234", USER), (b"pass1235", None)):
            login = self.logins.begin("LOGIN", HERE)
            self.assertEqual(self.told(self.step(login, None)), Challenge(b"Username:"))
            self.assertEqual(self.told(self.step(login, b"user1@test.jp")), Challenge(b"Password:"))
            outcome = self.told(self.step(login, password))
            assert isinstance(outcome, Outcome)
            self.assertEqual(outcome.account, account)

    def test_scram(self) -> None:
        """SCRAM, with the keys of the table, and with those made of a password in clear."""
        for name in ("user1", "clear"):
            self.assertIn_(self.scram(name), f"{name}@test.jp")
            self.assertOut(self.scram(name, b"pass1235"))
        for name in ("hash", "nobody"):
            self.assertOut(self.scram(name))
        self.assertIn("the table has no SCRAM keys", "".join(self.lines))

    def test_plus(self) -> None:
        """SCRAM that binds to the TLS connection; with octets of another connection it fails."""
        given = {"tls-exporter": b"e" * 32}
        self.assertIn_(self.scram("user1", plus=b"e" * 32, given=given))
        self.assertOut(self.scram("user1", plus=b"f" * 32, given=given))

    def test_unknownBinding(self) -> None:
        """A client with a binding of its own is told so at once; it has guessed nothing, and no line says it had."""
        given = {"tls-exporter": b"e" * 32, "tls-server-end-point": b"h" * 32}
        for _ in range(20):
            login = self.logins.begin("SCRAM-SHA-256-PLUS", HERE, given.get)
            outcome = self.successResultOf(self.step(login, b"p=tls-unique,,n=user1,r=client"))
            assert isinstance(outcome, Outcome)
            self.assertEqual((outcome.reply.code, outcome.reply.enhanced), (504, "5.5.4"))
        self.assertEqual(self.lines, [])
        self.assertIn_(self.scram("user1", plus=b"h" * 32, given=given, header=b"p=tls-server-end-point,,"))

    def test_couldBind(self) -> None:
        """Who could bind and saw no -PLUS is taken where none was offered (TLS 1.2); else he was lied to."""
        given = {"tls-server-end-point": b"h" * 32}
        self.assertIn_(self.scram("user1", given=given, header=b"y,,"))
        given["tls-exporter"] = b"e" * 32
        login = self.logins.begin("SCRAM-SHA-256", HERE, given.get)
        self.assertOut(self.step(login, b"y,,n=user1,r=client"))

    def test_cram(self) -> None:
        """CRAM-MD5, where the table has the password in clear, and there alone."""
        self.assertIn_(self.cram("clear"), "clear@test.jp")
        self.assertOut(self.cram("clear", b"pass1235"))
        for name in ("user1", "nobody"):
            self.assertOut(self.cram(name))

    def test_names(self) -> None:
        """A name is an address in any case, or without its domain where one is local."""
        for name in ("user1", "USER1", "user1@test.jp", "User1@TEST.JP", "ｕｓｅｒ１"):
            self.assertIn_(self.plain(name))
        self.directory = accounts("user1 pass1234  a.jp", local=("a.jp", "b.jp"))
        self.assertOut(self.plain("user1"))
        self.assertIn_(self.plain("user1@a.jp"), "user1@a.jp")

    def test_composed(self) -> None:
        """A name is found however client and table compose its letters, by every mechanism."""
        for name in ("jos\u00e9", "が", "\uc11c\uc6b8", "ｕｓｅｒ２", "ｱﾝﾄﾞｳ", "\u05e9\u05dc\u05d5\u05dd"):
            spellings = {normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
            for table in spellings:
                self.directory = accounts(f"{table} pass1234", f"second {cheap()}")
                for client in spellings | {table.upper()}:
                    for answer in (self.plain(client), self.scram(client), self.cram(client)):
                        self.assertIn_(answer, f"{table}@test.jp")
                    self.assertIn_(self.plain(f"{client}@TEST.JP"), f"{table}@test.jp")
                    self.assertOut(self.plain(client, f"not {client} in {table}"))
                    counted = "@".join(parseAddress(f"{table}@test.jp").key)
                    self.assertEqual(self.lockout.failures(HERE.address, counted), 1, ascii(client))
                    self.lockout.unlock("*")

    def test_formsOfANewTable(self) -> None:
        """Another table is another set of names."""
        for name in ("が", "ぎ"):
            self.directory = accounts(f"{normalize('NFD', name)} pass1234")
            self.assertIn_(self.plain(name), f"{normalize('NFD', name)}@test.jp")
            self.assertOut(self.plain("ぐ"))

    def test_composedPasswords(self) -> None:
        """A password is one however a client composes it, and however it was composed when it was hashed."""
        typed = "ｇehe\u00efm\u304c"
        for form in ("NFC", "NFD", "NFKC"):
            text = normalize(form, typed)
            old, made = cheap(text.encode()), schemes.made(text).replace(" ", "~")
            keys = schemes.scramKeys(text.encode(), b"salt" * 4, 4096)
            self.directory = accounts(f"old {old}", f"keys {keys}", f"new {made}", f"clear {text}")
            for name in ("old", "keys", "new", "clear"):
                self.assertIn_(self.plain(name, text), f"{name}@test.jp")
                self.assertOut(self.plain(name, text + "x"))
            for sent in ("NFC", "NFD", "NFKC"):
                for name in ("new", "clear", *(("keys",) if form == "NFKC" else ())):
                    self.assertIn_(self.plain(name, normalize(sent, typed)), f"{name}@test.jp")
                if sent == "NFKC" or form != "NFKC":  # from half width nobody can tell what was in full width
                    self.assertIn_(self.cram("clear", normalize(sent, typed).encode()), "clear@test.jp")
            for name in ("new", "clear"):
                self.assertIn_(self.scram(name, normalize("NFKC", typed).encode()), f"{name}@test.jp")
            self.lockout.unlock("*")

    def test_asciiPasswordsAreHashedOnce(self) -> None:
        """A wrong password in ASCII costs one hash, and none costs more than two, whoever it is said to be of."""
        hashed: list[bytes] = []
        self.patch(schemes, "_scrypt", lambda password, *costs, **more: hashed.append(password) or b"")
        for name in ("hash", "nobody"):
            for password, most in (("wrong", 1), ("gehe\u00efm", 1), ("gehei\u0308m", 2), ("ｇｅｈｅi\u0308m", 2)):
                hashed.clear()
                self.assertOut(self.plain(name, password))
                self.assertEqual(len(hashed), most, password)
                self.lockout.unlock("*")

    def test_notForAnother(self) -> None:
        """Nobody acts for another, whatever his password."""
        login = self.logins.begin("PLAIN", HERE)
        self.assertOut(self.step(login, b"clear\0user1\0pass1234"))
        self.assertIn_(self.step(self.logins.begin("PLAIN", HERE), b"user1\0user1\0pass1234"))

    def test_tags(self) -> None:
        """A name with a tag is the one without, and counts as that, whether somebody has it or not."""
        self.directory = accounts("clear pass1234", "a+b pass1234", separator="+")
        self.assertIn_(self.plain("clear+shop"), "clear@test.jp")
        self.assertIn_(self.plain("a+b"), "a+b@test.jp")
        checker = self.logins.checker
        for name in ("clear", "nobody", "+odd", "clear@other.jp"):
            tagged = name.replace("@", "+shop@") if "@" in name else f"{name}+shop"
            self.assertEqual(checker.salt(name), checker.salt(tagged), name)
            self.assertEqual(checker.compared(name), checker.compared(tagged))

    def test_aliasIsNoAccount(self) -> None:
        """An alias is no name to log in with."""
        texts = {"accounts": ("a", b"user1\tpass1234\n"), "aliases": ("b", b"sales@test.jp\tuser1@test.jp\n")}
        self.directory = build(Ground("b.toml", "mx.test.jp", ("test.jp",), mailboxes=True), texts, [], [])
        self.assertOut(self.plain("sales@test.jp"))

    def test_afterTheEnd(self) -> None:
        """A login that failed has ended: whoever goes on all the same is not let in."""
        login = self.logins.begin("PLAIN", HERE)
        self.assertOut(self.step(login, b"\0user1\0wrong"))
        self.assertRaises(RuntimeError, login.step, b"")
        login = self.logins.begin("SCRAM-SHA-256", HERE)
        self.assertOut(self.step(login, b"rubbish"), 501)
        self.assertRaises(RuntimeError, login.step, b"")

    def test_whileItIsChecked(self) -> None:
        """What a client sends ahead while its password is being checked lets nobody in."""
        self.hands.held = True
        login = self.logins.begin("PLAIN", HERE)
        answer = self.step(login, b"\0user1\0wrong")
        self.assertRaises(RuntimeError, login.step, b"")
        self.hands.work()
        self.assertOut(answer)

    def test_whileScramIsChecked(self) -> None:
        """Nor does it draw the server's signature, or an end that nobody has proved."""
        self.hands.held = True
        login = self.logins.begin("SCRAM-SHA-256", HERE)
        said = self.told(self.step(login, b"n,,n=clear,r=x"))
        assert isinstance(said, Challenge)
        nonce = said.octets.partition(b",")[0]
        answer = self.step(login, b"c=biws," + nonce + b",p=" + base64.b64encode(b"p" * 32))
        self.assertRaises(RuntimeError, login.step, b"")
        self.hands.work()
        self.assertOut(answer)
        self.assertRaises(RuntimeError, login.step, b"")


class AccountTests(LoginsCase):
    """What an account may do."""

    def test_flags(self) -> None:
        """The flags of its line hold for their services: SMTPauthflag, POP3, IMAP4."""
        self.assertOut(self.plain("off"))
        self.assertIn_(self.plain("off", service="pop3"), "off@test.jp")
        for service in ("pop3", "imap4"):
            self.assertOut(self.plain("nopop", service=service))
        self.assertIn_(self.plain("nopop"), "nopop@test.jp")

    def test_details(self) -> None:
        """One that is disabled, and one that comes from elsewhere, is told no more than any other; the log tells."""
        for details, client, why in (
            ("disabled = true", HERE, "the account is disabled"),
            ('networks = ["192.0.2.0/24"]', THERE, "the account may not log in from this address"),
            ('networks = ["192.0.2.0/24"]', HERE, ""),
        ):
            texts = {"accounts": ("a", b"user1\tpass1234"), "details": ("d", f'["user1@test.jp"]\n{details}'.encode())}
            faults: list[Fault] = []
            self.directory = build(Ground("b.toml", "h", ("test.jp",), mailboxes=True), texts, faults, [])
            self.assertEqual(faults, [])
            if why:
                self.assertOut(self.plain("user1", client=client))
                self.assertIn(why, self.lines[-1])
            else:
                self.assertIn_(self.plain("user1", client=client))

    def test_sameWords(self) -> None:
        """No account, a wrong password, one that is switched off: one reply for all, and the log tells which."""
        said = {str(cast(Outcome, self.told(self.plain(*who))).reply) for who in (("x",), ("user1", "x"), ("off",))}
        self.assertEqual(said, {"535 5.7.8 Authentication credentials invalid."})
        for why in ("no such account", "wrong password", "smtp is switched off for this account"):
            self.assertIn(f"why={why}", "\n".join(self.lines))

    def test_absurdCosts(self) -> None:
        """A hash that nobody should calculate is not calculated: the log names the line, once, and nobody gets in."""
        self.directory = accounts("a pass1234", f"user1 {{SCRYPT}}ln=30,r=8,p=1${SALT}${HASH}")
        for password in ("pass1234", "other"):
            self.assertOut(self.plain("user1", password))
        told = [line for line in self.lines if "cannot log in" in line]
        self.assertEqual(len(told), 1)
        self.assertIn(
            "user1@test.jp cannot log in: column Pass in line 2 of the accounts: scrypt at ln=30,r=8,p=1", told[0]
        )
        self.assertNotIn(HASH, told[0])
        self.assertOut(self.scram("user1"))

    def test_refusedByTheLibrary(self) -> None:
        """A hash that only the library finds unreadable lets nobody in, and is told once, with its line."""

        def refuse(scrypt: schemes.Scrypt, octets: bytes) -> bool:
            raise schemes.SchemeError("argon2: no", "another")

        self.patch(schemes.Scrypt, "verify", refuse)
        for password in ("pass1234", "other"):
            self.assertOut(self.plain("hash", password))
        told = [line for line in self.lines if "cannot log in" in line]
        self.assertEqual(len(told), 1)
        self.assertIn("hash@test.jp cannot log in: column Pass in line 3 of the accounts: argon2: no", told[0])


class OverTests(LoginsCase):
    """Whoever is logged in is welcome as long as he could log in again, with what he logged in with."""

    def enter(self, name: str = "user1", client: Client = HERE, service: str = "smtp") -> Login:
        """Somebody who has logged in."""
        login = self.logins.begin("PLAIN", client, None, service)
        self.assertIn_(self.step(login, f"\0{name}\0pass1234".encode()), f"{name}@test.jp")
        self.assertIsNone(login.over())
        return login

    def detailed(self, details: str) -> Directory:
        """The directory with details of one account."""
        texts = {"accounts": ("a", b"clear\tpass1234"), "details": ("d", f'["clear@test.jp"]\n{details}'.encode())}
        return build(Ground("b.toml", "h", ("test.jp",), mailboxes=True), texts, [], [])

    def test_over(self) -> None:
        """Another password, no account, a flag at 0, disabled, another network: 421, and the log tells which."""
        for service, directory, why in (
            ("smtp", accounts("clear pass1235"), "the password was changed"),
            ("smtp", accounts("clear pass1235    0"), "the password was changed"),
            ("smtp", accounts("clear pass1234    0"), "smtp is switched off for this account"),
            ("pop3", accounts("clear pass1234    1 1  0 1"), "pop3 is switched off for this account"),
            ("smtp", accounts("other pass1234"), "no such account"),
            ("smtp", self.detailed("disabled = true"), "the account is disabled"),
            ("smtp", self.detailed('networks = ["10.0.0.0/8"]'), "the account may not log in from this address"),
        ):
            self.directory = accounts("clear pass1234")
            login = self.enter("clear", service=service)
            self.directory = directory
            self.lines.clear()
            reply = login.over()
            self.assertEqual(str(reply), "421 4.7.0 mx.test.jp Log in again, closing connection.", why)
            self.assertEqual(self.lines, [f"login over: user=<clear@test.jp> address=192.0.2.1 why={why}"])

    def test_notOver(self) -> None:
        """Whatever else changes in the tables, who is logged in goes on; nor does a lock touch him."""
        login = self.enter("clear")
        for directory in (
            accounts("other x", "clear pass1234 Full~Name   1  5000 0 0"),
            self.detailed('networks = ["192.0.2.0/24"]\noutside = false'),
        ):
            self.directory = directory
            self.assertIsNone(login.over())
        for number in range(20):
            self.told(self.plain("clear", f"wrong{number}"))
            if self.lockout.network(HERE.address):
                break
        self.assertIsNone(login.over())

    def test_nobody(self) -> None:
        """A login that has not succeeded is nobody's."""
        login = self.logins.begin("PLAIN", HERE)
        self.assertIsNone(login.over())
        self.assertOut(self.step(login, b"\0user1\0wrong"))
        self.assertIsNone(login.over())

    def test_whileItIsChecked(self) -> None:
        """A password that is changed while the old one is being checked lets nobody in."""
        self.hands.held = True
        for directory in (accounts(f"user1 {cheap(b'new12345')}"), accounts("other pass1234")):
            self.directory, self.logins = accounts(f"user1 {cheap()}"), self.make()
            answer = self.plain("user1")
            self.directory = directory
            self.hands.work()
            self.assertOut(answer)
            self.assertIn("why=the password was changed meanwhile", self.lines[-1])


class MemoryTests(LoginsCase):
    """A hash is calculated as seldom as can be."""

    def test_thousandLogins(self) -> None:
        """A thousand logins of one account in a minute cost one hash; after ten minutes it is one more."""
        for _ in range(1000):
            self.assertIn_(self.plain("user1"))
            self.clock.advance(0.06)
        self.assertEqual(self.hands.done, 1)
        self.clock.advance(checker.PROVED)
        self.assertIn_(self.plain("user1"))
        self.assertEqual(self.hands.done, 2)

    def test_thousandAtOnce(self) -> None:
        """Those that come while the hash is being calculated wait for the same answer."""
        self.hands.held = True
        answers = [self.plain("user1") for _ in range(1000)]
        self.assertNoResult(answers[999])
        self.hands.work()
        for answer in answers:
            self.assertIn_(answer)
        self.assertEqual(self.hands.done, 1)

    def test_changedPassword(self) -> None:
        """When the column changes the old password is wrong at once and the new one right."""
        self.assertIn_(self.plain("user1"))
        self.assertOut(self.plain("user1", "new12345"))
        self.directory = accounts(f"user1 {cheap(b'new12345')}")
        self.assertOut(self.plain("user1"))
        self.assertIn_(self.plain("user1", "new12345"))

    def test_removedAccount(self) -> None:
        """An account that is gone is gone, however lately it has logged in."""
        self.assertIn_(self.plain("user1"))
        self.directory = accounts("other pass1234")
        self.assertOut(self.plain("user1"))

    def test_switchedOff(self) -> None:
        """What an account may do is looked at each time, remembered password or not."""
        self.assertIn_(self.plain("user1"))
        self.directory = accounts(f"user1 {cheap()}~{KEYS}    0")
        self.assertOut(self.plain("user1"))

    def test_notEachOthers(self) -> None:
        """What proves one account proves no other, with the same password and the same column."""
        self.directory = accounts("a pass1234", "b pass1234", "c pass1235")
        self.assertIn_(self.plain("a"), "a@test.jp")
        self.assertIn_(self.plain("b"), "b@test.jp")
        self.assertOut(self.plain("c"))

    def test_sameWrongPassword(self) -> None:
        """A telephone with an old password costs one hash and locks nobody out; it has one line a minute."""
        for _ in range(800):
            answer = self.plain("user1", "old")
            self.clock.advance(1)
            self.assertOut(answer)
        self.assertEqual(self.hands.done, 1)
        self.assertEqual(self.lockout.locks(), [])
        self.assertEqual(len([line for line in self.lines if line.startswith("login failed")]), 1 + 14)
        self.assertIn_(self.plain("user1"))

    def test_sameWrongPasswordForLong(self) -> None:
        """Nor does such a telephone lock anybody out where failures are counted for a day."""
        self.logins = self.make(lockTime=86400.0)
        self.lockout = self.logins.lockout = Lockout(self.clock.seconds, 3, 6, 9, 86400.0)
        for _ in range(100):
            self.assertOut(self.plain("user1", "old"))
            self.clock.advance(800)
        self.assertEqual(self.lockout.locks(), [])

    def test_elsewhereItIsAGuess(self) -> None:
        """What one network sends again is a guess from another: nobody learns what somebody's telephone sends."""
        for _ in range(3):
            self.assertOut(self.plain("user1", "old", client=THERE))
        self.assertOut(self.plain("user1", "old"))
        self.assertOut(self.plain("user1", "old"))
        found = [self.lockout.failures(client.address, "user1@test.jp") for client in (THERE, HERE)]
        self.assertEqual((found, self.hands.done), ([1, 1], 1))

    def test_rightPasswordOfOneSwitchedOff(self) -> None:
        """Somebody whose account is switched off, and whose telephone does not know, locks out nobody beside him."""
        for _ in range(50):
            self.assertOut(self.plain("off"))
        self.assertEqual(self.lockout.failures(HERE.address, "off@test.jp"), 1)
        self.assertIn_(self.plain("user1"))

    def test_keysAtOnce(self) -> None:
        """Those who want the SCRAM keys of one clear password at one time wait for the same ones."""
        self.hands.held = True
        answers = [self.scram("clear") for _ in range(20)]
        self.hands.work()
        self.assertTrue(all(isinstance(self.told(answer), Challenge) for answer in answers))
        self.assertEqual(self.hands.done, 1)

    def test_keysOfClearPasswords(self) -> None:
        """SCRAM keys of a password in clear are calculated once."""
        for _ in range(5):
            self.assertIn_(self.scram("clear"), "clear@test.jp")
        self.assertEqual(self.hands.done, 1)

    def test_bounded(self) -> None:
        """However many passwords are tried, a bounded number is remembered."""
        self.patch(memory, "KEPT", 20)
        for number in range(100):
            self.told(self.plain("user1", f"wrong{number}", Client(f"192.0.2.{number}", tls="x")))
            self.lockout.unlock("*")
        self.assertEqual(len(self.logins.checker._wrong), 20)

    def test_noPasswordIsKept(self) -> None:
        """What is remembered holds no password, nor anything that could be compared with a list of them."""
        self.assertIn_(self.plain("user1"))
        self.assertOut(self.plain("user1", "wrong123"))
        kept = repr((self.logins.checker._proved._all, self.logins.checker._wrong._all))
        for text in ("pass1234", "wrong123", hashlib.sha256(b"pass1234").hexdigest()):
            self.assertNotIn(text, kept)
        other = self.make()
        self.assertNotEqual(other.checker._mark("a", "b", b"c"), self.logins.checker._mark("a", "b", b"c"))


class StrangerTests(LoginsCase):
    """Nobody learns who exists."""

    def test_sameWork(self) -> None:
        """A name that does not exist costs a hash as one that does, in each form of keeping a password."""
        verified: list[int] = []
        real = schemes.Scrypt.verify

        def verify(scrypt: schemes.Scrypt, octets: bytes) -> bool:
            verified.append(1)
            return real(scrypt, octets)

        self.patch(schemes.Scrypt, "verify", verify)
        for name in ("user1", "clear", "hash", "nobody", "../../etc", "x@other.jp"):
            before = self.hands.done
            verified.clear()
            self.assertOut(self.plain(name, "wrong"))
            self.assertEqual((self.hands.done - before, len(verified)), (1, 1), name)
            self.lockout.unlock("*")

    def test_sameTime(self) -> None:
        """A refusal is said a second after the attempt began, whatever it took and whoever it was."""
        self.hands.held = True
        for name, took in (("user1", 0.2), ("nobody", 0.9), ("off", 0.0)):
            answer = self.plain(name, "wrong" if name != "off" else "pass1234")
            self.clock.advance(took)
            self.hands.work()
            self.clock.advance(0.999 - took)
            self.assertNoResult(answer)
            self.clock.advance(0.002)
            self.assertTrue(answer.called)
            self.assertOut(answer)
            self.lockout.unlock("*")

    def test_sameSalt(self) -> None:
        """SCRAM gives a name that does not exist a salt too: its own, each time, after a restart, in any spelling."""
        salts = {}
        for name in ("nobody", "NOBODY@test.jp", "other", "../../etc", "hash"):
            login = self.logins.begin("SCRAM-SHA-256", HERE)
            said = self.told(self.step(login, b"n,,n=" + name.encode() + b",r=x"))
            assert isinstance(said, Challenge)
            salts[name] = said.octets.partition(b",")[2]
            self.assertEqual(self.make().checker.salt(name), self.logins.checker.salt(name))
        self.assertEqual(salts["nobody"], salts["NOBODY@test.jp"])
        self.assertEqual(len(set(salts.values())), 4)
        self.assertRegex(salts["nobody"], rb"\As=[A-Za-z0-9+/]{22}==,i=4096\Z")
        self.assertEqual(self.logins.checker.salt("user1"), (b"salt" * 4, 4096))

    def test_sameLock(self) -> None:
        """A name that does not exist is locked as one that does."""
        for name in ("user1", "nobody"):
            codes = [cast(Outcome, self.told(self.plain(name, f"wrong{i}"))).reply.code for i in range(5)]
            self.assertEqual(codes, [535, 535, 535, 454, 454])
            self.lockout.unlock("*")


class AttackTests(LoginsCase):
    """Names that were made to do harm."""

    NAMES = ("../../etc", "user1\r\nlogin ok", "x" * 10000, "user1\x1b[2J", "\udcff\udcfe", "a b> address=8.8.8.8 why=")

    def test_oneSafeLine(self) -> None:
        """Each is refused like any other, and has one line in the log, in which nothing can end or begin another."""
        for name in self.NAMES:
            for mechanism in ("PLAIN", "LOGIN"):
                self.lines.clear()
                login = self.logins.begin(mechanism, HERE)
                octets = name.encode("utf-8", "surrogateescape")
                if mechanism == "LOGIN":
                    self.step(login, octets)
                answer = self.step(login, b"\0" + octets + b"\0x" if mechanism == "PLAIN" else b"y")
                self.assertOut(answer, 501 if "\udcff" in name else 535)
                failed = [line for line in self.lines if line.startswith("login failed")]
                self.assertEqual(len(failed), 1, name)
                self.assertTrue(failed[0].isprintable() and len(failed[0]) < 800)
                found = re.fullmatch(
                    r"login failed: user=<[^<> ]*> address=(\S+) mechanism=(\S+) why=[a-zA-Z0-9 -]+", failed[0]
                )
                assert found is not None, failed[0]
                self.assertEqual(found.groups(), ("192.0.2.1", mechanism))
                self.lockout.unlock("*")

    def test_nul(self) -> None:
        """A NUL within a name is no PLAIN message; within a LOGIN name it is nobody's."""
        self.assertOut(self.step(self.logins.begin("PLAIN", HERE), b"\0us\0er1\0pass1234"), 501)
        login = self.logins.begin("LOGIN", HERE)
        self.step(login, b"user1\0")
        self.assertOut(self.step(login, b"pass1234"))
        self.assertIn("user=<user1\\x00>", self.lines[-1])

    def test_fail2ban(self) -> None:
        """The filter in logins.md finds the address in each such line, as the daemon's log has it, and nothing else."""
        page = (Path(__file__).parents[2] / "docs/logins.md").read_text("utf-8")
        found = re.search(r"failregex = (.+)", page)
        assert found is not None
        pattern = found[1].replace("<HOST>", r"(?P<host>\S+)")
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for client in (HERE, Client("2001:db8::1", tls="x")):
            self.told(self.plain("x> address=8.8.8.8 mechanism=PLAIN why=", "y", client))
        lines = [str(formatEventAsClassicLogText(event)).partition(" ")[2].strip() for event in events]
        hosts = [match["host"] for line in lines if (match := re.search(pattern, line))]
        self.assertEqual(hosts, ["192.0.2.1", "2001:db8::1"])

    def test_shown(self) -> None:
        """A name in a line of the log has nothing in it that could end it."""
        self.assertEqual(shown("a> b<\n"), "a\\x3e\\x20b\\x3c\\x0a")
        self.assertEqual(shown("a\u3000b\xa0\x1f"), "a\\xe3\\x80\\x80b\\xc2\\xa0\\x1f")

    def test_noPasswordInTheLog(self) -> None:
        """Neither a right nor a wrong password stands in any line, nor a response."""
        for name in ("user1", "nobody"):
            self.told(self.plain(name, "geheim99"))
        self.told(self.step(self.logins.begin("PLAIN", HERE), b"geheim99"))
        self.told(self.step(self.logins.begin("SCRAM-SHA-256", HERE), b"geheim99"))
        self.assertEqual(len([line for line in self.lines if "login failed" in line]), 4)
        self.assertNotIn("geheim99", "\n".join(self.lines))

    def test_longPasswords(self) -> None:
        """A password of a megabyte is not hashed."""
        self.assertOut(self.plain("user1", "x" * 1000000))
        self.assertEqual(self.hands.done, 0)

    def test_manyAtOnce(self) -> None:
        """Guesses that come all at once are no more than one by one: those above the limit are not looked at."""
        self.hands.held = True
        answers = [self.plain("user1", f"wrong{i}") for i in range(50)]
        self.hands.work()
        self.assertEqual(self.hands.done, 3)
        codes = [cast(Outcome, self.told(answer)).reply.code for answer in answers]
        self.assertEqual((codes.count(535), codes.count(454)), (3, 47))

    def test_oneNetworkIsNotAll(self) -> None:
        """One network cannot fill the queue of hashes: others are looked at."""
        self.hands.held = True
        self.lockout._pairs.limit = 1000
        for i in range(logins.EACH + 20):
            self.plain(f"user{i}", "x")
        self.assertEqual(len(self.hands._given), logins.EACH)
        answer = self.plain("user1", client=THERE)
        self.hands.work()
        self.assertIn_(answer)
        self.assertEqual(self.logins._running, {})

    def test_keysAreNotFree(self) -> None:
        """Nor by SCRAM with accounts whose passwords stand in clear, whose keys have to be calculated."""
        self.directory = accounts(*(f"user{i} pass1234" for i in range(logins.EACH + 20)))
        self.hands.held = True
        for i in range(logins.EACH + 20):
            self.scram(f"user{i}", b"wrong")
        self.assertEqual(len(self.hands._given), logins.EACH)
        self.hands.work()
        self.assertEqual(self.logins._running, {})

    def test_manyNetworksAreNotAll(self) -> None:
        """Guessers from many networks cannot fill the queue: whoever is where he has been before is looked at."""
        self.lockout.succeeded(THERE.address, "user1@test.jp")
        self.hands.held = True
        for i in range(logins.STRANGERS + 10):
            self.plain(f"user{i}", "x", Client(f"203.0.113.{i}", tls="TLSv1.3 X"))
        self.assertEqual(len(self.hands._given), logins.STRANGERS)
        self.assertOut(self.plain("hash"), 454)
        answer = self.plain("user1", client=THERE)
        self.hands.work()
        self.assertIn_(answer)
        self.assertEqual(self.logins._running, {})

    def test_busy(self) -> None:
        """Where too many hashes wait the client may try again later; nobody is counted, and the next is looked at."""
        self.hands.busy = True
        for _ in range(10):
            self.assertOut(self.plain("user1"), 454)
        self.hands.busy = False
        self.assertIn_(self.plain("user1"))

    def test_defect(self) -> None:
        """A defect of ours is logged, and is a 454; those who wait for the same answer are told so too."""
        self.hands.held = True
        answers = [self.plain("user1") for _ in range(2)]
        self.patch(schemes.Scrypt, "verify", lambda self, octets: 1 / 0)
        self.hands.work()
        for answer in answers:
            self.assertOut(answer, 454)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.lockout.failures("192.0.2.1", "user1@test.jp"), 0)


class DelayTests(LoginsCase):
    """Guessing is slow, logging in is not."""

    def test_grows(self) -> None:
        """A refusal is said after a second, two, four … sixteen; success at once all the same."""
        self.lockout._pairs.limit = self.lockout._networks.limit = 100
        waits = []
        for number in range(7):
            answer = self.plain("user1", f"wrong{number}")
            began = self.clock.seconds()
            while not answer.called:
                self.clock.advance(0.5)
            waits.append(self.clock.seconds() - began)
            self.assertOut(answer)
        self.assertEqual(waits, [1, 2, 4, 8, 16, 16, 16])
        self.assertIn_(self.plain("user1"))

    def test_bounded(self) -> None:
        """A bounded number of clients waits: for one more, who waits longest has his answer now."""
        self.patch(waiting, "WAITING", 3)
        answers = [self.plain(f"x{number}", client=Client(f"192.0.2.{number}", tls="x")) for number in range(5)]
        self.assertEqual([answer.called for answer in answers], [True, True, False, False, False])
        self.clock.advance(1)
        self.assertTrue(all(answer.called for answer in answers))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none(self) -> None:
        """With 0 nobody waits."""
        self.logins = self.make(delay=0.0)
        answer = self.plain("user1", "wrong")
        self.clock.advance(0)
        self.assertTrue(answer.called)
        self.assertOut(answer)

    def test_stop(self) -> None:
        """When the daemon stops all who wait are answered, and the threads end."""
        self.logins.startService()
        answer = self.plain("user1", "wrong")
        self.logins.stopService()
        self.assertTrue(answer.called)
        self.assertEqual((self.clock.getDelayedCalls(), self.hands.stopped), ([], True))
        self.assertOut(answer)


class LockTests(LoginsCase):
    """After some failures nobody may try."""

    def lock(self, name: str = "user1", client: Client = HERE) -> None:
        """Three failures."""
        for number in range(3):
            self.assertOut(self.plain(name, f"wrong{number}", client))

    def test_account(self) -> None:
        """The right password is refused too, from there; elsewhere it is right; after the time it is here too."""
        self.assertIn_(self.plain("user1"))
        self.lock()
        self.assertOut(self.plain("user1"), 454)
        self.assertIn_(self.plain("user1", client=THERE))
        self.assertIn_(self.plain("clear"), "clear@test.jp")
        self.clock.advance(900)
        self.assertIn_(self.plain("user1"))
        self.assertIn("login locked: user=<user1@test.jp> network=192.0.2.1 for 900 s", self.lines)

    def test_everyMechanism(self) -> None:
        """A lock holds for all mechanisms, and failures of all of them are counted together."""
        self.assertOut(self.plain("clear", "wrong"))
        self.assertOut(self.scram("clear", b"wrong"))
        self.assertOut(self.cram("clear", b"wrong"))
        for answer in (self.plain("clear"), self.scram("clear"), self.cram("clear")):
            self.assertOut(answer, 454)

    def test_everySpelling(self) -> None:
        """Nobody gets more guesses by writing the name in another way."""
        for name in ("user1", "USER1@test.jp", "ｕｓｅｒ１"):
            self.assertOut(self.plain(name, f"not {name}{len(self.lines)}"))
        self.assertOut(self.plain("User1"), 454)

    def test_network(self) -> None:
        """A network that fails with many names is turned away before it says one, and its connection ends."""
        for number in range(6):
            self.assertOut(self.plain(f"user{number}", "wrong"))
        refused = self.assertRaises(Refused, self.logins.begin, "PLAIN", HERE)
        self.assertEqual(str(refused.reply), "421 4.7.0 mx.test.jp Too many failed logins, closing connection.")
        self.assertIn_(self.plain("user1", client=THERE))

    def test_malformed(self) -> None:
        """What is no message in its mechanism is counted for the network too."""
        for _ in range(6):
            self.assertOut(self.step(self.logins.begin("PLAIN", HERE), b"rubbish"), 501)
        self.assertRaises(Refused, self.logins.begin, "PLAIN", HERE)

    def test_malformedByName(self) -> None:
        """Who has said a name before is in the line of the log, and counted by it as well."""
        login = self.logins.begin("SCRAM-SHA-256", HERE)
        self.told(self.step(login, b"n,,n=user1,r=client"))
        self.assertOut(self.step(login, b"rubbish"), 501)
        words = "login failed: user=<user1> address=192.0.2.1 mechanism=SCRAM-SHA-256 why=no SCRAM message"
        self.assertEqual(self.lines[-1:], [words])

    def test_ownerIsNotLockedOut(self) -> None:
        """However many machines guess at an account, its owner logs in from where he always does."""
        self.assertIn_(self.plain("user1", client=THERE))
        for number in range(12):
            self.told(self.plain("user1", f"wrong{number}", Client(f"203.0.113.{number}", tls="x")))
        self.assertOut(self.plain("user1", client=HERE), 454)
        self.assertIn_(self.plain("user1", client=THERE))

    def test_linesOfTheLocked(self) -> None:
        """What a locked client tries is told once a minute, with how much it was; another network at once."""
        self.lock()
        self.lines.clear()
        waits = [self.plain("user1", f"more{number}") for number in range(20)]
        failed = [line for line in self.lines if line.startswith("login failed")]
        self.assertEqual(
            failed,
            [
                "login failed: user=<user1> address=192.0.2.1 mechanism=PLAIN "
                "why=too many failed logins as this user from this address"
            ],
        )
        self.clock.advance(60)
        waits.append(self.plain("user1"))
        self.assertIn("; 19 more like it before", self.lines[-1])
        self.lockout.failed("198.51.100.7", "user1@test.jp")
        self.lockout.failed("198.51.100.7", "user1@test.jp")
        self.lockout.failed("198.51.100.7", "user1@test.jp")
        self.lines.clear()
        waits.append(self.plain("user1", client=THERE))
        self.assertIn("address=198.51.100.7", self.lines[-1])
        self.clock.advance(16)
        for wait in waits:
            self.assertOut(wait, 454)
