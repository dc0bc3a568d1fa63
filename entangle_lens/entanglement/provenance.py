"""Where a direction comes from: what it has to say so that its own model knows it again."""

from __future__ import annotations

from entangle_lens.entanglement.design import Design
from entangle_lens.models import Model, info
from entangle_lens.running import LAST, prompt_date
from entangle_lens.stimuli import Stimuli

_POSITIONS = {LAST: "last prompt token"}


def provenance_of(
    model: Model, stimuli: Stimuli, design: Design, position: str = LAST
) -> dict[str, str]:
    """Return the model, stimuli, place and design that directions were fitted with."""
    about = info(model)
    return {
        "model": about.name,
        "revision": about.revision,
        "dtype": about.dtype,
        "n_layers": str(about.n_layers),
        "stimuli": stimuli.name,
        "stimuli_sha256": stimuli.digest,
        "hook_point": "resid_post",
        "position": _POSITIONS.get(position, position),
        "scale": str(design.scale),
        "seed": str(design.seed),
        "polarity": design.polarity,
        "prompt_date": prompt_date(model) or "none",
    }
