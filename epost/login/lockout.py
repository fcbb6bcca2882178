"""
Who has failed to log in, how often, and who may therefore not try now.

Failures are counted in four places. The first that is full locks:

    an account from one network    few: guessing at one account. Nobody elsewhere is touched
    a network                      more: guessing at many. An office behind one address is one network
    a site, the /48 around it      L{SITE} times as many: guessing from many networks of one owner
    an account                     more: guessing from many networks

The last two let an account through where it has logged in before (L{Places}): nobody can lock out its owner there,
however many machines he has, or whatever a neighbour does.

A network is an IPv4 address or a /64 of IPv6, which the smallest customer has. The next has a /56 or a /48, and 65,536
networks of his own (RFC 6177); a /48 may also be many small customers, so it may fail more often, and locks fewer.

A count is forgotten a while after its first failure, a lock as long after it began: what is refused while it holds
prolongs nothing. Names that do not exist are counted as those that do. All of it is in memory, bounded, the oldest
given up first; a restart forgets. Not so the places: else who guesses when the daemon starts would be there before the
owner, whom a lock then keeps from showing where he is.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from epost.interfaces import IHints
from epost.login.memory import KEPT, Key, Memory
from epost.login.places import Places
from epost.tables.patterns import Network, Networks

SITE = 4  # times as often as a network a /48 may fail
LONGEST_NAME = 320  # characters of a name that is counted: more than an address has


class _Counts:
    """
    Those of one kind.

    @ivar held: what is locked.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.held = Memory[bool](seconds)
        self._counted = Memory[int](seconds)

    def failures(self, key: Key, now: float) -> int:
        """How many are remembered; of what is locked the limit."""
        return self.limit if self.held.get(key, now) else self._counted.get(key, now) or 0

    def add(self, key: Key, now: float) -> bool:
        """One more. @return: whether it locks from now on."""
        if self.held.get(key, now):
            return False
        failures = (self._counted.get(key, now) or 0) + 1
        if failures >= self.limit:
            self._counted.pop(key)
            self.held.put(key, True, now)
            return True
        if failures == 1:
            self._counted.put(key, 1, now)
        else:
            self._counted.change(key, failures)
        return False

    def forget(self, of: Callable[[Key], bool]) -> int:
        """Forget what a function picks out. @return: how many."""
        return self.held.forget(of) + self._counted.forget(of)

    def drop(self, key: Key) -> None:
        """Forget one."""
        self.held.pop(key)
        self._counted.pop(key)


@dataclass(frozen=True, slots=True)
class Lock:
    """
    Something that is locked now.

    @ivar account: a name as it is compared; empty: any, from that network.
    @ivar network: empty: from everywhere but where the account has logged in before. A /48 excepts that too.
    @ivar until: seconds since 1970.
    """

    account: str
    network: str
    until: float


class Lockout:
    """The counts of one daemon. @ivar changes: another number whenever something else is locked."""

    def __init__(
        self,
        seconds: Callable[[], float],
        failures: int,
        perAddress: int,
        perAccount: int,
        lockTime: float,
        exempt: tuple[Network, ...] = (),
        hints: IHints | None = None,
    ) -> None:
        """
        @param seconds: tells the time, since 1970.
        @param failures: of one account from one network.
        @param perAddress: of one network; of a /48 L{SITE} times as many.
        @param perAccount: of one account.
        @param lockTime: seconds, of counting and of a lock.
        @param exempt: networks that are not locked as such, as a webmail's.
        @param hints: remember over a restart from where accounts log in; L{None}: nobody does.
        """
        self._seconds = seconds
        self._exempt = Networks((network, 0) for network in exempt)
        self._lockTime = lockTime
        self._pairs = _Counts(failures, lockTime)
        self._networks = _Counts(perAddress, lockTime)
        self._sites = _Counts(SITE * perAddress, lockTime)
        self._accounts = _Counts(perAccount, lockTime)
        self._places = Places(seconds, hints)
        self.changes = 0

    def network(self, address: str) -> str:
        """Whether the network of an address is locked. @return: why; empty where it is not."""
        locked = self._networks.held.get((owner(address),), self._seconds())
        return "too many failed logins from this address" if locked and address not in self._exempt else ""

    def account(self, address: str, name: str, more: int = 0) -> str:
        """
        Whether an account is locked for an address.

        @param name: as it is compared.
        @param more: attempts of this pair that are under way and may fail.
        @return: why; empty where it is not.
        """
        now, name, network = self._seconds(), name[:LONGEST_NAME], owner(address)
        if self._pairs.held.get((name, network), now):
            return "too many failed logins as this user from this address"
        if more and self._pairs.failures((name, network), now) + more >= self._pairs.limit:
            return "too many logins as this user at one time"
        elsewhere = ""
        if self._accounts.held.get((name,), now):
            elsewhere = "too many failed logins as this user"
        elif self._sites.held.get((site(address),), now) and address not in self._exempt:
            elsewhere = "too many failed logins from around this address"
        return "" if elsewhere and self._places.known(name, network) else elsewhere

    def known(self, address: str, name: str) -> bool:
        """Whether an account has logged in from the network of an address lately. @param name: as it is compared."""
        return self._places.known(name, owner(address))

    def failed(self, address: str, name: str) -> list[Lock]:
        """
        A login failed.

        @param name: empty: none was given.
        @return: what is locked from now on because of it.
        """
        now, name, network = self._seconds(), name[:LONGEST_NAME], owner(address)
        until, locks = now + self._lockTime, []
        if address not in self._exempt:
            if self._networks.add((network,), now):
                locks.append(Lock("", network, until))
            around = site(address)
            if around != network and self._sites.add((around,), now):
                locks.append(Lock("", around, until))
        if name and self._pairs.add((name, network), now):
            locks.append(Lock(name, network, until))
        if name and self._accounts.add((name,), now):
            locks.append(Lock(name, "", until))
        self.changes += len(locks)
        return locks

    def failures(self, address: str, name: str) -> int:
        """How often an address has failed, with any name or with this one."""
        now, network = self._seconds(), owner(address)
        pair = (name[:LONGEST_NAME], network)
        return max(self._networks.failures((network,), now), self._pairs.failures(pair, now))

    def succeeded(self, address: str, name: str) -> None:
        """A login did not fail: what was counted of the account from that network is forgotten, and nothing else."""
        network = owner(address)
        self._pairs.drop((name, network))
        self._places.add(name, network)

    def locks(self, most: int = KEPT) -> list[Lock]:
        """What is locked now, of each kind the newest, at most so many, the oldest of them first."""

        def held(counts: _Counts) -> list[tuple[Key, float]]:
            return counts.held.ends(self._seconds(), most)

        found = [
            Lock("", str(key[0]), until) for counts in (self._sites, self._networks) for key, until in held(counts)
        ]
        found += [Lock(str(key[0]), str(key[1]), until) for key, until in held(self._pairs)]
        return found + [Lock(str(key[0]), "", until) for key, until in held(self._accounts)]

    def unlock(self, what: str) -> int:
        """
        Forget failures.

        @param what: an account as it is compared, an IP address, a network, or C{*} for all.
        @return: how many counts are forgotten.
        """
        names, inside = {what.lower()}, Networks(())
        with contextlib.suppress(ValueError):
            network = ip_network(what, strict=False)
            first = str(network.network_address)
            names |= {owner(first), site(first)}
            if network.num_addresses > 1:
                inside = Networks([(network, 0)])

        def named(key: Key) -> bool:
            return what == "*" or not names.isdisjoint(key)

        def meant(key: Key) -> bool:
            return named(key) or str(key[-1]).partition("/")[0] in inside

        self.changes += 1
        found = sum(counts.forget(meant) for counts in (self._networks, self._sites, self._pairs))
        return found + self._accounts.forget(named)


def owner(address: str) -> str:
    """The network that counts for an IP address."""
    if ":" not in address:
        return address
    there = ip_address(address.partition("%")[0])
    mapped = getattr(there, "ipv4_mapped", None)
    return str(mapped) if mapped else str(ip_network((str(there), 64), strict=False))


def site(address: str) -> str:
    """The network around it that may have one owner, too; of IPv4 there is none but its own."""
    network = owner(address)
    return str(ip_network(network).supernet(new_prefix=48)) if "/" in network else network
