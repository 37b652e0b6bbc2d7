"""Thins the full set of 4DLangVGGT's vectors out to what the tests need: python make_langvggt.py FULL_FOLDER

Whole files and whole tensors are left out, none is changed: the heads for points and tracks have the blocks of those
that are kept, and the language head has 1.8 MB. MANIFEST.json lists what is left. ``fourd verify langvggt`` reads the
full set as well as this one.
"""

import json
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent / "langvggt"

LEFT_OUT = (
    "aggregator_stream.safetensors",
    "api_inference.safetensors",
    "lang_head.safetensors",
    "state_dict_lang_head.safetensors",
    "track.safetensors",
    "train_step.safetensors",
    "unproject.safetensors",
)
TENSORS_LEFT_OUT = (
    "state_dict_streamvggt.safetensors/track_head.*",
    "state_dict_streamvggt.safetensors/point_head.*",
    "inputs.safetensors/images_b2",
    "aggregator_full.safetensors/layer[01]",
    "aggregator_full.safetensors/b2_last",
    "dpt.safetensors/world_points*",
    "dpt.safetensors/depth_refinenet[12]_frame0",
    "dpt.safetensors/depth_output_conv1_frame0",
)


def kept(file: str, tensor: str = "") -> bool:
    """Whether a file or a tensor stays."""
    name = f"{file}/{tensor}"
    return file not in LEFT_OUT and not any(fnmatch(name, pattern) for pattern in TENSORS_LEFT_OUT)


def main(full: Path) -> None:
    """Write the files."""
    manifest = json.loads((full / "MANIFEST.json").read_text())
    shutil.rmtree(HERE, ignore_errors=True)
    for path in sorted(path for path in full.rglob("*") if path.is_file()):
        name = str(path.relative_to(full))
        if not kept(name):
            continue
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            save_file({one: array for one, array in tensors.items() if kept(name, one)}, HERE / name)
        elif path.suffix == ".json":
            (HERE / name).write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
        else:
            shutil.copyfile(path, HERE / name)
    manifest["files"] = {name: text for name, text in manifest["files"].items() if kept(name)}
    manifest["tensors"] = [entry for entry in manifest["tensors"] if kept(entry["file"], entry["name"])]
    (HERE / "MANIFEST.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
