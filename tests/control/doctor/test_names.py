"""Tests of L{epost.control.doctor.names}: what the DNS says of us."""

from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import TestCase

from epost.control.doctor.finding import Finding
from epost.control.doctor.names import Names, Spf, asker, look
from epost.net.exchanges import Asker
from tests.control.doctor.cases import HASTE, OUTER, REMARK, WRONG, Case
from tests.net.dns import Odd, Zone


class NameTests(TestCase):
    """What the DNS says of us."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.zone = Zone()
        server, stop = self.zone.listen(reactor)
        self.addCleanup(stop)
        self.resolver = partial(Asker, servers=[server], timeout=(HASTE, HASTE), reactor=reactor)
        self.names = Names(self.resolver())
        self.case = Case("half")

    def publish(self, *without: str, spf: Iterable[str] = ("v=spf1 mx -all",), mx: str = "mx.test.jp") -> None:
        """All that should be published, but some kinds of it."""
        self.zone.add("mx.test.jp")
        self.zone.add("test.jp")
        if "A" not in without:
            self.zone.a("mx.test.jp", OUTER)
        if "PTR" not in without:
            self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("mx.test.jp", 300))
        if "MX" not in without:
            self.zone.mx("test.jp", (10, mx))
        self.zone.add("test.jp", *[dns.Record_TXT(text.encode(), ttl=300) for text in spf])

    async def found(self, **changed: dict[str, Any]) -> list[Finding]:
        """What is found."""
        self.case.mktemp = self.mktemp
        return await look(self.names, ["test.jp"], self.case.half("gateway", **changed).settings)

    async def test_right(self) -> None:
        """All is published."""
        self.publish()
        self.case.assertAllOk(await self.found())

    async def test_addresses(self) -> None:
        """A name without address."""
        self.publish("A")
        found = [f for f in await self.found() if f.state is WRONG]
        self.assertRegex(found[0].text, "mx.test.jp has no address")

    async def test_noPointer(self) -> None:
        """An address without PTR."""
        self.publish("PTR")
        self.case.assertFound(await self.found(), WRONG, f"{OUTER}, which has no PTR", "provider")

    async def test_pointerElsewhere(self) -> None:
        """A PTR whose name does not have the address."""
        self.publish("PTR")
        self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("elsewhere.example", 300))
        self.case.assertFound(await self.found(), WRONG, "elsewhere.example, which does not have", "provider")

    async def test_pointerOfAnotherName(self) -> None:
        """A PTR that leads back by another name than the server's."""
        self.publish("PTR")
        self.zone.add("44.33.22.11.in-addr.arpa", dns.Record_PTR("host.example", 300))
        self.zone.a("host.example", OUTER)
        self.case.assertFound(await self.found(), REMARK, "PTR is host.example")

    async def test_innerAddress(self) -> None:
        """An address that nobody outside can reach."""
        self.publish("A")
        self.zone.a("mx.test.jp", "192.168.0.103")
        self.case.assertFound(await self.found(), REMARK, "nobody outside can reach", "outer")

    async def test_exchange(self) -> None:
        """No MX."""
        self.publish("MX", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.case.assertFound(await self.found(), WRONG, "test.jp has no MX", r"test\.jp\. MX 10 mx\.test\.jp\.")

    async def test_exchangeElsewhere(self) -> None:
        """An MX of somebody else, alone or beside ours, or by another name of ours."""
        self.publish(mx="other.example", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.zone.a("other.example", "11.22.33.55")
        self.case.assertFound(await self.found(), WRONG, "names other.example, and not mx.test.jp", "MX 10")
        self.zone.mx("test.jp", (20, "alias.example"))
        self.zone.a("alias.example", OUTER)
        self.names = Names(self.resolver())  # another, which has kept nothing
        self.case.assertFound(await self.found(), REMARK, "also names other.example")

    async def test_addressAlone(self) -> None:
        """Without MX the domain's own address counts, which may be ours."""
        self.publish("MX", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.zone.a("test.jp", OUTER)
        self.case.assertFound(await self.found(), REMARK, "test.jp has no MX; by its address", "MX 10")

    async def test_policyBeyondUs(self) -> None:
        """SPF with macros is not followed to its end."""
        self.publish(spf=["v=spf1 exists:%{i}.example -all"])
        self.case.assertFound(await self.found(), REMARK, "was not followed to its end")

    async def test_pointerFault(self) -> None:
        """A reverse zone that is broken is a remark."""
        self.publish("PTR")
        self.zone.odd("44.33.22.11.in-addr.arpa", Odd.SERVFAIL)
        self.case.assertFound(await self.found(), REMARK, f"about the PTR of {OUTER}")

    async def test_nullExchange(self) -> None:
        """A null MX."""
        self.publish(mx="", spf=[f"v=spf1 ip4:{OUTER} -all"])
        self.case.assertFound(await self.found(), WRONG, "null MX", "MX 10")

    async def test_policy(self) -> None:
        """No SPF; two; one that does not allow us."""
        for spf, why, mend in (
            ([], "has no SPF", "v=spf1 mx -all"),
            (["v=spf1 mx -all", "v=spf1 -all"], "has 2 SPF records", "v=spf1 mx -all"),
            (["v=spf1 ip4:11.22.33.55 -all"], 'says "fail"', f"ip4:{OUTER}"),
        ):
            self.zone._names.clear()
            self.publish(spf=spf)
            self.case.assertFound(await self.found(), WRONG, why, mend)

    async def test_smarthost(self) -> None:
        """Where a provider's server sends for us SPF is his to tell."""
        self.publish()
        self.case.assertFound(await self.found(relay={"gateway": "smtp.isp.example"}), REMARK, "smtp.isp.example")

    async def test_evaluated(self) -> None:
        """SPF as RFC 7208 has it, as far as it goes without a message."""
        self.zone.a("a.example", OUTER)
        self.zone.mx("m.example", (10, "a.example"))
        self.zone.add("none.example")
        for number, (text, result) in enumerate(
            (
                ("v=spf1 a:a.example -all", "pass"),
                ("v=spf1 mx:m.example ~all", "pass"),
                ("v=spf1 a:a.example/24 -all", "pass"),
                ("v=spf1 ip4:11.22.33.0/24 -all", "pass"),
                ("v=spf1 -ip4:11.22.33.44 +all", "fail"),
                ("v=spf1 ~all", "softfail"),
                ("v=spf1 ?all", "neutral"),
                ("v=spf1", "neutral"),
                ("v=spf1 include:0.spf.example -all", "pass"),
                ("v=spf1 include:5.spf.example -all", "fail"),
                ("v=spf1 include:none.example -all", "permerror"),
                ("v=spf1 redirect=0.spf.example", "pass"),
                ("v=spf1 include:12.spf.example -all", "permerror"),  # itself, for ever
                ("v=spf1 exists:%{i}.example -all", "unknown"),
                ("v=spf1 ptr -all", "unknown"),
                ("v=spf1 ip4:1.2.3 -all", "permerror"),
                ("v=spf1 nonsense -all", "permerror"),
            )
        ):
            name = f"{number}.spf.example"
            self.zone.add(name, dns.Record_TXT(text.encode(), ttl=300))
            self.assertEqual(await Spf(self.names).check(name, ip_address(OUTER)), result, text)

    async def test_noDns(self) -> None:
        """A machine without DNS is no fault, and costs a few seconds once."""
        self.zone.odd("mx.test.jp", Odd.SILENCE)
        found = await self.found()
        self.case.assertFound(found, REMARK, r"the DNS cannot be asked from here \(no answer in time\)")
        self.assertEqual(len(found), 1)
        self.assertEqual(set(self.zone.asked), {"A mx.test.jp"})

    async def test_fault(self) -> None:
        """A zone that is broken is a remark, and the others are looked at."""
        self.publish()
        self.zone.odd("test.jp", Odd.SERVFAIL)
        self.case.assertFound(await self.found(), REMARK, "did not answer about test.jp: SERVFAIL")

    def test_asker(self) -> None:
        """The name servers that are configured are asked."""
        half = self.case
        half.mktemp = self.mktemp
        settings = half.half("gateway", relay={"name_servers": ["127.0.0.1:5353"]}).settings
        from twisted.internet import reactor

        self.assertEqual(asker(settings, reactor).servers, [("127.0.0.1", 5353)])
