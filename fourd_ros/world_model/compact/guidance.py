"""What the points rung shows, and the compact rung begins with."""

from collections.abc import Sequence

from fourd_ros.records import FloatArray, ObjectMotion, RolloutView
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.future import Future
from fourd_ros.world_model.scene import Scene


def compose(
    robot: RobotModel, scene: Scene, view: str, commanded: FloatArray, objects: Sequence[ObjectMotion]
) -> RolloutView:
    """The video of one camera: the robot as commanded over the observed scene, with things at their new places.

    Args:
        robot: the robot.
        scene: what was observed.
        view: name of the camera.
        commanded: positions of all actuated joints [rad | m], shape [T, J].
        objects: motions of things over the same steps; what is in none of them stays.

    Returns:
        Frames whose robot pixels are those of the rendering; labels of things; their sigma(t), 0 for what stays;
        ``observed_mask`` False where nothing that was seen is left or has come to.
    """
    return Future(robot, scene, commanded).view(view, objects)
