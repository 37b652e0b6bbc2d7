"""What an evaluation of policies is told."""

from dataclasses import MISSING, dataclass

from fourd_ros.chat_endpoint import ChatEndpoint
from fourd_ros.errors import InvalidConfig
from fourd_ros.evaluation.policy.judge import VisionLanguageJudge
from fourd_ros.evaluation.policy.starts import SEEDS, STARTS, StartOptions
from fourd_ros.policies.scripted import SKILLS
from fourd_ros.simulation.objects import OBJECT_KINDS
from fourd_ros.simulation.tabletop_scene import TRAINING_KINDS
from fourd_ros.simulation.tasks import task_kind
from fourd_ros.training.settings import setting
from fourd_ros.world_model.base import ModelOptions

ALL_SCRIPTED = "scripted"


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """Start states: scenes of the simulator, the same in the imagination and in truth."""

    count: int = setting(50, "of each task; more may be added later", minimum=1, maximum=STARTS, changes_result=False)
    seed: int = setting(0, "others have other scenes", minimum=0, maximum=SEEDS - 1)
    kinds: tuple[str, ...] = setting(TRAINING_KINDS, f"of objects; there are {', '.join(OBJECT_KINDS)}")
    width: int = setting(128, "of the images [px]", minimum=16, maximum=1024)
    height: int = setting(128, "of the images [px]", minimum=16, maximum=1024)
    shadows: bool = setting(True, "cast in the images")

    @property
    def options(self) -> StartOptions:
        """For `simulated_start`."""
        return StartOptions(
            kinds=self.kinds, width=self.width, height=self.height, shadows=self.shadows, seed=self.seed
        )


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """A vision language model that looks at imagined films, at an endpoint in the way of OpenAI."""

    url: str = setting(MISSING, "that '/chat/completions' is added to, such as http://127.0.0.1:8000/v1")
    model: str = setting(MISSING, "its name there")
    key_variable: str = setting("", "environment variable that holds the key")
    timeout: float = setting(60.0, "time for one answer [s]", above=0.0, maximum=600.0)
    frames: int = setting(4, "of a film that it is shown", minimum=1, maximum=32)

    @property
    def judge(self) -> VisionLanguageJudge:
        """The judge."""
        endpoint = ChatEndpoint(url=self.url, model=self.model, key_variable=self.key_variable, timeout=self.timeout)
        return VisionLanguageJudge(endpoint, frames=self.frames)


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluationConfig:
    """Everything that an evaluation needs."""

    tasks: tuple[str, ...] = setting(tuple(SKILLS), "that are tried")
    policies: tuple[str, ...] = setting(
        (ALL_SCRIPTED,),
        f"names as 'scripted/expert'; '{ALL_SCRIPTED}' stands for all of graded skill that a task has",
    )
    starts: StartSettings = setting(StartSettings, "where episodes begin")
    seeds: tuple[int, ...] = setting((0,), "of each policy at each start", minimum=0)
    backend: str = setting("compact", "rung that imagines")
    controls: tuple[str, ...] = setting(("copy_first", "kinematic"), "rungs that it is compared with")
    model: str = setting("world_model_compact", "folder of the learned rungs, or name of a shipped one")
    allow_noncommercial: bool = setting(False, "load weights whose licence forbids commercial use")
    truth: bool = setting(True, "try everything in the simulator too")
    limit: float = setting(15.0, "longest episode [s]", above=0.0, maximum=600.0)
    judge: JudgeSettings | None = setting(
        None, "vision language model that judges imagined films; null: detectors that look at points"
    )
    answer_limit: float = setting(30.0, "longest time for an answer of a policy [s]", above=0.0, maximum=600.0)
    least_trust: float = setting(0.0, "rollouts that are trusted less are not judged", minimum=0.0, maximum=1.0)
    sloppy: tuple[str, ...] = setting(
        ("*/aim_[3-8]0mm", "*/heading_[34]*"),
        "patterns of policies whose over-estimate is told on its own",
        changes_result=False,
    )
    videos: int = setting(
        6,
        "of each task that the report shows, of agreements and disagreements",
        maximum=50,
        minimum=0,
        changes_result=False,
    )

    def __post_init__(self) -> None:
        for name, values in (("tasks", self.tasks), ("policies", self.policies), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise InvalidConfig(f"{name} is {list(values)}; needed is at least one, and none twice")
        if self.backend in self.controls:
            raise InvalidConfig(f"'{self.backend}' is the backend, and cannot be a control of itself")
        for task in self.tasks:
            task_kind(task)

    @property
    def model_options(self) -> ModelOptions:
        """What rungs are made of; each process has one thread."""
        return ModelOptions(compact_model=self.model, allow_noncommercial=self.allow_noncommercial, threads=1)

    @property
    def units(self) -> int:
        """How many there are."""
        policies = sum(len(self.policies_for(task)) for task in self.tasks)
        return policies * self.starts.count * len(self.seeds)

    def policies_for(self, task: str) -> tuple[str, ...]:
        """Names of all policies that try a task, in order."""
        names: list[str] = []
        for name in self.policies:
            names += [f"{ALL_SCRIPTED}/{skill}" for skill in SKILLS.get(task, {})] if name == ALL_SCRIPTED else [name]
        return tuple(dict.fromkeys(names))
