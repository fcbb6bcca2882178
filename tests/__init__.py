"""Tests."""

from contextlib import suppress

with suppress(ImportError):  # the programs among them, such as tests.system.soak, do without it
    from hypothesis import HealthCheck, settings

    # How long something took tells of the machine, and no test asserts it.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
