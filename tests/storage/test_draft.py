"""What is kept of a message that is being written."""

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.name import numbered
from epost.storage.disk import Disk
from epost.storage.draft import SHORT
from epost.storage.durable import Commits
from epost.storage.spool import Spool
from tests.storage.contracts import ENVELOPE, QUEUED
from tests.storage.test_spool import atOnce


class DraftTests(SynchronousTestCase):
    """L{epost.storage.draft.Draft}, as the spool has it."""

    def test_crumbs(self) -> None:
        """A client that sends two octets at a time makes us hold no more than one that sends them at once."""
        disk = Disk()
        spool = Spool(disk, self.mktemp(), Commits(disk, "auto", atOnce, atOnce))
        draft = spool.draft(numbered(1), ENVELOPE, QUEUED)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(SHORT // 2):
            draft.write(number.to_bytes(2, "big"))
        held, _ = tracemalloc.get_traced_memory()
        self.assertLess(held, 2 * SHORT)
        self.successResultOf(draft.commit())
        content = b"".join(spool.content(numbered(1)).parts())
        self.assertEqual(content, b"".join(number.to_bytes(2, "big") for number in range(SHORT // 2)))
