"""
C{make interop}: every client and server of others against a pair of real processes.

The exit status is 0 where no check failed; then the folder is removed, else it is left to be looked at.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.interop.clients import CLIENTS
from tests.interop.places import Places
from tests.interop.report import Report
from tests.interop.sending import LIMIT, Sending
from tests.system.pair import Pair, Sections, interruptible

SETTINGS: Sections = {"limits": {"message_octets": LIMIT}, "retry": {"refused": ["1s"], "deferred": ["2s"]}}
BACKEND: Sections = {**SETTINGS, "relay": {"hello": "EHLO"}}


def interop(folder: Path, report: Report) -> None:
    """Make every check."""
    with Pair(folder, BACKEND, SETTINGS) as pair:
        for client in CLIENTS:
            Sending(Places(pair), client).run(report)


def main() -> int:
    """The command. @return: the exit status."""
    interruptible()
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="epost-interop-"))
    interop(folder, report)
    print(f"\n{report}")
    if report.failed:
        print(f"What they left: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
