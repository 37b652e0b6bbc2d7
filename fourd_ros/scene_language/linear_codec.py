"""A codec of few texts that needs no training: the numbers a code has are directions in which the texts differ most."""

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.sizes import CodecSizes


def linear_codec(embeddings: NDArray[np.floating], *, numbers: int) -> FeatureCodec:
    """The linear autoencoder that loses least of unit embeddings (Eckart and Young), in the layout of `FeatureCodec`.

    Means of few word vectors span few directions, so that little is lost where there are as many numbers as words.

    Args:
        embeddings: of the texts that features shall tell apart, shape [n, C]; twice the same counts twice.
        numbers: of a code, at most C.

    Raises:
        InvalidInput: no texts, or more numbers than an embedding has.
    """
    count, channels = embeddings.shape
    if not count or not 1 <= numbers <= channels:
        raise InvalidInput(f"codes of {numbers} numbers for {count} texts of {channels}; needed are 1 to {channels}")
    _, _, directions = np.linalg.svd(embeddings.T.astype(np.float64) @ embeddings.astype(np.float64))
    chosen = torch.from_numpy(directions[:numbers]).float()
    codec = FeatureCodec(CodecSizes(encoder=(channels, numbers), decoder=(numbers, channels)))
    with torch.no_grad():
        for half, weight in ((codec.encoder, chosen), (codec.decoder, chosen.T)):
            layer = half[0]
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.copy_(weight)
            layer.bias.zero_()
    return codec.eval().requires_grad_(False)
