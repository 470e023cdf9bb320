"""Timings side by side, run plans, and the pages of results; run from a checkout, not installed."""
