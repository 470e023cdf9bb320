"""HTML out of templates."""

from pathlib import Path

import jinja2


def render(template: Path, **values: object) -> str:
    """Fill a Jinja template of HTML; texts are escaped, and an undefined name is an error."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template.read_text(encoding='utf-8')).render(values)
