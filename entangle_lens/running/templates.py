"""Chat templates: how a model wants a user's turn to be written, and what it makes of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from entangle_lens.errors import EntangleError, choices
from entangle_lens.running.rendering import LETTERS, OutOfBoundsError, ask

# The day that every template is told it is, so that a checkpoint is asked the same on any day.
DATE = "2025-01-01"
_AT_ONCE = 256
_PROBE = "Rate item 47, please:\n\nthey left it Here, and 3 of us saw it gone."
_ANSWER = "answer 58 to it"
_CLOSED = {
    "<think>": "\n\n</think>\n\n",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
}
_CHANNEL, _FINAL = "<|channel|>", "<|channel|>final<|message|>"
Chat = list[dict[str, Any]]


@dataclass(frozen=True)
class ChatTemplate:
    """The template of a tokenizer, with the special tokens that it may name.

    Rendering takes place in another process and is bounded in time, memory and length.
    """

    source: str
    special_tokens: str  # in JSON

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate | None:
        """Return the template of ``tokenizer``, its default where it has several by name.

        Raises:
            EntangleError: several without a default.
        """
        source = tokenizer.chat_template
        if isinstance(source, dict):
            if "default" not in source:
                raise EntangleError(
                    f"the tokenizer has chat templates named {choices(sorted(source))} and no "
                    "default; set tokenizer.chat_template to the one to use"
                )
            source = source["default"]
        if not source:
            return None
        return cls(str(source), json.dumps(tokenizer.special_tokens_map, default=str))

    def user_turns(self, contents: Sequence[str]) -> list[str]:
        """Render one user turn for each of ``contents``, up to where the answer begins.

        Thinking is switched off, and a thought that is left open is closed; no system turn is
        used, since some templates refuse one.

        Raises:
            EntangleError: a template that fails, takes too much or changes what the user says.
        """
        manner = manner_of(self)
        texts = _rendered(self, [_asked(each, manner.in_parts) for each in contents])[0]
        for text, content in zip(texts, contents, strict=True):
            if content.strip() not in text:
                raise _changed(content)
        return [_ready_to_answer(self, text) for text in texts]


@dataclass(frozen=True)
class Manner:
    """How a template is to be used: whether content comes as a list of parts, and what to know.

    ``dated`` says that it asks for the date, ``notes`` are sentences for whoever reads the report.
    """

    in_parts: bool
    dated: bool
    notes: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def manner_of(template: ChatTemplate) -> Manner:
    """Find out with a text of our own how ``template`` is to be used.

    Templates of models that see pictures often want content as a list of parts, and drop text.

    Raises:
        EntangleError: a template that fails, takes too much or changes what the user says.
    """
    failure: EntangleError | None = None
    for in_parts in (False, True):
        try:
            (text,), dated = _rendered(template, [_asked(_PROBE, in_parts)])
        except OutOfBoundsError:
            raise
        except EntangleError as error:
            failure = failure or error
            continue
        if text.count(_PROBE) == 1:
            notes = _notes(template, text, in_parts)
            return Manner(in_parts, dated, tuple(note for note in notes if note))
    raise failure or _changed(_PROBE)


def _notes(template: ChatTemplate, text: str, in_parts: bool) -> list[str]:
    """Say what a reader should know of prompts made with ``template``, as ``text`` is."""
    return [
        _note_on_the_answers_place(template, text, in_parts),
        _note_on_thoughts(template, text),
    ]


def _note_on_the_answers_place(template: ChatTemplate, text: str, in_parts: bool) -> str:
    """Compare with a whole exchange: does the prompt end where answers begin?"""
    answer = {"role": "assistant", "content": _content(_ANSWER, in_parts)}
    exchange = [*_asked(_PROBE, in_parts), answer]
    try:
        (without,), _ = _rendered(template, [_asked(_PROBE, in_parts)], generation_prompt=False)
        (whole,), _ = _rendered(template, [exchange], generation_prompt=False)
    except EntangleError:  # a template for questions only
        return ""
    before, found, _ = whole.partition(_ANSWER)
    if text != without or not found or before.strip() == text.strip():
        return ""
    return (
        "the chat template does not begin the assistant's turn when it is asked to "
        "(add_generation_prompt), so the answer stands right behind the user's turn"
    )


def _note_on_thoughts(template: ChatTemplate, text: str) -> str:
    opened = _open_thought(text)
    if opened:
        return f"the chat template opens a thought ({opened}), which is closed empty"
    if _CHANNEL in template.source and _ready_to_answer(template, text) != text:
        return f"the chat template answers in channels, and the rating is put into {_FINAL}"
    after = text.partition(_PROBE)[2]
    known = next((each for each in _CLOSED if each in template.source), "")
    if known and _CLOSED[known].strip() not in after:
        return f"the chat template knows thoughts ({known}); the rating is asked for without one"
    return ""


def _ready_to_answer(template: ChatTemplate, text: str) -> str:
    opened = _open_thought(text)
    if opened:
        return text.rstrip() + _CLOSED[opened]
    if _CHANNEL in template.source and text.endswith("<|start|>assistant"):
        return text + _FINAL
    return text


def _open_thought(text: str) -> str:
    return next((each for each in _CLOSED if text.rstrip().endswith(each)), "")


def _asked(content: str, in_parts: bool) -> Chat:
    return [{"role": "user", "content": _content(content, in_parts)}]


def _content(text: str, in_parts: bool) -> str | list[dict[str, str]]:
    return [{"type": "text", "text": text}] if in_parts else text


def _changed(content: str) -> EntangleError:
    begin = content if len(content) <= 80 else f"{content[:80]}..."
    return EntangleError(
        "the chat template changes or drops what the user says, and the prompt would not hold the "
        f"item: {begin!r} is not in what it makes of it once and as it stands"
    )


def _rendered(
    template: ChatTemplate, chats: Sequence[Chat], generation_prompt: bool = True
) -> tuple[list[str], bool]:
    """Render ``chats``, some at a time; also return whether the template asked for the date."""
    variables = {
        **json.loads(template.special_tokens),
        "tools": None,
        "documents": None,
        "add_generation_prompt": generation_prompt,
        "enable_thinking": False,
    }
    texts: list[str] = []
    dated = False
    for first in range(0, len(chats), _AT_ONCE):
        reply = ask(
            {
                "template": template.source,
                "chats": chats[first : first + _AT_ONCE],
                "variables": variables,
                "date": DATE,
                "longest": LETTERS,
            }
        )
        if "error" in reply:
            raise EntangleError(f"the chat template cannot render a user's turn ({reply['error']})")
        texts += reply["texts"]
        dated = dated or reply["dated"]
    return texts, dated
