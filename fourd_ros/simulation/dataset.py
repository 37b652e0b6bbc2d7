"""Many episodes into one folder: in parallel, resumable, the same for the same seeds."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fourd_ros.data.episode import Episode, load_episode, save_episode
from fourd_ros.data.episode_bag import BagOptions, write_bag
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidEpisode
from fourd_ros.simulation.recording import RecordingOptions, episode_name, record_episode
from fourd_ros.whole_file import write_whole

Format = Literal["episode", "bag"]

FORMATS: tuple[Format, ...] = ("episode", "bag")
MANIFEST = "recording.json"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where episodes go.

    Args:
        folder: of all files.
        formats: which files are written for each episode.
        bag: how bags are written.
    """

    folder: Path
    formats: tuple[Format, ...] = ("episode",)
    bag: BagOptions = field(default_factory=BagOptions)

    def path(self, seed: int, kind: Format) -> Path:
        """File or folder of one episode."""
        return self.folder / (f"{episode_name(seed)}.npz" if kind == "episode" else f"bag_{seed:06d}")

    def missing(self, seed: int) -> tuple[Format, ...]:
        """What is not there yet of one episode; what is there is whole."""
        return tuple(kind for kind in self.formats if not self.path(seed, kind).exists())


@dataclass(frozen=True, kw_only=True)
class EpisodeSummary:
    """One line about an episode.

    Args:
        seed: of the episode.
        tasks: what was to be done.
        policy: who did it.
        success: whether it was done.
        frames: length.
    """

    seed: int
    tasks: tuple[str, ...]
    policy: str
    success: bool | None
    frames: int


def record_dataset(
    seeds: Sequence[int],
    options: RecordingOptions,
    target: Target,
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[EpisodeSummary]:
    """Record what is missing; yields a summary of each new episode as it is finished.

    Args:
        seeds: of the episodes.
        options: what they have in common.
        target: where they go.
        workers: processes; 1 records in this one.
        ray: record in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.

    Raises:
        InvalidEpisode: the folder holds episodes that were recorded with other options.
        UnknownTask: there is no such task or policy.
        MissingDependency: no OpenGL library is installed.
        JobFailed: see `run_jobs`.
    """
    _claim(target.folder, options)
    jobs = {episode_name(seed): seed for seed in seeds if target.missing(seed)}
    record = partial(_record_one, options=options, target=target)
    for _, summary in run_jobs(record, jobs, workers=workers, ray=ray, address=address):
        yield summary


def _claim(folder: Path, options: RecordingOptions) -> None:
    """Note the options in the folder, or see that they are those noted there."""
    manifest = folder / MANIFEST
    wanted = json.loads(json.dumps(asdict(options)))
    if manifest.exists():
        found = _read_manifest(manifest)
        if found != wanted:
            other = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
            raise InvalidEpisode(
                f"'{folder}' holds episodes recorded with other {', '.join(other)}; name another folder or remove it"
            )
        return
    write_whole(manifest, json.dumps(wanted, indent=1) + "\n")


def _read_manifest(manifest: Path) -> dict[str, Any]:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidEpisode(f"'{manifest}' is damaged ({error}); remove it to start anew") from error
    return dict(found)


def _record_one(seed: int, *, options: RecordingOptions, target: Target) -> EpisodeSummary:
    missing = target.missing(seed)
    done = target.path(seed, "episode")
    # A folder may get bags beside the episodes that are there already.
    episode = load_episode(done) if done.exists() else record_episode(seed, options)
    for kind in missing:
        _write(episode, target.path(seed, kind), kind, target.bag)
    return EpisodeSummary(
        seed=seed,
        tasks=episode.tasks,
        policy=episode.policy,
        success=episode.success,
        frames=len(episode.times),
    )


def _write(episode: Episode, path: Path, kind: Format, bag: BagOptions) -> None:
    if kind == "episode":
        save_episode(episode, path)
    else:
        write_bag(episode, path, options=bag)
