"""Settings: strict, complete, the same after they were written and read."""

import enum
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from fourd_ros.errors import InvalidConfig
from fourd_ros.training.config import LoraSettings, TaskConfig, TrainingConfig
from fourd_ros.training.settings import (
    config_text,
    differences,
    make_config,
    read_config,
    setting,
    setting_rows,
    write_config,
)


class Kind(enum.Enum):
    SHARP = "sharp"
    SMOOTH = "smooth"


@dataclass(frozen=True, kw_only=True)
class ExampleConfig(TaskConfig):
    data: Path = setting(Path("out/data"), "episodes")
    kind: Kind = setting(Kind.SHARP, "of edges")
    sizes: tuple[int, ...] = setting((8, 16), "of layers", minimum=1)
    range: tuple[float, float] = setting((0.1, 2.0), "[m]", above=0.0)
    weights: dict[str, float] = setting(dict, "of terms", minimum=0.0)
    limit: int | Literal["all"] = setting("all", "how many", minimum=1)

    def __post_init__(self) -> None:
        if self.range[0] >= self.range[1]:
            raise InvalidConfig(f"range is {list(self.range)}; the first has to be smaller")


@dataclass(frozen=True, kw_only=True)
class Needed:
    name: str = setting(MISSING, "of it")


def test_defaults_and_overrides() -> None:
    config = read_config(
        ExampleConfig,
        None,
        ["training.learning_rate=1e-4", "training.precision=no", "kind=smooth", "sizes=[4, 5, 6]", "weights.depth=2",
         "data=elsewhere", "training.gradient_clip=null", "limit=3"],
    )  # fmt: skip
    assert config.training.learning_rate == 1e-4
    assert config.training.precision == "no"
    assert config.training.gradient_clip is None
    assert (config.kind, config.sizes, config.weights) == (Kind.SMOOTH, (4, 5, 6), {"depth": 2.0})
    assert (config.data, config.limit, config.training.seed) == (Path("elsewhere"), 3, 0)


def test_nested_settings_that_are_absent_by_default_can_be_set() -> None:
    config = read_config(TaskConfig, None, ["training.lora.rank=4", "training.lora.target_modules=[query, value]"])
    assert config.training.lora == LoraSettings(rank=4, target_modules=("query", "value"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    config = read_config(ExampleConfig, None, ["training.betas=[0.8, 0.95]", "kind=smooth", "training.precision=bf16"])
    write_config(config, tmp_path / "config.yaml")
    assert read_config(ExampleConfig, tmp_path / "config.yaml") == config
    plain = ExampleConfig()
    (tmp_path / "config.yaml").write_text(config_text(plain))
    assert read_config(ExampleConfig, tmp_path / "config.yaml") == plain


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("training:\n  steps: 7\n  seed: 3\n")
    config = read_config(TaskConfig, path, ["training.steps=8"])
    assert (config.training.steps, config.training.seed) == (8, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.stepz=1", r"'training' has no \['stepz'\]; its keys are \['seed', 'steps'"),
        ("trainings.steps=1", r"the configuration has no \['trainings'\]; its keys are \['training', 'data'"),
        ("training.steps=many", r"'training.steps' is 'many'; needed int"),
        ("training.steps=1.5", r"'training.steps' is 1.5; needed int"),
        ("training.steps=true", r"'training.steps' is true; needed int"),
        ("training.steps=0", r"'training.steps' is 0; needed >= 1"),
        ("training.learning_rate=0", r"'training.learning_rate' is 0.0; needed > 0"),
        ("training.learning_rate=.nan", r"'training.learning_rate' is nan"),
        ("training.weight_decay=.inf", r"'training.weight_decay' is inf"),
        ("training.precision=fp8", r"choose one of \['no', 'bf16', 'fp16'\]"),
        ("training.precision=[no]", r"choose one of"),
        ("training.betas=[0.9]", r"'training.betas' has 1 elements; needed 2"),
        ("training.betas=[0.9, 2]", r"'training.betas\[1\]' is 2.0"),
        ("training.betas=0.9", r"'training.betas' is 0.9; needed a list"),
        ("training.lora.rank=4", r"'training.lora.target_modules' has to be given: names"),
        ("training.lora.target_modules=[]", r"'training.lora': target_modules is empty"),
        ("training=3", r"'training' is 3; needed the keys"),
        ("training=null", r"'training' is null; needed the keys"),
        ("kind=round", r"'kind' is 'round'; choose one of \['sharp', 'smooth'\]"),
        ("weights.depth=-1", r"'weights.depth' is -1.0; needed >= 0"),
        ("weights=3", r"'weights' is 3; needed keys with values"),
        ("range=[2, 1]", r"range is \[2.0, 1.0\]; the first has to be smaller"),
        ("limit=none", r"'limit' is 'none'; needed int or all"),
        ("data=3", r"'data' is 3; needed path"),
        ("training.steps", r"not of the form key=value"),
        ("training..steps=1", r"not of the form key=value"),
        ("training.betas=[1", r"the value of 'training.betas=\[1' is not YAML"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(override: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        read_config(ExampleConfig, None, [override])


def test_a_value_without_default_is_asked_for() -> None:
    with pytest.raises(InvalidConfig, match="'name' has to be given: of it"):
        make_config(Needed, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {steps: 1", "is not YAML"),
        ("- 1", "needed keys with values"),
        ("training:\n  steps: 1\n  steps: 2\n", r"\['steps'\] given twice"),
        ("training: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=message):
        read_config(TaskConfig, path)


def test_a_missing_file() -> None:
    with pytest.raises(InvalidConfig, match=r"'nowhere\.yaml' cannot be read"):
        read_config(TaskConfig, "nowhere.yaml")


def test_differences_say_whether_the_result_changes() -> None:
    before = read_config(ExampleConfig)
    after = read_config(ExampleConfig, None, ["training.steps=5", "training.seed=1", "sizes=[1]"])
    found = {difference.key: (str(difference), difference.changes_result) for difference in differences(before, after)}
    assert found == {
        "training.seed": ("training.seed: 0 -> 1", True),
        "training.steps": ("training.steps: 10000 -> 5", False),
        "sizes": ("sizes: [8, 16] -> [1]", True),
    }


def test_the_table_has_every_setting_once() -> None:
    rows = setting_rows(ExampleConfig)
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys))
    wanted: dict[str, Any] = TrainingConfig.__dataclass_fields__
    assert {f"training.{name}" for name in wanted} <= set(keys)
    lora = {row.key: row for row in rows}["training.lora.target_modules"]
    assert (lora.default, lora.type) == ("needed", "[str, ...]")
    assert all(row.description for row in rows)
