"""What happens on the table of the compact world model's data, and how often; much of it goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint
from fourd_ros.simulation.grasping import carry, pull, stack, use_fixture
from fourd_ros.simulation.motion import ATTEMPTS, Chance, Motion
from fourd_ros.simulation.pushing import push, shove_into, sweep
from fourd_ros.simulation.scene import WORKSPACE


def miss(chance: Chance) -> Motion:
    """Move near things and touch none of them."""
    item = chance.target()
    clear = item.position[2] + item.size[2] / 2 + chance.uniform((0.02, 0.10))
    yaw = chance.uniform((-1.5, 1.5))
    points = [np.array(item.position[:2]) + chance.around(0.06)]
    for _ in range(int(chance.rng.integers(1, 4))):
        points.append(chance.place(points[-1], (0.08, 0.25)))
    tallest = max(other.position[2] + other.size[2] / 2 for other in chance.scene.objects) + 0.02
    ways = [
        Waypoint(
            position=np.append(point, clear if index == 0 else max(tallest, clear) + chance.uniform((0.0, 0.12))),
            yaw=yaw + chance.uniform((-0.5, 0.5)),
            finger=float(chance.rng.choice((FINGER_CLOSED, FINGER_OPEN))),
            speed=chance.uniform((0.15, 0.45)),
            pause=chance.uniform((0.0, 0.5)),
        )
        for index, point in enumerate(points)
    ]
    height = np.array([0.0, 0.0, chance.uniform((0.06, 0.16))])
    start = replace(ways[0], position=ways[0].position + np.append(chance.around(0.04), 0.0) + height)
    return Motion(instruction="move and touch nothing", start=start, waypoints=tuple(ways))


def idle(chance: Chance) -> Motion:
    """Stand still, or move the fingers only."""
    place = np.array([chance.uniform(bounds) for bounds in WORKSPACE])
    start = Waypoint(
        position=np.append(place, chance.uniform((0.16, 0.35))),
        yaw=chance.uniform((-1.5, 1.5)),
        finger=chance.uniform((FINGER_CLOSED, FINGER_OPEN)),
    )
    fingers = [replace(start, finger=chance.uniform((FINGER_CLOSED, FINGER_OPEN)), pause=0.7) for _ in range(3)]
    moves = chance.happens(0.5)
    return Motion(
        instruction="open and close the fingers" if moves else "stand still",
        start=start,
        waypoints=tuple(fingers) if moves else (),
    )


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A family of motions.

    Args:
        share: of the episodes.
        motion: draws one of it.
        objects: least and greatest number of objects it needs.
        fixture: whether it needs a drawer or a lid.
        flat_base: whether it needs an object on which another one can stand.
        aim_noises: standard deviations of the aim, one of which is drawn [m].
    """

    share: float
    motion: Callable[[Chance], Motion]
    objects: tuple[int, int] = (1, 4)
    fixture: bool = False
    flat_base: bool = False
    aim_noises: tuple[float, ...] = (0.0, 0.005, 0.015, 0.03)

    def draw(self, chance: Chance) -> Motion:
        """A motion that stays in reach, as far as one is found."""
        for _ in range(ATTEMPTS):
            motion = self.motion(chance)
            if motion.in_reach:
                break
        return motion


_CAREFUL = (0.0, 0.0, 0.0, 0.005, 0.005, 0.015, 0.03)

BEHAVIOURS: dict[str, Behaviour] = {
    "push": Behaviour(share=0.23, motion=push),
    "push_into": Behaviour(share=0.08, motion=shove_into, objects=(2, 4)),
    "carry": Behaviour(share=0.42, motion=carry, aim_noises=_CAREFUL),
    "stack": Behaviour(share=0.09, motion=stack, objects=(2, 4), flat_base=True, aim_noises=_CAREFUL),
    "sweep": Behaviour(share=0.06, motion=sweep),
    "fixture": Behaviour(share=0.06, motion=use_fixture, objects=(1, 2), fixture=True, aim_noises=_CAREFUL),
    "miss": Behaviour(share=0.04, motion=miss),
    "idle": Behaviour(share=0.02, motion=idle),
    "pull": Behaviour(share=0.0, motion=pull, objects=(1, 2), fixture=True),
}
"""Shares add up to one; splits may have other ones. More grasps than pushes begin, because a fair part fails."""
