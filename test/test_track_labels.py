"""Regions of masks and what they make of tracks."""

import numpy as np
import pytest

from fourd_ros.errors import InvalidClip
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.parallax import parallax
from fourd_ros.reconstruction.official.track_labels import (
    DYNAMIC,
    LONG_STATIC,
    REFUSED,
    SHORT_STATIC,
    label_tracks,
    objects_of_tracks,
    window_tracks,
)
from fourd_ros.reconstruction.official.track_regions import (
    BORDER,
    EPIPOLAR,
    MOVING_CORE,
    STATIC_CORE,
    instances_of_colours,
    regions_of,
)

FRAMES, HEIGHT, WIDTH = 10, 40, 60


def _instances() -> np.ndarray:
    """Object 1 at the left, object 2 at the right."""
    instances = np.zeros((FRAMES, HEIGHT, WIDTH), np.int32)
    instances[:, :, :20] = 1
    instances[:, :, 45:] = 2
    return instances


def _tracks(*places: tuple[float, float], visible: np.ndarray | None = None) -> Tracks:
    positions = np.broadcast_to(np.array(places, np.float64), (FRAMES, len(places), 2)).copy()
    seen = np.ones((FRAMES, len(places)), np.bool_) if visible is None else visible
    born = np.zeros(len(places), np.int64)
    return Tracks(positions=positions, visible=seen, born=born, width=WIDTH, height=HEIGHT)


def test_regions_have_a_border_between_them():
    regions = regions_of(_instances())
    row = regions.of_masks[0, 20]
    assert row[5] == MOVING_CORE and row[32] == STATIC_CORE and row[50] == MOVING_CORE
    assert (row == BORDER).sum() > 0
    assert set(row[18:22]) == {BORDER}


def test_a_kernel_of_even_size_is_anchored_as_that_of_opencv():
    single = np.zeros((1, HEIGHT, WIDTH), np.int32)
    single[:, :, 30:] = 1
    row = regions_of(single).of_masks[0, 20]
    assert np.flatnonzero(row == BORDER).tolist() == list(range(27, 34))  # three times one pixel left, twice two right


def test_epipolar_pixels_are_known_to_tracks_alone():
    epipolar = np.zeros((FRAMES, HEIGHT, WIDTH), np.bool_)
    epipolar[:, 20, 32] = True
    regions = regions_of(_instances(), epipolar=epipolar)
    assert regions.of_tracks[0, 20, 32] == EPIPOLAR
    assert regions.of_masks[0, 20, 32] == STATIC_CORE
    assert label_tracks(_tracks((32, 20)), regions).tolist() == [REFUSED]


def test_masks_of_other_shapes_are_refused():
    with pytest.raises(InvalidClip, match="frames, H, W"):
        regions_of(np.zeros((4, 5), np.int32))
    with pytest.raises(InvalidClip, match="the same for both"):
        regions_of(np.zeros((2, 4, 5), np.int32), epipolar=np.zeros((2, 4, 6), np.bool_))


def test_objects_are_numbered_by_colour_over_the_whole_clip():
    colours = np.zeros((2, 1, 3, 3), np.uint8)
    colours[0, 0, 1] = (0, 0, 7)
    colours[1, 0, 1] = (200, 0, 0)
    colours[1, 0, 2] = (1, 1, 0)
    assert instances_of_colours(colours)[:, 0].tolist() == [[0, 3, 0], [0, 1, 2]]


def test_without_background_the_lowest_colour_becomes_none():
    colours = np.zeros((1, 1, 2, 3), np.uint8)
    colours[0, 0] = ((9, 0, 0), (0, 9, 0))
    assert instances_of_colours(colours)[0, 0].tolist() == [0, 1]


def test_labels_of_tracks():
    visible = np.ones((FRAMES, 6), np.bool_)
    visible[1:, 1] = False
    visible[:, 4] = False
    tracks = _tracks((32, 20), (32, 20), (5, 20), (20, 20), (32, 20), (32, 20), visible=visible)
    tracks.positions[:5, 5] = (5, 20)
    labels = label_tracks(tracks, regions_of(_instances()))
    # a track that is never seen, or only in borders, counts as dynamic: none of its frames says otherwise
    assert labels.tolist() == [LONG_STATIC, SHORT_STATIC, DYNAMIC, DYNAMIC, DYNAMIC, REFUSED]


def test_frames_outside_of_the_image_do_not_count():
    tracks = _tracks((32, 20), (32, 20))
    tracks.positions[3:, 0] = (5, -0.01)  # over the moving object, but just outside
    tracks.positions[3:, 1] = (5, 0)
    labels = label_tracks(tracks, regions_of(_instances()))
    assert labels[0] == LONG_STATIC
    assert labels[1] == REFUSED


def test_places_that_are_not_known_do_not_matter_where_unseen():
    visible = np.ones((FRAMES, 1), np.bool_)
    visible[4] = False
    tracks = _tracks((32, 20), visible=visible)
    tracks.positions[4] = np.nan
    assert label_tracks(tracks, regions_of(_instances())).tolist() == [LONG_STATIC]


def test_the_window_stage_takes_the_tracks_it_means_unless_the_original_is_meant():
    tracks = _tracks((5, 20), (30, 20), (31, 20), (32, 20), (33, 20))
    tracks.positions[:3, 2] = (20, 20)  # border: neither static nor moving
    regions = regions_of(_instances())
    labels = label_tracks(tracks, regions)
    assert labels.tolist() == [DYNAMIC, *[LONG_STATIC] * 4]
    assert window_tracks(tracks, regions, labels).tolist() == [1, 2, 3, 4]
    # positions 1 to 4 among all, taken among the four static ones; the last is past their end
    assert window_tracks(tracks, regions, labels, official_compat=True).tolist() == [2, 3, 4]


def test_tracks_belong_to_the_object_that_most_frames_show():
    tracks = _tracks((5, 20), (50, 20), (32, 20), (5, 20))
    tracks.positions[:6, 3] = (50, 20)
    assert objects_of_tracks(tracks, regions_of(_instances())).tolist() == [1, 2, 0, 2]
    still = regions_of(np.zeros((FRAMES, HEIGHT, WIDTH), np.int32))
    assert objects_of_tracks(tracks, still).tolist() == [0, 0, 0, 0]


def test_parallax_is_the_longest_way_between_visible_places():
    positions = np.zeros((5, 3, 2))
    positions[:, 0, 0] = [0, 3, 9, 4, 100]
    positions[:, 1, 1] = [0, 3, 9, 4, 7]
    visible = np.ones((5, 3), np.bool_)
    visible[4, 0] = False
    visible[3:, 1] = False
    assert parallax(positions, visible).tolist() == [9, 0, 0]
    positions[4, 0] = np.nan
    assert parallax(positions, visible)[0] == 9
