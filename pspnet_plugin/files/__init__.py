"""Files and folders that tools make: whole or not at all, and known again."""
