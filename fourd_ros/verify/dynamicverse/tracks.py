"""Regions of masks and labels of tracks."""

from fourd_ros.reconstruction.official.projection import bilinear
from fourd_ros.reconstruction.official.track_labels import LONG_STATIC, label_tracks, window_tracks
from fourd_ros.reconstruction.official.track_regions import instances_of_colours, regions_of
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all, inside, torch_of, tracks_of
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_DEPTH = Tolerance(rtol=1e-4)


@check(SYSTEM, "track_filter.npz")
def track_filter(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """From coloured masks to the tracks of the window stage."""
    tracks, depth = tracks_of(folder), torch_of(folder.load("ba_losses.npz")["depth_static_frames"])
    instances = instances_of_colours(vectors["mask_rgb"])
    regions = regions_of(instances)
    labels = label_tracks(tracks, regions)
    places = inside(tracks)
    chosen = torch_of(window_tracks(tracks, regions, labels, official_compat=True))
    computed: Computed = {
        "dyn_masks": (instances, EXACT),
        "filters": (regions.of_tracks, EXACT),
        "labels": (labels, EXACT),
        "vis_out": (tracks.seen, EXACT),
        "init_idx_tracks": (places[:, chosen], EXACT),
        "track_depth_static": (bilinear(depth, places[:, torch_of(labels == LONG_STATIC)]), _DEPTH),
    }
    compare_all(vectors, compare, computed, inputs="tracks vis init_frames mask_rgb")
