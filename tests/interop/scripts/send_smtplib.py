"""Python's smtplib: arguments port, sender, recipients; the message on standard input."""

import smtplib
import ssl
import sys

port, sender, *recipients = sys.argv[1:]
content = sys.stdin.buffer.read()
international = not "".join([sender, *recipients]).isascii()
options = ["SMTPUTF8", "BODY=8BITMIME"] if international else ["BODY=8BITMIME"]
port, *login = port.split("/")
secure = ssl._create_unverified_context()
kind = {"context": secure} if "tls" in login else {}
try:
    with (smtplib.SMTP_SSL if kind else smtplib.SMTP)("127.0.0.1", int(port), timeout=30, **kind) as client:
        if "starttls" in login:
            client.starttls(context=secure)
        if login:
            client.user, client.password = sender, login[2]
            client.ehlo()
            client.auth(login[1], getattr(client, "auth_" + login[1].lower().replace("-", "_")))
        refused = client.sendmail(sender, recipients, content, options)
except smtplib.SMTPException as fault:
    sys.exit(str(fault))
if refused:
    sys.exit(str(refused))
