"""The leakage slope: against statsmodels' own formula, in simulation, and where it falls back."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

import entangle_lens as el
from entangle_lens.statistics import Clusters, leakage_slope
from entangle_lens.statistics.mixed import LEAST_SQUARES, MIXED

CLUSTERS = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])
MORAL = np.resize([1.0, 1, 1, 0, 0, -1, -1, -1], 17)[CLUSTERS.codes]
OWN = np.tile(np.arange(4.0), 17)


def rated(rng, leak=0.0, between=0.5):
    """Draw ratings whose scenarios differ by ``between`` standard deviations of the noise."""
    scenario = between * rng.standard_normal(17)[CLUSTERS.codes]
    return leak * MORAL + OWN + scenario + rng.standard_normal(68)


def standardised(x):
    return (x - x.mean()) / x.std()


def least_squares(y):
    """Return the slope of the moral design with its plain and its scenario-robust error."""
    from statsmodels.regression.linear_model import OLS

    design = np.column_stack([np.ones(68), standardised(OWN), standardised(MORAL)])
    plain = OLS(standardised(y), design).fit()
    robust = OLS(standardised(y), design).fit(
        cov_type="cluster", cov_kwds={"groups": CLUSTERS.codes}
    )
    return plain.params[2], plain.bse[2], robust.bse[2]


def test_slope_equals_statsmodels_by_formula(rng):
    import statsmodels.formula.api as smf

    y, length = rated(rng, 0.5, between=1.0), rng.standard_normal(68)
    table = {"y": y, "own": OWN, "moral": MORAL, "length": length}
    frame = pd.DataFrame({name: standardised(values) for name, values in table.items()})
    fit = smf.mixedlm("y ~ own + moral + length", frame, groups=CLUSTERS.codes).fit(reml=True)
    found = leakage_slope(y, OWN, MORAL, CLUSTERS, length[None])
    half = student_t.ppf(0.975, 15) * fit.bse["moral"]
    assert found.slope.method == MIXED
    assert found.slope.value == pytest.approx(fit.params["moral"], abs=1e-5)
    assert found.slope.high - found.slope.value == pytest.approx(half, abs=1e-4)
    assert found.slope.value - found.slope.low == pytest.approx(half, abs=1e-4)
    t = fit.params["moral"] / fit.bse["moral"]
    assert found.slope.p == pytest.approx(2 * student_t.sf(abs(t), 15), rel=1e-3)
    assert found.scenario_variance == pytest.approx(fit.cov_re.iloc[0, 0], rel=1e-2)
    assert found.residual_variance == pytest.approx(fit.scale, rel=1e-2)
    assert (found.slope.n_items, found.slope.n_scenarios) == (68, 17)


def test_variance_between_scenarios_is_the_planted_one():
    rng = np.random.default_rng(91)
    clusters = Clusters.of([f"s{k}" for k in range(400) for _ in range(4)])
    moral, own = rng.choice([-1.0, 0, 1], 400)[clusters.codes], np.tile(np.arange(4.0), 400)
    scenario = 1.5 * rng.standard_normal(400)[clusters.codes]
    y = 0.8 * moral + own + scenario + rng.standard_normal(1600)
    found = leakage_slope(y, own, moral, clusters)
    variance = y.var()
    assert found.slope.low < 0.8 * moral.std() / y.std() < found.slope.high
    assert found.slope.high - found.slope.low < 0.16
    assert found.scenario_variance == pytest.approx(1.5**2 / variance, abs=0.05)
    assert found.residual_variance == pytest.approx(1 / variance, abs=0.02)


def test_no_variance_between_scenarios_falls_back_and_says_so(rng):
    scenario_free = rng.standard_normal(68)
    scenario_free -= CLUSTERS.sums(scenario_free)[CLUSTERS.codes] / 4
    y = 0.5 * MORAL + OWN + scenario_free
    found = leakage_slope(y, OWN, MORAL, CLUSTERS)
    assert found.slope.method == (
        f"{LEAST_SQUARES} (the mixed model finds no variance between scenarios)"
    )
    assert found.scenario_variance == 0
    slope, plain, robust = least_squares(y)
    half = student_t.ppf(0.975, 15) * plain
    assert plain > robust
    assert found.slope.value == pytest.approx(slope)
    assert found.slope.high - found.slope.low == pytest.approx(2 * half)


@pytest.mark.parametrize("trouble", ["warning", "exception", "unconverged"])
def test_mixed_model_in_trouble_falls_back_and_says_so(rng, monkeypatch, trouble):
    from statsmodels.regression.mixed_linear_model import MixedLM
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    plain_fit = MixedLM.fit

    def troubled(self, *args, **kwargs):
        if trouble == "exception":
            raise np.linalg.LinAlgError("Singular matrix")
        fit = plain_fit(self, *args, **kwargs)
        if trouble == "warning":
            warnings.warn("no luck", ConvergenceWarning, stacklevel=1)
        else:
            fit.converged = False
        return fit

    y = rated(rng, 0.5, between=2.0)
    assert leakage_slope(y, OWN, MORAL, CLUSTERS).slope.method == MIXED
    monkeypatch.setattr(MixedLM, "fit", troubled)
    found = leakage_slope(y, OWN, MORAL, CLUSTERS)
    reason = "is singular" if trouble == "exception" else "did not converge"
    assert found.slope.method == f"{LEAST_SQUARES} (the mixed model {reason})"
    slope, plain, robust = least_squares(y)
    assert robust > plain
    assert found.slope.value == pytest.approx(slope)
    half = student_t.ppf(0.975, 15) * robust
    assert found.slope.high - found.slope.low == pytest.approx(2 * half)
    assert found.scenario_variance > 0


def test_warning_of_another_kind_is_passed_on(rng, monkeypatch):
    from statsmodels.regression.mixed_linear_model import MixedLM

    plain_fit = MixedLM.fit

    def ageing(self, *args, **kwargs):
        warnings.warn("old", FutureWarning, stacklevel=1)
        return plain_fit(self, *args, **kwargs)

    monkeypatch.setattr(MixedLM, "fit", ageing)
    with pytest.warns(FutureWarning, match="old"):
        found = leakage_slope(rated(rng, between=2.0), OWN, MORAL, CLUSTERS)
    assert found.slope.method == MIXED


def test_no_warning_escapes(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for between in (0.0, 0.0, 0.2, 1.0):
            leakage_slope(rated(rng, between=between), OWN, MORAL, CLUSTERS)


def naive_t(y):
    """Return t of the slope where items are taken as independent."""
    design = np.column_stack([np.ones(68), OWN, MORAL])
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ y
    residual = y - design @ slopes
    return slopes[2] / np.sqrt(inverse[2, 2] * residual @ residual / 65)


def test_null_is_kept_where_least_squares_over_items_is_not():
    """Controls: items taken as independent reject too often; a true leak is seen."""
    rng = np.random.default_rng(92)
    rejected = naive = seen = 0
    for _ in range(150):
        y = rated(rng, 0.0, between=0.7)
        found = leakage_slope(y, OWN, MORAL, CLUSTERS).slope
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)
        rejected += found.p <= 0.05
        naive += abs(naive_t(y)) > 2
        seen += leakage_slope(y + MORAL, OWN, MORAL, CLUSTERS).slope.p <= 0.05
    assert rejected / 150 <= 0.095
    assert naive / 150 > 0.15
    assert seen / 150 > 0.8


def test_null_is_kept_where_least_squares_takes_over():
    rng = np.random.default_rng(93)
    found = [leakage_slope(rated(rng, between=0.0), OWN, MORAL, CLUSTERS).slope for _ in range(60)]
    assert np.mean([each.method != MIXED for each in found]) > 0.3
    assert np.mean([each.p <= 0.05 for each in found]) <= 0.1


def test_slope_is_the_same_in_other_units(rng):
    y = rated(rng, 0.5, between=1.0)
    plain = leakage_slope(y, OWN, MORAL, CLUSTERS).slope
    scaled = leakage_slope(1e6 + 0.01 * y, 10 * OWN - 3, -5 * MORAL, CLUSTERS).slope
    assert (-scaled.value, -scaled.high, -scaled.low) == pytest.approx(
        (plain.value, plain.low, plain.high), abs=1e-4
    )


def test_perfect_fit_has_its_slope_and_no_width():
    found = leakage_slope(OWN + 2 * MORAL, OWN, MORAL, CLUSTERS).slope
    assert found.value == pytest.approx(2 * MORAL.std() / (OWN + 2 * MORAL).std())
    assert (found.low, found.high, found.p) == pytest.approx((found.value, found.value, 0))


def test_constant_rating_has_no_slope():
    found = leakage_slope(np.full(68, 0.1), OWN, MORAL, CLUSTERS)
    values = found.slope.value, found.slope.low, found.slope.high, found.slope.p
    assert np.isnan([*values, found.scenario_variance]).all()


def test_designs_without_a_slope_of_their_own_are_errors(rng):
    y = rated(rng)
    with pytest.raises(el.EntangleError, match="moral_design is constant"):
        leakage_slope(y, OWN, np.ones(68), CLUSTERS)
    with pytest.raises(el.EntangleError, match="moral_design follows from: own_design"):
        leakage_slope(y, MORAL, 3 * MORAL + 1, CLUSTERS)
    with pytest.raises(el.EntangleError, match="covariate 2 follows from: own_design, moral"):
        leakage_slope(y, OWN, MORAL, CLUSTERS, np.stack([rng.standard_normal(68), OWN - MORAL]))
    y[[7, 9]] = np.nan
    with pytest.raises(el.EntangleError, match=r"rating has no value for 2 items .*item 8"):
        leakage_slope(y, OWN, MORAL, CLUSTERS)


def test_statsmodels_is_imported_only_when_a_slope_is_asked_for():
    import subprocess

    code = (
        "import sys; from entangle_lens.statistics import leakage_slope;"
        "print([m for m in ('statsmodels', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
