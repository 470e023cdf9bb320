"""Inspection of a set of pairs: statistics, findings, and a contact sheet."""
