"""The seed's time zone, for tests of what is written in local time."""

import os
import time
from collections.abc import Callable
from typing import Protocol

QUEUED = 1246865254.0  # 2009-07-06 16:27:34 +0900, when the seed's message was queued


class _Case(Protocol):
    def addCleanup(self, function: Callable[..., object], *args: object) -> object:
        """As of a test case."""


def useJapanTime(case: _Case) -> None:
    """Let local time be +0900 until the test has ended."""
    before = os.environ.get("TZ")
    case.addCleanup(_zone, before)
    _zone("JST-9")  # needs no zone files


def _zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()
