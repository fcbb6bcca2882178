"""
Who may log in, now, from here: the service that the shells of SMTP, POP3 and IMAP ask.

A refusal is said a while after the attempt began, whatever took place in between: a second first, then two, four, at
most L{SLOWEST}. So it tells nobody which of name and password was wrong, or how that was found out, and guessing is
slow. A login that succeeds is never held up. Each failure has one line in the daemon's log, in a form that fail2ban
reads; what is refused without a look at it (a lock, the same password again) has one a minute for each site.

Whoever is logged in is welcome as long as he could log in again: the shells ask before they do anything for him.

RFC 4954 4 and 6 (replies), RFC 5802 (SCRAM).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from twisted.application.service import Service
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import Challenge, ILogin, ILogins, IWorkers, Outcome
from epost.login import sasl
from epost.login.checker import Checker, ILoggedIn, Realm, Visit, ended
from epost.login.desk import Desk
from epost.login.lockout import Lock, Lockout, owner, site
from epost.login.memory import Key, Memory
from epost.login.sasl import Binding, Password, Proof, Talk
from epost.login.waiting import Waiting
from epost.mail.decision import Client
from epost.mail.reply import Refused, Reply
from epost.mail.safe import safe
from epost.smtp import wording
from epost.tables.accounts import Account
from epost.tables.directory import Directory
from epost.tables.patterns import Network, Networks

SLOWEST = 16.0  # seconds after which a refusal is said at the latest: clients wait for half a minute or more
EACH = 32  # hashes at one time for one network: half of all
STRANGERS = 48  # and for all from where their account has not logged in: guessers leave room for the others
QUIET = 60.0  # seconds in which a network's refusals without a look are told once
LOOK = 1.0  # seconds between two looks at the desk

_STRANGERS = ("",)  # no network
_BREAKS = re.compile(r"[\s<>]")  # what would end the name in a line of the log, blanks of any width too


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What the settings say.

    @ivar host: our name, in challenges and replies.
    @ivar mechanisms: the names of those that are offered, the best first; -PLUS goes with SCRAM-SHA-256.
    @ivar clear: networks whose clients may log in without TLS.
    @ivar delay: seconds after which the first refusal is said. 0: at once, all of them.
    @ivar lockTime: how long a lock lasts, seconds.
    """

    host: str
    mechanisms: tuple[str, ...] = sasl.MECHANISMS[:4]
    clear: tuple[Network, ...] = ()
    delay: float = 1.0
    lockTime: float = 900.0


@implementer(ILogins)
class Logins(Service):
    """
    See L{ILogins}. Started, it looks at its desk; stopped, it answers all who wait.

    @ivar lockout: who has failed how often.
    """

    name = "logins"
    log = Logger()

    def __init__(
        self,
        rules: Rules,
        directory: Callable[[], Directory],
        clock: IReactorTime,
        workers: IWorkers,
        lockout: Lockout,
        key: bytes,
        desk: Desk | None = None,
    ) -> None:
        """
        @param directory: gives the one in force.
        @param key: as L{Checker} wants it.
        @param desk: whom to look at for wishes; L{None}: nobody.
        """
        self.rules = rules
        self._directory = directory
        self.lockout = lockout
        self.clock = clock
        self.checker = Checker(directory, workers, clock.seconds, key)
        self._portal = Portal(Realm(directory), [self.checker])
        self._workers = workers
        self._desk = desk
        self._looking = LoopingCall(desk.look if desk else lambda: None)
        self._looking.clock = clock
        self._clear = Networks((network, 0) for network in rules.clear)
        self._waiting = Waiting(clock)
        self._running: Counter[Key] = Counter()  # hashes under way, by network and by name and network
        self._sent = Memory[bool](rules.lockTime)  # which passwords a network sent that let nobody in
        self._quiet = Memory[tuple[float, int]](3600.0)  # until when nothing is told, and of how many

    def startService(self) -> None:
        """Begin to look."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._desk is not None:
            self._looking.start(LOOK)

    def stopService(self) -> None:
        """Answer all who wait, and end the threads."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()
        if self._desk is not None:
            self._desk.close()
        self._waiting.close()
        self._workers.stop()

    # What may be tried.

    def mechanisms(self, client: Client, binding: Binding | None = None) -> tuple[str, ...]:
        """See L{ILogins.mechanisms}."""
        if not self._mayTry(client):
            return ()
        offered = self.rules.mechanisms
        if _bound(client, binding) is None:
            offered = tuple(name for name in offered if not name.endswith("-PLUS"))
        return offered

    def _mayTry(self, client: Client) -> bool:
        return bool(client.tls) or client.address in self._clear

    def begin(self, mechanism: str, client: Client, binding: Binding | None = None, service: str = "smtp") -> "Login":
        """See L{ILogins.begin}."""
        name = mechanism.upper()
        if name not in self.rules.mechanisms:
            raise Refused(wording.unknownMechanism())
        if not self._mayTry(client):
            raise Refused(wording.tlsFirst())
        if name not in self.mechanisms(client, binding):
            raise Refused(wording.unknownMechanism())
        why = self.lockout.network(client.address)
        if why:
            self._tellSeldom(name, client, "", why)
            raise Refused(wording.lockedOut(self.rules.host))
        return Login(self, name, Visit(client, service), self._talk(name, client, binding))

    def _talk(self, mechanism: str, client: Client, binding: Binding | None) -> Callable[[bytes | None], Talk]:
        """The mechanism itself, which wants its initial response."""
        offered = _bound(client, binding) if "SCRAM-SHA-256-PLUS" in self.rules.mechanisms else None
        talks: dict[str, Callable[[bytes | None], Talk]] = {
            "PLAIN": sasl.plain,
            "LOGIN": sasl.login,
            "CRAM-MD5": lambda first: sasl.cram(first, self.rules.host),
            "SCRAM-SHA-256": lambda first: sasl.scram(first, self.checker.salt, offered, False),
            "SCRAM-SHA-256-PLUS": lambda first: sasl.scram(first, self.checker.salt, offered, True),
        }
        return talks[mechanism]

    # What came of it.

    async def prove(self, mechanism: str, visit: Visit, proof: Proof, began: float) -> Account | Outcome:
        """
        Check a proof.

        @param began: on the clock, when it came.
        @return: the account where it holds and may come in; else what the client is to be told.
        """
        client, name = visit.client, self.checker.compared(proof.name)
        pair, network = (name, owner(client.address)), (owner(client.address),)
        costs = self.checker.costs(proof)
        why = self.lockout.account(client.address, name, self._running[pair] if costs else 0)
        if why:
            self._tellSeldom(mechanism, client, proof.name, why)
            return await self._later(Outcome(wording.tooManyFailures()), client, name, began)
        strange = not self.lockout.known(client.address, name)
        if costs and (self._running[network] >= EACH or (strange and self._running[_STRANGERS] >= STRANGERS)):
            return Outcome(wording.loginsBusy())
        running = (pair, network, *((_STRANGERS,) if strange else ())) if costs else ()
        self._running.update(running)
        try:
            _, account, _ = await self._portal.login(cast(ICredentials, proof), visit, ILoggedIn)
            return cast(Account, account)
        except Refused as refused:
            return Outcome(refused.reply)
        except LoginFailed as error:
            wrong = error
        except Exception:
            self.log.failure("while a password was checked")
            return Outcome(wording.loginsBusy())
        finally:
            self._running -= Counter(running)  # which drops what is at nothing
        again = isinstance(proof, Password) and self._again(network, proof)
        why = f"{wrong}, again" if again else str(wrong)
        return await self.failed(mechanism, client, proof.name, why, began, again=again)

    def _again(self, network: Key, proof: Password) -> bool:
        """
        Whether a network sent this very password before: a program that asks again and again guesses nothing.

        For another network it is a guess: what is said, and when, must not tell that somebody's telephone has it.
        """
        key, now = network + self.checker.mark(proof), self.clock.seconds()
        if self._sent.get(key, now):
            return True
        self._sent.put(key, True, now)
        return False

    def succeeded(self, visit: Visit, account: Account) -> None:
        """Somebody is logged in."""
        self.lockout.succeeded(visit.client.address, "@".join(account.address.key))

    def over(self, visit: Visit, account: Account) -> Reply | None:
        """See L{ILogin.over}. @param account: as it was when somebody logged in."""
        why = ended(self._directory(), account, visit)
        if not why:
            return None
        words = "login over: user=<{user}> address={address} why={why}"
        self.log.info(words, user=shown(str(account.address)), address=visit.client.address, why=why)
        return wording.loginOver(self.rules.host)

    def failed(
        self,
        mechanism: str,
        client: Client,
        name: str,
        why: str,
        began: float,
        reply: Reply | None = None,
        again: bool = False,
    ) -> "Deferred[Outcome]":
        """
        A login failed: count it, tell it, and say so later.

        @param name: as the client gave it; empty: none.
        @param reply: L{None}: 535.
        @param again: whether it guesses nothing: it is not counted then.
        """
        compared = self.checker.compared(name) if name else ""
        if again:
            self._tellSeldom(mechanism, client, name, why)
        else:
            self._tell(mechanism, client, name, why)
            for lock in self.lockout.failed(client.address, compared):
                self._tellLock(lock)
        return self._later(Outcome(reply or wording.badCredentials()), client, compared, began)

    def _later(self, outcome: Outcome, client: Client, name: str, began: float) -> "Deferred[Outcome]":
        """An answer at its time: the later, the more failed before."""
        failures = self.lockout.failures(client.address, name)
        delay = self.rules.delay * 2.0 ** min(max(failures - 1, 0), 10)
        return self._waiting.hold(outcome, began + min(delay, max(SLOWEST, self.rules.delay)))

    # The log.

    def _tell(self, mechanism: str, client: Client, name: str, why: str, more: int = 0) -> None:
        self.log.warn(
            "login failed: user=<{user}> address={address} mechanism={mechanism} why={why}{more}",
            user=shown(name),
            address=client.address,
            mechanism=mechanism,
            why=why,
            more=f"; {more} more like it before" if more else "",
        )

    def _tellSeldom(self, mechanism: str, client: Client, name: str, why: str) -> None:
        """What costs the client nothing must cost us no line each."""
        now, network = self.clock.seconds(), (site(client.address),)
        until, more = self._quiet.get(network, now) or (now, 0)
        if now < until:
            self._quiet.change(network, (until, more + 1))
            return
        self._quiet.put(network, (now + QUIET, 0), now)
        self._tell(mechanism, client, name, why, more)

    def _tellLock(self, lock: Lock) -> None:
        self.log.warn(
            "login locked: user=<{user}> network={network} for {seconds} s",
            user=shown(lock.account),
            network=lock.network or "any but those it has logged in from",
            seconds=int(self.rules.lockTime),
        )


@implementer(ILogin)
class Login:
    """See L{ILogin}."""

    def __init__(self, logins: Logins, mechanism: str, visit: Visit, talk: Callable[[bytes | None], Talk]) -> None:
        self._logins = logins
        self._mechanism = mechanism
        self._visit = visit
        self._start = talk
        self._talk: Talk | None = None
        self._awaits = True  # a response of the client
        self._account: Account | None = None

    def step(self, response: bytes | None) -> "Challenge | Outcome | Deferred[Challenge | Outcome]":
        """See L{ILogin.step}."""
        if not self._awaits:
            raise RuntimeError("this login has ended, or its proof is being checked")
        return self._on(response, self._logins.clock.seconds())

    def over(self) -> Reply | None:
        """See L{ILogin.over}."""
        return self._logins.over(self._visit, self._account) if self._account is not None else None

    def _on(self, response: bytes | None, began: float) -> "Challenge | Outcome | Deferred[Challenge | Outcome]":
        """Until there is something to say or to check."""
        self._awaits = False
        name, reply = "", wording.badResponse()
        try:
            if self._talk is None:
                self._talk = self._start(response)
                said = next(self._talk)
            else:
                said = self._talk.send(response or b"")
        except StopIteration:
            if self._account is None:
                raise RuntimeError("a mechanism that ends without a proof") from None
            self._logins.succeeded(self._visit, self._account)
            self._talk = None
            return Outcome(wording.loggedIn(), self._account.address)
        except sasl.Unbound:
            return Outcome(wording.unknownBinding())  # no guess: neither counted nor held up
        except sasl.Malformed as error:
            why, name = str(error), error.name
        except sasl.Denied as error:
            why, name, reply = str(error), error.name, wording.badCredentials()
        else:
            if isinstance(said, bytes):
                self._awaits = True
                return Challenge(said)
            return Deferred.fromCoroutine(self._prove(said, began))
        failed = self._logins.failed(self._mechanism, self._visit.client, name, why, began, reply)
        return cast("Deferred[Challenge | Outcome]", failed)

    async def _prove(self, proof: Proof, began: float) -> Challenge | Outcome:
        proved = await self._logins.prove(self._mechanism, self._visit, proof, began)
        if isinstance(proved, Outcome):
            return proved
        self._account = proved
        step = self._on(b"", began)
        return await step if isinstance(step, Deferred) else step


def _bound(client: Client, binding: Binding | None) -> Binding | None:
    """
    The channel bindings of a connection; L{None} where -PLUS is not offered.

    Without tls-exporter, before TLS 1.3, it is not: there clients choose -PLUS for tls-unique, which we do not have.
    """
    if binding is None or not client.tls or binding("tls-exporter") is None:
        return None
    return binding


def shown(name: str) -> str:
    """A name in a log line: nothing in it can end the brackets that it stands in, or look like the next word."""
    return _BREAKS.sub(lambda found: "".join(f"\\x{octet:02x}" for octet in found[0].encode()), safe(name))
