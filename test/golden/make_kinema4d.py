"""Thins the full set of Kinema4D's vectors out to what the tests need: python make_kinema4d.py FULL_FOLDER

Whole files or tensors are left out, none is changed; MANIFEST.json lists what is left. ``fourd verify kinema4d`` reads
the full set as well as this one.
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent / "kinema4d"

LEFT_OUT = ("forward/*", "native/act*", "pipeline/decode_outputs*")
KEPT = {
    "aux/encode_latents_preproc.safetensors": (
        "in0",
        "bilinear0",
        "nearest0",
        "in3",
        "nearest3",
        "pad_5to9",
        "crop_7to4",
    ),
    "pipeline/act_outputs.safetensors": ("timesteps", "sigmas", "image_embeds", "final_latents"),
    "pipeline/pmcond_outputs.safetensors": ("timesteps", "sigmas"),
    "train/act.safetensors": ("loss", "timestep", "latent_condition", "randperm", "timesteps_idx", "noise"),
    "train/pmcond.safetensors": ("loss", "timestep", "randperm", "timesteps_idx"),
    "weights/merged_lora_targets.safetensors": ("blocks.0.attn1.to_q.weight", "blocks.1.attn2.to_out.0.weight"),
}
"""Tensors that stay, of files that are not kept whole."""


def main(full: Path) -> None:
    """Write the files."""
    manifest = json.loads((full / "MANIFEST.json").read_text())
    shutil.rmtree(HERE, ignore_errors=True)
    for name in list(manifest["files"]):
        if any(Path(name).match(pattern) for pattern in LEFT_OUT):
            del manifest["files"][name]
            continue
        target = HERE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in KEPT:
            shutil.copyfile(full / name, target)
            continue
        tensors = load_file(full / name)
        save_file({key: tensors[key] for key in KEPT[name]}, target)
        described = manifest["files"][name]["tensors"]
        manifest["files"][name]["tensors"] = {key: described[key] for key in KEPT[name]}
    (HERE / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
