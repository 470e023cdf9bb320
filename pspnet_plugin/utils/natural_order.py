"""Natural order of names: numbers by their value."""

import re


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that puts ``2.jpg`` before ``10.jpg``; the name itself settles ties."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if part.isdecimal() else part.lower() for part in parts], name
