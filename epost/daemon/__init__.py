"""
What both daemons are made of: service starts and stops it; store: what lies in the work folder; ports, receiving: how
clients come in; sending: how mail goes out; tls: whose certificates.
"""
