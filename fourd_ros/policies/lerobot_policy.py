"""A pretrained policy of LeRobot, from its folder (``config.json``, ``model.safetensors``, the two processors).

``lerobot`` itself is needed to run it and cannot be in the locked environment (docs/data.md, 'The real lerobot', tells
why): evaluate from an environment of its own, or serve the policy there (``websocket_server``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.errors import InvalidConfig, InvalidModel, MissingDependency, PolicyFailed
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.joint_numbers import ActionRows, JointNumber, joint_numbers, state_of
from fourd_ros.policies.options_file import made_from_file
from fourd_ros.policies.wire_format import resized
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.strict_json import read_object

STATE, ACTION = "observation.state", "action"
_IMAGES = ("observation.images.", "observation.")
_TASK = "task"


@dataclass(frozen=True, kw_only=True)
class LeRobotFeatures:
    """What a policy reads and writes, by its ``config.json``.

    Args:
        images: height and width [px] by name of the feature.
        state: numbers in the state; 0 where it reads none.
        actions: numbers in an action.
        steps: actions that follow from one observation.
        history: observations that it looks at at once.
    """

    images: Mapping[str, tuple[int, int]]
    state: int
    actions: int
    steps: int
    history: int

    @classmethod
    def read(cls, folder: Path) -> "LeRobotFeatures":
        """The features of the policy in a folder.

        Raises:
            InvalidModel: there is no policy of LeRobot, or it reads something that is not known here.
        """
        config = read_object(folder / "config.json", error=InvalidModel)
        try:
            inputs = {name: (item["type"], tuple(item["shape"])) for name, item in config["input_features"].items()}
            (actions,) = config["output_features"][ACTION]["shape"]
            unknown = [name for name, (kind, _) in inputs.items() if kind != "VISUAL" and name != STATE]
            if unknown:
                raise InvalidModel(f"the policy in '{folder}' reads {unknown}; told are only images and '{STATE}'")
            return cls(
                images={name: shape[1:] for name, (kind, shape) in inputs.items() if kind == "VISUAL"},
                state=inputs[STATE][1][0] if STATE in inputs else 0,
                actions=actions,
                steps=config.get("n_action_steps", 1),
                history=config.get("n_obs_steps", 1),
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InvalidModel(f"'{folder}/config.json' is of no policy of LeRobot: {error!r}") from error


class LeRobotPolicy(Policy):
    """Asks a policy of LeRobot as LeRobot does: its processors before and after ``select_action``.

    Args:
        name: by which it is known in results.
        folder: of the policy.
        state: what the numbers of its state tell of; the file names only how many there are.
        actions: the same for its actions.
        rate: actions per second, the rate of the data that it was trained on [Hz].
        cameras: views by name of an image feature; without its ``observation.images.`` by default.
        resize: stretch images to what the policy was trained on, rather than ask for images of that size.
        steps: actions that are followed before the next question; by default as many as its configuration says, or
            one for a policy that looks back at former observations.
        device: that it runs on, as torch calls it.

    Raises:
        InvalidModel: the folder holds no policy of LeRobot.
        InvalidConfig: other numbers of joints than the policy has, images of several sizes, or steps it cannot make.
        MissingDependency: lerobot is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        folder: str | Path,
        state: Sequence[str | Mapping[str, object]] = (),
        actions: Sequence[str | Mapping[str, object]],
        rate: float,
        cameras: Mapping[str, str] | None = None,
        resize: bool = False,
        steps: int | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(name)
        self._features = LeRobotFeatures.read(Path(folder))
        self._cameras = {key: (cameras or {}).get(key, _camera_of(key)) for key in self._features.images}
        self._state: tuple[JointNumber, ...] = joint_numbers(state) if state else ()
        self._actions = ActionRows(numbers=joint_numbers(actions), rate=rate, steps=_steps(self._features, steps))
        self._check_counts(folder)
        self.contract = Contract(
            cameras=tuple(dict.fromkeys(self._cameras.values())),
            size=None if resize else _common_size(self._features),
            joints=tuple(dict.fromkeys([number.joint for number in self._state] + list(self._actions.joints))),
            period=self._actions.period,
        )
        self._pipeline = _Pipeline(Path(folder), steps=self._actions.steps, device=device)
        self._instruction = ""

    def begin(self, assignment: Assignment) -> None:
        """Forgets the former episode and draws from the assignment's seed."""
        self._instruction = assignment.instruction
        self._pipeline.reset(assignment.seed)

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """The next actions.

        Raises:
            PolicyFailed: they are none that the joints could follow.
        """
        inputs: dict[str, Any] = {}
        for key, (height, width) in self._features.images.items():
            inputs[key] = resized(observation.views[self._cameras[key]].rgb, width, height)
        if self._state:
            inputs[STATE] = state_of(self._state, observation.joint_positions).astype(np.float32)
        rows = [self._pipeline.select(inputs, self._instruction) for _ in range(self._actions.steps or 1)]
        return self._actions.motion(np.stack(rows), observation.joint_positions)

    def _check_counts(self, folder: str | Path) -> None:
        counts = {
            "state": (self._features.state, self._state),
            "action": (self._features.actions, self._actions.joints),
        }
        for what, (needed, given) in counts.items():
            if needed != len(given):
                raise InvalidConfig(f"{len(given)} numbers of the {what} are named; '{folder}' has {needed}")


def make_policy(detail: str, *, task: str) -> Policy:
    """``lerobot/FILE.json``: the arguments of `LeRobotPolicy` in a file."""
    return made_from_file(LeRobotPolicy, "lerobot", detail)


class _Pipeline:
    """Processors and network, as lerobot 0.4 and later make them."""

    def __init__(self, folder: Path, *, steps: int | None, device: str) -> None:
        try:
            from lerobot.configs.policies import PreTrainedConfig
            from lerobot.policies.factory import get_policy_class, make_pre_post_processors
        except ImportError as error:
            raise MissingDependency(
                f"policies of LeRobot need lerobot 0.4 or later ({error}), which cannot be in this environment: "
                "python -m venv lerobot-env && lerobot-env/bin/pip install lerobot, and run it there"
            ) from error
        config = PreTrainedConfig.from_pretrained(folder)
        config.device = device
        if hasattr(config, "n_action_steps"):
            config.n_action_steps = steps
        self._policy = get_policy_class(config.type).from_pretrained(folder, config=config)
        self._before, self._after = make_pre_post_processors(
            config, pretrained_path=str(folder), preprocessor_overrides={"device_processor": {"device": device}}
        )

    def reset(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self._policy.reset()

    def select(self, inputs: Mapping[str, Any], instruction: str) -> Any:
        import torch

        batch: dict[str, Any] = {name: _tensor(value)[None] for name, value in inputs.items()}
        with torch.inference_mode():
            action = self._after(self._policy.select_action(self._before(batch | {_TASK: instruction})))
        if action.shape[0] != 1 or action.ndim != 2:
            raise PolicyFailed(f"an action of shape {list(action.shape)}; needed is one row")
        return action[0].float().cpu().numpy()


def _tensor(value: np.ndarray[Any, Any]) -> Any:
    """Images as LeRobot has them: [3, H, W], 0 to 1."""
    import torch

    if value.dtype != np.uint8:
        return torch.from_numpy(value)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(value, -1, 0))).float() / 255


def _camera_of(feature: str) -> str:
    prefix = next((prefix for prefix in _IMAGES if feature.startswith(prefix)), "")
    return feature.removeprefix(prefix)


def _common_size(features: LeRobotFeatures) -> tuple[int, int] | None:
    sizes = {(width, height) for height, width in features.images.values()}
    if len(sizes) > 1:
        raise InvalidConfig(f"the policy looks at images of several sizes, {sorted(sizes)}; 'resize' makes them")
    return next(iter(sizes), None)


def _steps(features: LeRobotFeatures, wanted: int | None) -> int:
    if features.history > 1 and wanted not in (None, 1):
        raise InvalidConfig(f"{wanted} steps, but it looks back at {features.history} observations: 1 step is needed")
    if features.history > 1:
        return 1
    return features.steps if wanted is None else wanted
