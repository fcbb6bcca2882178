"""Tests of L{epost.tables.effect}."""

import fnmatch
import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.mail.fault import Fault
from epost.tables.effect import EffectTable, Kind, readEffect


def table(*lines: str) -> EffectTable:
    """A table without faults."""
    faults: list[Fault] = []
    found = readEffect("effect.dat", "\n".join(lines).encode(), faults)
    assert not faults, faults
    return found


def first(lines: list[str], address: str, path: str | None, blank: bool = False) -> int | None:
    """The number of the line that decides."""
    rule = table(*lines).first(address, parseAddress(path) if path else None, blank)
    return rule.because.line if rule else None


def scan(lines: list[str], address: str, path: Address | None, blank: bool) -> int | None:
    """The same as the index, written as the spec says it: one line after the other."""
    for number, pattern in enumerate(lines, 1):
        if pattern == "#blank":
            matches = blank
        elif pattern in ("#<>", "#<"):
            matches = path is None and not blank
        elif "@" in pattern:
            matches = path is not None and fnmatch.fnmatchcase("@".join(path.key), pattern.lower())
        elif "/" in pattern:
            matches = ipaddress.ip_address(address) in ipaddress.ip_network(pattern)
        elif pattern[-1].isdigit() or pattern[-1] == "*" or ":" in pattern:
            matches = fnmatch.fnmatchcase(address, pattern)
        else:
            matches = path is not None and fnmatch.fnmatchcase(path.domain, pattern.lower())
        if matches:
            return number
    return None


LOCALS = st.sampled_from(["a", "b", "ab", "B"])
DOMAINS = st.sampled_from(["x.jp", "y.jp", "X.jp", "s.x.jp"])
ADDRESSES = st.sampled_from(["192.168.1.5", "192.168.2.5", "10.1.1.1", "10.2.1.1", "::1", "2001:db8::7"])
PATTERNS = st.one_of(
    DOMAINS,
    ADDRESSES,
    st.builds("{}@{}".format, st.sampled_from(["a", "*", "a*", "*b", "*a*"]), st.sampled_from(["x.jp", "*.jp", "*"])),
    st.sampled_from(
        ["192.168.1.*", "192.168.*.*", "10.*.1.1", "192.168.0.0/16", "2001:db8::/32", "*.x.jp", "0.0.0.0/0"]
    ),
    st.sampled_from(["#blank", "#<>", "#<"]),
)


class FirstTests(SynchronousTestCase):
    """The first line that matches decides."""

    @settings(derandomize=True, max_examples=500)
    @given(
        st.lists(PATTERNS, max_size=12),
        ADDRESSES,
        st.none() | st.builds("{}@{}".format, LOCALS, DOMAINS),
        st.booleans(),
    )
    def test_indexIsTheScan(self, lines: list[str], address: str, path: str | None, blank: bool) -> None:
        """Whatever the table, the index finds the line that a plain reading from top to bottom finds."""
        blank = blank and path is None
        self.assertEqual(
            first(lines, address, path, blank), scan(lines, address, parseAddress(path) if path else None, blank)
        )

    def test_addressForms(self) -> None:
        """Each form of address matches the client's IP and nothing else."""
        for pattern, yes, no in [
            ("192.168.1.5", "192.168.1.5", "192.168.1.50"),
            ("192.168.1.*", "192.168.1.250", "192.168.10.1"),
            ("10.*.*.*", "10.200.3.4", "110.2.3.4"),
            ("10.*.1.*", "10.7.1.4", "10.7.2.4"),
            ("192.168.1.0/28", "192.168.1.15", "192.168.1.16"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("2001:DB8:0::/32", "2001:db8:ffff::9", "2001:db9::9"),
            ("::ffff:192.168.1.5", "192.168.1.5", "192.168.1.6"),
            ("192.168.1.5", "::ffff:192.168.1.5", "::192.168.1.5"),
        ]:
            self.assertEqual(first([pattern], yes, None), 1, pattern)
            self.assertIsNone(first([pattern], no, None), pattern)

    def test_pathForms(self) -> None:
        """A domain means itself alone; * is any run of signs but @; case does not matter; IDN are A-labels."""
        for pattern, yes, no in [
            ("abc.co.jp", "x@ABC.co.jp", "x@sub.abc.co.jp"),
            ("*.abc.co.jp", "x@sub.abc.co.jp", "x@abc.co.jp"),
            ("abc@abc.co.jp", "ABC@abc.CO.jp", "abcd@abc.co.jp"),
            ("*@abc.co.jp", "x@abc.co.jp", "x@abc.co.jp.test"),
            ("a*z@abc.co.jp", "a.b.z@abc.co.jp", "a.b@abc.co.jp"),
            ("日本.jp", "x@xn--wgv71a.jp", "x@nippon.jp"),
            ("a@xn--wgv71a.jp", "a@日本.JP", "a@nippon.jp"),
            ('"a b"@abc.co.jp', '"a\\ b"@abc.co.jp', "ab@abc.co.jp"),
            ('"a"@abc.co.jp', "a@abc.co.jp", "b@abc.co.jp"),
            ("*.abc.co.jp", '"a@b"@x.abc.co.jp', '"x@y.abc.co.jp"@abc.co.jp'),
            ("*b*c@*.jp", "abbcc@x.y.jp", "acb@x.jp"),
        ]:
            self.assertEqual(first([pattern], "10.0.0.1", yes), 1, pattern)
            self.assertIsNone(first([pattern], "10.0.0.1", no), pattern)
            self.assertIsNone(first([pattern], "10.0.0.1", None), pattern)

    def test_blankAndNull(self) -> None:
        """Nothing behind MAIL FROM: and <> are two things, and the seed's #< is the latter."""
        for null in ("#<>", "#<"):
            self.assertEqual(first(["#blank", null], "10.0.0.1", None), 2)
            self.assertEqual(first([null, "#BLANK"], "10.0.0.1", None, blank=True), 2)


class ReadEffectTests(SynchronousTestCase):
    """Lines are read as the spec writes them."""

    def test_kinds(self) -> None:
        """No kind means true; case and blanks do not matter; the option is 1 where none stands."""
        rules = table("a.jp", "a.jp\tFALSE", "a.jp  only", "a.jp default , 0", "a.jp norelay,2").rules
        self.assertEqual([(r.kind, r.option) for r in rules], list(zip(Kind, (1, 1, 1, 0, 2), strict=True)))

    def test_because(self) -> None:
        """A rule carries the file's name, its line and its text."""
        rule = table("' comment", "", "  baito@test.jp false ").first("10.0.0.1", parseAddress("baito@test.jp"))
        self.assertEqual(str(rule.because), 'effect.dat:3 "baito@test.jp false"')

    def test_allFaults(self) -> None:
        """Every fault is told, with its line."""
        text = "a.jp flase\n192.168.1 true\n#blnk\na.jp true,3\na.jp false,2\n192.168.1.1/28\na b@@ true\n300.1.1.1\n"
        faults: list[Fault] = []
        readEffect("effect.dat", text.encode(), faults)
        self.assertEqual({fault.line for fault in faults}, set(range(1, 9)))
        expected = 'effect.dat:1: unknown kind "flase", expected true, false, only, default or norelay'
        self.assertEqual(str(faults[0]), expected)

    def test_strangeComment(self) -> None:
        """Who writes a comment with # is told once, and how it is done."""
        faults: list[Fault] = []
        readEffect("effect.dat", b"# who may\n", faults)
        self.assertEqual(
            list(map(str, faults)),
            ["effect.dat:1: unknown word #, expected #blank or #<>; a comment begins with '"],
        )

    def test_whatAuthLifts(self) -> None:
        """AUTH lifts false and norelay, but not with ,0, and not norelay,2."""
        rules = table("a", "a false", "a false,0", "a norelay", "a norelay,0", "a norelay,2", "a only").rules
        self.assertEqual([rule.lifts for rule in rules], [False, True, False, True, False, False, False])
        self.assertEqual([rule.refuses for rule in rules], [False, True, True, False, False, True, False])

    def test_machine(self) -> None:
        """For a machine alone, lines about reverse paths are passed over."""
        rule = table("a.jp false", "#<> false", "10.*.*.* true").machine("10.1.2.3")
        self.assertEqual(rule and rule.because.line, 3)
