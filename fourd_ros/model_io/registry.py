"""Which classes a model folder may name; nothing else is ever imported because a file says so.

A room adds its line here; a program with models of its own adds its line before it loads them::

    NETWORKS["MyNetwork"] = "my_package.network:MyNetwork"
"""

from fourd_ros.errors import UnknownModel
from fourd_ros.registries import find_registered

MODELS: dict[str, str] = {
    "CompactModel": "fourd_ros.world_model.compact.model:CompactModel",
    "CompositionalObjects": "fourd_ros.compositional.model:CompositionalObjects",
    "DepthCompleter": "fourd_ros.depth_completion.completer:DepthCompleter",
    "ImitationPolicy": "fourd_ros.policies.imitation:ImitationPolicy",
    "Kinema4DPipeline": "fourd_ros.world_model.kinema4d.pipeline:Kinema4DPipeline",
    "Lpips": "fourd_ros.evaluation.perceptual:Lpips",
    "PartDynamics": "fourd_ros.part_dynamics.model:PartDynamics",
    "PointDynamics": "fourd_ros.world_model.compact.dynamics:PointDynamics",
    "Raft": "fourd_ros.reconstruction.tracking.raft:Raft",
    "SceneLanguage": "fourd_ros.scene_language.model:SceneLanguage",
    "VideoGenerator": "fourd_ros.world_model.compact.generator:VideoGenerator",
}
"""Classes of ``model_index.json``: ``from_components(components, card)`` makes one of its components."""

NETWORKS: dict[str, str] = {
    "CompositionalTransformer": "fourd_ros.compositional.transformer:CompositionalTransformer",
    "DepthCompletionNetwork": "fourd_ros.depth_completion.network:DepthCompletionNetwork",
    "FeatureCodec": "fourd_ros.scene_language.feature_codec:FeatureCodec",
    "GeometryNetwork": "fourd_ros.scene_language.geometry_network:GeometryNetwork",
    "ImitationNetwork": "fourd_ros.policies.imitation_network:ImitationNetwork",
    "Kinema4DTransformer": "fourd_ros.world_model.kinema4d.transformer:Kinema4DTransformer",
    "LanguageHead": "fourd_ros.scene_language.language_head:LanguageHead",
    "PartNetwork": "fourd_ros.part_dynamics.network:PartNetwork",
    "PointDynamicsNetwork": "fourd_ros.world_model.compact.dynamics_network:PointDynamicsNetwork",
    "RaftNetwork": "fourd_ros.reconstruction.tracking.raft_network:RaftNetwork",
    "ShapeVae": "fourd_ros.compositional.shape_vae:ShapeVae",
    "ShiftTolerantLpips": "fourd_ros.evaluation.lpips_network:ShiftTolerantLpips",
    "VideoGeneratorNetwork": "fourd_ros.world_model.compact.generator_network:VideoGeneratorNetwork",
}
"""Networks of the library ``fourd_ros``: ``from_config(mapping)`` makes one, ``config`` gives the mapping."""


def find_class(registry: dict[str, str], name: str) -> type:
    """The class registered under `name`, imported now.

    Raises:
        UnknownModel: nothing is registered under that name, or the line leads nowhere.
        MissingDependency: the class needs a module that is not installed.
    """
    found = find_registered(registry, name, what="class", error=UnknownModel, others=False)
    if not isinstance(found, type):
        raise UnknownModel(f"class '{name}' is '{registry[name]}', which is no class")
    return found
