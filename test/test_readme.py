"""What the README promises: its first steps with a robot are taken, its commands exist, its links lead somewhere."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fourd_ros import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *(page for top in ("benchmarks", "demo", "docs") for page in (ROOT / top).rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#([^)]*))?\)")
FOURD = ("-m", "fourd_ros.cli")


def section(title: str) -> str:
    return re.split(r"^## ", README.split(f"## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str, language: str) -> list[str]:
    return [textwrap.dedent(body) for kind, body in BLOCK.findall(text) if kind == language]


def command_lines(text: str) -> Iterator[list[str]]:
    for block in blocks(text, "sh"):
        yield from (words for line in block.splitlines() if (words := shlex.split(line, comments=True)))


def test_a_robot_is_asked_as_the_readme_says(other_process: Any, wait_for: Any, tmp_path: Path) -> None:
    steps = section("Your robot in 10 minutes")
    (description,), (program,) = blocks(steps, "yaml"), blocks(steps, "python")
    for text in (description, program):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text)
    doctor, bringup, ask = command_lines(steps)

    robot = other_process(*FOURD, "bringup", "simulation")
    wait_for(lambda: "simulation: active" in robot.output(), "the robot")
    inputs = other_process(*FOURD, *doctor[1:])
    assert inputs.process.wait(240) == 0
    assert "nothing missing" in inputs.output()
    model = other_process(*FOURD, *bringup[1:])
    wait_for(lambda: "world_model: active" in model.output(), "the world model")
    answer = other_process(*ask[1:])
    assert answer.process.wait(240) == 0
    found = re.findall(r"candidate (\d): (\d+) points after 1\.00 s", answer.output())
    assert [candidate for candidate, _ in found] == ["0", "1"]
    assert all(int(points) > 1000 for _, points in found)
    assert (doctor[0], bringup[0], ask[0]) == ("fourd", "fourd", "python")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_ones_that_fourd_knows(page: Path) -> None:
    for words in command_lines(page.read_text()):
        if words[0] == "fourd":
            cli.build_parser(words[1]).parse_args(words[1:])


def test_every_noun_is_in_the_table_and_nothing_else() -> None:
    named = re.findall(r"^\| `fourd ([\w-]+)", section("The `fourd` command"), re.MULTILINE)
    assert sorted(named) == sorted(cli.COMMANDS)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in command_lines(README) if words[0] == "make"}
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        path = page.parent / target
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), f"{target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
