"""The optimizer and its wrapper, registered in ``mmseg.registry``."""
