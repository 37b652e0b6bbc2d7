"""Colour, depth and segmentation of a scene without a display."""

import atexit
import ctypes.util
import glob
import os
import threading
from dataclasses import dataclass
from typing import Any, cast

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import ROBOT_ID as ROBOT_ID
from fourd_ros.errors import MissingDependency

BACKENDS = {"osmesa": "OSMesa", "egl": "EGL"}
MAX_IDLE_CONTEXTS = 2
DEBIAN_PACKAGES = {"osmesa": "libosmesa6", "egl": "libegl1 libegl-mesa0"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One picture in the three kinds; pixel (0, 0) is the upper left corner.

    Args:
        rgb: colour, shape [H, W, 3], uint8.
        depth: along the optical axis [m], shape [H, W], float32, NaN where nothing is in range.
        segmentation: 0 scene, 1..n the objects and fixture parts, 255 robot, shape [H, W], uint8.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]


def choose_backend() -> str:
    """The OpenGL backend to use: ``MUJOCO_GL`` when set, else EGL on a GPU, else OSMesa, else EGL in software.

    Raises:
        MissingDependency: neither library is installed; the message names the Debian package.
    """
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted:
        return wanted
    order = ("egl", "osmesa") if glob.glob("/dev/nvidia[0-9]*") else ("osmesa", "egl")
    for name in order:
        if ctypes.util.find_library(BACKENDS[name]):
            return name
    raise MissingDependency(
        "rendering needs OpenGL without a display, and neither OSMesa nor EGL is installed: "
        f"apt-get install {DEBIAN_PACKAGES['osmesa']} (software) or {DEBIAN_PACKAGES['egl']} (GPU)"
    )


def _import_context(backend: str) -> type[Any]:
    # llvmpipe takes every core it sees; recordings run one process a core instead.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        if backend == "osmesa":
            from mujoco.osmesa import GLContext
        elif backend == "egl":
            from mujoco.egl import GLContext
        else:
            from mujoco.gl_context import GLContext
    except (ImportError, AttributeError, OSError) as error:
        package = DEBIAN_PACKAGES.get(backend, "")
        hint = f"; apt-get install {package}" if package else "; unset MUJOCO_GL to let it be chosen"
        raise MissingDependency(f"OpenGL backend '{backend}' does not load: {error}{hint}") from error
    return cast(type[Any], GLContext)


class _IdleContexts(threading.local):
    """OpenGL contexts of this thread that nobody uses: a new one costs more than ten pictures, mostly its shaders."""

    def __init__(self) -> None:
        self._idle: list[tuple[tuple[str, int, int], Any]] = []

    def take(self, backend: str, width: int, height: int) -> Any:
        """One of that size, current in this thread."""
        key = (backend, width, height)
        found = next((entry for entry in self._idle if entry[0] == key), None)
        if found is not None:
            self._idle.remove(found)
        context = found[1] if found is not None else _import_context(backend)(width, height)
        context.make_current()
        return context

    def give_back(self, backend: str, width: int, height: int, context: Any) -> None:
        """Keep one for the next of its size; the oldest goes where there are too many."""
        self._idle.append(((backend, width, height), context))
        if len(self._idle) > MAX_IDLE_CONTEXTS:
            self._idle.pop(0)[1].free()

    def clear(self) -> None:
        """Free all of this thread."""
        while self._idle:
            self._idle.pop()[1].free()


_CONTEXTS = _IdleContexts()
# Too late for them is when the interpreter takes OpenGL's modules apart.
atexit.register(_CONTEXTS.clear)


class Renderer:
    """Draws one model from its cameras; owns an OpenGL context, so close it or use it in a ``with`` block.

    A context belongs to the thread that made it: every call has to come from there.

    Args:
        model: whose ``vis.map`` gives the depth range.
        part_ids: segmentation id of every body of the model, shape [nbody], uint8.
        width: columns.
        height: rows.
        shadows: cast shadows into the colour image.

    Raises:
        MissingDependency: no OpenGL library is installed.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        part_ids: NDArray[np.uint8],
        width: int,
        height: int,
        shadows: bool = True,
    ) -> None:
        self.width, self.height = width, height
        self._model = model
        self._part_ids = part_ids
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._backend = choose_backend()
        self._gl = _CONTEXTS.take(self._backend, width, height)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, model.ngeom + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        # The robot's shells are open; a camera sees their insides, and so does the robot renderer.
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = False
        self._option = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._table: NDArray[np.uint8] | None = None

    def close(self) -> None:
        """Give the OpenGL context back."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            _CONTEXTS.give_back(self._backend, self.width, self.height, self._gl)
            self._gl = None

    def render(self, data: mujoco.MjData, camera_id: int) -> Image:
        """What the camera sees in the state `data`, whose positions are up to date (``mj_forward``)."""
        self._look(data, camera_id)
        return Image(rgb=self._colour(), **self._geometry())

    def render_colour_and_depth(
        self, data: mujoco.MjData, camera_id: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As `render` without segmentation, in half the time: [H, W, 3] and [m], NaN where nothing is, [H, W]."""
        self._look(data, camera_id)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        depth = np.empty((self.height, self.width), np.float32)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, depth, self._rectangle, self._context)
        return np.ascontiguousarray(pixels[::-1]), self._metres(depth[::-1])

    def _look(self, data: mujoco.MjData, camera_id: int) -> None:
        self._gl.make_current()
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_STATIC | mujoco.mjtCatBit.mjCAT_DYNAMIC,
            self._scene,
        )

    def _colour(self) -> NDArray[np.uint8]:
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, None, self._rectangle, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def _geometry(self) -> dict[str, Any]:
        """Depth and segmentation from one pass: the colours of that pass are the numbers of the geoms."""
        numbers = np.empty((self.height, self.width, 3), np.uint8)
        depth = np.empty((self.height, self.width), np.float32)
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = False
        mujoco.mjr_readPixels(numbers, depth, self._rectangle, self._context)
        geoms = numbers[::-1, :, 0].astype(np.uint16) | numbers[::-1, :, 1].astype(np.uint16) << 8
        return {"depth": self._metres(depth[::-1]), "segmentation": self._ids()[geoms]}

    def _ids(self) -> NDArray[np.uint8]:
        """Segmentation id by number of the drawn geom; the drawn geoms of a model never change."""
        if self._table is None:
            table = np.zeros(self._scene.ngeom + 1, np.uint8)
            for geom in self._scene.geoms[: self._scene.ngeom]:
                if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                    table[geom.segid + 1] = self._part_ids[self._model.geom_bodyid[geom.objid]]
            self._table = table
        return self._table

    def _metres(self, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distance along the optical axis from a depth buffer that holds 1 at the near and 0 at the far plane."""
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        metres = near * far / (near + buffer.astype(np.float64) * (far - near))
        return np.where(buffer > 0, metres, np.nan).astype(np.float32)
