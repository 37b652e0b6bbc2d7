"""Segments of processes that are gone are told from those in use."""

import fcntl
from pathlib import Path

from fourd_ros.shared_memory import left_segments

SIZE = 8192


def segment(folder: Path, name: str) -> Path:
    (folder / f"{name}_el").touch()
    (folder / name).write_bytes(bytes(SIZE))
    return folder / name


def test_only_what_nobody_holds_is_removed(tmp_path: Path) -> None:
    left, used = segment(tmp_path, "fastdds_0123"), segment(tmp_path, "fastrtps_4567")
    other = tmp_path / "something_else"
    other.write_bytes(b"kept")
    with used.with_name(f"{used.name}_el").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = left_segments(tmp_path)
        assert (found.count, found.size) == (1, SIZE) and left.exists()
        assert left_segments(tmp_path, remove=True) == found
        assert not left.exists() and used.exists() and other.exists()
        assert left_segments(tmp_path).count == 0
