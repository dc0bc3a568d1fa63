"""Whether a model can be asked these stimuli at all, found out before it is run."""

from __future__ import annotations

from entangle_lens.errors import EntangleError
from entangle_lens.models import Model
from entangle_lens.running import check_words
from entangle_lens.stimuli import PEOPLE, Stimuli, people_problems


def check_askable(model: Model, stimuli: Stimuli) -> tuple[str, ...]:
    """Return what to know before ``model`` is asked ``stimuli``, a sentence each.

    ``stimuli`` are those that a design asks: it may leave too few of the scenarios that people
    rated.

    Raises:
        EntangleError: people's ratings that cannot be used, or texts whose words the tokenizer does
            not know.
    """
    if stimuli.human is not None:
        for problem in people_problems(stimuli.items.values(), stimuli.human):
            raise EntangleError(
                f"{PEOPLE} {problem}; ask more scenarios of these stimuli, or leave {PEOPLE} out"
            )
    items = [text for item_set in stimuli.items.values() for text in item_set.texts]
    pairs = [text for each in stimuli.contrasts.values() for text in each.positive + each.negative]
    warning = check_words(model, items + pairs)
    return () if warning is None else (warning,)
