"""Timings side by side, and the plans, results and pages of trainings; run from a checkout."""
