"""Surfaces of fields: the narrow band against the whole lattice, thin parts, bounds, and what is no surface."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from fourd_ros.compositional import field_extraction
from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.field_lattice import Field, lattice_points, whole_lattice
from fourd_ros.compositional.official_field import official_field
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidField

Shape = Callable[[Tensor], Tensor]


class Counted:
    """A field that counts what it is asked."""

    def __init__(self, field: Field) -> None:
        self.field, self.queries, self.most = field, 0, 0

    def __call__(self, queries: Tensor) -> Tensor:
        self.queries += len(queries)
        self.most = max(self.most, len(queries))
        return self.field(queries)


def ball(centre: tuple[float, float, float], radius: float) -> Shape:
    return lambda q: radius - (q - torch.tensor(centre)).norm(dim=1)


def box(centre: tuple[float, float, float], half: tuple[float, float, float]) -> Shape:
    return lambda q: -((q - torch.tensor(centre)).abs() - torch.tensor(half)).amax(dim=1)


def union(*shapes: Shape) -> Shape:
    return lambda q: torch.stack([shape(q) for shape in shapes]).amax(dim=0)


def chair() -> Shape:
    """A seat on four legs that are thinner than the cells that the search begins with."""
    legs = [box((x, -0.4, z), (0.018, 0.4, 0.018)) for x in (-0.3, 0.3) for z in (-0.3, 0.3)]
    return union(box((0.0, 0.05, 0.0), (0.35, 0.06, 0.35)), *legs)


def saturated(shape: Shape) -> Shape:
    """Logits of a decoder that is sure of nearly everything."""
    return lambda q: 15 * torch.tanh(20 * shape(q))


def assert_equal_surfaces(one: SurfaceMesh, other: SurfaceMesh) -> None:
    """Equal triangles that turn alike, whatever number a vertex has."""
    assert len(one.vertices) == len(other.vertices)
    distance, number = cKDTree(one.vertices).query(other.vertices)
    assert distance.max() < 1e-5
    assert len(np.unique(number)) == len(number)
    assert turned(one.faces) == turned(number[other.faces])


def turned(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Faces that begin with their least vertex."""
    first = faces.argmin(axis=1)[:, None]
    return {tuple(face) for face in np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1).tolist()}


@pytest.mark.parametrize(
    "shape",
    [
        ball((0.1, -0.2, 0.05), 0.6),
        chair(),
        saturated(chair()),
        union(ball((-0.5, 0.0, 0.0), 0.2), box((0.55, 0.1, 0.0), (0.2, 0.3, 0.1))),
    ],
    ids=["ball", "chair", "sure chair", "two things"],
)
def test_the_narrow_band_has_the_triangles_of_the_whole_lattice(shape: Shape) -> None:
    narrow, dense = extract_surface(shape, resolution=64, coarse=16), extract_surface(shape, resolution=64, dense=True)
    assert_equal_surfaces(narrow, dense)


def test_it_asks_far_less() -> None:
    narrow, dense = Counted(chair()), Counted(chair())
    extract_surface(narrow, resolution=128)
    assert narrow.queries < 128**3 / 12
    extract_surface(dense, resolution=32, dense=True)
    assert dense.queries == 32**3


def test_a_thin_plate_between_the_first_points_is_found() -> None:
    spacing = 2.01 / 32
    middle = float(lattice_points(np.array([8 * 20 + 4]), 256)[0])
    plate = box((0.0, middle, 0.0), (0.5, 0.2 * spacing, 0.5))
    assert not (whole_lattice(plate, 32) > 0).any(), "the first points must not see it, or nothing is tested"
    narrow = extract_surface(plate, resolution=256)
    assert narrow.volume == pytest.approx(0.4 * spacing, rel=0.1)


def test_normals_point_outwards_and_volumes_are_right() -> None:
    mesh = extract_surface(ball((0.2, 0.0, -0.1), 0.5), resolution=64)
    outwards = mesh.vertices - np.array([0.2, 0.0, -0.1])
    np.testing.assert_allclose(mesh.vertex_normals(), outwards / 0.5, atol=0.05)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)


def test_the_mesh_is_closed_across_slabs() -> None:
    mesh = extract_surface(chair(), resolution=64)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    there, back = ({tuple(edge) for edge in ends.tolist()} for ends in (edges, edges[:, ::-1]))
    assert len(there) == len(edges), "an edge has two faces in the same direction"
    assert there == back
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)


def test_what_leaves_the_cube_stays_open_there() -> None:
    floor = box((0.0, -1.0, 0.0), (3.0, 0.5, 3.0))
    narrow, dense = extract_surface(floor, resolution=64), extract_surface(floor, resolution=64, dense=True)
    assert_equal_surfaces(narrow, dense)
    assert narrow.bounds[1, 0] == pytest.approx(1.005 - 2.01 / 64, abs=1e-6)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_field_of_one_sign_has_no_surface(sign: float, dense: bool) -> None:
    mesh = extract_surface(lambda q: torch.full((len(q),), sign), resolution=32, dense=dense)
    assert mesh.is_empty
    assert np.isnan(mesh.bounds).all()


def test_questions_come_in_pieces() -> None:
    asked = Counted(ball((0.0, 0.0, 0.0), 0.5))
    mesh = extract_surface(asked, resolution=64, chunk=777)
    assert asked.most == 777
    whole = extract_surface(ball((0.0, 0.0, 0.0), 0.5), resolution=64)
    np.testing.assert_allclose(mesh.vertices, whole.vertices, atol=1e-6)


@pytest.mark.parametrize("resolution", [31, 33, 134, 0])
def test_a_resolution_that_cannot_be_halved_is_refused(resolution: int) -> None:
    with pytest.raises(InvalidField, match="doubled"):
        extract_surface(ball((0.0, 0.0, 0.0), 0.5), resolution=resolution)


def test_values_that_are_no_field_are_refused() -> None:
    with pytest.raises(InvalidField, match="not finite"):
        extract_surface(lambda q: q[:, 0] / 0, resolution=32)
    with pytest.raises(InvalidField, match="shape"):
        extract_surface(lambda q: q, resolution=32)


def test_noise_is_refused_before_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_extraction, "MAX_CELLS", 10_000)
    torch.manual_seed(0)
    with pytest.raises(InvalidField, match="noise"):
        extract_surface(lambda q: torch.randn(len(q)), resolution=64)


def test_the_official_lattice_is_the_plain_one_where_nothing_saturates() -> None:
    shape = ball((0.1, 0.0, 0.0), 0.5)
    np.testing.assert_allclose(official_field(shape, first=4, last=5), whole_lattice(shape, 32), atol=1e-6)


def test_the_official_lattice_keeps_coarse_values_where_it_is_sure() -> None:
    steep = Counted(lambda q: 200 * ball((0.0, 0.0, 0.0), 0.5)(q))
    values = official_field(steep, first=4, last=5)
    assert steep.queries < 16**3 + 32**3
    plain = whole_lattice(steep, 32)
    near = np.abs(plain) < 5
    np.testing.assert_allclose(values[near], plain[near], atol=1e-3)
    assert np.abs(values - plain).max() > 1
    narrow_band = Counted(steep.field)
    official_field(narrow_band, first=4, last=5, band=0.5)
    assert narrow_band.queries < 16**3 + 32**3
