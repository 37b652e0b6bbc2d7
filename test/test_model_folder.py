"""Model folders: every byte counts, nothing leads outside, written whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from model_rig import assert_same_weights, tiny_card, tiny_network, write_single, write_tiny

from fourd_ros import resources, strict_json
from fourd_ros.cli import main
from fourd_ros.errors import CorruptModel, InvalidModel, LicenceRefused, PathNotAllowed, UnknownModel
from fourd_ros.model_io.card import CARD, README, FileRecord, read_card, write_card
from fourd_ros.model_io.components import Component
from fourd_ros.model_io.folder import INDEX, ModelFolder, adopt_model, find_model, shipped_model, write_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.model_io.weights import named_weights

Output = pytest.CaptureFixture[str]
SHARDS = tuple(f"network/diffusion_pytorch_model-0000{number}-of-00003.safetensors" for number in (1, 2, 3))
FILES = (
    *(CARD, INDEX, README, "extra/notes.txt", "network/config.json"),
    *("network/diffusion_pytorch_model.safetensors.index.json", *SHARDS),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny").path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_the_files_of_a_model_are_those_that_the_tests_damage(original: Path) -> None:
    assert sorted(str(path.relative_to(original)) for path in original.rglob("*") if path.is_file()) == sorted(FILES)
    assert ModelFolder(original).problems() == []


@pytest.mark.parametrize("place", [0.0, 0.4, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_in_every_file(folder: Path, name: str, place: float) -> None:
    path = folder / name
    flip(path, int(place * path.stat().st_size))
    with pytest.raises(InvalidModel, match=path.name):
        ModelFolder(folder).check()
    if not name.startswith(("extra/", README)):
        with pytest.raises(InvalidModel, match=path.name):
            load_model(folder)


def test_a_damaged_weight_is_named_with_its_folder(folder: Path) -> None:
    flip(folder / SHARDS[1], -1)
    with pytest.raises(CorruptModel, match=rf"(?s){folder}.*'{SHARDS[1]}' has another content than fourd.json says"):
        load_model(folder)


def test_all_problems_are_told_at_once(folder: Path) -> None:
    (folder / SHARDS[0]).unlink()
    with (folder / SHARDS[1]).open("ab") as file:
        file.write(b"\0")
    (folder / "network" / "other.safetensors").write_bytes(b"")
    assert ModelFolder(folder).problems() == [
        f"'{SHARDS[0]}' is missing",
        "'network/other.safetensors' is not listed in fourd.json",
        f"'{SHARDS[1]}' has another size than fourd.json says",
    ]


def test_a_file_with_a_name_that_is_no_text_is_shown_and_cannot_be_adopted(folder: Path, capsys: Output) -> None:
    (folder / os.fsdecode(b"bad\xff\n.txt")).touch()
    assert main(["model", "check", str(folder)]) == 1
    assert r"'bad\udcff\n.txt' is not listed" in capsys.readouterr().out
    with pytest.raises(InvalidModel, match=r"'bad\\udcff\\n\.txt' is no path inside"):
        adopt_model(folder, tiny_card(), overwrite=True)
    assert ModelFolder(folder).card.files.keys() == set(FILES) - {CARD}


def test_hidden_files_of_downloads_and_version_control_do_not_matter(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "state.json").write_text("{}")
    (folder / ".gitattributes").write_text("")
    assert ModelFolder(folder).problems() == []


def test_the_card_comes_back_as_it_was_given(tmp_path: Path) -> None:
    card = tiny_card(
        non_commercial=True,
        licence="CC-BY-NC-4.0",
        upstream_terms=("weights of Grün: CC BY-NC 4.0",),
        data="numbers",
        limits="words",
        metrics={"this": {"error [mm]": (1.5, 1.25, 1.75), "n": 3.0}, "baseline": {"error [mm]": 9.0}},
        metrics_command="python -m this",
        files={"a/b.json": FileRecord(size=3, sha256="0" * 64)},
    )
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card


def test_metrics_of_numpy_can_be_written(tmp_path: Path) -> None:
    write_card(tiny_card(metrics={"this": {"error": np.float32(0.5), "n": np.int64(3)}}), tmp_path)
    assert read_card(tmp_path).metrics == {"this": {"error": 0.5, "n": 3.0}}


def test_a_changed_card_is_refused_though_it_is_readable(folder: Path) -> None:
    text = (folder / CARD).read_text()
    (folder / CARD).write_text(text.replace("Apache-2.0", "Apache-3.0"))
    with pytest.raises(CorruptModel, match="changed after it was written"):
        read_card(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("licence", 5),
        ("upstream_terms", "no list"),
        ("upstream_terms", [["nested"]]),
        ("non_commercial", 0),
        ("metrics", {"this": {"error": 10**400}}),
        ("metrics", {"this": {"error": True}}),
        ("metrics", {"this": {"error": [1, 2]}}),
        ("files", {"a": {"size": 1, "sha256": ["a"] * 64}}),
        ("files", {"a": {"size": True, "sha256": "a" * 64}}),
        ("files", {"a": "b"}),
        ("purpose", "half of a character: \udc80"),
        ("colour", "blue"),
    ],
)
def test_a_card_of_other_types_is_refused(folder: Path, name: str, value: object) -> None:
    content = json.loads((folder / CARD).read_text())
    del content["checksum"]
    content[name] = value
    content["checksum"] = hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
    (folder / CARD).write_text(json.dumps(content))
    with pytest.raises(InvalidModel) as caught:
        read_card(folder)
    assert not isinstance(caught.value, CorruptModel)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"purpose": " "}, "needs purpose"),
        ({"licence": "CC-BY-NC-4.0"}, "non-commercial licence; set non_commercial"),
        ({"metrics": {"this": {"error": float("nan")}}}, "finite"),
        ({"files": {"../weights": FileRecord(size=1, sha256="0" * 64)}}, "no path inside"),
        ({"files": {"/etc/passwd": FileRecord(size=1, sha256="0" * 64)}}, "no path inside"),
        ({"files": {"a//b": FileRecord(size=1, sha256="0" * 64)}}, "no path inside"),
    ],
)
def test_a_card_that_cannot_be_is_refused(changes: dict[str, object], needed: str) -> None:
    with pytest.raises(InvalidModel, match=needed):
        tiny_card(**changes)


def test_the_readme_is_what_a_model_hub_reads(tmp_path: Path) -> None:
    metrics = {"this": {"error [mm]": (1.5, 1.25, 1.75)}, "holes left": {"coverage": 0.5}}
    terms = {"licence": "Custom-1", "non_commercial": True, "upstream_terms": ("data of X: research only",)}
    text = (write_tiny(tmp_path / "m", metrics=metrics, **terms).path / README).read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front == {
        "license": "other",
        "license_name": "Custom-1",
        "library_name": "fourd_ros",
        "tags": ["tests"],
    }
    assert "| method | error [mm] | coverage |" in text
    assert "| this | 1.5 [1.25, 1.75] |  |" in text
    assert "| holes left |  | 0.5 |" in text
    assert "Custom-1. Not for commercial use.\n\nInherited terms:\n\n- data of X: research only" in text


def test_one_hash_stands_for_all_but_the_readme(original: Path, tmp_path: Path) -> None:
    reworded = write_tiny(tmp_path / "reworded", purpose="The same in other words.")
    other = write_tiny(tmp_path / "other", network=tiny_network(seed=1))
    assert reworded.sha256 == ModelFolder(original).sha256
    assert other.sha256 != reworded.sha256


def test_a_folder_without_a_card_tells_how_to_get_one_and_can_be_adopted(folder: Path) -> None:
    (folder / CARD).unlink()
    with pytest.raises(InvalidModel, match=f"fourd model adopt {folder}"):
        load_model(folder)
    adopted = adopt_model(folder, tiny_card(licence="research only", non_commercial=True))
    assert adopted.problems() == []
    with pytest.raises(InvalidModel, match="already"):
        adopt_model(folder, tiny_card())
    with pytest.raises(LicenceRefused, match="research only"):
        load_model(folder)
    assert_same_weights(load_model(folder, allow_noncommercial=True).network, tiny_network())


def test_a_card_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / CARD).unlink()
    (folder / CARD).mkdir()
    with pytest.raises(InvalidModel, match="cannot be written"):
        adopt_model(folder, tiny_card(), overwrite=True)


def test_a_link_to_itself_is_a_file_that_is_missing(folder: Path) -> None:
    (folder / "network" / "config.json").unlink()
    (folder / "network" / "config.json").symlink_to("config.json")
    with pytest.raises(CorruptModel, match=r"network/config\.json' cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("linked", ["network/config.json", "network"])
def test_links_that_lead_outside_are_refused(folder: Path, linked: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    os.rename(folder / linked, outside)
    (folder / linked).symlink_to(outside)
    with pytest.raises(PathNotAllowed, match=linked):
        ModelFolder(folder)


@pytest.mark.parametrize("name", ["../tiny/fourd.json", "/etc/hostname", "network/../fourd.json", "", "."])
def test_files_are_asked_for_by_plain_paths(original: Path, name: str) -> None:
    with pytest.raises(InvalidModel, match="no path inside"):
        ModelFolder(original).file(name)


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ("[]", "needed a JSON object"),
        ('{"network": ["fourd_ros", "TinyNetwork"]}', "_class_name"),
        ('{"_class_name": "TinyModel", "../up": ["fourd_ros", "TinyNetwork"]}', "component '../up'"),
        ('{"_class_name": "TinyModel", "_class_name": "TinyModel"}', "twice"),
        ('{"_class_name": NaN}', "NaN is not a number"),
        ('{"_class_name": ' + "[" * 100_000, "not readable JSON"),
    ],
)
def test_a_broken_index_is_refused(folder: Path, index: str, problem: str) -> None:
    (folder / INDEX).write_text(index)
    with pytest.raises(InvalidModel, match=problem):
        ModelFolder(folder)


def test_an_index_beyond_all_bounds_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MAX_BYTES", (folder / INDEX).stat().st_size - 1)
    with pytest.raises(InvalidModel, match="at most"):
        ModelFolder(folder)


def test_what_is_no_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"no model_index\.json"):
        ModelFolder(tmp_path)


def broken_off() -> Iterator[tuple[str, torch.Tensor]]:
    """Weights whose source fails after some shards were written."""
    for number in range(4):
        yield f"weight_{number}", torch.zeros(100)
    raise RuntimeError("the source went away")


def write_broken_off(path: Path, *, overwrite: bool = False) -> None:
    component = Component(library="fourd_ros", class_name="TinyNetwork", config={"width": 8}, weights=broken_off())
    write_model(
        path,
        {"network": component},
        card=tiny_card(),
        model_class="TinyModel",
        max_shard_bytes=400,
        overwrite=overwrite,
    )


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="went away"):
        write_broken_off(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_overwriting_that_fails_leaves_the_old_model(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="went away"):
        write_broken_off(folder, overwrite=True)
    assert ModelFolder(folder).problems() == []
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_model_is_replaced_only_when_asked_to_and_nothing_else_ever_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="exists already"):
        write_single(folder)
    new = tiny_network(seed=1)
    write_model(folder, {"network": new}, card=tiny_card(), model_class="TinyModel", overwrite=True)
    assert_same_weights(load_model(folder).network, new)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(InvalidModel, match="no model folder"):
        write_model(precious, {"network": new}, card=tiny_card(), model_class="TinyModel", overwrite=True)
    assert (precious / "thesis.tex").read_text() == "x"


def test_a_model_that_somebody_else_wrote_meanwhile_stays(tmp_path: Path) -> None:
    def slow() -> Iterator[tuple[str, torch.Tensor]]:
        yield from named_weights(tiny_network(seed=1))
        write_single(tmp_path / "tiny")

    component = Component(library="fourd_ros", class_name="TinyNetwork", config={"width": 8}, weights=slow())
    with pytest.raises(InvalidModel, match="exists already"):
        write_model(tmp_path / "tiny", {"network": component}, card=tiny_card(), model_class="TinyModel")
    assert_same_weights(load_model(tmp_path / "tiny").network, tiny_network())
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidModel, match=r"file/tiny' cannot be written"):
        write_single(tmp_path / "file" / "tiny")


@pytest.mark.parametrize("name", ["../up", "a/b", "", "_class_name"])
def test_components_have_plain_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidModel, match="no name for a component"):
        write_model(tmp_path / "m", {name: tiny_network()}, card=tiny_card(), model_class="TinyModel")


@pytest.mark.parametrize("name", [INDEX, README, CARD, "../up.txt", "network/config.json"])
def test_extra_files_replace_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidModel, match=r"already|no path inside"):
        write_model(
            tmp_path / "m",
            {"network": tiny_network()},
            card=tiny_card(),
            model_class="TinyModel",
            extra={name: b"x"},
        )


def test_a_network_that_could_not_be_loaded_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"'Linear' is not registered.*TinyNetwork"):
        write_model(tmp_path / "m", {"network": torch.nn.Linear(2, 2)}, card=tiny_card(), model_class="TinyModel")
    assert not (tmp_path / "m").exists()


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkout that ships one model."""
    (tmp_path / "package.xml").touch()
    monkeypatch.setattr(resources, "CHECKOUT", tmp_path)
    return write_tiny(tmp_path / "models" / "tiny").path


def test_shipped_models_are_found_by_name(shipped: Path) -> None:
    assert shipped_model("tiny") == shipped
    for name in ("huge", "long" * 1000):
        with pytest.raises(UnknownModel, match=f"no model '{name}' is shipped; shipped are: tiny"):
            find_model(name)
    assert find_model("tiny") == shipped
    with pytest.raises(UnknownModel, match="shipped are"):
        shipped_model("../models/tiny")


def test_the_command_lists_and_shows_models(shipped: Path, capsys: Output) -> None:
    assert main(["model", "list"]) == 0
    assert "Turns numbers into numbers." in capsys.readouterr().out
    assert main(["model", "info", "tiny", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    stored = sum(tensor.numel() for name, tensor in tiny_network().state_dict().items() if name != "out.weight")
    (component,) = facts["components"]
    assert component["parameters"] == stored
    assert component["types"] == ["float32", "int64"]
    assert facts["sha256"] == ModelFolder(shipped).sha256
    assert main(["model", "info", "tiny"]) == 0
    assert f"{stored:,}" in capsys.readouterr().out


def test_the_command_checks_models(folder: Path, capsys: Output) -> None:
    assert main(["model", "check", str(folder)]) == 0
    assert "8 files" in capsys.readouterr().out
    flip(folder / SHARDS[2], -1)
    assert main(["model", "check", str(folder)]) == 1
    assert f"'{SHARDS[2]}' has another content" in capsys.readouterr().out
    assert main(["model", "check", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == [
        f"'{SHARDS[2]}' has another content than fourd.json says"
    ]


def test_the_command_adopts_downloads(folder: Path, capsys: Output) -> None:
    (folder / CARD).unlink()
    facts = ["--system", "tests", "--purpose", "numbers", "--licence", "CC-BY-NC-4.0"]
    assert main(["model", "adopt", str(folder), *facts]) == 1
    assert "set non_commercial" in capsys.readouterr().err
    assert main(["model", "adopt", str(folder), *facts, "--non-commercial"]) == 0
    assert ModelFolder(folder).card.name == "tiny"
    assert ModelFolder(folder).problems() == []
