"""Single pictures of random scenes with exact depth, for networks that look at one image at a time; kept in shards."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.data.depth_steps import to_metres, to_steps
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at
from fourd_ros.simulation.cameras import CAMERA_NAMES, CameraSpec
from fourd_ros.simulation.fixtures import FIXTURE_KINDS, FixtureKind
from fourd_ros.simulation.objects import OBJECT_KINDS
from fourd_ros.simulation.scene import WORKSPACE, SceneOptions, SceneSpec, sample_scene
from fourd_ros.whole_file import write_whole

OPTIONS = "stills.json"
SCENES_PER_SHARD = 20

_POSTURE_SPREAD = 0.5
_TARGET_HEIGHT = (0.0, 0.25)
_DISTANCE = (0.45, 1.5)
_ELEVATION = (0.25, 1.3)
_VERTICAL_FOV = (0.6, 1.2)


@dataclass(frozen=True, kw_only=True)
class StillOptions:
    """What may be in the pictures.

    Args:
        size: width and height [pixels].
        kinds: objects that may appear (keys of `OBJECT_KINDS`).
        objects: least and greatest number of them.
        usual_cameras: take a picture with each camera of the scene.
        free_cameras: further pictures from anywhere around the table.
        azimuths: of these, where the robot looks along 0 and its left is at pi / 2 [rad].
        shadows: cast shadows.
    """

    size: int = 192
    kinds: tuple[str, ...] = tuple(OBJECT_KINDS)
    objects: tuple[int, int] = (1, 6)
    usual_cameras: bool = True
    free_cameras: int = 4
    azimuths: tuple[float, float] = (-np.pi, np.pi)
    shadows: bool = True

    @property
    def pictures(self) -> int:
        """Of one scene."""
        return self.free_cameras + (len(CAMERA_NAMES) if self.usual_cameras else 0)


@dataclass(frozen=True, kw_only=True)
class Still:
    """One picture.

    Args:
        seed: of its scene.
        camera: calibration.
        rgb: colour, shape [H, W, 3], uint8.
        depth: along the optical axis [m], NaN where nothing is in range, shape [H, W], float32.
        segmentation: 0 scene, 1..n the objects and fixture parts, 255 robot, shape [H, W], uint8.
    """

    seed: int
    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Pictures for one purpose; those of two splits share no scene.

    Args:
        first_seed: its scenes count up from here, less than `SPLIT_SCENES` of them.
        options: of the pictures.
    """

    first_seed: int
    options: StillOptions

    def seeds(self, scenes: int) -> range:
        """Of its first `scenes` scenes."""
        return range(self.first_seed, self.first_seed + scenes)


SPLIT_SCENES = 1_000_000
_TRAINING = StillOptions(kinds=("box", "cylinder", "ball", "screwdriver", "wrench"), azimuths=(-2.6, 1.0))
_UNSEEN = StillOptions(kinds=("mug", "hammer"), azimuths=(1.2, 2.4), usual_cameras=False)

SPLITS = {
    "training": Split(first_seed=0, options=_TRAINING),
    "validation": Split(first_seed=SPLIT_SCENES, options=_TRAINING),
    "new_scenes": Split(first_seed=2 * SPLIT_SCENES, options=_TRAINING),
    "new_views_and_things": Split(first_seed=3 * SPLIT_SCENES, options=_UNSEEN),
}
"""The last two are for tests: one like the training, one seen from where no picture was taken, with things of kinds
that were in none."""


def render_stills(seed: int, options: StillOptions) -> list[Still]:
    """All pictures of one scene; the same seed and options give the same pictures.

    Raises:
        MissingDependency: no OpenGL library is installed.
    """
    from fourd_ros.simulation.simulator import Simulator

    with Simulator(
        _scene(seed, options), width=options.size, height=options.size, shadows=options.shadows
    ) as simulator:
        images = {name: simulator.render(name) for name in simulator.camera_names}
        return [Still(seed=seed, camera=simulator.camera(name), **vars(image)) for name, image in images.items()]


class StillFolder:
    """The pictures of some scenes in a folder, by number; it may be copied into other processes.

    Args:
        folder: made by `prepare_stills`.
        seeds: of the scenes.
        options: of the pictures.
    """

    def __init__(self, folder: Path, seeds: Sequence[int], options: StillOptions) -> None:
        self.options = options
        self._paths = [_shard_path(folder, part) for part in _parts(seeds)]
        self._size = len(seeds) * options.pictures
        self._shards: dict[Path, Shard] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Still:
        """The picture of a number.

        Raises:
            InvalidDataset: its shard is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard, row = divmod(index, SCENES_PER_SHARD * self.options.pictures)
        arrays = self._shard(self._paths[shard])
        size = self.options.size
        return Still(
            seed=int(arrays.array("seed")[row]),
            camera=PinholeCamera(width=size, height=size, K=arrays.array("K")[row]),
            rgb=arrays.array("rgb")[row],
            depth=to_metres(arrays.array("depth")[row]),
            segmentation=arrays.array("segmentation")[row],
        )

    def __iter__(self) -> Iterator[Still]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # each process maps the files by itself

    def _shard(self, path: Path) -> Shard:
        if path not in self._shards:
            self._shards[path] = Shard(path)
        return self._shards[path]


def prepare_stills(
    folder: Path, seeds: Sequence[int], options: StillOptions, *, workers: int = 1, bar: bool = True
) -> StillFolder:
    """Take the pictures that are not in `folder` yet.

    Args:
        folder: of these pictures alone.
        seeds: of the scenes.
        options: of the pictures.
        workers: processes that take them.
        bar: show progress.

    Raises:
        InvalidDataset: the folder holds pictures that were taken with other options.
        MissingDependency: no OpenGL library is installed.
    """
    _claim(folder, options)
    missing = {path.name: part for part in _parts(seeds) if not (path := _shard_path(folder, part)).exists()}
    jobs = run_jobs(partial(_take, folder, options), missing, workers=workers)
    for _ in tqdm(jobs, total=len(missing), desc="pictures", unit="shard", disable=not bar or not missing):
        pass
    return StillFolder(folder, seeds, options)


def _parts(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(seeds), SCENES_PER_SHARD):
        yield tuple(seeds[start : start + SCENES_PER_SHARD])


def _shard_path(folder: Path, seeds: Sequence[int]) -> Path:
    return folder / f"scenes_{seeds[0]:08d}_{len(seeds):02d}.safetensors"


def _take(folder: Path, options: StillOptions, seeds: Sequence[int]) -> None:
    stills = [still for seed in seeds for still in render_stills(seed, options)]
    arrays: dict[str, NDArray[Any]] = {
        "seed": np.array([still.seed for still in stills], np.float64),
        "K": np.stack([still.camera.K for still in stills]),
        "rgb": np.stack([still.rgb for still in stills]),
        "depth": to_steps(np.stack([still.depth for still in stills])),
        "segmentation": np.stack([still.segmentation for still in stills]),
    }
    write_shard(_shard_path(folder, seeds), arrays)


def _claim(folder: Path, options: StillOptions) -> None:
    """Note the options in the folder, or see that they are those noted there."""
    text = json.dumps(asdict(options), indent=1) + "\n"
    path = folder / OPTIONS
    if not path.exists():
        write_whole(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise InvalidDataset(f"'{folder}' holds pictures taken with other options; name another folder or remove it")


def _scene(seed: int, options: StillOptions) -> SceneSpec:
    """A scene whose robot stands in any posture, seen by all cameras that are asked for."""
    rng = np.random.default_rng((seed, 2))
    fixtures: tuple[FixtureKind | None, ...] = (None, None, *FIXTURE_KINDS)
    spec = sample_scene(
        seed,
        SceneOptions(
            kinds=options.kinds,
            objects=options.objects,
            fixture=fixtures[rng.integers(len(fixtures))],
            fixture_opened=bool(rng.integers(2)),
        ),
    )
    free = tuple(_free_camera(rng, f"free_{number}", options.azimuths) for number in range(options.free_cameras))
    usual = spec.cameras if options.usual_cameras else ()
    return replace(spec, posture=_posture(rng, spec.posture), cameras=usual + free)


def _posture(rng: np.random.Generator, posture: dict[str, float]) -> dict[str, float]:
    return {
        name: float(rng.uniform(0.0, 0.04) if "finger" in name else value + rng.uniform(-1, 1) * _POSTURE_SPREAD)
        for name, value in posture.items()
    }


def _free_camera(rng: np.random.Generator, name: str, azimuths: tuple[float, float]) -> CameraSpec:
    target = np.array([rng.uniform(*WORKSPACE[0]), rng.uniform(*WORKSPACE[1]), rng.uniform(*_TARGET_HEIGHT)])
    azimuth, elevation = rng.uniform(*azimuths), rng.uniform(*_ELEVATION)
    away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    pose = look_at(target + rng.uniform(*_DISTANCE) * away, target, np.array([0.0, 0.0, 1.0]))
    rows = tuple(tuple(float(value) for value in row) for row in pose)
    return CameraSpec(name=name, T_mount_camera=rows, vertical_fov=float(rng.uniform(*_VERTICAL_FOV)))
