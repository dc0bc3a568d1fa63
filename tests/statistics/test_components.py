"""Variance components: against sums of squares and planted shares; paraphrases that turn a sign."""

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.statistics import Clusters, sign_depends_on, variance_components

EFFECTS = ("scenario", "item", "paraphrase", "polarity", "item_x_paraphrase", "residual")


def planted(rng, shape, per, sizes):
    """Draw ratings [paraphrase polarity item] whose effects have the variances ``sizes``."""
    n_paraphrases, n_polarities, n_scenarios = shape
    clusters = Clusters.of([f"s{k}" for k in range(n_scenarios) for _ in range(per)])
    n = clusters.n_items
    drawn = {
        "scenario": rng.standard_normal(n_scenarios)[clusters.codes],
        "item": rng.standard_normal(n),
        "paraphrase": rng.standard_normal((n_paraphrases, 1, 1)),
        "polarity": rng.standard_normal((n_polarities, 1)),
        "item_x_paraphrase": rng.standard_normal((n_paraphrases, 1, n)),
        "residual": rng.standard_normal((n_paraphrases, n_polarities, n)),
    }
    return 3 + sum(np.sqrt(sizes.get(name, 0)) * drawn[name] for name in EFFECTS), clusters


def looped(y, clusters):
    """The plain way: mean squares by loops over cells, then the expectations turned around."""
    p, q, n = y.shape
    a, b, grand = clusters.n_clusters, y.shape[2] // clusters.n_clusters, y.mean()
    scenario = [y[:, :, clusters.codes == s].mean() for s in range(a)]
    ss = dict.fromkeys(EFFECTS, 0.0)
    for s in range(a):
        ss["scenario"] += p * q * b * (scenario[s] - grand) ** 2
    for i in range(n):
        ss["item"] += p * q * (y[:, :, i].mean() - scenario[clusters.codes[i]]) ** 2
    for k in range(p):
        ss["paraphrase"] += q * n * (y[k].mean() - grand) ** 2
        for i in range(n):
            cell = y[k, :, i].mean() - y[:, :, i].mean() - y[k].mean() + grand
            ss["item_x_paraphrase"] += q * cell**2
    for m in range(q):
        ss["polarity"] += p * n * (y[:, m].mean() - grand) ** 2
    ss["residual"] = ((y - grand) ** 2).sum() - sum(ss.values())
    ms = {
        "scenario": ss["scenario"] / (a - 1),
        "item": ss["item"] / (a * (b - 1)),
        "paraphrase": ss["paraphrase"] / (p - 1),
        "polarity": ss["polarity"] / (q - 1),
        "item_x_paraphrase": ss["item_x_paraphrase"] / ((n - 1) * (p - 1)),
        "residual": ss["residual"] / ((n * p - 1) * (q - 1)),
    }
    return {
        "scenario": (ms["scenario"] - ms["item"]) / (p * q * b),
        "item": (ms["item"] - ms["item_x_paraphrase"]) / (p * q),
        "paraphrase": (ms["paraphrase"] - ms["item_x_paraphrase"]) / (q * n),
        "polarity": (ms["polarity"] - ms["residual"]) / (p * n),
        "item_x_paraphrase": (ms["item_x_paraphrase"] - ms["residual"]) / q,
        "residual": ms["residual"],
    }


ALL = dict(zip(EFFECTS, (4.0, 2.0, 1.0, 1.5, 0.8, 0.5), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_components_equal_a_loop(seed):
    y, clusters = planted(np.random.default_rng(seed), (3, 2, 9), 4, ALL)
    expected = {name: max(value, 0) for name, value in looped(y, clusters).items()}
    found = variance_components(y, clusters).as_dict()
    assert found["total"] == pytest.approx(sum(expected.values()))
    for name in EFFECTS:
        assert found[name] == pytest.approx(expected[name] / sum(expected.values()), abs=1e-10)
    assert sum(found[name] for name in EFFECTS) == pytest.approx(1)


def test_planted_variances_are_found_on_average():
    """Unbiased over draws, where no component is near zero."""
    rng = np.random.default_rng(101)
    found = []
    for _ in range(300):
        y, clusters = planted(rng, (8, 6, 12), 3, ALL)
        shares = variance_components(y, clusters).as_dict()
        found.append([shares[name] * shares["total"] for name in EFFECTS])
    mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(300)
    assert (np.abs(mean - list(ALL.values())) < 4 * error).all()
    assert (error < 0.15 * np.array(list(ALL.values()))).all()


@pytest.mark.parametrize("name", EFFECTS)
def test_a_single_source_takes_the_whole_share(rng, name):
    y, clusters = planted(rng, (5, 4, 60), 4, {name: 1.0})
    shares = variance_components(y, clusters).as_dict()
    assert shares[name] > 0.85
    assert max(shares[other] for other in EFFECTS if other != name) < 0.15


def test_noise_alone_has_no_other_source(rng):
    y, clusters = planted(rng, (5, 2, 30), 4, {"residual": 1.0})
    shares = variance_components(y, clusters)
    assert shares.residual > 0.95
    assert min(shares.as_dict().values()) >= 0


def test_shares_do_not_change_with_the_scale_and_the_order_of_items(rng):
    y, clusters = planted(rng, (3, 2, 9), 4, ALL)
    plain = variance_components(y, clusters).as_dict()
    order = rng.permutation(36)
    moved = variance_components((1e4 + 7 * y)[:, :, order], Clusters(clusters.codes[order]))
    for name in EFFECTS:
        assert moved.as_dict()[name] == pytest.approx(plain[name], abs=1e-8)
    assert moved.total == pytest.approx(49 * plain["total"])


@pytest.mark.parametrize(
    ("part", "unknown"),
    [
        (np.s_[:1, :, :], {"paraphrase", "item_x_paraphrase"}),
        (np.s_[:, :1, :], {"polarity", "item_x_paraphrase"}),
        (np.s_[:1, :1, :], {"paraphrase", "polarity", "item_x_paraphrase", "item"}),
        (np.s_[:, :, ::4], {"item"}),
        (np.s_[:1, :, ::4], {"item", "paraphrase", "item_x_paraphrase"}),
    ],
    ids=["one paraphrase", "one polarity", "asked once", "one item", "one item, one paraphrase"],
)
def test_what_the_design_cannot_tell_is_nan(rng, part, unknown):
    y, clusters = planted(rng, (4, 2, 200), 4, ALL)
    codes = clusters.codes[part[2]]
    shares = variance_components(y[part], Clusters(codes)).as_dict()
    assert {name for name in EFFECTS if np.isnan(shares[name])} == unknown
    assert np.nansum([shares[name] for name in EFFECTS]) == pytest.approx(1)
    scenario = 4.0 + (2.0 if part[2] == np.s_[::4] else 0.0)
    assert shares["scenario"] * shares["total"] == pytest.approx(scenario, abs=1.2)


def test_unbalanced_missing_and_constant_ratings_are_errors(rng):
    y, clusters = planted(rng, (3, 2, 9), 4, ALL)
    with pytest.raises(el.EntangleError, match="hold 3 to 4 items"):
        variance_components(y[:, :, 1:], Clusters(clusters.codes[1:]))
    with pytest.raises(el.EntangleError, match="one rating per scenario"):
        variance_components(y[:1, :1, ::4], Clusters(clusters.codes[::4]))
    with pytest.raises(el.EntangleError, match="no variance to share out"):
        variance_components(np.full((3, 2, 36), 0.1), clusters)
    y[1, 0, 7] = np.nan
    with pytest.raises(el.EntangleError, match="first is paraphrase 2, polarity 1, item 8"):
        variance_components(y, clusters)


def test_paraphrases_with_another_sign_are_named(rng):
    moral = rng.standard_normal(68)
    noise = 0.1 * rng.standard_normal((5, 2, 68))
    slopes = np.array([1.0, -0.5, 1.0, 0.8, -0.2])[:, None, None]
    assert sign_depends_on(moral, slopes * moral + noise) == (1, 4)
    assert sign_depends_on(moral, -slopes * moral + noise) == (1, 4)
    assert sign_depends_on(-moral, slopes * moral + noise) == (1, 4)
    assert sign_depends_on(moral, np.abs(slopes) * moral + noise) == ()


def test_constant_ratings_have_no_sign_to_turn(rng):
    moral = rng.standard_normal(68)
    ratings = np.stack([np.stack([moral, moral]), np.full((2, 68), 0.1)])
    assert sign_depends_on(moral, ratings) == ()
    assert sign_depends_on(np.ones(68), ratings) == ()
