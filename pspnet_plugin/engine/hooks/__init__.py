"""Hooks of a training, registered in ``mmseg.registry.HOOKS``."""
