"""Files and folders of photos, pairs and videos through a network, into files."""
