"""LEACE: nothing linear is left, little else is changed, and the map is the published one."""

import dataclasses

import numpy as np
import pytest
import torch
from concept_erasure import LeaceEraser, optimal_linear_shrinkage

from entangle_lens.directions import (
    LabelledResid,
    fit_leace,
    fit_leace_to_labels,
    fit_probe,
    one_hot,
)
from entangle_lens.errors import EntangleError


def erased(eraser, contrast):
    return dataclasses.replace(
        contrast,
        positive=eraser.apply(contrast.positive),
        negative=eraser.apply(contrast.negative),
    )


def fitted(fit, select, n_resamples=0):
    return fit_leace(fit, select, rng=np.random.default_rng(0), n_resamples=n_resamples)


def rows_of(contrast):
    """Return all residuals and their poles."""
    rows = torch.cat([contrast.positive[0], contrast.negative[0]]).double()
    return rows, torch.arange(len(rows))[:, None].lt(len(rows) // 2).double()


@pytest.fixture
def correlated():
    """Noise that runs mostly along the truth and a second axis together."""
    noise = torch.eye(16)
    noise[0, :2] = torch.tensor([3.0, 3.0])
    return noise


def test_fresh_probe_is_at_chance_after_erasure_and_was_not_before(world):
    draws = world(5.0)
    eraser = fitted(draws.pairs(400), draws.pairs(50))
    train, test = draws.pairs(200), draws.pairs(200)
    assert fit_probe(train, test).accuracy > 0.9
    assert fit_probe(erased(eraser, train), erased(eraser, test)).accuracy < 0.62
    assert eraser.rank == 1
    assert eraser.quality.auc > 0.9
    assert eraser.quality.accuracy > 0.85


def test_eraser_of_noise_reads_nothing(world):
    draws = world(torch.zeros(16))
    quality = fitted(draws.pairs(100), draws.pairs(100), n_resamples=20).quality
    assert quality.auc == pytest.approx(0.5, abs=0.12)
    assert quality.cone_degrees > 30


def test_class_means_of_the_fit_coincide_after_erasure(world):
    """Exactly, shrunk covariance or not, and in spite of fewer prompts than dimensions."""
    for width in (8, 120):
        draws = world(3.0, width=width)
        fit = draws.pairs(20, 3)
        gone = erased(
            fitted(fit, draws.pairs(10, 3)),
            dataclasses.replace(
                fit, positive=fit.positive.double(), negative=fit.negative.double()
            ),
        )
        gap = gone.positive.mean((0, 1)) - gone.negative.mean((0, 1))
        assert gap.norm() < 1e-9
        torch.testing.assert_close(
            (gone.positive + gone.negative).mean((0, 1)),
            (fit.positive.double() + fit.negative.double()).mean((0, 1)),
        )


def test_eraser_is_the_closed_form(world, correlated):
    """h - W^+ P W (h - mu), with W and P built here from full matrices."""
    draws = world(3.0, correlated)
    fit = draws.pairs(60)
    rows, labels = (each.numpy() for each in rows_of(fit))
    centred = rows - rows.mean(0)
    sigma = optimal_linear_shrinkage(torch.from_numpy(centred.T @ centred / 120), 120).numpy()
    values, vectors = np.linalg.eigh(sigma)
    w = vectors @ np.diag(values**-0.5) @ vectors.T
    read = w @ centred.T @ (labels - labels.mean(0))
    p = read @ np.linalg.inv(read.T @ read) @ read.T
    expected = rows - centred @ (np.linalg.inv(w) @ p @ w).T
    found = fitted(fit, draws.pairs(10)).apply(torch.from_numpy(rows))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_fewer_prompts_than_dimensions_give_what_the_library_gives_at_full_width(world):
    draws = world(3.0, width=90)
    fit = draws.pairs(15)
    rows, labels = rows_of(fit)
    library = LeaceEraser.fit(rows, labels, constrain_cov_trace=False)
    torch.testing.assert_close(fitted(fit, draws.pairs(10)).apply(rows), library(rows))


def test_erasure_changes_less_than_projecting_the_class_difference_out(world, correlated):
    """Where nuisance runs with the concept; both leave no difference of class means."""
    truth = torch.zeros(16)
    truth[0] = 3.0
    draws = world(truth, correlated)
    fit, held_out = draws.pairs(300), draws.pairs(300)
    eraser = fitted(fit, held_out)
    fit_rows, labels = rows_of(fit)
    gap = fit_rows[labels[:, 0] == 1].mean(0) - fit_rows[labels[:, 0] == 0].mean(0)
    along = gap / gap.norm()
    rows, _ = rows_of(held_out)
    projected = (rows - fit_rows.mean(0)) @ along
    change = (eraser.apply(rows) - rows).square().sum(-1).mean()
    assert change < 0.75 * projected.square().mean()


def test_erasure_twice_is_erasure_once_and_keeps_the_type(world):
    draws = world()
    fit = draws.pairs(30)
    eraser = fitted(fit, draws.pairs(10))
    once = eraser.apply(fit.positive.double())
    torch.testing.assert_close(eraser.apply(once), once)
    assert eraser.apply(fit.positive.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(eraser.apply(eraser.bias), eraser.bias)
    assert not torch.allclose(once, fit.positive.double(), atol=0.1)


@pytest.fixture
def labelled():
    """Three classes whose means span a plane, and a level that is graded along a third axis."""
    generator = torch.Generator().manual_seed(0)
    classes = [("animal", "plant", "stone")[i % 3] for i in range(150)]
    level = torch.randn(150, 1, generator=generator)
    means = torch.zeros(3, 12)
    means[0, 0], means[1, 1], means[2, 2] = 4.0, 4.0, 4.0
    resid = torch.randn(150, 12, generator=generator) + level * torch.eye(12)[3]
    resid += torch.stack([means[i % 3] for i in range(150)])
    names = tuple(f"scenario {i // 3}" for i in range(150))

    def make(labels):
        return LabelledResid("kind", "kind", 2, resid, labels, names, {"model": "tiny"})

    return make, classes, level


def test_classes_are_erased_in_one_dimension_less_than_there_are(labelled):
    make, classes, _ = labelled
    fit = make(one_hot(classes))
    eraser = fit_leace_to_labels(fit)
    gone = eraser.apply(fit.resid.double())
    means = torch.stack([gone[i::3].mean(0) for i in range(3)])
    assert eraser.rank == 2
    assert (means - means[0]).abs().max() < 1e-9
    assert (fit.resid[0::3].mean(0) - fit.resid[1::3].mean(0)).norm() > 3
    assert eraser.quality.split_half_cosine > 0.8
    assert np.isnan(eraser.quality.auc)
    assert (eraser.value, eraser.layer, eraser.provenance) == ("kind", 2, {"model": "tiny"})


def test_graded_level_and_classes_are_erased_together(labelled):
    make, classes, level = labelled
    fit = make(torch.cat([one_hot(classes), 1000 * level.double()], dim=1))
    eraser = fit_leace_to_labels(fit)
    gone = eraser.apply(fit.resid.double())
    link = (gone - gone.mean(0)).T @ (fit.labels - fit.labels.mean(0)) / fit.labels.std(0)
    assert eraser.rank == 3
    assert link.abs().max() < 1e-7
    alone = fit_leace_to_labels(make(level))
    assert alone.rank == 1
    assert abs(alone.proj_left[3, 0]) > 0.9 * alone.proj_left.norm()


def test_class_seen_in_one_half_only_is_not_found_in_the_other(labelled):
    """Scenario 1 alone holds a stone, and it is among the even ones."""
    make, _, _ = labelled
    classes = ["stone" if item == 3 else "plant" for item in range(150)]
    eraser = fit_leace_to_labels(make(one_hot(classes)))
    assert eraser.rank == 1
    assert eraser.quality.split_half_cosine == 0


def test_labels_of_two_classes_give_the_map_of_the_pairs(world):
    draws = world()
    fit = draws.pairs(20)
    rows, labels = rows_of(fit)
    same = LabelledResid("moral", "grammar", 3, rows, labels, fit.scenario_ids * 2)
    of_pairs = fitted(fit, draws.pairs(10))
    torch.testing.assert_close(fit_leace_to_labels(same).apply(rows), of_pairs.apply(rows))


def test_what_is_erased_already_is_refused(world):
    draws = world()
    fit, select = draws.pairs(30), draws.pairs(10)
    gone = dataclasses.replace(fit, positive=fit.positive.double(), negative=fit.negative.double())
    gone = erased(fitted(gone, select), gone)
    with pytest.raises(EntangleError, match="no linear link with the labels: nothing to erase"):
        fitted(gone, select)


def test_one_hot_has_a_column_a_class():
    expected = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).double()
    assert one_hot(["plant", "animal", "plant"]).equal(expected)


@pytest.mark.usefixtures("unchecked")
def test_labels_that_fit_nothing_are_refused():
    resid, labels = torch.randn(6, 4), torch.arange(6.0)[:, None]

    def make(labels, names, resid=resid):
        return LabelledResid("kind", "kind", 2, resid, labels, tuple(names))

    with pytest.raises(EntangleError, match="6 residuals, 5 rows of labels and 6 scenario ids"):
        make(labels[:5], "abcdef")
    with pytest.raises(EntangleError, match="label column 1 of 'kind' is the same for all"):
        make(torch.cat([labels, torch.ones(6, 1)], 1), "abcdef")
    with pytest.raises(EntangleError, match="not all finite"):
        make(labels, "abcdef", resid / 0)
    with pytest.raises(EntangleError, match="3 scenarios were given to fit"):
        fit_leace_to_labels(make(labels, "aabbcc"))
