"""Pairs from photos and label maps, and back."""
