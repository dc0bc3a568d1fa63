"""What a tokenizer makes of texts: unknown words, control tokens, tokens the model has not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from entangle_lens.errors import EntangleError, choices
from entangle_lens.models import info

WARN_SHARE, REFUSE_SHARE = 0.02, 0.2
_SHOWN = 5
_LENGTHS = ("n_positions", "max_position_embeddings", "max_seq_len")
# Rotary frequencies that change with the longest prompt of a batch, once it is beyond this length.
_ORIGINAL = "original_max_position_embeddings"
_CHANGING = {"dynamic", "longrope"}


def unknown_share(model: TransformerBridge, texts: Sequence[str]) -> float:
    """Return which share of ``texts`` the tokenizer of ``model`` does not know, from 0 to 1.

    That is the share of unknown tokens among all, or of letters that no token stands for where a
    tokenizer drops them, whichever is larger. Tokenizers of bytes know everything.
    """
    return _unknown(info(model).tokenizer, texts)[0]


def check_words(model: TransformerBridge, texts: Sequence[str]) -> str | None:
    """Return a warning where the tokenizer does not know some of ``texts``; None where it does.

    Raises:
        EntangleError: more than :data:`REFUSE_SHARE` of them is unknown.
    """
    share, words = _unknown(info(model).tokenizer, texts)
    if share < WARN_SHARE:
        return None
    shown = choices(repr(word) for word in words[:_SHOWN])
    found = (
        f"the tokenizer of model {info(model).name!r} does not know {share:.0%} of the texts' "
        f"tokens ({shown}{', ...' if len(words) > _SHOWN else ''})"
    )
    if share > REFUSE_SHARE:
        raise EntangleError(
            f"{found}, and at most {REFUSE_SHARE:.0%} may be unknown; use stimuli in words that "
            "the model knows"
        )
    return f"{found}: the model does not see these words"


def refuse_control_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
    """Refuse texts that hold the tokens by which a tokenizer or its template marks turns.

    The model would read them as such: an item could end the user's turn and begin the answer.
    """
    controls = _control_tokens(tokenizer)
    pattern = re.compile("|".join(map(re.escape, controls)) or r"(?!)")
    suspected = [text for text in texts if pattern.search(text)]
    if not suspected:
        return
    encoded = tokenizer(suspected, add_special_tokens=False)["input_ids"]
    for text, ids in zip(suspected, encoded, strict=True):
        held = [token for token, number in controls.items() if number in ids and token in text]
        if held:
            raise EntangleError(
                f"the text {_short(text)!r} holds {held[0]!r}, a control token of the model, which "
                "would be read as such; leave it out, or write it in another way"
            )


def check_tokens(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[int]] = (),
) -> None:
    """Refuse prompts that a model cannot read: without a token, with foreign tokens, too long."""
    n_known = _n_embedded(model)
    for ids in (*prompts, *options):
        foreign = max(ids, default=0)
        if foreign >= n_known:
            token = info(model).tokenizer.convert_ids_to_tokens(foreign)
            raise EntangleError(
                f"the tokenizer has the token {token!r} (number {foreign}), and the model has "
                f"embeddings of {n_known} tokens only; tokenizer and model do not belong together"
            )
    longest = max(map(len, prompts), default=0)
    if not all(prompts):
        raise EntangleError("the tokenizer makes no token of a text, and there is nothing to run")
    longest += max((len(option) - 1 for option in options), default=0)
    window = context_window(model)
    if window is not None and longest > window:
        raise EntangleError(
            f"a prompt of {longest} tokens is longer than the context of model "
            f"{info(model).name!r}, which is {window} tokens"
        )


def context_window(model: TransformerBridge) -> int | None:
    """Return how many tokens ``model`` can read as it was trained to; None where that is open.

    Where rotary frequencies depend on the length of what is run, it is the length up to which they
    do not: beyond it, a prompt's numbers depend on what else is in its batch.
    """
    config = cast(Any, model.original_model).config.get_text_config()
    known = [getattr(config, name, None) for name in _LENGTHS]
    lengths = [length for length in known if isinstance(length, int) and length > 0]
    rope = getattr(config, "rope_parameters", None) or {}
    for part in (rope, *rope.values()):
        if isinstance(part, dict) and part.get("rope_type") in _CHANGING:
            original = part.get(_ORIGINAL) or getattr(config, _ORIGINAL, None)
            lengths += [int(original)] if original else []
    return min(lengths, default=None)


def _n_embedded(model: TransformerBridge) -> int:
    hf_model = cast(PreTrainedModel, model.original_model)
    return len(cast(Tensor, hf_model.get_input_embeddings().weight))


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return special tokens, and added ones that the template writes, such as ``<think>``.

    The unknown token is no control token, nor are added words and spaces.
    """
    template = str(tokenizer.chat_template or "")
    added = tokenizer.added_tokens_decoder.items()
    controls = {
        token.content: number
        for number, token in added
        if token.special or (token.content in template and re.search(r"[^\w\s]", token.content))
    }
    controls |= dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return {
        token: number
        for token, number in controls.items()
        if token.strip() and number != tokenizer.unk_token_id
    }


def _unknown(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> tuple[float, list[str]]:
    """Return the unknown share of ``texts``, and the unknown words, the most frequent first."""
    if not texts:
        return 0.0, []
    unknown = tokenizer.unk_token_id
    if not tokenizer.is_fast:
        encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        ids = [token for each in encoded for token in each]
        share = ids.count(unknown) / max(1, len(ids))
        return share, [str(tokenizer.unk_token)] if share else []
    both = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    words: Counter[str] = Counter()
    n_tokens, n_unknown, n_letters, n_dropped = 0, 0, 0, 0
    for text, ids, places in zip(texts, both["input_ids"], both["offset_mapping"], strict=True):
        seen = set[int]()
        for token, (start, end) in zip(ids, places, strict=True):
            seen.update(range(start, end))
            if token == unknown:
                words[text[start:end].strip()] += 1
                n_unknown += 1
        dropped = [
            letter
            for place, letter in enumerate(text)
            if place not in seen and not letter.isspace()
        ]
        words.update(dropped)
        n_tokens += len(ids)
        n_letters += sum(not letter.isspace() for letter in text)
        n_dropped += len(dropped)
    share = max(n_unknown / max(1, n_tokens), n_dropped / max(1, n_letters))
    return share, [word for word, _ in words.most_common()]


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
