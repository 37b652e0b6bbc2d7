"""Tables of text: one record for the terminal and for pages."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under columns of text; the first column names the row; the title may be empty."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """The table for a terminal: first column left, the others right."""
        lines = (self.columns, *self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([*filter(None, [self.title]), text[0], rule, *text[1:]])

    @property
    def markdown(self) -> str:
        """The table for a README or a model card."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        head = (f"**{_escaped(self.title)}**", "") if self.title else ()
        return "\n".join((*head, *(f"| {' | '.join(map(_escaped, line))} |" for line in lines)))


def _escaped(text: str) -> str:
    """What would end a cell or begin a tag or a span of code stands for itself."""
    return re.sub(r"([\\|`]|<(?=[A-Za-z/!?]))", r"\\\1", " ".join(text.split()))
