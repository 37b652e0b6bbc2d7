"""How alike two images are: PSNR and SSIM, one value for each pair of a batch.

Images have shape [*, H, W, C] with any leading dimensions and any number of channels (grey is C = 1). A pixel counts
where `mask` is True and no channel of either image is NaN.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.regions import counted
from fourd_ros.records import Mask

FloatArray = NDArray[np.float64]
Images = NDArray[np.uint8] | NDArray[np.floating[Any]]

WINDOW_SIGMA = 1.5
WINDOW_RADIUS = 5
LUMINANCE_CONSTANT = 0.01
CONTRAST_CONSTANT = 0.03

PSNR = Metric(
    name="psnr",
    title="PSNR",
    unit="dB",
    higher_is_better=True,
    source="10 log10(peak^2 / mean squared error), over all pixels and channels",
)
SSIM = Metric(
    name="ssim",
    title="SSIM",
    higher_is_better=True,
    source="Wang, Bovik, Sheikh and Simoncelli 2004, IEEE TIP 13(4); 11 x 11 Gaussian window, sigma 1.5, no "
    "downsampling, mean over channels",
)
IMAGE_METRICS = (PSNR, SSIM)


def psnr(image: Images, truth: Images, *, mask: Mask | None = None, data_range: float | None = None) -> FloatArray:
    """Peak signal-to-noise ratio [dB], shape [*].

    Equal images give infinity. Means over many pairs leave infinite values out and count them
    (`results.Aggregate.infinite`): the ratio of a mean with an equal pair in it would be infinite too.

    Args:
        image: shape [*, H, W, C].
        truth: same shape and kind.
        mask: pixels that count, shape [*, H, W] or what broadcasts to it.
        data_range: largest minus smallest possible value; None: 255 for uint8, 1 for floats.

    Returns:
        NaN where no pixel counts.

    Raises:
        InvalidImage: shapes or kinds differ, or the range is not positive.
    """
    peak = _check(image, truth, data_range)
    known = _known(image, truth, mask)
    difference: FloatArray | NDArray[np.float32] = np.subtract(image, truth, dtype=_working_type(image))
    difference[~known] = 0
    squares: FloatArray = np.square(difference, out=difference).sum(axis=(-3, -2, -1), dtype=np.float64)
    count = known.sum(axis=(-2, -1)) * image.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(peak**2 * count / squares))


def ssim(image: Images, truth: Images, *, mask: Mask | None = None, data_range: float | None = None) -> FloatArray:
    """Structural similarity, 1 for equal images, shape [*].

    The mean of the similarity over windows that lie wholly inside the image and hold only pixels that count; with
    biased covariances, as in the paper. Computed in float32, so it is good to five decimals.

    Args:
        image: shape [*, H, W, C].
        truth: same shape and kind.
        mask: pixels that count, shape [*, H, W] or what broadcasts to it.
        data_range: largest minus smallest possible value; None: 255 for uint8, 1 for floats.

    Returns:
        NaN where no window counts.

    Raises:
        InvalidImage: shapes or kinds differ, the range is not positive, or images are smaller than the window.
    """
    import cv2

    peak = _check(image, truth, data_range)
    size = 2 * WINDOW_RADIUS + 1
    if min(image.shape[-3:-1]) < size:
        raise InvalidImage(f"SSIM needs images of at least {size} x {size} pixels, got {_size(image)}")
    known = _known(image, truth, mask).reshape(-1, *image.shape[-3:-1])
    pairs = zip(*(array.reshape(-1, *image.shape[-3:]) for array in (image, truth)), known, strict=True)
    values = np.empty(len(known))
    inner = (slice(WINDOW_RADIUS, -WINDOW_RADIUS),) * 2
    for index, (one, other, pixels) in enumerate(pairs):
        complete = pixels.all()
        windows = pixels if complete else cv2.erode(pixels.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        x, y = (array.astype(np.float32) for array in (one, other))
        if not complete:
            x[~pixels], y[~pixels] = 0, 0
        similarity = _similarity(x, y, peak)
        chosen = similarity if complete else similarity[windows[inner]]
        values[index] = chosen.mean(dtype=np.float64) if chosen.size else np.nan
    return values.reshape(image.shape[:-3])


def _similarity(x: NDArray[np.float32], y: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Similarity of every whole window, shape [H - 10, W - 10, C].

    Only the sum of both variances is needed, so four filters do instead of five. Both images are moved by one value
    first, which changes no variance and keeps their squares small enough for float32.
    """
    import cv2

    window = _window()

    def blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = np.asarray(cv2.sepFilter2D(values, -1, window, window), dtype=np.float32).reshape(values.shape)
        return blurred[WINDOW_RADIUS:-WINDOW_RADIUS, WINDOW_RADIUS:-WINDOW_RADIUS]

    offset = float(y.mean())
    x, y = x - offset, y - offset
    mean_x, mean_y = blur(x), blur(y)
    covariance = blur(x * y) - mean_x * mean_y
    variances = blur(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    mean_x += offset
    mean_y += offset
    c1, c2 = np.float32((LUMINANCE_CONSTANT * peak) ** 2), np.float32((CONTRAST_CONSTANT * peak) ** 2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return np.asarray(luminance * ((2 * covariance + c2) / (variances + c2)))


@cache
def _window() -> FloatArray:
    offsets = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / WINDOW_SIGMA) ** 2)
    return np.asarray(weights / weights.sum())


def _check(image: Images, truth: Images, data_range: float | None) -> float:
    """The data range, after both images were found to be of one shape and kind."""
    if image.ndim < 3 or image.shape != truth.shape:
        raise InvalidImage(
            f"the images have shapes {list(image.shape)} and {list(truth.shape)}; needed is one shape [*, H, W, C], "
            "with C = 1 for grey"
        )
    if (image.dtype == np.uint8) != (truth.dtype == np.uint8) or not _is_supported(image.dtype, truth.dtype):
        raise InvalidImage(f"the images are {image.dtype} and {truth.dtype}; needed are both uint8 or both floats")
    if data_range is None:
        return 255.0 if image.dtype == np.uint8 else 1.0
    if not data_range > 0:
        raise InvalidImage(f"data range {data_range}; it must be positive")
    return data_range


def _is_supported(*types: np.dtype[Any]) -> bool:
    return all(kind == np.uint8 or np.issubdtype(kind, np.floating) for kind in types)


def _working_type(image: Images) -> type[np.float32] | type[np.float64]:
    """Differences of 8-bit values and their squares are exact in float32."""
    return np.float32 if image.dtype == np.uint8 else np.float64


def _known(image: Images, truth: Images, mask: Mask | None) -> Mask:
    """Pixels that count, shape [*, H, W]."""
    known = counted(mask, image.shape[:-1])
    if image.dtype == np.uint8:
        return known
    return np.asarray(known & np.isfinite(image).all(axis=-1) & np.isfinite(truth).all(axis=-1))


def _size(image: Images) -> str:
    return f"{image.shape[-3]} x {image.shape[-2]}"
