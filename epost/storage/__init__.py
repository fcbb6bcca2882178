"""Files: the spool, the mailboxes, the serial, the E-Post logs, and how they become durable."""
