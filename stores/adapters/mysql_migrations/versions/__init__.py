"""Numbered; see the package above."""
