"""Videos to latents and back: Wan's variational autoencoder, normalised by channel."""

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from fourd_ros.errors import InvalidImage, InvalidModel
from fourd_ros.world_model.kinema4d.layout import LATENT_CHANNELS, Grid

POINT_LATENT_MEAN, POINT_LATENT_STD = -0.17, 1.36
"""Of normalised latents of pointmaps over the data of the original; the network sees them shifted and scaled by it."""


class LatentCodec:
    """Encodes and decodes videos of one or both modalities.

    Args:
        vae: Wan's autoencoder.

    Raises:
        InvalidModel: its latents are not those of Wan.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        channels = [len(vae.config.latents_mean), len(vae.config.latents_std), vae.config.z_dim]
        if channels != [LATENT_CHANNELS] * 3:
            raise InvalidModel(
                f"the autoencoder has {channels[2]} channels with {channels[0]} means and {channels[1]} deviations; "
                f"needed are {LATENT_CHANNELS} each"
            )
        self.vae = vae
        self._mean, self._inverse_std = (
            torch.tensor(values).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, [1.0 / std for std in vae.config.latents_std])
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.vae.device

    @torch.no_grad()
    def encode(self, video: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Latents of a video.

        Args:
            video: values -1..1, shape [B, 3, T, H, W], T = 4 k + 1, H and W divisible by 16.
            generator: draws a sample of the posterior; without one its mean is taken.

        Returns:
            Normalised by channel, float32, shape [B, 16, k + 1, H / 8, W / 8].

        Raises:
            InvalidImage: another number of frames or another size, or values that are not finite.
        """
        Grid.of_video(*video.shape[2:])
        if not torch.isfinite(video).all():
            raise InvalidImage("the video holds values that are not finite; fill unknown points before encoding")
        posterior = self.vae.encode(video.to(self.device, self.vae.dtype)).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        return (latents.float() - self._mean.to(self.device)) * self._inverse_std.to(self.device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The video of latents.

        Args:
            latents: normalised by channel, shape [B, 16, F, h, w].

        Returns:
            Values 0..1, float32, shape [B, 3, 4 F - 3, 8 h, 8 w].
        """
        own = latents.to(self.device) / self._inverse_std.to(self.device) + self._mean.to(self.device)
        return self.vae.decode(own.to(self.vae.dtype)).sample.float().clamp(-1, 1) / 2 + 0.5


def point_latents_to_network(latents: Tensor) -> Tensor:
    """Latents of pointmaps as the network sees them."""
    return (latents - POINT_LATENT_MEAN) / POINT_LATENT_STD


def point_latents_from_network(latents: Tensor) -> Tensor:
    """Latents of pointmaps as the autoencoder knows them."""
    return latents * POINT_LATENT_STD + POINT_LATENT_MEAN


def split_modalities(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Colour and geometry, both as the autoencoder knows them, of latents [B, 16, F, h, 2w] of the network."""
    colour, points = latents.chunk(2, dim=-1)
    return colour, point_latents_from_network(points)


def join_modalities(colour: Tensor, points: Tensor) -> Tensor:
    """What the network sees, [B, 16, F, h, 2w], of latents of colour and geometry [B, 16, F, h, w] each."""
    return torch.cat([colour, point_latents_to_network(points)], dim=-1)
