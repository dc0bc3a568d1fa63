"""A study as tables, one tidy DataFrame each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from entangle_lens.directions import CENTRED
from entangle_lens.entanglement.layer_sweep import FIGURES
from entangle_lens.entanglement.ratings import Ratings, Readouts
from entangle_lens.entanglement.residual import ResidualMeasure
from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.entanglement.validation import LayerChoice
from entangle_lens.results.reliability import reliability_table, wordings_table
from entangle_lens.results.summary import summary_table, verdict_table
from entangle_lens.statistics import pearson


def all_tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Return every table of a study by name: what the figures show and the report cites."""
    pairs = findings.pairs.values()
    return {
        "summary": summary_table(findings),
        "verdict": verdict_table(findings),
        "items": pd.concat([_items(each) for each in pairs], ignore_index=True),
        "ratings": pd.concat([_ratings(each) for each in pairs], ignore_index=True),
        "reliability": reliability_table(findings),
        "wordings": wordings_table(findings),
        "projections": pd.concat([_projections(each) for each in pairs], ignore_index=True),
        "readouts": pd.concat([_readouts(each) for each in pairs], ignore_index=True),
        "layers": pd.concat([_layers(each) for each in pairs], ignore_index=True),
        "directions": _directions(findings),
        "repair": pd.DataFrame(row for each in pairs for row in _outcomes(each)),
        "layer_sweep": pd.concat([_sweeps(each) for each in pairs], ignore_index=True),
        "null": pd.concat([_null(each) for each in pairs], ignore_index=True),
        "side_effects": pd.DataFrame(row for each in pairs for row in _side_effects(each)),
    }


def _items(finding: Finding) -> pd.DataFrame:
    """One row an item: its design levels, mean ratings and mean option mass."""
    behaviour = finding.behaviour
    return behaviour.item_set.table.assign(
        pair=finding.pair,
        tokens=finding.n_tokens,
        moral_rating=behaviour.moral.mean,
        secondary_rating=behaviour.secondary.mean,
        moral_mass=behaviour.moral.mass.mean(0),
        secondary_mass=behaviour.secondary.mass.mean(0),
        moral_embedding=finding.embedding.moral if finding.embedding else np.nan,
        secondary_embedding=finding.embedding.secondary if finding.embedding else np.nan,
    )


def _ratings(finding: Finding) -> pd.DataFrame:
    """One row a prompt: item x value x wording x polarity."""
    behaviour = finding.behaviour
    item_ids = behaviour.item_set.table["item_id"]
    both = (behaviour.moral, behaviour.secondary)
    return pd.concat([_long(ratings, item_ids, finding.pair) for ratings in both])


def _long(ratings: Ratings, item_ids: pd.Series, pair: str) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "pair": pair,
                "item_id": item_ids,
                "value": ratings.value,
                "paraphrase": question.paraphrase,
                "polarity": question.polarity,
                "rating": ratings.expected[row],
                "spread": ratings.spread[row],
                "option_mass": ratings.mass[row],
            }
        )
        for row, question in enumerate(ratings.questions)
    )


def _projections(finding: Finding) -> pd.DataFrame:
    """One row a prompt, position and layer; one column a way to read the residual out."""
    behaviour = finding.behaviour
    return pd.concat(
        _read_out(ratings, finding, residual, readouts)
        for residual in finding.residuals.values()
        for ratings, readouts in (
            (behaviour.moral, residual.moral_readouts),
            (behaviour.secondary, residual.secondary_readouts),
        )
    )


def _read_out(
    ratings: Ratings, finding: Finding, residual: ResidualMeasure, readouts: Readouts
) -> pd.DataFrame:
    questions, layers = ratings.questions, residual.layers
    item_ids = finding.behaviour.item_set.table["item_id"].to_numpy()
    n_rows, n_items = len(questions) * len(layers), len(item_ids)
    each_question = len(layers) * n_items
    return pd.DataFrame(
        {
            "pair": finding.pair,
            "item_id": np.tile(item_ids, n_rows),
            "value": ratings.value,
            "paraphrase": np.repeat([each.paraphrase for each in questions], each_question),
            "polarity": np.repeat([each.polarity for each in questions], each_question),
            "position": residual.position,
            "layer": np.tile(np.repeat(layers, n_items), len(questions)),
            **{name: values.ravel() for name, values in readouts.items()},
        }
    )


def _readouts(finding: Finding) -> pd.DataFrame:
    """One row a position, way to read out and layer: correlation and held-out validity."""
    return pd.concat(
        pd.DataFrame(
            {
                "pair": finding.pair,
                "position": position,
                "readout": name,
                "layer": residual.layers,
                "correlation": pearson(
                    residual.moral_readouts[name].mean(0), residual.secondary_readouts[name].mean(0)
                ),
                "auc": residual.readout_auc[name],
                "selected": [
                    layer == residual.layer and name == CENTRED for layer in residual.layers
                ],
            }
        )
        for position, residual in finding.residuals.items()
        for name in residual.moral_readouts
    )


def _layers(finding: Finding) -> pd.DataFrame:
    """One row a layer: correlation of projections, its band, validity, the repaired correlation."""
    residual, repair = finding.residual, finding.repair
    after = {each.name: each.correlation for each in repair.outcomes}
    nothing = np.full(len(residual.layers), np.nan)
    return pd.DataFrame(
        {
            "pair": finding.pair,
            "layer": residual.layers,
            "correlation": residual.correlation,
            "band": residual.band,
            "p_max_over_layers": residual.p,
            "auc": residual.auc,
            "selected": [layer == residual.layer for layer in residual.layers],
            "correlation_ablated": after.get("moral", nothing),
            "correlation_ablated_all_layers": after.get("moral, all layers", nothing),
            **_validations(repair.choice, residual.layers),
            "ablated_here": [layer == repair.choice.layer for layer in residual.layers],
        }
    )


def _validations(choice: LayerChoice, layers: Sequence[int]) -> dict[str, list[float]]:
    """What ablating at each layer did to held-out pairs; NaN where the direction is not valid."""
    at = {each.candidate.layer: each for each in choice.validations}
    return {
        f"held_out_{name}": [
            getattr(at[layer], name) if layer in at else np.nan for layer in layers
        ]
        for name in ("left", "kept", "spread", "kl")
    }


def _directions(findings: Findings) -> pd.DataFrame:
    """One row a direction and layer: held-out validity."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "value": fitted.value,
                    "question": fitted.question,
                    "layer": fitted.layers,
                    "norm": fitted.vectors.norm(dim=-1).numpy(),
                    "auc": fitted.auc,
                    "d_prime": fitted.d_prime,
                    "split_half_cosine": fitted.split_half_cosine,
                }
            )
            for fitted in findings.directions.fitted.values()
        ],
        ignore_index=True,
    )


def _outcomes(finding: Finding) -> Iterator[dict[str, object]]:
    """One row per ablation, the clean run first: its outcomes with their intervals."""
    for outcome in (finding.repair.before, *finding.repair.outcomes):
        row: dict[str, object] = {
            "pair": finding.pair,
            "ablation": outcome.name,
            "description": outcome.description,
            "n_scenarios": outcome.leak.n_scenarios,
        }
        for figure in ("leak", "change", "apparent", "accuracy", "moral_accuracy"):
            estimate = getattr(outcome, figure)
            for part in ("value", "low", "high"):
                name = figure if part == "value" else f"{figure}_{part}"
                row[name] = np.nan if estimate is None else getattr(estimate, part)
        row |= {
            "spread": outcome.spread,
            "uncertainty": outcome.uncertainty,
            "option_mass": outcome.mass,
            "repaired": outcome.judgement.word if outcome.judgement else "",
            "reason": outcome.judgement.reason if outcome.judgement else "",
            "cost": "; ".join(outcome.judgement.price.sentences) if outcome.judgement else "",
        }
        yield row


def _sweeps(finding: Finding) -> pd.DataFrame:
    """One row a layer and direction: one-layer ablations."""
    return pd.concat(
        pd.DataFrame(
            {
                "pair": finding.pair,
                "fitted_under": sweep.question,
                "layer": sweep.layers,
                **{figure: getattr(sweep, figure) for figure in FIGURES},
                "repaired": [each.word for each in sweep.judgements] or "",
            }
        )
        for sweep in finding.repair.sweeps
    )


def _null(finding: Finding) -> pd.DataFrame:
    null = finding.repair.null
    leaks = np.array([]) if null is None else null.leaks
    return pd.DataFrame({"pair": finding.pair, "direction": np.arange(len(leaks)), "leak": leaks})


def _side_effects(finding: Finding) -> Iterator[dict[str, object]]:
    for effect in finding.side_effects:
        yield {
            "pair": finding.pair,
            "ablation": effect.arm,
            "kl": effect.kl,
            "minimal_pair_accuracy": effect.minimal_pairs,
            **{f"control_{name}": accuracy for name, accuracy in effect.controls.items()},
        }
