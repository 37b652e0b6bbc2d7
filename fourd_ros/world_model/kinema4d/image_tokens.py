"""Tokens of the first frame: the last layer but one of a CLIP vision network."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel
from transformers.image_processing_utils import BaseImageProcessor


class ImageEncoder:
    """Makes tokens of images.

    Args:
        network: the vision tower.
        processor: resizes, crops and normalises as the network was trained.
    """

    def __init__(self, network: CLIPVisionModel, processor: BaseImageProcessor) -> None:
        self.network, self.processor = network, processor

    @torch.no_grad()
    def tokens(self, images: NDArray[np.uint8]) -> Tensor:
        """Tokens of images.

        Args:
            images: colour, shape [B, H, W, 3].

        Returns:
            Shape [B, n, width], in the type of the network, on its device.
        """
        pixels = self.processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")[
            "pixel_values"
        ]
        seen = self.network(pixels.to(self.network.device, self.network.dtype), output_hidden_states=True)
        tokens: Tensor = seen.hidden_states[-2]
        return tokens
