"""Ours, TransformerLens and plain transformers, each doing the jobs of the benchmarks.

``CONTENDERS[task][name](job)`` loads the model and returns the function that does the job. Every
other contender than ours is used as its documentation shows it at its best, and handed prompts in
batches that suit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

Answer = dict[str, np.ndarray]
Do = Callable[[], Answer]
BATCH = 32
TOKENS = 4096


# --- what they share ---------------------------------------------------------------------------
def sorted_batches(tokens: Sequence[Sequence[int]], budget: int = TOKENS) -> Iterator[list[int]]:
    """Yield indices of prompts of about one length, ``budget`` tokens at a time."""
    batch: list[int] = []
    for index in sorted(range(len(tokens)), key=lambda index: -len(tokens[index])):
        if batch and len(tokens[batch[0]]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    yield batch


def in_order(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    for start in range(0, len(tokens), BATCH):
        yield list(range(start, min(start + BATCH, len(tokens))))


def left_padded(tokens: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, tokens))
    ids = torch.zeros(len(tokens), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(tokens):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def difference_of_means(resid: torch.Tensor) -> Answer:
    """``resid`` is [prompt layer d_model]; the first half of the prompts is positive."""
    half = len(resid) // 2
    means = resid[:half].double().mean(0) - resid[half:].double().mean(0)
    return {"directions": means.numpy(), "resid": resid.numpy()}


def ablated(resid: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    return resid - (resid @ unit)[..., None] * unit


def interventions(
    job: dict[str, Any], n_directions: int | None = 1
) -> list[tuple[int, torch.Tensor]]:
    """The first direction, or the first several (None: all), at every layer."""
    directions = torch.from_numpy(np.load(Path(job["folder"]) / "directions.npy"))
    return [(layer, unit) for unit in directions[:n_directions] for layer in range(job["n_layers"])]


def transformers_model(job: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=job["dtype"])
    return model.eval().to(job["device"])


def bridge(job: dict[str, Any]) -> Any:
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformers import AutoTokenizer

    hf_model = transformers_model(job)
    return build_bridge_from_module(
        hf_model,
        "Qwen3ForCausalLM",
        hf_config=hf_model.config,
        tokenizer=AutoTokenizer.from_pretrained(job["model"]),
    )


# --- extraction: the last token's residual at every layer, and the difference of means -----------
def ours_extraction(job: dict[str, Any]) -> Do:
    import entangle_lens as el
    from entangle_lens.running import PromptGroup, capture

    model = el.load(job["model"], device=job["device"], dtype=job["dtype"])
    group = PromptGroup(tuple(map(tuple, job["tokens"])))
    return lambda: difference_of_means(capture(model, group).values)


def plain_extraction(job: dict[str, Any]) -> Do:
    model, device = transformers_model(job).model, job["device"]

    @torch.inference_mode()
    def do() -> Answer:
        kept: dict[int, torch.Tensor] = {}

        def keep(layer: int, block: Any, args: Any, output: Any) -> None:
            resid = output[0] if isinstance(output, tuple) else output
            kept[layer] = resid[:, -1].float().cpu()

        handles = [
            block.register_forward_hook(partial(keep, layer))
            for layer, block in enumerate(model.layers)
        ]
        out = torch.zeros(len(job["tokens"]), job["n_layers"], job["d_model"])
        try:
            for batch in sorted_batches(job["tokens"]):
                ids, mask = left_padded([job["tokens"][index] for index in batch], device)
                model(input_ids=ids, attention_mask=mask, use_cache=False)
                out[batch] = torch.stack([kept[layer] for layer in range(job["n_layers"])], 1)
        finally:
            for handle in handles:
                handle.remove()
        return difference_of_means(out)

    return do


def naive_extraction(job: dict[str, Any]) -> Do:
    model, device = bridge(job), job["device"]
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(job["n_layers"])]

    @torch.inference_mode()
    def do() -> Answer:
        out = torch.zeros(len(job["tokens"]), job["n_layers"], job["d_model"])
        for batch in in_order(job["tokens"]):
            ids, mask = left_padded([job["tokens"][index] for index in batch], device)
            _, cache = model.run_with_cache(ids, attention_mask=mask, names_filter=names)
            out[batch] = torch.stack([cache[name][:, -1].float().cpu() for name in names], 1)
        return difference_of_means(out)

    return do


def tuned_extraction(job: dict[str, Any]) -> Do:
    model, device = bridge(job), job["device"]

    @torch.inference_mode()
    def do() -> Answer:
        kept: dict[int, torch.Tensor] = {}

        def keep(resid: torch.Tensor, hook: Any, layer: int) -> None:
            kept[layer] = resid[:, -1].float().cpu()

        hooks = [
            (f"blocks.{layer}.hook_resid_post", partial(keep, layer=layer))
            for layer in range(job["n_layers"])
        ]
        out = torch.zeros(len(job["tokens"]), job["n_layers"], job["d_model"])
        with model.hooks(fwd_hooks=hooks):
            for batch in sorted_batches(job["tokens"]):
                ids, mask = left_padded([job["tokens"][index] for index in batch], device)
                model.forward(ids, attention_mask=mask, logits_to_keep=1)
                out[batch] = torch.stack([kept[layer] for layer in range(job["n_layers"])], 1)
        return difference_of_means(out)

    return do


# --- sweep: one-layer ablations at every layer, options read at the last token -------------------
def ours_sweep(
    job: dict[str, Any], *, renormalised: bool = False, n_directions: int | None = 1
) -> Do:
    import entangle_lens as el
    from entangle_lens.running import Ablation, PromptGroup, read_ablated

    model = el.load(job["model"], device=job["device"], dtype=job["dtype"])
    options = tuple((token,) for token in job["options"])
    group = PromptGroup(tuple(map(tuple, job["tokens"])), options)
    edits = [Ablation(unit, (layer,)) for layer, unit in interventions(job, n_directions)]

    def do() -> Answer:
        log_probs = read_ablated(model, group, edits, renormalised=renormalised)
        # The first direction's come first, for the numbers to be compared.
        return {"log_probs": log_probs[: job["n_layers"]].log_softmax(-1).numpy()}

    return do


def plain_sweep(job: dict[str, Any]) -> Do:
    model, device = transformers_model(job), job["device"]

    @torch.inference_mode()
    def do() -> Answer:
        edits = interventions(job)
        out = torch.zeros(len(edits), len(job["tokens"]), len(job["options"]))
        for row, (layer, unit) in enumerate(edits):
            unit = unit.to(device)

            def edit(block: Any, args: Any, output: Any, unit: torch.Tensor = unit) -> Any:
                if isinstance(output, tuple):
                    return (ablated(output[0].float(), unit).to(output[0]), *output[1:])
                return ablated(output.float(), unit).to(output)

            handle = model.model.layers[layer].register_forward_hook(edit)
            try:
                for batch in sorted_batches(job["tokens"]):
                    ids, mask = left_padded([job["tokens"][index] for index in batch], device)
                    logits = model(
                        input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1
                    ).logits[:, -1]
                    out[row, batch] = logits[:, job["options"]].float().cpu()
            finally:
                handle.remove()
        return {"log_probs": out.log_softmax(-1).numpy()}

    return do


def lens_sweep(job: dict[str, Any], *, tuned: bool) -> Do:
    model, device = bridge(job), job["device"]
    batches = sorted_batches if tuned else in_order
    options = {"logits_to_keep": 1} if tuned else {}

    @torch.inference_mode()
    def do() -> Answer:
        edits = interventions(job)
        out = torch.zeros(len(edits), len(job["tokens"]), len(job["options"]))
        for row, (layer, unit) in enumerate(edits):
            unit = unit.to(device)

            def edit(resid: torch.Tensor, hook: Any, unit: torch.Tensor = unit) -> torch.Tensor:
                return ablated(resid.float(), unit).to(resid)

            hooks = [(f"blocks.{layer}.hook_resid_post", edit)]
            for batch in batches(job["tokens"]):
                ids, mask = left_padded([job["tokens"][index] for index in batch], device)
                logits = model.run_with_hooks(ids, attention_mask=mask, fwd_hooks=hooks, **options)[
                    :, -1
                ]
                out[row, batch] = logits[:, job["options"]].float().cpu()
        return {"log_probs": out.log_softmax(-1).numpy()}

    return do


# --- memory: many prompts, of which only sums or options are kept --------------------------------
def ours_moments(job: dict[str, Any]) -> Do:
    import entangle_lens as el
    from entangle_lens.running import PromptGroup, capture_moments

    model = el.load(job["model"], device=job["device"], dtype=job["dtype"])
    group = PromptGroup(tuple(map(tuple, job["tokens"])))
    touch(model)
    return lambda: {"mean": capture_moments(model, group, covariance=False).mean.numpy()}


def ours_scoring(job: dict[str, Any]) -> Do:
    import entangle_lens as el
    from entangle_lens.running import PromptGroup, read_prompts

    model = el.load(job["model"], device=job["device"], dtype=job["dtype"])
    options = tuple((token,) for token in job["options"])
    group = PromptGroup(tuple(map(tuple, job["tokens"])), options)
    touch(model)
    return lambda: {"log_probs": read_prompts(model, group).log_probs.numpy()}


def touch(model: Any) -> None:
    """Bring every page of the weights into memory, so that none counts as the job's."""
    for parameter in model.original_model.parameters():
        parameter.sum()


# --- study: everything that entangle-lens run does, less the writing ------------------------------
def study(job: dict[str, Any], *, shared: bool = True) -> Do:
    import entangle_lens as el
    from entangle_lens.entanglement.design import Design
    from entangle_lens.models import info

    if not shared:
        run_everything_from_its_start()
    model = el.load(job["model"], device=job["device"], dtype=job["dtype"])
    stimuli = el.load_stimuli(info(model).stimuli)
    # One design for both, which is not fitted to a budget: that would count what is shared.
    few = Design(n_paraphrases=1, n_random=10, n_scenarios=8, n_pairs=8, n_texts=8, few_arms=True)
    design = few if job["quick"] else Design()

    def do() -> Answer:
        findings = el.Study(model, stimuli, design).run(progress=False).findings
        leaks = [each.repair.before.leak.value for each in findings.pairs.values()]
        swept = [each.leak for pair in findings.pairs.values() for each in pair.repair.sweeps]
        cost = findings.cost
        run = np.array([cost.prompts, cost.prompt_tokens, cost.tokens_run])
        return {"leaks": np.array(leaks), "swept": np.stack(swept), f"run, shared {shared}": run}

    return do


def run_everything_from_its_start() -> None:
    """Share no beginnings, and run every ablation through every layer, in batches."""
    from entangle_lens.entanglement import asking, validation
    from entangle_lens.running import prefix, read_prompts

    def read_each(
        model: Any, group: Any, ablations: Any, *, renormalised: bool = False, desc: Any = None
    ) -> torch.Tensor:
        read = [read_prompts(model, group, edits=[each]).log_probs for each in ablations]
        return torch.stack(read).log_softmax(-1) if renormalised else torch.stack(read)

    prefix.PASS_COST = 10**9
    asking.read_ablated = read_each
    validation.read_ablated = read_each


OURS = "entangle_lens"
PLAIN = "transformers, hooks"
NAIVE = "TransformerLens, naive"
TUNED = "TransformerLens, tuned"
RENORMALISED = "entangle_lens, options only"
MANY = "entangle_lens, many directions"
UNSHARED = "entangle_lens, nothing shared"
CONTENDERS: dict[str, dict[str, Callable[[dict[str, Any]], Do]]] = {
    "extraction": {
        OURS: ours_extraction,
        PLAIN: plain_extraction,
        TUNED: tuned_extraction,
        NAIVE: naive_extraction,
    },
    "sweep": {
        OURS: ours_sweep,
        RENORMALISED: partial(ours_sweep, renormalised=True),
        MANY: partial(ours_sweep, n_directions=None),
        PLAIN: plain_sweep,
        TUNED: partial(lens_sweep, tuned=True),
        NAIVE: partial(lens_sweep, tuned=False),
    },
    "study": {OURS: study, UNSHARED: partial(study, shared=False)},
    "memory": {"moments": ours_moments, "scoring": ours_scoring},
}
