"""``fourd data``: data sets of episodes, made, looked into, checked and converted; a module for each verb."""

import argparse
from types import ModuleType

from fourd_ros.commands import (
    data_articulated,
    data_compositional,
    data_encode_latents,
    data_from_bag,
    data_from_lerobot,
    data_info,
    data_objects_from_meshes,
    data_pack,
    data_partdrag4d,
    data_robot_masks,
    data_scene_features,
    data_scene_tokens,
    data_scenes,
    data_split,
    data_tabletop,
    data_to_lerobot,
    data_to_robo4d,
    data_validate,
    data_view,
)

# A verb's module has SUMMARY, EXAMPLES, add_arguments(parser) and run(args) -> exit status.
VERBS: dict[str, ModuleType] = {
    "info": data_info,
    "from-bag": data_from_bag,
    "to-lerobot": data_to_lerobot,
    "from-lerobot": data_from_lerobot,
    "view": data_view,
    "split": data_split,
    "validate": data_validate,
    "pack": data_pack,
    "tabletop": data_tabletop,
    "articulated": data_articulated,
    "partdrag4d": data_partdrag4d,
    "scenes": data_scenes,
    "scene-tokens": data_scene_tokens,
    "scene-features": data_scene_features,
    "objects-from-meshes": data_objects_from_meshes,
    "compositional": data_compositional,
    "to-robo4d": data_to_robo4d,
    "robot-masks": data_robot_masks,
    "encode-latents": data_encode_latents,
}

EXAMPLES = [module.EXAMPLES[0] for module in VERBS.values()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of ``fourd data``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
        verb.set_defaults(run_verb=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb."""
    return int(args.run_verb(args))
