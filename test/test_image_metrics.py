"""PSNR and SSIM against scikit-image, and what masks, NaN and equal images mean."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.image_metrics import psnr, ssim


def noisy_pair(seed: int, *, size: tuple[int, ...] = (48, 60, 3), noise: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image with texture, and the same with noise."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, size[-2])[:, None] + generator.uniform(0, 30, size)
    noisy = ramp + generator.normal(0, noise, size)
    return ramp.clip(0, 255).astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)


def reference_ssim(image: np.ndarray, truth: np.ndarray, data_range: float) -> float:
    return float(
        structural_similarity(
            image,
            truth,
            data_range=data_range,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_scikit_image(seed: int, channels: int) -> None:
    image, truth = noisy_pair(seed, size=(40, 57, channels), noise=5.0 + 20 * seed)
    assert float(psnr(image, truth)) == pytest.approx(peak_signal_noise_ratio(truth, image), rel=1e-12)
    assert float(ssim(image, truth)) == pytest.approx(reference_ssim(image, truth, 255), abs=1e-6)
    fraction, whole = image / 255, truth / 255
    assert float(psnr(fraction, whole)) == pytest.approx(peak_signal_noise_ratio(whole, fraction, data_range=1))
    assert float(ssim(fraction, whole)) == pytest.approx(reference_ssim(fraction, whole, 1.0), abs=1e-6)
    assert float(ssim(image * 1.0, truth * 1.0, data_range=255)) == pytest.approx(float(ssim(image, truth)), abs=1e-6)


def test_flat_bright_images_keep_their_precision() -> None:
    truth = np.full((32, 32, 3), 251, dtype=np.uint8)
    image = truth.copy()
    image[:, 16:] = 250
    assert float(ssim(image, truth)) == pytest.approx(reference_ssim(image, truth, 255), abs=1e-6)


def test_batches_hold_the_values_of_their_pairs() -> None:
    images, truths = (np.stack(pair).reshape(2, 3, 48, 60, 3) for pair in zip(*map(noisy_pair, range(6)), strict=True))
    for metric in (psnr, ssim):
        values = metric(images, truths)
        assert values.shape == (2, 3)
        assert values[1, 2] == metric(images[1, 2], truths[1, 2])


def test_equal_images_have_infinite_psnr_and_ssim_one() -> None:
    image, _ = noisy_pair(0)
    assert np.isposinf(psnr(image, image))
    assert float(ssim(image, image)) == pytest.approx(1.0, abs=1e-6)


def test_masks_choose_pixels_and_whole_windows() -> None:
    image, truth = noisy_pair(1)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[10:40, 5:45] = True
    spoiled = image.copy()
    spoiled[~mask] = 0
    assert float(psnr(spoiled, truth, mask=mask)) == pytest.approx(
        peak_signal_noise_ratio(truth[10:40, 5:45], image[10:40, 5:45])
    )
    inside = reference_ssim(image[10:40, 5:45], truth[10:40, 5:45], 255)
    assert float(ssim(spoiled, truth, mask=mask)) == pytest.approx(inside, abs=1e-6)


def test_nan_is_a_pixel_that_does_not_count() -> None:
    image, truth = (array / 255 for array in noisy_pair(2))
    mask = np.ones(image.shape[:2], dtype=bool)
    mask[:12] = False
    holes = image.copy()
    holes[:12, :, 1] = np.nan
    for metric in (psnr, ssim):
        assert metric(holes, truth) == metric(image, truth, mask=mask)
        assert np.isnan(metric(np.full_like(image, np.nan), truth))
    assert np.isnan(ssim(image, truth, mask=np.eye(*mask.shape, dtype=bool)))


def test_psnr_of_a_known_difference() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    assert float(psnr(image, image + 10)) == pytest.approx(20 * np.log10(255 / 10))
    assert float(psnr(image + 10, image)) == pytest.approx(20 * np.log10(255 / 10))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pairs_that_do_not_fit_are_refused(metric: object) -> None:
    assert callable(metric)
    image, truth = noisy_pair(0)
    with pytest.raises(InvalidImage, match=r"one shape \[\*, H, W, C\]"):
        metric(image, truth[1:])
    with pytest.raises(InvalidImage, match=r"one shape \[\*, H, W, C\]"):
        metric(image[..., 0], truth[..., 0])
    with pytest.raises(InvalidImage, match="both uint8 or both floats"):
        metric(image, truth / 255)
    with pytest.raises(InvalidImage, match="must be positive"):
        metric(image, truth, data_range=0)
    with pytest.raises(InvalidImage, match=r"the mask has shape \[3, 3\]"):
        metric(image, truth, mask=np.ones((3, 3), dtype=bool))


def test_images_smaller_than_the_window_are_refused() -> None:
    image = np.zeros((10, 20, 3), dtype=np.uint8)
    with pytest.raises(InvalidImage, match="at least 11 x 11 pixels, got 10 x 20"):
        ssim(image, image)
