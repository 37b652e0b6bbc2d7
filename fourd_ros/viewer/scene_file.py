"""Any file that the live viewer can show."""

import zipfile
from pathlib import Path

from fourd_ros.data.viser_npz import load_content
from fourd_ros.errors import InvalidParameter, InvalidRollout
from fourd_ros.viewer.film_scene import scene_of_content
from fourd_ros.viewer.point_scene import PointScene, SceneOptions, scene_of_rollout
from fourd_ros.viewer.reconstruction_scene import scene_of_reconstruction
from fourd_ros.world_model.rollout_file import FACTS, load_rollout

_PICKLES = (".pkl", ".pickle")
_OF_KINEMA4D = "pointmap.npy"


def read_scene(path: Path, options: SceneOptions | None = None) -> PointScene:
    """What a file shows.

    Args:
        path: a rollout, an npz of Kinema4D's viewer, or the folder of a reconstructed scene.
        options: what of it.

    Raises:
        InvalidRollout: no such file, neither of both, broken, or without any known point.
        MissingCamera: it has no such view.
        InvalidResults: a folder without a whole reconstruction.
        InvalidParameter: an option that the file does not have.
    """
    options = options or SceneOptions()
    if path.is_dir():
        if options.reprojection or options.views:
            raise InvalidParameter(f"'{path}' is a reconstructed scene, which has no views and is not projected anew")
        return scene_of_reconstruction(path, options)
    members = _members(path)
    if FACTS in members or not members:
        if options.reprojection:
            raise InvalidParameter(f"'{path}' is a rollout; only files of Kinema4D's viewer are projected anew")
        return scene_of_rollout(load_rollout(path), options)
    if _OF_KINEMA4D in members:
        if options.views:
            raise InvalidParameter(f"'{path}' is a file of Kinema4D's viewer, which has no views to choose from")
        return scene_of_content(load_content(path), title=path.stem, options=options)
    raise InvalidRollout(
        f"'{path}' is neither a rollout (it lacks '{FACTS}') nor a file of Kinema4D's viewer (it lacks "
        f"'{_OF_KINEMA4D}'); it has {sorted(members)[:8]}"
    )


def _members(path: Path) -> frozenset[str]:
    """Names in an archive; none where it is no archive, of which `load_rollout` says why."""
    if path.suffix in _PICKLES:
        raise InvalidRollout(
            f"'{path}' is a pickle, which could run anything; 'fourd convert rollout' makes .npz files of the films"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(archive.namelist())
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile):
        return frozenset()
