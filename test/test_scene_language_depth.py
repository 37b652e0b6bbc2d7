"""Depth of a stream for the reconstruction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from language_rig import HEIGHT, SEEN, WIDTH, picture, small_model
from scene_rig import SIZES

from fourd_ros.errors import InvalidImage, InvalidModel, InvalidParameter
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.depth_source import DEPTH_SOURCES, depth_of_clip, find_depth_source
from fourd_ros.scene_language import stream_depth
from fourd_ros.scene_language.frames import prepare_frames
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.stream_depth import StreamDepth


def test_depth_is_that_of_the_stream_in_pixels_of_the_camera() -> None:
    model = small_model()
    source, stream = StreamDepth(model, metres=2.5), model.stream()
    for number in range(3):
        said = source.depth(picture(number))
        seen = stream.step(torch.from_numpy(prepare_frames([picture(number)], side=SEEN[1]).pixels)).depth
        assert seen is not None and said.shape == (HEIGHT, WIDTH) and said.dtype == np.float32
        assert said[0, 0] == pytest.approx(2.5 * float(seen[0, 0, 0]))
        assert said[HEIGHT // 2, WIDTH // 2] == pytest.approx(2.5 * float(seen[0, SEEN[0] // 2, SEEN[1] // 2]), rel=0.1)


def test_what_the_network_does_not_see_of_high_images_is_unknown() -> None:
    said = StreamDepth(small_model()).depth(picture(0, width=60, height=120))
    assert np.isnan(said[0]).all() and np.isnan(said[-1]).all() and np.isfinite(said[60]).all()


def test_another_size_begins_anew() -> None:
    source = StreamDepth(small_model())
    first = source.depth(picture(0))
    source.depth(picture(1))
    assert not np.array_equal(source.depth(picture(0)), first)
    source.depth(picture(0, width=90))
    np.testing.assert_array_equal(source.depth(picture(0)), first)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="positive"):
        StreamDepth(small_model(), metres=0.0)
    with pytest.raises(InvalidModel, match="depth head"):
        StreamDepth(SceneLanguage(GeometryNetwork(SIZES.from_config(SIZES.config | {"heads": ["camera"]}))))
    with pytest.raises(InvalidImage):
        StreamDepth(small_model()).depth(picture(0).astype(np.float32))


def test_the_reconstruction_finds_it_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stream_depth, "load_model", lambda path: small_model())
    monkeypatch.setattr(stream_depth, "find_model", lambda name: tmp_path)
    assert "scene_language" in DEPTH_SOURCES
    clip = Clip(name="clip", rgb=np.stack([picture(k) for k in range(3)]), stamps_ns=np.arange(3))
    depth = depth_of_clip(clip, find_depth_source("scene_language"))
    assert depth.shape == (3, HEIGHT, WIDTH) and (depth > 0).all()
