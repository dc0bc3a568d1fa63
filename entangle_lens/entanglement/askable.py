"""Whether a model can be asked these stimuli at all, and how it is asked, before it is run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model
from entangle_lens.running import check_words, first_prompt, prompt_date, template_notes
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
    found = [check_words(model, texts) for texts in (items, pairs)]
    return tuple(dict.fromkeys(warning for warning in found if warning is not None))


@dataclass(frozen=True)
class Prompting:
    """How a model was asked.

    ``first_prompt`` is the whole prompt of the first item, as the model reads it; ``prompt_date``
    the date that its chat template is told, None where it asks for none; ``notes`` what to know of
    its template and of its words.
    """

    first_prompt: str
    prompt_date: str | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for the manifest."""
        return {**asdict(self), "notes": list(self.notes)}


def describe_prompting(model: Model, stimuli: Stimuli, design: Design) -> Prompting:
    """Say how ``model`` is asked ``stimuli``, which are those that the design asks."""
    text = next(iter(stimuli.items.values())).texts[0]
    question = design.questions(stimuli, MORAL)[0]
    return Prompting(
        first_prompt(model, text, question, design.scale),
        prompt_date(model),
        (*template_notes(model), *check_askable(model, stimuli)),
    )
