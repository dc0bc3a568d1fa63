"""What a study will run, stage by stage, counted before a long job is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.doctor import examine_briefly
from entangle_lens.entanglement.repair import MAIN_ARMS
from entangle_lens.entanglement.selection import count_kept_layers
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
from entangle_lens.stimuli import ItemSet, Question, Stimuli

_Questions = Callable[[Stimuli, str], tuple[Question, ...]]
_ARMS = 5  # of the moral direction, before the controls of the other values


@dataclass(frozen=True)
class StudyPlan:
    """At most what a study runs: by stage, in all, and how long that takes on this machine.

    ``seconds`` is the tokens to run at the speed of a short calibration, NaN where none was made.
    ``given_up`` says what the study leaves out to be this short.
    """

    stages: dict[str, Plan]
    total: Plan
    seconds: float
    given_up: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for the manifest."""
        return {
            **_plain(self.total),
            "seconds": round(self.seconds, 1),
            "given_up": list(self.given_up),
            "stages": {name: _plain(each) for name, each in self.stages.items()},
        }

    def __str__(self) -> str:
        text = (
            f"at most {self.total.prompts:,} prompts of {self.total.prompt_tokens:,} tokens, "
            f"{self.total.tokens_run:,.0f} of them to run ({self.total.share_run:.0%}), "
            f"in about {clock(self.seconds)}"
        )
        return f"{text}\nleft out: {', '.join(self.given_up)}" if self.given_up else text


def plan_study(model: Model, stimuli: Stimuli, design: Design) -> StudyPlan:
    """Count what a study would run at most, and time a few of its prompts.

    ``stimuli`` are those that the design asks. What depends on results is counted at its dearest:
    every layer that may be chosen is a candidate for the ablation, and the lowest one is chosen.
    """
    plan = count_study(model, stimuli, design)
    return replace(plan, seconds=plan.total.tokens_run / study_speed(model, stimuli, design))


def study_speed(model: Model, stimuli: Stimuli, design: Design) -> float:
    """Measure how many tokens of a study's prompts the model runs per second."""
    examine_briefly(model, stimuli, design)
    question = stimuli.questions_for(MORAL)[0]
    texts = next(iter(stimuli.items.values())).texts
    return tokens_per_second(model, rating_prompts(model, texts, question, design.scale))


def count_study(
    model: Model, stimuli: Stimuli, design: Design, rendered: Rendered | None = None
) -> StudyPlan:
    """Count what a study would run at most, without running anything.

    ``rendered`` keeps the prompts from one count to the next, of other designs.
    """
    stages = _Counter(model, stimuli, design, rendered or Rendered()).stages()
    return StudyPlan(stages, _sum(stages.values()), float("nan"))


@dataclass(frozen=True)
class Rendered:
    """Prompts that have been rendered once, and what reading each group costs."""

    groups: dict[tuple[Question, tuple[str, ...]], PromptGroup] = field(default_factory=dict)
    readings: dict[int, Plan] = field(default_factory=dict)


@dataclass(frozen=True)
class _Counter:
    model: Model
    stimuli: Stimuli
    design: Design
    rendered: Rendered

    def stages(self) -> dict[str, Plan]:
        items = list(self.stimuli.items.values())
        return {
            "directions": self._directions(),
            "ratings": _sum(self._asked(each, self.design.questions) for each in items),
            "choice of layer": _sum(map(self._choice, items)),
            "random directions": _sum(map(self._null, items)),
            "layer sweep": _sum(map(self._layer_sweep, items)),
            "ablations": _sum(map(self._ablations, items)),
            "side effects": self._side_effects(len(items)),
        }

    def _directions(self) -> Plan:
        questions = (MORAL, *self.stimuli.items)
        return self._neutral() + _sum(
            self._reading(group)
            for pairs in self.stimuli.contrasts.values()
            for question in questions
            for group in self._groups(
                [*pairs.positive, *pairs.negative], question, self.design.questions
            )
        )

    def _choice(self, item_set: ItemSet) -> Plan:
        sets = [self.stimuli.contrasts[value, "select"] for value in (MORAL, item_set.secondary)]
        texts = [text for pairs in sets for text in (*pairs.positive, *pairs.negative)]
        layers = [each for each in self.layers if each < count_kept_layers(self.n_layers)]
        groups = list(self._repair_groups(texts, item_set.secondary))
        clean = _sum(map(self._reading, groups))
        swept = _sum(self._sweep(each, layers) for each in groups)
        return _sum([clean, swept, *[self._neutral()] * len(layers)])

    def _null(self, item_set: ItemSet) -> Plan:
        groups = list(self._repair_groups(item_set.texts, item_set.secondary))
        edited = [self.layers[0]] * self.design.n_random
        residuals = _sum(map(self._reading, groups))
        return residuals + _sum(self._sweep(each, edited) for each in groups)

    def _layer_sweep(self, item_set: ItemSet) -> Plan:
        return _sum(
            self._sweep(group, 2 * self.layers)
            for value in (MORAL, item_set.secondary)
            for group in self._repair_groups(item_set.texts, value)
        )

    def _ablations(self, item_set: ItemSet) -> Plan:
        others = {value for value, _ in self.stimuli.contrasts} - {MORAL}
        arms = len(MAIN_ARMS) if self.design.few_arms else _ARMS + len(others)
        once = self._asked(item_set, self.design.repair_questions)
        return _sum([once] * (1 + arms))

    def _side_effects(self, n_pairs: int) -> Plan:
        stimuli = self.stimuli
        sentences = [text for pair in stimuli.minimal_pairs for text in pair]
        once = [
            self._reading(group)
            for control in stimuli.controls
            for group in self._repair_groups(control.texts, control.name)
        ]
        if sentences:
            once.append(plan_reading(plain_prompts(self.model, sentences), share_beginnings=False))
        return _sum([*once, self._neutral()] * (1 + len(MAIN_ARMS) * n_pairs))

    def _asked(self, item_set: ItemSet, questions: _Questions) -> Plan:
        return _sum(
            self._reading(group)
            for value in (MORAL, item_set.secondary)
            for group in self._groups(item_set.texts, value, questions)
        )

    def _groups(
        self, texts: Sequence[str], value: str, questions: _Questions
    ) -> Iterator[PromptGroup]:
        for question in questions(self.stimuli, value):
            key = question, tuple(texts)
            groups = self.rendered.groups
            if key not in groups:
                groups[key] = rating_prompts(self.model, texts, question, self.design.scale)
            yield groups[key]

    def _repair_groups(self, texts: Sequence[str], value: str) -> Iterator[PromptGroup]:
        return self._groups(texts, value, self.design.repair_questions)

    def _reading(self, group: PromptGroup) -> Plan:
        readings = self.rendered.readings
        if id(group) not in readings:
            readings[id(group)] = plan_reading(group)
        return readings[id(group)]

    def _sweep(self, group: PromptGroup, first_layers: Sequence[int]) -> Plan:
        return plan_sweep(self._reading(group), first_layers, self.n_layers)

    def _neutral(self) -> Plan:
        return plan_reading(chat_prompts(self.model, self.stimuli.neutral))

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


def clock(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
