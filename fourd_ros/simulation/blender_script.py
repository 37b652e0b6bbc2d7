"""Runs inside Blender: renders one mesh from cameras of PartDrag-4D.

``blender --background --python blender_script.py -- --object M.obj --output FOLDER --size 512 --views 0,1,2``

Scene, lamp and cameras: PartRM 2025 (arXiv 2503.19913), section 8.5 of the specification this was written from. It
imports nothing of this package: Blender has a Python of its own.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

SCALE = 0.42995866893870127
OFFSET = (-0.0121, -0.0070, 0.0120)
TARGET = (-0.0016886, -0.0071193, -0.3899882)
DISTANCE, HEIGHT, VIEWS = 2.4, 1.5, 12


def main() -> None:
    """Render every view that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--object", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--views", required=True)
    args = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _prepare(scene, args.size)
    _import(args.object)
    camera, target = _add_camera(scene)
    for view in (int(number) for number in args.views.split(",")):
        _place(camera, target, 2 * math.pi * view / (VIEWS - 1))
        bpy.context.view_layer.update()
        scene.render.filepath = str(args.output / f"{view:03d}.png")
        bpy.ops.render.render(write_still=True)
        _write_camera(camera, args.output / f"{view:03d}_camera.json")


def _prepare(scene, size):
    render = scene.render
    render.resolution_x = render.resolution_y = size
    render.resolution_percentage = 100
    render.film_transparent = True
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGBA"
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (1.0, 1.0, 1.0, 1.0)
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", type="POINT"))
    lamp.location = (5.0, 5.0, 5.0)
    scene.collection.objects.link(lamp)


def _import(path):
    if hasattr(bpy.ops.wm, "obj_import"):
        bpy.ops.wm.obj_import(filepath=path, forward_axis="Y", up_axis="Z")
    else:
        bpy.ops.import_scene.obj(filepath=path, axis_forward="Y", axis_up="Z")
    for item in bpy.context.selected_objects:
        item.scale = (SCALE,) * 3
        item.location = OFFSET


def _add_camera(scene):
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens, camera.data.sensor_width = 50.0, 36.0
    camera.data.clip_start, camera.data.clip_end = 0.1, 1000.0
    scene.collection.objects.link(camera)
    scene.camera = camera
    target = bpy.data.objects.new("target", None)
    target.location = TARGET
    scene.collection.objects.link(target)
    aim = camera.constraints.new(type="TRACK_TO")
    aim.target, aim.track_axis, aim.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    return camera, target


def _place(camera, target, angle):
    radius = math.sqrt(DISTANCE**2 - HEIGHT**2)
    camera.location = Vector((radius * math.cos(angle), radius * math.sin(angle), HEIGHT))
    target.location = Vector(TARGET)


def _write_camera(camera, path):
    pose = camera.matrix_world
    columns = {name: list(pose.col[index][:3]) for index, name in enumerate(("x", "y", "z", "origin"))}
    path.write_text(json.dumps(columns, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
