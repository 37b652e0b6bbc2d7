"""PLY files of Gaussians: those of the original, and files that are none."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fourd_ros.errors import InvalidGaussians
from fourd_ros.part_dynamics.gaussian_ply import read_ply, write_ply
from fourd_ros.part_dynamics.gaussians import Gaussians

GOLDEN = Path(__file__).with_name("golden") / "partrm" / "ply"
VECTORS = load_file(GOLDEN / "ply.safetensors")
FILES = ((True, GOLDEN / "gaussians.ply", "loaded"), (False, GOLDEN / "gaussians_raw.ply", "loaded_raw"))


def saved() -> Gaussians:
    return Gaussians(values=VECTORS["saved"][0])


@pytest.mark.parametrize(("compatible", "file", "name"), FILES)
def test_files_are_those_of_the_original(compatible: bool, file: Path, name: str, tmp_path: Path) -> None:
    assert write_ply(saved(), tmp_path / "ours.ply", compatible=compatible) == 59
    (header, body), (their_header, theirs) = (
        path.read_bytes().split(b"end_header\n") for path in (tmp_path / "ours.ply", file)
    )
    assert header == their_header
    if compatible:  # the last bit of their logarithms depends on the processor
        ours, others = (np.frombuffer(part, "<f4").reshape(59, 14).copy() for part in (body, theirs))
        np.testing.assert_array_max_ulp(ours[:, 6:10], others[:, 6:10], maxulp=1)
        ours[:, 6:10] = others[:, 6:10] = 0
        body, theirs = ours.tobytes(), others.tobytes()
    assert body == theirs
    np.testing.assert_allclose(read_ply(file, compatible=compatible).values, VECTORS[name], atol=1e-5)


@pytest.mark.parametrize("compatible", [True, False])
def test_nothing_is_left_out_where_that_is_asked_for(compatible: bool, tmp_path: Path) -> None:
    assert write_ply(saved(), tmp_path / "all.ply", compatible=compatible, prune=False) == 60
    read = read_ply(tmp_path / "all.ply", compatible=compatible)
    np.testing.assert_allclose(read.values, saved().values, atol=0 if not compatible else 1e-5)


def test_opacities_are_kept_off_0_and_1(tmp_path: Path) -> None:
    values = saved().values[:3].copy()
    values[:, 3] = 0, 1, 0.5
    write_ply(Gaussians(values=values), tmp_path / "ends.ply", prune=False)
    np.testing.assert_allclose(read_ply(tmp_path / "ends.ply").opacities, [1e-6, 1 - 1e-6, 0.5], atol=1e-7)
    raw = read_ply(tmp_path / "ends.ply", compatible=False).opacities
    np.testing.assert_allclose(raw[:2], [-13.8155, 13.8155], atol=0.05)


def test_no_gaussians_are_a_file_too(tmp_path: Path) -> None:
    assert write_ply(Gaussians(values=np.zeros((0, 14), np.float32)), tmp_path / "none.ply") == 0
    assert len(read_ply(tmp_path / "none.ply")) == 0


def test_other_properties_and_orders_are_read(tmp_path: Path) -> None:
    header, body = (GOLDEN / "gaussians.ply").read_bytes().split(b"end_header\n")
    lines = header.decode().splitlines()
    lines = [
        *lines[:3],
        "comment normals first",
        "property float nx",
        *lines[3:-1],
        "property float32 extra",
        lines[-1],
    ]
    table = np.frombuffer(body, "<f4").reshape(59, 14)
    wider = np.hstack([np.zeros((59, 1), "<f4"), table[:, :13], np.ones((59, 1), "<f4"), table[:, 13:]])
    (tmp_path / "wide.ply").write_bytes("\n".join([*lines, "end_header", ""]).encode() + wider.astype("<f4").tobytes())
    np.testing.assert_allclose(read_ply(tmp_path / "wide.ply").values, VECTORS["loaded"], atol=1e-5)


GOOD = (GOLDEN / "gaussians.ply").read_bytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (GOOD[:-1], "ends after"),
        (GOOD.replace(b"vertex 59", b"vertex 60"), "ends after"),
        (GOOD.replace(b"vertex 59", b"vertex 99999999999"), "at most"),
        (GOOD.replace(b"binary_little_endian", b"ascii"), "format ascii"),
        (GOOD.replace(b"property float rot_3\n", b""), "rot_3"),
        (GOOD.replace(b"property float x\n", b"property double x\n"), "no PLY of Gaussians"),
        (GOOD.replace(b"ply\n", b"plx\n", 1), "no PLY of Gaussians"),
        (GOOD.replace(b"end_header\n", b""), "no PLY of Gaussians"),
        (b"", "no PLY of Gaussians"),
    ],
)
def test_what_is_no_file_of_gaussians_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "bad.ply").write_bytes(content)
    with pytest.raises(InvalidGaussians, match=told):
        read_ply(tmp_path / "bad.ply")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidGaussians, match=r"none\.ply"):
        read_ply(tmp_path / "none.ply")
