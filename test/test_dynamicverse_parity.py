"""The vectors that the original computed, or the part of them that is kept here."""

import json
import shutil
from pathlib import Path

import numpy as np

from fourd_ros.reconstruction.official.axis_angle import rotation_matrices, starting_poses
from fourd_ros.verify.dynamicverse.folder import numpy_of, torch_of
from fourd_ros.verify.runner import Row, verify

GOLDEN = Path(__file__).parent / "golden" / "dynamicverse"
SYSTEM = "dynamicverse"


def test_all_kept_vectors_are_met():
    rows = verify(SYSTEM, GOLDEN)
    files = {path.name for path in GOLDEN.iterdir()} - {"MANIFEST.json"}
    assert {row.file: (row.problem, row.worst) for row in rows if not row.ok} == {}
    assert {row.file for row in rows} == files
    assert all(row.verdicts for row in rows)


def test_the_kept_vectors_are_small():
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 5_000_000


def test_a_changed_tensor_is_found(tmp_path):
    vectors = dict(np.load(GOLDEN / "pose_param.npz"))
    vectors["R"][3, 0, 1] += 1e-4
    assert not _row(tmp_path, vectors).ok


def test_a_tensor_that_no_check_knows_is_found(tmp_path):
    vectors = dict(np.load(GOLDEN / "pose_param.npz")) | {"R_inverse": np.eye(3)}
    assert "R_inverse" in _row(tmp_path, vectors).problem


def test_a_missing_tensor_is_found(tmp_path):
    vectors = dict(np.load(GOLDEN / "pose_param.npz"))
    del vectors["t_default"]
    assert "t_default" in _row(tmp_path, vectors).problem


def test_other_sizes_are_read(tmp_path):
    omega = np.random.default_rng(3).normal(0, 1, (7, 3)).astype(np.float32)
    start, centres = starting_poses(5)
    vectors = {
        "omega": omega,
        "R": numpy_of(rotation_matrices(torch_of(omega))),
        "R_default": numpy_of(rotation_matrices(start)),
        "t_default": numpy_of(centres[..., None]),
        "K": np.array([[90, 0, 31.5], [0, 95, 23.5], [0, 0, 1]], np.float32),
    }
    assert _row(tmp_path, vectors).ok


def test_another_scene_of_fewer_frames_is_read(tmp_path):
    for name in ("track_filter.npz", "ba_losses.npz"):
        shutil.copyfile(GOLDEN / name, tmp_path / name)
    trace = dict(np.load(GOLDEN / "ba_trace.npz"))
    trace["loss"] = trace["loss"][:1]
    np.savez(tmp_path / "ba_trace.npz", **trace)
    _manifest(tmp_path, ["track_filter.npz", "ba_losses.npz", "ba_trace.npz"])
    rows = {row.file: row for row in verify(SYSTEM, tmp_path)}
    assert rows["track_filter.npz"].ok and rows["ba_losses.npz"].ok
    wrong = {verdict.tensor for verdict in rows["ba_trace.npz"].verdicts if not verdict.ok}
    assert wrong == {"omega30", "t30", "X30"}  # one step does not lead where thirty do


def _row(folder: Path, vectors: dict[str, np.ndarray]) -> Row:
    np.savez(folder / "pose_param.npz", **vectors)
    _manifest(folder, ["pose_param.npz"])
    (row,) = verify(SYSTEM, folder)
    return row


def _manifest(folder: Path, names: list[str]) -> None:
    full = json.loads((GOLDEN / "MANIFEST.json").read_text())
    (folder / "MANIFEST.json").write_text(json.dumps({"files": {name: full["files"][name] for name in names}}))
