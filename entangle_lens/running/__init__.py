"""How a model is run. The rest of the package runs a model through these names only."""

from entangle_lens.running.bridge import check_layers, resid_post
from entangle_lens.running.edits import Ablation, Edit
from entangle_lens.running.plain import one_by_one, read_plainly, read_right_padded
from entangle_lens.running.prompts import PromptGroup, chat_prompts, plain_prompts, rating_prompts
from entangle_lens.running.scoring import Reading, read_prompts
from entangle_lens.running.sweep import read_ablated
from entangle_lens.running.text import next_token_log_probs, sequence_log_probs, token_embeddings

__all__ = [
    "Ablation",
    "Edit",
    "PromptGroup",
    "Reading",
    "chat_prompts",
    "check_layers",
    "next_token_log_probs",
    "one_by_one",
    "plain_prompts",
    "rating_prompts",
    "read_ablated",
    "read_plainly",
    "read_prompts",
    "read_right_padded",
    "resid_post",
    "sequence_log_probs",
    "token_embeddings",
]
