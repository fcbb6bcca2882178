"""
An automatic reply, "I am away until …": whether one is made, and its octets (RFC 3834).

To a person who wrote to this person, and to nobody else: not to lists, programs, notices, other automatic replies, and
not to somebody who put the address into a blind copy. Who had one lately is known elsewhere; L{AGAIN} says how long.

What a sender or a user wrote is cut, cleaned of everything that could end a line, and encoded; what is no message
identifier is left out. So neither can add a field.

RFC 3834 2 (when), 3.1 (what); RFC 2369, RFC 2919 (lists); RFC 5322 3.6.4 (References); RFC 2047 (Subject); [MS-OXCMAIL]
2.1.3.2.20 (X-Auto-Response-Suppress).
"""

import re
from base64 import b64encode, encodebytes
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import date
from email.errors import HeaderParseError
from email.header import decode_header
from functools import cached_property
from itertools import islice
from typing import Protocol

from epost.mail import trace
from epost.mail.address import Address, AddressError, parseAddress
from epost.mail.envelope import Envelope
from epost.mail.safe import CONTROL

AGAIN = 7 * 86400.0  # seconds until the same sender gets another (RFC 3834 2 wants some days)
HEADER_OCTETS = 64 * 1024  # more of a header is not looked at
NAMED = 100  # recipients of our domains among whom somebody is looked for; with more it is no letter to a person

_JAPANESE = "ISO-2022-JP"
_SUBJECT = 200  # characters
_IDENTIFIERS = 20  # in References: the first and the last ones (RFC 5537 3.4.4 keeps these too)
_LINE = 998  # RFC 5322 2.1.1
_FIELDS = 20  # of one name, of which words are read
_FOLD = 76  # RFC 2047 2

# RFC 3834 2: who is a program by its name. Beside the RFC's own those that say so themselves.
_PROGRAMS = re.compile(
    r"owner-|(?:mailer-daemon|listserv|majordomo|(?:do[-_.]?)?not?[-_.]?reply|bounces?)(?![a-z])"
    r"|.*-(?:request|owner|relay|bounces?)(?![a-z])",
    re.IGNORECASE,
)
_TO = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")
_PRECEDENCE = frozenset(("bulk", "list", "junk"))
_SUPPRESS = frozenset(("all", "oof", "autoreply"))  # the others of its words are about notices

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_FOLDED = re.compile(rb"\r?\n(?=[ \t])")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
_DOMAIN = re.compile(r'@([^\s<>,;:"()@]{1,255})')
# What stands in front of it, in a piece that is hardly longer than what is looked for.
_LOCAL = re.compile(r'(?:(?<![^\s<>,;:"()])[^\s<>,;:"()@]{1,64}|"(?:[^"\\]|\\.){0,64}")\Z')
_LOCAL_CHARACTERS = 131
_IDENTIFIER = re.compile(r"<[!-;=?-~]{1,248}>")  # short enough for a line of its own
_RE = re.compile(r"re\s*:", re.IGNORECASE)


class Absence(Protocol):
    """What an account replies with; L{epost.tables.details.Absence}."""

    @property
    def text(self) -> str:
        """Any line ends."""

    @property
    def subject(self) -> str:
        """Empty: the original's."""

    @property
    def charset(self) -> str:
        """C{UTF-8} or C{ISO-2022-JP}, which is used where the text can be written in it."""

    def on(self, day: date) -> bool:
        """Whether it is sent on a day."""


class Letter:
    """
    What is to be known of the message that came.

    @param header: its header, with or without what follows; lines ended by CRLF or LF.
    @param domains: ours, as they are compared.
    @ivar fields: the values of each field, unfolded, by its name in lower case.
    """

    def __init__(self, header: bytes, domains: Iterable[str] = ()) -> None:
        self._domains = domains
        self.fields: dict[str, list[str]] = {}
        for line in _FOLDED.sub(b"", header[:HEADER_OCTETS].partition(b"\n\r\n")[0].partition(b"\n\n")[0]).split(b"\n"):
            found = _FIELD.match(line)
            if found:
                value = found[2].decode("utf-8", "replace").strip()
                self.fields.setdefault(found[1].decode("ascii").lower(), []).append(value)

    def all(self, *names: str) -> str:
        """All that stands in some fields."""
        return ", ".join(value for name in names for value in self.fields.get(name, ()))

    def words(self, name: str) -> set[str]:
        """The words of a field, without comments and parameters, in lower case; not those far behind its beginning."""
        values = islice(self.fields.get(name, ()), _FIELDS)
        plain = (re.sub(r"\([^()]*\)|;.*", " ", value[:_LINE]) for value in values)
        return {word for value in plain for word in re.split(r"[\s,]+", value.lower()) if word}

    def addressed(self, own: Iterable[Address]) -> bool:
        """Whether it names one of some addresses of ours as a recipient."""
        keys = {address.key for address in own}
        return any(address.key in keys for address in self.recipients)

    @cached_property
    def recipients(self) -> tuple[Address, ...]:
        """
        Whom of us it names as recipients; of more than L{NAMED} the first ones.

        Others are not read: of a header of 64 KiB full of international domains that takes a second.
        """
        ours, text, found = set(_spellings(self._domains)), self.all(*_TO), []
        domains = (domain for domain in _DOMAIN.finditer(text) if domain[1].lower() in ours)
        for domain in islice(domains, NAMED):
            local = _LOCAL.search(text[max(domain.start() - _LOCAL_CHARACTERS, 0) : domain.start()])
            with suppress(AddressError):
                found.append(parseAddress(f"{local[0] if local else ''}{domain[0]}"))
        return tuple(found)

    @cached_property
    def automatic(self) -> str | None:
        """Why it is from no person, as far as its fields tell; as L{declined}, which is asked for each who is away."""
        if self.words("auto-submitted") - {"no"}:
            return "it was sent automatically"
        if any(name.startswith("list-") for name in self.fields) or "mailing-list" in self.fields:
            return "it is from a list"
        if self.words("precedence") & _PRECEDENCE:
            return "it is bulk mail"
        if self.words("x-auto-response-suppress") & _SUPPRESS:
            return "its sender wants none"
        if "multipart/report" in self.words("content-type"):
            return "it is a notice"
        return None


def _spellings(domains: Iterable[str]) -> Iterator[str]:
    """Domains as they are compared and as people write them."""
    for domain in domains:
        yield domain
        with suppress(UnicodeError):
            yield domain.encode("ascii").decode("idna")


def declined(letter: Letter, sender: Address | None, absence: Absence, now: float) -> str | None:
    """
    Why a message gets no automatic reply, whomever it names.

    @param sender: its reverse path.
    @param now: seconds since 1970.
    @return: some words of ours; L{None}: it may get one.
    """
    if sender is None:
        return "it has a null reverse path"
    if not absence.on(date.fromtimestamp(now)):  # days are days where the server is
        return "there is none on this day"
    if _PROGRAMS.match(sender.local):
        return "its sender is a program or a list"
    return letter.automatic


def astray(letter: Letter, sender: Address, own: Collection[Address]) -> str | None:
    """
    Why a message is not from somebody to an account.

    @param own: the account's addresses: its own, its aliases, and that which the message came to.
    @return: as L{declined}.
    """
    if sender in own:
        return "it is from the account itself"
    if not letter.addressed(own):
        return "it does not name the account as a recipient"
    return None


def compose(
    letter: Letter, sender: Address, account: Address, absence: Absence, messageId: str, when: float
) -> tuple[Envelope, bytes]:
    """
    Write the reply.

    @param sender: who gets it: the reverse path of the message that came (RFC 3834 4).
    @param messageId: its own, without angle brackets.
    @param when: seconds since 1970.
    @return: from the null reverse path (RFC 3834 3.3); the content as on the wire, dots not stuffed.
    """
    identifiers = _IDENTIFIER.findall(letter.all("message-id"))[:1]
    before = _IDENTIFIER.findall(letter.all("references")) or _IDENTIFIER.findall(letter.all("in-reply-to"))[:1]
    references = [*before, *identifiers]
    if len(references) > _IDENTIFIERS:
        references[1 : 1 - _IDENTIFIERS] = []
    text = _UNPRINTABLE.sub("", "\n".join(absence.text.splitlines())).replace("\n", "\r\n") + "\r\n"
    charset, encoding, body = _encoded(text, absence.charset)
    fields = [
        ("From", _clean(account.text)),
        ("To", _clean(sender.text)),
        ("Subject", _unstructured(_subject(letter, absence), absence.charset)),
        ("Date", trace.date(when)),
        ("Message-Id", f"<{_clean(messageId)}>"),
        *(("In-Reply-To", identifier) for identifier in identifiers),
        *((("References", "\r\n ".join(references)),) if references else ()),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f"text/plain; charset={charset}"),
        ("Content-Transfer-Encoding", encoding),
    ]
    header = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    return Envelope(None, (sender,), utf8=not (sender.ascii and account.ascii)), header + b"\r\n" + body


def _subject(letter: Letter, absence: Absence) -> str:
    """The subject as people read it."""
    if absence.subject.strip():
        return _clean(absence.subject)
    [original, *_] = letter.fields.get("subject") or [""]
    original = _clean(_decoded(original[: 4 * _SUBJECT]))  # as encoded words it is that much longer
    return original if _RE.match(original) else f"Re: {original}".rstrip()


def _decoded(value: str) -> str:
    """A field without RFC 2047; as it stands where it is damaged."""
    try:
        parts = decode_header(value)
        return "".join(p if isinstance(p, str) else p.decode(charset or "ascii", "replace") for p, charset in parts)
    except (HeaderParseError, LookupError, ValueError):
        return value


def _clean(text: str) -> str:
    """One line, of a length that anybody reads."""
    return CONTROL.sub(" ", text)[:_SUBJECT].strip()


def _charset(text: str, wanted: str) -> str:
    """In what it is written."""
    if wanted == _JAPANESE:
        with suppress(UnicodeEncodeError):
            text.encode(_JAPANESE)
            return _JAPANESE
    return "UTF-8"


def _unstructured(text: str, charset: str) -> str:
    """A value as it stands in a field: as it is where that is short and ASCII, else in encoded words (RFC 2047)."""
    if text.isascii() and "=?" not in text and len(text) < _FOLD - len("Subject: "):
        return text
    charset = _charset(text, charset)
    room = (_FOLD - len("Subject: ") - len(f"=?{charset}?B??=")) // 4 * 3  # octets in one word
    words, held = [], ""
    for character in text:
        if len((held + character).encode(charset)) > room:  # each word ends in ASCII, as the codec does it
            words.append(held)
            held = ""
        held += character
    return "\r\n ".join(f"=?{charset}?B?{b64encode(w.encode(charset)).decode()}?=" for w in [*words, held])


def _encoded(text: str, charset: str) -> tuple[str, str, bytes]:
    """
    The body in seven bits.

    @param text: lines ended by CRLF.
    @return: charset, Content-Transfer-Encoding, octets.
    """
    charset = _charset(text, charset)
    octets = text.encode(charset)
    if octets.isascii() and max(map(len, octets.split(b"\r\n"))) <= _LINE:
        return charset, "7bit", octets
    return charset, "base64", encodebytes(octets).replace(b"\n", b"\r\n")
