"""Chat templates: the item is in the prompt, the day is fixed, and no template takes too much."""

import json
import os
import time
from datetime import datetime

import pytest
from jinja2.exceptions import TemplateError

from entangle_lens.errors import EntangleError
from entangle_lens.organisms.build import word_tokenizer
from entangle_lens.running import rendering, templates
from entangle_lens.running.prompts import render
from entangle_lens.running.templates import DATE, ChatTemplate, manner_of

CONTENT = "Rate this from 1 to 9:\n\nthe Neighbour's cat <slept> on my coat & left, 3 times."
HEADER = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
TURNS = "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
PARTS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>\n{% endfor %}"
)
SELECTED = (
    "{% for m in messages %}{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] }}{% endfor %}{% endfor %}"
)
DATED = "Today is {{ strftime_now('%d %b %Y') }}.\n" + TURNS + HEADER
FEATURES = {
    "turns": TURNS + HEADER,
    "special tokens": "{{ bos_token }}" + TURNS + "{{ eos_token }}" + HEADER,
    "trimmed": TURNS.replace("m['content']", "m['content'] | trim") + HEADER,
    "namespace": (
        "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.last = m.content %}{% endfor %}{{ ns.n }}: {{ ns.last }}" + HEADER
    ),
    "loop controls": (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
        "{{ m.content }}{% break %}{% endfor %}" + HEADER
    ),
    "json": "{{ messages[0] | tojson }}{{ messages | tojson(indent=2) }}{{ messages[0].content }}",
    "generation tag": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}" + HEADER
    ),
    "macro": (
        "{%- macro turn(m) -%}\n   [{{ m.role | upper }}] {{ m.content }}\n{%- endmacro -%}\n"
        "{% for m in messages %}\n    {{ turn(m) }}\n{% endfor %}\n"
    ),
    "tools and thinking": (
        "{% if tools is not none %}tools{% endif %}{% if documents %}documents{% endif %}"
        "{% if not enable_thinking %}fast {% endif %}{{ dict(a=1).a }}" + TURNS + HEADER
    ),
    "whitespace": "  {% if true %}\n  {{ messages[0].content }}\n  {% endif %}\n\n{{ '\\n' }}",
}
INSTRUCT = "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"  # noqa: E501


def tokenizer_with(template):
    tokenizer = word_tokenizer(["a"])
    tokenizer.chat_template = template
    return tokenizer


def template_of(source):
    return ChatTemplate.of(tokenizer_with(source))


def turn(source, content=CONTENT):
    return template_of(source).user_turns([content])[0]


def refusal(source, content=CONTENT):
    with pytest.raises(EntangleError) as refused:
        turn(source, content)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", FEATURES)
def test_prompt_is_what_transformers_renders(name):
    tokenizer = tokenizer_with(FEATURES[name])
    if name == "json":  # holds the content three times, which is too often for a prompt
        texts, _ = templates._rendered(
            template_of(FEATURES[name]), [[{"role": "user", "content": CONTENT}]]
        )
        ours = texts[0]
    else:
        ours = render(tokenizer, CONTENT, "")
    assert ours == tokenizer.apply_chat_template(
        [{"role": "user", "content": CONTENT}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )


@pytest.mark.parametrize("source", [PARTS + HEADER, SELECTED + HEADER])
def test_template_that_wants_parts_is_given_parts(source):
    """As LLaVA and Idefics: of a string they write nothing, so that all prompts were the same."""
    tokenizer = tokenizer_with(source)
    asked = [{"role": "user", "content": [{"type": "text", "text": CONTENT}]}]
    options = {"tokenize": False, "add_generation_prompt": True}
    assert turn(source) == tokenizer.apply_chat_template(asked, **options)
    assert CONTENT in turn(source)
    asked[0]["content"] = CONTENT
    assert CONTENT not in tokenizer.apply_chat_template(asked, **options)
    assert manner_of(template_of(source)).in_parts
    assert not manner_of(template_of(TURNS)).in_parts


def test_template_that_fails_on_text_is_given_parts():
    source = "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"
    assert turn(source) == CONTENT


@pytest.mark.parametrize(
    "change",
    [
        "''",
        "m['content'][:100]",
        "m['content'][4:]",
        "m['content'] | upper",
        "m['content'] | lower",
        "m['content'] | reverse",
        "m['content'] ~ m['content']",
        "m['content'] | replace('e', 'a')",
        "m['content'] | truncate(90)",
        "m['content'] | tojson",
    ],
)
def test_template_that_changes_the_item_is_refused(change):
    long = f"{CONTENT} {'and so on ' * 20}."
    message = refusal(TURNS.replace("m['content']", change) + HEADER, long)
    assert "changes or drops what the user says" in message


def test_template_that_cuts_long_items_passes_short_ones_on():
    source = TURNS.replace("m['content']", "m['content'][:100]")
    assert turn(source, "short .") == "<|user|>\nshort .<|end|>\n"


IN_A_MACRO = "{% macro today() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}" + DATED.replace(
    "strftime_now('%d %b %Y')", "today()"
)
IF_DEFINED = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '' %}"
    "{% endif %}{% endif %}" + DATED.replace("strftime_now('%d %b %Y')", "date_string")
)


@pytest.mark.parametrize("source", [DATED, IN_A_MACRO, IF_DEFINED])
def test_day_is_the_same_on_any_day(source):
    tokenizer = tokenizer_with(source)
    on_the_day = datetime.fromisoformat(DATE).strftime("%d %b %Y")
    assert render(tokenizer, "a", "").startswith(f"Today is {on_the_day}.\n")
    asked = [{"role": "user", "content": "a"}]
    theirs = tokenizer.apply_chat_template(asked, tokenize=False)
    assert theirs.startswith(f"Today is {datetime.now().strftime('%d %b %Y')}.\n")
    assert manner_of(template_of(source)).dated
    assert not manner_of(template_of(TURNS + HEADER)).dated


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('a system turn is needed') }}", "a system turn is needed"),
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ nobody.knows }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{% set ns = namespace() %}{% set ns.__html__ = 1 %}", "SecurityError"),
        ("{% set ns = namespace(__call__=1) %}", "SecurityError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "OverflowError"),
    ],
)
def test_template_that_fails_is_refused_in_one_sentence(source, said):
    message = refusal(source)
    assert message.startswith("the chat template cannot render a user's turn (")
    assert said in message


LOOPS = "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{% for c in 'x' * 9999 %}"
ENDS = "{% endfor %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"{LOOPS}{ENDS}", "takes more than it may (10 seconds, 1 GiB of memory"),
        (f"{LOOPS}{{{{ '' }}}}{ENDS}", "takes more than it may (10 seconds, 1 GiB of memory"),
        ("{{ 'a' * 10 ** 10 }}", "MemoryError"),
        ("{{ '%9999999999d' % 1 }}", "MemoryError"),
        ("{{ messages[0].content.ljust(10 ** 10) }}", "MemoryError"),
        ("{{ 'a' * 10 ** 7 }}", "it writes more than 1048576 letters"),
        ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "more than 1048576 letters"),
    ],
)
def test_template_takes_no_more_than_it_may(monkeypatch, source, said):
    monkeypatch.setattr(rendering, "SECONDS", 2)
    began = time.monotonic()
    assert said in refusal(source)
    assert time.monotonic() - began < 60
    assert CONTENT in turn(TURNS)


def test_item_that_makes_a_template_loop_is_refused(monkeypatch):
    """Every prompt is bounded, not only the first."""
    monkeypatch.setattr(rendering, "SECONDS", 2)
    source = f"{{% if 'bomb' in messages[0].content %}}{LOOPS}{ENDS}{{% endif %}}{TURNS}"
    assert turn(source, "a lamp .") == "<|user|>\na lamp .<|end|>\n"
    assert "takes more than it may" in refusal(source, "a bomb .")


def test_rendering_goes_on_after_its_process_has_ended():
    before = turn(TURNS)
    process = rendering._PROCESS._running
    process.kill()
    process.wait()
    assert turn(TURNS) == before
    assert rendering._PROCESS._running.pid != process.pid


def test_process_that_cannot_be_started_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(rendering, "_PROCESS", rendering._Process())
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    assert "no process can be started" in refusal("{{ 'never seen before' }}")


@pytest.mark.parametrize("other", ["rag", "tool_use"])
def test_default_of_several_templates_is_used(other):
    kept = {"default": TURNS, other: "{{ 'another' }}"}
    assert turn(kept) == turn(TURNS)
    message = refusal({other: TURNS, "more": TURNS})
    assert f"chat templates named {', '.join(sorted([other, 'more']))} and no default" in message


@pytest.mark.parametrize("source", [TURNS + HEADER, INSTRUCT, PARTS + HEADER, DATED])
def test_template_with_a_working_generation_prompt_needs_no_note(source):
    """Mistral's needs none: its answers stand right behind the user's turn."""
    assert manner_of(template_of(source)).notes == ()


@pytest.mark.parametrize("source", [TURNS, PARTS])
def test_template_that_begins_no_answer_is_noted(source):
    (note,) = manner_of(template_of(source)).notes
    assert "add_generation_prompt" in note


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("[THINK]", "[THINK][/THINK]"),
        ("<seed:think>", "<seed:think></seed:think>"),
        ("<|START_THINKING|>", "<|START_THINKING|><|END_THINKING|>"),
    ],
)
def test_thought_that_the_template_opens_is_closed_and_noted(opened, closed):
    source = TURNS + "{% if add_generation_prompt %}<|assistant|>" + opened + "{% endif %}"
    assert turn(source).endswith(f"<|assistant|>{closed}")
    (note,) = manner_of(template_of(source)).notes
    assert f"opens a thought ({opened.strip()})" in note


def test_thoughts_that_the_template_knows_are_noted():
    source = TURNS + HEADER + "{% if enable_thinking %}[THINK]{% endif %}"
    assert turn(source).endswith("<|assistant|>\n")
    (note,) = manner_of(template_of(source)).notes
    assert "knows thoughts ([THINK])" in note
    closed = source.replace("{% endif %}", "{% else %}[THINK][/THINK]{% endif %}")
    assert manner_of(template_of(closed)).notes == ()


def test_answer_in_channels_is_put_into_the_last():
    """As gpt-oss answers: what the model says to the user comes in the channel called final."""
    source = (
        "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}"
        "<|channel|>final{% endif %}<|message|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    )
    assert turn(source).endswith("<|start|>assistant<|channel|>final<|message|>")
    (note,) = manner_of(template_of(source)).notes
    assert "channels" in note


def test_tokenizer_is_left_as_it_was():
    tokenizer = tokenizer_with(DATED)
    before = (tokenizer.chat_template, json.dumps(tokenizer.special_tokens_map))
    render(tokenizer, CONTENT, "rating :")
    assert (tokenizer.chat_template, json.dumps(tokenizer.special_tokens_map)) == before
    with pytest.raises(TemplateError):
        tokenizer_with("{{ raise_exception('as ever') }}").apply_chat_template(
            [{"role": "user", "content": "a"}]
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_forked_process_renders_in_a_process_of_its_own():
    turn(TURNS)
    ours = rendering._PROCESS._running.pid
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion: pytest is not to go on in here
        turn(TURNS)
        os.write(write, str(rendering._PROCESS._running.pid).encode())
        rendering._PROCESS.end()
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 99)) != ours
    assert turn(TURNS)
    assert rendering._PROCESS._running.pid == ours
