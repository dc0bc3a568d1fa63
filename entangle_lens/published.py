"""Published correlations, as constants with their source, to set a model beside.

All from "value entanglement" (arXiv 2602.19101) and its released files: Pearson r over items of
the mean morality rating with the mean secondary rating, or of the human panel's means. The one
exception says so in its note. Its items are not those of ``goods``, so these are landmarks and no
test is made against them.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "arXiv 2602.19101"


@dataclass(frozen=True)
class Published:
    """One respondent's published correlations, with the number of items behind each.

    ``economic_note`` says what the economic correlation is where it is not one of two ratings.
    """

    label: str
    moral_grammar: float
    n_grammar: int
    moral_economic: float
    n_economic: int
    economic_note: str = ""

    def correlation(self, pair: str) -> float:
        """Return the correlation of ``moral_grammar`` or ``moral_economic``."""
        return {"moral_grammar": self.moral_grammar, "moral_economic": self.moral_economic}[pair]

    def note(self, pair: str) -> str:
        """Return what the correlation of ``pair`` is where it is not one of two ratings."""
        return {"moral_grammar": "", "moral_economic": self.economic_note}[pair]


HUMANS = Published("people (published)", 0.052, 68, 0.050, 28, "r(moral rating, log10 price)")
PUBLISHED = (
    HUMANS,
    Published("Qwen2.5-7B (published)", 0.479, 68, 0.728, 68),
    Published("Gemma-2-9B (published)", 0.330, 68, 0.425, 55),
    Published("Gemma-3-27B (published)", 0.399, 68, 0.143, 68),
    Published("Mistral-Small-2501 (published)", 0.156, 68, 0.242, 68),
    Published("Qwen3-32B (published)", 0.057, 68, 0.344, 68),
)
