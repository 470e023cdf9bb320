"""Natural order of names: numbers by their value."""

import re

_NUMBER = re.compile(r'\d+')


def natural_key(name: str) -> str:
    r"""Return a sort key that puts ``2.jpg`` before ``10.jpg``; the name itself settles ties.

    One string sorts a million names in seconds, and without the memory of tuples. A number stands
    in it as ``\0``, below any other character; its number of digits, as one character; and its
    digits.
    """
    return f'{_NUMBER.sub(_key_of_number, name.lower())}\0\0{name}'


def _key_of_number(match: re.Match) -> str:
    digits = str(int(match[0]))
    return f'\0{chr(len(digits))}{digits}'
