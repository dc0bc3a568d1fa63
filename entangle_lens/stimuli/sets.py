"""The checked stimuli, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from entangle_lens.errors import EntangleError, choices
from entangle_lens.statistics import CROSSED, pearson
from entangle_lens.stimuli.questions import Question

COVARIATE = "covariate_"


@dataclass(frozen=True, eq=False)
class ItemSet:
    """Test items that cross a moral level with one secondary level.

    ``table`` has one row an item: ``item_id, scenario_id, text, moral, level``. ``moral`` is -1,
    0 or 1; ``level`` rises with the secondary good: minus the corruption level for ``grammar``,
    log10 of the price for ``economic``. Further numbers of the items stand in columns whose names
    begin with ``covariate_``.
    """

    secondary: str
    table: pd.DataFrame

    @property
    def name(self) -> str:
        """``moral_grammar`` or ``moral_economic``."""
        return f"moral_{self.secondary}"

    @property
    def texts(self) -> list[str]:
        """The items' texts."""
        return self.table["text"].tolist()

    @property
    def scenario_ids(self) -> list[str]:
        """The scenario of each item."""
        return self.table["scenario_id"].tolist()

    @property
    def moral(self) -> Float[np.ndarray, " items"]:
        """The design's moral level of each item."""
        return self.table["moral"].to_numpy(dtype=float)

    @property
    def level(self) -> Float[np.ndarray, " items"]:
        """The design's secondary level of each item."""
        return self.table["level"].to_numpy(dtype=float)

    @property
    def design_correlation(self) -> float:
        """r(moral level, secondary level) over the items; exactly 0 where they are crossed."""
        r = float(pearson(self.moral, self.level))
        return 0.0 if abs(r) < CROSSED else r

    def thinned(self, n_scenarios: int | None) -> ItemSet:
        """Return the items of ``n_scenarios`` scenarios, as many of each moral level as can be.

        They are spread evenly over the table; a scenario keeps all its items, so that what was
        crossed stays crossed.
        """
        levels = self.table.groupby("scenario_id", sort=False)["moral"].first()
        if n_scenarios is None or n_scenarios >= len(levels):
            return self
        per_level = -(-n_scenarios // levels.nunique())
        kept: list[str] = []
        for _, scenarios in levels.groupby(levels):
            kept += [scenarios.index[row] for row in _evenly(len(scenarios), per_level)]
        rows = self.table["scenario_id"].isin(kept)
        return ItemSet(self.secondary, self.table[rows].reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class ContrastSet:
    """Pairs of texts that differ in one value, for fitting (``fit``) or choosing (``select``)."""

    value: str
    split: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.positive)

    def thinned(self, n_pairs: int | None) -> ContrastSet:
        """Return ``n_pairs`` pairs, spread evenly over the table."""
        rows = _evenly(len(self), n_pairs)
        positive, negative = (
            tuple(texts[row] for row in rows) for texts in (self.positive, self.negative)
        )
        return ContrastSet(self.value, self.split, positive, negative)


@dataclass(frozen=True)
class ControlSet:
    """Value-free texts with an objective number each, and the question that asks for it."""

    name: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]

    def thinned(self, n_texts: int | None) -> ControlSet:
        """Return ``n_texts`` texts, spread evenly over the table."""
        rows = _evenly(len(self.texts), n_texts)
        texts = tuple(self.texts[row] for row in rows)
        return ControlSet(self.name, texts, tuple(self.numbers[row] for row in rows))


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Everything that a study asks a model, checked and hashed.

    ``items`` is keyed by secondary value; ``contrasts`` by (value, split); ``phrases`` by
    (value, pole). ``digest`` is the SHA-256 of the tables. Tables that a folder does not have
    are empty here, and the measures that need them say so.
    """

    name: str
    digest: str
    items: dict[str, ItemSet]
    contrasts: dict[tuple[str, str], ContrastSet]
    questions: tuple[Question, ...]
    phrases: dict[tuple[str, str], tuple[str, ...]]
    controls: tuple[ControlSet, ...]
    neutral: tuple[str, ...]
    minimal_pairs: tuple[tuple[str, str], ...]
    human: pd.DataFrame | None

    def thinned(self, n_scenarios: int | None, n_pairs: int | None, n_texts: int | None) -> Stimuli:
        """Return fewer of everything, spread evenly over the tables; None keeps all.

        ``n_scenarios`` of each item set, ``n_pairs`` of each split of contrast pairs, ``n_texts``
        of the neutral prompts, of the minimal pairs and of each control set.
        """
        return replace(
            self,
            items={name: items.thinned(n_scenarios) for name, items in self.items.items()},
            contrasts={name: pairs.thinned(n_pairs) for name, pairs in self.contrasts.items()},
            controls=tuple(control.thinned(n_texts) for control in self.controls),
            neutral=tuple(self.neutral[row] for row in _evenly(len(self.neutral), n_texts)),
            minimal_pairs=tuple(
                self.minimal_pairs[row] for row in _evenly(len(self.minimal_pairs), n_texts)
            ),
        )

    def in_polarity(self, polarity: str) -> Stimuli:
        """Return the stimuli with the questions of one polarity only.

        Raises:
            EntangleError: a value that no question asks for in that polarity.
        """
        kept = tuple(question for question in self.questions if question.polarity == polarity)
        lost = {question.value for question in self.questions} - {each.value for each in kept}
        if lost:
            raise EntangleError(
                f"no question asks for {min(lost)!r} in the polarity {polarity!r}; questions.csv "
                "asks for it in the other polarity only"
            )
        return replace(self, questions=kept)

    def questions_for(self, value: str, n_paraphrases: int | None = None) -> tuple[Question, ...]:
        """Return the questions that ask for ``value``, of the first ``n_paraphrases`` wordings."""
        asked = [question for question in self.questions if question.value == value]
        if not asked:
            known = choices(sorted({question.value for question in self.questions}))
            raise EntangleError(f"no question asks for {value!r}; questions.csv asks for {known}")
        wordings = list(dict.fromkeys(question.paraphrase for question in asked))[:n_paraphrases]
        return tuple(question for question in asked if question.paraphrase in wordings)


def _evenly(n_rows: int, n_kept: int | None) -> list[int]:
    """Return ``n_kept`` of the rows, spread evenly from the first to the last; None keeps all."""
    if n_kept is None or n_kept >= n_rows:
        return list(range(n_rows))
    return np.linspace(0, n_rows - 1, n_kept).round().astype(int).tolist()
