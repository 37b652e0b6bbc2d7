"""Answers of models, and what the segmentation writes beside its pictures."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.reconstruction.masks.instance_map import instance_map
from fourd_ros.reconstruction.masks.mask_files import LABELS, SEGMENTATION, SUMMARY, write_segmentation
from fourd_ros.reconstruction.naming.scene_answer import find_json, is_valid
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM
from fourd_ros.verify.dynamicverse.masks import FILE, objects_of
from fourd_ros.verify.vectors import VectorFolder

_PLACE = "<segmentation>"


@check(SYSTEM, "vlm_cases.json")
def answers(folder: VectorFolder, vectors: dict[str, Any], compare: Comparison) -> None:
    """Parsed as the original does, whether it takes them to be valid, and the files of the masks."""
    for number, case in enumerate(vectors["json_cases"]):
        parsed = find_json(case["text"], official_compat=True)
        compare(f"case {number}", _plain(parsed), expected=_plain(case["parsed"]), tolerance=EXACT)
        compare(f"case {number}, valid", is_valid(parsed), expected=case["valid"], tolerance=EXACT)
    for name, found in _segmentation(folder, vectors).items():
        compare(name, _plain(found), expected=_plain(vectors[name]), tolerance=EXACT)
    known = {"json_cases", LABELS, SUMMARY, "tree"}
    compare("names", sorted(vectors.keys() - known), expected=np.zeros(0), tolerance=EXACT)


def _segmentation(folder: VectorFolder, vectors: dict[str, Any]) -> dict[str, Any]:
    """What is written for ``masks.npz``, the objects called as the file says."""
    given = folder.load(FILE)
    numbers, owners = instance_map(
        [given[name] for name in objects_of(given)], frames=len(given["frames"]), official_compat=True
    )
    labels = {number: vectors[LABELS][str(number)] for number in owners}
    with tempfile.TemporaryDirectory() as place:
        write_segmentation(
            Path(place),
            rgb=given["frames"],
            masks=numbers,
            labels=labels,
            rate=vectors[SUMMARY]["video_fps"],
            official_compat=True,
        )
        root = Path(place, SEGMENTATION)
        written = (root / SUMMARY).read_text().replace(str(root), _PLACE)
        return {
            "tree": sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()),
            LABELS: json.loads((root / LABELS).read_text()),
            SUMMARY: json.loads(written),
        }


def _plain(value: Any) -> str:
    """For comparisons of what is no number."""
    return json.dumps(value, sort_keys=True)
