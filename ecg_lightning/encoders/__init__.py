"""Encoders: torch only, each for any number of leads and any length its contract allows."""
