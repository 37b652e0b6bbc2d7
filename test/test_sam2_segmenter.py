"""SAM 2 with Grounding DINO: tiny networks without training, so only what is done with their answers is judged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fourd_ros.compositional.segmentation.sam2_segmenter import Sam2Segmenter
from fourd_ros.compositional.segmentation.segmenter import Footage
from fourd_ros.errors import InvalidModel, InvalidParameter

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "ball", "table", "?"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A SAM 2 of 64 pixels and a detector, as transformers writes them."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
    )

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 4],
        "window_positional_embedding_background_size": [4, 4],
        "global_attention_blocks": [3],
    }
    config = Sam2VideoConfig(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={"hidden_size": 128, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        image_size=64,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    Sam2VideoModel(config).save_pretrained(root / "sam2")
    (root / "words").mkdir()
    (root / "words" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    detector = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "image_size": 64,
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": len(WORDS),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        },
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=5,
        num_feature_levels=4,
    )
    GroundingDinoForObjectDetection(detector).save_pretrained(root / "detector")
    pictures = GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 128})
    GroundingDinoProcessor(pictures, BertTokenizer(str(root / "words" / "vocab.txt"))).save_pretrained(
        root / "detector"
    )
    return {"model": root / "sam2", "detector": root / "detector"}


def footage(frames: int = 4) -> Footage:
    rng = np.random.default_rng(0)
    return Footage(rgb=list(rng.integers(0, 255, (frames, 40, 56, 3)).astype(np.uint8)))


def test_networks_are_read_and_asked(folders: dict[str, Path]) -> None:
    segmenter = Sam2Segmenter(**folders, moving="A ball", every=2)
    shares: list[float] = []
    objects = segmenter.segment(footage(), progress=shares.append)
    assert shares == [0.5, 1.0]
    assert [one.number for one in objects] == list(range(1, len(objects) + 1))
    boxes, labels = segmenter._boxes(footage().rgb[0], "a ball.", 0.0)
    assert len(boxes) == len(labels) > 0
    masks = segmenter._masks_in(footage().rgb[0], [[5.0, 5.0, 30.0, 30.0], [10.0, 2.0, 50.0, 20.0]])
    assert [mask.shape for mask in masks] == [(40, 56)] * 2


def test_what_appears_later_is_followed_both_ways(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Sam2Segmenter(**folders, moving="a ball", static="a table", every=2)
    asked: list[tuple[int, bool]] = []
    clip = footage()
    propagate = segmenter._video.propagate_in_video_iterator

    def boxes(rgb: Any, text: str, threshold: float) -> Any:
        frame = next(number for number, one in enumerate(clip.rgb) if np.array_equal(one, rgb))
        if text == "a table.":
            assert threshold == 0.35
            return [[0.0, 20.0, 56.0, 40.0]], ["a table"]
        assert threshold == 0.5
        return ([[4.0, 2.0, 12.0, 10.0]], ["a ball"]) if frame == 2 else ([], [])

    def masks(rgb: Any, found: Any) -> Any:
        result = []
        for left, top, right, bottom in found:
            mask = np.zeros(rgb.shape[:2], bool)
            mask[int(top) : int(bottom), int(left) : int(right)] = True
            result.append(mask)
        return result

    def followed(session: Any, *, start_frame_idx: int, reverse: bool) -> Any:
        asked.append((start_frame_idx, reverse))
        for output in propagate(session, start_frame_idx=start_frame_idx, reverse=reverse):
            shown = torch.stack(
                [session.mask_inputs_per_obj[index][start_frame_idx][0] for index in range(len(session.obj_ids))]
            )
            output.pred_masks = shown - 0.5
            yield output

    monkeypatch.setattr(segmenter, "_boxes", boxes)
    monkeypatch.setattr(segmenter, "_masks_in", masks)
    monkeypatch.setattr(segmenter._video, "propagate_in_video_iterator", followed)
    table, ball = segmenter.segment(clip, progress=lambda share: None)
    assert asked == [(0, False), (2, False), (2, True)]
    assert (table.number, table.label, table.moves) == (1, "a table", False)
    assert (ball.number, ball.label, ball.moves) == (2, "a ball", True)
    expected = np.zeros((40, 56), bool)
    expected[2:10, 4:12] = True
    for frame in range(4):
        assert (ball.mask(frame) != expected).sum() < 30, frame
        assert table.mask(frame)[25:].all()


def test_folders_and_texts_are_needed(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="needed is a text"):
        Sam2Segmenter(**folders)
    with pytest.raises(InvalidModel, match=r"no config\.json"):
        Sam2Segmenter(model=tmp_path, detector=folders["detector"], moving="a ball")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidModel, match="Sam2VideoModel"):
        Sam2Segmenter(model=tmp_path, detector=folders["detector"], moving="a ball")
