"""The same bundle adjustment by gtsam and by pycolmap (Ceres), for the benchmark and as a cross-check in tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_parts, invert, look_at
from fourd_ros.reconstruction.bundle.problem import BundleProblem

FloatArray = NDArray[np.float64]
FOCAL, CENTRE = 500.0, (320.0, 240.0)


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """Poses [F, 4, 4], points [P, 3] and the root mean square of the reprojection errors [px]."""

    T_world_camera: FloatArray
    points: FloatArray
    rms: float


def bundle(frames: int, points: int, *, seed: int = 0, noise: float = 0.5, seen: float = 0.58) -> BundleProblem:
    """A camera on an arc around points, each seen in a share of the frames; the first idea is some pixels off."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 0.6, frames)
    eyes = np.stack([2 * np.sin(angle), 0.1 * np.sin(5 * angle), 2 - 2 * np.cos(angle)], axis=-1)
    path = np.stack([look_at(eye, (0, 0, 6), up=(0, -1, 0)) for eye in eyes])
    places = rng.uniform([-3, -2, 4], [3, 2, 8], (points, 3))
    pixels = appear(path, places)
    started = path.copy()
    started[1:, :3, 3] += rng.normal(0, 0.03, (frames - 1, 3))
    return BundleProblem(
        pixels=pixels + rng.normal(0, noise, pixels.shape),
        weights=(rng.random((frames, points)) < seen).astype(np.float64),
        T_world_camera=started,
        points=places + rng.normal(0, 0.05, places.shape),
        focal=np.array([FOCAL, FOCAL]),
        centre=np.array(CENTRE),
    )


def appear(T_world_camera: FloatArray, points: FloatArray) -> FloatArray:
    """Pixels [F, P, 2] of points [P, 3]."""
    there = (points[None] - T_world_camera[:, None, :3, 3]) @ T_world_camera[:, :3, :3]
    pixels: FloatArray = FOCAL * there[..., :2] / there[..., 2:] + np.array(CENTRE)
    return pixels


def rms_of(problem: BundleProblem, T_world_camera: FloatArray, points: FloatArray) -> float:
    """Root mean square of the reprojection errors [px]."""
    usable = (problem.weights > 0) & ((problem.weights > 0).sum(axis=0) >= 2)
    errors = np.linalg.norm(appear(T_world_camera, points) - problem.pixels, axis=-1)[usable]
    return float(np.sqrt((errors**2).mean()))


class GtsamAdjuster:
    """gtsam's Levenberg-Marquardt over projection factors, the first pose and, for the scale, a point held softly."""

    def __init__(self, problem: BundleProblem, *, tolerance: float = 1e-6) -> None:
        import gtsam

        self._problem = problem
        self._graph, self._start = gtsam.NonlinearFactorGraph(), gtsam.Values()
        calibration = gtsam.Cal3_S2(FOCAL, FOCAL, 0.0, *CENTRE)
        noise = gtsam.noiseModel.Isotropic.Sigma(2, 1.0)
        for frame, track in zip(*np.nonzero(problem.weights), strict=True):
            self._graph.add(
                gtsam.GenericProjectionFactorCal3_S2(
                    problem.pixels[frame, track], noise, _x(int(frame)), _l(int(track)), calibration
                )
            )
        poses = [gtsam.Pose3(T) for T in problem.T_world_camera]
        for frame, pose in enumerate(poses):
            self._start.insert(_x(frame), pose)
        for track, point in enumerate(problem.points):
            self._start.insert(_l(track), gtsam.Point3(*point))
        held = gtsam.noiseModel.Isotropic.Sigma(6, 1e-4)
        self._graph.add(gtsam.PriorFactorPose3(_x(0), poses[0], held))
        self._graph.add(gtsam.PriorFactorPoint3(_l(0), gtsam.Point3(*problem.points[0]), _loose()))
        self._parameters = gtsam.LevenbergMarquardtParams()
        self._parameters.setRelativeErrorTol(tolerance)

    def run(self) -> Adjusted:
        """Adjust."""
        import gtsam

        found = gtsam.LevenbergMarquardtOptimizer(self._graph, self._start, self._parameters).optimize()
        path = np.stack([found.atPose3(_x(frame)).matrix() for frame in range(self._problem.frames)])
        points = np.stack([found.atPoint3(_l(track)) for track in range(len(self._problem.points))])
        return Adjusted(T_world_camera=path, points=points, rms=rms_of(self._problem, path, points))


class ColmapAdjuster:
    """Ceres through pycolmap, the first pose held; three held points, its own rule, would be two too many unknowns."""

    def __init__(self, problem: BundleProblem, *, tolerance: float = 1e-6) -> None:
        self._problem, self._tolerance = problem, tolerance

    def prepared(self) -> Any:
        """What `run` works on; it is changed by it."""
        import pycolmap

        problem = self._problem
        scene = pycolmap.Reconstruction()
        width, height = int(2 * CENTRE[0]), int(2 * CENTRE[1])
        scene.add_camera_with_trivial_rig(
            pycolmap.Camera(model="SIMPLE_PINHOLE", width=width, height=height, params=[FOCAL, *CENTRE], camera_id=1)
        )
        rows = [np.flatnonzero(weights) for weights in problem.weights]
        for frame, (T, tracks) in enumerate(zip(problem.T_world_camera, rows, strict=True)):
            image = pycolmap.Image(
                name=str(frame), keypoints=problem.pixels[frame, tracks], camera_id=1, image_id=frame + 1
            )
            scene.add_image_with_trivial_frame(image, pycolmap.Rigid3d(invert(T)[:3]))
        index = np.cumsum(problem.weights > 0, axis=1) - 1
        for track, point in enumerate(problem.points):
            elements = [
                pycolmap.TrackElement(int(frame) + 1, int(index[frame, track]))
                for frame in np.flatnonzero(problem.weights[:, track])
            ]
            scene.add_point3D(point, pycolmap.Track(elements))
        return scene

    def run(self, scene: Any) -> Adjusted:
        """Adjust what `prepared` made."""
        import pycolmap

        config = pycolmap.BundleAdjustmentConfig()
        for frame in range(self._problem.frames):
            config.add_image(frame + 1)
        config.set_constant_cam_intrinsics(1)
        config.set_constant_rig_from_world_pose(1)
        options = pycolmap.BundleAdjustmentOptions()
        options.print_summary = False
        options.ceres.solver_options.function_tolerance = self._tolerance
        options.ceres.solver_options.gradient_tolerance = 1e-12
        pycolmap.create_default_bundle_adjuster(options, config, scene).solve()
        inverse = [scene.image(frame + 1).cam_from_world().matrix() for frame in range(self._problem.frames)]
        path = np.stack([invert(from_parts(M[:, :3], M[:, 3])) for M in inverse])
        points = np.stack([scene.point3D(track + 1).xyz for track in range(len(self._problem.points))])
        return Adjusted(T_world_camera=path, points=points, rms=rms_of(self._problem, path, points))


def _loose() -> Any:
    import gtsam

    return gtsam.noiseModel.Isotropic.Sigma(3, 0.1)


def _x(frame: int) -> int:
    import gtsam

    return int(gtsam.symbol("x", frame))


def _l(track: int) -> int:
    import gtsam

    return int(gtsam.symbol("l", track))
