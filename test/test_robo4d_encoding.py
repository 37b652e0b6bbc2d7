"""Clips to latents: what is in the files, whatever the order, the number of machines and the interruptions."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robo4d_rig import make_episode, write_dataset
from safetensors.torch import load_file

from fourd_ros.cli import main
from fourd_ros.data import robo4d_latents
from fourd_ros.data.robo4d import Robo4DDataset
from fourd_ros.data.robo4d_films import read_film
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream, shard_of
from fourd_ros.data.robo4d_latents import IMAGE_KEY, VIDEO_KEY
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import InvalidDataset, UnsafeCheckpoint
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.world_model.kinema4d.encoding import EncodingOptions, encode_clip, load_encoders

GOLDEN = Path(__file__).parent / "golden" / "kinema4d" / "pipeline"
NAMES = ("episode_0-front-000", "episode_1-front-000", "episode_2-front-000")
SHAPE = (16, 3, 4, 6)
WORDS = ["--jobs", "1"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with tiny networks, and nothing beside them."""
    from diffusers import AutoencoderKLWan
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    vae = AutoencoderKLWan.from_config(json.loads((GOLDEN / "vae_config.json").read_text()))
    vae.load_state_dict(load_file(GOLDEN / "vae.safetensors"))
    clip = CLIPVisionModel(CLIPVisionConfig(**json.loads((GOLDEN / "clip_config.json").read_text())))
    weights = load_file(GOLDEN / "clip.safetensors")
    clip.load_state_dict({name.removeprefix("vision_model."): tensor for name, tensor in weights.items()})
    processor = CLIPImageProcessor(**json.loads((GOLDEN / "clip_preprocessor.json").read_text()))
    folder: Path = tmp_path_factory.mktemp("model") / "tiny"
    write_model(
        folder,
        {"vae": vae, "image_encoder": clip, "image_processor": processor},
        card=ModelCard(name="tiny", system="kinema4d", purpose="Encodes clips.", licence="Apache-2.0"),
        model_class="Kinema4DPipeline",
    )
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips; not to be written to."""
    folder = tmp_path_factory.mktemp("clips")
    write_dataset(folder / "dataset", *(make_episode(number) for number in range(3)))
    words = ["--size", "48x32", "--frames", "9", "--jobs", "1"]
    assert main(["data", "to-robo4d", str(folder / "dataset"), str(folder / "robo4d"), *words]) == 0
    return folder / "robo4d"


@pytest.fixture(scope="module")
def encoded(clips: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with latents; not to be written to."""
    folder: Path = tmp_path_factory.mktemp("encoded") / "robo4d"
    shutil.copytree(clips, folder)
    assert main(["data", "encode-latents", str(folder), "--model", str(model), *WORDS]) == 0
    return folder


def latent_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("*_latents/[!.]*")}


def test_files_are_those_of_the_original(encoded: Path) -> None:
    files = {folder: sorted((encoded / folder).iterdir()) for folder in ("video_latents", "mask_video_latents")}
    assert [path.name for path in files["video_latents"]] == [f"{name}.safetensors" for name in NAMES]
    video = load_file(files["video_latents"][0])
    assert video.keys() == {VIDEO_KEY, IMAGE_KEY} and load_file(files["mask_video_latents"][0]).keys() == {VIDEO_KEY}
    assert video[VIDEO_KEY].shape == SHAPE and video[IMAGE_KEY].shape == (17, 40)
    for folder in ("pointmap_latents", "mask_pointmap_latents"):
        bare = torch.load(encoded / folder / f"{NAMES[0]}.pt", weights_only=True)
        assert bare.shape == SHAPE and bare.dtype == video[VIDEO_KEY].dtype == video[IMAGE_KEY].dtype == torch.float16
    clips = Robo4DDataset(encoded)
    assert clips.encoded_names == NAMES == clips.names
    latents = clips.latents(NAMES[1])
    assert latents.video.shape == SHAPE and torch.isfinite(latents.robot_pointmap).all()
    assert not torch.equal(latents.pointmap, latents.robot_pointmap)


def test_latents_are_of_the_films_and_points(clips: Path, encoded: Path, model: Path) -> None:
    """Posterior means against the codec itself; samples lie around them; exact points near those of films."""
    folder, encoders = Robo4DFolder(clips), load_encoders(model, "cpu", "float32")
    options = EncodingOptions(frames=9, height=32, width=48, mean=True)
    mean = encode_clip(folder, NAMES[0], encoders, options)
    film = read_film(folder.film(Stream.VIDEO, NAMES[0]))
    video = torch.from_numpy(film).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    torch.testing.assert_close(mean.video, encoders.codec.encode(video)[0].half(), atol=2e-3, rtol=2e-3)
    assert torch.equal(mean.image_embedding, encoders.image_encoder.tokens(film[:1])[0].half())
    unit = Robo4DDataset(clips).clip(NAMES[0], unit=True).robot_points
    points = torch.from_numpy(np.nan_to_num(unit, nan=0.0).clip(0, 1)).permute(3, 0, 1, 2)[None] * 2 - 1
    torch.testing.assert_close(mean.robot_pointmap, encoders.codec.encode(points)[0].half(), atol=2e-3, rtol=2e-3)
    filmed = encode_clip(folder, NAMES[0], encoders, replace(options, films=True))
    difference = (filmed.robot_pointmap.float() - mean.robot_pointmap.float()).abs()
    assert 0 < difference.max() < 0.2 and torch.equal(filmed.robot_video, mean.robot_video)
    sample = Robo4DDataset(encoded).latents(NAMES[0])
    assert torch.equal(sample.image_embedding, mean.image_embedding) and not torch.equal(sample.video, mean.video)
    other = encode_clip(folder, NAMES[0], encoders, replace(options, mean=False, seed=1))
    assert not torch.equal(other.video, sample.video)


def test_order_and_number_of_machines_change_nothing(clips: Path, encoded: Path, model: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "out")
    command = ["data", "encode-latents", str(tmp_path / "out"), "--model", str(model), *WORDS]
    assert main([*command, "--shard", "1/2"]) == 0
    assert Robo4DDataset(tmp_path / "out").encoded_names == tuple(name for name in NAMES if shard_of(name, 2) == 1)
    assert main([*command, "--shard", "0/2"]) == 0
    assert latent_files(tmp_path / "out") == latent_files(encoded)


def test_an_interrupted_encoding_goes_on_to_the_same_bytes(
    clips: Path, encoded: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    shutil.copytree(clips, tmp_path / "out")
    command = ["data", "encode-latents", str(tmp_path / "out"), "--model", str(model), *WORDS]
    write = robo4d_latents._write_bare

    def interrupted(tensor: torch.Tensor, path: Path) -> None:
        if path.stem == NAMES[1]:
            raise KeyboardInterrupt
        write(tensor, path)

    monkeypatch.setattr(robo4d_latents, "_write_bare", interrupted)
    assert main(command) == 130
    monkeypatch.undo()
    folder = Robo4DFolder(tmp_path / "out")
    assert folder.names_with_latents() == {NAMES[0]} and folder.latents(Stream.VIDEO, NAMES[1]).exists()
    for stream in (Stream.VIDEO, Stream.POINTMAP):  # what another program left half written
        path = folder.latents(stream, NAMES[0] if stream is Stream.VIDEO else NAMES[2])
        data = (encoded / path.relative_to(folder.root)).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    assert [json.loads(line)["made"] for line in capsys.readouterr().out.splitlines()] == [True] * 3
    assert latent_files(tmp_path / "out") == latent_files(encoded)
    assert main(command) == 0
    assert "0 new clips encoded, 3 were there already" in capsys.readouterr().out
    for words, why in ((["--mean"], "mean False (now True)"), (["--seed", "3"], "seed 0 (now 3)")):
        assert main([*command, *words]) == 1
        assert why in capsys.readouterr().err


def test_clips_that_cannot_be_encoded_are_named_and_others_go_on(
    clips: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(clips, tmp_path / "out")
    folder = Robo4DFolder(tmp_path / "out")
    film = folder.film(Stream.ROBOT_VIDEO, NAMES[0])
    film.write_bytes(film.read_bytes()[:-200])
    shutil.copy(folder.film(Stream.VIDEO, NAMES[1]), folder.film(Stream.VIDEO, "lonely"))
    shutil.copy(folder.film(Stream.VIDEO, NAMES[1]), folder.film(Stream.VIDEO, "unequal"))
    shutil.copy(folder.film(Stream.VIDEO, NAMES[1]), folder.film(Stream.VIDEO, "short"))
    black = np.zeros((32, 48, 3), np.uint8)
    for name, frames in (("unequal", 8), ("short", 4)):
        for stream in set(Stream) - {Stream.VIDEO}:
            encode([black] * frames, folder.film(stream, name), rate=24, video=FORMATS["lossless"])
    command = ["data", "encode-latents", str(folder.root), "--model", str(model), *WORDS, "--json"]
    assert main(command) == 1
    lines = {line["name"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name for name, line in lines.items() if line["made"]} == {NAMES[1], NAMES[2]}
    assert "mask_videos/episode_0-front-000.mp4" in lines[NAMES[0]]["problem"]
    assert lines["lonely"]["problem"] == "it has no film in pointmap, mask_videos, mask_pointmap"
    assert "differ in length" in lines["unequal"]["problem"] and "has 8 frames" in lines["unequal"]["problem"]
    assert "pointmap/short.mp4' has 4 frames, there and back 8; needed are 9" in lines["short"]["problem"]


def test_folders_that_cannot_be_encoded_are_refused(clips: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    cases = (
        (tmp_path, [], "has no films"),
        (clips, ["--size", "50x32"], "multiples of 16"),
        (clips, ["--frames", "8"], "4 k + 1"),
    )
    for folder, words, why in cases:
        assert main(["data", "encode-latents", str(folder), "--model", str(model), *WORDS, *words]) == 1
        assert why in capsys.readouterr().err
    assert main(["data", "encode-latents", str(clips), "--model", str(tmp_path), *WORDS]) == 1
    assert "is no model folder" in capsys.readouterr().err
    assert not (clips / "latents.json").exists()


def test_damaged_and_unsafe_latents_are_named_and_never_run(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded, tmp_path / "out")
    clips, folder = Robo4DDataset(tmp_path / "out"), Robo4DFolder(tmp_path / "out")
    path = folder.latents(Stream.POINTMAP, NAMES[0])
    torch.save({"pointmap": torch.zeros(SHAPE)}, path)
    with pytest.raises(InvalidDataset, match=r"front-000\.pt' holds \['pointmap'\]; needed is a single tensor"):
        clips.latents(NAMES[0])
    torch.save(torch.zeros(16, 3, 4, 5), path)
    with pytest.raises(InvalidDataset, match="equal shapes"):
        clips.latents(NAMES[0])
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    with pytest.raises(UnsafeCheckpoint, match="nothing was run"):
        clips.latents(NAMES[0])
    path.unlink()
    with pytest.raises(InvalidDataset, match=r"front-000\.pt"):
        clips.latents(NAMES[0])
    assert clips.encoded_names == NAMES[1:] and not (tmp_path / "exploded").exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)
