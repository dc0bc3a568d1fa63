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


@dataclass(frozen=True)
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

    def head(self, n_pairs: int) -> ContrastSet:
        """Return the first ``n_pairs`` pairs."""
        return ContrastSet(self.value, self.split, self.positive[:n_pairs], self.negative[:n_pairs])


@dataclass(frozen=True)
class ControlSet:
    """Value-free texts with an objective number each, and the question that asks for it."""

    name: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]


@dataclass(frozen=True)
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
