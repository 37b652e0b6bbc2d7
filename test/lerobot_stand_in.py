"""The few names of lerobot 0.4 that its adapter calls, around a policy that tells what it was shown."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class PreTrainedConfig:
    """Of a policy."""

    @staticmethod
    def from_pretrained(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(**json.loads((folder / "config.json").read_text()))


class TellingPolicy:
    """Its first action is the mean of the red channel plus the number of the call, its second one the second joint."""

    @classmethod
    def from_pretrained(cls, folder: Path, *, config: SimpleNamespace) -> "TellingPolicy":
        return cls()

    def reset(self) -> None:
        self.calls = 0

    def select_action(self, batch: dict[str, Any]) -> Any:
        import torch

        assert batch["task"] == "push the cube"
        image, state = batch["observation.images.front"], batch["observation.state"]
        assert image.shape == (1, 3, 48, 64) and image.dtype == torch.float32 and state.shape == (1, 2)
        first = image[:, 0].mean(dim=(1, 2)) + self.calls
        self.calls += 1
        return torch.stack([first, state[:, 1]], dim=1)


def get_policy_class(kind: str) -> type[TellingPolicy]:
    return {"act": TellingPolicy}[kind]


def make_pre_post_processors(config: Any, *, pretrained_path: str, preprocessor_overrides: Any) -> tuple[Any, Any]:
    return (lambda batch: batch), (lambda action: action)
