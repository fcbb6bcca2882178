"""
The seed's listings, as it prints them, and how they are read (spec 9).

L{READINGS} names each difference between what stands here and what is to be written, with its reason.
"""

import re
from collections.abc import Iterable

SENDERLOG = """\
[16:25:52:734] [B0000000185] [test.jp] GetTryServer:(itime(12891338752)-otime(12891338752))/240=(0)
[16:25:52:734] [B0000000185] [test.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(itime(12891338855)-otime(12891338854))/240=(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] ConnectHost(192.168.0.103)
[16:27:35:111] [B0000000186] SendMailMess:[16:27:35:111] 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul
[16:27:35:111] [B0000000186] SendMailMess:HELO test.jp
[16:27:35:131] [B0000000186] SendMailMess:[16:27:35:131] 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[16:27:35:131] [B0000000186] SendMailMess:MAIL From: <baito@test.jp>
[16:27:35:171] [B0000000186] SendMailMess:[16:27:35:171] 550 Please, mail from a valid IP or Domain address.
[16:27:35:171] [B0000000186] SendMailMess:QUIT
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(itime(12891338855)-otime(12891338854))/240=(0)
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(itime(12891338974)-otime(12891338974))/240=(1)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] ConnectHost(192.168.0.103)
[16:29:35:144] [B0000000186-R0001] SendMailMess:[16:29:35:144] 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[16:29:35:144] [B0000000186-R0001] SendMailMess:HELO test.jp
[16:29:35:174] [B0000000186-R0001] SendMailMess:[16:29:35:174] 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[16:29:35:184] [B0000000186-R0001] SendMailMess:MAIL From: <baito@test.jp>
[16:29:35:224] [B0000000186-R0001] SendMailMess:[16:29:35:224] 550 Please, mail from a valid IP or Domain address.
[16:29:35:234] [B0000000186-R0001] SendMailMess:QUIT
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(itime(12891338975)-otime(12891338975))/240=(1)
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:35:284] [B0000000186-001]:ReturnMail Start:RCPT To:baito@test.jp
[16:29:35:284] [B0000000186-R0001] [test.jp] GetTryServer:(0)
[16:29:35:284] [B0000000186-R0001] [test.jp] GetTryServer:(itime(12891338975)-otime(12891338975))/240=(1)
[16:29:35:284] [B0000000186-001]:ReturnMail Start:domain:[test.jp] smtp server:[192.168.0.103]
"""  # noqa: E501

RECEIVELOG = """\
[06/Jul/2009:16:23:57], 00153008, quit
[06/Jul/2009:16:23:57], 00153008, 221 dc.epost.test closing connection.
[06/Jul/2009:16:23:57], 00153008, CloseClient Started.:SOCKET.C
[06/Jul/2009:16:23:57], 00153008, closesocket():SOCKET.C
[06/Jul/2009:16:27:31], 00153008, 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[06/Jul/2009:16:27:31], 00153008, HELO test.jp
[06/Jul/2009:16:27:31], 00153008, 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[06/Jul/2009:16:27:31], 00153008, MAIL From: <baito@test.jp>
[06/Jul/2009:16:27:31], 00153008, 550 Please, mail from a valid IP or Domain address.
[06/Jul/2009:16:27:31], 00153008, QUIT
[06/Jul/2009:16:27:31], 00153008, 221 dc.epost.test closing connection.
[06/Jul/2009:16:27:31], 00153008, CloseClient Started.:SOCKET.C
[06/Jul/2009:16:27:31], 00153008, closesocket():SOCKET.C
[06/Jul/2009:16:29:30], 00153008, 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[06/Jul/2009:16:29:30], 00153008, HELO test.jp
[06/Jul/2009:16:29:30], 00153008, 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[06/Jul/2009:16:29:30], 00153008, MAIL From: <baito@test.jp>
[06/Jul/2009:16:29:30], 00153008, 550 Please, mail from a valid IP or Domain address.
[06/Jul/2009:16:29:30], 00153008, QUIT
"""

NOTICE = """\
Subject: Delivery failure
From: postmaster@test.jp
To: baito@test.jp
Date: Mon, 06 Jul 2009 16:29:35 +0900
Message-Id: <B0000000186@test.jp>
Content-Type: multipart/mixed;
    boundary="-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA="

-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=
Content-Type: text/plain

Your message has encountered delivery problems to the following recipients:
user2@test-sample00.jp

> 550 Please, mail from a valid IP or Domain address.

-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=
Content-Type: message/rfc822

Received: from (unverified [192.168.0.102]) by test.jp
(E-POST ESMTP Receiver (4.56)) with ESMTP id <B0000000186@test.jp>;
Mon, 06 Jul 2009 16:26:58 +0900
subject:test4
Message-Id: <B0000000186@test.jp>
Date: Mon, 06 Jul 2009 16:27:34 +0900
From: baito@test.jp
"""

# How the seed is read: what it prints, what stands there, why.
Reading = tuple[str, str, str]
READINGS: tuple[Reading, ...] = (
    (r"(\d\d:\d\d:\d\d):\d\d\d\]", r"\1]", "thousandths are how long a machine and a wire took, not what it does"),
    (r"ESMTTP", "ESMTP", "spec 9: a damaged transcription"),
    (r"(16:27:35\].*CAAIGADJA Mon,).*", r"\1 06 Jul 2009 16:27:31 +0900", "spec 9: the window cut the line"),
    (r"(16:29:35\].*CAAIGADJA Mon,).*", r"\1 06 Jul 2009 16:29:30 +0900", "spec 9: the window cut the line"),
    (r"(2009:)(16:2\d:3\d)(\].*CAAIGADJA Mon,).*", r"\1\2\3 06 Jul 2009 \2 +0900", "spec 9: the same in receivelog"),
)
NOTICE_READINGS: tuple[Reading, ...] = (
    (r"\n-----(?=TW9u)", "\n-------", "spec 9, valid MIME: a delimiter is two dashes and the boundary"),
    (r'(boundary=".*")', "\\1\nMIME-Version: 1.0\nAuto-Submitted: auto-replied", "spec 9: they follow Content-Type"),
    (r"from \(", "from pc (", "spec 8: the seed's HELO is empty, we write it"),
    (r"\n\(E-POST", "\n\t(E-POST", "spec 8: folded with a TAB"),
    (r"\n(.*) 16:26:58", r"\n\t\1 16:27:34", "spec 8, TAB; spec 9: Received carries the time of MAIL or of the end"),
    (r"\Z", "\nhello\n\n-------TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=--\n", "spec 9: the window's end"),
    (r"\A", "Return-Path: <>\nDelivered-To: baito@test.jp\n", "RFC 5321 4.4, for who opens the mailbox"),
)


def read(listing: str, readings: Iterable[Reading] = READINGS) -> str:
    """A listing of the seed as it is to be read."""
    for pattern, text, _ in readings:
        listing = re.sub(pattern, text, listing, flags=re.MULTILINE)
    return listing


REFUSED = [line for line in read(SENDERLOG).splitlines() if "B0000000186" in line]


def numbered(lines: list[str]) -> list[str]:
    """receivelog with a number for each connection (spec 7; the seed has 00153008 on all). It ends with closesocket."""
    number, numbered = 1, []
    for line in lines:
        numbered.append(line.replace("00153008", f"{number:08x}"))
        number += "closesocket" in line
    return numbered
