"""Tests of L{epost.control.doctor}."""
