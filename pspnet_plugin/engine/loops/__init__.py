"""Training loops, registered in ``mmseg.registry.LOOPS``."""
