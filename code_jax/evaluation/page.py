"""What a report is made of: headings, words, facts, tables and figures, each as HTML and as Markdown from the same values."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from code_jax.evaluation.drawing import Drawing


class Heading(NamedTuple):
    """The title of a section."""

    text: str

    def html(self) -> str:
        """As HTML."""
        return f"<h2>{html.escape(self.text)}</h2>"

    def markdown(self) -> str:
        """As Markdown."""
        return f"## {self.text}"


class Words(NamedTuple):
    """A paragraph."""

    text: str

    def html(self) -> str:
        """As HTML."""
        return f"<p>{html.escape(self.text)}</p>"

    def markdown(self) -> str:
        """As Markdown."""
        return self.text


class Facts(NamedTuple):
    """Values by name, to be copied."""

    values: Mapping[str, str]

    def html(self) -> str:
        """As HTML."""
        lines = [
            f"<tr><td>{html.escape(name)}</td><td class='words'><code>{html.escape(value)}</code></td></tr>"
            for name, value in self.values.items()
        ]
        return f"<table>{''.join(lines)}</table>"

    def markdown(self) -> str:
        """As Markdown."""
        return "\n".join(f"- {name}: `{value}`" for name, value in self.values.items())


class Table(NamedTuple):
    """Cells in words: the first column names its row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """As HTML."""
        lines = [_line(self.head, "th"), *(_line(row, "td") for row in self.rows)]
        return f"<table><caption>{html.escape(self.caption)}</caption>{''.join(lines)}</table>"

    def markdown(self) -> str:
        """As Markdown of GitHub's kind."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (self.head, rule, *self.rows)]
        return f"**{self.caption}**\n\n" + "\n".join(lines)


class Figure(NamedTuple):
    """A chart: the name of its files without the endings, and what it shows."""

    name: str
    drawing: Drawing

    def html(self) -> str:
        """As HTML, which holds it."""
        return self.drawing.svg()

    def markdown(self) -> str:
        """As Markdown, which names the file."""
        return f"![{self.drawing.title}]({self.name}.svg)"


Block = Heading | Words | Facts | Table | Figure


def _line(cells: Sequence[str], kind: str) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
