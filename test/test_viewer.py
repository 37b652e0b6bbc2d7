"""The page, drawn by a real browser from file://."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fourd_ros.errors import TooLarge
from fourd_ros.evaluation.findings import Finding
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.viewer.browser import Shot, read_page, take
from fourd_ros.viewer.content import (
    Candidate,
    Clip,
    Cloud,
    Curve,
    Imagined,
    LinkMesh,
    ModelFindings,
    Page,
    Plot,
    Table,
)
from fourd_ros.viewer.geometry import POINT_LAYOUT, Box, pack_cloud
from fourd_ros.viewer.images import ERROR_LIMIT, FILM_WIDTH, error_picture, film, hatch_unknown
from fourd_ros.viewer.page import render, write_page

MODELS = ("quick", "good")
STEPS = 5
TIMES = 0.2 * np.arange(1, STEPS + 1)
CUBE = np.array(
    [
        [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
        [[0, 0, 0], [0, 1, 1], [0, 1, 0]],
        [[0, 0, 1], [1, 0, 1], [1, 1, 1]],
    ]
)


def square_film(colour: int) -> np.ndarray:
    """A square that walks to the right, one step a frame."""
    frames = np.full((STEPS, 48, 64, 3), 40, dtype=np.uint8)
    for index in range(STEPS):
        frames[index, 16:32, 8 * index : 8 * index + 16] = colour
    return frames


def make_clip(view: str, instant: str) -> Clip:
    recorded, imagined = square_film(200), square_film(150)
    error = np.where(recorded[..., 0] == imagined[..., 0], 0.0, 0.08).astype(np.float32)
    known = np.ones(error.shape, dtype=bool)
    known[:, 40:] = False
    return Clip(
        instant=instant,
        view=view,
        times=TIMES,
        recorded=recorded,
        imagined=tuple(Imagined(model=model, rgb=imagined, known=known, depth_error=error) for model in MODELS),
    )


def make_candidate(name: str, model: str, direction: tuple[float, float, float]) -> Candidate:
    grid = np.stack(np.meshgrid(np.linspace(0, 0.5, 40), np.linspace(-0.3, 0.3, 40), [0.0]), -1).reshape(-1, 3)
    way = np.array([0.3, 0.0, 0.2]) + np.linspace(0, 0.3, 30)[:, None] * np.array(direction)
    poses = np.tile(np.diag([0.06, 0.06, 0.06, 1.0]), (STEPS, 1, 1, 1))
    poses[:, 0, :3, 3] = way[:: 30 // STEPS][:STEPS]
    cloud = Cloud(
        points=grid.astype(np.float32),
        rgb=np.full((len(grid), 3), 120, dtype=np.uint8),
        label=np.where(grid[:, 0] > 0.4, 16, 1).astype(np.uint32),
        sigma=np.linspace(0, 0.05, len(grid)).astype(np.float32),
    )
    return Candidate(
        name=name,
        model=model,
        description=f"moves <{name}>",
        times=TIMES,
        clouds=[cloud] * STEPS,
        link_poses=poses,
        path=way,
        stops=way[:: 30 // STEPS][:STEPS],
    )


def constant(value: float, unknown: tuple[int, ...] = ()) -> Interval:
    estimate = np.full(STEPS, value)
    estimate[list(unknown)] = np.nan
    return Interval(
        estimate=estimate,
        low=0.9 * estimate,
        high=1.1 * estimate,
        count=np.full(STEPS, 4),
    )


def make_page(instants: int = 2) -> Page:
    return Page(
        title="Imagined & judged",
        lead="A lead.",
        findings=tuple(
            ModelFindings(
                model=model,
                remark="50 ms",
                found=(Finding(subject="the robot </script>", figures="IoU 1"),),
                missed=(Finding(subject="the box", figures="9 mm"),),
            )
            for model in MODELS
        ),
        clips=tuple(make_clip(view, f"{i}.0 s") for view in ("front", "wrist") for i in range(instants)),
        plots=tuple(
            Plot(
                view=view,
                title="depth error",
                unit="mm",
                times=TIMES,
                predictions=tuple(Curve(name=model, values=constant(3.0, unknown=(2,))) for model in MODELS),
                baseline=Curve(name="first frame", values=constant(9.0)),
                verdict="better",
            )
            for view in ("front", "wrist")
        ),
        robot=(LinkMesh(link="hand", triangles=CUBE.astype(np.float32), colour=(0.9, 0.9, 0.9)),),
        candidates=tuple(
            make_candidate(name, model, direction)
            for model in MODELS
            for name, direction in (("hit", (1, 0, 0)), ("grasp", (0, 0, 1)))
        ),
        tables=(Table(title="Figures", columns=("metric", "value"), rows=(("IoU", "0.98"),)),),
        provenance=(("command", "make demo"),),
    )


def open_page(path: Path, fragment: str) -> dict[str, str]:
    """Load a page in headless Chromium; the data attributes of its root element and the text it shows."""
    dom = read_page(path, fragment)
    root = re.search(r"<html[^>]*>", dom)
    assert root, f"no page came back: {dom[:300]}"
    shown = dict(re.findall(r'data-(\w+)="([^"]*)"', root[0]))
    described = re.search(r'id="candidate-description"[^>]*>([^<]*)<', dom)
    shown["description"] = described[1] if described else ""
    shown["figures"] = str(dom.count("<svg"))
    shown["cursor"] = ",".join(re.findall(r'class="cursor"[^>]* x1="([^"]*)"', dom))
    return shown


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(make_page(), path)
    return path


def test_page_draws_without_script_errors_and_fragments_select_states(page_file: Path) -> None:
    first = open_page(page_file, "candidate=hit&t=0&view=front&play=0")
    second = open_page(
        page_file,
        "candidate=grasp&t=4&view=wrist&colour=sigma&robot=points&play=0",
    )
    for shown in (first, second):
        assert (shown["ready"], shown["errors"]) == ("1", "0")
        assert int(shown["drawn"]) > 5000
        assert shown["figures"] == "1"
    assert first["description"] == "moves &lt;hit&gt;"
    assert second["description"] == "moves &lt;grasp&gt;"
    assert first["drawn"] != second["drawn"]
    assert first["cursor"] != second["cursor"]


def test_one_model_is_looked_at_and_all_are_compared(page_file: Path) -> None:
    def shown_models(fragment: str) -> tuple[list[str], str]:
        dom = read_page(page_file, fragment)
        parts = re.findall(r'<div data-model="(\w+)"([^>]*)>', dom)
        return [model for model, attributes in parts if "hidden" not in attributes], dom

    chosen, dom = shown_models("play=0")
    assert chosen == ["good"]
    assert shown_models("play=0&model=quick")[0] == ["quick"]
    for model in MODELS:
        assert f'aria-label="Frame imagined by {model}"' in dom and f'aria-label="Depth error of {model}"' in dom
    assert "good: better" in dom


def test_a_section_can_be_shown_alone(page_file: Path) -> None:
    shown = open_page(page_file, "section=loop&play=0")
    assert (shown["ready"], shown["errors"]) == ("1", "0")
    assert "drawn" not in shown


def test_picture_of_one_section_shows_its_drawing(page_file: Path, tmp_path: Path) -> None:
    fragment = "section=scene&scheme=dark&play=0"
    path = take(page_file, Shot(name="scene", fragment=fragment, width=640, height=480), tmp_path / "pictures")
    picture = cv2.imread(str(path))
    assert picture.shape == (480, 640, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert picture.mean() < 80


def test_script_errors_are_counted(page_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(page_file.read_text().replace("start();", "nobodyKnowsThis();"))
    shown = open_page(broken, "")
    assert (shown["ready"], shown["errors"]) == ("0", "1")


def test_page_stands_alone(page_file: Path) -> None:
    text = page_file.read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "default-src 'none'" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_text_cannot_leave_its_element() -> None:
    text = render(make_page())
    assert "<b>the robot &lt;/script&gt;</b>" in text
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert data
    candidates = json.loads(data[1])["scene"]["candidates"]
    assert [candidate["description"] for candidate in candidates] == 2 * ["moves <hit>", "moves <grasp>"]


def test_too_large_page_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=r"allowed are 0\.0 MB"):
        write_page(make_page(), tmp_path / "index.html", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_packed_points_come_back_within_a_tenth_of_a_millimetre() -> None:
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (500, 3)).astype(np.float32)
    sigma = np.array([0.0, 0.025, 9.0, np.nan], dtype=np.float32)
    cloud = Cloud(
        points=points,
        rgb=np.zeros((500, 3), dtype=np.uint8),
        label=np.full(500, 1000, dtype=np.uint32),
        sigma=np.resize(sigma, 500),
    )
    box = Box.around([cloud])
    packed = pack_cloud(cloud, box)
    assert packed["count"] == 500
    read = np.frombuffer(base64.b64decode(str(packed["data"])), dtype=POINT_LAYOUT)
    np.testing.assert_allclose(box.low + read["position"] / 65535 * box.size, points, atol=1e-4)
    assert read["sigma"][:4].tolist() == [0, 127, 254, 255]
    assert set(read["label"]) == {255}


def test_error_picture_colours_errors_and_hatches_the_unknown() -> None:
    recorded = np.full((1, 16, 16, 3), 100, dtype=np.uint8)
    error = np.zeros((1, 16, 16), dtype=np.float32)
    error[0, :8] = ERROR_LIMIT
    error[0, :, 8:] = np.nan
    picture = error_picture(recorded, error)
    assert picture[0, 0, 0].tolist() == [196, 34, 60]
    assert len(set(picture[0, 15, 0].tolist())) == 1
    assert set(picture[0, :, 8:].ravel()) == {150, 190}


def test_wide_films_are_shown_smaller() -> None:
    shown = film(np.zeros((3, 480, 640, 3), np.uint8))
    assert (shown["width"], shown["height"], shown["count"]) == (FILM_WIDTH, 240, 3)


def test_hatch_keeps_known_pixels() -> None:
    frames = np.full((1, 4, 4, 3), 7, dtype=np.uint8)
    known = np.eye(4, dtype=bool)[None]
    hatched = hatch_unknown(frames, known)
    assert (hatched[known] == 7).all()
    assert (hatched[~known] != 7).all()
