"""The two commands of C{twistd}: C{epost-backend} and C{epost-gateway}."""

from twisted.application.service import ServiceMaker

backend = ServiceMaker("epost back-end", "epost.backend", "A mail server with mailboxes.", "epost-backend")
gateway = ServiceMaker("epost gateway", "epost.gateway", "The mail server in front of a back-end.", "epost-gateway")
