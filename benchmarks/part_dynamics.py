"""From one picture with depth and a drag to the moved cloud of the shipped compact model, and where the time goes.

A generated cabinet of the split `test`, seen at 128 x 128. The clock is over what the node does with an observation:
finding the object, drawing the standard views, two passes of the network (without and with the drag), the joint, and
the cloud message. The anchor is the network alone, which no other way of asking it could be faster than; its two passes
take turns with the whole, so a busy machine slows both alike.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import measure_side_by_side, report

from fourd_ros.bridge.part_motion import moved_cloud
from fourd_ros.bridge.times import make_header
from fourd_ros.data.articulated_shards import ArticulatedShards
from fourd_ros.data.partdrag4d_cameras import normalise_poses
from fourd_ros.evaluation.part_dynamics import cases, views_of
from fourd_ros.model_io.folder import find_model
from fourd_ros.part_dynamics.model import PartDynamics
from fourd_ros.part_dynamics.object_scan import ScanOptions
from fourd_ros.part_dynamics.question import PartQuestion, QuestionOptions
from fourd_ros.simulation.articulated import articulated_seeds
from fourd_ros.simulation.articulated_dataset import record_articulated
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions

SIZE = 128
REACH = 4.0


def main() -> None:
    """Print the table."""
    if "OMP_WAIT_POLICY" not in os.environ:  # torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--model", default="part_dynamics_compact", help="folder, or name of a shipped model")
    args = parser.parse_args()
    model = PartDynamics.from_folder(find_model(args.model))
    with tempfile.TemporaryDirectory() as folder:
        options = ArticulatedOptions(size=SIZE, views=4, points=1024, depth=True)
        seeds = articulated_seeds("test", seed=0, objects=1)
        list(record_articulated(Path(folder), "test", seeds, options, layout="packed"))
        shards = ArticulatedShards(folder)
        case = next(cases(shards, pulls=1))
        views = views_of(shards.object(case.name), case.state, count=1, with_depth=True)
    asked = QuestionOptions(scan=ScanOptions(region=(*[-REACH] * 3, *[REACH] * 3), start_gap=REACH))

    def whole() -> None:
        question = PartQuestion(model, views, case.drag, options=asked)
        (motion,) = question.answer()
        rgb = (motion.after.rgb.clip(0, 1) * 255).astype(np.uint8)
        moved_cloud(
            make_header(0, "world"),
            motion.after.positions,
            rgb=rgb,
            displacement=motion.displacement,
            moving=motion.moving,
        )

    seen = PartQuestion(model, views, case.drag, options=asked)
    poses, (start, end) = normalise_poses(seen.views.raw), seen.pixels(1.0)

    def network() -> None:
        for there in (start, end):
            model.gaussians(seen.views.images, poses, start, there)

    def asking() -> None:
        PartQuestion(model, views, case.drag, options=asked)

    found = measure_side_by_side({"whole": whole, "network alone": network, "views": asking}, repeat=args.repeats)
    alone = found["network alone"]["p50"]
    rows = [{"what": name, "time_ms": times, "beside_network": times["p50"] / alone} for name, times in found.items()]
    report("part_dynamics", rows)


if __name__ == "__main__":
    main()
