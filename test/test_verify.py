"""``fourd verify``: a small made-up system with real files, compared well and badly."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fourd_ros import cli
from fourd_ros.errors import InvalidManifest, InvalidVectors, PathNotAllowed, UnknownSystem
from fourd_ros.verify import checks
from fourd_ros.verify.manifest import Manifest
from fourd_ros.verify.runner import Row, verify
from fourd_ros.verify.tolerance import Tolerance, loosest, parse
from fourd_ros.verify.vectors import VectorFolder

SYSTEM = "doubling"


def _double(folder: VectorFolder, vectors: dict[str, Any], compare: Any) -> None:
    weights = folder.load("weights/scale.safetensors")
    compare("y", vectors["x"] * weights["scale"])


def _count(folder: VectorFolder, vectors: Any, compare: Any) -> None:
    compare("pictures", len(list(folder.path("png").iterdir())), expected=vectors["pictures"], tolerance=Tolerance())


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers checks for this test alone: ``system({pattern: function})``."""
    monkeypatch.setitem(checks.SYSTEMS, SYSTEM, __name__)
    monkeypatch.setattr(checks, "_checks", {})

    def register(functions: dict[str, Any]) -> None:
        for pattern, function in functions.items():
            checks.check(SYSTEM, pattern)(function)

    register({"double/*.safetensors": _double, "config.json": _count})
    return register


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A folder of vectors with safetensors, npz, json, pictures and nested weights."""
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    for folder in ("double", "weights", "png"):
        (tmp_path / folder).mkdir()
    save_file({"x": x, "y": 2 * x}, tmp_path / "double" / "a.safetensors")
    save_file({"x": x + 1, "y": 2 * x + 2}, tmp_path / "double" / "b.safetensors")
    save_file({"scale": np.float32([2])}, tmp_path / "weights" / "scale.safetensors")
    for name in ("0.png", "1.png"):
        (tmp_path / "png" / name).write_bytes(b"picture")
    (tmp_path / "config.json").write_text('{"pictures": 2}')
    tensors = {name: {"shape": [3, 4], "dtype": "float32", "meaning": "", "tolerance": 1e-6} for name in ("x", "y")}
    _write_manifest(
        tmp_path,
        files={
            "double/a.safetensors": {"tensors": tensors},
            "double/b.safetensors": {"tensors": tensors},
            "config.json": "number of pictures",
            "weights/": "the scale",
            "png/*.png": "pictures",
        },
    )
    return tmp_path


def _write_manifest(folder: Path, **content: Any) -> None:
    (folder / "MANIFEST.json").write_text(json.dumps(content))


def _bad(rows: list[Row]) -> dict[str, str]:
    return {row.file: row.problem for row in rows if not row.ok}


def test_a_system_that_is_equal_passes(
    system: Callable[..., None], vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", SYSTEM, str(vectors)]) == 0
    table = capsys.readouterr().out
    assert re.search(r"double/a\.safetensors +1/2 +y ", table)
    assert "6 files, 3 tensors compared, all ok" in table
    inputs = [line.split()[0] for line in table.splitlines() if "read by other checks" in line]
    assert inputs == ["png/0.png", "png/1.png", "weights/scale.safetensors"]


def test_a_tensor_outside_its_tolerance_fails(
    system: Callable[..., None], vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"scale": np.float32([2.001])}, vectors / "weights" / "scale.safetensors")
    assert cli.main(["verify", SYSTEM, str(vectors), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    (failed,) = [row for row in report["files"] if row["file"] == "double/a.safetensors"]
    assert failed["tensors"][0]["max_abs_error"] == pytest.approx(0.001, rel=1e-3)
    assert not failed["ok"]


def test_a_file_without_a_check_that_nobody_reads_fails(system: Callable[..., None], vectors: Path) -> None:
    np.savez(vectors / "extra.npz", z=np.zeros(2))
    assert _bad(verify(SYSTEM, vectors)) == {"extra.npz": "no check, and no check reads it"}


def test_a_file_that_the_manifest_names_and_is_missing_fails(system: Callable[..., None], vectors: Path) -> None:
    (vectors / "double" / "b.safetensors").unlink()
    assert _bad(verify(SYSTEM, vectors)) == {"double/b.safetensors": "named in the manifest, not in the folder"}


def test_a_tensor_that_the_manifest_names_and_is_missing_fails(system: Callable[..., None], vectors: Path) -> None:
    path = vectors / "double" / "b.safetensors"
    system({"double/b.safetensors": lambda folder, vectors, compare: compare("x", vectors["x"])})
    x = np.zeros((3, 4), np.float32)
    save_file({"x": x}, path)
    assert _bad(verify(SYSTEM, vectors)) == {"double/b.safetensors": "named in the manifest, not in the file: y"}


def test_a_check_that_compares_nothing_fails(system: Callable[..., None], vectors: Path) -> None:
    system({"double/b.safetensors": lambda folder, vectors, compare: None})
    assert _bad(verify(SYSTEM, vectors)) == {"double/b.safetensors": "the check compared nothing"}


def test_a_check_that_raises_fails_and_the_others_go_on(system: Callable[..., None], vectors: Path) -> None:
    def broken(folder: VectorFolder, vectors: dict[str, Any], compare: Any) -> None:
        compare("y", vectors["y"])
        raise RuntimeError("no such layer")

    system({"double/a.safetensors": broken})
    rows = verify(SYSTEM, vectors)
    assert _bad(rows) == {"double/a.safetensors": "RuntimeError: no such layer"}
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("actual", "note"),
    [
        (np.zeros((4, 3), np.float32), "shape [4, 3], needed [3, 4]"),
        (np.full((3, 4), np.nan, np.float32), ""),
    ],
)
def test_wrong_shapes_and_nan_fail(system: Callable[..., None], vectors: Path, actual: Any, note: str) -> None:
    system({"double/a.safetensors": lambda folder, vectors, compare: compare("y", actual)})
    (row,) = [row for row in verify(SYSTEM, vectors) if row.file == "double/a.safetensors"]
    assert row.worst is not None
    assert (row.worst.ok, row.worst.note, row.worst.error) == (False, note, np.inf)


def test_nan_where_the_reference_has_nan_is_equal(system: Callable[..., None], vectors: Path) -> None:
    x = np.float32([[np.nan, np.inf, 1, 2]])
    save_file({"x": x, "y": 2 * x}, vectors / "double" / "a.safetensors")
    assert not _bad(verify(SYSTEM, vectors))


def test_figures_of_the_manifest_cannot_be_overruled(system: Callable[..., None], vectors: Path) -> None:
    def generous(folder: VectorFolder, vectors: dict[str, Any], compare: Any) -> None:
        compare("y", vectors["y"] + 1, tolerance=Tolerance(atol=10))

    system({"double/a.safetensors": generous})
    assert list(_bad(verify(SYSTEM, vectors))) == ["double/a.safetensors"]


def test_a_tensor_without_any_tolerance_needs_one_from_its_check(system: Callable[..., None], vectors: Path) -> None:
    _write_manifest(vectors, files={"double/*": {"tolerance": "reference to beat"}})
    problems = _bad(verify(SYSTEM, vectors))
    assert "pass tolerance= in the check" in problems["double/a.safetensors"]


def test_an_unknown_system_names_the_known_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "SYSTEMS", {"alpha": "a", "beta": "b"})
    with pytest.raises(UnknownSystem, match="'gamma'; registered are: alpha, beta"):
        verify("gamma", tmp_path)


def test_without_any_system_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "SYSTEMS", {})
    assert cli.main(["verify", "kinema4d", str(tmp_path)]) == 1
    assert "none yet" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "{", "[]", '{"files": {}}'])
def test_a_manifest_that_is_missing_or_malformed_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "MANIFEST.json").write_text(text)
    with pytest.raises(InvalidManifest):
        Manifest(tmp_path)


def test_a_manifest_may_list_files_and_tensors_apart(tmp_path: Path) -> None:
    _write_manifest(
        tmp_path,
        files=[{"file": "net/config.json", "what": "arguments"}],
        tensors=[
            {"file": "net/out.safetensors", "name": "pos", "shape": [1], "tolerance": {"atol": 1e-3}},
            {"file": "net/out.safetensors", "name": "pos", "shape": [1], "tolerance": {"rtol": 1e-2}},
        ],
    )
    manifest = Manifest(tmp_path)
    assert manifest.patterns == ("net/config.json", "net/out.safetensors")
    assert manifest.tolerance("net/out.safetensors", "pos") == Tolerance(atol=1e-3, rtol=1e-2)
    assert manifest.tolerance("net/out.safetensors", "other") is None


def test_the_default_and_the_tolerance_of_a_file_reach_its_tensors(tmp_path: Path) -> None:
    _write_manifest(
        tmp_path,
        default_tolerance={"rtol": 1e-4, "atol": 1e-5},
        files={"a.npz": {"tensors": {"x": {"tolerance": "default"}}}, "b.npz": {"tolerance": "exact", "tensors": {}}},
    )
    manifest = Manifest(tmp_path)
    assert manifest.tolerance("a.npz", "x") == Tolerance(rtol=1e-4, atol=1e-5)
    assert manifest.tolerance("b.npz", "x") == Tolerance()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, Tolerance()),
        (2e-4, Tolerance(atol=2e-4)),
        ({"atol": 1e-4, "rtol": 2e-3}, Tolerance(atol=1e-4, rtol=2e-3)),
        ({"max_mismatching_pixels": 4}, Tolerance(outlier_count=4)),
        ("exact (uint8)", Tolerance()),
        ("input", Tolerance()),
        ("exact up to +-1", Tolerance(atol=1)),
        ("rtol 1e-3, atol 2e-4 (another implementation reached 1.1e-5)", Tolerance(rtol=1e-3, atol=2e-4)),
        ("losses rtol 2e-4; gradients rtol 2e-3 + atol 1e-5", Tolerance(rtol=2e-3, atol=1e-5)),
        ("atol 2e-3 max, 5e-5 mean", Tolerance(atol=2e-3, mean=5e-5)),
        ("atol 0.05 px mean abs", Tolerance(atol=np.inf, mean=0.05)),
        ("off by 0.0583; use max abs <= 0.15 and rms <= 0.02", Tolerance(atol=0.15, rms=0.02)),
        ("exact except clean_depth (0.5% pixels)", Tolerance(outlier_share=0.005)),
        ("depth atol 2e-3 on 98% of pixels", Tolerance(atol=2e-3, outlier_share=0.02)),
        ("default (IoU: abs 0.01)", Tolerance(atol=0.01, rtol=1e-4)),
        ("reference to beat", None),
        (None, None),
    ],
)
def test_every_way_to_state_a_tolerance_is_read(given: Any, expected: Tolerance | None) -> None:
    assert parse(given, default=Tolerance(atol=1e-5, rtol=1e-4)) == expected


def test_tolerances_that_cannot_be_read_are_refused() -> None:
    for given in ("default", {"abs": 1}, [1], True):
        with pytest.raises(InvalidManifest):
            parse(given, default=None)


@pytest.mark.parametrize(
    ("tolerance", "allowed"),
    [
        (Tolerance(atol=0.1), False),
        (Tolerance(atol=0.1, outlier_share=0.25), True),
        (Tolerance(atol=0.1, outlier_count=1), True),
        (Tolerance(rtol=1.0), True),
        (Tolerance(atol=1.0, mean=0.1), False),
        (Tolerance(atol=1.0, rms=0.6), True),
    ],
)
def test_each_bound_is_held(tolerance: Tolerance, allowed: bool) -> None:
    assert tolerance.allows(np.array([0, 0, 0, 1.0]), np.array([0, 0, 0, 2.0])) is allowed


def test_the_looser_bound_counts() -> None:
    both = loosest([Tolerance(atol=1e-3, mean=1e-4), Tolerance(rtol=1e-2)])
    assert both == Tolerance(atol=1e-3, rtol=1e-2, mean=None)


def test_bfloat16_tensors_are_widened(tmp_path: Path) -> None:
    bits = np.uint16([0x3FC0, 0xC000]).tobytes()  # 1.5 and -2
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits)
    np.testing.assert_array_equal(VectorFolder(tmp_path).load("b.safetensors")["x"], np.float32([1.5, -2]))


def test_pickled_objects_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    np.save(tmp_path / "plain.npy", np.arange(3))
    np.savez(tmp_path / "objects.npz", x=np.array({"a": 1}, dtype=object))
    folder = VectorFolder(tmp_path)
    assert folder.load("objects.npy") == tmp_path / "objects.npy"
    np.testing.assert_array_equal(folder.load("plain.npy"), [0, 1, 2])
    with pytest.raises(InvalidVectors, match=r"objects.npz"):
        folder.load("objects.npz")


def test_files_outside_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(PathNotAllowed):
        VectorFolder(tmp_path / "inside").load("../secret.json")


def test_damaged_files_are_typed_errors(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"not a safetensors file")
    (tmp_path / "a.json").write_text("{")
    for name in ("a.safetensors", "a.json", "missing.npz"):
        with pytest.raises(InvalidVectors):
            VectorFolder(tmp_path).load(name)
