"""Python's smtplib: arguments port, sender, recipients; the message on standard input."""

import smtplib
import sys

port, sender, *recipients = sys.argv[1:]
content = sys.stdin.buffer.read()
international = not "".join([sender, *recipients]).isascii()
options = ["SMTPUTF8", "BODY=8BITMIME"] if international else ["BODY=8BITMIME"]
try:
    with smtplib.SMTP("127.0.0.1", int(port), timeout=30) as client:
        refused = client.sendmail(sender, recipients, content, options)
except smtplib.SMTPException as fault:
    sys.exit(str(fault))
if refused:
    sys.exit(str(refused))
