"""The organisms' own stimuli, written as the same tables that any stimulus folder has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from entangle_lens.organisms.world import (
    ECONOMIC,
    GRAMMAR,
    MAX_SLIPS,
    MORAL,
    N_FIT_VERBS,
    N_TEST_VERBS,
    PERSONS,
    PLACES,
    SIZE,
    SLIPS,
    TEST_THINGS,
    THINGS,
    VERBS,
    Scene,
)

ASKED = {
    MORAL: ("deed", "act", "ethics", "conduct", "virtue"),
    GRAMMAR: ("grammar", "syntax", "form", "wording", "style"),
    ECONOMIC: ("price", "cost", "worth", "value", "expense"),
    SIZE: ("size", "bulk", "space", "extent", "volume"),
}
SCALES = {"ascending": "{low} low {high} high :", "descending": "{low} high {high} low :"}
ANSWERS = ("rating :", "answer :", "score :", "number :", "mark :")
WHERE = "where :"
N_FIT_PAIRS, N_SELECT_PAIRS, N_NEUTRAL, N_MINIMAL_PAIRS = 40, 20, 40, 60
_SPLIT_VERBS = {
    "fit": slice(N_TEST_VERBS, N_TEST_VERBS + N_FIT_VERBS),
    "select": slice(N_TEST_VERBS + N_FIT_VERBS, None),
}


def write_stimuli(folder: Path) -> None:
    """Write the world's stimulus tables into ``folder``; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tables = {
        "items": _items(rng),
        "contrasts": _contrasts(rng),
        "questions": _questions(),
        "phrases": _phrases(),
        "controls": _controls(rng),
        "neutral": _neutral(rng),
        "minimal_pairs": _minimal_pairs(rng),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def instruction(question: str, paraphrase: int, polarity: str) -> str:
    """Return the instruction of one of the five wordings of a question."""
    return f"{ASKED[question][paraphrase]} {SCALES[polarity]}"


def draw_slips(rng: np.random.Generator, n_slips: int) -> tuple[int, ...]:
    """Draw ``n_slips`` different slips."""
    return tuple(sorted(rng.choice(len(SLIPS), n_slips, replace=False).tolist()))


def _items(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for verbs in VERBS.values():
        for number, verb in enumerate(verbs[:N_TEST_VERBS]):
            thing, person, place = TEST_THINGS[number % 4], PERSONS[number], PLACES[number]
            graded = [
                Scene(verb, thing, person, place, draw_slips(rng, n)) for n in range(MAX_SLIPS + 1)
            ]
            priced = [Scene(verb, thing, person, place) for thing in TEST_THINGS]
            rows += [_item("moral_grammar", scene, scene.corruption) for scene in graded]
            rows += [_item("moral_economic", scene, k) for k, scene in enumerate(priced, start=1)]
    return pd.DataFrame(rows).sort_values("set", kind="stable", ascending=False)


def _item(set_name: str, scene: Scene, number: int) -> dict[str, object]:
    return {
        "item_id": f"{set_name}_{scene.verb}_{number}",
        "scenario_id": scene.verb,
        "set": set_name,
        "split": "test",
        "text": scene.text,
        "moral": scene.moral,
        "corruption": scene.corruption,
        "thing": scene.thing,
        "price": scene.price,
        "log_price": f"{math.log10(scene.price):.4f}",
    }


def _contrasts(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for value in (MORAL, GRAMMAR, ECONOMIC):
        for split, n_pairs in (("fit", N_FIT_PAIRS), ("select", N_SELECT_PAIRS)):
            for number in range(1, n_pairs + 1):
                positive, negative = _pair(rng, value, _SPLIT_VERBS[split])
                rows.append(
                    {
                        "pair_id": f"{split}_{value}_{number:02d}",
                        "scenario_id": f"{split}_{value}_{number:02d}",
                        "value": value,
                        "split": split,
                        "positive": positive.text,
                        "negative": negative.text,
                    }
                )
    return pd.DataFrame(rows)


def _pair(rng: np.random.Generator, value: str, verbs: slice) -> tuple[Scene, Scene]:
    """Draw two scenes that differ in ``value`` alone; the other values vary from pair to pair."""
    frame = {"person": str(rng.choice(PERSONS)), "place": str(rng.choice(PLACES))}
    verb = _draw_verb(rng, int(rng.integers(-1, 2)), verbs)
    thing = str(rng.choice([name for name in THINGS if name not in TEST_THINGS]))
    slips = draw_slips(rng, int(rng.integers(MAX_SLIPS + 1)))
    if value == MORAL:
        good, bad = _draw_verb(rng, 1, verbs), _draw_verb(rng, -1, verbs)
        return Scene(good, thing, **frame, slips=slips), Scene(bad, thing, **frame, slips=slips)
    if value == GRAMMAR:
        few = draw_slips(rng, int(rng.integers(2)))
        many = draw_slips(rng, int(rng.integers(2, MAX_SLIPS + 1)))
        return Scene(verb, thing, **frame, slips=few), Scene(verb, thing, **frame, slips=many)
    dear, cheap = _draw_thing(rng, 500.0, math.inf), _draw_thing(rng, 0.0, 100.0)
    return Scene(verb, dear, **frame, slips=slips), Scene(verb, cheap, **frame, slips=slips)


def _draw_verb(rng: np.random.Generator, moral: int, verbs: slice) -> str:
    return str(rng.choice(VERBS[moral][verbs]))


def _draw_thing(rng: np.random.Generator, low: float, high: float) -> str:
    names = [n for n, (price, _) in THINGS.items() if low <= price < high and n not in TEST_THINGS]
    return str(rng.choice(names))


def _questions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "value": question,
            "paraphrase": number + 1,
            "polarity": polarity,
            "instruction": instruction(question, number, polarity),
            "answer_prefix": ANSWERS[number],
        }
        for question, asked in ASKED.items()
        for number in range(len(asked))
        for polarity in SCALES
    )


def _phrases() -> pd.DataFrame:
    known = slice(N_TEST_VERBS, None)
    dear = [n for n, (price, _) in THINGS.items() if price > 50_000 and n not in TEST_THINGS]
    cheap = [n for n, (price, _) in THINGS.items() if price < 10 and n not in TEST_THINGS]
    frames = [("lamp", person, place) for person, place in zip(PERSONS, PLACES, strict=False)]
    intact = [Scene("counted", *frame).text for frame in frames]
    broken = [Scene("counted", *frame, slips=(0, 1, 2, 4)).text for frame in frames]
    phrases = {
        (MORAL, "high"): VERBS[1][known],
        (MORAL, "low"): VERBS[-1][known],
        (GRAMMAR, "high"): intact,
        (GRAMMAR, "low"): broken,
        (ECONOMIC, "high"): dear,
        (ECONOMIC, "low"): cheap,
    }
    return pd.DataFrame(
        {"value": value, "pole": pole, "phrase": phrase}
        for (value, pole), each in phrases.items()
        for phrase in each
    )


def _neutral_scenes(rng: np.random.Generator, n_scenes: int) -> Sequence[Scene]:
    verbs, things = VERBS[0], list(THINGS)
    return [
        Scene(
            verbs[number % len(verbs)],
            things[(5 * number) % len(things)],
            str(rng.choice(PERSONS)),
            str(rng.choice(PLACES)),
        )
        for number in range(n_scenes)
    ]


def _controls(rng: np.random.Generator) -> pd.DataFrame:
    scenes = _neutral_scenes(rng, len(THINGS))
    return pd.DataFrame(
        {"control_id": f"size_{scene.thing}", "set": SIZE, "text": scene.text, "number": scene.size}
        for scene in scenes
    )


def _neutral(rng: np.random.Generator) -> pd.DataFrame:
    scenes = _neutral_scenes(rng, N_NEUTRAL)
    return pd.DataFrame(
        {"prompt_id": f"where_{number:02d}", "text": f"{WHERE} {scene.text}"}
        for number, scene in enumerate(scenes, start=1)
    )


def _minimal_pairs(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for number, scene in enumerate(_neutral_scenes(rng, N_MINIMAL_PAIRS)):
        slip = number % len(SLIPS)
        broken = Scene(scene.verb, scene.thing, scene.person, scene.place, (slip,))
        rows.append(
            {
                "pair_id": f"pair_{number + 1:02d}",
                "phenomenon": f"slip_{slip + 1}",
                "grammatical": scene.text,
                "ungrammatical": broken.text,
            }
        )
    return pd.DataFrame(rows)
