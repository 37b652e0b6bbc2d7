"""How far the compact world model trusts its futures: the fit, what it is worth, and the file it is kept in."""

import json
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.folder import shipped_model
from fourd_ros.training.trust import LEVEL, fit_widening
from fourd_ros.world_model.compact.trust import TRUST_FILE, Evidence, Trust, fit

RNG = np.random.default_rng(0)


def test_a_fitted_trust_is_the_probability_that_it_claims_to_be() -> None:
    evidence = RNG.normal(size=(4000, 3)) * [1.0, 20.0, 0.01]
    truth = 1 / (1 + np.exp(-(0.5 + evidence @ [1.5, 0.05, 0.0])))
    mean, scale, weights, bias = fit(evidence, (RNG.random(4000) < truth).astype(float))
    claimed = 1 / (1 + np.exp(-(bias + (evidence - mean) / scale @ weights)))
    assert np.abs(claimed - truth).mean() < 0.03
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 1.0)):
        inside = (claimed >= low) & (claimed < high)
        assert truth[inside].mean() == pytest.approx(claimed[inside].mean(), abs=0.04)


def test_widened_intervals_hold_what_they_should() -> None:
    deviations = [np.abs(RNG.laplace(scale=scale, size=(200, 3))) for scale in RNG.uniform(0.5, 4.0, 60)]
    deviations += [np.zeros((0, 3)), np.full((50, 3), np.inf)]
    widening = fit_widening(deviations)
    held = np.mean([(errors < 1.2816 * widening).mean() for errors in deviations if len(errors)])
    assert held == pytest.approx(LEVEL, abs=0.005) and widening > 1.0


def test_the_file_says_everything_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    shipped = Trust.read(shipped_model("world_model_compact") / TRUST_FILE)
    path.write_text(shipped.text)
    assert Trust.read(path) == shipped
    found = json.loads(shipped.text)
    for change in ({"widening": None}, {"weights": [1.0]}, {"more": 1}):
        path.write_text(json.dumps({name: value for name, value in (found | change).items() if value is not None}))
        with pytest.raises(InvalidModel):
            Trust.read(path)


def test_wide_deviations_are_trusted_less() -> None:
    trust = Trust.read(shipped_model("world_model_compact") / TRUST_FILE)
    known = {
        "moving": 1.0,
        "travel": 0.1,
        "turn": 0.2,
        "log_pixels": 4.5,
        "clearance": 0.01,
        "things": 2.0,
        "after": 0.5,
    }
    sure, unsure = (Evidence(**known, log_sigma=np.log(sigma)) for sigma in (0.003, 0.05))
    assert 0 < trust.score(unsure) < trust.score(sure) < 1
