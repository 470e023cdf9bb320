"""Conversion of photos and label maps into pairs, and back."""
