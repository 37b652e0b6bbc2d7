"""``analysis/dynamic_objects_<scene>.json``: which objects move, in the original's form (section 3)."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fourd_ros.errors import InvalidMessage
from fourd_ros.reconstruction.naming.scene_answer import SceneAnswer, is_valid, plain_answer
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

MODEL = "multi_image_sequence"
"""How the original calls an answer of a model that was shown several frames."""

NO_MODEL = "size_speed_colour"


def answer_path(folder: Path, scene: str) -> Path:
    """Where the answer of a scene belongs in its folder."""
    return folder / "analysis" / f"dynamic_objects_{scene}.json"


def write_answer(
    folder: Path, scene: str, answer: SceneAnswer, *, frames: Sequence[Path], method: str, seconds: float
) -> Path:
    """Write the answer of a scene with what it rests on.

    Args:
        folder: of the scene.
        scene: its name.
        answer: to be written.
        frames: pictures that were looked at.
        method: `MODEL` or `NO_MODEL`.
        seconds: that it took.

    Returns:
        The file.
    """
    metadata = {
        "scene_name": scene,
        "rgb_dir": str(frames[0].parent) if frames else "",
        "total_frames_used": len(frames),
        "analysis_method": method,
        "original_resolution_preserved": True,
        "frame_info": [{"index": k, "filename": file.name, "path": str(file)} for k, file in enumerate(frames)],
        "analysis_time": datetime.now(UTC).isoformat(),
        "inference_time": seconds,
    }
    value = {"dynamic": list(answer.objects), "reasoning": dict(answer.reasons), "metadata": metadata}
    path = answer_path(folder, scene)
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    return path


def read_answer(path: Path) -> SceneAnswer:
    """The answer in a file, of ours or of the original, with or without what it rests on.

    Raises:
        InvalidMessage: missing, or of another schema.
    """
    said = read_object(path, error=InvalidMessage)
    if not is_valid(said):
        raise InvalidMessage(f"'{path}' has no list 'dynamic' and object 'reasoning'")
    return plain_answer(said)
