"""Maps of a scene as files below one folder, and the service that names them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fourd_ros.errors import AlreadyExists, NotActive, PathNotAllowed
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.reconstruction.mapping.voxel_map import VoxelMap

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def map_path(root: str, name: str) -> Path:
    """The file of a map.

    Raises:
        PathNotAllowed: no folder is configured, or the name is no plain one.
    """
    if not root:
        raise PathNotAllowed("no folder for maps is configured; set map_root")
    if not NAME.fullmatch(name):
        raise PathNotAllowed(f"a map is called '{name}'; names have letters, digits, - _ and . and no folders")
    return Path(root).expanduser() / f"{name}.npz"


def save_map(voxels: VoxelMap, root: str, request: Any) -> int:
    """Write a map; returns how many voxels it has.

    Raises:
        PathNotAllowed: as `map_path`.
        AlreadyExists: a map of that name is there and ``overwrite`` is not set.
    """
    path = map_path(root, request.name)
    if path.exists() and not request.overwrite:
        raise AlreadyExists(f"there is a map '{path}'; set overwrite, or name another one")
    voxels.save(path)
    return len(voxels)


def load_map(voxels: VoxelMap, root: str, request: Any) -> int:
    """Take the place of a map with a saved one; returns how many voxels it has.

    Raises:
        PathNotAllowed: as `map_path`.
        InvalidCloud: no such map, damaged, or with voxels of another size.
    """
    voxels.load(map_path(root, request.name))
    return len(voxels)


def answer(response: Any, work: Callable[[], int], report: Callable[[Exception], None]) -> Any:
    """Fill in a ``MapFile.Response`` with what `work` returns or raises."""
    try:
        response.voxels = work()
    except Exception as error:
        report(error)
        response.error_code, response.error_msg = error_code(type(response), error), str(error)
    return response


def need_active(is_active: bool) -> None:
    """Raises NotActive where a node has no map to speak of."""
    if not is_active:
        raise NotActive("the node is not active; activate it first")
