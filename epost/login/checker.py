"""
Whether a proof holds, and whether its account may log in: the two halves of twisted.cred.

L{Checker} tells who somebody is. A hash is calculated once for the same password of the same account, however often and
however fast it comes: what was proved is remembered for a while, what was wrong as well, and who asks while it is being
calculated waits for the same answer. What is remembered is a keyed digest over name, column Pass and password: it ends
with the process, and another column is another digest, so that a changed password is changed at once.

A name that does not exist costs what one that does costs. L{Realm} tells whether an account may come in here.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Attribute, Interface, classImplements, implementer

from epost.interfaces import IWorkers
from epost.login import schemes
from epost.login.lockout import LONGEST_NAME
from epost.login.memory import Key, Memory
from epost.login.sasl import CramProof, Password, Proof, ScramProof
from epost.login.schemes import SchemeError, ScramKeys, Secret
from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.decision import Client
from epost.tables.accounts import Account
from epost.tables.directory import Directory

PROVED = 600.0  # seconds for which a password that was proved is not hashed again
WRONG = 900.0  # and one that was wrong
TOLD = 86400.0  # seconds for which a column that cannot be used is not told again


class IPassword(ICredentials):
    """A password in clear."""

    name: str = Attribute("Of the account, as the client wrote it.")
    octets: bytes = Attribute("The password, as it was sent.")


class ICramProof(ICredentials):
    """What only somebody with the password in clear can check."""

    name: str = Attribute("Of the account, as the client wrote it.")

    def holds(password: str) -> bool:
        """Whether it was made with this password."""


class IScramProof(ICredentials):
    """What somebody with the SCRAM keys can check."""

    name: str = Attribute("Of the account, as the client wrote it.")

    def holds(keys: ScramKeys) -> bool:
        """Whether it was made with the password of these keys."""


# Said here, since the mechanisms themselves know nothing of Twisted.
classImplements(Password, IPassword)
classImplements(CramProof, ICramProof)
classImplements(ScramProof, IScramProof)


class ILoggedIn(Interface):
    """What an avatar is here: an L{Account}, as it was at that moment."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The mind of a login. @ivar service: C{smtp}, C{pop3} or C{imap4}."""

    client: Client
    service: str


@implementer(ICredentialsChecker)
class Checker:
    """
    Who somebody is. An avatar's id is the address of an account in UTF-8.

    @ivar credentialInterfaces: see L{ICredentialsChecker}.
    """

    credentialInterfaces = (IPassword, ICramProof, IScramProof)
    _log = Logger()

    def __init__(
        self, directory: Callable[[], Directory], workers: IWorkers, seconds: Callable[[], float], key: bytes
    ) -> None:
        """
        @param directory: gives the one in force.
        @param key: makes up the salts of names that do not exist; the same after a restart, or the salts would tell.
        """
        self._directory = directory
        self._workers = workers
        self._seconds = seconds
        self._key = key
        self._once = os.urandom(32)
        self._dummy = schemes.dummy()
        self._proved = Memory[bool](PROVED)
        self._wrong = Memory[bool](WRONG)
        self._derived = Memory[ScramKeys](PROVED)
        self._told = Memory[bool](TOLD)
        self._asked: dict[Key, list[Deferred[object]]] = {}

    # Names.

    def find(self, name: str) -> Account | None:
        """
        The account of a name: an address, or without a domain where one is local.

        It is the one whose name looks the same, however client and table compose it.
        """
        return self._found(name)[0]

    def _found(self, name: str) -> tuple[Account | None, Address | None]:
        """The account of a name, and the address in its one form, account or not."""
        directory = self._directory()
        local = directory.ground.local
        if len(name) > LONGEST_NAME:
            return None, None
        text = schemes.form(name)
        try:
            address = parseAddress(text if "@" in text or len(local) != 1 else f"{text}@{local[0]}")
        except AddressError:
            return None, None
        return directory.account(address) or directory.accounts.alike(address), address

    def compared(self, name: str) -> str:
        """A name in the form in which two of the same account, existing or not, are equal."""
        account, address = self._found(name)
        if account is not None:
            return "@".join(account.address.key)
        if address is None:
            return name[:LONGEST_NAME].lower()
        directory = self._directory()
        local, domain = directory.normal(address).key
        separator = directory.ground.separator
        if separator:  # whoever exists is one with each of his tags; so is whoever does not
            local = local[:1] + local[1:].partition(separator)[0]
        return f"{local}@{domain}"

    def salt(self, name: str) -> tuple[bytes, int]:
        """Salt and iterations for SCRAM; of a name without keys made up, and each time the same (RFC 5802 9)."""
        account = self.find(name)
        keys = self._secret(account).scram if account else None
        if keys is not None:
            return keys.salt, keys.iterations
        return hmac.digest(self._key, self.compared(name).encode("utf-8", "surrogateescape"), "sha256")[:16], (
            schemes.ITERATIONS
        )

    def _secret(self, account: Account | None) -> Secret:
        """What an account has; nobody's where there is none or its column cannot be used."""
        if account is None:
            return self._dummy
        try:
            return schemes.read(account.secret)
        except SchemeError as error:
            self._tell(account, error)
            return self._dummy

    def _tell(self, account: Account, error: SchemeError) -> None:
        """A column that cannot be used: once, until it is another."""
        mark, now = self._mark("told", account.secret, b""), self._seconds()
        if not self._told.get(mark, now):
            self._told.put(mark, True, now)
            self._log.error(
                "{account} cannot log in: column Pass in line {line} of the accounts: {why}, expected {expected}",
                account=str(account.address),
                line=account.line,
                why=str(error),
                expected=error.expected,
            )

    def _mark(self, name: str, column: str, password: bytes) -> Key:
        """What tells one attempt from another, and tells nobody else anything."""
        parts = [name.encode("utf-8", "surrogateescape"), column.encode("utf-8", "surrogateescape"), password]
        return (hmac.digest(self._once, b"".join(len(p).to_bytes(4, "big") + p for p in parts), "sha256"),)

    # Proofs.

    def mark(self, proof: Password) -> Key:
        """What a password stands for wherever it is remembered: the same for the same account, column and password."""
        account = self.find(proof.name)
        return self._mark(self.compared(proof.name), account.secret if account else "", proof.octets)

    def costs(self, proof: Proof) -> bool:
        """Whether something slow has to be calculated for a proof, and for nothing else."""
        mark = self._slow(proof, self.find(proof.name))
        if mark is None or mark in self._asked:
            return False
        now = self._seconds()
        return not any(memory.get(mark, now) for memory in (self._proved, self._wrong, self._derived))

    def _slow(self, proof: Proof, account: Account | None) -> Key | None:
        """The mark of what is slow about a proof; L{None}: nothing is."""
        if isinstance(proof, Password):
            return self.mark(proof)
        secret = self._secret(account)
        if account is None or not isinstance(proof, ScramProof) or secret.clear is None or secret.scram is not None:
            return None
        return self._mark("", account.secret, self.salt(proof.name)[0])

    def requestAvatarId(self, credentials: object) -> "Deferred[bytes | tuple[()]]":
        """
        See L{ICredentialsChecker}.

        @return: fails with L{UnauthorizedLogin}, or with L{Refused}: 454 4.7.0, too much to do.
        """
        return Deferred.fromCoroutine(self._avatar(cast(Proof, credentials)))

    async def _avatar(self, proof: Proof) -> bytes | tuple[()]:
        account = self.find(proof.name)
        if isinstance(proof, Password):
            right = await self._password(proof, account)
        elif isinstance(proof, ScramProof):
            right = proof.holds(await self._keys(proof, account))
        else:
            clear = self._secret(account).clear
            right = proof.holds(clear if clear is not None else self._once.hex())
        if account is None or not right:
            raise UnauthorizedLogin(self._why(proof, account))
        now = self.find(proof.name)
        if now is None or now.secret != account.secret:
            raise UnauthorizedLogin("the password was changed meanwhile")
        return str(account.address).encode()

    def _why(self, proof: Proof, account: Account | None) -> str:
        """For the log alone: what the client is told is the same for all."""
        secret = self._secret(account)
        if account is None:
            return "no such account"
        if secret is self._dummy:
            return "the table has no usable password"
        if isinstance(proof, ScramProof) and secret.scram is None and secret.clear is None:
            return "the table has no SCRAM keys of this account"
        if isinstance(proof, CramProof) and secret.clear is None:
            return "the table does not have this password in clear"
        return "wrong password"

    async def _shared(self, mark: Key, function: Callable[..., object], *arguments: object) -> object:
        """What a function gives in a thread. Whoever wants the same meanwhile waits for the same."""
        if mark in self._asked:
            answer: Deferred[object] = Deferred()
            self._asked[mark].append(answer)
            return await answer
        self._asked[mark] = []
        try:
            result = await self._workers.run(function, *arguments)
        except Exception as error:
            for other in self._asked.pop(mark):
                other.errback(error)
            raise
        for other in self._asked.pop(mark):
            other.callback(result)
        return result

    async def _password(self, proof: Password, account: Account | None) -> bool:
        mark, now = self.mark(proof), self._seconds()
        if self._proved.get(mark, now):
            return True
        if self._wrong.get(mark, now):
            return False
        try:
            right = bool(await self._shared(mark, self._verify, self._secret(account), proof.octets))
        except SchemeError as error:
            if account is not None:
                self._tell(account, error)
            right = False
        (self._proved if right else self._wrong).put(mark, True, self._seconds())
        return right

    def _verify(self, secret: Secret, password: bytes) -> bool:
        """In a thread. What is wrong always costs a hash, also where the table has the password in clear."""
        if secret.verify(password):
            return True
        if secret.hash is None:
            self._dummy.verify(password)
        return False

    async def _keys(self, proof: ScramProof, account: Account | None) -> ScramKeys:
        """The SCRAM keys of an account; where the table has its password in clear, those made of it."""
        secret, mark = self._secret(account), self._slow(proof, account)
        if mark is None or secret.clear is None:
            return secret.scram or cast(ScramKeys, self._dummy.scram)
        keys = self._derived.get(mark, self._seconds())
        if keys is None:
            password = schemes.octets(secret.clear)
            keys = cast(ScramKeys, await self._shared(mark, schemes.scramKeys, password, *self.salt(proof.name)))
            self._derived.put(mark, keys, self._seconds())
        return keys


@implementer(IRealm)
class Realm:
    """Whether an account may log in: the flags of its line, and what stands in its details."""

    def __init__(self, directory: Callable[[], Directory]) -> None:
        """@param directory: gives the one in force."""
        self._directory = directory

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], object, Callable[[], None]]:
        """
        See L{IRealm}.

        @param mind: a L{Visit}.
        @raise LoginDenied: it may not.
        """
        visit = cast(Visit, mind)
        account = self._directory().account(parseAddress(cast(bytes, avatarId).decode()))
        why = "no such account" if account is None else denied(account, visit)
        if account is None or why:
            raise LoginDenied(why)
        return ILoggedIn, account, lambda: None


def ended(directory: Directory, account: Account, visit: Visit) -> str:
    """
    Why who has logged in as an account may not go on; empty where he may.

    @param account: as it was then.
    """
    now = directory.account(account.address)
    if now is None:
        return "no such account"
    return "the password was changed" if now.secret != account.secret else denied(now, visit)


def denied(account: Account, visit: Visit) -> str:
    """Why an account may not log in for a service from an address; empty where it may."""
    services = {"smtp": account.auth, "pop3": account.pop3, "imap4": account.imap4}
    if not services[visit.service]:
        return f"{visit.service} is switched off for this account"
    if account.details.disabled:
        return "the account is disabled"
    if not account.details.mayFrom(visit.client.address):
        return "the account may not log in from this address"
    return ""
