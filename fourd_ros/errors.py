"""Typed errors. Every message says what was given, what is needed, and how to get it.

``kind`` names the counter that a node raises in its diagnostics when it meets the error,
so one name serves the exception, the counter and the documentation.
"""

from typing import ClassVar


class FourdError(Exception):
    """Base of every error that this package raises on purpose."""

    kind: ClassVar[str] = "error"


class InvalidInput(FourdError):
    """Data from outside does not mean what it must; the sender has to change it."""

    kind = "invalid_input"


class InvalidImage(InvalidInput):
    """Wrong encoding, row step or buffer size."""

    kind = "invalid_image"


class ImageTooLarge(InvalidInput):
    """More pixels or bytes than the configured bound; nothing was allocated."""

    kind = "image_too_large"


class InvalidCamera(InvalidInput):
    """Zero, NaN or singular intrinsics, or an unknown distortion model."""

    kind = "invalid_camera"


class MissingCamera(InvalidInput):
    """An image arrived and no calibration for it ever did, or the view is not known."""

    kind = "missing_camera"


class InvalidCloud(InvalidInput):
    """A point cloud whose fields, steps or sizes contradict each other."""

    kind = "invalid_cloud"


class InvalidGaussians(InvalidInput):
    """Gaussians of the wrong shape or type, values that are not finite, or a file that holds none."""

    kind = "invalid_gaussians"


class InvalidJoints(InvalidInput):
    """Unknown, duplicate, missing or non-finite joints."""

    kind = "invalid_joints"


class UnknownJoints(InvalidInput):
    """A message names joints that the robot description does not have."""

    kind = "unknown_joints"


class JointLimitExceeded(InvalidInput):
    """A commanded position or speed lies outside the limits of the robot description."""

    kind = "joint_limit_exceeded"


class InvalidTrajectory(InvalidInput):
    """Empty, too long, or with times that do not increase."""

    kind = "invalid_trajectory"


class TrajectoryTooOld(InvalidTrajectory):
    """All of it lies in the past."""

    kind = "trajectory_too_old"


class TransformUnavailable(FourdError):
    """The TF tree has no path, a gap, or nothing at that time."""

    kind = "transform_unavailable"


class InvalidTransform(InvalidInput):
    """A transform that is not rigid, not finite, nameless, or would close a circle in the TF tree."""

    kind = "invalid_transform"


class InvalidParameter(InvalidInput):
    """A node parameter of the wrong type, out of range, or none of its choices."""

    kind = "invalid_parameter"


class InvalidRobotDescription(InvalidInput):
    """The URDF cannot be read: malformed, cyclic, several roots, unknown references."""

    kind = "invalid_robot_description"


class MeshUnavailable(FourdError):
    """A mesh file is missing, unreadable, or too large."""

    kind = "mesh_unavailable"


class InvalidMesh(InvalidInput):
    """A surface whose triangles name vertices that are not there, with values that are not finite, or none at all."""

    kind = "invalid_mesh"


class InvalidField(InvalidInput):
    """A field whose values are not finite, or change their sign so often that no surface can be meant."""

    kind = "invalid_field"


class PathNotAllowed(FourdError):
    """A file outside the allowed roots was asked for."""

    kind = "path_not_allowed"


class AlreadyExists(FourdError):
    """Something lies where a new one shall be made; nothing was changed."""

    kind = "already_exists"


class InvalidBag(InvalidInput):
    """A bag that is truncated, unindexed, or lacks what was asked of it."""

    kind = "invalid_bag"


class UnknownMessageType(InvalidBag):
    """No definition of a message type is at hand, or the bytes are not of that type."""

    kind = "unknown_message_type"


class InvalidEpisode(InvalidInput):
    """An episode file that lacks arrays or holds them in the wrong shape."""

    kind = "invalid_episode"


class InvalidRollout(InvalidInput):
    """A rollout or its file that lacks arrays or holds them in the wrong shape, or in which no point is known."""

    kind = "invalid_rollout"


class InvalidDataset(InvalidInput):
    """A folder of episodes that is damaged, incomplete, or lacks what was asked of it."""

    kind = "invalid_dataset"


class JobFailed(FourdError):
    """One of many parallel jobs failed, or its worker was killed each time it was begun."""

    kind = "job_failed"


class InvalidClip(InvalidInput):
    """A video, folder or bag that gives no frames, or frames, depth and masks that do not fit together."""

    kind = "invalid_clip"


class InvalidTracks(InvalidInput):
    """Point tracks of the wrong shape, or visible where they are not known."""

    kind = "invalid_tracks"


class CannotReconstruct(FourdError):
    """Nothing in the clip tells of the camera's path: too few tracks, or all of them on things that move."""

    kind = "cannot_reconstruct"


class InvalidText(InvalidInput):
    """A text to look for that is empty or too long."""

    kind = "invalid_text"


class InvalidThreshold(InvalidInput):
    """A threshold that is not 0 to 1."""

    kind = "invalid_threshold"


class InvalidTime(InvalidInput):
    """A span of time that ends before it begins."""

    kind = "invalid_time"


class InvalidDrag(InvalidInput):
    """No drag, too many, or one that is not finite or off every object."""

    kind = "invalid_drag"


class InvalidModel(InvalidInput):
    """A model folder that lacks files, or whose files contradict each other."""

    kind = "invalid_model"


class CorruptModel(InvalidModel):
    """A file of a model folder is not the one that was written: its hash or size differs."""

    kind = "corrupt_model"


class WeightMismatch(InvalidModel):
    """Names or shapes of weights are not those of the network or of their index; the message lists every difference."""

    kind = "weight_mismatch"


class UnknownModel(InvalidInput):
    """No model, network or training of that name is registered."""

    kind = "unknown_model"


class InvalidCheckpoint(InvalidInput):
    """A checkpoint that cannot be read, or is not of the system or run it was given for."""

    kind = "invalid_checkpoint"


class UnsafeCheckpoint(InvalidCheckpoint):
    """A pickle that would build objects which are not on the list of allowed types; nothing was run."""

    kind = "unsafe_checkpoint"


class ExportMismatch(FourdError):
    """A network cannot be exported, or does not compute what the original computes; nothing was written."""

    kind = "export_mismatch"


class InvalidConfig(InvalidInput):
    """A configuration with unknown names, wrong types or values out of range."""

    kind = "invalid_config"


class InvalidResults(InvalidInput):
    """Results that contradict themselves: unknown or duplicate names, values that do not fit, a damaged file."""

    kind = "invalid_results"


class TrainingFailed(FourdError):
    """A run cannot go on: its loss is not finite, or its files cannot be written; the last checkpoint stays."""

    kind = "training_failed"


class UnknownTask(InvalidInput):
    """No simulated task or policy of that name, or a scene that lacks what the task needs."""

    kind = "unknown_task"


class UnknownPolicy(InvalidInput):
    """No policy of that name is registered, or none for the task."""

    kind = "unknown_policy"


class ContractViolated(InvalidInput):
    """A world does not tell a policy what it needs to know, or takes no commands for its joints."""

    kind = "contract_violated"


class InvalidMessage(InvalidInput):
    """Bytes or values from a program at the other end of a connection that are no message of its protocol."""

    kind = "invalid_message"


class PolicyFailed(FourdError):
    """A policy gave no answer in time, or none that a robot could follow."""

    kind = "policy_failed"


class EndpointFailed(FourdError):
    """A model behind an address refuses, fails, is late, or answers something else than was asked for."""

    kind = "endpoint_failed"


class JudgeFailed(FourdError):
    """A judge of outcomes gave no answer that could be read."""

    kind = "judge_failed"


class NoObservation(FourdError):
    """The question cannot be asked yet: images, joints or transforms are missing."""

    kind = "no_observation"


class UnknownObservation(NoObservation):
    """Nothing of the stamp asked for is remembered (any more)."""

    kind = "unknown_observation"


class NotActive(FourdError):
    """The node is not in the lifecycle state that the request needs."""

    kind = "not_active"


class UnknownBackend(InvalidInput):
    """No world model of that name is registered, or none fits the deadline."""

    kind = "unknown_backend"


class LicenceRefused(FourdError):
    """The weights are non-commercial and ``allow_noncommercial`` is false."""

    kind = "licence_refused"


class QueueFull(FourdError):
    """As many goals as ``max_queued_goals`` wait already."""

    kind = "queue_full"


class Superseded(FourdError):
    """A newer goal named the same slot."""

    kind = "superseded"


class DriftTooLarge(FourdError):
    """What is imagined rests on too many frames that were themselves imagined; it must be reset."""

    kind = "drift_too_large"


class UnknownEpisode(InvalidInput):
    """No episode or bag of that name lies below the configured folders."""

    kind = "unknown_episode"


class UnknownSource(InvalidInput):
    """A kind of start that an imagination cannot begin with."""

    kind = "unknown_source"


class DeadlineMissed(FourdError):
    """Even the quickest backend could not answer in time."""

    kind = "deadline_missed"


class Cancelled(FourdError):
    """The caller took the question back."""

    kind = "cancelled"


class UnknownRollout(InvalidInput):
    """No rollout of that id was ever made here, or an index lies outside it."""

    kind = "unknown_rollout"


class RolloutExpired(FourdError):
    """The rollout existed and its place was given to newer ones."""

    kind = "rollout_expired"


class TooLarge(InvalidInput):
    """The answer or the request exceeds a byte or count bound."""

    kind = "too_large"


class ClockConflict(FourdError):
    """More than one publisher of ``/clock``."""

    kind = "clock_conflict"


class NoSubscriber(FourdError):
    """Nobody listens to a topic that was to be heard."""

    kind = "no_subscriber"


class MissingDependency(FourdError):
    """An optional library or system package is needed; the message names the command that brings it."""

    kind = "missing_dependency"


class MissingResource(FourdError):
    """A file that comes with the package is not where it was installed."""

    kind = "missing_resource"


class UnknownSystem(InvalidInput):
    """No checks are registered under that name."""

    kind = "unknown_system"


class InvalidManifest(InvalidInput):
    """MANIFEST.json is missing, malformed, or states a tolerance that cannot be checked."""

    kind = "invalid_manifest"


class InvalidVectors(InvalidInput):
    """A file of reference vectors is missing, unreadable, or lacks a tensor."""

    kind = "invalid_vectors"
