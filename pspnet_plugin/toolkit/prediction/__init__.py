"""Files and directories of photos, pairs and videos, labelled into files."""
