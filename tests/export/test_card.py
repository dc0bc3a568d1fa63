"""The model card shows text from files as text, whatever it holds."""

import dataclasses
import json
import re

import pytest
import yaml

from entangle_lens.export import RepairCard
from entangle_lens.export.card import render_readme

FACTS = {"strength": 1, "equals_hooks": True, "untied": True, "n_outside": 0, "rank": 1}
EVIL = [
    "moral\n---\nlicense: evil\n---\n# <script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b\n| c | d |",
    "[here](javascript:alert(1)) ![x](http://a.example/x.png)",
    "```\n# heading\n```",
    "**bold** _it_ ~~gone~~ `code`",
    "\x1b[2J\u202egnp.exe\r\n# heading",
    "\\| \\<b\\>",
]


def front_matter(readme):
    _, front, body = readme.split("---\n", 2)
    return yaml.safe_load(front), body


def headings(readme):
    return [line for line in readme.splitlines() if line.startswith("#")]


def lengths_of_rows(readme):
    """The number of cells of every row of a table, escaped bars not counted."""
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    return {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) - 1 for row in rows}


@pytest.fixture
def plain(tmp_path):
    card = RepairCard("our-lab/tiny", "abc", "moral", "economic", 2, "difference of means", 0.97)
    return dataclasses.replace(card, cost={"KL": 0.01}, details={"passed": "yes"})


@pytest.mark.parametrize("evil", EVIL)
def test_text_from_files_stays_text(plain, evil, tmp_path):
    right = render_readme(plain, FACTS, tmp_path)
    changes = dict.fromkeys(("model", "revision", "value", "question", "method"), evil)
    card = dataclasses.replace(plain, cost={evil: 0.01}, details={evil: evil}, **changes)
    readme = render_readme(card, FACTS, tmp_path)
    front, body = front_matter(readme)
    assert front == {"library_name": "transformers", "tags": ["entangle-lens", "repaired"]}
    assert len(readme.splitlines()) == len(right.splitlines()) - 1  # no base_model
    assert len(headings(readme)) == len(headings(right))
    assert lengths_of_rows(readme) == lengths_of_rows(right) == {2}
    assert not re.search(r"<[a-zA-Z/!]", body)
    assert not re.search(r"(?<!\\)(\]\(|`{3}|\*\*bold|~~)", body)
    assert "\x1b" not in readme
    assert "\u202e" not in readme


def test_ordinary_names_stay_as_they_are(plain, tmp_path):
    readme = render_readme(dataclasses.replace(plain, model="my_model-v1.0 (new)"), FACTS, tmp_path)
    assert "# my_model-v1.0 (new), repaired: moral removed" in readme
    assert front_matter(render_readme(plain, FACTS, tmp_path))[0]["base_model"] == "our-lab/tiny"


LICENCES = {
    "apache-2.0": "apache-2.0",
    '"mit"': "mit",
    "[a, b": "[a, b",
    "evil: yes": "evil: yes",
    "!!python/object/apply:os.system [ls]": "!!python/object/apply:os.system [ls]",
    "x # no comment": "x # no comment",
    "<script>": "<script>",
    "&anchor *alias": "&anchor *alias",
    "https://a.example/licence": "https://a.example/licence",
    "\x1b[2J": "\\x1b[2J",
}


@pytest.mark.parametrize("said", LICENCES)
def test_licence_of_the_original_is_one_text(plain, said, tmp_path):
    (tmp_path / "README.md").write_text(f"---\nlicense: {said}\ntags: [x]\n---\n# Original\n")
    front, body = front_matter(render_readme(plain, FACTS, tmp_path))
    assert front["license"] == LICENCES[said]
    assert set(front) == {"library_name", "tags", "license", "base_model"}
    assert not re.search(r"<[a-zA-Z/!]", body)


def test_name_of_a_folder_with_a_line_break_is_one_line(checkpoint, basis_of, card, tmp_path):
    from entangle_lens.export import orthogonalise_checkpoint

    named = dataclasses.replace(card, model="tiny\n# <script>")
    out = orthogonalise_checkpoint(
        checkpoint("qwen3"), tmp_path / "two\nlines", basis_of(128), card=named
    )
    readme = (out / "README.md").read_text()
    assert "# tiny\\\\n# &lt;script&gt;, repaired" in readme
    assert json.loads((out / "repair.json").read_text())["model"] == "tiny\n# <script>"
