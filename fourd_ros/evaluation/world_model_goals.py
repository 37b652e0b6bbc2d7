"""What is asked of the compact world model on each test set."""

from fourd_ros.evaluation.goal import Goal
from fourd_ros.evaluation.tabletop_objects import COVERAGES, FALSE_MOTION, LEVELS, POSITION, WITHIN_25
from fourd_ros.evaluation.tabletop_pixels import PSNR_ALL, PSNR_MOVED, XYZ_MOVED, XYZ_SHARE, XYZ_STATIC
from fourd_ros.evaluation.world_model import CONTROL, RIGHT_PREFERRED

COVERED_80 = COVERAGES[LEVELS.index(0.8)]


def goals_of(split: str) -> tuple[Goal, ...]:
    """What is asked for on a split of the tabletop data; nothing where depth is noisy, which is reported only."""
    if split == "noisy_depth":
        return ()
    same = split in ("test", "validation")
    calibrated = (Goal(metric=COVERED_80, least=0.75, most=0.85),) if same else ()
    return (
        Goal(metric=XYZ_MOVED, most=0.020 if same else 0.035),
        Goal(metric=XYZ_SHARE, most=0.25),
        Goal(metric=POSITION, most=0.010),
        Goal(metric=WITHIN_25, least=0.80),
        Goal(metric=PSNR_MOVED, least=16.0),
        Goal(metric=PSNR_ALL, least=24.0),
        Goal(metric=XYZ_STATIC, control=CONTROL),
        Goal(metric=RIGHT_PREFERRED, least=0.95),
        Goal(metric=FALSE_MOTION, most=0.03),
        *calibrated,
    )
