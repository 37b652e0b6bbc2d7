"""Parameters of the scene language node."""

from dataclasses import dataclass

from fourd_ros.bridge.parameters import parameter
from fourd_ros.nodes.base import NodeParameters
from fourd_ros.nodes.camera_frames import CameraFrameSettings
from fourd_ros.nodes.language_topics import LanguageTopicSettings
from fourd_ros.nodes.scene_questions import QuestionLimits
from fourd_ros.scene_language.token_cache import CachePolicy, KeepAll, KeepBudget, KeepWindow

MODEL = "scene_language_compact"
MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SceneLanguageParameters(NodeParameters):
    """Parameters of the scene language node."""

    camera: str = parameter("camera", "namespace: <camera>/image, camera_info, depth", fixed_while="active")
    need_camera_info: bool = parameter(
        True,
        "refuse images that come before any camera_info; else the network guesses the field of view until one comes",
        fixed_while="active",
    )
    use_depth: bool = parameter(
        False,
        "wait for a depth image beside every colour image, which tells how long a metre is",
        fixed_while="active",
    )
    compressed: bool = parameter(
        False, "take <camera>/image/compressed and <camera>/depth/compressedDepth instead", fixed_while="active"
    )
    image_reliability: str = parameter(
        "best_effort", "of the camera subscriptions", choices=("best_effort", "reliable"), fixed_while="active"
    )
    sync_slop: float = parameter(
        0.01, "colour and depth of one instant differ by less [s]", minimum=0.0, maximum=1.0, fixed_while="active"
    )
    max_pixels: int = parameter(
        16_777_216, "larger images are refused", minimum=1, maximum=2**31 - 1, fixed_while="active"
    )
    map_frame: str = parameter(
        "map",
        "frame of everything that is published in metres; <map_frame>_unscaled while they are not known",
        fixed_while="active",
    )
    publish_tf: bool = parameter(
        True, "tell TF where the map is: above the root of the camera's tree (REP 105), in metres", fixed_while="active"
    )
    transform_timeout: float = parameter(
        0.1,
        "a frame waits this long for the camera's place in its TF tree [s]",
        minimum=0.0,
        maximum=10.0,
        fixed_while="active",
    )
    assumed_scale: float = parameter(
        0.0,
        "metres in a unit of the network while neither depth nor TF tells; 0: they are not known",
        minimum=0.0,
        maximum=1000.0,
        fixed_while="active",
    )
    model: str = parameter(MODEL, "weights, a folder or the name of shipped ones", fixed_while="configured")
    clip_folder: str = parameter(
        "",
        "CLIP in the layout of transformers, for models whose features are like its embeddings; empty: word vectors",
        fixed_while="configured",
    )
    allow_noncommercial: bool = parameter(
        False, "load weights whose licence forbids commercial use", fixed_while="configured"
    )
    device: str = parameter("cpu", "that computes, as torch names it", fixed_while="configured")
    cache_policy: str = parameter(
        "window",
        "what is remembered of earlier frames: the first and the last ones, so many tokens, or all (grows without end)",
        choices=("window", "budget", "all"),
        fixed_while="active",
    )
    cache_frames: int = parameter(
        7, "beside the first and the newest, of the policy window", minimum=1, maximum=10_000, fixed_while="active"
    )
    cache_tokens: int = parameter(
        8192, "of a layer, of the policy budget", minimum=1, maximum=10_000_000, fixed_while="active"
    )
    language_period: float = parameter(
        0.2,
        "least time between two frames that are given language, remembered, and asked the standing texts [s]",
        minimum=0.0,
        maximum=3600.0,
        fixed_while="active",
    )
    memory_megabytes: float = parameter(
        256.0, "of remembered frames, for ~/query", minimum=1.0, maximum=100_000.0, fixed_while="active"
    )
    texts: tuple[str, ...] = parameter((), "standing texts, answered on ~/found; may be set at any time")
    query_frames: int = parameter(
        8, "of a span of time that a question looks at, evenly chosen", minimum=1, maximum=10_000
    )
    max_objects: int = parameter(16, "of an answer, where a question does not say", minimum=1, maximum=1000)
    least_pixels: int = parameter(8, "of an object, as the network sees them", minimum=1, maximum=1_000_000)
    answer_megabytes: float = parameter(16.0, "of masks and points in an answer", minimum=0.01, maximum=100.0)
    cloud_megabytes: float = parameter(
        4.0, "of one cloud; more points are left out evenly", minimum=0.01, maximum=100.0, fixed_while="active"
    )

    def frame_settings(self) -> CameraFrameSettings:
        """What is listened to."""
        return CameraFrameSettings(
            camera=self.camera,
            use_depth=self.use_depth,
            use_masks=False,
            compressed=self.compressed,
            reliability=self.image_reliability,
            sync_slop=self.sync_slop,
            max_pixels=self.max_pixels,
            need_camera_info=self.need_camera_info,
        )

    def policy(self) -> CachePolicy:
        """What the stream remembers."""
        if self.cache_policy == "all":
            return KeepAll()
        return (
            KeepWindow(frames=self.cache_frames)
            if self.cache_policy == "window"
            else KeepBudget(tokens=self.cache_tokens)
        )

    def topic_settings(self) -> LanguageTopicSettings:
        """What is told."""
        return LanguageTopicSettings(
            publish_tf=self.publish_tf,
            transform_timeout=self.transform_timeout,
            max_bytes=int(self.cloud_megabytes * MEGABYTE),
        )

    def question_limits(self) -> QuestionLimits:
        """Bounds of answers."""
        return QuestionLimits(
            frames=self.query_frames,
            objects=self.max_objects,
            least_pixels=self.least_pixels,
            bytes=int(self.answer_megabytes * MEGABYTE),
        )
