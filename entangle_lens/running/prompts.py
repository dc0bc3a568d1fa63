"""From texts to token ids: the chat template, the answer prefix, the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerBase

from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.running.templates import DATE, ChatTemplate, manner_of
from entangle_lens.running.vocabulary import check_tokens, refuse_control_tokens
from entangle_lens.stimuli import Question, Scale


@dataclass(frozen=True)
class PromptGroup:
    """Prompts that end in the same question, as token ids, and the options that may follow.

    ``tokens`` holds one prompt each, without padding. ``options`` holds the token ids of each
    option, as they stand after the prompt. ``spans`` says which tokens, first to before-last,
    hold some of the item that each prompt asks about; empty where that is not known.
    """

    tokens: tuple[tuple[int, ...], ...]
    options: tuple[tuple[int, ...], ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


def rating_prompts(
    model: TransformerBridge, texts: Sequence[str], question: Question, scale: Scale
) -> PromptGroup:
    """Ask ``question`` of every text, up to the point where the next token is the rating.

    What all options begin with (often a space) is moved into the prompt, so that options differ
    from their first token on.

    Raises:
        EntangleError: a text that is empty or holds control tokens, a chat template that does not
            pass it on as it stands, a tokenizer that cannot tell the ratings apart or does not
            belong to the model, a prompt that is longer than the model's context.
    """
    if not texts:
        raise EntangleError("no texts were given to be rated; at least one was expected")
    _refuse_empty(texts)
    tokenizer = info(model).tokenizer
    contents = [question.content(text, scale) for text in texts]
    rendered = _render_many(tokenizer, contents, question.answer_prefix)
    joiner = " " if question.answer_prefix or not tokenizer.chat_template else ""
    answered = [_encode(tokenizer, rendered[0] + joiner + option) for option in scale.options]
    shared = _common_prefix(answered)
    options = tuple(tuple(ids[shared:]) for ids in answered)
    if len(set(options)) < len(options):
        raise EntangleError(
            f"the tokenizer cannot tell the ratings of the scale {scale} apart; use another scale"
        )
    n_tail = len(options[0])
    encoded, offsets = _encode_with_offsets(
        tokenizer, [text + joiner + scale.options[0] for text in rendered]
    )
    tokens = []
    for ids in encoded:
        if tuple(ids[-n_tail:]) != options[0]:
            raise EntangleError(
                f"the tokenizer merges the answer prefix {question.answer_prefix!r} with the "
                "rating; use an answer prefix that ends in punctuation, such as 'Rating:'"
            )
        tokens.append(tuple(ids[:-n_tail]))
    check_tokens(model, tokens, options)
    places = map(_item_place, rendered, contents, texts)
    # Without offsets (slow tokenizers) no span is known.
    spans = [_token_span(*each) for each in zip(offsets, places, strict=False)]
    known = tuple(span for span in spans if span is not None)
    return PromptGroup(tuple(tokens), options, known if len(known) == len(texts) else ())


def chat_prompts(model: TransformerBridge, contents: Sequence[str]) -> PromptGroup:
    """Put each text to the model as a user would, up to where the answer begins.

    Raises:
        EntangleError: as :func:`rating_prompts` does.
    """
    _refuse_empty(contents)
    tokenizer = info(model).tokenizer
    tokens = tuple(map(tuple, _encode_many(tokenizer, _render_many(tokenizer, contents, ""))))
    check_tokens(model, tokens)
    return PromptGroup(tokens)


def plain_prompts(model: TransformerBridge, texts: Sequence[str]) -> PromptGroup:
    """Tokenize bare texts, with the beginning-of-sequence token where the model has one.

    Raises:
        EntangleError: as :func:`rating_prompts` does.
    """
    _refuse_empty(texts)
    tokenizer = info(model).tokenizer
    refuse_control_tokens(tokenizer, texts)
    encoded = tokenizer(list(texts), add_special_tokens=True)["input_ids"] if texts else []
    tokens = tuple(tuple(_without_eos(tokenizer, ids)) for ids in encoded)
    check_tokens(model, tokens)
    return PromptGroup(tokens)


def first_prompt(model: TransformerBridge, text: str, question: Question, scale: Scale) -> str:
    """Return the whole prompt that asks ``question`` of ``text``, as the model reads it.

    It is decoded from the prompt's tokens, so what the tokenizer does not know shows as unknown.
    The next token is the rating.
    """
    (tokens,) = rating_prompts(model, [text], question, scale).tokens
    tokenizer = info(model).tokenizer
    return str(tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))


def template_notes(model: TransformerBridge) -> tuple[str, ...]:
    """Return what a reader of a report should know of this model's prompts, a sentence each.

    That is a template without a working generation prompt, thoughts and channels that answers
    would come in, or no template at all.
    """
    template = ChatTemplate.of(info(model).tokenizer)
    if template is None:
        return ("the tokenizer has no chat template, so questions are put as plain text",)
    return manner_of(template).notes


def prompt_date(model: TransformerBridge) -> str | None:
    """Return the date that the chat template is told; None where it does not ask for one.

    It is the same on any day, so that a checkpoint gives the same numbers next month.
    """
    template = ChatTemplate.of(info(model).tokenizer)
    return DATE if template is not None and manner_of(template).dated else None


def count_tokens(model: TransformerBridge, texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text is by itself, without special tokens."""
    return [len(ids) for ids in _encode_many(info(model).tokenizer, texts)]


def render(tokenizer: PreTrainedTokenizerBase, content: str, answer_prefix: str) -> str:
    """Return the whole prompt as text: one user turn, then the beginning of the answer.

    With a chat template, thinking is switched off (an open thought is closed) and no system turn
    is used, since some templates refuse one. Without a template the content, an empty line and
    the answer prefix follow each other.
    """
    return _render_many(tokenizer, [content], answer_prefix)[0]


def _render_many(
    tokenizer: PreTrainedTokenizerBase, contents: Sequence[str], answer_prefix: str
) -> list[str]:
    refuse_control_tokens(tokenizer, contents)
    template = ChatTemplate.of(tokenizer)
    if template is None:
        bos = tokenizer.bos_token if _adds_bos(tokenizer) else ""
        separator = "\n\n" if answer_prefix else ""
        return [f"{bos}{content}{separator}{answer_prefix}" for content in contents]
    return [text + answer_prefix for text in template.user_turns(contents)]


def _refuse_empty(texts: Sequence[str]) -> None:
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise EntangleError(
                f"text {number} of {len(texts)} is empty, and cannot be asked about"
            )


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return _encode_many(tokenizer, [text])[0]


def _encode_many(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return list(tokenizer(list(texts), add_special_tokens=False)["input_ids"]) if texts else []


def _encode_with_offsets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
    """Return token ids, and the characters each token stands for (nothing where not known)."""
    if not tokenizer.is_fast:
        return _encode_many(tokenizer, texts), []
    both = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    return list(both["input_ids"]), list(both["offset_mapping"])


def _item_place(rendered: str, content: str, text: str) -> tuple[int, int] | None:
    """Return the characters of a rendered prompt that are the item; None if it is not found.

    The item ends the content, and a template may strip the content but changes nothing in it.
    """
    start = rendered.rfind(content.strip())
    if start < 0:
        return None
    end = start + len(content.strip())
    return end - len(text.strip()), end


def _token_span(
    offsets: Sequence[tuple[int, int]], place: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return the tokens, first to before-last, that hold some of the characters of ``place``."""
    if place is None:
        return None
    held = [
        number
        for number, (start, end) in enumerate(offsets)
        if max(start, place[0]) < min(end, place[1])
    ]
    return (held[0], held[-1] + 1) if held else None


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [
        tokenizer.bos_token_id
    ]


def _without_eos(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    ends = len(ids) > 1 and ids[-1] == tokenizer.eos_token_id
    return list(ids[:-1] if ends else ids)


def _common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    shortest = min(map(len, sequences))
    for position in range(shortest):
        if len({sequence[position] for sequence in sequences}) > 1:
            return position
    return shortest - 1
