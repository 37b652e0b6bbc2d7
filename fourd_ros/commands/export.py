"""``fourd export``: networks of a model folder in the formats of other runtimes."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import positive_int
from fourd_ros.errors import InvalidModel

if TYPE_CHECKING:
    import torch

    from fourd_ros.model_io.folder import ModelFolder
    from fourd_ros.model_io.onnx_export import OnnxExport

EXAMPLES = [
    "fourd export onnx depth_completion out/onnx",
    "fourd export onnx out/my_model out/onnx --int8 --json",
]

MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The formats of ``fourd export``."""
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    onnx = formats.add_parser("onnx", help="one .onnx file for each network, compared with torch")
    onnx.add_argument("model", help="model folder, or name of a shipped model")
    onnx.add_argument("out", type=Path, help="folder for NAME.onnx; existing files are replaced")
    onnx.add_argument("--component", help="only this one (default: all that tell how they are called)")
    onnx.add_argument("--int8", action="store_true", help="quantise the weights of matrix products to 8 bits")
    onnx.add_argument("--opset", type=positive_int, help="version of the ONNX operators")
    onnx.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    onnx.add_argument("--json", action="store_true", help="print one JSON object a network")


def run(args: argparse.Namespace) -> int:
    """Export; 0 when every file computes what torch computes."""
    from fourd_ros.model_io.folder import ModelFolder, find_model

    folder = ModelFolder(find_model(args.model))
    exports = [_export(name, network, args) for name, network in _networks(folder, args)]
    if not exports:
        names = [args.component] if args.component else list(folder.components)
        raise InvalidModel(f"no network of '{folder.path}' tells how it is called (onnx_signature): {names}")
    return 0


def _networks(folder: "ModelFolder", args: argparse.Namespace) -> Iterator[tuple[str, "torch.nn.Module"]]:
    """Networks that tell how they are called: parts that a model names, or else its components."""
    import torch

    from fourd_ros.model_io.components import find_component_class
    from fourd_ros.model_io.loading import load_component, load_model
    from fourd_ros.model_io.registry import MODELS, find_class

    allowed = args.allow_noncommercial
    if folder.model_class in MODELS and hasattr(find_class(MODELS, folder.model_class), "onnx_parts"):
        parts = load_model(folder.path, allow_noncommercial=allowed, dtype=torch.float32).onnx_parts()
        if args.component and args.component not in parts:
            raise InvalidModel(f"'{folder.path}' has no part '{args.component}'; it has {sorted(parts)}")
        yield from ((name, part) for name, part in parts.items() if args.component in (None, name))
        return
    for name in [args.component] if args.component else list(folder.components):
        folder.component(name)
        if hasattr(find_component_class(*folder.components[name]), "onnx_signature"):
            yield name, load_component(folder.path, name, allow_noncommercial=allowed, dtype=torch.float32)


def _export(name: str, network: "torch.nn.Module", args: argparse.Namespace) -> "OnnxExport":
    from fourd_ros.model_io.onnx_export import OPSET, export_onnx

    signature: Any = network.onnx_signature()  # type: ignore[operator]
    target = args.out / f"{name}.onnx"
    export = export_onnx(network, signature, target, opset=args.opset or OPSET, int8=args.int8)
    print(_as_json(export) if args.json else _in_words(export))
    return export


def _as_json(export: "OnnxExport") -> str:
    return json.dumps({**vars(export), "path": str(export.path), "deviations": dict(export.deviations)})


def _in_words(export: "OnnxExport") -> str:
    deviations = ", ".join(f"{name} {value:.1e}" for name, value in export.deviations.items())
    return f"{export.path}: {export.file_bytes / MEGABYTE:.2f} MB, largest deviation from torch: {deviations}"
