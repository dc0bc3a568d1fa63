"""A study in numbers: the summary that is saved as JSON, and the same as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.repair import Repair
from entangle_lens.entanglement.residual import ResidualMeasure
from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.entanglement.universes import POSITIONS
from entangle_lens.models import ModelInfo
from entangle_lens.results.reliability import summarise_reliability
from entangle_lens.results.staging import without_nan
from entangle_lens.running import LAST, Account
from entangle_lens.statistics import Estimate
from entangle_lens.stimuli import Stimuli


def summarise_findings(
    findings: Findings, about: ModelInfo, stimuli: Stimuli, design: Design
) -> dict[str, Any]:
    """Return the study as nested plain values; what could not be measured is None."""
    pairs = findings.pairs
    summary = {
        "model": about.name,
        "stimuli": stimuli.name,
        "scale": str(design.scale),
        "seed": design.seed,
        "quick": design.quick,
        "behaviour": {name: _behaviour(each) for name, each in pairs.items()},
        "reliability": {name: summarise_reliability(each) for name, each in pairs.items()},
        "embedding": {name: _embedding(each) for name, each in pairs.items()},
        "residual": {name: _residual(each) for name, each in pairs.items()},
        "repair": {name: _repair(each.repair) for name, each in pairs.items()},
        "side_effects": _side_effects(findings),
        "verdict": {name: _verdict(each) for name, each in pairs.items()},
        "engine": _engine(findings.cost),
    }
    return without_nan(summary)


def summary_table(findings: Findings) -> pd.DataFrame:
    """Return one row a measure and pair: the estimate, its interval, p and sample sizes."""
    rows = []
    for name, each in findings.pairs.items():
        measures: dict[str, Estimate | None] = {
            "behaviour": each.behaviour.entanglement,
            "embedding": each.embedding.entanglement if each.embedding else None,
            "residual": each.residual.entanglement,
            **_before_and_after(each.repair),
        }
        for measure, estimate in measures.items():
            if estimate is not None:
                rows.append({"pair": name, "measure": measure, **estimate.as_dict()})
    return pd.DataFrame(rows).rename(columns={"value": "r"})


def _before_and_after(repair: Repair) -> dict[str, Estimate | None]:
    named = {"leak": "leak", "secondary accuracy": "accuracy", "moral accuracy": "moral_accuracy"}
    return {
        f"{name} {when}": None if outcome is None else getattr(outcome, measure)
        for name, measure in named.items()
        for when, outcome in (("before", repair.before), ("after", repair.after))
    }


def shown_positions(findings: Findings) -> pd.DataFrame:
    """Return one row per pair and position, all cells text: layer, AUC, r with interval."""
    rows = []
    for pair, finding in findings.pairs.items():
        for name, residual in finding.residuals.items():
            layer, estimate = residual.layer, residual.entanglement
            known = layer is not None and estimate is not None
            rows.append(
                {
                    "pair": pair,
                    "position": POSITIONS[name],
                    "most valid layer": str(layer) if known else "none is valid",
                    "AUC": f"{residual.auc[residual.layers.index(layer)]:.2f}" if known else "",
                    "r [95 % interval]": str(estimate) if known else "",
                }
            )
    return pd.DataFrame(rows)


def verdict_table(findings: Findings) -> pd.DataFrame:
    """Return one row per pair: the verdict in words, its reason, and what the repair cost."""
    return pd.DataFrame(
        {
            "pair": name,
            "entangled": each.entangled.word,
            "repaired": each.repaired.headline,
            "reason": f"{each.entangled.reason}. {each.repaired.reason}",
            "cost": "; ".join(each.repaired.price.sentences),
        }
        for name, each in findings.pairs.items()
    )


def headline_text(findings: Findings) -> str:
    """Return what a run ends with: every pair's numbers, its verdict, and what the repair cost."""
    row = "{:<16} {:<19} {:<14} {:<14} {}"
    lines = [row.format("pair", "r of ratings", "leak", "accuracy", "moral accuracy")]
    for name, each in findings.pairs.items():
        before, after = each.repair.before, each.repair.after
        arrows = [
            _arrow(getattr(before, measure), getattr(after, measure) if after else None)
            for measure in ("leak", "accuracy", "moral_accuracy")
        ]
        lines.append(row.format(name, str(each.behaviour.entanglement), *arrows).rstrip())
    lines.append("")
    for name, each in findings.pairs.items():
        lines.append(f"{name}: {each.entangled.word}; {each.repaired.headline}")
        lines += [f"  {sentence}" for sentence in each.repaired.price.sentences]
    return "\n".join(lines)


def _arrow(before: Estimate, after: Estimate | None) -> str:
    return f"{before.value:.2f} -> {after.value:.2f}" if after else f"{before.value:.2f}"


def _engine(cost: Account) -> dict[str, Any]:
    return {
        "prompts": cost.prompts,
        "prompt_tokens": cost.prompt_tokens,
        "tokens_run": round(cost.tokens_run),
        "share_run": cost.share_run,
    }


def _correlation(estimate: Estimate) -> dict[str, Any]:
    return {
        "r": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p,
        "n_items": estimate.n_items,
        "n_scenarios": estimate.n_scenarios,
    }


def _behaviour(finding: Finding) -> dict[str, Any]:
    behaviour = finding.behaviour
    excess = behaviour.reference.excess
    return {
        **_correlation(behaviour.entanglement),
        "reference": behaviour.reference.value,
        "reference_source": behaviour.reference.source,
        "design_correlation": behaviour.reference.design,
        "excess_over_reference": None if excess is None else _correlation(excess),
        "leak": _correlation(behaviour.leak),
        "leak_reference": behaviour.reference.leak,
        "secondary_accuracy": behaviour.accuracy.value,
        "moral_accuracy": behaviour.moral_accuracy.value,
        "option_mass": float(behaviour.secondary.mass.mean()),
        "moral_option_mass": float(behaviour.moral.mass.mean()),
        "accuracy_by_polarity": {
            value: dict(rating.by_polarity) for value, rating in behaviour.facts.ratings.items()
        },
    }


def _embedding(finding: Finding) -> dict[str, Any] | None:
    embedding = finding.embedding
    if embedding is None:
        return None
    return {**_correlation(embedding.entanglement), "axis_cosine": embedding.cosine}


def _residual(finding: Finding) -> dict[str, Any]:
    positions = {name: _at_position(each) for name, each in finding.residuals.items()}
    return positions[LAST] | {"positions": positions}


def _at_position(residual: ResidualMeasure) -> dict[str, Any]:
    nothing = dict.fromkeys(("r", "low", "high", "p", "n_items", "n_scenarios"))
    estimate = residual.entanglement
    at = None if residual.layer is None else residual.layers.index(residual.layer)
    return {
        **(nothing if estimate is None else _correlation(estimate)),
        "layer": residual.layer,
        "auc": None if at is None else float(residual.auc[at]),
        "band": residual.band,
        "p_max_over_layers": None if at is None else float(residual.p[at]),
    }


def _repair(repair: Repair) -> dict[str, Any]:
    before, after, null = repair.before, repair.after, repair.null
    return {
        "layer": repair.choice.layer,
        "leak_before": before.leak.value,
        "leak_after": None if after is None else after.leak.value,
        "change": None if after is None or after.change is None else _interval(after.change),
        "null_low": None if null is None else null.low,
        "null_high": None if null is None else null.high,
        "null_directions": 0 if null is None else len(null.leaks),
        "secondary_accuracy_before": before.accuracy.value,
        "secondary_accuracy_after": None if after is None else after.accuracy.value,
        "moral_accuracy_before": before.moral_accuracy.value,
        "moral_accuracy_after": None if after is None else after.moral_accuracy.value,
        "spread_before": before.spread,
        "spread_after": None if after is None else after.spread,
        "option_mass_before": before.mass,
        "option_mass_after": None if after is None else after.mass,
        "ablations": {
            each.name: {
                "description": each.description,
                "leak_after": each.leak.value,
                "apparent_after": each.apparent.value,
                "secondary_accuracy_after": each.accuracy.value,
                "moral_accuracy_after": each.moral_accuracy.value,
                "repaired": each.judgement.word if each.judgement else None,
                "reason": each.judgement.reason if each.judgement else None,
                "cost": list(each.judgement.price.sentences) if each.judgement else [],
                "entangled": each.entangled.word,
            }
            for each in repair.outcomes
        },
    }


def _interval(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _side_effects(findings: Findings) -> dict[str, Any]:
    """Return the side effects of both default ablations; ``kl`` is the larger of the two."""
    each_pair: dict[str, Any] = {}
    for name, finding in findings.pairs.items():
        each_pair[name] = {
            effect.arm: {
                "kl": effect.kl,
                "minimal_pair_accuracy": effect.minimal_pairs,
                "control_accuracy": effect.controls,
            }
            for effect in finding.side_effects
        }
    default = [pair["moral"]["kl"] for pair in each_pair.values() if "moral" in pair]
    measured = [kl for kl in default if kl is not None]
    return {"kl": max(measured) if measured else None, **each_pair}


def _verdict(finding: Finding) -> dict[str, Any]:
    return {
        "entangled": finding.entangled.word,
        "repaired": finding.repaired.word,
        "headline": finding.repaired.headline,
        "reason": f"{finding.entangled.reason}. {finding.repaired.reason}",
        "cost": list(finding.repaired.price.sentences),
    }
