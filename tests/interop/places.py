"""Where messages may end: the back-end's mailboxes, the sink that stands for the outside, Postfix's mailboxes."""

from collections.abc import Callable, Iterable
from functools import partial

from tests.interop.letters import difference, marked
from tests.system.pair import Pair, waitUntil

SINK = "outside"

Send = Callable[[bytes], tuple[bool, str]]
"""Hands over a message with this content; tells whether it was taken, and what was said."""

Boxes = Callable[[str], list[bytes]]
"""All messages in a mailbox that is not the back-end's."""


class Places:
    """
    All of them.

    @ivar pair: the daemons and the sink.
    """

    def __init__(self, pair: Pair, boxes: Boxes = lambda address: []) -> None:
        """@param boxes: what stands in the mailbox of an address that is not of test.jp."""
        self.pair = pair
        self._boxes = boxes

    def at(self, place: str) -> list[bytes]:
        """What is in one place. @param place: an address, or L{SINK}."""
        if place == SINK:
            return [message.content for message in self.pair.sink.messages]
        user, _, domain = place.partition("@")
        if domain != "test.jp":
            return self._boxes(place)
        return [file.read_bytes() for file in self.pair.backend.mailbox(user)]

    def found(self, mark: str, place: str) -> list[bytes]:
        """Every copy of a message, or of one that quotes it, in one place."""
        return [content for content in self.at(place) if marked(content, mark)]

    def delivers(self, send: Send, mark: str, content: bytes, places: Iterable[str], rewrites: bool = False) -> None:
        """
        Hand over a message and look that it comes, once and unchanged, to each of these places.

        @raise AssertionError: it does not.
        """
        taken, said = send(content)
        assert taken, said
        for place in places:
            waitUntil(f"{mark} at {place}", partial(self.found, mark, place))
        self.pair.idle()
        for place in places:
            copies = self.found(mark, place)
            assert len(copies) == 1, f"{len(copies)} copies at {place}"
            wrong = difference(content, copies[0], rewrites)
            assert not wrong, f"at {place}: {wrong}"

    def refuses(self, send: Send, mark: str, content: bytes, reply: str, places: Iterable[str]) -> None:
        """
        Hand over a message and look that it is refused, that the reply is told, and that nothing comes to these places.

        @raise AssertionError: one of these does not hold.
        """
        taken, said = send(content)
        assert not taken, f"it was taken: {said}"
        assert reply in said, f"{reply!r} is not in what was said: {said}"
        self.pair.idle()
        for place in places:
            assert not self.found(mark, place), f"it came to {place}"

    def returns(self, send: Send, mark: str, content: bytes, quoted: str, sender: str, places: Iterable[str]) -> None:
        """
        Hand over a message that is taken, and look that the sender gets it back with the reason, and that nothing comes
        to these places.

        @raise AssertionError: one of these does not hold.
        """
        taken, said = send(content)
        assert taken, said
        notices = waitUntil(f"a notice about {mark} for {sender}", lambda: self.found(mark, sender))
        assert len(notices) == 1, f"{len(notices)} notices"
        flat = b" ".join(notices[0].split()).decode("utf-8", "backslashreplace")  # Postfix folds what it quotes
        assert quoted in flat, f"{quoted!r} is not in the notice: {flat:.1500}"
        self.pair.idle()
        for place in places:
            assert not self.found(mark, place), f"it came to {place}"
