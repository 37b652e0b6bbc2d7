"""The trainings that `fourd train` knows by name."""

from typing import Any

from fourd_ros.errors import UnknownModel
from fourd_ros.registries import find_registered

TASKS: dict[str, str] = {
    "compact": "fourd_ros.training.compact:CompactTask",
    "compositional": "fourd_ros.training.compositional:CompositionalTask",
    "depth_completion": "fourd_ros.training.depth_completion:DepthCompletionTask",
    "feature_codec": "fourd_ros.training.feature_codec:FeatureCodecTask",
    "imitation": "fourd_ros.training.imitation:ImitationTask",
    "kinema4d": "fourd_ros.training.kinema4d:Kinema4DTask",
    "language_head": "fourd_ros.training.language_head:LanguageHeadTask",
    "part_dynamics": "fourd_ros.training.part_dynamics:PartDynamicsTask",
    "points": "fourd_ros.training.points:PointsTask",
    "scene_language": "fourd_ros.training.scene_language:SceneLanguageTask",
    "shape_vae": "fourd_ros.training.shape_vae:ShapeVaeTask",
}
"""Name -> ``module:Class``, a `TrainingTask`; a model adds its line."""


def load_task(name: str) -> type[Any]:
    """The task class behind a name, or behind ``module:Class`` for a model of your own.

    Raises:
        UnknownModel: no such name, module or class.
        MissingDependency: it needs a module that is not installed.
    """
    from fourd_ros.training.task import TrainingTask

    found = find_registered(TASKS, name, what="training", error=UnknownModel, others=True)
    if not (isinstance(found, type) and issubclass(found, TrainingTask)):
        raise UnknownModel(f"training '{name}' is {found!r}; needed a subclass of TrainingTask")
    return found
