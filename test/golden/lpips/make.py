"""Makes pairs.safetensors: image pairs from seeds and what the original package says about them.

Run where stlpips-pytorch can be imported (its torchvision, IPython and torchsummary are not needed):
    pip install --no-deps stlpips-pytorch && python make.py pairs.safetensors
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter, zoom

Image = np.ndarray


def original() -> torch.nn.Module:
    """The network of the package, with stand-ins for what it imports and does not use."""
    for name in ("torchvision", "torchvision.models", "IPython", "torchsummary"):
        module = types.ModuleType(name)
        module.embed = module.summary = module.models = None
        sys.modules[name] = module
    from stlpips_pytorch import stlpips

    return stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)


def image(seed: int, height: int, width: int) -> Image:
    """Coloured blobs, edges and a little texture."""
    rng = np.random.default_rng(seed)
    blobs = zoom(rng.uniform(0, 255, (6, 8, 3)), (height / 6, width / 8, 1), order=1)
    blobs[height // 4 : height // 2, width // 3 : 2 * width // 3] = rng.uniform(0, 255, 3)
    return np.clip(blobs + rng.normal(0, 6, blobs.shape), 0, 255).astype(np.uint8)


def pairs() -> dict[str, tuple[Image, Image]]:
    """What is compared, by name."""
    rng = np.random.default_rng(100)
    small, large, wide = image(0, 64, 64), image(1, 128, 128), image(2, 72, 101)
    blurred = gaussian_filter(wide.astype(float), (2, 2, 0)).astype(np.uint8)
    noisy = np.clip(small + rng.normal(0, 25, small.shape), 0, 255).astype(np.uint8)
    return {
        "identical": (small, small),
        "noise": (small, noisy),
        "other": (small, image(3, 64, 64)),
        "shift": (large[:, 1:], large[:, :-1]),
        "darker": (large, (large * 0.6).astype(np.uint8)),
        "blur": (wide, blurred),
    }


def tensor(picture: Image) -> torch.Tensor:
    """As the package wants it: [1, 3, H, W] in -1 to 1."""
    return torch.from_numpy(picture / np.float32(127.5) - 1).permute(2, 0, 1)[None]


def main(path: Path) -> None:
    network = original()
    found = {}
    for name, (a, b) in pairs().items():
        with torch.inference_mode():
            distance = network(tensor(a), tensor(b)).reshape(())
        found |= {f"{name}.a": a, f"{name}.b": b, f"{name}.distance": distance.numpy()}
        print(f"{name}: {float(distance):.6f}")
    save_file({key: np.ascontiguousarray(value) for key, value in found.items()}, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
