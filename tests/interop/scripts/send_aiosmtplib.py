"""aiosmtplib: arguments port, sender, recipients; the message on standard input."""

import asyncio
import sys

import aiosmtplib

port, sender, *recipients = sys.argv[1:]
content = sys.stdin.buffer.read()
port, *login = port.split("/")
secure = {"use_tls": "tls" in login, "start_tls": "starttls" in login, "validate_certs": False}
international = not "".join([sender, *recipients]).isascii()


async def send() -> None:
    """One message on one connection."""
    options = ["SMTPUTF8", "BODY=8BITMIME"] if international else ["BODY=8BITMIME"]
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=int(port), timeout=30, **secure) as client:
        if login:
            await client.ehlo()
            await getattr(client, "auth_" + login[1].lower().replace("-", ""))(sender, login[2])
        refused, _ = await client.sendmail(sender, recipients, content, mail_options=options)
    if refused:
        sys.exit(str(refused))


try:
    asyncio.run(send())
except aiosmtplib.SMTPException as fault:
    sys.exit(str(fault))
