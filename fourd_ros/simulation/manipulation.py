"""Short motions full of contact, drawn at random: pushes, grasps, stacks, sweeps, misses; many of them go wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.scene import WORKSPACE, SceneSpec
from fourd_ros.simulation.skills import FINGER_DEPTH, LOWEST_TIP, Execution, grasp_point, support, waypoints
from fourd_ros.simulation.tasks import Close, Open

FloatArray = NDArray[np.float64]
Range = tuple[float, float]

_REACH: tuple[Range, Range] = ((0.27, 0.70), (-0.42, 0.42))
_FARTHEST = 0.74
_ATTEMPTS = 40
_PUSH_LENGTH, _PUSH_SPEED = (0.10, 0.25), (0.10, 0.40)
_CARRY_LENGTH, _CARRY_SPEED = (0.10, 0.30), (0.20, 0.50)
_SWEEP_SPEED = (0.25, 0.50)
_HEADING_ERROR = 0.12


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the robot is commanded to do in one scene.

    Args:
        instruction: in words.
        start: where the gripper is before.
        waypoints: where it goes, in order; none for standing still.
    """

    instruction: str
    start: Waypoint
    waypoints: tuple[Waypoint, ...]

    @property
    def in_reach(self) -> bool:
        """Whether the gripper gets everywhere."""
        return all(reachable(point.position[:2]) for point in (self.start, *self.waypoints))


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What a motion is drawn from.

    Args:
        scene: where things are now.
        rng: of everything that is random.
        aim_noise: standard deviation of where things are believed to be, in x and y each [m].
    """

    scene: SceneSpec
    rng: np.random.Generator
    aim_noise: float

    def uniform(self, bounds: Range) -> float:
        """A number between the bounds."""
        return float(self.rng.uniform(*bounds))

    def happens(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def target(self) -> ObjectSpec:
        """One of the objects, where it is believed to be."""
        return self.believed(self.scene.objects[self.rng.integers(len(self.scene.objects))])

    def believed(self, item: ObjectSpec) -> ObjectSpec:
        """`item` where the robot believes it to be."""
        x, y, z = item.position
        dx, dy = self.rng.normal(0.0, 1.0, 2) * self.aim_noise
        return replace(item, position=(x + float(dx), y + float(dy), z))

    def around(self, radius: float) -> FloatArray:
        """A point in a disc about zero [m], shape [2]."""
        angle, distance = self.rng.uniform(-np.pi, np.pi), radius * np.sqrt(self.rng.random())
        return np.asarray(np.array([np.cos(angle), np.sin(angle)]) * distance)

    def place(self, start: FloatArray, lengths: Range) -> FloatArray:
        """A place in reach at a distance from `start` [m], shape [2]."""
        for _ in range(_ATTEMPTS):
            place = start + self.uniform(lengths) * _direction(self.uniform((-np.pi, np.pi)))
            if reachable(place):
                return place
        return np.array([0.5, 0.0])


def reachable(place: FloatArray) -> bool:
    """Whether the gripper gets to a place [x, y] on the table, fingers down."""
    inside = all(low <= value <= high for value, (low, high) in zip(place, _REACH, strict=True))
    return bool(inside and np.hypot(*place) < _FARTHEST)


def push(chance: Chance) -> Motion:
    """Shove an object along the table in any direction."""
    item = chance.target()
    centre = np.array(item.position[:2])
    for _ in range(_ATTEMPTS):
        heading, length = chance.uniform((-np.pi, np.pi)), chance.uniform(_PUSH_LENGTH)
        ahead = _direction(heading)
        if reachable(centre + ahead * length) and reachable(centre - ahead * (support(item, heading) + 0.08)):
            break
    return _shove(chance, item, heading, length, f"push the {item.label}")


def shove_into(chance: Chance) -> Motion:
    """Shove an object against another one."""
    first, second = chance.rng.choice(len(chance.scene.objects), 2, replace=False)
    item, other = chance.believed(chance.scene.objects[first]), chance.scene.objects[second]
    way = np.array(other.position[:2]) - np.array(item.position[:2])
    heading = float(np.arctan2(way[1], way[0]) + chance.rng.normal() * _HEADING_ERROR)
    length = float(np.linalg.norm(way)) + chance.uniform((0.0, 0.12))
    return _shove(chance, item, heading, min(length, 0.32), f"push the {item.label} against the {other.label}")


def _shove(chance: Chance, item: ObjectSpec, heading: float, length: float, instruction: str) -> Motion:
    rng, ahead = chance.rng, _direction(heading)
    aside = np.array([-ahead[1], ahead[0]])
    offset = chance.uniform((-0.6, 0.6)) * min(item.size[:2]) / 2 if chance.happens(0.6) else 0.0
    contact = np.array(item.position[:2]) - ahead * (support(item, heading) + FINGER_DEPTH) + aside * offset
    height = _height_on(chance, item)
    yaw = heading + float(rng.choice((0.0, np.pi / 2, rng.uniform(-np.pi / 2, np.pi / 2)), p=(0.55, 0.2, 0.25)))
    finger = float(rng.choice((FINGER_CLOSED, FINGER_OPEN, rng.uniform(FINGER_CLOSED, FINGER_OPEN)), p=(0.6, 0.2, 0.2)))
    posture = {"yaw": yaw, "finger": finger, "pitch": _tilt(chance, 0.2)}
    speed = chance.uniform(_PUSH_SPEED)
    behind = contact - ahead * chance.uniform((0.01, 0.04))
    ways = [Waypoint(position=np.append(behind, height), speed=chance.uniform((0.2, 0.4)), **posture)]
    end = contact + ahead * length
    if chance.happens(0.3):
        # A bend on the way.
        middle = contact + ahead * length * chance.uniform((0.4, 0.7))
        ways.append(Waypoint(position=np.append(middle, height), speed=speed, **posture))
        end = middle + _direction(heading + chance.uniform((-0.9, 0.9))) * length * 0.5
    ways.append(Waypoint(position=np.append(end, height), speed=speed, pause=chance.uniform((0.0, 0.4)), **posture))
    if chance.happens(0.5):
        back = end - ahead * chance.uniform((0.03, 0.08))
        ways.append(Waypoint(position=np.append(back, height + chance.uniform((0.0, 0.15))), **posture))
    approach = np.append(behind - ahead * chance.uniform((0.03, 0.12)), height + chance.uniform((0.0, 0.10)))
    start = Waypoint(position=approach, **posture)
    return Motion(instruction=instruction, start=start, waypoints=tuple(ways))


def carry(chance: Chance) -> Motion:
    """Take an object and carry it; then put it down, drop it, or go on holding it."""
    item = chance.target()
    taking = _take(chance, item)
    grasp, yaw, finger = taking.position, taking.yaw, taking.finger
    height = grasp[2] + chance.uniform((0.04, 0.20))
    speed = chance.uniform(_CARRY_SPEED)
    goal = chance.place(grasp[:2], _CARRY_LENGTH)
    turned = yaw + (chance.uniform((-0.8, 0.8)) if chance.happens(0.5) else 0.0)
    held = {"finger": finger, "speed": speed}
    ways = [taking]
    if chance.happens(0.7):
        ways.append(Waypoint(position=np.append(grasp[:2], height), yaw=yaw, **held))
    over = Waypoint(position=np.append(goal, height), yaw=turned, pitch=_tilt(chance, 0.25), **held)
    ways.append(over)
    ways += _letting_go(chance, over, grasp[2] + 0.004)
    return Motion(instruction=f"carry the {item.label}", start=_before(chance, taking), waypoints=tuple(ways))


def stack(chance: Chance) -> Motion:
    """Put an object on another one."""
    bases = [index for index, item in enumerate(chance.scene.objects) if item.flat_top]
    base = chance.scene.objects[bases[chance.rng.integers(len(bases))]]
    others = [item for item in chance.scene.objects if item.name != base.name]
    item = chance.believed(others[chance.rng.integers(len(others))])
    taking = _take(chance, item)
    top = chance.believed(base)
    shift = np.array(top.position[:2]) - np.array(item.position[:2])
    release = taking.position + np.append(shift, base.position[2] + base.size[2] / 2 + chance.uniform((0.002, 0.015)))
    high = release[2] + chance.uniform((0.02, 0.06))
    held = {"yaw": taking.yaw, "finger": taking.finger, "speed": chance.uniform(_CARRY_SPEED)}
    ways = (
        taking,
        Waypoint(position=np.append(taking.position[:2], high), **held),
        Waypoint(position=np.append(release[:2], high), **held),
        Waypoint(position=release, yaw=taking.yaw, finger=FINGER_OPEN, speed=0.15, pause=0.3),
        Waypoint(position=_raised(release, 0.1), yaw=taking.yaw, finger=FINGER_OPEN),
    )
    instruction = f"put the {item.label} on the {base.label}"
    return Motion(instruction=instruction, start=_before(chance, taking), waypoints=ways)


def _take(chance: Chance, item: ObjectSpec) -> Waypoint:
    """The waypoint at which the fingers close around `item`."""
    grasp, yaw = grasp_point(item)
    if item.grasp.free_yaw:
        yaw = chance.uniform((-np.pi / 2, np.pi / 2))
    yaw += float(chance.rng.normal()) * 0.08 + (chance.uniform((-0.7, 0.7)) if chance.happens(0.1) else 0.0)
    return Waypoint(
        position=_raised(grasp, chance.uniform((0.0, 0.010))),
        yaw=yaw,
        finger=FINGER_CLOSED if chance.happens(0.7) else chance.uniform((0.0, 0.010)),
        speed=chance.uniform((0.12, 0.30)),
        pause=chance.uniform((0.25, 0.45)),
    )


def _before(chance: Chance, taking: Waypoint) -> Waypoint:
    """Open fingers above the place of a grasp."""
    shift = np.append(chance.around(0.02), chance.uniform((0.05, 0.15)))
    return replace(taking, position=taking.position + shift, finger=chance.uniform((0.034, FINGER_OPEN)))


def _letting_go(chance: Chance, over: Waypoint, ground: float) -> list[Waypoint]:
    """What happens at the end of the way: put down, dropped, carried on, or held."""
    free = replace(over, finger=FINGER_OPEN, pause=chance.uniform((0.2, 0.5)))
    down = np.append(over.position[:2], ground)
    away = replace(free, position=_raised(over.position, 0.05), pause=0.0)
    match chance.rng.choice(("put", "drop", "on", "hold"), p=(0.4, 0.25, 0.15, 0.2)):
        case "put":
            return [replace(free, position=down, pitch=0.0, speed=chance.uniform((0.12, 0.3))), away]
        case "drop":
            return [free, away]
        case "on":
            there = np.append(chance.place(over.position[:2], _CARRY_LENGTH), over.position[2])
            return [replace(over, position=there, yaw=over.yaw + chance.uniform((-0.6, 0.6)))]
    return []


def sweep(chance: Chance) -> Motion:
    """Go fast through the things on the table."""
    speed = chance.uniform(_SWEEP_SPEED)
    finger = float(chance.rng.choice((FINGER_CLOSED, FINGER_OPEN)))
    points: list[FloatArray] = []
    for _ in range(int(chance.rng.integers(1, 3))):
        item, ahead = chance.target(), _direction(chance.uniform((-np.pi, np.pi)))
        centre = np.array(item.position[:2]) + chance.around(0.02)
        for way in (-chance.uniform((0.10, 0.18)), chance.uniform((0.08, 0.22))):
            points.append(np.append(_into_reach(centre + ahead * way), _height_on(chance, item)))
    ways = [
        Waypoint(
            position=point,
            yaw=chance.uniform((-1.5, 1.5)),
            pitch=_tilt(chance, 0.4),
            finger=finger,
            speed=speed,
        )
        for point in points
    ]
    return Motion(instruction="sweep through the things on the table", start=ways[0], waypoints=tuple(ways[1:]))


def use_fixture(chance: Chance) -> Motion:
    """Open or close the drawer or the lid, not always to the end and not always with a good grip."""
    fixture = chance.scene.fixtures[0]
    dx, dy = chance.rng.normal(0.0, 1.0, 2) * chance.aim_noise * 0.6
    fraction = chance.uniform((0.4, 1.0)) if chance.happens(0.5) else 1.0
    execution = Execution(aim=(float(dx), float(dy)), fraction=fraction)
    verb, task = ("close", Close) if fixture.opening > 0.0 else ("open", Open)
    instruction = f"{verb} the {fixture.label}"
    above, *ways = waypoints(task(target=fixture.name, instruction=instruction), chance.scene, execution)
    pace = chance.uniform((1.0, 2.2))
    first = ways[0].position + (above.position - ways[0].position) * min(1.0, chance.uniform((0.4, 1.0)))
    start = replace(above, position=first + np.append(chance.around(0.03), 0.0))
    return Motion(
        instruction=instruction,
        start=start,
        waypoints=tuple(replace(point, speed=point.speed * pace) for point in ways),
    )


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


def _height_on(chance: Chance, item: ObjectSpec) -> float:
    """A height at which a push meets `item`."""
    bottom = item.position[2] - item.size[2] / 2
    return max(LOWEST_TIP, bottom + item.size[2] * chance.uniform((0.15, 0.8)))


def _tilt(chance: Chance, probability: float) -> float:
    """Of the hand about the axis in which its fingers close; mostly none [rad]."""
    return chance.uniform((-0.35, 0.35)) if chance.happens(probability) else 0.0


def _raised(point: FloatArray, height: float) -> FloatArray:
    return np.array([point[0], point[1], point[2] + height])


def _into_reach(place: FloatArray) -> FloatArray:
    low, high = np.array(_REACH).T
    inside = np.clip(place, low, high)
    return np.asarray(inside * min(1.0, _FARTHEST / float(np.hypot(*inside))))


def _direction(angle: float) -> FloatArray:
    return np.array([np.cos(angle), np.sin(angle)])


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
        for _ in range(_ATTEMPTS):
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
}
"""Shares add up to one. More grasps than pushes begin, because a fair part of them fails."""
