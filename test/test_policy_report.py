"""Report of a policy evaluation: units in a file, figures by hand, what does not count, a page that stands alone."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.data.video import decode, encode
from fourd_ros.errors import InvalidImage, InvalidResults, TooLarge
from fourd_ros.evaluation.label_places import place_labels, shortened
from fourd_ros.evaluation.policy.detector_scores import score_detector
from fourd_ros.evaluation.policy.limits import limits_of, rank_range
from fourd_ros.evaluation.policy.report import MANIFEST, PAGE, SUMMARY, UNITS, write_report
from fourd_ros.evaluation.policy.report_films import (
    FALSE_SUCCESS,
    FILM,
    KINDS,
    UnitVideo,
    kind_of,
    make_films,
)
from fourd_ros.evaluation.policy.task_summary import Draws, check_consistent, summarise, tally, with_truth
from fourd_ros.evaluation.policy.units import (
    COLUMNS,
    MAX_BYTES,
    Outcome,
    Unit,
    UnitResult,
    rate_tables,
    read_units,
    write_units,
)

QUICK = Draws(resamples=200)
POLICIES = ("expert", "middling", "<b>bad</b> & $sloppy$ | one")
IMAGINED = ("1111", "1011", "1001")
"""Of each policy on four starts."""
TRUE = ("1111", "1010", "0000")
ABSTAINED = Outcome(success=None, trust=0.1, abstained=True)
INVALID = Outcome(success=None, invalid="no answer <in time>, twice")


def outcome(success: str) -> Outcome:
    return Outcome(success=success == "1", probability=0.9 if success == "1" else 0.2, trust=0.75, seconds=0.5)


def task(name: str = "push", backend: str = "compact") -> list[UnitResult]:
    return [
        UnitResult(
            unit=Unit(task=name, policy=policy, start=start, seed=7),
            imagined=outcome(imagined),
            true=outcome(true),
            start_sha256=f"{start:064x}",
            model_sha256="ab" * 32,
            backend=backend,
        )
        for policy, row, truth in zip(POLICIES, IMAGINED, TRUE, strict=True)
        for start, (imagined, true) in enumerate(zip(row, truth, strict=True))
    ]


def unjudged() -> list[UnitResult]:
    """Another task in which two units of the expert and one of another policy have no imagined outcome."""
    results = task("open | drawer")
    for place, found in ((0, ABSTAINED), (1, INVALID), (5, INVALID)):
        results[place] = replace(results[place], imagined=found)
    results[11] = replace(results[11], true=None)
    return results


def film(frames: int, colour: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    return np.full((frames, *size, 3), colour, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = [*task(), *unjudged()]
    still = [replace(r, imagined=outcome("0"), true=None, backend="copy_first") for r in results]
    wrong = next(result.unit for result in results if kind_of(result) == FALSE_SUCCESS)
    page = write_report(
        tmp_path_factory.mktemp("reports") / "report",
        results,
        controls={"copy <first>": still},
        videos=[UnitVideo(unit=wrong, imagined=film(3, 200), true=film(2, 50), rate=5.0)],
        detectors=[score_detector("at goal", [(True, True), (True, False), (None, True), (False, False)])],
        contacts={result.unit: "pushed" for result in task()[8:]},
        config={"note": "<script>alert(1)</script>"},
        sloppy=POLICIES[2:],
        draws=QUICK,
    )
    return page.parent


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def test_units_come_back_from_their_file(tmp_path: Path) -> None:
    results = [*task(), *unjudged()]
    results[0] = replace(results[0], imagined=replace(results[0].imagined, probability=1 / 3, seconds=math.pi))
    write_units(tmp_path / "units.csv", reversed(results))
    again = read_units(tmp_path / "units.csv")
    assert repr(again) == repr(sorted(results, key=lambda result: result.unit)), "NaN equals nothing, its text does"


@pytest.mark.parametrize(
    ("column", "text", "complaint"),
    [
        ("start", "first", "invalid literal"),
        ("imagined_success", "yes", "neither 0 nor 1"),
        ("imagined_abstained", "", "neither 0 nor 1"),
        ("imagined_probability", "1.5", "not between 0 and 1"),
        ("true_trust", "-0.1", "not between 0 and 1"),
        ("imagined_seconds", "soon", "could not convert"),
    ],
)
def test_a_damaged_cell_is_refused(tmp_path: Path, column: str, text: str, complaint: str) -> None:
    path = tmp_path / "units.csv"
    write_units(path, task())
    rows = list(csv.reader(path.open(newline="")))
    rows[3][COLUMNS.index(column)] = text
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(InvalidResults, match=complaint):
        read_units(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "units.csv"
    write_units(path, task())
    whole = path.read_text()
    for damaged, complaint in (
        (whole[: len(whole) - 150], "cells"),
        (whole.replace("compact", "compact,more", 1), "cells"),
        (whole.replace("policy", "politics", 1), "columns"),
        (whole + whole.splitlines()[-1] + "\n", "more than once"),
        ("", "columns"),
        (whole.replace("push", "\0\udcff", 1), "units"),
    ):
        path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
        with pytest.raises(InvalidResults, match=complaint):
            read_units(path)
    with pytest.raises(InvalidResults, match="No such file"):
        read_units(tmp_path / "nowhere.csv")
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(TooLarge, match="at most"):
        read_units(path)


def test_what_does_not_count_is_in_no_rate() -> None:
    policies, imagined, claimed, true = rate_tables(unjudged(), "open | drawer")
    expert = policies.index("expert")
    assert np.isnan(imagined[expert]).tolist() == np.isnan(claimed[expert]).tolist() == [True, True, False, False]
    assert true[expert].tolist() == [1, 1, 1, 1]
    told = replace(unjudged()[0], imagined=replace(ABSTAINED, success=True, probability=0.9))
    _, imagined, claimed, _ = rate_tables([told], "open | drawer")
    assert np.isnan(imagined).all() and np.isnan(claimed).all()


def test_seeds_of_a_start_are_averaged() -> None:
    first = task()[0]
    results = [
        replace(first, unit=replace(first.unit, seed=seed), imagined=outcome("01"[seed < 1])) for seed in range(4)
    ]
    assert rate_tables(results, "push")[1].tolist() == [[0.25]]


def test_figures_are_those_found_by_hand(manifest: dict) -> None:
    push = next(entry for entry in manifest["tasks"] if entry["task"] == "push")
    assert push["policies"] == [POLICIES[2], "expert", "middling"]
    figures = push["agreement"]
    assert [rate["estimate"] for rate in figures["imagined_rates"]] == [0.5, 1.0, 0.75]
    assert [rate["estimate"] for rate in figures["true_rates"]] == [0.0, 1.0, 0.5]
    imagined, true = np.array([0.5, 1.0, 0.75]), np.array([0.0, 1.0, 0.5])
    assert figures["rates"]["pearson"]["estimate"] == pytest.approx(np.corrcoef(imagined, true)[0, 1])
    assert figures["rates"]["mmrv"]["estimate"] == 0.0
    assert figures["rates"]["regret"]["estimate"] == 0.0
    assert figures["rates"]["over_estimate"]["estimate"] == pytest.approx(0.25)
    assert figures["rates"]["group_over_estimate"]["estimate"] == pytest.approx(0.5)
    assert figures["episodes"]["agreement"]["estimate"] == pytest.approx(9 / 12)
    assert figures["episodes"]["precision"]["estimate"] == pytest.approx(6 / 9)
    assert figures["episodes"]["recall"]["estimate"] == 1.0
    low = (0.75 + 1.96**2 / 24 - 1.96 * math.sqrt((0.75 * 0.25 + 1.96**2 / 48) / 12)) / (1 + 1.96**2 / 12)
    assert figures["episodes_wilson"]["agreement"]["low"] == pytest.approx(low, abs=1e-4)
    assert [gap["estimate"] for gap in push["over_estimates"]] == [0.5, 0.0, 0.25]
    goals = {goal["metric"]: goal for goal in push["goals"]}
    assert goals["pearson"]["met"] is True
    assert goals["pearson_low"]["met"] is None, "three policies have no interval of Fisher"
    assert goals["agreement"]["verdict"].startswith("missed by 0.170")
    assert goals["group_over_estimate"]["verdict"].startswith("missed by 45.0 pp")
    assert push["sloppy"] == [POLICIES[2]]
    (contact,) = push["contacts"]
    assert (contact["kind"], contact["units"], contact["over_estimate"]["estimate"]) == ("pushed", 4, 0.5)


def test_manifest_says_where_results_come_from(manifest: dict) -> None:
    assert manifest["models"] == [{"backend": name, "sha256": "ab" * 32} for name in ("compact", "copy_first")]
    assert manifest["seeds"] == [7]
    assert manifest["starts"]["push"] == {str(start): f"{start:064x}" for start in range(4)}
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["machine"]["cores"] >= 1
    assert manifest["seconds"]["true"] == pytest.approx(23 * 0.5)
    assert manifest["statistics"] == {"confidence": 0.95, "resamples": 200, "seed": 0}
    (detector,) = manifest["detectors"]
    assert (detector["precision"]["estimate"], detector["recall"]["estimate"], detector["unsure"]) == (0.5, 1.0, 0.25)


def test_invalid_and_abstained_units_are_counted_and_not_judged(manifest: dict) -> None:
    drawer = next(entry for entry in manifest["tasks"] if entry["task"] == "open | drawer")
    units = drawer["units"]["imagined"]
    assert (units["units"], units["valid"], units["abstained"], units["invalid"]) == (12, 9, 1, 2)
    assert units["reasons"] == {INVALID.invalid: 2}
    assert drawer["units"]["true"]["not_tried"] == 1
    assert [rate["count"] for rate in drawer["agreement"]["imagined_rates"]] == [4, 2, 3]
    assert drawer["agreement"]["episodes"]["agreement"]["estimate"] == pytest.approx(6 / 8)
    left = {limit["kind"]: limit for limit in drawer["cannot_tell"]}
    assert left["unjudged_imagined"]["names"] == [INVALID.invalid]
    assert "25.0% of the imagined units" in left["unjudged_imagined"]["text"]


def test_a_control_gets_the_truth_of_the_same_units(manifest: dict) -> None:
    control = manifest["tasks"][1]["controls"]["copy <first>"]
    assert control["agreement"]["rates"]["pearson"]["estimate"] is None
    assert control["agreement"]["rates"]["mmrv"]["estimate"] == pytest.approx(0.5)
    other = replace(task()[0], start_sha256="f" * 64, true=None)
    assert with_truth([other], task())[0].true is None, "another start state has another truth"


def test_page_stands_alone_and_shows_every_policy(folder: Path) -> None:
    text = (folder / PAGE).read_text()
    assert "default-src 'none'" in text and "media-src data:" in text
    assert not re.search(r'src="(?!data:)', text)
    assert all((folder / name).is_file() for name in re.findall(r'href="([^"#]+)"', text))
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    body = text.split("</style>")[1].split("<script>")[0]
    for policy in ("expert", "middling", "&lt;b&gt;bad&lt;/b&gt; &amp; $sloppy$ | one *"):
        assert body.count(f'<th scope="row">{policy}</th>') == 2, "once for each task"
    for word in ("<b>", "<in time>", "<first>", "alert(1)</script>"):
        assert word not in text
    assert "&lt;script&gt;alert(1)" in body
    assert "copy &lt;first&gt;" in body and "at goal" in body and "undefined" in body
    assert body.count('<span class="badge missed">') >= 3
    assert body.count("<video ") == 1


def test_summary_is_markdown_whose_tables_keep_their_columns(folder: Path) -> None:
    lines = (folder / SUMMARY).read_text().splitlines()
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    for before, line, width in zip(widths, lines[1:], widths[1:], strict=False):
        assert not line.startswith("|") or before in (0, width), line
    assert any("\\<b>bad\\</b> & $sloppy$ \\| one" in line for line in lines)


def test_without_truth_the_page_says_so_and_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    results = [replace(result, true=None) for result in task()]
    written = []
    for given in (results, results[::-1]):
        write_report(tmp_path, given, draws=QUICK)
        written.append({name: (tmp_path / name).read_bytes() for name in (PAGE, UNITS, MANIFEST, SUMMARY)})
    assert written[0] == written[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PAGE, UNITS, MANIFEST, SUMMARY, "parts"])
    assert repr(read_units(tmp_path / UNITS)) == repr(sorted(results, key=lambda result: result.unit))
    found = json.loads((tmp_path / MANIFEST).read_text())["tasks"][0]
    assert {limit["kind"] for limit in found["cannot_tell"]} >= {"no_truth", "unknown_imagined_order"}
    assert all(goal["met"] is None for goal in found["goals"])
    assert found["true_ranks"] is None


def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="no units"):
        write_report(tmp_path / "none", [])
    with pytest.raises(InvalidResults, match="more than once"):
        write_report(tmp_path / "twice", [*task(), task()[0]])
    with pytest.raises(InvalidResults, match="not the same state"):
        check_consistent([*task()[:5], replace(task()[5], start_sha256="f" * 64)])
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidResults, match="no report can be written"):
        write_report(tmp_path / "file", task()[:1], draws=QUICK)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_limits_come_from_the_data() -> None:
    rng = np.random.default_rng(0)
    chances = {"good": (1.0, 1.0), "fair": (0.5, 0.5), "loved": (0.9, 0.2), "poor": (0.0, 0.0)}
    results = [
        UnitResult(
            unit=Unit(task="push", policy=policy, start=start, seed=0),
            imagined=Outcome(success=bool(rng.random() < imagined), trust=0.2 if start == 3 else 0.9),
            true=Outcome(success=bool(rng.random() < true)),
        )
        for policy, (imagined, true) in chances.items()
        for start in range(60)
    ]
    summary = summarise(results, "push", draws=QUICK)
    limits = {limit.kind: limit for limit in limits_of(summary)}
    assert limits["over_optimistic"].names == ("loved",)
    assert "over_pessimistic" not in limits
    assert limits["unknown_imagined_order"].names == ("good / loved",)
    assert limits["unlike_training"].names == ("3",)
    assert "With 60 start states" in limits["detectable_difference"].text
    assert "undefined_r" not in limits
    assert "loved" in limits["missed_goals"].text
    true = summary.agreement.true_rates
    assert dict(zip(summary.policies, rank_range(true), strict=True))["good"] == (1, 1)

    constant = [replace(result, imagined=Outcome(success=False)) for result in results]
    kinds = {limit.kind: limit for limit in limits_of(summarise(constant, "push", draws=QUICK))}
    assert kinds["undefined_r"].names == ("imagined",)
    assert "unknown_trust" in kinds


def test_tally_tells_what_became_of_each_unit() -> None:
    found = tally([outcome("1"), outcome("0"), ABSTAINED, INVALID, INVALID, None, Outcome(success=None)])
    assert (found.counted, found.abstained, found.invalid.total(), found.missing) == (2, 1, 2, 2)
    assert found.units == 7


def test_films_show_both_sides_within_their_budget(tmp_path: Path) -> None:
    results = task()
    by_kind = {kind_of(result): result.unit for result in reversed(results)}
    encode(film(4, 90, (20, 30)), tmp_path / "true.mp4", rate=5.0, video=FILM)
    videos = [
        UnitVideo(unit=unit, imagined=film(2, 250), true=tmp_path / "true.mp4", rate=5.0) for unit in by_kind.values()
    ]
    films, left_out = make_films(videos, results, max_bytes=10**6)
    assert left_out == 0
    assert [shown.kind for shown in films] == [kind for kind in KINDS if kind in by_kind]
    (tmp_path / "film.mp4").write_bytes(films[0].mp4)
    frames = np.stack(list(decode(tmp_path / "film.mp4", size=(66, 24), rate=5.0)))
    assert len(frames) == 4, "the shorter one ends with its last picture"
    np.testing.assert_allclose(frames[:, 5:15, 5:25], 250, atol=6)
    np.testing.assert_allclose(frames[:, 5:15, 41:61], 90, atol=6)

    few, left_out = make_films(videos, results, max_bytes=len(films[0].mp4))
    assert [shown.kind for shown in few] == [FALSE_SUCCESS]
    assert left_out == len(videos) - 1
    unknown = replace(results[0], imagined=ABSTAINED)
    assert make_films(videos, [unknown], max_bytes=10**6) == ((), len(videos))
    with pytest.raises(TooLarge, match="at most"):
        make_films([replace(videos[0], imagined=film(1, 0, (24, 2000)))], results, max_bytes=10**6)
    with pytest.raises(InvalidImage, match="needed is uint8"):
        make_films([replace(videos[0], imagined=film(1, 0)[0])], results, max_bytes=10**6)


def test_labels_keep_clear_of_points_and_each_other() -> None:
    rng = np.random.default_rng(3)
    points = np.concatenate([3.4 * rng.random((14, 2)) + 0.1, [[0.2, 0.2]] * 3, [[3.4, 3.4], [3.39, 3.41]]])
    labels = place_labels(points, (3.6, 3.6), numbers=range(1, len(points) + 1))
    assert labels[-2].text == "15–17"
    assert labels[-1].text == "18, 19"
    for number, one in enumerate(labels):
        low, high = one.place - one.half, one.place + one.half
        assert (low >= 0).all() and (high <= 3.6).all()
        assert not ((points > low) & (points < high)).all(axis=1).any()
        for other in labels[:number]:
            assert (np.abs(one.place - other.place) >= one.half + other.half - 1e-9).any(), (one.text, other.text)


def test_numbers_are_shortened() -> None:
    assert shortened([1, 2, 4, 5, 6, 7, 9]) == "1, 2, 4–7, 9"
