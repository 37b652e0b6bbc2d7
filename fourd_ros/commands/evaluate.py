"""``fourd evaluate``: shipped and trained models on held-out data; a module for each system."""

import argparse
from types import ModuleType

from fourd_ros.commands import (
    evaluate_compositional,
    evaluate_depth,
    evaluate_depth_completion,
    evaluate_language_queries,
    evaluate_part_dynamics,
    evaluate_policies,
    evaluate_poses,
    evaluate_scene_language,
    evaluate_video_segmentation,
    evaluate_world_model,
)

# A system's module has SUMMARY, EXAMPLES, add_arguments(parser) and run(args) -> exit status.
SYSTEMS: dict[str, ModuleType] = {
    "compositional": evaluate_compositional,
    "depth": evaluate_depth,
    "depth_completion": evaluate_depth_completion,
    "language-queries": evaluate_language_queries,
    "part-dynamics": evaluate_part_dynamics,
    "policies": evaluate_policies,
    "poses": evaluate_poses,
    "scene-language": evaluate_scene_language,
    "video-segmentation": evaluate_video_segmentation,
    "world-model": evaluate_world_model,
}

EXAMPLES = [module.EXAMPLES[0] for module in SYSTEMS.values()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The systems that can be evaluated."""
    systems = parser.add_subparsers(dest="system", metavar="SYSTEM", required=True)
    for name, module in SYSTEMS.items():
        system = systems.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(system)
        system.set_defaults(run_system=module.run)


def run(args: argparse.Namespace) -> int:
    """Evaluate what was asked for."""
    return int(args.run_system(args))
