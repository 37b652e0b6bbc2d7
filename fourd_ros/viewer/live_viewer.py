"""A `PointScene` in a browser, through viser: a slider over time, what is shown, and how."""

import contextlib
import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import viser

from fourd_ros.errors import InvalidParameter
from fourd_ros.geometry.transforms import FloatArray, to_quaternion
from fourd_ros.viewer.point_scene import FASTEST, RGB, SLOWEST, PointScene, SceneCamera, StillCloud, Way
from fourd_ros.whole_file import whole_file

LOOPBACK = "127.0.0.1"
PORT = 8080
_LAST_PORT = 65535

HIDDEN, BESIDE, IN_PLACE = "hidden", "beside", "in place"
"""Where the truth can be shown."""

_FRUSTUM_SHARE = 0.04
"""Length of the frusta, in diagonals of the scene."""

_TRUE_COLOUR, _IMAGINED_COLOUR = (40, 140, 70), (60, 60, 60)
_SIZES = (0.1, 5.0)
_RECORDINGS = (".viser", ".html")


class _Server(viser.ViserServer):
    """Data stays here: viser would hand it to a relay on the internet when anybody in a browser asks for a link."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What can be set in the browser; set here, it is set there."""

    step: viser.GuiSliderHandle[int]
    time: viser.GuiTextHandle
    playing: viser.GuiCheckboxHandle
    rate: viser.GuiSliderHandle[float]
    all_frames: viser.GuiCheckboxHandle
    every: viser.GuiSliderHandle[int]
    colouring: viser.GuiDropdownHandle[str]
    point_size: viser.GuiSliderHandle[float]
    views: dict[str, viser.GuiCheckboxHandle]
    still: dict[str, viser.GuiCheckboxHandle]
    truth: viser.GuiDropdownHandle[str]
    frusta: viser.GuiCheckboxHandle
    ways: viser.GuiCheckboxHandle


class LiveViewer:
    """Shows a scene to everybody who reaches its address.

    Args:
        scene: what is shown.
        host: address to listen at; whoever can reach it sees the scene and moves the slider.
        port: 0 for a free one.
        point_size: edge of the points [m], None for one that fits.
        rate: frames a second at first [Hz], None for the scene's own pace.

    Raises:
        InvalidParameter: the address cannot be listened at.

    Example:
        >>> with LiveViewer(read_scene(Path("rollout.npz"))) as viewer:     # doctest: +SKIP
        ...     print(viewer.url)
        ...     viewer.run(threading.Event())
    """

    def __init__(
        self,
        scene: PointScene,
        *,
        host: str = LOOPBACK,
        port: int = PORT,
        point_size: float | None = None,
        rate: float | None = None,
    ) -> None:
        self.scene = scene
        _check_address(host, port)
        with _silence():
            self.server = _Server(host=host, port=port, label=scene.title, verbose=False)
        self._lock = threading.RLock()
        self._shown: set[tuple[int, int]] = set()
        with self.server.atomic():
            self._set_the_stage()
            self.controls = self._add_controls(point_size or scene.point_size, rate or scene.rate)
            self._clouds = self._add_clouds()
            self._still = [self._add_still(cloud) for cloud in scene.still]
            self._ways = [self._add_way(way) for way in scene.ways if len(way.places) > 1]
            self._frusta = [self._add_frustum(camera) for camera in scene.cameras]
            self._refresh()
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = self.server.get_host()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server.get_port()}"

    def show(self, step: int) -> None:
        """Set the slider."""
        self.controls.step.value = step

    def advance(self) -> None:
        """One frame on; from the last to the first."""
        self.show((self.controls.step.value + 1) % len(self.scene.times))

    def run(self, stop: threading.Event) -> None:
        """Play whenever somebody has set that it plays; returns when `stop` is set."""
        while not stop.wait(1 / self.controls.rate.value):
            if self.controls.playing.value:
                self.advance()

    def record(self, path: Path) -> None:
        """Write a recording of all frames, whole or not at all; an existing file is replaced.

        Args:
            path: ``.viser``, for viser's own player, or ``.html``, a page that stands alone.

        Raises:
            InvalidParameter: another kind of file.
        """
        check_recording(path)
        self.show(0)
        serializer = self.server.get_scene_serializer()
        for step in range(len(self.scene.times)):
            self.show(step)
            serializer.insert_sleep(1 / self.controls.rate.value)
        data = serializer.serialize() if path.suffix == ".viser" else serializer.as_html().encode()
        with whole_file(path) as file:
            file.write(data)

    def close(self) -> None:
        """Stop serving."""
        with _silence():
            self.server.stop()

    def _set_the_stage(self) -> None:
        server, scene = self.server, self.scene
        server.gui.configure_theme(show_share_button=False, show_logo=False)
        server.scene.set_up_direction("+z")
        server.scene.add_frame("/world", axes_length=0.1, axes_radius=0.003)
        server.scene.add_frame("/imagined", show_axes=False)
        self._truth_place = server.scene.add_frame("/truth", show_axes=False, position=scene.beside)
        server.initial_camera.position, server.initial_camera.look_at = scene.first_look

    def _add_controls(self, point_size: float, rate: float) -> Controls:
        gui, scene = self.server.gui, self.scene
        last = len(scene.times) - 1
        gui.add_markdown("\n\n".join(scene.notes))
        with gui.add_folder("Time"):
            step = gui.add_slider("frame", 0, last, 1, 0)
            time = gui.add_text("time", self._time(0), disabled=True)
            playing = gui.add_checkbox("play", False)
            pace = gui.add_slider("frames a second", SLOWEST, FASTEST, 0.5, float(np.clip(rate, SLOWEST, FASTEST)))
            all_frames = gui.add_checkbox("all frames", False)
            every = gui.add_slider("of these every", 1, max(last, 1), 1, 1)
        with gui.add_folder("Points"):
            colouring = gui.add_dropdown("colour", scene.colourings, initial_value=RGB)
            least, most = (share * point_size for share in _SIZES)
            size = gui.add_slider("size [m]", least, most, (most - least) / 100, point_size)
            views = {name: gui.add_checkbox(name, True) for name in scene.views}
            still = {cloud.name: gui.add_checkbox(cloud.name, True) for cloud in scene.still}
            truth = gui.add_dropdown("truth", (HIDDEN, BESIDE, IN_PLACE), initial_value=BESIDE, visible=scene.has_truth)
            frusta = gui.add_checkbox("cameras", True)
            ways = gui.add_checkbox("paths", True, visible=bool(scene.ways))
        return Controls(
            step=step,
            time=time,
            playing=playing,
            rate=pace,
            all_frames=all_frames,
            every=every,
            colouring=colouring,
            point_size=size,
            views=views,
            still=still,
            truth=truth,
            frusta=frusta,
            ways=ways,
        )

    def _add_clouds(self) -> dict[tuple[int, int], viser.PointCloudHandle]:
        return {
            (index, step): self.server.scene.add_point_cloud(
                f"{_name(camera)}/{step:04d}",
                frame.points,
                frame.colours[RGB],
                point_size=self.controls.point_size.value,
                point_shading="flat",
                precision="float32",
                visible=False,
            )
            for index, camera in enumerate(self.scene.cameras)
            for step, frame in enumerate(camera.frames)
            if frame is not None and len(frame.points)
        }

    def _add_still(self, cloud: StillCloud) -> viser.PointCloudHandle:
        return self.server.scene.add_point_cloud(
            f"/still/{cloud.name.replace('/', '_')}",
            cloud.points,
            cloud.rgb,
            point_size=self.controls.point_size.value,
            point_shading="flat",
            precision="float32",
        )

    def _add_way(self, way: Way) -> viser.LineSegmentsHandle:
        segments = np.stack([way.places[:-1], way.places[1:]], axis=1).astype(np.float32)
        return self.server.scene.add_line_segments(
            f"/ways/{way.name.replace('/', '_')}", segments, np.array(way.colour, np.uint8), thickness=3.0
        )

    def _add_frustum(self, camera: SceneCamera) -> viser.CameraFrustumHandle:
        low, high = self.scene.box
        length = _FRUSTUM_SHARE * float(np.linalg.norm(high - low))
        return self.server.scene.add_camera_frustum(
            f"{_name(camera)}/camera",
            camera.fov,
            camera.aspect,
            scale=length,
            thickness=0.01 * length,
            color=_TRUE_COLOUR if camera.true else _IMAGINED_COLOUR,
            visible=False,
        )

    def _listen(self) -> None:
        controls = self.controls
        shown = (controls.step, controls.all_frames, controls.every, controls.frusta, *controls.views.values())
        for control in shown:
            control.on_update(lambda _: self._refresh())
        stays: list[viser.GuiCheckboxHandle] = [controls.ways, *controls.still.values()]
        for box in stays:
            box.on_update(lambda _: self._show_what_stays())
        controls.truth.on_update(lambda _: self._place_truth())
        controls.colouring.on_update(lambda _: self._colour())
        controls.point_size.on_update(lambda _: self._resize())

    def _refresh(self) -> None:
        """Show what the controls say, and nothing else."""
        with self._lock, self.server.atomic():
            wanted = self._wanted()
            for key in self._shown - wanted:
                self._clouds[key].visible = False
            for key in wanted - self._shown:
                self._clouds[key].visible = True
            self._shown = wanted
            step = self.controls.step.value
            self.controls.time.value = self._time(step)
            for camera, frustum in zip(self.scene.cameras, self._frusta, strict=True):
                self._show_camera(camera, frustum, step)

    def _wanted(self) -> set[tuple[int, int]]:
        controls = self.controls
        all_steps = range(0, len(self.scene.times), controls.every.value)
        steps = all_steps if controls.all_frames.value else (controls.step.value,)
        cameras = [index for index, camera in enumerate(self.scene.cameras) if self._is_chosen(camera)]
        return {(index, step) for index in cameras for step in steps} & set(self._clouds)

    def _is_chosen(self, camera: SceneCamera) -> bool:
        return self.controls.views[camera.view].value and not (camera.true and self.controls.truth.value == HIDDEN)

    def _show_camera(self, camera: SceneCamera, frustum: viser.CameraFrustumHandle, step: int) -> None:
        frame = camera.frames[step]
        frustum.visible = frame is not None and self.controls.frusta.value and self._is_chosen(camera)
        if frame is not None and frustum.visible:
            frustum.position, frustum.wxyz = _pose(frame.T_scene_camera)
            frustum.image = frame.image

    def _show_what_stays(self) -> None:
        with self._lock, self.server.atomic():
            for cloud, handle in zip(self.scene.still, self._still, strict=True):
                handle.visible = self.controls.still[cloud.name].value
            for way in self._ways:
                way.visible = self.controls.ways.value

    def _place_truth(self) -> None:
        with self._lock:
            beside = self.controls.truth.value == BESIDE
            self._truth_place.position = self.scene.beside if beside else np.zeros(3)
            self._refresh()

    def _colour(self) -> None:
        """Colour all points; those that do not know what was asked for as they look."""
        with self._lock, self.server.atomic():
            for (index, step), cloud in self._clouds.items():
                frame = self.scene.cameras[index].frames[step]
                assert frame is not None
                cloud.colors = frame.colours.get(self.controls.colouring.value, frame.colours[RGB])

    def _resize(self) -> None:
        with self._lock, self.server.atomic():
            for cloud in (*self._clouds.values(), *self._still):
                cloud.point_size = self.controls.point_size.value

    def _time(self, step: int) -> str:
        return f"{self.scene.times[step]:.2f} s"


def check_recording(path: Path) -> None:
    """See that a recording can be written so.

    Raises:
        InvalidParameter: it cannot.
    """
    if path.suffix not in _RECORDINGS:
        raise InvalidParameter(f"'{path}' ends in '{path.suffix}'; recordings end in {' or '.join(_RECORDINGS)}")


def _name(camera: SceneCamera) -> str:
    return f"/{'truth' if camera.true else 'imagined'}/{camera.view.replace('/', '_')}"


def _pose(T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Position and quaternion with w first."""
    position, xyzw = to_quaternion(T)
    return position, np.roll(xyzw, 1)


def _check_address(host: str, port: int) -> None:
    """Viser takes another port than it was told to, or waits for ever; so see first that it will not have to."""
    try:
        if not 0 <= port <= _LAST_PORT:
            raise OSError(f"ports go from 0 to {_LAST_PORT}")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise InvalidParameter(
            f"cannot listen at {host}:{port} ({error}); choose another --port (0 for a free one) or --host"
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Viser greets and says goodbye on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
