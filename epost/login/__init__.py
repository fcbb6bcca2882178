"""Who a client is: passwords, SASL mechanisms, the check of both, and what comes of guessing."""
