"""Scenes of the compact world model's data, and how its splits differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import look_at
from fourd_ros.simulation.appearance import Colour
from fourd_ros.simulation.cameras import CameraSpec
from fourd_ros.simulation.fixtures import FIXTURE_KINDS, FixtureKind
from fourd_ros.simulation.manipulation import Behaviour
from fourd_ros.simulation.objects import FLAT_KINDS, ObjectSpec
from fourd_ros.simulation.scene import LightSpec, SceneOptions, SceneSpec, sample_scene

Range = tuple[float, float]

CAMERA = "front"
TRAINING_KINDS = ("box", "cylinder", "ball", "mug", "hammer", "screwdriver", "can", "slab", "tee")
NEW_KINDS = ("wrench", "ell", "cross", "arch")

SEED_EPISODES = 100_000
"""Episodes of one seed of a split."""

SPLIT_SEEDS = 1000
"""Seeds of one split."""

_SPLIT_EPISODES = SEED_EPISODES * SPLIT_SEEDS
_BASES = (*FLAT_KINDS, "arch")
_LOOK_AT, _LOOK_AT_SPREAD = (0.45, 0.0, 0.05), 0.05
_FIXTURE_ANYWAY = 0.06
_PILE = 0.08
# Without it what falls over rolls off the table [m].
_ROLLING_FRICTION = (0.002, 0.005)


@dataclass(frozen=True, kw_only=True)
class CameraRegion:
    """Where a camera may stand around the middle of the workspace.

    Args:
        azimuth: from the direction in which the robot looks, to either side [deg].
        elevation: above the table [deg].
        distance: [m].
        vertical_fov: opening angle over the image height [deg].
    """

    azimuth: Range = (0.0, 60.0)
    elevation: Range = (22.0, 50.0)
    distance: Range = (0.95, 1.4)
    vertical_fov: Range = (42.0, 52.0)

    def draw(self, rng: np.random.Generator) -> CameraSpec:
        """A camera of the region that looks at the workspace."""
        azimuth = np.deg2rad(rng.uniform(*self.azimuth)) * rng.choice((-1.0, 1.0))
        elevation = np.deg2rad(rng.uniform(*self.elevation))
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        target = np.array(_LOOK_AT) + rng.uniform(-1, 1, 3) * _LOOK_AT_SPREAD
        pose = look_at(target + rng.uniform(*self.distance) * away, target, np.array([0.0, 0.0, 1.0]))
        rows = tuple(tuple(float(value) for value in row) for row in pose)
        fov = float(np.deg2rad(rng.uniform(*self.vertical_fov)))
        return CameraSpec(name=CAMERA, T_mount_camera=rows, vertical_fov=fov)


_FAR_CAMERAS = (
    CameraRegion(azimuth=(65.0, 110.0), distance=(1.3, 1.6)),
    CameraRegion(elevation=(53.0, 65.0), distance=(1.3, 1.6)),
    CameraRegion(azimuth=(65.0, 110.0), elevation=(53.0, 65.0), distance=(1.3, 1.6)),
)

SHOULDER_CAMERAS = CameraRegion(azimuth=(95.0, 145.0), elevation=(25.0, 50.0), distance=(0.95, 1.4))
"""Beside and behind the robot: fixtures turn their fronts to it."""


@dataclass(frozen=True, kw_only=True)
class TabletopSplit:
    """Episodes for one purpose.

    Args:
        first_seed: scene of its first episode.
        kinds: of its objects.
        cameras: regions, one of which is drawn.
        other_light: lit as no scene of the training is.
        noisy_depth: depth as a stereo camera measures it.
        shares: of the behaviours that are drawn; all of them, each with its own share, by default.
        fixtures: kinds that are drawn.
        fixture_cameras: regions for scenes of behaviours that use a fixture; those of `cameras` by default.
        aim_noises: standard deviations of the aim [m]; those of the behaviour by default.
        fixtures_shut: all fixtures are shut at the start, rather than half of them.
        whatever_comes: episodes begin where their motion does, rather than mostly shortly before something is stirred:
            when it begins tells nothing of how it ends.
    """

    first_seed: int
    kinds: tuple[str, ...] = TRAINING_KINDS
    cameras: tuple[CameraRegion, ...] = (CameraRegion(),)
    other_light: bool = False
    noisy_depth: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    fixtures: tuple[FixtureKind, ...] = tuple(FIXTURE_KINDS)
    fixture_cameras: tuple[CameraRegion, ...] = ()
    aim_noises: tuple[float, ...] = ()
    fixtures_shut: bool = False
    whatever_comes: bool = False


def _first_seed(number: int) -> int:
    return (number + 1) * _SPLIT_EPISODES


TABLETOP_SPLITS: dict[str, TabletopSplit] = {
    "train": TabletopSplit(first_seed=_first_seed(0)),
    "validation": TabletopSplit(first_seed=_first_seed(1)),
    "test": TabletopSplit(first_seed=_first_seed(2)),
    "new_shapes": TabletopSplit(first_seed=_first_seed(3), kinds=NEW_KINDS),
    "new_cameras": TabletopSplit(first_seed=_first_seed(4), cameras=_FAR_CAMERAS, other_light=True),
    "noisy_depth": TabletopSplit(first_seed=_first_seed(2), noisy_depth=True),
    "clumsy": TabletopSplit(
        first_seed=_first_seed(5),
        shares={"push": 0.35, "carry": 0.3, "fixture": 0.35},
        fixtures=("drawer",),
        fixture_cameras=(SHOULDER_CAMERAS,),
        aim_noises=(0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08),
    ),
    "drawers": TabletopSplit(
        first_seed=_first_seed(6),
        shares={"pull": 1.0},
        fixtures=("drawer",),
        fixture_cameras=(SHOULDER_CAMERAS,),
        aim_noises=(0.0, 0.02, 0.03, 0.045, 0.06, 0.08),
        fixtures_shut=True,
        whatever_comes=True,
    ),
}
"""``clumsy`` and ``drawers`` are for training: what goes wrong when the aim is bad, and drawers seen from where their
handles are seen; in ``drawers`` the gripper that pulls at them comes from afar and does not hide them.
No two share a scene, except that `noisy_depth` sees those of `test` through another sensor."""


def find_split(name: str) -> TabletopSplit:
    """The split of that name.

    Raises:
        InvalidDataset: there is none.
    """
    if name not in TABLETOP_SPLITS:
        raise InvalidDataset(f"no split '{name}' of the tabletop data; there are {list(TABLETOP_SPLITS)}")
    return TABLETOP_SPLITS[name]


def tabletop_seeds(split: str, *, seed: int, episodes: int) -> range:
    """The scene seeds of the first episodes of one seed of a split; those of different seeds are disjoint.

    Raises:
        InvalidDataset: there is no such split, or it has not so many.
    """
    if not (0 <= seed < SPLIT_SEEDS and 0 <= episodes <= SEED_EPISODES):
        raise InvalidDataset(
            f"{episodes} episodes of seed {seed}; seeds go from 0 to {SPLIT_SEEDS - 1}, each with {SEED_EPISODES}"
        )
    first = find_split(split).first_seed + seed * SEED_EPISODES
    return range(first, first + episodes)


def tabletop_scene(seed: int, split: TabletopSplit, behaviour: Behaviour, rng: np.random.Generator) -> SceneSpec:
    """The scene of `seed`, with what `behaviour` needs."""
    with_fixture = behaviour.fixture or rng.random() < _FIXTURE_ANYWAY
    fixture: FixtureKind | None = split.fixtures[rng.integers(len(split.fixtures))] if with_fixture else None
    bases = tuple(kind for kind in _BASES if kind in split.kinds)
    least, most = behaviour.objects
    options = SceneOptions(
        objects=(least, max(least, min(most, 2))) if with_fixture else (least, most),
        kinds=split.kinds,
        required_kinds=(bases,) if behaviour.flat_base else (),
        fixture=fixture,
        fixture_opened=bool(rng.integers(2)) and not split.fixtures_shut,
        cameras=(),
    )
    scene = sample_scene(seed, options)
    regions = (split.fixture_cameras if behaviour.fixture else ()) or split.cameras
    camera = regions[rng.integers(len(regions))].draw(rng)
    rolling = float(rng.uniform(*_ROLLING_FRICTION))
    objects = tuple(replace(item, rolling_friction=rolling) for item in _piled(scene.objects, rng))
    scene = replace(scene, cameras=(camera,), objects=objects)
    return _relit(scene, rng) if split.other_light else scene


def suits(scene: SceneSpec, behaviour: Behaviour) -> bool:
    """Whether all that `behaviour` needs found room in `scene`."""
    enough = len(scene.objects) >= behaviour.objects[0]
    return enough and (not behaviour.flat_base or any(item.flat_top for item in scene.objects))


def _piled(objects: tuple[ObjectSpec, ...], rng: np.random.Generator) -> tuple[ObjectSpec, ...]:
    """Now and then one object stands on another one."""
    bases = [item for item in objects if item.kind in _BASES]
    if len(bases) < 2 or rng.random() > _PILE * len(objects):
        return objects
    base, top = bases[:2]
    x, y = np.array(base.position[:2]) + rng.uniform(-0.006, 0.006, 2)
    height = base.position[2] + (base.size[2] + top.size[2]) / 2 + 0.001
    raised = replace(top, position=(float(x), float(y), float(height)))
    return tuple(raised if item is top else item for item in objects)


def _relit(scene: SceneSpec, rng: np.random.Generator) -> SceneSpec:
    """Lower, stronger or weaker, coloured lamps, and little light from everywhere."""
    return replace(
        scene,
        lights=tuple(_other_lamp(rng, shadow=light.shadow) for light in scene.lights),
        ambient=float(rng.uniform(0.10, 0.25)),
    )


def _other_lamp(rng: np.random.Generator, *, shadow: bool) -> LightSpec:
    position = np.array([0.5, 0.0, 1.4]) + rng.uniform(-1, 1, 3) * (0.9, 1.3, 0.4)
    direction = np.array([0.45, 0.0, 0.0]) - position
    x, y, z = direction / np.linalg.norm(direction)
    colour: Colour = tuple(float(channel) for channel in rng.uniform(0.6, 1.0, 3))  # type: ignore[assignment]
    return LightSpec(
        position=(float(position[0]), float(position[1]), float(position[2])),
        direction=(float(x), float(y), float(z)),
        brightness=float(rng.uniform(0.5, 1.0)) if shadow else float(rng.uniform(0.0, 0.3)),
        shadow=shadow,
        colour=colour,
    )
