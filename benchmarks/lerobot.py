"""Data sets to LeRobot folders and back, in pictures a second, beside encoding and decoding the same films with PyAV.

Simulated episodes of two cameras of 320 x 240 with depth and segmentation, in the default format. The clock runs from
the plan to the last file, with one process; `colour` is the same without depth and segmentation, which are compressed
exactly and one by one. PyAV encodes and decodes the same pictures with the same settings, and does nothing else. A
picture is one frame of one camera. All files are in the page cache; the ways take turns, and the median counts.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from measure import report

os.environ.setdefault("MUJOCO_GL", "osmesa")

from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.lerobot_plan import LeRobotOptions, plan_conversion
from fourd_ros.data.lerobot_reader import plan_reading, read
from fourd_ros.data.lerobot_writer import convert
from fourd_ros.data.video import FORMATS, KEYFRAME_EVERY
from fourd_ros.simulation.recording import RecordingOptions, record_episode

WIDTH, HEIGHT, RATE = 320, 240, 10.0
CAMERAS = ("front", "wrist")


def rows(place: Path, *, seconds: float, rounds: int) -> Iterator[dict[str, object]]:
    """One row for each way."""
    recorded = RecordingOptions(
        tasks=("push",), policies=("expert",), cameras=CAMERAS, width=WIDTH, height=HEIGHT, max_duration=seconds
    )
    episode = record_episode(1, recorded)
    dataset = place / "dataset"
    with EpisodeDatasetWriter(dataset) as writer:
        for name in ("first", "second"):
            writer.add(replace(episode, name=name))
    for without in ((), ("depth", "segmentation")):
        to_lerobot(dataset, place / f"kept{len(without)}", without)
    films = [place / f"{camera}.mp4" for camera in CAMERAS]
    ways: dict[str, Callable[[], object]] = {
        "PyAV encodes": lambda: encode(episode, films),
        "write": lambda: to_lerobot(dataset, place / "new", ()),
        "write colour": lambda: to_lerobot(dataset, place / "new", ("depth", "segmentation")),
        "PyAV decodes": lambda: decode(films),
        "read": lambda: from_lerobot(place / "kept0", place / "back"),
        "read colour": lambda: from_lerobot(place / "kept2", place / "back"),
    }
    pictures = 2 * len(episode.times) * len(CAMERAS)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    speed = {name: pictures / float(np.median(found)) for name, found in taken.items()}
    for name, per_second in speed.items():
        anchor = "PyAV encodes" if "write" in name or "encodes" in name else "PyAV decodes"
        yield {"what": name, "pictures": pictures, "pictures_per_s": per_second, "ratio": per_second / speed[anchor]}


def to_lerobot(dataset: Path, folder: Path, without: tuple[str, ...]) -> None:
    """A folder that is new each time."""
    shutil.rmtree(folder, ignore_errors=True)
    convert(plan_conversion(dataset, folder, LeRobotOptions(without=without)))


def from_lerobot(folder: Path, dataset: Path) -> None:
    """A data set that is new each time."""
    shutil.rmtree(dataset, ignore_errors=True)
    read(plan_reading(folder, dataset))


def encode(episode: Episode, films: list[Path]) -> None:
    """The pictures of two such episodes into a film for each camera."""
    video = FORMATS["faithful"]
    options = {"crf": str(video.crf), "g": str(KEYFRAME_EVERY), **dict(video.options)}
    for camera, path in zip(CAMERAS, films, strict=True):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(video.encoder, rate=int(RATE), options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, video.pixels
            for picture in (*episode.views[camera].rgb, *episode.views[camera].rgb):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())


def decode(films: list[Path]) -> None:
    """Every picture of the films as an array."""
    for path in films:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="longest episode")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report("lerobot", list(rows(Path(folder), seconds=args.seconds, rounds=args.rounds)))
