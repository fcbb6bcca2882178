"""Tests of L{epost.control.doctor.rules}: lines of effect.dat that hold nobody back."""

from epost.control.doctor import command
from epost.control.doctor.finding import Finding
from tests.control.doctor.cases import OK, REMARK, Case


class RulesTests(Case):
    """Lines that are without a fault and do nothing."""

    def found(self, effect: str, alone: bool = False) -> list[Finding]:
        """What is found of an effect.dat. @param alone: the back-end's tables are not here."""
        return command.held(None if alone else self.half("backend"), self.half("gateway", {"effect.dat": effect}))

    def test_held(self) -> None:
        """A line above that of the back-end's machine holds."""
        for alone in (False, True):
            found = self.found("baito@test.jp false\nbu*@test.jp norelay\n127.0.0.1 true\n", alone)
            self.assertAllOk(found)
            self.assertFound(found, OK, "meets 2 lines of effect.dat")

    def test_below(self) -> None:
        """One that was put at the end of the table is told, whether the back-end's tables are here or not."""
        for alone in (False, True):
            for line in ("baito@test.jp false", "b*@test.jp norelay", "b*@test.jp false,0"):
                found = self.found(f"#<> default\n127.0.0.1 true\n{line}\n", alone)
                self.assertFound(
                    found, REMARK, r'dat:3 .* holds back strangers alone: .*dat:2 "127\.0\.0\.1 true"', "above"
                )

    def test_default(self) -> None:
        """So is one below a line that leaves the sender to the matrix."""
        self.assertFound(self.found("test.jp default\nbaito@test.jp false\n127.0.0.1 true\n"), REMARK, "alone: .*dat:1")

    def test_domains(self) -> None:
        """Whole domains stand behind the machine where strangers shall not write as ours; that is no mistake."""
        table = "baito@test.jp false\n127.0.0.1 true\ntest.jp false\n*@test.jp false\n#blank false\n192.0.2.1 false\n"
        found = self.found(table)
        self.assertAllOk(found)
        self.assertFound(found, OK, "meets 1 line of")

    def test_nobody(self) -> None:
        """A name that nobody has holds nobody back. Where the accounts are not here that cannot be told."""
        table = "bahito@test.jp false\n127.0.0.1 true\n"
        self.assertFound(self.found(table), REMARK, r"dat:1 .*: there is no bahito@test\.jp", "account list")
        self.assertAllOk(self.found(table, alone=True))
        self.assertAllOk(self.found("spam@example.com false\n127.0.0.1 true\n"))

    def test_noDomain(self) -> None:
        """A name without its domain is taken for a domain."""
        for alone in (False, True):
            found = self.found("baito false\n127.0.0.1 true\n", alone)
            self.assertFound(found, REMARK, "domain called baito", "baito@DOMAIN false")
