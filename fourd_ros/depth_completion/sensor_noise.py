"""What depth cameras do to a depth image: holes and noise, drawn from a seed.

The model is one of stereo cameras, passive or with a projector: they measure disparity, so noise and
quantisation act on inverse depth, and what only one of the two eyes sees has no depth at all. Planes are
affine in inverse depth, which is how edges (second differences) and surface normals (first differences)
are found.

Sources: Khoshelham and Elberink 2012, *Accuracy and Resolution of Kinect Depth Data for Indoor Mapping
Applications* (noise and quantisation grow with the square of the distance); Nguyen, Izadi and Lovell 2012,
*Modeling Kinect Sensor Noise for Improved 3D Reconstruction and Tracking* (lateral noise of 0.8 pixels,
nothing comes back beyond some angle of incidence).
"""

from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera

Depth = NDArray[np.float32]
Floats = NDArray[np.float64]
Colour = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Range = tuple[float, float]

EDGE = 0.04
"""Inverse depth bends by more than this fraction of itself at the edge of something."""

UNLIT_LOSS = 0.7
"""Fraction of what is too dark or glares that has no depth."""

FINEST_BLOB = 0.02
COARSEST_BLOB = 0.25
"""Size of the blobs that drop out, as fractions of the image width."""


@dataclass(frozen=True, kw_only=True)
class DepthSensor:
    """One depth camera in front of one scene; everything in the image is relative to its width.

    Args:
        baseline: from the measuring eye to the other one, positive to the right [m].
        border: columns at the side that the other eye does not see, fraction of the width.
        nearest: what is nearer has no depth [m].
        farthest: what is farther has no depth [m].
        grazing: surfaces seen at a greater angle of incidence have no depth [rad].
        axial_noise: standard deviation at 1 m; it grows with the square of the distance [1/m].
        disparity_step: of inverse depth, to which it is rounded [1/m].
        lateral_noise: standard deviation of where a pixel looks, fraction of the width.
        flying: fraction of the pixels at edges that lie between front and back.
        edge_loss: fraction of the pixels at edges without depth.
        speckle: fraction of all pixels without depth, one by one.
        patches: fraction of the image without depth, in blobs.
        dark: surfaces whose brightest colour is less (0..1) lose depth in blobs.
        glare: surfaces whose darkest colour is more (0..1) lose depth in blobs.
        clear_things: probability that a thing (an object or the robot) is glass or polished metal.
        clear_loss: fraction of such a thing without depth, in blobs.
    """

    baseline: float
    border: float
    nearest: float
    farthest: float
    grazing: float
    axial_noise: float
    disparity_step: float
    lateral_noise: float
    flying: float
    edge_loss: float
    speckle: float
    patches: float
    dark: float
    glare: float
    clear_things: float
    clear_loss: float

    def measure(
        self, depth: Depth, *, rgb: Colour, labels: Labels, camera: PinholeCamera, rng: np.random.Generator
    ) -> Depth:
        """The depth image of this sensor for a scene that is known exactly.

        Args:
            depth: along the optical axis [m], NaN where nothing is, shape [H, W].
            rgb: the colour image, shape [H, W, 3].
            labels: which thing each pixel shows, 0 for the surroundings, shape [H, W].
            camera: calibration.
            rng: of everything that is random.

        Returns:
            depth [m], NaN where the sensor has none, shape [H, W].

        Raises:
            InvalidImage: the arrays differ in size.
        """
        if not depth.shape == rgb.shape[:2] == labels.shape == (camera.height, camera.width):
            raise InvalidImage(
                f"depth {depth.shape}, rgb {rgb.shape}, labels {labels.shape} and camera "
                f"{(camera.height, camera.width)} must have one size"
            )
        inverse = np.where(np.isfinite(depth), 1.0 / np.maximum(depth.astype(np.float64), 1e-6), 0.0)
        edges = find_edges(inverse)
        lost = self._unseen(inverse, camera) | self._without_signal(inverse, rgb, labels, camera, rng)
        lost |= edges & (rng.random(depth.shape) < self.edge_loss)
        lost |= rng.random(depth.shape) < self.speckle
        measured = self._noisy(self._mixed(self._shaken(inverse, rng), edges, rng), rng)
        known = ~lost & (measured * self.farthest > 1.0) & (measured * self.nearest < 1.0)
        return np.where(known, 1.0 / np.maximum(measured, 1e-6), np.nan).astype(np.float32)

    def _unseen(self, inverse: Floats, camera: PinholeCamera) -> Mask:
        """What the other eye does not see: shadows beside near things, and one border."""
        disparity = self.baseline * camera.K[0, 0] * inverse
        columns = np.arange(camera.width)
        border = round(self.border * camera.width)
        if self.baseline >= 0:
            return _shadow(columns - disparity) | (columns < border)
        return _shadow(columns + disparity[:, ::-1])[:, ::-1] | (columns >= camera.width - border)

    def _without_signal(
        self, inverse: Floats, rgb: Colour, labels: Labels, camera: PinholeCamera, rng: np.random.Generator
    ) -> Mask:
        red, green, blue = np.moveaxis(rgb, -1, 0)
        dark = np.maximum(np.maximum(red, green), blue) < 255 * self.dark
        glaring = np.minimum(np.minimum(red, green), blue) > 255 * self.glare
        clear = rng.random(256) < self.clear_things
        clear[0] = False
        lost = _incidence(inverse, camera) > self.grazing
        lost |= _blobs(rng, inverse.shape, share=self.patches)
        lost |= (dark | glaring) & _blobs(rng, inverse.shape, share=UNLIT_LOSS)
        return lost | (clear[labels] & _blobs(rng, inverse.shape, share=self.clear_loss))

    def _shaken(self, inverse: Floats, rng: np.random.Generator) -> Floats:
        """Every pixel looks a little beside itself."""
        height, width = inverse.shape
        shift = np.rint(rng.normal(0.0, self.lateral_noise * width, (2, height, width))).astype(np.intp)
        rows = np.clip(np.arange(height)[:, None] + shift[0], 0, height - 1)
        return np.asarray(inverse[rows, np.clip(np.arange(width) + shift[1], 0, width - 1)])

    def _mixed(self, inverse: Floats, edges: Mask, rng: np.random.Generator) -> Floats:
        """Flying pixels: between the nearest and the farthest of their neighbours."""
        flying = edges & (rng.random(inverse.shape) < self.flying)
        near, far = _extremes(inverse)
        share = rng.random(inverse.shape)
        return np.where(flying & (far > 0), far + share * (near - far), inverse)

    def _noisy(self, inverse: Floats, rng: np.random.Generator) -> Floats:
        # dz = z^2 d(1/z): noise that grows with the square of the distance is constant in inverse depth.
        noisy = inverse + rng.normal(0.0, self.axial_noise, inverse.shape) * (inverse > 0)
        return np.rint(noisy / self.disparity_step) * self.disparity_step


@dataclass(frozen=True, kw_only=True)
class SensorRanges:
    """From which range each property of a `DepthSensor` is drawn, uniformly.

    The defaults span small stereo and structured-light cameras (baselines of 2 to 10 cm, focal lengths of
    about 600 pixels at a width of 640, disparities in steps of 1/32 to 1/8 pixel); `axial_noise` of 0.0015
    is 1.5 mm at 1 m and 13 mm at 3 m.
    """

    baseline: Range = (-0.10, 0.10)
    border: Range = (0.0, 0.10)
    nearest: Range = (0.03, 0.15)
    farthest: Range = (3.0, 10.0)
    grazing: Range = (1.3, 1.5)
    axial_noise: Range = (0.0002, 0.0025)
    disparity_step: Range = (0.0002, 0.003)
    lateral_noise: Range = (0.0, 0.002)
    flying: Range = (0.0, 0.4)
    edge_loss: Range = (0.0, 0.9)
    speckle: Range = (0.0, 0.05)
    patches: Range = (0.0, 0.10)
    dark: Range = (0.0, 0.25)
    glare: Range = (0.9, 1.1)
    clear_things: Range = (0.0, 0.3)
    clear_loss: Range = (0.2, 0.9)

    def draw(self, rng: np.random.Generator) -> DepthSensor:
        """A sensor from these ranges."""
        return DepthSensor(**{item.name: float(rng.uniform(*getattr(self, item.name))) for item in fields(self)})


def _shadow(seen_at: Floats) -> Mask:
    """Pixels that a pixel further right covers in the other eye, where both appear at ``seen_at`` [H, W]."""
    covered_up_to = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]
    shadow = np.zeros(seen_at.shape, np.bool_)
    shadow[:, :-1] = seen_at[:, :-1] > covered_up_to[:, 1:]
    return shadow


def _differences(values: Floats, axis: int) -> tuple[Floats, Floats]:
    """Central first and second differences along `axis`; zero at the ends."""
    padded = np.pad(values, [(1, 1) if i == axis else (0, 0) for i in range(2)], mode="reflect", reflect_type="odd")
    before, after = np.split(padded, [2], axis)[1], np.split(padded, [-2], axis)[0]
    return (before - after) / 2, before - 2 * values + after


def find_edges(inverse: Floats) -> Mask:
    """Pixels at the edge of something, where inverse depth [H, W] (0 where nothing is) bends."""
    bend = np.maximum(*(np.abs(_differences(inverse, axis)[1]) for axis in (0, 1)))
    return np.asarray(bend > EDGE * inverse)


def _incidence(inverse: Floats, camera: PinholeCamera) -> Floats:
    """Angle between line of sight and surface normal [rad]."""
    rays = camera.rays()
    down, right = (_differences(inverse, axis)[0] * camera.K[1 - axis, 1 - axis] for axis in (0, 1))
    # With n . X = 1 on the plane through a pixel, 1 / z = n . ray.
    forward = inverse - rays[..., 0] * right - rays[..., 1] * down
    normal = np.sqrt(right**2 + down**2 + forward**2)
    cosine = inverse / np.maximum(normal * np.linalg.norm(rays, axis=-1), 1e-9)
    return np.asarray(np.arccos(np.clip(cosine, 0.0, 1.0)))


def _extremes(values: Floats) -> tuple[Floats, Floats]:
    """Greatest and least of every 3 x 3 neighbourhood."""
    padded = np.pad(values, 1, mode="edge")
    rows = (padded[:-2], padded[1:-1], padded[2:])
    greatest, least = np.maximum.reduce(rows), np.minimum.reduce(rows)
    return (
        np.maximum.reduce((greatest[:, :-2], greatest[:, 1:-1], greatest[:, 2:])),
        np.minimum.reduce((least[:, :-2], least[:, 1:-1], least[:, 2:])),
    )


def _blobs(rng: np.random.Generator, shape: tuple[int, ...], *, share: float) -> Mask:
    """Random smooth blobs that cover about `share` of the image."""
    size = np.exp(rng.uniform(np.log(FINEST_BLOB), np.log(COARSEST_BLOB))) * shape[1]
    rows, columns = (_interpolation(rng, length, size) for length in shape)
    field = rows @ rng.normal(size=(rows.shape[1], columns.shape[1])) @ columns.T
    return np.asarray(field < NormalDist().inv_cdf(min(max(share, 1e-9), 1 - 1e-9)))


def _interpolation(rng: np.random.Generator, length: int, step: float) -> Floats:
    """Weights of interpolation from a grid of spacing `step` and random phase, shape [length, nodes].

    Squares of a row add up to one, so that normal noise on the grid gives normal noise in between.
    """
    position = np.arange(length) / step + rng.random()
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(int(position[-1]) + 2)))
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))
