"""What a user sees of an error: one line that a terminal prints as it is written."""

import pytest

from entangle_lens.errors import EntangleError, printable
from entangle_lens.paths import exists, is_file, is_folder


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31mred", "\\x9b31mred"),
        ("right \u202eto left", "right \\u202eto left"),
        ("half \ud800 a surrogate", "half \\ud800 a surrogate"),
        ("ordinary: é, \u00a0, 日本, 👩‍🔬", "ordinary: é, \u00a0, 日本, 👩‍🔬"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text, shown):
    assert printable(text) == shown
    assert str(EntangleError(text)) == shown
    shown.encode("utf-8")


def test_line_breaks_stay_in_a_text_and_not_in_a_sentence():
    assert printable("a\n\tb") == "a\n\tb"
    assert str(EntangleError("a\nb")) == "a\\nb"


@pytest.mark.parametrize("ask", [is_file, is_folder, exists])
@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "x/" * 3000])
def test_a_path_that_cannot_be_looked_at_is_not_there(ask, name):
    assert ask(name) is False


def test_a_path_that_is_there_is_found(tmp_path):
    file = tmp_path / "a"
    file.write_text("")
    assert is_file(file)
    assert exists(file)
    assert not is_folder(file)
    assert is_folder(tmp_path)
