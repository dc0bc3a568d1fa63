"""The packaged peers at the extraction job, each at its best documented usage.

Runs in the peers' own environments (``make_peer_environments.py``), where this package is not.
All take text; the tokenizer has one word a token. Prompts are handed over sorted by length, which
spares them padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Answer = dict[str, np.ndarray]
BATCH = 32


def texts_by_length(job: dict[str, Any]) -> tuple[list[int], list[str]]:
    tokens = job["tokens"]
    order = sorted(range(len(tokens)), key=lambda index: -len(tokens[index]))
    return order, [" ".join(f"w{token}" for token in tokens[index]) for index in order]


def difference_of_means(resid: np.ndarray, order: list[int]) -> Answer:
    """``resid`` is [prompt layer d_model] in the order given; the first half is positive."""
    back = np.empty_like(resid)
    back[order] = resid
    half = len(back) // 2
    means = back[:half].mean(0, dtype=np.float64) - back[half:].mean(0, dtype=np.float64)
    return {"directions": means, "resid": back}


def plain_model(job: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        job["model"], torch_dtype=getattr(torch, job["dtype"])
    )
    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    return model.eval().to(job["device"]), tokenizer


def nnterp(job: dict[str, Any]) -> Callable[[], Answer]:
    from nnterp import StandardizedTransformer
    from nnterp.nnsight_utils import collect_token_activations_batched

    model = StandardizedTransformer(
        job["model"], device_map=job["device"], dtype=getattr(torch, job["dtype"])
    )
    order, texts = texts_by_length(job)

    def do() -> Answer:
        resid = collect_token_activations_batched(model, texts, BATCH)
        return difference_of_means(resid.transpose(0, 1).float().numpy(), order)

    return do


def steering_vectors(job: dict[str, Any]) -> Callable[[], Answer]:
    from steering_vectors import train_steering_vector

    model, tokenizer = plain_model(job)
    order, texts = texts_by_length(job)
    half = len(texts) // 2
    positive = [text for index, text in zip(order, texts, strict=True) if index < half]
    negative = [text for index, text in zip(order, texts, strict=True) if index >= half]
    pairs = list(zip(positive, negative, strict=True))

    def do() -> Answer:
        vector = train_steering_vector(model, tokenizer, pairs, batch_size=BATCH, move_to_cpu=True)
        rows = [vector.layer_activations[layer] for layer in range(job["n_layers"])]
        return {"directions": torch.stack(rows).double().numpy()}

    return do


def repeng(job: dict[str, Any]) -> Callable[[], Answer]:
    from repeng.extract import batched_get_hiddens

    model, tokenizer = plain_model(job)
    order, texts = texts_by_length(job)
    layers = list(range(job["n_layers"]))

    def do() -> Answer:
        with torch.inference_mode():
            hidden = batched_get_hiddens(model, tokenizer, texts, layers, BATCH)
        resid = np.stack([hidden[layer] for layer in layers], 1).astype(np.float32)
        resid[:, -1] = np.nan  # transformers' last hidden state has passed the final norm
        return difference_of_means(resid, order)

    return do


CONTENDERS = {
    "extraction": {"nnterp": nnterp, "steering-vectors": steering_vectors, "repeng": repeng}
}
