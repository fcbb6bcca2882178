"""Tests of L{epost.tables.ways}; what circles are is told in those of L{epost.tables.directory}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.tables.ways import Known, Sign


class KnownTests(SynchronousTestCase):
    """L{Known} remembers what was walked."""

    def test_bounded(self) -> None:
        """It keeps so many ends and no more: the oldest walks are forgotten, and walked again where they are wanted."""
        asked: list[Address] = []
        ends = tuple(parseAddress(f"x{number}@test.jp") for number in range(10))

        def signs(address: Address) -> tuple[Sign, ...]:
            if address in ends:
                return ()
            asked.append(address)
            return (Sign(address, ends, "aliases.dat", 1),)

        known = Known(25)
        for number in (1, 2, 3, 3, 2, 1):
            self.assertEqual(len(known.find(parseAddress(f"a{number}@test.jp"), True, signs).ends), 10)
            self.assertLessEqual(len(known), 2)
        self.assertEqual([str(address) for address in asked], [f"a{n}@test.jp" for n in (1, 2, 3, 1)])
        self.assertEqual(len(Known(9).find(parseAddress("a1@test.jp"), True, signs).ends), 10)
