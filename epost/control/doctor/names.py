"""
What the DNS says of us, as other mail servers will ask it: MX, addresses, PTR, SPF.

Every question has an end (L{TIMEOUTS}); a machine without DNS is a remark and no fault of the mail server. What is
published for strangers is asked from here, so an inner view of a zone answers with the inner view.

RFC 5321 5.1 (MX), RFC 7505 (null MX), RFC 1912 2.1 (PTR), RFC 7208 (SPF; what needs macros, C{exists} or C{ptr} is left
undecided).
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.names import dns
from twisted.names.error import (
    DNSFormatError,
    DNSNameError,
    DNSNotImplementedError,
    DNSQueryRefusedError,
    DNSQueryTimeoutError,
    DNSServerError,
    DomainError,
)

from epost.control.doctor.finding import Finding, Findings
from epost.net.exchanges import Asker, Asks
from epost.settings import Settings

TIMEOUTS = (1, 2)  # seconds for each round through the name servers
LOOKUPS = 10  # RFC 7208 4.6.4

_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


# What a failure is called where its name is no word of the DNS (RFC 1035 4.1.1).
SAID: dict[type[BaseException], str] = {
    DNSFormatError: "FORMERR",
    DNSServerError: "SERVFAIL",
    DNSNotImplementedError: "NOTIMP",
    DNSQueryRefusedError: "REFUSED",
    DNSQueryTimeoutError: "no answer in time",
    TimeoutError: "no answer in time",
}


class Silent(Exception):
    """The DNS did not answer, or not with an answer."""


def asker(settings: Settings, reactor: Any) -> Asks:
    """A resolver for a daemon's name servers, or the system's."""
    servers = [(hop.host, hop.port) for hop in settings.relay.name_servers]
    return Asker(
        resolv=None if servers else "/etc/resolv.conf", servers=servers or None, timeout=TIMEOUTS, reactor=reactor
    )


class Names:
    """Questions to the DNS."""

    def __init__(self, resolver: Asks) -> None:
        self._resolver = resolver

    async def ask(self, name: str, kind: int) -> list[Any]:
        """The payloads under a name, behind aliases; empty: none. @raise Silent: nobody knows."""
        try:
            records, _, _ = await self._resolver.query(dns.Query(name.encode("idna"), kind, dns.IN))
        except DNSNameError:
            return []
        except UnicodeError as error:
            raise Silent(f"{name} is no name: {error}") from error
        except (TimeoutError, DomainError, ConnectError, ConnectionClosed, OSError) as error:
            said = str(error) if isinstance(error, OSError) else SAID.get(type(error), "")
            raise Silent(said or type(error).__name__) from error
        return [record.payload for record in records if record.type == kind]

    async def addresses(self, host: str) -> list[str]:
        """IPv4 and IPv6. @raise Silent: nobody knows."""
        found = [payload.dottedQuad() for payload in await self.ask(host, dns.A)]
        return found + [str(ipaddress.IPv6Address(payload.address)) for payload in await self.ask(host, dns.AAAA)]

    async def exchanges(self, domain: str) -> list[tuple[int, str]]:
        """MX, in order. @raise Silent: nobody knows."""
        return sorted((mx.preference, _text(mx.name.name)) for mx in await self.ask(domain, dns.MX))

    async def spf(self, domain: str) -> list[str]:
        """The SPF records. @raise Silent: nobody knows."""
        texts = [b"".join(txt.data).decode("utf-8", "replace") for txt in await self.ask(domain, dns.TXT)]
        return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def _text(name: bytes) -> str:
    return name.lower().decode("ascii", "backslashreplace")


async def look(names: Names, domains: Iterable[str], settings: Settings) -> list[Finding]:
    """
    All that strangers will ask.

    @param domains: those that we take mail for.
    @param settings: of the half that strangers meet, the gateway where there is one.
    """
    found = Findings("names", settings.kind)
    host = settings.server.name
    try:
        addresses = await names.addresses(host)
    except Silent as why:
        found.remark(f"the DNS cannot be asked from here ({why}): nothing is known of MX, A, PTR and SPF")
        return found.all
    if not addresses:
        found.wrong(f"{host} has no address in the DNS", f"publish: {host}. A ADDRESS (and AAAA where there is one)")
    for address in addresses:
        await _reverse(found, names, host, address)
    for domain in domains:
        try:
            await _domain(found, names, domain, host, addresses)
            await _spf(found, names, domain, host, addresses, settings)
        except Silent as why:
            found.remark(f"the DNS did not answer about {domain}: {why}")
    return found.all


async def _reverse(found: Findings, names: Names, host: str, address: str) -> None:
    """PTR, and that its name leads back: many servers refuse mail without it."""
    if not ipaddress.ip_address(address).is_global:
        found.remark(f"{host} has the address {address}, which nobody outside can reach", "publish the outer address")
        return
    mend = f"have the owner of the address (your provider) set its PTR to {host}."
    reverse = ipaddress.ip_address(address).reverse_pointer
    try:
        pointed = [_text(payload.name.name) for payload in await names.ask(reverse, dns.PTR)]
        back = [name for name in pointed if address in await names.addresses(name)]
    except Silent as why:
        found.remark(f"the DNS did not answer about the PTR of {address}: {why}")
        return
    if not pointed:
        found.wrong(f"{host} has the address {address}, which has no PTR", mend)
    elif not back:
        found.wrong(f"the PTR of {address} is {pointed[0]}, which does not have this address", mend)
    elif host not in back:
        found.remark(f"{host} has the address {address}, whose PTR is {back[0]} and leads back", mend)
    else:
        found.ok(f"{host} has the address {address}, whose PTR leads back")


async def _domain(found: Findings, names: Names, domain: str, host: str, addresses: list[str]) -> None:
    """MX of one domain: does mail for it come to us?"""
    exchanges = await names.exchanges(domain)
    publish = f"publish: {domain}. MX 10 {host}."
    if not exchanges:
        own = await names.addresses(domain)
        if set(own) & set(addresses):
            found.remark(f"{domain} has no MX; by its address its mail comes here all the same", publish)
        else:
            found.wrong(f"{domain} has no MX: nobody outside knows where its mail goes", publish)
        return
    if exchanges == [(exchanges[0][0], "")]:
        found.wrong(f"{domain} has a null MX: it says that it takes no mail", publish)
        return
    others = []
    for _, exchange in exchanges:
        if exchange != host and not set(await names.addresses(exchange)) & set(addresses):
            others.append(exchange)
    if len(others) == len(exchanges):
        found.wrong(f"MX of {domain} names {', '.join(others)}, and not {host}", publish)
    elif others:
        found.remark(f"MX of {domain} also names {', '.join(others)}, which is not this server")
    else:
        found.ok(f"MX of {domain} leads here")


async def _spf(found: Findings, names: Names, domain: str, host: str, addresses: list[str], settings: Settings) -> None:
    """SPF of one domain: may we send for it?"""
    records = await names.spf(domain)
    publish = f'publish: {domain}. TXT "v=spf1 mx -all"'
    smarthost = settings.relay.gateway if settings.kind == "gateway" else None
    if not records:
        found.wrong(f"{domain} has no SPF: other servers doubt its mail, and anybody may forge it", publish)
        return
    if len(records) > 1:
        found.wrong(f"{domain} has {len(records)} SPF records, which counts as an error (RFC 7208 4.5)", publish)
        return
    if smarthost is not None:
        found.remark(f"SPF of {domain} must allow what {smarthost.host} sends with, which is not known here")
        return
    for address in addresses:
        result = await Spf(names).check(domain, ipaddress.ip_address(address))
        if result == "pass":
            found.ok(f"SPF of {domain} allows {address}")
        elif result == "unknown":
            found.remark(f"SPF of {domain} was not followed to its end for {address}: {records[0]}")
        else:
            found.wrong(
                f'SPF of {domain} says "{result}" of {address}: {records[0]}', f"let it hold mx, or ip4:{address}"
            )


class Spf:
    """One evaluation (RFC 7208 4), as far as it can be done without a message."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._left = LOOKUPS

    async def check(self, domain: str, address: Any) -> str:
        """
        @param address: an address of L{ipaddress}.
        @return: C{pass fail softfail neutral none permerror}, or C{unknown} where it goes beyond us.
        @raise Silent: the DNS did not answer.
        """
        records = await self._names.spf(domain)
        if len(records) != 1:
            return "none" if not records else "permerror"
        redirect = ""
        for term in records[0].split()[1:]:
            if "%" in term:
                return "unknown"
            name, equals, value = term.partition("=")
            if equals and ":" not in name and "/" not in name:
                redirect = value if name.lower() == "redirect" else redirect
                continue
            result = _RESULTS.get(term[0], "pass")
            matches = await self._matches(term.lstrip("+-~?"), domain, address)
            if matches is not False:
                return result if matches is True else str(matches)
        if redirect:
            return await self._inner(redirect, address)
        return "neutral"

    async def _inner(self, domain: str, address: Any) -> str:
        """What another record says; one that is not there is an error (RFC 7208 5.2, 6.1)."""
        self._left -= 1
        if self._left < 0:
            return "permerror"
        result = await self.check(domain, address)
        return "permerror" if result == "none" else result

    async def _matches(self, term: str, domain: str, address: Any) -> bool | str:
        """One mechanism: whether it matches, or the result that ends all."""
        word, _, rest = term.partition(":")
        word, slash, prefix = word.partition("/")
        word = word.lower()
        if word == "all":
            return True
        if word in ("ip4", "ip6"):
            try:
                return address in ipaddress.ip_network(rest, strict=False)
            except ValueError:
                return "permerror"
        if word == "include":
            result = await self._inner(rest, address)
            return result if result in ("permerror", "unknown") else result == "pass"
        if word not in ("a", "mx"):
            return "unknown" if word in ("exists", "ptr") else "permerror"
        self._left -= 1
        if self._left < 0:
            return "permerror"
        host, slash, prefix = rest.partition("/") if rest else (domain, slash, prefix)
        hosts = [host or domain]
        if word == "mx":
            hosts = [name for _, name in await self._names.exchanges(hosts[0]) if name][:LOOKUPS]
        return await self._anyOf(hosts, prefix, address)

    async def _anyOf(self, hosts: list[str], prefix: str, address: Any) -> bool | str:
        """Whether an address, or its network where a length C{24} or C{24//64} stands, is one of some hosts'."""
        four, _, six = prefix.partition("/")
        length = (four or "32") if address.version == 4 else (six.strip("/") or "128")
        for host in hosts:
            for known in await self._names.addresses(host):
                if ipaddress.ip_address(known).version != address.version:
                    continue
                try:
                    network = ipaddress.ip_network(f"{known}/{length}", strict=False)
                except ValueError:
                    return "permerror"
                if address in network:
                    return True
        return False
