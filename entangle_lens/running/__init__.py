"""How a model is run. The rest of the package runs a model through these names only."""

from entangle_lens.running.account import Account, counted
from entangle_lens.running.bridge import check_layers, resid_post
from entangle_lens.running.capture import Activations, capture, capture_moments
from entangle_lens.running.edits import Ablation, Edit
from entangle_lens.running.generation import decoded, generate_tokens
from entangle_lens.running.moments import Moments
from entangle_lens.running.plain import one_by_one, read_plainly, read_right_padded
from entangle_lens.running.plan import Plan, plan_reading, plan_sweep, tokens_per_second
from entangle_lens.running.prompts import PromptGroup, chat_prompts, plain_prompts, rating_prompts
from entangle_lens.running.scoring import Reading, read_prompts
from entangle_lens.running.sweep import read_ablated
from entangle_lens.running.text import next_token_log_probs, sequence_log_probs, token_embeddings

__all__ = [
    "Ablation",
    "Account",
    "Activations",
    "Edit",
    "Moments",
    "Plan",
    "PromptGroup",
    "Reading",
    "capture",
    "capture_moments",
    "chat_prompts",
    "check_layers",
    "counted",
    "decoded",
    "generate_tokens",
    "next_token_log_probs",
    "one_by_one",
    "plain_prompts",
    "plan_reading",
    "plan_sweep",
    "rating_prompts",
    "read_ablated",
    "read_plainly",
    "read_prompts",
    "read_right_padded",
    "resid_post",
    "sequence_log_probs",
    "token_embeddings",
    "tokens_per_second",
]
