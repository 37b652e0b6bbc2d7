"""A clip becomes a scene in files, stage by stage: flow, names, tracks, motion, objects, depth and fused points.

The folder is laid out as DynamicVerse's (its specification, sections 1 to 7), and what its README promises is there
too. A stage that is done is not done again; see `StageLog`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct, InvalidParameter
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_hash import hash_of_clip, hash_of_tracks
from fourd_ros.reconstruction.clips.picture_files import write_picture
from fourd_ros.reconstruction.clips.undistortion import undistorted
from fourd_ros.reconstruction.masks.instance_map import MAX_OBJECTS
from fourd_ros.reconstruction.masks.mask_files import ANNOTATIONS, LABELS, SEGMENTATION
from fourd_ros.reconstruction.masks.moving_masks import masks_of_motion
from fourd_ros.reconstruction.motion.motion_file import read_motion, write_motion
from fourd_ros.reconstruction.motion.object_search import FoundObjects, masks_of_tracks, objects_of_masks
from fourd_ros.reconstruction.motion.path_doubts import doubts
from fourd_ros.reconstruction.motion.scene_motion import SceneMotion
from fourd_ros.reconstruction.motion.scene_solver import SolverOptions, labels_from_masks, solve_scene
from fourd_ros.reconstruction.motion.still_camera import motion_of_still_camera, still_tracks
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.naming.named_objects import Naming, Question
from fourd_ros.reconstruction.official.scene_files import SUFFIX, write_times
from fourd_ros.reconstruction.official.track_regions import regions_of
from fourd_ros.reconstruction.pipeline.key_frame_stage import pick_key_frames
from fourd_ros.reconstruction.pipeline.point_stages import SolvedScene, make_depth, make_points
from fourd_ros.reconstruction.pipeline.scene_result import describe_scene, write_result
from fourd_ros.reconstruction.pipeline.stages import Done, Progress, StageLog
from fourd_ros.reconstruction.tracking.cotracker_files import read_cotracker, write_cotracker
from fourd_ros.reconstruction.tracking.flow import Flow, find_flow
from fourd_ros.reconstruction.tracking.track_clip import TrackingOptions, track_clip
from fourd_ros.reconstruction.tracking.track_file import read_tracks, write_filtered, write_tracks
from fourd_ros.whole_file import whole_file, write_whole

__all__ = ["PipelineOptions", "reconstruct"]

RGB, FLOW, BUNDLES, UNIDEPTH = "rgb", "dynamicBA/flow", "dynamicBA", "unidepth"

PIXELS_A_TRACK = 150
"""Of a frame; tracks begin so densely where nobody says otherwise."""

FEWEST_POINTS, MOST_POINTS = 300, 1500
"""In a frame in which tracks begin."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """How a scene is reconstructed.

    Args:
        flow: name of the optical flow.
        flow_model: folder of a converted checkpoint, for networks.
        focal: ``fixed`` where the clip's calibration is to be trusted, ``shared`` where the focal length is sought.
        schedule: ``second_order`` is our solver; ``official`` the one of DynamicVerse, for comparisons.
        max_static: static points in the fused files at most.
        device: of the adjustment, ``cpu`` for NumPy, or one of torch.
    """

    flow: str = "dis"
    flow_model: Path | None = None
    focal: Literal["fixed", "shared"] = "shared"
    schedule: Literal["second_order", "official"] = "second_order"
    max_static: int = 2_000_000
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.focal not in ("fixed", "shared") or self.schedule not in ("second_order", "official"):
            raise InvalidParameter(f"focal '{self.focal}', schedule '{self.schedule}'; see PipelineOptions")
        if self.max_static < 1:
            raise InvalidParameter(f"max_static is {self.max_static}; at least 1 is needed")

    @property
    def experiment(self) -> str:
        """Name of the folder in ``dynamicBA``."""
        return "base" if self.schedule == "second_order" else "official"


def reconstruct(
    clip: Clip,
    folder: Path,
    *,
    options: PipelineOptions | None = None,
    tracks: Tracks | None = None,
    names: Mapping[int, str] | None = None,
    question: Question | None = None,
    caveats: tuple[str, ...] = (),
    write_rgb: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Reconstruct a clip; what an interrupted run left is used.

    Args:
        clip: what is known.
        folder: of the scene.
        options: how to reconstruct.
        tracks: of the clip as it was taken, where there are some; else points are tracked.
        names: of the objects of the clip's masks, by number.
        question: a model to ask for the names of the objects that were found, while depth is made.
        caveats: what is to be told beside what turns up here.
        write_rgb: False where ``rgb/`` holds the pictures that the clip was read from.
        progress: told the stage and the share of it that is done.

    Returns:
        What ``result.json`` holds.

    Raises:
        CannotReconstruct: nothing tells of the camera's path; what was found until then is in the folder, and
            ``result.json`` says what was not.
        InvalidParameter: an unknown flow, tracks of another clip, or the official schedule without depth.
    """
    options = options or PipelineOptions()
    if options.schedule == "official" and clip.depth is None:
        raise InvalidParameter("the official schedule needs depth; give some with --depth, or leave the schedule out")
    log = StageLog(folder, progress=progress)
    work = _Work(clip, log, options, tracks, names or {}, question, write_rgb)
    try:
        work.look()
        work.solve()
        work.finish()
    except CannotReconstruct as failure:
        log.note("ERROR", str(failure))
        write_result(folder, work.result(caveats, failure=str(failure)))
        raise
    finally:
        write_whole(folder / f"processing_log_{clip.name}.log", "\n".join(log.lines) + "\n")
        if question is not None:
            question.namer.close()
    result = work.result(caveats)
    write_result(folder, result)
    return result


class _Work:
    """The stages; each reads what the ones before it wrote."""

    def __init__(
        self,
        clip: Clip,
        log: StageLog,
        options: PipelineOptions,
        tracks: Tracks | None,
        names: Mapping[int, str],
        question: Question | None,
        write_rgb: bool,
    ) -> None:
        self._hash = {**hash_of_clip(clip), "tracks": hash_of_tracks(tracks)}
        self._taken, self._clip = clip, undistorted(clip)
        self._log, self._options, self._given_tracks = log, options, tracks
        self._names, self._write_rgb = names, write_rgb
        self._naming = Naming(log, question, names)
        self._bundle = log.folder / BUNDLES / options.experiment
        self._motion: SceneMotion | None = None

    def look(self) -> None:
        """Frames, flow with key frames, and tracks."""
        flow = {"flow": self._options.flow, "model": str(self._options.flow_model or "")}
        self._run("frames", self._frames, inputs={**self._hash, "rgb": [self._hash["rgb"], self._write_rgb]}, files=[])
        if self._clip.frames < 2:
            raise CannotReconstruct(f"a path needs at least two frames; '{self._clip.name}' has {self._clip.frames}")
        self._run(
            "flow",
            lambda tell: pick_key_frames(self._clip, self._log.folder, self._flow(), flow["flow"], tell),
            inputs={"rgb": self._hash["rgb"], **flow},
            after=["frames"],
            files=[f"key_frames/{self._clip.name}/keyframe_info.json", FLOW],
        )
        self._run(
            "tracks",
            self._track,
            inputs={"rgb": self._hash["rgb"], "tracks": self._hash["tracks"]},
            after=["frames"],
            files=[self._track_file],
        )

    def solve(self) -> None:
        """The camera path, then objects and their masks."""
        bundle, options = f"{BUNDLES}/{self._options.experiment}", self._options
        self._run(
            "path",
            self._path,
            inputs={"focal": options.focal, "experiment": options.experiment, "given": self._hash},
            after=["tracks"],
            files=[f"{bundle}/path.npz"],
        )
        self._run(
            "objects",
            self._objects,
            inputs={"flow": options.flow, "model": str(options.flow_model or "")},
            after=["path"],
            files=[f"{bundle}/motion.npz", f"{bundle}/tracks.npz"],
        )
        self._motion = read_motion(self._bundle / "motion.npz")
        self._tracks, self._masks = read_tracks(self._bundle / "tracks.npz")

    def finish(self) -> None:
        """The question to a model, depth meanwhile, names, points."""
        assert self._motion is not None
        bundle = f"{BUNDLES}/{self._options.experiment}"
        self._naming.ask(self._clip, self._masks)
        scene = SolvedScene(clip=self._clip, motion=self._motion, tracks=self._tracks, masks=self._masks)
        self._run(
            "depth",
            lambda tell: make_depth(scene, self._log.folder / BUNDLES, tell),
            inputs={},
            after=["objects"],
            files=[f"{BUNDLES}/depth"],
        )
        asked = self._naming.wait()
        self._run(
            "names",
            lambda tell: self._naming.write(self._clip, self._masks),
            inputs={
                "names": {str(number): name for number, name in self._names.items()},
                "answered": self._naming.has_answer,
            },
            after=["objects", *asked],
            files=[f"{SEGMENTATION}/{LABELS}", ANNOTATIONS, f"analysis/dynamic_objects_{self._clip.name}.json"],
        )
        self._run(
            "points",
            lambda tell: make_points(
                scene,
                self._bundle,
                {int(number): name for number, name in self._log.stages["names"].done.facts["names"].items()},
                tell,
                max_static=self._options.max_static,
            ),
            inputs={"max_static": self._options.max_static},
            after=["depth", "names"],
            files=[f"{bundle}/poses{SUFFIX}.npz", f"{bundle}/static_map.npz", f"{BUNDLES}/fused_4d.npz"],
        )
        write_times(self._bundle, self._log.seconds)

    def result(self, caveats: tuple[str, ...], *, failure: str = "") -> dict[str, Any]:
        """What ``result.json`` holds."""
        return describe_scene(
            self._clip,
            self._log,
            self._motion,
            experiment=self._options.experiment,
            schedule=self._options.schedule,
            caveats=caveats,
            failure=failure,
        )

    def _run(
        self,
        name: str,
        work: Callable[[Progress], Done],
        *,
        inputs: Mapping[str, Any],
        after: list[str] | None = None,
        files: list[str],
    ) -> None:
        self._log.run(name, work, inputs=inputs, after=after or [], files=files)

    def _flow(self) -> Flow:
        return find_flow(self._options.flow, model=self._options.flow_model)

    def _frames(self, tell: Progress) -> Done:
        clip, folder = self._clip, self._log.folder
        for number, rgb in enumerate(clip.rgb if self._write_rgb else ()):
            write_picture(folder / RGB / f"{number:05d}.png", rgb)
            tell((number + 1) / clip.frames)
        if clip.depth is not None:
            _write_array(folder / UNIDEPTH / "depth.npy", clip.depth[:, None])
        if clip.camera is not None:
            _write_array(folder / UNIDEPTH / "intrinsics.npy", clip.camera.K.astype(np.float32))
        told = []
        if self._taken.camera is not None and self._taken.camera.distorted:
            told.append("the distortion of the lens was taken out of all pictures; results are for pictures without")
        if clip.depth is None:
            told.append(
                "no depth was given: structure from motion alone gives the path, points at tracks and objects; lengths "
                "have no unit, the map is sparse and masks are rough"
            )
        elif (unknown := float(np.isnan(clip.depth).mean())) > 0.5:
            told.append(f"depth is unknown at {100 * unknown:.0f} % of the pixels")
        return Done(caveats=tuple(told))

    @property
    def _track_file(self) -> str:
        interval, grid = (TrackingOptions().interval, int(np.ceil(np.sqrt(self._points_a_frame))))
        return f"cotrackerv3_{interval}_{grid}/results.npz"

    @property
    def _points_a_frame(self) -> int:
        return int(np.clip(self._clip.width * self._clip.height // PIXELS_A_TRACK, FEWEST_POINTS, MOST_POINTS))

    def _track(self, tell: Progress) -> Done:
        found, told = self._given_tracks, []
        options = TrackingOptions(points=self._points_a_frame)
        if found is None:
            found = track_clip(self._clip.rgb, options=options, progress=tell)
        elif (found.frames, found.height, found.width) != self._clip.rgb.shape[:3]:
            given = f"{found.frames} frames of {found.width} x {found.height}"
            needed = f"{self._clip.frames} of {self._clip.width} x {self._clip.height}"
            raise InvalidParameter(f"the tracks are of {given}, the clip has {needed}; give tracks of the same frames")
        elif self._taken.camera is not None and self._taken.camera.distorted:
            told.append("the given tracks were taken as those of pictures without distortion")
        grid = int(np.ceil(np.sqrt(self._points_a_frame)))
        write_cotracker(found, self._log.folder, interval=options.interval, grid=grid)
        seen = found.seen.sum(axis=0)
        return Done(
            caveats=tuple(told), facts={"tracks": len(found), "mean_frames": float(seen.mean()) if len(found) else 0}
        )

    def _path(self, tell: Progress) -> Done:
        clip, tracks = self._clip, read_cotracker(self._log.folder / self._track_file)
        still = still_tracks(tracks)
        if still is not None:
            motion = motion_of_still_camera(tracks, still, camera=clip.camera, depth=clip.depth)
        else:
            motion = self._solved(tracks, tell)
        write_motion(self._bundle / "path.npz", motion)
        return Done(caveats=(*motion.caveats, *doubts(tracks, motion)))

    def _solved(self, tracks: Tracks, tell: Progress) -> SceneMotion:
        clip, steps = self._clip, iter((0.1, 0.4, 0.8))
        return solve_scene(
            tracks,
            camera=clip.camera,
            depth=clip.depth,
            labels=None if clip.masks is None else labels_from_masks(tracks, clip.masks),
            options=SolverOptions(
                focal=self._options.focal, bundle=replace(SolverOptions().bundle, device=self._options.device)
            ),
            progress=lambda _: tell(next(steps, 0.9)),
        )

    def _objects(self, tell: Progress) -> Done:
        clip, tracks = self._clip, read_cotracker(self._log.folder / self._track_file)
        found = self._found_objects(tracks, read_motion(self._bundle / "path.npz"), tell)
        told = []
        if len(found.motion.objects) > MAX_OBJECTS:
            told.append(f"only {MAX_OBJECTS} of {len(found.motion.objects)} objects can be told apart in masks")
        motion = found.motion
        if self._options.schedule == "official":
            motion = self._official(found)
            told.append("the official schedule was asked for: its path, not that of the second-order solver")
        write_motion(self._bundle / "motion.npz", motion)
        write_tracks(self._bundle / "tracks.npz", found.tracks, found.masks)
        write_filtered(
            (self._log.folder / self._track_file).with_name("filtered_results.npz"), found.tracks, motion.labels
        )
        if not found.masks.any():
            told.append("no moving object was found")
        elif clip.masks is None and clip.depth is None:
            told.append(
                "masks of objects are the surroundings of their tracks: without depth nothing tells their edges"
            )
        return Done(caveats=(*motion.caveats, *told))

    def _found_objects(self, tracks: Tracks, path: SceneMotion, tell: Progress) -> FoundObjects:
        clip = self._clip
        if clip.depth is None and not np.isfinite(path.points).any():
            masks = masks_of_tracks(tracks, path) if clip.masks is None else clip.masks
            return FoundObjects(motion=path, tracks=tracks, masks=masks)
        depth = None if clip.depth is None else clip.depth * path.depth_scales[:, None, None]
        if clip.masks is not None:
            masks = clip.masks
        else:
            masks = masks_of_motion(
                clip.rgb,
                depth,
                path.camera,
                path.T_world_camera,
                flow=self._flow(),
                progress=lambda share: tell(share / 2),
            )
        return objects_of_masks(
            clip.rgb,
            masks,
            tracks,
            path,
            depth,
            given=clip.masks is not None,
            progress=lambda share: tell(0.5 + share / 2),
        )

    def _official(self, found: FoundObjects) -> SceneMotion:
        from fourd_ros.reconstruction.official.schedule import OfficialSchedule, solve_official

        clip = self._clip
        if clip.depth is None:
            raise InvalidParameter(
                "the official schedule needs depth; give some with --depth, or leave the schedule out"
            )
        return solve_official(
            found.tracks,
            depth=clip.depth,
            camera=found.motion.camera if clip.camera is None else clip.camera,
            regions=regions_of(found.masks),
            schedule=OfficialSchedule(optimise_focal=self._options.focal != "fixed"),
        )


def _write_array(path: Path, array: NDArray[np.generic]) -> None:
    with whole_file(path) as file:
        np.save(file, array, allow_pickle=False)
