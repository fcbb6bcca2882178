"""
Values that are made by the dozen for each message.

To make a frozen dataclass takes three times as long as to make another, as each field is set by a call. That nobody
sets a field of one of these later is checked where it costs nothing: by mypy, for which they are frozen.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

__all__ = ["value"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, **options: bool) -> Callable[[type[T]], type[T]]:
        """A L{dataclass} that is not changed: written C{@value(frozen=True, slots=True)}."""
        return dataclass(unsafe_hash=frozen, **options)
