"""Tables in Markdown."""

import string
from collections.abc import Mapping, Sequence
from typing import Any


class _Cells(string.Formatter):
    """Format strings in which a missing value is empty, and M or G as a type scales a number."""

    def get_field(self, field_name: str, args: Sequence, kwargs: Mapping) -> Any:
        try:
            return super().get_field(field_name, args, kwargs)
        except KeyError:
            return None, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        scale = dict(M=1e6, G=1e9).get(format_spec[-1:])
        if value is None:
            return ''
        return (
            format(value / scale, f'{format_spec[:-1]}f') if scale else format(value, format_spec)
        )


def print_rows(rows: Sequence[dict], columns: Mapping[str, str]) -> None:
    """Print rows as a table; see ``format_rows``."""
    print(format_rows(rows, columns))


def format_rows(rows: Sequence[dict], columns: Mapping[str, str]) -> str:
    """Format rows as a table, by the format string of each column."""
    cells = [[_Cells().vformat(text, (), row) for text in columns.values()] for row in rows]
    return markdown_table(list(columns), cells)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format cells as a table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
