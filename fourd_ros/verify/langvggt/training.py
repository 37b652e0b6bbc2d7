"""The loss of the language head, its gradients, and one step of its training."""

import re
from typing import Any

import torch
from torch import Tensor

from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.language_objective import LanguageObjective, learning_rate, official_optimiser
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import SYSTEM, compare_all, facts, image, language, torch_of, whole_clip
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

RATE, LARGEST_NORM = 4e-5, 1.0
_CLOSE = Tolerance(atol=2e-6)
_RATES = Tolerance(atol=1e-12)
_FLAGS = re.compile(r"cos=(\d),joint_train=(\d)")
_SCHEDULE = re.compile(r"lr=([\d.e-]+),min_lr=([\d.e-]+),warmup=(\d+),epochs=(\d+)")


@check(SYSTEM, "loss.safetensors")
def loss(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With and without its terms; gradients with all of them; and the rates of the schedule."""
    given = {name: torch_of(vectors[name]) for name in ("lang_feat", "pred_image", "clip_feats", "seg_maps", "images")}
    for name in ("lang_feat", "pred_image"):
        given[name].requires_grad_()
    objective = LanguageObjective(official_compat=True)
    value = _loss(objective, given)
    value.backward()  # type: ignore[no-untyped-call]
    computed: dict[str, Any] = {
        **given,
        "loss_cos_joint": value,
        "grad_lang_feat": given["lang_feat"].grad,
        "grad_pred_image": given["pred_image"].grad,
    }
    compare_all(vectors, compare, computed)
    for flags, wanted in facts(folder).get("loss_values", {}).items():
        match = _FLAGS.fullmatch(flags)
        assert match is not None
        angle = objective.angle if match[1] == "1" else 0.0
        part = LanguageObjective(angle=angle, colours=match[2] == "1", official_compat=True)
        compare(f"loss with {flags}", [_loss(part, given).item()], expected=[wanted], tolerance=_CLOSE)
    for name, rates in facts(folder).items():
        if name.startswith("lr_schedule_values"):
            _compare_rates(name, rates, compare)


@check(SYSTEM, "train_step.safetensors")
def train_step(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """One step with AdamW, in double precision: at the noise of single precision rectifiers change their mind."""
    head = language(folder).double().train()
    frames = len(vectors["clip_feats"])
    made = head(_doubled(whole_clip(folder).frames(slice(0, frames))))
    given = {
        "lang_feat": made.features,
        "pred_image": made.colours,
        "clip_feats": torch_of(vectors["clip_feats"]).double(),
        "seg_maps": torch_of(vectors["seg_maps"]),
        "images": image(folder)[:, :frames].double(),
    }
    value = _loss(LanguageObjective(official_compat=True), given)
    value.backward()  # type: ignore[no-untyped-call]
    parameters = dict(head.named_parameters())
    computed: dict[str, Any] = {
        **{name: vectors[name] for name in ("clip_feats", "seg_maps")},
        **{f"grad.{name}": one.grad.clone() for name, one in parameters.items() if one.grad is not None},
        "lang_feat_train": made.features[:, :1],
        "loss": value,
        "grad_norm_before_clip": torch.nn.utils.clip_grad_norm_(head.parameters(), LARGEST_NORM),
    }
    official_optimiser(head.parameters(), rate=RATE).step()
    computed |= {f"after.{name}": tensor for name, tensor in head.state_dict().items()}
    compare_all(vectors, compare, computed)


def _loss(objective: LanguageObjective, given: dict[str, Tensor]) -> Tensor:
    return objective(
        given["lang_feat"],
        given["pred_image"],
        target=given["clip_feats"],
        mask=given["seg_maps"],
        images=given["images"],
    )


def _compare_rates(name: str, rates: dict[str, dict[str, float]], compare: Comparison) -> None:
    match = _SCHEDULE.search(name)
    assert match is not None
    peak, least, warm_up, epochs = (float(number) for number in match.groups())
    for kind, values in rates.items():
        ours = [
            learning_rate(
                int(epoch),
                peak=peak,
                warm_up=int(warm_up),
                epochs=int(epochs),
                least=least if kind == "cosine" else None,
            )
            for epoch in values
        ]
        compare(f"rates, {kind}", ours, expected=list(values.values()), tolerance=_RATES)


def _doubled(tokens: FrameTokens) -> FrameTokens:
    return FrameTokens(
        layers={layer: one.double() for layer, one in tokens.layers.items()},
        camera=tokens.camera.double(),
        special=tokens.special,
        image_size=tokens.image_size,
    )
