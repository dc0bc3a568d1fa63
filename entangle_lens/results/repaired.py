"""A repaired checkpoint beside its original, in a short table and plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from entangle_lens.entanglement.checkpoint_basis import RepairChoice
from entangle_lens.entanglement.checkpoint_costs import MEASURES, Costs, warnings_of
from entangle_lens.errors import choices, printable

_ROW = "{:<15} {:<14} {:<14} {:<14} {}"


@dataclass(frozen=True)
class RepairedCheckpoint:
    """A checkpoint that was written, and what it is like beside the original.

    ``before`` is the original, ``hooks`` the original with the same edit while it runs, ``after``
    the checkpoint as loaded from its folder: the card's numbers are those of ``after``.
    """

    folder: Path
    choice: RepairChoice
    before: Costs
    hooks: Costs
    after: Costs

    @property
    def warnings(self) -> list[str]:
        """What a reader must not miss, in sentences."""
        failed = "; ".join(self.choice.failures)
        validation = [f"Validation on held-out pairs failed: {failed}."] if failed else []
        return validation + warnings_of(self.before, self.after)

    def __str__(self) -> str:
        removed = self.choice.removable
        rows: list[tuple[str, ...]] = [("pair", "leak", "accuracy", "moral accuracy", "KL")]
        for pair in self.before.behaviour:
            before, after = self.before.numbers(pair), self.after.numbers(pair)
            arrows = [_arrow(before[name], after[name]) for name in MEASURES]
            rows.append((pair, *arrows, f"{self.after.kl:.3f}"))
        what = f"{removed.value}, {removed.method} under {choices(removed.questions)}"
        lines = [
            f"removed: {printable(what, one_line=True)}, layer "
            f"{removed.layer}, rank {len(removed.basis)}, held-out AUC {removed.auc:.2f}",
            *(_ROW.format(*row) for row in rows),
            f"minimal pairs: {_arrow(self.before.minimal_pairs, self.after.minimal_pairs)}",
            *self.warnings,
        ]
        return "\n".join(lines)


def _arrow(before: float, after: float) -> str:
    return f"{before:.2f} -> {after:.2f}"
