"""A repaired checkpoint, start to end: fit, choose, evaluate, write, measure what was written."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from entangle_lens.entanglement.askable import check_askable
from entangle_lens.entanglement.checkpoint_basis import (
    BEST,
    Removable,
    RepairChoice,
    check_method,
    choose_repair,
    removable_of,
    validate_repairs,
)
from entangle_lens.entanglement.checkpoint_costs import (
    Costs,
    measure_costs,
    warnings_of,
)
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.doctor import examine_briefly
from entangle_lens.errors import EntangleError, choices
from entangle_lens.export import (
    RepairCard,
    check_fits,
    checkpoint_folder,
    load_directions,
    orthogonalise_checkpoint,
)
from entangle_lens.export.checkpoint import check_repairable, record_measures
from entangle_lens.interventions import full_ablation
from entangle_lens.model_names import check_layer_range, count_layers
from entangle_lens.models import Model, info
from entangle_lens.models.weights import weight_files
from entangle_lens.results.repair_record import Loading, cost_lines, record, stimuli_for_source
from entangle_lens.results.repaired import RepairedCheckpoint
from entangle_lens.staging import check_room, claim, staged
from entangle_lens.stimuli import Stimuli

_log = logging.getLogger(__name__)


def repair(
    model: str | Path,
    out: str | Path,
    method: str | None = None,
    *,
    direction: str | Path | None = None,
    layer: int | None = None,
    stimuli: str | Path | None = None,
    design: Design | None = None,
    loading: Loading | None = None,
    anyway: bool = False,
    progress: bool = False,
    tell: Callable[[str], None] | None = None,
) -> RepairedCheckpoint:
    """Take the moral value out of a checkpoint's weights, and measure what that does.

    The basis is chosen on held-out pairs, see
    :func:`entangle_lens.entanglement.checkpoint_basis.choose_repair`. One model at a time is held
    in memory: the original, then the checkpoint that was written.

    Args:
        model: what :func:`entangle_lens.load` takes.
        out: a new or empty folder, written whole or not at all.
        method: ``best`` (the default), ``pooled``, a question such as ``grammar``, or ``subspace``.
        direction: a file of saved directions to remove, instead of fitting any.
        layer: the layer to fit at, or to take from the file; by default chosen, or the only one.
        stimuli: bundled name or folder; by default those beside the weights, or ``goods``.
        design: scale, seed and number of wordings.
        loading: device, dtype, revision and whether to trust the checkpoint's code.
        anyway: repair a model that is not entangled too.
        progress: show progress bars.
        tell: is called with what was found on the model, before the checkpoint is written, so that
            it is known even if writing fails.

    Raises:
        EntangleError: a model that is not judged entangled, or cannot be repaired; a direction of
            another model; a method, layer or folder that will not do.
    """
    out, design, loading = Path(out), design or Design.make(), loading or Loading()
    with claim(out) as place:
        source = checkpoint_folder(model, loading.revision)
        check_repairable(source, place)
        n_layers = count_layers(source)
        given = stimuli_for_source(source, stimuli)
        wanted = _Wanted(given, design, method, direction, layer, anyway)
        wanted.check(n_layers)
        check_room(place, sum(path.stat().st_size for path in weight_files(source)))
        decided = _decide(loading.load(model), wanted, progress)
        if tell is not None:
            tell(f"of the model itself, before anything is written:\n{decided.result(out)}\n")
        gc.collect()  # a bridge is a cycle; without it two models would be held below
        with staged(place) as stage:
            after = _write_and_measure(source, stage, wanted, decided, loading, progress)
    return replace(decided.result(out), after=after)


@dataclass(frozen=True)
class _Wanted:
    """What is asked for."""

    stimuli: Stimuli
    design: Design
    method: str | None
    direction: str | Path | None
    layer: int | None
    anyway: bool

    def check(self, n_layers: int | None) -> None:
        """Refuse what can be refused before a model is loaded."""
        if self.layer is not None and n_layers is not None:
            check_layer_range([self.layer], n_layers)
        if self.direction is None:
            check_method(self.method or BEST, self.stimuli)
            return
        if self.method is not None:
            raise EntangleError(
                f"a direction and the method {self.method!r} were given; a direction from a file "
                "is not fitted, so give one of them"
            )
        layers = sorted({each.layer for each in load_directions(self.direction)})
        if self.layer is None and len(layers) > 1:
            raise EntangleError(
                f"{str(self.direction)!r} holds directions at layers {choices(layers)}; choose "
                "one of them with layer=..."
            )
        if self.layer is not None and self.layer not in layers:
            raise EntangleError(
                f"{str(self.direction)!r} holds no direction at layer {self.layer}; its layers "
                f"are {choices(layers)}"
            )

    def removable(self, model: Model) -> Removable:
        """Return the basis of the directions in the file, checked against the model."""
        assert self.direction is not None
        found = load_directions(self.direction)
        chosen = [each for each in found if self.layer in (None, each.layer)]
        for each in chosen:
            check_fits(each, model)
        return removable_of(chosen, info(model).n_layers)


@dataclass(frozen=True, eq=False)
class _Decided:
    """What is known once the original has been looked at, without the model itself."""

    model: str
    revision: str
    dtype: str
    choice: RepairChoice
    before: Costs
    hooks: Costs
    clean: Float[Tensor, "prompt vocab"] | None

    @property
    def card(self) -> RepairCard:
        """The card as it is before the checkpoint has been measured."""
        removed, questions = self.choice.removable, choices(self.choice.removable.questions)
        return RepairCard(
            self.model, self.revision, removed.value, questions, removed.layer, removed.method,
            removed.auc, finished=False,
        )  # fmt: skip

    def result(self, out: Path) -> RepairedCheckpoint:
        """What is known before writing: the checkpoint will be like the original under the edit."""
        return RepairedCheckpoint(out, self.choice, self.before, self.hooks, self.hooks)


def _decide(model: Model, wanted: _Wanted, progress: bool) -> _Decided:
    about, stimuli, design = info(model), wanted.stimuli, wanted.design
    for warning in check_askable(model, stimuli):
        _log.warning("%s", warning)
    examine_briefly(model, stimuli, design)
    from_file = None if wanted.direction is None else wanted.removable(model)
    meter = DamageMeter.of(model, stimuli)
    before = measure_costs(meter, design, progress="the original" if progress else None)
    if not wanted.anyway:
        _check_entangled(about.name, before)
    if from_file is not None:
        choice = validate_repairs(model, stimuli, design, [from_file], meter=meter)
    else:
        choice = choose_repair(
            model,
            stimuli,
            design,
            wanted.method or BEST,
            layer=wanted.layer,
            meter=meter,
            progress=progress,
        )
    edits = (full_ablation(model, choice.removable.basis),)
    hooks = measure_costs(meter, design, edits, progress="ablated" if progress else None)
    return _Decided(about.name, about.revision, about.dtype, choice, before, hooks, meter.clean)


def _check_entangled(name: str, before: Costs) -> None:
    found = before.judgements()
    if any(each.word == "entangled" for each in found.values()):
        return
    said = "; ".join(f"{pair} {each.word}" for pair, each in found.items())
    raise EntangleError(
        f"{name!r} is not judged entangled ({said}), so there is nothing to repair, and removing "
        "an ill-defined direction only does damage; anyway=True does it all the same"
    )


def _write_and_measure(
    source: Path,
    stage: Path,
    wanted: _Wanted,
    decided: _Decided,
    loading: Loading,
    progress: bool,
) -> Costs:
    """Write the checkpoint, load it, measure it, and put its own numbers on its card."""
    stimuli, design = wanted.stimuli, wanted.design
    basis = decided.choice.removable.basis
    orthogonalise_checkpoint(source, stage, basis, card=decided.card)
    repaired = replace(loading, revision=None).load(stage)
    meter = DamageMeter(repaired, stimuli, decided.clean)
    after = measure_costs(meter, design, progress="the checkpoint" if progress else None)
    costs = {"before": decided.before, "hooks": decided.hooks, "after": after}
    facts = record(stimuli, design, decided.dtype, decided.choice, costs)
    record_measures(stage, source, _measured_card(wanted, decided, after), facts)
    return after


def _measured_card(wanted: _Wanted, decided: _Decided, after: Costs) -> RepairCard:
    failures = "; ".join(decided.choice.failures)
    details = {
        "chosen on held-out pairs": f"did NOT pass: {failures}" if failures else "passed",
        "measured with": f"{wanted.stimuli.name} (sha256 {wanted.stimuli.digest[:16]}), scale "
        f"{wanted.design.scale}, {decided.dtype}",
    }
    said = " ".join(warnings_of(decided.before, after))
    return replace(
        decided.card,
        cost=cost_lines(decided.before, after),
        details={**details, "beware": said} if said else details,
        finished=True,
    )
