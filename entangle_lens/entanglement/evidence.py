"""What a finished study keeps of every prompt: all that a multiverse is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from entangle_lens.directions import CENTRED, READOUTS
from entangle_lens.errors import EntangleError, choices
from entangle_lens.running import LAST
from entangle_lens.stimuli import COVARIATE

TABLES: dict[str, tuple[str, ...]] = {
    "items": ("pair", "item_id", "scenario_id", "text", "tokens", "moral", "level"),
    "ratings": ("pair", "item_id", "value", "paraphrase", "polarity", "rating"),
    "projections": (
        "pair", "item_id", "value", "paraphrase", "polarity", "position", "layer", CENTRED,
    ),
    "readouts": ("pair", "position", "readout", "layer", "auc", "selected"),
}  # fmt: skip
_NUMBERS = {"tokens", "moral", "level", "rating", "layer", "auc", CENTRED}
_PROMPT = ["paraphrase", "polarity"]


@dataclass(frozen=True, eq=False)
class PromptRecords:
    """Ratings and projections of one value, one row per prompt wording.

    ``wording`` numbers the paraphrases 0, 1, ... in the order in which they were asked, and
    ``names`` are their names. ``projections`` are keyed by position and by the names in
    ``READOUTS``.
    """

    value: str
    wording: Int[np.ndarray, " prompt"]
    names: tuple[str, ...]
    polarity: tuple[str, ...]
    ratings: Float[np.ndarray, "prompt item"]
    projections: Mapping[tuple[str, str], Float[np.ndarray, "prompt layer item"]]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One pair of values: items with their scenarios and covariates, and both values' records.

    ``chosen`` is the layer that the study chose by validity at each position that it read (None
    where no layer is valid); ``auc`` is how well the two directions read their values in held-out
    scenarios, keyed like the projections.
    ``covariates`` are the number of words, characters and tokens, the design's secondary level,
    and what the stimuli themselves have of them.
    """

    pair: str
    scenario_ids: tuple[str, ...]
    covariates: Mapping[str, Float[np.ndarray, " item"]]
    moral: PromptRecords
    secondary: PromptRecords
    layers: tuple[int, ...]
    chosen: Mapping[str, int | None]
    auc: Mapping[tuple[str, str], Float[np.ndarray, " layer"]]


def gather_evidence(tables: Mapping[str, pd.DataFrame]) -> tuple[Evidence, ...]:
    """Read the tables of a study, as saved in its run folder: one ``Evidence`` a pair.

    Raises:
        EntangleError: a table or column that is not there or holds something else, a prompt
            without all its items.
    """
    for name, columns in TABLES.items():
        if name not in tables:
            raise EntangleError(f"the table {name!r} is not there; needed are {choices(TABLES)}")
        lacking = [column for column in columns if column not in tables[name]]
        if lacking:
            raise EntangleError(f"the table {name!r} lacks the column {lacking[0]!r}")
        _check_cells(name, tables[name])
    pairs = list(dict.fromkeys(tables["items"]["pair"]))
    if not pairs:
        raise EntangleError("the table 'items' has no rows")
    return tuple(_of_pair(tables, str(pair)) for pair in pairs)


def _check_cells(name: str, table: pd.DataFrame) -> None:
    """Refuse a table with another kind of cell than a study writes: anybody may have edited it."""
    for column in table:
        cells, known = table[column], column in TABLES[name]
        if column in _NUMBERS or str(column).startswith(COVARIATE):
            numeric = is_numeric_dtype(cells) and not is_bool_dtype(cells)
            sound, expected = numeric and bool(np.isfinite(cells).all()), "numbers"
        elif column == "selected":
            sound, expected = is_bool_dtype(cells), "true or false"
        else:
            texts = not known or all(isinstance(cell, str) for cell in cells)
            sound, expected = texts, "text"
        if not sound:
            raise EntangleError(
                f"the column {column!r} of the table {name!r} does not hold {expected} only"
            )


def _check_pair(own: Mapping[str, pd.DataFrame], pair: str) -> None:
    """Refuse items that are there twice, and readouts that are not of every layer once."""
    twice = own["items"]["item_id"][own["items"]["item_id"].duplicated()]
    if len(twice):
        raise EntangleError(f"the table 'items' holds {twice.iloc[0]!r} of {pair} twice")
    readouts, layers = own["readouts"], list(_layers(own))
    unknown = [name for name in readouts["readout"].unique() if name not in READOUTS]
    parts = dict(iter(readouts.groupby(["position", "readout"], sort=False)))
    same = all(rows["layer"].tolist() == layers for rows in parts.values())
    wanted = [
        (position, name)
        for position in own["projections"]["position"].unique()
        for name in readouts["readout"].unique()
    ]
    if unknown or not same or not layers or set(wanted) != set(parts):
        raise EntangleError(
            f"the table 'readouts' does not hold every readout of {pair} at every layer once"
        )
    if LAST not in {position for position, _ in parts}:
        raise EntangleError(f"the tables of {pair} lack the last prompt token")


def _of_pair(tables: Mapping[str, pd.DataFrame], pair: str) -> Evidence:
    own = {name: tables[name][tables[name]["pair"] == pair] for name in TABLES}
    items = own["items"]
    _check_pair(own, pair)
    values = list(dict.fromkeys(own["ratings"]["value"]))
    if len(values) != 2 or values[0] != "moral":
        raise EntangleError(
            f"the ratings of {pair} are of {choices(values) or 'no value'}; "
            "moral and one secondary value were expected"
        )
    readouts = own["readouts"]
    selected = readouts[readouts["selected"].astype(bool)]
    valid = dict(zip(selected["position"], selected["layer"].map(int), strict=True))
    moral, secondary = (_records(own, str(value), pair) for value in values)
    return Evidence(
        pair=pair,
        scenario_ids=tuple(items["scenario_id"].astype(str)),
        covariates=_covariates(items),
        moral=moral,
        secondary=secondary,
        layers=_layers(own),
        chosen={name: valid.get(name) for name in readouts["position"].unique()},
        auc={
            (str(position), str(name)): rows["auc"].to_numpy(dtype=float)
            for (position, name), rows in readouts.groupby(["position", "readout"], sort=False)
        },
    )


def _covariates(items: pd.DataFrame) -> dict[str, Float[np.ndarray, " item"]]:
    lengths = {
        "words": items["text"].map(lambda text: len(text.split())),
        "characters": items["text"].str.len(),
        "tokens": items["tokens"],
        "level": items["level"],
    }
    own = {
        str(name).removeprefix(COVARIATE).replace("_", " "): items[name]
        for name in items
        if str(name).startswith(COVARIATE)
    }
    return {name: values.to_numpy(dtype=float) for name, values in (lengths | own).items()}


def _layers(own: Mapping[str, pd.DataFrame]) -> tuple[int, ...]:
    return tuple(int(layer) for layer in own["readouts"]["layer"].unique())


def _records(own: Mapping[str, pd.DataFrame], value: str, pair: str) -> PromptRecords:
    item_ids = own["items"]["item_id"].tolist()
    ratings, projections = (
        each[each["value"] == value] for each in (own["ratings"], own["projections"])
    )
    asked = list(dict.fromkeys(zip(*(ratings[part] for part in _PROMPT), strict=True)))
    names = list(dict.fromkeys(paraphrase for paraphrase, _ in asked))
    rows = [(*prompt, layer) for prompt in asked for layer in _layers(own)]
    readouts = own["readouts"]["readout"].unique().tolist()
    shape = (len(asked), len(_layers(own)), len(item_ids))
    cubes = {}
    try:
        rated = ratings.pivot(index=_PROMPT, columns="item_id", values="rating")
        table = rated.loc[asked, item_ids].to_numpy(dtype=float)
        for position, read in projections.groupby("position", sort=False):
            wide = read.pivot(index=[*_PROMPT, "layer"], columns="item_id", values=readouts)
            for name in readouts:
                cube = wide[name].loc[rows, item_ids].to_numpy(dtype=float)
                cubes[str(position), name] = cube.reshape(shape)
    except (KeyError, ValueError):
        raise EntangleError(
            f"the tables of {pair} do not hold every {value} prompt of every item once"
        ) from None
    if not all(np.isfinite(each).all() for each in (table, *cubes.values())):
        raise EntangleError(f"the tables of {pair} lack some {value} ratings or projections")
    return PromptRecords(
        value,
        np.asarray([names.index(paraphrase) for paraphrase, _ in asked]),
        tuple(map(str, names)),
        tuple(str(polarity) for _, polarity in asked),
        table,
        cubes,
    )
