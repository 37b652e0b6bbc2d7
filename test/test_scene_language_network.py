"""The networks of scene language: against the vectors of the original, and where no vector reaches."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scene_rig import HEIGHT, LANGUAGE, LAYERS, SIZES, TOKENS, WIDTH, clips, small_geometry, small_language
from torch.nn.functional import relu, scaled_dot_product_attention

from fourd_ros.errors import InvalidImage, InvalidModel
from fourd_ros.geometry.transforms import from_rpy
from fourd_ros.scene_language.attention import EarlierFrames
from fourd_ros.scene_language.dense_head import ConvolutionUnit, depth_and_confidence, points_and_confidence
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import GRANULARITIES, LanguageHead
from fourd_ros.scene_language.lifting import lift, shown_from, sure_pixels
from fourd_ros.scene_language.pose_encoding import decode_intrinsics, decode_poses, encode_poses
from fourd_ros.scene_language.rotary import Rotation, patch_positions
from fourd_ros.scene_language.sizes import CodecSizes, GeometrySizes, LanguageSizes
from fourd_ros.verify.runner import Row, verify

GOLDEN = Path(__file__).parent / "golden" / "langvggt"


@pytest.fixture(scope="module")
def geometry() -> GeometryNetwork:
    return small_geometry()


@pytest.fixture(scope="module")
def language() -> LanguageHead:
    return small_language()


def test_every_kept_vector_of_the_original_is_met() -> None:
    rows = verify("langvggt", GOLDEN)
    assert {row.file: row.problem or row.worst for row in rows if not row.ok} == {}
    assert sum(len(row.verdicts) for row in rows) > 500


def test_the_kept_vectors_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 5_000_000


def test_a_changed_an_unknown_and_a_missing_tensor_are_found(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN, tmp_path / "vectors")
    poses = load_file(GOLDEN / "camera.safetensors")
    poses["pose_enc_full"][0, 1, 7] += 1e-3
    save_file(poses, folder / "camera.safetensors")
    save_file(load_file(GOLDEN / "loss.safetensors") | {"more": np.zeros(1)}, folder / "loss.safetensors")
    heads = load_file(GOLDEN / "dpt.safetensors")
    del heads["depth"]
    save_file(heads, folder / "dpt.safetensors")
    (folder / "annotations" / "video_annotations.json").unlink()
    rows = {row.file: row for row in verify("langvggt", folder)}
    worst = rows["camera.safetensors"].worst
    assert worst is not None and (worst.tensor, worst.ok) == ("pose_enc_full", False)
    assert "'more'" in rows["loss.safetensors"].problem
    assert "depth" in rows["dpt.safetensors"].problem
    assert not rows["annotations/train/_annotations.coco.json"].ok


def test_another_configuration_is_read(geometry: GeometryNetwork, tmp_path: Path) -> None:
    """Other depth, heads, registers, levels and window; what is compared is our own, so sizes alone are tested."""
    rows = _verified_copy(geometry, tmp_path)
    assert {file: row.problem or row.worst for file, row in rows.items() if not row.ok} == {}
    assert {len(rows["aggregator_full.safetensors"].verdicts), len(rows["track.safetensors"].verdicts)} == {3, 4}


def _verified_copy(network: GeometryNetwork, folder: Path) -> dict[str, Row]:
    sizes, images = network.sizes, clips(1, 3)
    config = {
        "img_size": sizes.img_size,
        "patch_size": sizes.patch_size,
        "embed_dim": sizes.embed_dim,
        "depth": sizes.depth,
        "num_heads": sizes.num_heads,
        "mlp_ratio": sizes.mlp_ratio,
        "num_register_tokens": sizes.register_tokens,
        "rope_freq": sizes.rope_frequency,
        "vit_depth": sizes.vit_depth,
        "vit_num_heads": sizes.vit_heads,
        "camera_trunk_depth": sizes.camera_depth,
        "camera_num_heads": sizes.camera_heads,
        "dpt_features": sizes.dpt_features,
        "dpt_out_channels": list(sizes.dpt_channels),
        "layer_idx": list(sizes.dpt_layers),
        "track": {
            "features": 8,
            "iters": 4,
            "stride": 2,
            "corr_levels": 2,
            "corr_radius": 1,
            "hidden_size": 16,
            "num_heads": 2,
        },
    }
    (folder / "config.json").write_text(json.dumps({"geometry": config, "max_num": 1}))
    queries = torch.tensor([[[3.0, 4.0], [50.0, 30.5]]])
    with torch.no_grad():
        tokens = network(images)
        assert network.track_head is not None
        tracks = network.track_head(tokens, queries)
    files = {
        "state_dict_streamvggt": dict(network.state_dict()),
        "inputs": {"images": images},
        "aggregator_full": {f"layer{number}": tokens.layers[number] for number in range(sizes.depth)},
        "track": {
            "query_points": queries,
            "tracks_iters": tracks.places,
            "vis": tracks.visible,
            "conf": tracks.confidence,
        },
    }
    for name, tensors in files.items():
        arrays = {key: np.ascontiguousarray(tensor.numpy()) for key, tensor in tensors.items()}
        save_file(arrays, folder / f"{name}.safetensors")
    stated = {
        "default_tolerance": {"atol": 1e-5, "rtol": 1e-5},
        "files": {f"{name}.safetensors": "" for name in files} | {"config.json": ""},
    }
    (folder / "MANIFEST.json").write_text(json.dumps(stated))
    return {row.file: row for row in verify("langvggt", folder)}


def test_only_layers_that_a_head_reads_are_kept(geometry: GeometryNetwork) -> None:
    with torch.no_grad():
        tokens = geometry(clips(2, 2))
    assert tokens.layers.keys() == set(LAYERS)
    assert tokens.layers[2].shape == (2, 2, TOKENS, 32) and tokens.camera.shape == (2, 2, 32)
    assert torch.equal(tokens.camera, tokens.layers[2][:, :, 0])


def test_no_frame_looks_at_later_ones_and_clips_do_not_mix(geometry: GeometryNetwork) -> None:
    images = clips(2, 3)
    changed = images.clone()
    changed[0, 2] = 1 - changed[0, 2]
    with torch.no_grad():
        one, other = (geometry(each).layers[2] for each in (images, changed))
    torch.testing.assert_close(one[:, :2], other[:, :2], rtol=0, atol=1e-6)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-6)
    assert (one[0, 2] - other[0, 2]).abs().max() > 0.1


def test_frame_by_frame_attention_is_that_of_a_mask() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 2, 12, 8)
    frame = torch.arange(12) // 4
    masked = scaled_dot_product_attention(queries, keys, values, attn_mask=frame[:, None] >= frame)
    torch.testing.assert_close(EarlierFrames(4)(queries, keys, values), masked)


def test_turned_keys_know_distances_only() -> None:
    rotation = Rotation.of(patch_positions(4, 5, special=1, device=torch.device("cpu")), channels=8, frequency=100.0)
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    turned = [rotation.turn(each.expand(1, 1, 21, 8))[0, 0] for each in (query, key)]
    torch.testing.assert_close(turned[0][0], query)
    products = turned[0] @ turned[1].T
    place = [1 + 5 * row + column for row, column in ((0, 0), (1, 2), (2, 1), (3, 3))]
    assert products[place[0], place[1]] == pytest.approx(float(products[place[2], place[3]]), abs=1e-5)
    assert products[place[0], place[1]] != pytest.approx(float(products[place[0], place[2]]), abs=1e-3)


def test_the_shortcut_of_a_convolution_unit_is_cut_off_below_zero() -> None:
    unit, maps = ConvolutionUnit(3), torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        torch.nn.init.zeros_(unit.conv2.weight)
        torch.nn.init.zeros_(unit.conv2.bias)
        assert torch.equal(unit(maps), relu(maps))


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (56, 56), (45, 60)])
def test_maps_have_the_size_of_whole_patches(
    geometry: GeometryNetwork, language: LanguageHead, height: int, width: int
) -> None:
    """Square images as many patches as there are positions, and a rim that is no whole patch."""
    size = height // 14 * 14, width // 14 * 14
    with torch.no_grad():
        tokens = geometry(clips(1, 2, height=height, width=width))
        maps = language(tokens)
        assert geometry.depth_head is not None and geometry.point_head is not None
        depth, confidence = depth_and_confidence(geometry.depth_head(tokens))
        points, _ = points_and_confidence(geometry.point_head(tokens))
    assert depth.shape == (1, 2, *size, 1) and points.shape == (1, 2, *size, 3)
    assert (depth > 0).all() and (confidence >= 1).all()
    assert maps.features.shape == (1, 2, 3, 3, *size) and maps.colours.shape == (1, 2, 3, *size)
    assert ((maps.colours > 0) & (maps.colours < 1)).all()


def test_every_granularity_has_a_decoder_of_its_own(geometry: GeometryNetwork, language: LanguageHead) -> None:
    with torch.no_grad():
        tokens = geometry(clips(1, 1))
        before = language(tokens)
        for number, name in enumerate(GRANULARITIES):
            bias = language.get_parameter(f"lang_decoder_{name}.final_conv.bias")
            bias += 1
            changed = (language(tokens).features - before.features).mean(dim=(0, 1, 3, 4, 5))
            bias -= 1
            np.testing.assert_allclose(changed, np.eye(3)[number], atol=1e-5)


def test_maps_of_another_size_are_interpolated(geometry: GeometryNetwork, language: LanguageHead) -> None:
    with torch.no_grad():
        tokens = geometry(clips(2, 1))
        plain, resized = language(tokens), language(tokens, size=(2 * HEIGHT, 2 * WIDTH))
    assert resized.features.shape == (2, 1, 3, 3, 2 * HEIGHT, 2 * WIDTH)
    wanted = torch.nn.functional.interpolate(plain.colours[:, 0], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(resized.colours[:, 0], wanted)


def test_half_precision_is_near(geometry: GeometryNetwork) -> None:
    images = clips(1, 2)
    with torch.no_grad():
        exact = geometry(images).layers[2]
        with torch.autocast("cpu", torch.bfloat16):
            near = geometry(images).layers[2]
    assert (near.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_images_that_cannot_be_seen_are_named(geometry: GeometryNetwork) -> None:
    for shape in ((1, 2, 1, 42, 56), (1, 2, 3, 13, 56), (2, 3, 42, 56)):
        with pytest.raises(InvalidImage, match="needed are"):
            geometry(torch.zeros(shape))


def test_no_field_of_view_is_negative_and_none_gives_no_focal_length(geometry: GeometryNetwork) -> None:
    head = small_geometry().camera_head
    assert head is not None
    with torch.no_grad():
        head.pose_branch.fc2.bias[7:] = -100
        made = head(torch.randn(1, 2, 32))
    assert made.shape == (3, 1, 2, 9) and (made[..., 7:] == 0).all()
    assert np.isnan(decode_intrinsics(made[-1].numpy(), height=42, width=56)[..., 0, 0]).all()
    assert np.isnan(decode_poses(np.zeros((1, 9)))[0, :3, :3]).all()


def test_poses_lead_back() -> None:
    turns = [(0.1, -0.4, 2.0), (np.pi, 0.05, 0.0), (0.0, np.pi, 0.1), (0.2, 0.1, np.pi), (-2.0, 1.0, -3.0)]
    poses = np.stack([from_rpy([1.0, -2.0, 3.0], turn) for turn in turns])
    intrinsics = np.array([[60.0, 0, 28], [0, 45, 21], [0, 0, 1]])[None].repeat(len(turns), axis=0)
    encoded = encode_poses(poses, intrinsics, height=42, width=56)
    assert (encoded[:, 6] >= 0).all()
    encoded[:, 3:7] *= 7.5  # a quaternion may have any length
    np.testing.assert_allclose(decode_poses(encoded), poses, atol=1e-9)
    np.testing.assert_allclose(decode_intrinsics(encoded, height=42, width=56), intrinsics, atol=1e-9)


def test_lifted_points_fall_on_their_pixels() -> None:
    pose = from_rpy([0.3, -0.2, 1.0], [0.1, 0.2, -0.3])
    intrinsics = np.array([[50.0, 0, 10], [0, 40, 6], [0, 0, 1]])
    depth = np.random.default_rng(0).uniform(1, 3, (12, 20))
    points = lift(depth, intrinsics=intrinsics, T_camera_world=pose)
    seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ intrinsics.T
    rows, columns = np.mgrid[:12, :20]
    np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], np.stack([columns, rows], axis=-1), atol=1e-9)
    np.testing.assert_allclose(shown_from(pose), np.linalg.inv(pose) @ np.diag([-1.0, -1, 1, 1]), atol=1e-12)
    sure = sure_pixels(depth)
    assert sure.sum() == 232 and depth[sure].min() > depth[~sure].max()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dpt_layers": [0, 1, 2, 3]}, "first one is 0"),
        ({"dpt_layers": [0, 1, 2]}, "needed are four"),
        ({"dpt_channels": [4, 8, 8, 6]}, "multiples of 4"),
        ({"heads": ["camera", "smell"]}, "smell"),
        ({"img_size": 60}, "patch_size 14"),
        ({"num_heads": 3}, "multiple of 12"),
        ({"num_heads": 0}, "0 heads"),
        ({"depth": -1}, "below 0"),
        ({"width": 3}, "width"),
    ],
)
def test_networks_that_cannot_be_are_named(changed: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidModel, match=named):
        GeometryNetwork.from_config({**json.loads(json.dumps(SIZES.config)), **changed})


def test_configurations_lead_back() -> None:
    for sizes in (SIZES, GeometrySizes(), LANGUAGE, LanguageSizes(lang_dim=6), CodecSizes()):
        assert type(sizes).from_config(json.loads(json.dumps(sizes.config))) == sizes
    without = GeometryNetwork.from_config({**SIZES.config, "heads": ["camera"]})
    assert without.depth_head is None and without.track_head is None
    assert {name.split(".")[0] for name in without.state_dict()} == {"aggregator", "camera_head"}
    with pytest.raises(InvalidModel, match="do not lead back"):
        CodecSizes(encoder=(8, 3), decoder=(4, 8))
