"""What was found in a clip, as files: result.json, a picture, masks by frame, and clouds."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.scene_language.clip_search import ClipAnswer
from fourd_ros.scene_language.found_picture import found_picture, with_legend
from fourd_ros.scene_language.found_things import FoundThing
from fourd_ros.whole_file import whole_file, whole_folder, write_whole

RESULT, PICTURE, MASKS, CLOUDS = "result.json", "found.png", "masks", "clouds"

PICTURES, HEIGHT = 4, 360
"""Frames that the picture shows, and how high each is [px]."""

POINT = np.dtype([*((axis, "<f4") for axis in "xyz"), *((colour, "u1") for colour in ("red", "green", "blue"))])


def write_answer(answer: ClipAnswer, folder: Path) -> dict[str, Any]:
    """Write a folder, whole or not at all; returns what ``result.json`` says.

    ``masks/<text>/<frame>.png`` (white where the text is, in the size of the clip) are there for frames that have it,
    ``clouds/<text>.ply`` (points of all its things where they were seen last) for texts that were found.
    """
    told = summary(answer)
    with whole_folder(folder) as new:
        for number, name in enumerate(_names(answer.texts)):
            for index, frame in enumerate(answer.frames):
                if answer.masks[index, number].any():
                    mask = frame.view.image_of(answer.masks[index, number])
                    _write_png(new / MASKS / name / f"{index:06d}.png", mask.astype(np.uint8) * np.uint8(255))
            if answer.things[number]:
                _write_ply(new / CLOUDS / f"{name}.ply", answer.things[number])
        _write_png(new / PICTURE, picture(answer))
        write_whole(new / RESULT, json.dumps(told, indent=1) + "\n")
    return told


def summary(answer: ClipAnswer) -> dict[str, Any]:
    """What was found, as JSON can hold it; lengths in metres where ``metric`` is true."""
    return {
        "frames": len(answer.frames),
        "metric": answer.scale.is_known,
        "metres_from": answer.scale.source,
        "texts": [
            {
                "text": text,
                "found": bool(things),
                "frames": np.flatnonzero(answer.masks[:, number].any(axis=(1, 2))).tolist(),
                "things": [_thing(thing) for thing in things],
            }
            for number, (text, things) in enumerate(zip(answer.texts, answer.things, strict=True))
        ],
    }


def picture(answer: ClipAnswer) -> NDArray[np.uint8]:
    """Some frames beside each other, with masks and a legend."""
    chosen = np.unique(np.linspace(0, len(answer.frames) - 1, PICTURES).round().astype(int))
    shown = []
    for index in chosen:
        frame = answer.frames[index]
        scale = HEIGHT / frame.rgb.shape[0]
        size = (round(frame.rgb.shape[1] * scale), HEIGHT)
        rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_CUBIC)
        masks = [
            cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in answer.masks[index]
        ]
        shown.append(found_picture(np.asarray(rgb, np.uint8), np.stack(masks).astype(bool)))
    return with_legend(np.concatenate(shown, axis=1), answer.texts, [bool(things) for things in answer.things])


def _thing(thing: FoundThing) -> dict[str, Any]:
    return {
        "relevancy": round(thing.relevancy, 4),
        "frames": thing.frames,
        "moved": thing.moved,
        "last_seen_ns": thing.last.frame.stamp_ns,
        "centre": [round(float(value), 4) for value in thing.last.centre],
        "size": [round(float(value), 4) for value in thing.last.size],
    }


def _names(texts: tuple[str, ...]) -> list[str]:
    """Of files, each another one."""
    return [f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', text.lower())[:60]}" for number, text in enumerate(texts)]


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    _, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    with whole_file(path) as file:
        file.write(data.tobytes())


def _write_ply(path: Path, things: tuple[FoundThing, ...]) -> None:
    places, colours = (
        np.concatenate(parts) for parts in zip(*((t.last.points, t.last.rgb) for t in things), strict=True)
    )
    records = np.zeros(len(places), POINT)
    for column, axis in enumerate("xyz"):
        records[axis] = places[:, column]
    for column, colour in enumerate(("red", "green", "blue")):
        records[colour] = colours[:, column]
    kinds = {"f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(records)}"]
    lines += [f"property {kinds[POINT[name].str[1:]]} {name}" for name in POINT.names or ()]
    with whole_file(path) as file:
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode() + records.tobytes())
