"""How long the metrics take for one unit.

The clock starts before a call of the metric and stops after it, ours and theirs in turn; arrays and paths are made
before. Both give the same value to five digits, which is looked at once.

    python benchmarks/metrics.py
"""

import argparse
from collections.abc import Callable

import numpy as np
from evo.core import metrics as evo_metrics
from evo.core.trajectory import PosePath3D
from measure import measure_side_by_side, report
from scipy.spatial.distance import cdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fourd_ros.evaluation.image_metrics import psnr, ssim
from fourd_ros.evaluation.path_metrics import absolute_errors, root_mean_square
from fourd_ros.evaluation.point_metrics import chamfer
from fourd_ros.geometry.transforms import from_quaternion

Pair = tuple[Callable[[], float], Callable[[], float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--size", type=int, default=256, help="side of the images [px]")
    parser.add_argument("--points", type=int, default=3000, help="of a cloud")
    parser.add_argument("--poses", type=int, default=1000, help="of a path")
    chosen = parser.parse_args()
    generator = np.random.default_rng(0)
    pairs = {
        **image_metrics(generator, chosen.size),
        "Chamfer": cloud_metric(generator, chosen.points),
        "ATE": path_metric(generator, chosen.poses),
    }
    rows = [row(what, pair, chosen.repeat) for what, pair in pairs.items()]
    report("metrics", rows)


def row(what: str, pair: Pair, repeat: int) -> dict[str, object]:
    """Times [ms] of both sides, after a look whether they agree."""
    ours, theirs = pair
    if not np.isclose(ours(), theirs(), rtol=1e-5):
        raise SystemExit(f"{what}: {ours()} is not {theirs()}")
    times = measure_side_by_side({"ours": ours, "theirs": theirs}, repeat=repeat)
    return {"what": what, "ms": times, "ratio": times["theirs"]["p50"] / times["ours"]["p50"]}


def image_metrics(generator: np.random.Generator, size: int) -> dict[str, Pair]:
    """PSNR and SSIM of one pair of colour images."""
    truth = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
    image = (truth + generator.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "PSNR": (lambda: float(psnr(image, truth)), lambda: float(peak_signal_noise_ratio(truth, image))),
        "SSIM": (
            lambda: float(ssim(image, truth)),
            lambda: float(structural_similarity(truth, image, channel_axis=-1, **options)),
        ),
    }


def cloud_metric(generator: np.random.Generator, count: int) -> Pair:
    """Chamfer-L1 of one pair of clouds."""
    points, truth = generator.normal(size=(2, count, 3))

    def brute_force() -> float:
        every = cdist(points, truth)
        return float(every.min(axis=0).mean() + every.min(axis=1).mean()) / 2

    return lambda: float(chamfer(points, truth)), brute_force


def path_metric(generator: np.random.Generator, count: int) -> Pair:
    """ATE of one path after alignment with scale."""
    truth = from_quaternion(generator.normal(size=(count, 3)), generator.normal(size=(count, 4)))
    estimate = truth.copy()
    estimate[:, :3, 3] = 0.5 * truth[:, :3, 3] + generator.normal(0, 0.01, (count, 3))

    def evo_ate() -> float:
        true, moved = PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(estimate))
        moved.align(true, correct_scale=True)
        metric = evo_metrics.APE(evo_metrics.PoseRelation.translation_part)
        metric.process_data((true, moved))
        return float(metric.get_statistic(evo_metrics.StatisticsType.rmse))

    return lambda: float(root_mean_square(absolute_errors(estimate, truth, align="sim3").translation)), evo_ate


if __name__ == "__main__":
    main()
