"""Backbones, registered in ``mmseg.registry.MODELS``."""
