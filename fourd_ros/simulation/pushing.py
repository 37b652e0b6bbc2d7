"""Motions that push: one thing, one against another, whatever is in the way."""

import numpy as np

from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint
from fourd_ros.simulation.motion import ATTEMPTS, Chance, FloatArray, Motion, direction, into_reach, reachable
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.skills import FINGER_DEPTH, support

_PUSH_LENGTH, _PUSH_SPEED = (0.10, 0.25), (0.10, 0.40)
_SWEEP_SPEED = (0.25, 0.50)
_HEADING_ERROR = 0.12


def push(chance: Chance) -> Motion:
    """Shove an object along the table in any direction."""
    item = chance.target()
    centre = np.array(item.position[:2])
    for _ in range(ATTEMPTS):
        heading, length = chance.uniform((-np.pi, np.pi)), chance.uniform(_PUSH_LENGTH)
        ahead = direction(heading)
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
    rng, ahead = chance.rng, direction(heading)
    aside = np.array([-ahead[1], ahead[0]])
    offset = chance.uniform((-0.6, 0.6)) * min(item.size[:2]) / 2 if chance.happens(0.6) else 0.0
    contact = np.array(item.position[:2]) - ahead * (support(item, heading) + FINGER_DEPTH) + aside * offset
    height = chance.height_on(item)
    yaw = heading + float(rng.choice((0.0, np.pi / 2, rng.uniform(-np.pi / 2, np.pi / 2)), p=(0.55, 0.2, 0.25)))
    finger = float(rng.choice((FINGER_CLOSED, FINGER_OPEN, rng.uniform(FINGER_CLOSED, FINGER_OPEN)), p=(0.6, 0.2, 0.2)))
    posture = {"yaw": yaw, "finger": finger, "pitch": chance.tilt(0.2)}
    speed = chance.uniform(_PUSH_SPEED)
    behind = contact - ahead * chance.uniform((0.01, 0.04))
    ways = [Waypoint(position=np.append(behind, height), speed=chance.uniform((0.2, 0.4)), **posture)]
    end = contact + ahead * length
    if chance.happens(0.3):
        # A bend on the way.
        middle = contact + ahead * length * chance.uniform((0.4, 0.7))
        ways.append(Waypoint(position=np.append(middle, height), speed=speed, **posture))
        end = middle + direction(heading + chance.uniform((-0.9, 0.9))) * length * 0.5
    ways.append(Waypoint(position=np.append(end, height), speed=speed, pause=chance.uniform((0.0, 0.4)), **posture))
    if chance.happens(0.5):
        back = end - ahead * chance.uniform((0.03, 0.08))
        ways.append(Waypoint(position=np.append(back, height + chance.uniform((0.0, 0.15))), **posture))
    approach = np.append(behind - ahead * chance.uniform((0.03, 0.12)), height + chance.uniform((0.0, 0.10)))
    start = Waypoint(position=approach, **posture)
    return Motion(instruction=instruction, start=start, waypoints=tuple(ways))


def sweep(chance: Chance) -> Motion:
    """Go fast through the things on the table."""
    speed = chance.uniform(_SWEEP_SPEED)
    finger = float(chance.rng.choice((FINGER_CLOSED, FINGER_OPEN)))
    points: list[FloatArray] = []
    for _ in range(int(chance.rng.integers(1, 3))):
        item, ahead = chance.target(), direction(chance.uniform((-np.pi, np.pi)))
        centre = np.array(item.position[:2]) + chance.around(0.02)
        for way in (-chance.uniform((0.10, 0.18)), chance.uniform((0.08, 0.22))):
            points.append(np.append(into_reach(centre + ahead * way), chance.height_on(item)))
    ways = [
        Waypoint(
            position=point,
            yaw=chance.uniform((-1.5, 1.5)),
            pitch=chance.tilt(0.4),
            finger=finger,
            speed=speed,
        )
        for point in points
    ]
    return Motion(instruction="sweep through the things on the table", start=ways[0], waypoints=tuple(ways[1:]))
