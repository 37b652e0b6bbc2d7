"""Thins the full set of DynamicVerse's vectors out to what the tests need: python make_dynamicverse.py FULL_FOLDER

Whole files are left out; of the others no tensor is changed, they are only packed more tightly. MANIFEST.json lists
what is left. ``fourd verify dynamicverse`` reads the full set as well as this one.
"""

import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent / "dynamicverse"

LEFT_OUT = ("scene.npz", "scene_official.json", "farneback.npz")
"""The scene has 4.8 MB, and the tests make scenes of their own; the flow is OpenCV's."""


def packed(path: Path) -> bytes:
    """The same archive with LZMA."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as made:
        for name in given.namelist():
            made.writestr(zipfile.ZipInfo(name), given.read(name), zipfile.ZIP_LZMA)
    return buffer.getvalue()


def main(full: Path) -> None:
    """Write the files."""
    manifest = json.loads((full / "MANIFEST.json").read_text())
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    for section in ("files", "json_files"):
        manifest[section] = {name: entry for name, entry in manifest[section].items() if name not in LEFT_OUT}
        for name in manifest[section]:
            path = full / name
            (HERE / name).write_bytes(packed(path) if path.suffix == ".npz" else path.read_bytes())
    (HERE / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
