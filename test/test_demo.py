"""``fourd demo`` from bag to page, over ROS, in a real browser."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_bag import PERIOD, START_NS, write_swinging_bag
from rclpy.node import Node
from test_viewer import open_page

from fourd_ros.cli import main
from fourd_ros.demo.imagining import imagine_recorded
from fourd_ros.demo.judging import judge
from fourd_ros.demo.recording import Recording
from fourd_ros.errors import InvalidBag
from fourd_ros.evaluation.futures import METRICS
from fourd_ros.evaluation.results_file import read_results
from fourd_ros.evaluation.summary import FIRST_FRAME
from fourd_ros.records import Rollout
from fourd_ros.viewer.browser import SHOTS
from fourd_ros.viewer.browser import main as take_pictures
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.kinematic import KinematicModel

DOCUMENTED = Path(__file__).resolve().parent.parent / "docs" / "images"
HORIZON, STEP = 0.6, 0.2


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import rclpy

    with rclpy.init(args=[]):
        return write_swinging_bag(tmp_path_factory.mktemp("demo") / "bag", Node("camera_man"), seconds=2.0)


class Tinted(KinematicModel):
    """The kinematic answer in other colours, half believed."""

    backend = "tinted"

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        for rollout in super().imagine(question, checkpoint=checkpoint):
            views = {name: replace(view, rgb=view.rgb // 2) for name, view in rollout.views.items()}
            yield replace(rollout, backend=self.backend, views=views, trust=0.5)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parameters of a node with two rungs, and a third one whose weights are not there."""
    path = tmp_path_factory.mktemp("ladder") / "ladder.yaml"
    backends = f"[kinematic, '{__name__}:Tinted', 'test_ladder:Weighty']"
    path.write_text(f"/**:\n  ros__parameters:\n    backends: {backends}\n    compact_model: no_such_model\n")
    return path


@pytest.fixture(scope="module")
def recording(bag: Path) -> Recording:
    return Recording(bag)


def test_recording_shows_every_instant(recording: Recording) -> None:
    assert recording.cameras == ("front", "wrist")
    assert recording.period == pytest.approx(PERIOD)
    assert recording.duration == pytest.approx(2.0, abs=PERIOD)
    seen = recording.at(START_NS + 500_000_000)
    assert seen.stamp_ns == START_NS + 500_000_000
    assert seen.joint_positions["panda_joint1"] == pytest.approx(0.6 * np.sin(0.5))
    assert seen.views["wrist"].mounted_on == "panda_hand"
    with pytest.raises(InvalidBag, match=r"no images at 9\.000 s"):
        recording.at(START_NS + 9_000_000_000)


def test_instants_leave_room_for_the_horizon(recording: Recording) -> None:
    stamps = recording.instants(4, horizon=1.0)
    assert len(stamps) == 4
    assert stamps[0] == recording.start_ns
    assert (stamps[-1] - START_NS) * 1e-9 <= 1.0 + 1e-6
    with pytest.raises(InvalidBag, match=r"needed 5\.0 s"):
        recording.instants(4, horizon=5.0)


def test_an_open_hand_that_obeys_holds_nothing(recording: Recording) -> None:
    assert not recording.holding(START_NS + 1_000_000_000)


def test_answers_over_ros_are_judged_against_the_recording(bag: Path, recording: Recording, ladder: Path) -> None:
    stamps = recording.instants(2, horizon=HORIZON)
    imagined = imagine_recorded(
        bag, recording, stamps, horizon=HORIZON, step=STEP, seed=0, params_file=ladder, progress=lambda count: None
    )
    assert list(imagined.answers) == ["kinematic", "tinted"] and list(imagined.missing) == ["test_ladder:Weighty"]
    for model, answers in imagined.answers.items():
        assert [answer.rollout.backend for answer in answers] == [model, model]
        assert [answer.rollout.stamp_ns for answer in answers] == list(stamps)
    for answer in imagined.answers["kinematic"]:
        views = {judged.view: judged.score.metrics for judged in judge(recording, answer.rollout)}
        assert views["front"]["robot_iou"].prediction.min() > 0.97
        assert views["front"]["robot_iou"].first_frame.max() < 0.95
        assert views["front"]["depth_robot"].prediction.max() < 0.002
        assert views["front"]["depth_static"].prediction.max() < 0.001
        assert views["wrist"]["depth_static"].prediction.max() < 0.005
        assert views["wrist"]["depth_static"].first_frame.min() > 0.01


def test_demo_writes_a_page_that_draws(
    bag: Path, ladder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--bag", str(bag), "--out", str(tmp_path), "--instants", "2", "--horizon", str(HORIZON)]
    arguments += ["--params-file", str(ladder)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert [line[:5] for line in printed.splitlines() if line.startswith("[")] == [f"[{i}/5]" for i in range(1, 6)]
    assert re.search(r"robot silhouette IoU +front", printed)
    assert "Found (" in printed
    assert "Missed (" in printed
    assert "test_ladder:Weighty is not shown: no model 'no_such_model'" in printed
    assert re.search(r"tinted: \d+ ms .* median 0.50", printed)
    page = tmp_path / "index.html"
    assert page.as_uri() in printed
    hit = open_page(page, "candidate=hit&t=10&play=0&model=kinematic")
    grasp = open_page(page, "candidate=grasp&t=10&view=wrist&play=0")
    for shown in (hit, grasp):
        assert (shown["ready"], shown["errors"]) == ("1", "0")
        assert int(shown["drawn"]) > 5000
    assert hit["description"] != grasp["description"]
    report = tmp_path / "report"
    assert str(report / "index.html") in printed
    assert 'href="report/index.html"' in page.read_text()
    tables = read_results(report / "results.json")
    assert [table.title for table in tables] == ["front camera", "wrist camera"]
    assert {table.methods for table in tables} == {("kinematic", "tinted", FIRST_FRAME)}
    assert all(table.values.shape == (2, 3, len(METRICS)) for table in tables)
    _check_pictures(page, tmp_path / "pictures")


def _check_pictures(page: Path, folder: Path) -> None:
    """The pictures of the documentation, taken by its own command, are of its sizes and none is blank."""
    assert take_pictures([str(page), str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in DOCUMENTED.glob("demo_*")}
    for shot in SHOTS:
        picture = cv2.imread(str(folder / f"{shot.name}.png"))
        assert picture.shape == (shot.height, shot.width, 3)
        _, pixels = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        assert pixels.max() < 0.8 * pixels.sum(), f"{shot.name} shows little more than its background"


def test_demo_without_its_bag_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--bag", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "fourd sim record --format bag" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()
