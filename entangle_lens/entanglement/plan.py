"""What a study will run, stage by stage, counted before a long job is started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.models import Model
from entangle_lens.running import (
    Plan,
    PromptGroup,
    chat_prompts,
    plain_prompts,
    plan_reading,
    plan_sweep,
    rating_prompts,
    tokens_per_second,
)
from entangle_lens.stimuli import ItemSet, Stimuli

_ARMS = 5  # of the moral direction, before the controls of the other values
_ARMS_WITH_SIDE_EFFECTS = 3


@dataclass(frozen=True)
class StudyPlan:
    """At most what a study runs: by stage, in all, and how long that takes on this machine.

    ``seconds`` is the tokens to run at the speed of a short calibration.
    """

    stages: dict[str, Plan]
    total: Plan
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for the manifest."""
        return {
            **_plain(self.total),
            "seconds": round(self.seconds, 1),
            "stages": {name: _plain(each) for name, each in self.stages.items()},
        }

    def __str__(self) -> str:
        return (
            f"at most {self.total.prompts:,} prompts of {self.total.prompt_tokens:,} tokens, "
            f"{self.total.tokens_run:,.0f} of them to run ({self.total.share_run:.0%}), "
            f"in about {_clock(self.seconds)}"
        )


def plan_study(model: Model, stimuli: Stimuli, design: Design) -> StudyPlan:
    """Count what a study would run at most, and time a few of its prompts.

    What depends on results is counted at its dearest: every layer is a candidate for the
    ablation, and the chosen one is the lowest.
    """
    counter = _Counter(model, stimuli, design)
    stages = counter.stages()
    total = _sum(stages.values())
    question = stimuli.questions_for(MORAL)[0]
    texts = next(iter(stimuli.items.values())).texts
    speed = tokens_per_second(model, rating_prompts(model, texts, question, design.scale))
    return StudyPlan(stages, total, total.tokens_run / speed)


@dataclass(frozen=True)
class _Counter:
    model: Model
    stimuli: Stimuli
    design: Design

    def stages(self) -> dict[str, Plan]:
        items = list(self.stimuli.items.values())
        return {
            "directions": self._directions(),
            "ratings": _sum(self._asked(each, self.design.n_paraphrases) for each in items),
            "choice of layer": _sum(map(self._choice, items)),
            "random directions": _sum(map(self._null, items)),
            "layer sweep": _sum(map(self._layer_sweep, items)),
            "ablations": _sum(map(self._ablations, items)),
            "side effects": self._side_effects(len(items)),
        }

    def _directions(self) -> Plan:
        questions = (MORAL, *self.stimuli.items)
        background = plan_reading(chat_prompts(self.model, self.stimuli.neutral))
        return background + _sum(
            plan_reading(group)
            for pairs in self.stimuli.contrasts.values()
            for question in questions
            for group in self._groups(
                [*pairs.positive, *pairs.negative], question, self.design.n_paraphrases
            )
        )

    def _choice(self, item_set: ItemSet) -> Plan:
        sets = [self.stimuli.contrasts[value, "select"] for value in (MORAL, item_set.secondary)]
        ablations = [self.layers[0], *self.layers]
        return _sum(
            plan_sweep(group, ablations, self.n_layers)
            for pairs in sets
            for group in self._repair_groups([*pairs.positive, *pairs.negative], item_set.secondary)
        )

    def _null(self, item_set: ItemSet) -> Plan:
        groups = list(self._repair_groups(item_set.texts, item_set.secondary))
        edited = [self.layers[0]] * self.design.n_random
        residuals = _sum(map(plan_reading, groups))
        return residuals + _sum(plan_sweep(each, edited, self.n_layers) for each in groups)

    def _layer_sweep(self, item_set: ItemSet) -> Plan:
        return _sum(
            plan_sweep(group, 2 * self.layers, self.n_layers)
            for value in (MORAL, item_set.secondary)
            for group in self._repair_groups(item_set.texts, value)
        )

    def _ablations(self, item_set: ItemSet) -> Plan:
        others = {value for value, _ in self.stimuli.contrasts} - {MORAL}
        once = self._asked(item_set, self.design.n_repair_paraphrases)
        return _sum([once] * (1 + _ARMS + len(others)))

    def _side_effects(self, n_pairs: int) -> Plan:
        stimuli = self.stimuli
        sentences = [text for pair in stimuli.minimal_pairs for text in pair]
        once = [
            plan_reading(group)
            for control in stimuli.controls
            for group in self._repair_groups(control.texts, control.name)
        ]
        if sentences:
            once.append(plan_reading(plain_prompts(self.model, sentences), share_beginnings=False))
        neutral = plan_reading(chat_prompts(self.model, stimuli.neutral))
        arms = 1 + _ARMS_WITH_SIDE_EFFECTS
        # The clean next tokens are read once more, for the arms to be compared with.
        return _sum([*once * arms, *[neutral] * (1 + arms)] * n_pairs)

    def _asked(self, item_set: ItemSet, n_paraphrases: int | None) -> Plan:
        return _sum(
            plan_reading(group)
            for value in (MORAL, item_set.secondary)
            for group in self._groups(item_set.texts, value, n_paraphrases)
        )

    def _groups(
        self, texts: Sequence[str], value: str, n_paraphrases: int | None
    ) -> Iterator[PromptGroup]:
        for question in self.stimuli.questions_for(value, n_paraphrases):
            yield rating_prompts(self.model, texts, question, self.design.scale)

    def _repair_groups(self, texts: Sequence[str], value: str) -> Iterator[PromptGroup]:
        return self._groups(texts, value, self.design.n_repair_paraphrases)

    @property
    def n_layers(self) -> int:
        return int(self.model.cfg.n_layers)

    @property
    def layers(self) -> list[int]:
        chosen = self.design.layers
        return list(range(self.n_layers) if chosen is None else chosen)


def _sum(plans: Iterable[Plan]) -> Plan:
    return sum(plans, Plan())


def _plain(plan: Plan) -> dict[str, object]:
    return {
        "prompts": plan.prompts,
        "prompt_tokens": plan.prompt_tokens,
        "tokens_run": round(plan.tokens_run),
    }


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
