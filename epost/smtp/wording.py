"""
Everything that we say to clients, on two screens.

A wording is a L{Reply}; its enhanced status code is written after EHLO alone (spec 8). Texts that E-Post has are
E-Post's, to the letter: the blank in C{<b> ... User unknown.} is one of them. No text repeats what a client wrote,
but a path that passed the grammar.

Spec 8; RFC 5321 4.2 (codes and their texts), RFC 3463 and RFC 5248 (enhanced codes), RFC 6531 3.5 (non-ASCII paths).
"""

from collections.abc import Iterable

from epost.mail.address import Address
from epost.mail.name import Name
from epost.mail.reply import Reply


def _path(path: Address | None) -> str:
    """A path with its brackets; L{None} is the null one."""
    return f"<{path or ''}>"


# The session.


def banner(host: str, version: str, build: str, date: str) -> Reply:
    """The greeting. @param date: RFC 5322."""
    return Reply(220, (f"{host} E-POST ESMTP Receiver ({version}) Bld:{build} {date}",))


def hello(host: str, address: str, extensions: Iterable[str] = ()) -> Reply:
    """The answer to HELO, and with extensions to EHLO. @param address: the client's IP address."""
    return Reply(250, (f"{host} Hello [{address}], pleased to meet you", *extensions))


def closing(host: str) -> Reply:
    """The answer to QUIT."""
    return Reply(221, (f"{host} closing connection.",), "2.0.0")


def done() -> Reply:
    """The answer to NOOP."""
    return Reply(250, ("Ok.",), "2.0.0")


def reset() -> Reply:
    """The answer to RSET."""
    return Reply(250, ("Reset state",), "2.0.0")


def commands(names: Iterable[str]) -> Reply:
    """The answer to HELP."""
    return Reply(214, ("Commands: " + " ".join(names),), "2.0.0")


def notVerified() -> Reply:
    """The answer to VRFY: whoever asks learns nothing (RFC 5321 3.5.3)."""
    return Reply(252, ("Cannot VRFY user, but will accept message and attempt delivery.",), "2.0.0")


# The transaction, when all is well.


def senderOk(path: Address | None) -> Reply:
    """MAIL is taken. @param path: L{None} for the null reverse path."""
    return Reply(250, (f"{_path(path)}... Sender ok.",), "2.1.0")


def recipientOk(path: Address) -> Reply:
    """RCPT is taken."""
    return Reply(250, (f"{_path(path)}... Recipient ok.",), "2.1.5")


def startInput(name: Name) -> Reply:
    """DATA is taken: content may come."""
    return Reply(354, (f"Start mail input;id <{name!s}> end with <CRLF>.<CRLF>",))


def received(name: Name, extended: bool) -> Reply:
    """
    The message is ours now.

    @param extended: whether the client said EHLO; after HELO the text ends as E-Post's does, without the name.
    """
    return Reply(250, (f"Message received ok. <{name!s}>" if extended else "Message received ok.",), "2.0.0")


# Refusals of a sender or a recipient.


def invalidSender() -> Reply:
    """effect.dat says false."""
    return Reply(550, ("Please, mail from a valid IP or Domain address.",), "5.7.1")


def noAccount() -> Reply:
    """An internal sender without an account."""
    return Reply(550, ("Please, mail from a valid e-mail address.",), "5.1.8")


def notYours() -> Reply:
    """A reverse path that does not belong to the account that has logged in."""
    return Reply(553, ("Please, mail from an e-mail address of your own.",), "5.7.1")


def restricted() -> Reply:
    """The sender's account may not write to this recipient (sender.dat, outside = false)."""
    return Reply(550, ("Please mail to a valid e-mail address.",), "5.1.1")


def unknownUser(path: Address) -> Reply:
    """A recipient inside that does not exist."""
    return Reply(550, (f"{_path(path)} ... User unknown.",), "5.1.1")


def relaying(path: Address) -> Reply:
    """A recipient outside, from a client that may not write there."""
    return Reply(550, (f"Sorry {path}, I don't allow unauthorized relaying.",), "5.7.1")


def dependsOnSender(path: Address) -> Reply:
    """A mailing list, to the null path: whether a message may go to it cannot be told without its sender."""
    return Reply(252, (f"{_path(path)}... takes mail of some senders alone.",), "2.1.5")


def posting(path: Address) -> Reply:
    """A mailing list, and a sender who may not write to it."""
    return Reply(550, (f"Sorry {path}, I don't allow unauthorized posting.",), "5.7.1")


def sentTooMuch() -> Reply:
    """The account has sent to the outside as much as it may for now."""
    return Reply(450, ("Sorry. too much was sent from this account, try again later.",), "4.7.1")


def boxFull() -> Reply:
    """The mailbox has no room."""
    return Reply(450, ("Sorry. e-mail address box is full.",), "4.2.2")


def tooManyRecipients() -> Reply:
    """One recipient more than the limit (RFC 5321 4.5.3.1.10)."""
    return Reply(452, ("Address exceeds a maximum.",), "4.5.3")


# Refusals of a message.


def tooBig() -> Reply:
    """Announced by SIZE or found at the end of data."""
    return Reply(552, ("Requested mail action aborted: exceeded storage allocation.",), "5.3.4")


def tooManyReceived() -> Reply:
    """The message goes round in a loop (RFC 5321 6.3)."""
    return Reply(554, ("too many Received: headers.",), "5.4.6")


def looping() -> Reply:
    """The list or the account that sends it on has had it before (RFC 5321 6.3), or it answers or returns to a list."""
    return Reply(554, ("Message refused: it goes round in a loop.",), "5.4.6")


def bareLineEnds() -> Reply:
    """Content with a CR or LF that is no CRLF (RFC 5321 2.3.8)."""
    return Reply(554, ("Message refused: a line does not end with CRLF.",), "5.6.0")


def longLines() -> Reply:
    """Content with a line above 998 octets (RFC 5321 4.5.3.1.6)."""
    return Reply(554, ("Message refused: a line is longer than 998 octets.",), "5.6.0")


# Not now.


def diskFull() -> Reply:
    """No room for a message."""
    return Reply(452, ("Requested action not taken: insufficient system storage.",), "4.3.1")


def notNow() -> Reply:
    """The disk or a table failed."""
    return Reply(451, ("Requested action aborted: local error in processing.",), "4.3.0")


def busy(host: str) -> Reply:
    """Too much to do: the connection ends."""
    return Reply(421, (f"{host} Service not available, too busy, closing connection.",), "4.3.2")


def tooManyConnections(host: str) -> Reply:
    """All connections are taken, or all that one address may have."""
    return Reply(421, (f"{host} Service not available, too many connections.",), "4.7.0")


def timedOut(host: str) -> Reply:
    """The client was silent for too long (RFC 5321 4.5.3.2)."""
    return Reply(421, (f"{host} Timeout exceeded, closing connection.",), "4.4.2")


def tooManyErrors(host: str) -> Reply:
    """The client failed too often."""
    return Reply(421, (f"{host} Too many errors, closing connection.",), "4.7.0")


def shuttingDown(host: str) -> Reply:
    """The daemon ends."""
    return Reply(421, (f"{host} Service shutting down, closing connection.",), "4.3.2")


# TLS (RFC 3207 4).


def readyForTls() -> Reply:
    """The answer to STARTTLS: the handshake may begin."""
    return Reply(220, ("Ready to start TLS.",), "2.0.0")


def tlsAlready() -> Reply:
    """STARTTLS inside TLS."""
    return Reply(503, ("TLS is already on.",), "5.5.1")


def behindStartTls(host: str) -> Reply:
    """Octets in clear came behind STARTTLS, perhaps not from the client: the connection ends."""
    return Reply(421, (f"{host} Nothing may follow STARTTLS, closing connection.",), "4.5.1")


# Logging in (RFC 4954 6; RFC 5248 2.4).


def loggedIn() -> Reply:
    """AUTH has succeeded."""
    return Reply(235, ("Authentication successful.",), "2.7.0")


def badCredentials() -> Reply:
    """Name or password are wrong, or the account may not log in here: the client does not learn which."""
    return Reply(535, ("Authentication credentials invalid.",), "5.7.8")


def badResponse() -> Reply:
    """A response that is none in this mechanism."""
    return Reply(501, ("Authentication response cannot be read.",), "5.5.2")


def unknownMechanism() -> Reply:
    """A mechanism that is not offered."""
    return Reply(504, ("Unrecognized authentication mechanism.",), "5.5.4")


def unknownBinding() -> Reply:
    """A channel binding that the connection does not have."""
    return Reply(504, ("Unrecognized channel binding.",), "5.5.4")


def tlsFirst() -> Reply:
    """No password in clear."""
    return Reply(538, ("Encryption required for requested authentication mechanism.",), "5.7.11")


def tooManyFailures() -> Reply:
    """The account is locked for this client, for a time."""
    return Reply(454, ("Too many failed logins, try again later.",), "4.7.0")


def loginsBusy() -> Reply:
    """Too many passwords wait to be checked."""
    return Reply(454, ("Temporary authentication failure.",), "4.7.0")


def cancelled() -> Reply:
    """The client gave up (RFC 4954 4: C{*})."""
    return Reply(501, ("Authentication cancelled.",), "5.7.0")


def exchangeTooLong() -> Reply:
    """A line of an authentication exchange above its limit (RFC 4954 4 and 6)."""
    return Reply(500, ("Authentication exchange line is too long.",), "5.5.6")


def loginFirst() -> Reply:
    """MAIL on a port for submission, from somebody who has not said who he is (RFC 4954 6)."""
    return Reply(530, ("Authentication required.",), "5.7.0")


def startTlsFirst() -> Reply:
    """The same, where nobody can log in before TLS is on (RFC 3207 4)."""
    return Reply(530, ("Must issue a STARTTLS command first.",), "5.7.0")


def loggedInAlready() -> Reply:
    """A second AUTH (RFC 4954 4)."""
    return Reply(503, ("Already authenticated.",), "5.5.1")


def lockedOut(host: str) -> Reply:
    """The client's address is locked for a time: the connection ends."""
    return Reply(421, (f"{host} Too many failed logins, closing connection.",), "4.7.0")


def loginOver(host: str) -> Reply:
    """The account has changed since the client logged in: the connection ends, and it may do so again."""
    return Reply(421, (f"{host} Log in again, closing connection.",), "4.7.0")


# Faults of a command.


def unknownCommand() -> Reply:
    """No command that we know, or no line that can be one."""
    return Reply(500, ("Syntax error, command unrecognized.",), "5.5.2")


def lineTooLong() -> Reply:
    """A command line above its limit (RFC 5321 4.5.3.1.4)."""
    return Reply(500, ("Line too long.",), "5.5.2")


def notImplemented() -> Reply:
    """A command that we know and do not offer (EXPN)."""
    return Reply(502, ("Command not implemented.",), "5.5.1")


def badArgument(form: str = "") -> Reply:
    """A parameter that cannot be read. @param form: how it should look; empty where that would not help."""
    return Reply(501, (f"Syntax error in parameters, use {form}" if form else "Syntax error in parameters.",), "5.5.4")


def unknownParameter() -> Reply:
    """An ESMTP parameter that we did not announce (RFC 5321 4.1.1.11)."""
    return Reply(555, ("Parameter not recognized or not implemented.",), "5.5.4")


def badSequence(first: str) -> Reply:
    """A command out of turn. @param first: what has to come before it."""
    return Reply(503, (f"Bad sequence of commands, {first} first.",), "5.5.1")


def noRecipients() -> Reply:
    """DATA although every recipient was refused (RFC 5321 3.3)."""
    return Reply(554, ("No valid recipients.",), "5.5.1")


def badSender(why: str = "address syntax") -> Reply:
    """A reverse path that is none. @param why: what is wrong with it."""
    return Reply(501, (f"Bad sender: {why}.",), "5.1.7")


def badRecipient(why: str = "address syntax") -> Reply:
    """A forward path that is none. @param why: what is wrong with it."""
    return Reply(501, (f"Bad recipient: {why}.",), "5.1.3")


def plainSender() -> Reply:
    """A non-ASCII reverse path without SMTPUTF8 (RFC 6531 3.5)."""
    return Reply(550, ("Non-ASCII address without SMTPUTF8.",), "5.6.7")


def plainRecipient() -> Reply:
    """A non-ASCII forward path without SMTPUTF8 (RFC 6531 3.5)."""
    return Reply(553, ("Non-ASCII address without SMTPUTF8.",), "5.6.7")
