"""Motions that grasp: carry and put down or drop, stack, open and close."""

from dataclasses import replace

import numpy as np

from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint
from fourd_ros.simulation.motion import Chance, Motion, raised
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.skills import Execution, grasp_point, waypoints
from fourd_ros.simulation.tasks import Close, Open

_CARRY_LENGTH, _CARRY_SPEED = (0.10, 0.30), (0.20, 0.50)
_AFAR = np.array([0.32, 0.0, 0.42])


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
    over = Waypoint(position=np.append(goal, height), yaw=turned, pitch=chance.tilt(0.25), **held)
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
        Waypoint(position=raised(release, 0.1), yaw=taking.yaw, finger=FINGER_OPEN),
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
        position=raised(grasp, chance.uniform((0.0, 0.010))),
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
    away = replace(free, position=raised(over.position, 0.05), pause=0.0)
    match chance.rng.choice(("put", "drop", "on", "hold"), p=(0.4, 0.25, 0.15, 0.2)):
        case "put":
            return [replace(free, position=down, pitch=0.0, speed=chance.uniform((0.12, 0.3))), away]
        case "drop":
            return [free, away]
        case "on":
            there = np.append(chance.place(over.position[:2], _CARRY_LENGTH), over.position[2])
            return [replace(over, position=there, yaw=over.yaw + chance.uniform((-0.6, 0.6)))]
    return []


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


def pull(chance: Chance) -> Motion:
    """Come from afar, where nothing hides the handle, and pull at it: as it is aimed at, or beside it."""
    fixture = chance.scene.fixtures[0]
    dx, dy = chance.rng.normal(0.0, 1.0, 2) * chance.aim_noise
    fraction = chance.uniform((0.4, 1.0)) if chance.happens(0.3) else 1.0
    instruction = f"open the {fixture.label}"
    task = Open(target=fixture.name, instruction=instruction)
    ways = waypoints(task, chance.scene, Execution(aim=(float(dx), float(dy)), fraction=fraction))
    pace = chance.uniform((1.0, 1.8))
    turn, rise = (chance.rng.normal(0.0, 1.0, 2) * (0.2, 0.015)) if chance.happens(0.3) else (0.0, 0.0)
    ways = [
        replace(way, position=raised(way.position, max(-0.03, rise)), yaw=way.yaw + turn, speed=way.speed * pace)
        for way in ways
    ]
    start = ways[0].position + chance.uniform((0.4, 1.0)) * (_AFAR - ways[0].position)
    return Motion(
        instruction=instruction,
        start=replace(ways[0], position=start + np.append(chance.around(0.05), 0.0)),
        waypoints=tuple(ways),
    )
