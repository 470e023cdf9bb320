"""Names in the order in which a person counts."""

import re


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key by which ``2.jpg`` comes before ``10.jpg``; the name itself settles ties."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if part.isdecimal() else part.lower() for part in parts], name
