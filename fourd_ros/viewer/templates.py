"""Templates of the pages: text with ``{{name}}`` where a part goes, filled in one pass."""

from collections.abc import Iterable, Mapping
from importlib import resources


def template(name: str) -> str:
    """The text of a file of ``template/``."""
    return (resources.files("fourd_ros.viewer") / "template" / name).read_text(encoding="utf-8")


def fill(name: str, parts: Mapping[str, str]) -> str:
    """A template with its parts; what the parts contain is not looked at again.

    Args:
        name: file of ``template/``.
        parts: HTML by name; text has to be escaped already.
    """
    first, *pieces = template(name).split("{{")
    filled = [first]
    for piece in pieces:
        part, rest = piece.split("}}", 1)
        filled.append(parts[part] + rest)
    return "".join(filled)


def styles(*names: str) -> str:
    """Style sheets one after the other."""
    return "\n".join(map(template, names))


def scripts(names: Iterable[str]) -> str:
    """Script elements in that order."""
    return "\n".join(f"<script>\n{template(name)}</script>" for name in names)
