"""Incidents of the past, played at the exchange."""
