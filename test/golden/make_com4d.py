"""Thins the full set of COM4D's vectors out to what the tests need: python make_com4d.py FULL_FOLDER

Whole tensors are left out, none is changed: most of the fields, most of what single blocks make, and of the second
pipeline the passes that are made as those of the first one. MANIFEST.json lists what is left. ``fourd verify com4d``
reads the full set as well as this one.
"""

import json
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent / "com4d"

TENSORS_LEFT_OUT = (
    "[ab]_*_train_style.safetensors/block[1-4]*",
    "c_matrix_cutoff.safetensors/block*",
    "c_matrix_mix.safetensors/block[34]*",
    "vae_encode.safetensors/enc_kv_in",
    "vae_decode.safetensors/query_embedding",
    "pipeline_full.safetensors/dyn_call[34]_enc*",
    "pipeline_*.safetensors/field[1-9]*",
    "pipeline_*.safetensors/field0_exact",
    "pipeline_scene_cutoff.safetensors/field*",
    "pipeline_scene_cutoff.safetensors/dyn_call*",
    "pipeline_scene_cutoff.safetensors/encode_call*[1-9]",
)


def kept(file: str, tensor: str) -> bool:
    """Whether a tensor stays."""
    return not any(fnmatch(f"{file}/{tensor}", pattern) for pattern in TENSORS_LEFT_OUT)


def main(full: Path) -> None:
    """Write the files."""
    manifest = json.loads((full / "MANIFEST.json").read_text())
    shutil.rmtree(HERE, ignore_errors=True)
    for path in sorted(path for path in full.rglob("*") if path.is_file()):
        name = str(path.relative_to(full))
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            save_file({one: array for one, array in tensors.items() if kept(name, one)}, HERE / name)
        elif path.suffix == ".json":
            (HERE / name).write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
    for file, entry in manifest["files"].items():
        tensors = entry.get("tensors", {})
        entry["tensors"] = {one: facts for one, facts in tensors.items() if kept(file, one)}
    (HERE / "MANIFEST.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
