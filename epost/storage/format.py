"""
The file of a waiting message, as octets. An operator reads it with C{less}.

    epost 1 head 0000000123 content 000000004567 crc32 89abcdef      always L{SEAL_OCTETS} long: the seal
    {"queued": 1246865254.0, "sender": "baito@test.jp", ...}         the envelope, one line of JSON
                                                                     an empty line; head ends here
    Received: from ...                                               content, as on the wire, CRLF
    01234567 {"started": ...}                                        history: a line for each attempt, behind an LF

The checksum of the seal is over envelope and content. Each line of the history has its own; one that is torn is passed
over, and the LF in front of each line keeps a torn one from spoiling the next.
"""

import json
import re
from json.encoder import encode_basestring_ascii as quoted
from typing import Any
from zlib import crc32

from epost.mail.address import Address
from epost.mail.entry import Attempt, Fate, Outcome
from epost.mail.envelope import Envelope
from epost.mail.reply import Reply
from epost.mail.value import value

_SEAL = re.compile(rb"epost 1 head (\d{10}) content (\d{12}) crc32 ([0-9a-f]{8})\n\Z")
SEAL_OCTETS = 60
UNSEALED = b"epost 1 unfinished".ljust(SEAL_OCTETS - 1) + b"\n"  # a long message while it comes: nobody got its 250


@value(frozen=True, slots=True)
class Seal:
    """
    What the first line says.

    @ivar head: octets between it and the content.
    @ivar content: octets of content.
    @ivar checksum: CRC-32 over both.
    """

    head: int
    content: int
    checksum: int

    @property
    def start(self) -> int:
        """Where the content begins."""
        return SEAL_OCTETS + self.head

    @property
    def end(self) -> int:
        """Where it ends."""
        return SEAL_OCTETS + self.head + self.content


def seal(head: int, content: int, checksum: int) -> bytes:
    """The first line; see L{Seal}."""
    return b"epost 1 head %010d content %012d crc32 %08x\n" % (head, content, checksum)


def parseSeal(line: bytes) -> Seal | None:
    """Read the first line; L{None} where it is none."""
    found = _SEAL.match(line)
    return Seal(int(found[1]), int(found[2]), int(found[3], 16)) if found else None


def head(envelope: Envelope, queued: float) -> bytes:
    """Envelope and empty line."""
    # By hand: json.dumps makes an encoder for each value, which takes longer than the rest.
    sender = _written(envelope.sender) if envelope.sender else "null"
    recipients = ", ".join(map(_written, envelope.recipients))
    utf8 = "true" if envelope.utf8 else "false"
    ours = ', "ours": true' if envelope.ours else ""
    return (
        f'{{"queued": {queued!r}, "sender": {sender}, "recipients": [{recipients}], "utf8": {utf8}, '
        f'"body": {quoted(envelope.body)}, "client": {quoted(envelope.client)}{ours}}}\n\n'
    ).encode("ascii")


def parseHead(octets: bytes) -> tuple[Envelope, float]:
    """Envelope and time of queueing. @raise ValueError, KeyError, TypeError: it is none."""
    value = json.loads(octets)
    envelope = Envelope(
        sender=_read(value["sender"]) if value["sender"] is not None else None,
        recipients=tuple(_read(recipient) for recipient in value["recipients"]),
        utf8=value["utf8"],
        body=value["body"],
        client=value["client"],
        ours=value.get("ours", False),
    )
    return envelope, float(value["queued"])


def _written(address: Address) -> str:
    """An address as its text, where that tells its parts too; else text and parts; in JSON."""
    if address.text == f"{address.local}@{address.domain}":
        return quoted(address.text)
    return f"[{quoted(address.text)}, {quoted(address.local)}, {quoted(address.domain)}]"


def _read(value: str | list[str]) -> Address:
    """The address of L{_written}. Nothing is parsed: a stricter grammar must not lose mail that an older one took."""
    if isinstance(value, str):
        local, _, domain = value.rpartition("@")
        return Address(value, local, domain)
    text, local, domain = value
    return Address(text, local, domain)


def line(attempt: Attempt) -> bytes:
    """An attempt, as a line of the history. A reply stands there once, though many recipients got the same."""
    said = outcomes = ""
    if attempt.outcomes:  # a message that is held has none
        heard = dict.fromkeys(outcome.reply for outcome in attempt.outcomes)
        replies = {reply: place for place, reply in enumerate(heard)}
        outcomes = ", ".join(
            f'{{"to": {o.recipient}, "fate": "{o.fate.value}", "reply": {replies[o.reply]}, "due": {o.due!r}}}'
            for o in attempt.outcomes
        )
        said = ", ".join(map(_replied, replies))
    octets = (
        f'{{"started": {attempt.started!r}, "duration": {attempt.duration!r}, "host": {quoted(attempt.host)}, '
        f'"tls": {quoted(attempt.tls)}, "replies": [{said}], "outcomes": [{outcomes}]}}'
    ).encode("ascii")
    return b"\n%08x %b\n" % (crc32(octets), octets)


def _replied(reply: Reply) -> str:
    """A reply in JSON."""
    lines = ", ".join(map(quoted, reply.lines))
    return f'{{"code": {reply.code}, "enhanced": {quoted(reply.enhanced)}, "lines": [{lines}]}}'


def lastLine(why: str) -> bytes:
    """Why a message is dead. It is no attempt: whoever moves the file back to C{incoming} has it tried again."""
    return b"\ndead: " + why.encode("unicode_escape") + b"\n"


def attempts(history: bytes) -> tuple[Attempt, ...]:
    """All whole lines."""
    lines = history.split(b"\n")
    whole = (line[9:] for line in lines if line[8:9] == b" " and line[:8] == b"%08x" % crc32(line[9:]))
    return tuple(_attempt(json.loads(octets)) for octets in whole)


def _attempt(value: dict[str, Any]) -> Attempt:
    """One of them; it is whole, its checksum says so."""
    replies = [Reply(reply["code"], tuple(reply["lines"]), reply["enhanced"]) for reply in value["replies"]]
    outcomes = tuple(
        Outcome(recipient=each["to"], fate=Fate(each["fate"]), reply=replies[each["reply"]], due=each["due"])
        for each in value["outcomes"]
    )
    return Attempt(value["started"], value["duration"], value["host"], value["tls"], outcomes)
