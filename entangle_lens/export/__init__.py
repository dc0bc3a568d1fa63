"""Results that other tools can use: repaired checkpoints, hooks, direction files.

=======================  ==================================================================
a checkpoint             ``checkpoint.py``: weights freed of a basis, shard by shard; measured
                         again by ``verify.py``; ``sources.py``: where the original lies
a plain model            ``hooks.py``: edits while it runs; ``in_memory.py``: in its weights
directions               ``direction_files.py``: our own, checked by ``direction_reader.py``;
                         ``control_vectors.py``: llama.cpp's, repeng's, steering-vectors'
=======================  ==================================================================

``orthogonal.py`` is the mathematics, ``layout.py`` knows which tensors write to the stream.
"""

from entangle_lens.export.card import RepairCard
from entangle_lens.export.checkpoint import orthogonalise_checkpoint
from entangle_lens.export.control_vectors import (
    export_gguf,
    import_gguf,
    import_repeng,
    import_steering_vectors,
)
from entangle_lens.export.direction_files import (
    check_fits,
    load_direction,
    load_directions,
    save_directions,
)
from entangle_lens.export.hooks import hooked
from entangle_lens.export.in_memory import orthogonalised
from entangle_lens.export.sources import checkpoint_folder
from entangle_lens.export.verify import Verification, verify_checkpoint

__all__ = [
    "RepairCard",
    "Verification",
    "check_fits",
    "checkpoint_folder",
    "export_gguf",
    "hooked",
    "import_gguf",
    "import_repeng",
    "import_steering_vectors",
    "load_direction",
    "load_directions",
    "orthogonalise_checkpoint",
    "orthogonalised",
    "save_directions",
    "verify_checkpoint",
]
