"""Encoded clips of a Robo4D folder as training samples of Kinema4D."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from fourd_ros.data.robo4d import Robo4DDataset
from fourd_ros.errors import InvalidDataset
from fourd_ros.training.task import Sample
from fourd_ros.world_model.kinema4d.conditions import robot_condition, robot_mask_latents
from fourd_ros.world_model.kinema4d.latents import join_modalities
from fourd_ros.world_model.kinema4d.layout import Grid, Variant
from fourd_ros.world_model.kinema4d.objective import draw, unsure_mask

_SEEDS = 2**63 - 1


class Kinema4DSamples:
    """Samples by index.

    Args:
        clips: the folder.
        names: of the clips that are used.
        grid: of their latents.
        variant: what of the robot is shown.

    Raises:
        InvalidDataset: no clip.
    """

    def __init__(self, clips: Robo4DDataset, names: Sequence[str], *, grid: Grid, variant: Variant) -> None:
        if not names:
            raise InvalidDataset(
                f"'{clips.files.root}' has no encoded clips; 'fourd data encode-latents' makes their latents"
            )
        self._clips, self._names, self._grid, self._variant = clips, tuple(names), grid, variant

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clips, by index."""
        return self._names

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Latents and conditions of a clip, with everything that is drawn for them."""
        name = self._names[index]
        stored = self._clips.latents(name)
        frames, rows, columns = stored.video.shape[1:]
        if (frames, rows, columns) != (self._grid.frames, self._grid.rows, self._grid.columns):
            raise InvalidDataset(
                f"clip '{name}' has {frames} x {rows} x {columns} latents, the network is for {self._grid}; encode it "
                "anew"
            )
        generator = torch.Generator().manual_seed(int(rng.integers(_SEEDS)))
        latents = join_modalities(stored.video[None].float(), stored.pointmap[None].float())
        mask = self._mask(name)
        drawn = draw(mask, latents, generator)
        robot = robot_condition(
            stored.robot_video[None],
            stored.robot_pointmap[None],
            unsure_mask(mask, drawn),
            variant=self._variant,
        )
        return {
            "latents": latents[0],
            "robot": robot[0],
            "image": stored.image_embedding.float(),
            "noise": drawn.noise[0],
            "index": drawn.index[0],
            "first_frame": self._first_frame(name),
            "encoding_seed": int(rng.integers(_SEEDS)),
        }

    def _mask(self, name: str) -> torch.Tensor:
        """The robot's cells, shape [1, 1, F, h, w]."""
        mask = self._clips.mask(name)[: self._grid.video_frames, ..., 0]
        if len(mask) < self._grid.video_frames:
            raise InvalidDataset(
                f"'{self._clips.files.mask(name)}' has {len(mask)} frames, needed are {self._grid.video_frames}"
            )
        return robot_mask_latents(
            torch.from_numpy(np.array(mask))[None], rows=self._grid.rows, columns=self._grid.columns
        )

    def _first_frame(self, name: str) -> np.ndarray:
        """Colour at the size of the network, shape [H, W, 3]; bilinear, as in the original's training."""
        image = self._clips.first_frame(name)
        size = (self._grid.width, self._grid.height)
        resized = image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return np.array(resized, np.uint8)
