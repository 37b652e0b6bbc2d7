"""What a page shows: plain records of arrays, filled by whoever judged, drawn by `page.write_page`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.findings import Finding
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.table import Table
from fourd_ros.records import Mask, Pixels, Points

FloatArray = NDArray[np.float64]

LABEL_UNKNOWN, LABEL_STATIC, LABEL_ROBOT, LABEL_FIRST_OBJECT = 0, 1, 2, 16
"""Labels of ``fourd_msgs/RolloutFrame`` points."""


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What one model imagined of a clip.

    Args:
        model: its name.
        rgb: what was predicted, shape [T, H, W, 3].
        known: False where the prediction says nothing, shape [T, H, W].
        depth_error: absolute depth difference [m], NaN where either is unknown, shape [T, H, W].
    """

    model: str
    rgb: Pixels
    known: Mask
    depth_error: Points


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One instant and one camera: what was recorded beside what every model imagined, and how far that is off.

    Args:
        instant: caption of the instant the predictions start from.
        view: camera name.
        times: horizon of every frame [s], shape [T].
        recorded: what the camera saw, shape [T, H, W, 3].
        imagined: by every model, in the order of `Page.findings`.
    """

    instant: str
    view: str
    times: FloatArray
    recorded: Pixels
    imagined: tuple[Imagined, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a plot with its interval, in the unit of the plot, each of shape [T]."""

    name: str
    values: Interval


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A quantity over the horizon for one camera: predictions beside their baseline.

    Args:
        view: camera name.
        title: the quantity.
        unit: its unit, empty for a ratio.
        times: horizon [s], shape [T].
        predictions: of every model, in the order of `Page.findings`.
        baseline: what they have to beat.
        verdict: a few words of conclusion about the last of them.
    """

    view: str
    title: str
    unit: str
    times: FloatArray
    predictions: tuple[Curve, ...]
    baseline: Curve
    verdict: str


@dataclass(frozen=True, kw_only=True)
class LinkMesh:
    """The shape of one robot link in its own frame.

    Args:
        link: its name.
        triangles: corners [m], shape [F, 3, 3].
        colour: red, green, blue from 0 to 1.
    """

    link: str
    triangles: Points
    colour: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Imagined points in the world frame at one time.

    Args:
        points: [m], shape [N, 3].
        rgb: colour, shape [N, 3].
        label: as in ``fourd_msgs/RolloutFrame``, shape [N].
        sigma: spread [m], NaN where unknown, shape [N].
    """

    points: Points
    rgb: Pixels
    label: NDArray[np.uint32]
    sigma: Points


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One commanded motion and the future imagined for it.

    Args:
        name: one word, used in links.
        model: that imagined it.
        description: one sentence for the reader.
        times: of every cloud [s], shape [T].
        clouds: T clouds.
        link_poses: world pose of every `LinkMesh` of the page at `times`, shape [T, L, 4, 4].
        path: commanded way of the tool centre in the world [m], shape [P, 3].
        stops: where on it the tool is at `times` [m], shape [T, 3].
    """

    name: str
    model: str
    description: str
    times: FloatArray
    clouds: Sequence[Cloud]
    link_poses: FloatArray
    path: FloatArray
    stops: FloatArray


@dataclass(frozen=True, kw_only=True)
class ModelFindings:
    """How one model did.

    Args:
        model: its name, used in links.
        remark: what it costs and how far it trusts itself, one line.
        found: what it predicted better than the baseline.
        missed: what it did not.
    """

    model: str
    remark: str
    found: tuple[Finding, ...]
    missed: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page.

    Args:
        title: heading.
        lead: what the reader looks at, one or two sentences.
        findings: of every model, the best one last; at least one.
        clips: loops, any number of instants and cameras.
        plots: errors over the horizon.
        robot: link shapes shared by the candidates.
        candidates: futures imagined from one instant.
        tables: the printed figures.
        provenance: how it was made, pairs of name and value.
        links: pages beside this one, pairs of text and relative address.
    """

    title: str
    lead: str
    findings: tuple[ModelFindings, ...]
    clips: tuple[Clip, ...]
    plots: tuple[Plot, ...]
    robot: tuple[LinkMesh, ...]
    candidates: tuple[Candidate, ...]
    tables: tuple[Table, ...]
    provenance: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...] = ()
