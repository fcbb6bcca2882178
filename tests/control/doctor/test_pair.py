"""Tests of L{epost.control.doctor.pair}: where two halves do not agree."""

import shutil
from pathlib import Path

from epost import loading
from epost.control.doctor import pair
from epost.control.doctor.finding import Finding
from epost.control.doctor.pair import Half
from epost.control.doctor.relay import OUTSIDE, decide
from epost.mail.address import parseAddress
from epost.mail.decision import Client
from tests.control.doctor.cases import REMARK, WRONG, Case
from tests.system.pair import ROOT


class PairTests(Case):
    """What the halves must agree about."""

    def test_agree(self) -> None:
        """The usual pair."""
        found = pair.pair(self.half("backend"), self.half("gateway"))
        self.assertAllOk(found)
        self.assertIn("lets 1 of 2 accounts write outside", " ".join(f.text for f in found))

    def test_twoMachines(self) -> None:
        """The pair of the seed, each on a machine of its own."""
        backend = self.half(
            "backend", server={"listen": ["tcp:25"]}, relay={"gateway": "192.168.0.103", "gateways": ["192.168.0.103"]}
        )
        tables = {"gateway.dat": "test.jp, 192.168.0.102\n", "effect.dat": "baito@test.jp false\n192.168.0.102 true\n"}
        gateway = self.half("gateway", tables, server={"listen": ["tcp:25:interface=192.168.0.103"]})
        self.assertAllOk(pair.pair(backend, gateway))

    def test_gatewayTable(self) -> None:
        """gateway.dat without the domain, with another port, with a pattern that only routes, with hold."""
        for table, state, why in (
            ("other.jp, 127.0.0.1, 2525", WRONG, "does not say where mail for test.jp goes"),
            ("test.jp, 127.0.0.1, 2527", WRONG, "does not lead to the back-end"),
            ("test.jp, 192.168.0.9, 2525", WRONG, "does not lead to the back-end"),
            ("*.jp, 127.0.0.1, 2525", WRONG, "is no relay domain"),
            ("test.jp, hold", REMARK, "is held"),
        ):
            gateway = self.half("gateway", {"gateway.dat": f"{table}\n"})
            found = pair.inward(self.half("backend"), gateway)
            self.assertFound(found, state, why, r"test\.jp, 127\.0\.0\.1, 2525")

    def test_refusedInside(self) -> None:
        """A rule of the back-end that refuses what the gateway passes on."""
        table = {"effect.dat": "127.0.0.1 false\n"}
        backend = self.half("backend", table, tables={"effect": "effect.dat"})
        found = pair.inward(backend, self.half("gateway"))
        self.assertFound(found, WRONG, r"the backend refuses mail from outside .* by effect\.dat:1")

    def test_relay(self) -> None:
        """A back-end without a gateway, or with one that is elsewhere."""
        gateway = self.half("gateway")
        backend = self.half("backend", relay={"gateway": None})
        self.assertFound(pair.outward(backend, gateway), WRONG, r"no \[relay\] gateway", "gateway = ")
        backend = self.half("backend", relay={"gateway": "127.0.0.1:25"})
        self.assertFound(pair.outward(backend, gateway), WRONG, "leads to 127.0.0.1:25", "where the gateway")

    def test_machine(self) -> None:
        """effect.dat without a line for the back-end's machine lets nobody out, and its notices are stopped too."""
        gateway = self.half("gateway", {"effect.dat": "baito@test.jp false\n"})
        self.assertFound(pair.outward(self.half("backend"), gateway), WRONG, "nobody", "127.0.0.1 true")
        gateway = self.half("gateway", {"effect.dat": "#<> false\n127.0.0.1 true\n"})
        self.assertFound(pair.outward(self.half("backend"), gateway), WRONG, "notices", "#<> default")

    def test_hostName(self) -> None:
        """Where gateway.dat names the back-end by a name its address is not known, and that is said."""
        backend = self.half("backend", relay={"gateway": "192.168.0.103:2526"}, server={"listen": ["tcp:2525"]})
        tables = {"gateway.dat": "test.jp, backend.test.jp, 2525\n"}
        gateway = self.half("gateway", tables, server={"listen": ["tcp:2526"]})
        self.assertFound(pair.outward(backend, gateway), REMARK, "stands in no table")

    def test_trust(self) -> None:
        """A gateway that is believed by its address, and one that the back-end does not know."""
        self.assertAllOk(pair.trust(self.half("backend")))
        believed = self.half("backend", relay={"gateways": []})
        self.assertFound(pair.trust(believed), WRONG, r"believes whatever sender .* 127\.0\.0\.1", "gateways = ")
        unknown = self.half("backend", relay={"gateways": [], "networks": []})
        self.assertFound(pair.trust(unknown), WRONG, "does not know the gateway", "gateways = ")

    def test_trustByARule(self) -> None:
        """A line of the back-end's effect.dat believes the gateway too, whatever it says of single accounts before."""
        table = {"effect.dat": "bucho@test.jp false\n127.0.0.1 true\n"}
        relay, tables = {"networks": [], "gateways": []}, {"effect": "effect.dat"}
        found = pair.trust(self.half("backend", table, relay=relay, tables=tables))
        self.assertFound(found, WRONG, r'hands over, by effect\.dat:2 "127\.0\.0\.1 true"', "gateways = ")
        self.assertAllOk(pair.trust(self.half("backend", table, tables=tables)))

    def test_trustToLists(self) -> None:
        """Where it is believed the lists are named that take mail of some senders alone, and not all of many."""
        for lists, said in (
            ({"all": "anybody"}, "strangers write, and"),
            ({"all": "anybody", "staff": "members"}, "strangers write to staff@test.jp, and"),
            (
                dict.fromkeys("abcde", "owner"),
                "strangers write to a@test.jp, b@test.jp, c@test.jp and 2 more, and",
            ),
        ):
            text = "".join(
                f'["{name}@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\npost = "{post}"\n'
                for name, post in lists.items()
            )
            tables = {"lists.toml": text, "staff.txt": "baito@test.jp\n"}
            backend = self.half("backend", tables, domains={"lists": "lists.toml"}, relay={"gateways": []})
            self.assertFound(pair.trust(backend), WRONG, said)

    def test_trustInTheSample(self) -> None:
        """The sample believes this machine, and so strangers; with the line that is a comment there it does not."""
        etc = Path(self.mktemp())
        shutil.copytree(ROOT / "etc", etc)
        file = etc / "backend.toml"

        def found() -> list[Finding]:
            return pair.trust(Half(*loading.load(str(file.absolute()), "backend")))

        self.assertFound(found(), WRONG, "believes whatever sender")
        text = file.read_text("utf-8")
        file.write_text(text.replace("# gateways", "gateways"), "utf-8")
        self.assertAllOk(found())

    def test_trustByName(self) -> None:
        """Of a gateway that is named by name nobody here knows the address; whoever has written it is not asked."""
        named = {"gateway": "gw.test.jp:2526", "gateways": []}
        mend = r"\[relay\]: gateways = .*ADDRESS OF gw\.test\.jp"
        self.assertFound(
            pair.trust(self.half("backend", relay=named)), REMARK, "senders that gw.test.jp hands over", mend
        )
        self.assertEqual(pair.trust(self.half("backend", relay=named | {"gateways": ["192.0.2.7"]})), [])
        self.assertEqual(pair.trust(self.half("backend", relay={"gateway": None, "gateways": []})), [])

    def test_tags(self) -> None:
        """What divides a tag on the back-end does so on the gateway, or a tag is a way round effect.dat."""
        plus, minus = {"separator": "+"}, {"separator": "-"}
        backend = self.half("backend", domains=plus)
        tagged = parseAddress("baito+x@test.jp")  # effect.dat refuses baito@test.jp
        for gateway in (self.half("gateway"), self.half("gateway", domains=minus)):
            said = r"NAME\+TAG@test\.jp is NAME@test\.jp, to the gateway it is another"
            self.assertFound(pair.pair(backend, gateway), WRONG, said, r'\[domains\]: separator = "\+"$')
            self.assertTrue(decide(gateway.directory, Client("127.0.0.1"), tagged, OUTSIDE).accepts)
        mended = self.half("gateway", domains=plus)
        self.assertAllOk(pair.pair(backend, mended))
        self.assertFalse(decide(mended.directory, Client("127.0.0.1"), tagged, OUTSIDE).accepts)
        self.assertEqual(pair.tags(self.half("backend"), self.half("gateway")), [])

    def test_sizes(self) -> None:
        """A gateway that takes less, or more; one folder for both; one name; no verification."""
        backend = self.half("backend")
        smaller = self.half("gateway", limits={"message_octets": 1000000})
        self.assertFound(pair.sizes(backend, smaller), WRONG, "1,000,000", "message_octets = 26214400")
        larger = self.half("gateway", limits={"message_octets": 100000000})
        self.assertFound(pair.sizes(backend, larger), REMARK, "100,000,000", "message_octets = 26214400")
        folder = str(backend.settings.folder.resolve())
        shared = self.half("gateway", server={"folder": folder})
        self.assertFound(pair.sizes(backend, shared), WRONG, "both have the work folder", "another")
        alike = self.half("gateway", server={"name": "test.jp"})
        self.assertFound(pair.sizes(backend, alike), WRONG, "both are called test.jp", "another")
        blind = self.half("gateway", relay={"verify": False})
        self.assertFound(pair.sizes(backend, blind), REMARK, "verify is off", "verify = true")
