"""aiosmtplib: arguments port, sender, recipients; the message on standard input."""

import asyncio
import sys

import aiosmtplib

port, sender, *recipients = sys.argv[1:]
content = sys.stdin.buffer.read()
international = not "".join([sender, *recipients]).isascii()


async def send() -> None:
    """One message on one connection."""
    options = ["SMTPUTF8", "BODY=8BITMIME"] if international else ["BODY=8BITMIME"]
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=int(port), timeout=30, start_tls=False) as client:
        refused, _ = await client.sendmail(sender, recipients, content, mail_options=options)
    if refused:
        sys.exit(str(refused))


try:
    asyncio.run(send())
except aiosmtplib.SMTPException as fault:
    sys.exit(str(fault))
