"""
The grammar of commands: what stands behind MAIL and RCPT, and how a line falls into verb and argument.

Strict where two servers could read a line in two ways, lenient where a client is known that needs it: a blank behind
the colon (E-Post itself), and after HELO no angle brackets (old mailers and devices). Source routes are read and
dropped. What cannot be read is L{Refused} with the reply.

RFC 5321 4.1.1 and 4.1.2 (grammar), 4.5.3.1 (limits), 4.5.1 (postmaster); RFC 1870 (SIZE), RFC 6152 (BODY),
RFC 6531 3.4 to 3.6 (SMTPUTF8), RFC 4954 4 and 5 (AUTH).
"""

import binascii
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from epost.mail.address import Address, AddressError, parseAddress, postmaster
from epost.mail.reply import Refused, Reply
from epost.smtp import wording
from epost.smtp.event import Auth, Mail, Rcpt

HELO_OCTETS = 255  # RFC 5321 4.5.3.1.2
PATH_OCTETS = 256  # with its brackets (RFC 5321 4.5.3.1.3)
HIDDEN = "***"  # stands in a log for what belongs to a login

_COMMON = frozenset(("EHLO", "MAIL", "RCPT", "DATA", "RSET", "QUIT"))  # as nearly all clients write them
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_ODD = re.compile(r"""[^!-~]|[()<>@,;\\"]""")  # what would change a Received field or a log line (RFC 5322 3.2.3)
_PATH = re.compile(r'<((?:"(?:\\.|[^"\\])*"|[^">])*)>(?:[ \t]+(.*))?\Z')
_ROUTE = re.compile(r"(?:@[^@,:\s]+,)*@[^@,:\s]+:")  # A-d-l of RFC 5321 4.1.2
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}\Z")  # RFC 4422 3.1, in any case
_LOGIN = re.compile(r"\s*\S+(?:\s+[A-Za-z0-9_-]{1,20}(?!\S))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")  # RFC 3461 4
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?\Z")

Bad = Callable[[str], Reply]
Read = Callable[[str | None], object]


def split(line: str) -> tuple[str, str]:
    """
    Verb in upper case, and argument without outer blanks.

    @param line: without its CRLF. Octets that are not UTF-8 are surrogates, which no grammar here takes.
    @raise Refused: no command can look like this (bare CR or LF, NUL and other controls, nothing at all).
    """
    if not line.isprintable() and _CONTROL.search(line):
        raise Refused(wording.unknownCommand())
    verb, _, argument = line.partition(" ")
    if verb not in _COMMON:
        if "\t" in verb:  # as good as a blank here; inside quotes it is no text (RFC 5321 4.1.2)
            verb, _, argument = line.partition("\t")
        if not verb.isascii():
            raise Refused(wording.unknownCommand())
        verb = verb.upper()
    return verb, argument.strip(" \t")


def hello(argument: str) -> str:
    """
    The name behind HELO or EHLO: any is taken, Windows machines say what they are called.

    @return: cut to 255, and with C{?} for every octet that could not stand in a Received field.
    @raise Refused: 501, there is none.
    """
    if not argument:
        raise Refused(wording.badArgument("a host name"))
    return _ODD.sub("?", argument[:HELO_OCTETS])


@lru_cache(maxsize=1024)  # the same people write to the same people
def mail(argument: str, extended: bool, auth: bool = False) -> Mail:
    """
    Read what stands behind MAIL.

    @param extended: whether the client said EHLO.
    @param auth: whether AUTH was announced, so that AUTH= may stand there. Nobody is believed it (RFC 4954 5).
    @raise Refused: 501, 550 5.6.7 or 555.
    """
    rest = _behind("FROM:", argument, "MAIL FROM:<address>")
    if not rest:
        return Mail(None, blank=True)
    inside, behind = _path(rest, extended, "MAIL FROM:<address>")
    given = _parameters(behind, extended, _MAIL_AUTH if auth else _MAIL)
    given.pop("auth", None)
    path = _mailbox(inside, wording.badSender) if inside else None
    found = Mail(path, False, **given)  # type: ignore[arg-type]
    if path is not None and not path.ascii and not found.utf8:
        raise Refused(wording.plainSender())
    return found


@lru_cache(maxsize=1024)
def rcpt(argument: str, extended: bool, utf8: bool) -> Rcpt:
    """
    Read what stands behind RCPT.

    @param utf8: whether MAIL asked for SMTPUTF8.
    @raise Refused: 501, 553 5.6.7 or 555.
    """
    inside, behind = _path(_behind("TO:", argument, "RCPT TO:<address>"), extended, "RCPT TO:<address>")
    _parameters(behind, extended, _RCPT)
    if inside.lower() == "postmaster":  # RFC 5321 4.5.1
        return Rcpt(postmaster())
    path = _mailbox(inside, wording.badRecipient)
    if not path.ascii and not utf8:
        raise Refused(wording.plainRecipient())
    return Rcpt(path)


def auth(argument: str) -> Auth:
    """
    Read what stands behind AUTH.

    @raise Refused: 501.
    """
    mechanism, _, rest = argument.partition(" ")
    rest = rest.strip(" \t")
    if not _MECHANISM.match(mechanism):
        raise Refused(wording.badArgument("AUTH mechanism"))
    return Auth(mechanism, (b"" if rest == "=" else response(rest)) if rest else None)


def response(text: str) -> bytes:
    """Read base64. @raise Refused: 501."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError:  # also of what is not ASCII
        raise Refused(wording.badResponse()) from None


def beginsLogin(line: str) -> bool:
    """Whether a line, though it may be none that can be read, begins as AUTH does."""
    return line.lstrip()[:4].upper() == "AUTH"


def shown(line: str) -> str:
    """What a log may have of a line that begins as AUTH does: nothing that could be a credential."""
    found = _LOGIN.match(line)
    return f"{found[0]} {HIDDEN}" if found and line[found.end() :].strip() else line


def _behind(word: str, argument: str, form: str) -> str:
    """What follows C{FROM:} or C{TO:}, with or without a blank between (seed: C{MAIL From: <a>})."""
    if argument[: len(word)].upper() != word:
        raise Refused(wording.badArgument(form))
    return argument[len(word) :].lstrip(" \t")


def _path(rest: str, extended: bool, form: str) -> tuple[str, str]:
    """The text inside the brackets, and the parameters behind them."""
    found = _PATH.match(rest)
    if found:
        return found[1], found[2] or ""
    if extended or not rest or "<" in rest or ">" in rest:
        raise Refused(wording.badArgument(form))
    inside, _, behind = rest.partition(" ")
    return inside, behind


def _mailbox(inside: str, bad: Bad) -> Address:
    """The address of a path. @param bad: the reply for what is none."""
    if inside.startswith("@"):
        route = _ROUTE.match(inside)
        if not route:
            raise Refused(bad("source route"))
        inside = inside[route.end() :]
    try:
        octets = inside.encode()
        path = parseAddress(inside)
    except UnicodeEncodeError:
        raise Refused(bad("not UTF-8")) from None
    except AddressError as error:
        raise Refused(bad(str(error)) if error.long else bad("address syntax")) from None
    if len(octets) + 2 > PATH_OCTETS:
        raise Refused(bad("path too long"))
    return path


def _parameters(text: str, extended: bool, known: Mapping[str, tuple[str, Read]]) -> dict[str, object]:
    """
    The ESMTP parameters behind a path, by the names of the event's fields.

    @param known: keyword -> field, and what reads the value.
    @raise Refused: 555 for an unknown one and for any after HELO, 501 for one that stands twice or cannot be read.
    """
    given: dict[str, object] = {}
    for word in text.split():
        found = _PARAMETER.match(word)
        if not found:
            raise Refused(wording.badArgument())
        if not extended or found[1].upper() not in known:
            raise Refused(wording.unknownParameter())
        name, read = known[found[1].upper()]
        try:
            value = read(found[2])
        except ValueError:
            raise Refused(wording.badArgument()) from None
        if name in given:
            raise Refused(wording.badArgument())
        given[name] = value
    return given


def _size(value: str | None) -> int:
    """RFC 1870 5: 1 to 20 digits."""
    if value is None or not re.fullmatch(r"[0-9]{1,20}", value):
        raise ValueError(value)
    return int(value)


def _body(value: str | None) -> str:
    """RFC 6152 2; BINARYMIME (RFC 3030) is not announced."""
    if value is None or value.upper() not in ("7BIT", "8BITMIME"):
        raise ValueError(value)
    return value.upper()


def _flag(value: str | None) -> bool:
    """A keyword without a value."""
    if value is not None:
        raise ValueError(value)
    return True


def _xtext(value: str | None) -> str:
    """RFC 4954 5: who had logged in where the message comes from."""
    if value is None or not (value == "<>" or _XTEXT.match(value)):
        raise ValueError(value)
    return value


_MAIL: dict[str, tuple[str, Read]] = {"SIZE": ("size", _size), "BODY": ("body", _body), "SMTPUTF8": ("utf8", _flag)}
_MAIL_AUTH = {**_MAIL, "AUTH": ("auth", _xtext)}
_RCPT: dict[str, tuple[str, Read]] = {}
