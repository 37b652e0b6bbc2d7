"""Parameters of the compositional objects node."""

from dataclasses import dataclass

from fourd_ros.bridge.parameters import parameter
from fourd_ros.compositional.options import GUIDANCE, MAX_TOKENS, MotionOptions, SceneOptions
from fourd_ros.compositional.placed_objects import MIXED_SHARE, FilmOptions
from fourd_ros.compositional.segmentation.segmenter import SEGMENTERS
from fourd_ros.nodes.base import NodeParameters
from fourd_ros.nodes.camera_frames import CameraFrameSettings

MODEL = "compositional_compact"


@dataclass(frozen=True, kw_only=True)
class CompositionalObjectsParameters(NodeParameters):
    """Parameters of the compositional objects node."""

    camera: str = parameter(
        "camera", "namespace: <camera>/image, camera_info, depth, masks; it has to stand still", fixed_while="active"
    )
    use_depth: bool = parameter(
        True,
        "wait for a depth image beside every colour image; without, objects land in metres only by object_size",
        fixed_while="active",
    )
    use_masks: bool = parameter(
        False,
        "wait for <camera>/masks (mono8 or mono16: numbers of objects, 0 for none); without, the segmenter finds them",
        fixed_while="active",
    )
    segmenter: str = parameter(
        "background",
        f"finds objects where no masks are given: one of {sorted(SEGMENTERS)}, or module:Class",
        fixed_while="configured",
    )
    compressed: bool = parameter(
        False, "take <camera>/image/compressed and <camera>/depth/compressedDepth instead", fixed_while="active"
    )
    image_reliability: str = parameter(
        "best_effort", "of the camera subscriptions", choices=("best_effort", "reliable"), fixed_while="active"
    )
    sync_slop: float = parameter(
        0.01, "images of one instant differ by less [s]", minimum=0.0, maximum=1.0, fixed_while="active"
    )
    max_pixels: int = parameter(
        16_777_216, "larger images are refused", minimum=1, maximum=2**31 - 1, fixed_while="active"
    )
    frame_period: float = parameter(
        0.2, "least time between two frames that are kept [s]", minimum=0.0, maximum=60.0, fixed_while="active"
    )
    kept_frames: int = parameter(
        32, "the newest frames that goals can name", minimum=1, maximum=1000, fixed_while="active"
    )
    max_frames: int = parameter(16, "of one goal", minimum=1, maximum=1000)
    fixed_frame: str = parameter(
        "", "frame of everything that is published, in TF; empty: that of the camera", fixed_while="active"
    )
    transform_timeout: float = parameter(
        0.5, "a goal waits this long for the camera's place in the fixed frame [s]", minimum=0.0, maximum=10.0
    )
    model: str = parameter(MODEL, "weights, a folder or the name of shipped ones", fixed_while="configured")
    allow_noncommercial: bool = parameter(
        False, "load weights whose licence forbids commercial use", fixed_while="configured"
    )
    device: str = parameter("cpu", "that computes, as torch names it", fixed_while="configured")
    steps: int = parameter(12, "of the flow, for the scene and for each block of frames", minimum=1, maximum=1000)
    guidance: float = parameter(
        2.0,
        f"how much more the picture counts than without guidance ({GUIDANCE:g} in the original); 1 or less halves the "
        "time",
        minimum=0.0,
        maximum=100.0,
    )
    mixed_share: float = parameter(
        MIXED_SHARE, "share of the steps of motion in which objects see each other", minimum=0.0, maximum=1.0
    )
    block: int = parameter(8, "frames that are made at once", minimum=1, maximum=1000)
    memory: int = parameter(12, "frames at once at most, known ones among them", minimum=1, maximum=1000)
    tokens: int = parameter(0, "of each object; 0: as many as the model is used to", minimum=0, maximum=MAX_TOKENS)
    seed: int = parameter(0, "of the noise", minimum=0, maximum=2**31 - 1)
    fill: float = parameter(
        0.6,
        "share of the network's picture that all objects together take; 0 shows it the whole frame",
        minimum=0.0,
        maximum=1.0,
    )
    resolution: int = parameter(64, "points of the lattice of meshes along an axis: 32, 64, 128 ...", minimum=2)
    max_faces: int = parameter(1000, "of a mesh; 0 keeps all of them", minimum=0, maximum=200_000)
    object_size: float = parameter(
        0.0,
        "largest extent of every object [m], which places them where there is no depth; 0: unknown",
        minimum=0.0,
        maximum=1000.0,
    )
    playback_period: float = parameter(
        0.1,
        "between two frames of the newest answer on ~/objects and ~/markers [s]",
        minimum=0.02,
        maximum=60.0,
        fixed_while="active",
    )
    loop: bool = parameter(True, "show the newest answer again and again; else its last frame stays")
    max_queued_goals: int = parameter(
        4, "goals that may wait; more are rejected", minimum=0, maximum=1000, fixed_while="configured"
    )

    def frame_settings(self) -> CameraFrameSettings:
        """What is listened to."""
        return CameraFrameSettings(
            camera=self.camera,
            use_depth=self.use_depth,
            use_masks=self.use_masks,
            compressed=self.compressed,
            reliability=self.image_reliability,
            sync_slop=self.sync_slop,
            max_pixels=self.max_pixels,
        )

    def film_options(self) -> FilmOptions:
        """How objects are made.

        Raises:
            InvalidParameter: numbers that cannot be together.
        """
        return FilmOptions(
            fill=self.fill or None,
            resolution=self.resolution,
            max_faces=self.max_faces,
            object_size=self.object_size or None,
            tokens=self.tokens or None,
            seed=self.seed,
            scene=SceneOptions(steps=self.steps, mixed_steps=self.steps, guidance=self.guidance),
            motion=MotionOptions(
                steps=self.steps,
                mix_cutoff=round(self.mixed_share * self.steps) - 1,
                block=self.block,
                memory=self.memory,
                guidance=self.guidance,
            ),
        )
