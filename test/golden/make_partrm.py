"""Thins the full set of PartRM's vectors out to what the tests need: python make_partrm.py FULL_FOLDER

Whole files are left out, none is changed; MANIFEST.json lists what is left. ``fourd verify partrm`` reads the full set
as well as this one.
"""

import json
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).parent / "partrm"

LEFT_OUT = ("ms_net/*", "losses/*", "lpips/*", "metrics/*", "*.md")
"""The network with drags has 9 MB; its losses need it."""


def main(full: Path) -> None:
    """Write the files."""
    manifest = json.loads((full / "MANIFEST.json").read_text())
    shutil.rmtree(HERE, ignore_errors=True)
    for path in sorted(path for path in full.rglob("*") if path.is_file()):
        name = str(path.relative_to(full))
        if not any(fnmatch(name, pattern) for pattern in LEFT_OUT):
            (HERE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, HERE / name)
    for section in ("files", "tensors"):
        manifest[section] = [
            entry
            for entry in manifest[section]
            if not any(fnmatch(str(entry["file"]), pattern) for pattern in LEFT_OUT)
        ]
    (HERE / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
