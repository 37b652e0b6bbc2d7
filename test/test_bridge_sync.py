"""The synchroniser: what belongs together comes together, once."""

import numpy as np
import pytest

from fourd_ros.bridge.sync import ApproximateSynchronizer

MS = 1_000_000


@pytest.fixture
def sets():
    return []


@pytest.fixture
def synchronizer(sets):
    return ApproximateSynchronizer(["rgb", "depth"], 0.010, 4, lambda stamp, found: sets.append((stamp, dict(found))))


def test_pairs_within_the_slop(synchronizer, sets):
    synchronizer.add("depth", 103 * MS, "d")
    synchronizer.add("rgb", 100 * MS, "c")
    assert sets == [(100 * MS, {"rgb": "c", "depth": "d"})]


def test_no_pair_beyond_the_slop(synchronizer, sets):
    synchronizer.add("depth", 111 * MS, "d")
    synchronizer.add("rgb", 100 * MS, "c")
    assert not sets


def test_nearest_of_several_is_taken(synchronizer, sets):
    for stamp in (92, 99, 107):
        synchronizer.add("depth", stamp * MS, stamp)
    synchronizer.add("rgb", 100 * MS, "c")
    assert sets[0][1]["depth"] == 99


def test_every_message_is_used_once(synchronizer, sets):
    synchronizer.add("depth", 100 * MS, "d")
    synchronizer.add("rgb", 100 * MS, "first")
    synchronizer.add("rgb", 101 * MS, "second")
    assert [found["rgb"] for _, found in sets] == ["first"]


def test_any_arrival_order_gives_every_pair_with_rising_stamps():
    arrivals = [(name, stamp * 33 * MS) for stamp in range(50) for name in ("rgb", "depth")]
    order = np.argsort(np.arange(len(arrivals)) + np.random.default_rng(0).uniform(0, 3, len(arrivals)))
    stamps = []
    synchronizer = ApproximateSynchronizer(["rgb", "depth"], 0.010, 10, lambda stamp, found: stamps.append(stamp))
    for index in order:
        name, stamp = arrivals[index]
        synchronizer.add(name, stamp, stamp)
    assert stamps == sorted(stamps)
    assert len(stamps) >= 45


def test_newer_set_drops_what_is_older(synchronizer, sets):
    synchronizer.add("rgb", 100 * MS, "old")
    synchronizer.add("rgb", 200 * MS, "new")
    synchronizer.add("depth", 200 * MS, "new")
    synchronizer.add("depth", 100 * MS, "old")
    assert [found["rgb"] for _, found in sets] == ["new"]


def test_queue_is_bounded(synchronizer, sets):
    for stamp in range(100, 1000, 100):
        synchronizer.add("rgb", stamp * MS, stamp)
    synchronizer.add("depth", 100 * MS, "d")
    assert not sets


def test_clear_allows_time_to_go_back(synchronizer, sets):
    for stamp in (200, 100):
        synchronizer.add("rgb", stamp * MS, stamp)
        synchronizer.add("depth", stamp * MS, stamp)
        assert synchronizer.seen("rgb")
        synchronizer.clear()
        assert not synchronizer.seen("rgb")
    assert [stamp for stamp, _ in sets] == [200 * MS, 100 * MS]
