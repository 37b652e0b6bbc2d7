"""The robot renderer beside MuJoCo's shadowless one: a motion of 16 steps in a fixed and in a wrist camera.

Both draw the same postures of the same URDF in the same cameras, in turn, so that a busy machine slows them alike.
The clock starts with the link poses (here) or joint positions (MuJoCo, whose kinematics of 10 us are inside) and stops
with the arrays in memory; it is divided by the number of steps. Here one call gives shape and colour; MuJoCo needs a
pass each for ``rgb`` and ``depth``. The allocator reuses buffers for both, as in the world model node. ``ratio`` is the
median here, with colour, over that of MuJoCo's rgb alone.

    python benchmarks/robot_rendering.py
"""

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("MUJOCO_GL", "osmesa")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mujoco
import numpy as np
from measure import measure_side_by_side, report

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts, look_at
from fourd_ros.memory import reuse_buffers
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, PANDA_URDF, panda_description
from fourd_ros.robot.renderer import RobotRenderer

STEPS = 16
SIZES = ((128, 128), (480, 720))
FOCAL = 1.1  # in image heights
VISUAL_GROUP = 1
T_HAND_WRIST = from_parts([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.07, 0, 0.02])
FRONT = look_at((1.5, -0.6, 0.8), (0.35, 0.0, 0.25))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20)
    repeat = parser.parse_args().repeat
    reuse_buffers()
    description = panda_description()
    kinematics, renderer = Kinematics(description), RobotRenderer(description)
    positions = _motion(kinematics)
    poses = kinematics.link_poses(positions)
    cameras = {"front": np.tile(FRONT, (STEPS, 1, 1)), "wrist": poses["panda_hand"] @ T_HAND_WRIST}
    rows = []
    for height, width in SIZES:
        K = np.array([[FOCAL * height, 0, (width - 1) / 2], [0, FOCAL * height, (height - 1) / 2], [0, 0, 1]])
        camera = PinholeCamera(width=width, height=height, K=K)
        reference = _Mujoco(height, width)
        for view, T in cameras.items():
            times = measure_side_by_side(
                {
                    "colour, points, mask": lambda T=T, camera=camera: renderer.render(poses, camera, T),
                    "points, mask": lambda T=T, camera=camera: renderer.render(poses, camera, T, colour=False),
                    "mujoco rgb": reference.rgb(positions, T),
                    "mujoco depth": reference.depth(positions, T),
                },
                repeat=repeat,
                warmup=2,
            )
            share = renderer.render(poses, camera, T, colour=False).mask.mean()
            per_frame = {what: {p: round(ms / STEPS, 3) for p, ms in values.items()} for what, values in times.items()}
            rows.append(
                {
                    "size": f"{width} x {height}",
                    "view": view,
                    "robot_share": float(share),
                    "ms_per_frame": per_frame,
                    "ratio": per_frame["colour, points, mask"]["p50"] / per_frame["mujoco rgb"]["p50"],
                }
            )
        reference.close()
    report("robot_rendering", rows)


def _motion(kinematics: Kinematics) -> np.ndarray:
    positions = np.tile(kinematics.positions_from(PANDA_READY), (STEPS, 1))
    positions[:, 0] += np.linspace(-0.5, 0.5, STEPS)
    positions[:, 1] += np.linspace(0.0, 0.4, STEPS)
    return positions


class _Mujoco:
    """The same robot in MuJoCo, drawn by one renderer for colour and one for depth."""

    def __init__(self, height: int, width: int) -> None:
        spec = mujoco.MjSpec.from_file(str(PANDA_URDF))
        spec.worldbody.add_camera(name="camera", fovy=np.degrees(2 * np.arctan(0.5 / FOCAL)))
        spec.visual.global_.offheight, spec.visual.global_.offwidth = height, width
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._visible = mujoco.MjvOption()
        self._visible.geomgroup[:] = 0
        self._visible.geomgroup[VISUAL_GROUP] = 1
        self._colour = self._renderer(height, width)
        self._depth = self._renderer(height, width)
        self._depth.enable_depth_rendering()

    def rgb(self, positions: np.ndarray, T_root_camera: np.ndarray) -> Callable[[], object]:
        return lambda: self._draw(self._colour, positions, T_root_camera)

    def depth(self, positions: np.ndarray, T_root_camera: np.ndarray) -> Callable[[], object]:
        return lambda: self._draw(self._depth, positions, T_root_camera)

    def close(self) -> None:
        self._colour.close()
        self._depth.close()

    def _renderer(self, height: int, width: int) -> mujoco.Renderer:
        renderer = mujoco.Renderer(self._model, height, width)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        return renderer

    def _draw(self, renderer: mujoco.Renderer, positions: np.ndarray, T_root_camera: np.ndarray) -> list[np.ndarray]:
        frames = []
        for posture, T in zip(positions, T_root_camera, strict=True):
            self._data.qpos[:] = [*posture, posture[-1]]  # the second finger mimics the first
            self._model.cam_pos[0] = T[:3, 3]
            mujoco.mju_mat2Quat(self._model.cam_quat[0], (T[:3, :3] * [1, -1, -1]).ravel())
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            renderer.update_scene(self._data, "camera", self._visible)
            frames.append(renderer.render())
        return frames


if __name__ == "__main__":
    main()
