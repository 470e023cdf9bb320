"""Networks in forms that need no framework: written, opened again and compared."""
