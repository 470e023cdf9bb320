"""What tools make: files whole or not at all, folders known again, tables."""
