"""How a model is run: the engine. The rest of the package runs a model through these names only.

============================  =============================================================
capture                       ``capture.py``: any site, layers and positions, whole or moments
scoring                       ``scoring.py``: options after prompts; ``text.py``: plain texts
shared beginnings             ``prefix.py``: a tree of them, each run once, edits included
sweeps                        ``sweep.py``: many ablations from the clean residuals
batches                       ``batches.py``: by length and free memory, halved when it runs out
devices                       ``models/checkpoints.py``: device, dtype, layers over several GPUs
generation                    ``generation.py``: batched under edits, keys and values kept
prompts                       ``prompts.py``, through ``templates.py``, checked in ``vocabulary.py``
============================  =============================================================

``plan.py`` says what running will cost and ``account.py`` what it did cost; ``bridge.py`` and
``plain.py`` are the slow ways that all of it is tested against.
"""

from entangle_lens.running.account import Account, counted
from entangle_lens.running.bridge import check_hooks, check_layers, resid_post
from entangle_lens.running.capture import Activations, capture, capture_moments
from entangle_lens.running.decoder import plain_behind
from entangle_lens.running.edits import (
    Ablation,
    Edit,
    PointEdit,
    RowEdit,
    apply,
    check_numbers,
    sites_of,
)
from entangle_lens.running.finite import NotFiniteError
from entangle_lens.running.full_mode import FULL_MODE, check_full_mode
from entangle_lens.running.generation import NEVER_FIRED, decoded, edited, generate_tokens
from entangle_lens.running.moments import Moments
from entangle_lens.running.plain import (
    blocks_of,
    one_by_one,
    read_plainly,
    read_right_padded,
)
from entangle_lens.running.plan import Plan, plan_reading, plan_sweep, tokens_per_second
from entangle_lens.running.positions import LAST, ONE_EACH
from entangle_lens.running.prompts import (
    PromptGroup,
    chat_prompts,
    count_tokens,
    first_prompt,
    plain_prompts,
    prompt_date,
    rating_prompts,
    template_notes,
)
from entangle_lens.running.rows import Rows, RowsReader
from entangle_lens.running.scoring import Reading, read_prompts
from entangle_lens.running.sites import hook_name
from entangle_lens.running.sweep import read_ablated
from entangle_lens.running.text import next_token_log_probs, sequence_log_probs, token_embeddings
from entangle_lens.running.vocabulary import (
    check_tokens,
    check_words,
    context_window,
    unknown_share,
)

__all__ = [
    "FULL_MODE",
    "LAST",
    "NEVER_FIRED",
    "ONE_EACH",
    "Ablation",
    "Account",
    "Activations",
    "Edit",
    "Moments",
    "NotFiniteError",
    "Plan",
    "PointEdit",
    "PromptGroup",
    "Reading",
    "RowEdit",
    "Rows",
    "RowsReader",
    "apply",
    "blocks_of",
    "capture",
    "capture_moments",
    "chat_prompts",
    "check_full_mode",
    "check_hooks",
    "check_layers",
    "check_numbers",
    "check_tokens",
    "check_words",
    "context_window",
    "count_tokens",
    "counted",
    "decoded",
    "edited",
    "first_prompt",
    "generate_tokens",
    "hook_name",
    "next_token_log_probs",
    "one_by_one",
    "plain_behind",
    "plain_prompts",
    "plan_reading",
    "plan_sweep",
    "prompt_date",
    "rating_prompts",
    "read_ablated",
    "read_plainly",
    "read_prompts",
    "read_right_padded",
    "resid_post",
    "sequence_log_probs",
    "sites_of",
    "template_notes",
    "token_embeddings",
    "tokens_per_second",
    "unknown_share",
]
