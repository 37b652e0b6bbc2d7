"""Everything that a report states as numbers, for scripts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from fourd_ros.evaluation.policy.contacts import ContactSummary
from fourd_ros.evaluation.policy.detector_scores import DetectorScore
from fourd_ros.evaluation.policy.limits import rank_range
from fourd_ros.evaluation.policy.report_goals import judge_goals
from fourd_ros.evaluation.policy.report_tables import tallies
from fourd_ros.evaluation.policy.task_report import TaskReport
from fourd_ros.evaluation.policy.task_summary import Tally, TaskSummary
from fourd_ros.evaluation.policy.units import UnitResult
from fourd_ros.evaluation.results_file import interval_as_json, number_as_json
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.machine import machine_facts, versions

FORMAT = "fourd policy report 1"
PACKAGES = ("numpy", "scipy", "matplotlib", "mujoco", "onnxruntime", "torch", "av")
"""Whose versions results may depend on."""


def provenance(results: Sequence[UnitResult], controls: Mapping[str, Sequence[UnitResult]]) -> dict[str, Any]:
    """Where results come from: versions, machine, seeds, models and start states with their hashes, time spent."""
    everything = [*results, *chain.from_iterable(controls.values())]
    models = sorted({(result.backend, result.model_sha256) for result in everything})
    starts: dict[str, dict[str, str]] = {}
    for result in sorted(results, key=lambda result: result.unit):
        starts.setdefault(result.unit.task, {})[str(result.unit.start)] = result.start_sha256
    return {
        "versions": versions(*PACKAGES),
        "machine": machine_facts(),
        "seeds": sorted({result.unit.seed for result in everything}),
        "models": [{"backend": backend, "sha256": sha256} for backend, sha256 in models],
        "starts": starts,
        "seconds": {
            "imagined": _total(result.imagined.seconds for result in results),
            "true": _total(result.true.seconds for result in results if result.true is not None),
        },
    }


def task_as_json(report: TaskReport) -> dict[str, Any]:
    """One task; rates, ranks and over-estimates stand in the order of `policies`."""
    summary = report.summary
    return {
        "task": summary.task,
        **_figures(summary),
        "sloppy": [policy for policy, is_sloppy in zip(summary.policies, summary.sloppy, strict=True) if is_sloppy],
        "goals": [
            {
                "metric": finding.goal.metric.name,
                "goal": finding.goal.text,
                "found": interval_as_json(finding.found),
                "met": finding.is_met,
                "verdict": finding.verdict,
            }
            for finding in judge_goals(summary.agreement)
        ],
        "controls": {name: _figures(control) for name, control in report.controls.items()},
        "contacts": [_contact(contact) for contact in report.contacts],
        "cannot_tell": [asdict(limit) for limit in report.limits],
    }


def detector_as_json(score: DetectorScore) -> dict[str, Any]:
    """One detector."""
    return {
        "name": score.name,
        "judged": score.judged,
        "unsure": number_as_json(score.unsure),
        **_episodes(score.episodes._asdict()),
    }


def _figures(summary: TaskSummary) -> dict[str, Any]:
    agreement = summary.agreement
    return {
        "backend": summary.backend,
        "policies": list(summary.policies),
        "start_numbers": list(summary.start_numbers),
        "agreement": agreement.as_dict(),
        "over_estimates": [interval_as_json(summary.over_estimates[p]) for p in range(len(summary.policies))],
        "imagined_ranks": [list(ranks) for ranks in rank_range(agreement.imagined_rates)],
        "true_ranks": [list(ranks) for ranks in rank_range(agreement.true_rates)] if summary.has_truth else None,
        "reliability_bins": [[number_as_json(float(value)) for value in row] for row in summary.bins],
        "trust_by_start": [number_as_json(float(value)) for value in summary.trust],
        "units": {world: _tally(found) for world, found in tallies(summary).items()},
    }


def _tally(found: Tally) -> dict[str, Any]:
    return {
        "units": found.units,
        "valid": found.counted,
        "abstained": found.abstained,
        "invalid": found.invalid.total(),
        "not_tried": found.missing,
        "reasons": dict(sorted(found.invalid.items())),
    }


def _contact(contact: ContactSummary) -> dict[str, Any]:
    return {
        "kind": contact.kind,
        "units": contact.units,
        "over_estimate": interval_as_json(contact.over_estimate),
        **_episodes(contact.episodes._asdict()),
    }


def _episodes(episodes: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval_as_json(found) for name, found in episodes.items()}


def _total(seconds: Iterable[float]) -> float | str | None:
    known = [value for value in seconds if np.isfinite(value)]
    return number_as_json(float(sum(known)) if known else float("nan"))
