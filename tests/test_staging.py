"""Folders of results: one run each, whole or nothing, whatever happened there before."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from entangle_lens.errors import EntangleError
from entangle_lens.results.staging import save_results, write_json
from entangle_lens.staging import UnwritableError, claim, staged

HOLD = """
import sys
from entangle_lens.staging import claim
with claim(sys.argv[1]) as out:
    (out / ".entangle-lens.partial-dead").mkdir()
    print("held", flush=True)
    sys.stdin.read()
"""
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def other():
    """Start another process that holds a folder; it is killed at the end, if not before."""
    started = []

    def hold(folder):
        command = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill(folder, text="whole"):
    (folder / "tables").mkdir()
    (folder / "tables" / "ratings.txt").write_text(text)
    write_json(folder / "manifest.json", {})


def test_two_processes_never_share_a_folder_and_a_killed_one_blocks_nothing(other, tmp_path):
    process = other(tmp_path / "out")
    with pytest.raises(EntangleError, match="another run is writing to the output folder"):
        claim(tmp_path / "out").__enter__()
    assert names(tmp_path / "out") == [".entangle-lens.lock", ".entangle-lens.partial-dead"]
    process.kill()
    process.wait()
    with staged(tmp_path / "out") as stage:
        assert not list((tmp_path / "out").glob("*dead"))
        fill(stage)
    assert names(tmp_path / "out") == ["manifest.json", "tables"]


def test_two_threads_never_share_a_folder(tmp_path):
    refused = []

    def second():
        try:
            with claim(tmp_path / "out"):
                pass
        except EntangleError as error:
            refused.append(str(error))

    with claim(tmp_path / "out"), claim(tmp_path / "out"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another run" in refused[0]


def test_starts_of_the_same_second_get_folders_of_their_own(tmp_path):
    with (
        claim(tmp_path / "runs/a", fresh=True) as first,
        claim(tmp_path / "runs/a", fresh=True) as second,
        claim(tmp_path / "runs/a", fresh=True) as third,
    ):
        assert [each.name for each in (first, second, third)] == ["a", "a-2", "a-3"]
    assert names(tmp_path) == []


def test_folder_that_stays_empty_is_removed_and_one_that_was_there_stays(tmp_path):
    (tmp_path / "there").mkdir()
    with claim(tmp_path / "new/deep/er"), claim(tmp_path / "there"):
        pass
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == []


@pytest.mark.parametrize("content", ["manifest.json", "thesis.tex", ".hidden"])
def test_folder_with_other_files_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / content).write_text("precious")
    message = "holds another run" if content == "manifest.json" else "is not empty"
    with pytest.raises(EntangleError, match=message):
        claim(tmp_path).__enter__()
    assert names(tmp_path) == [content]
    assert (tmp_path / content).read_text() == "precious"


def test_mount_point_is_filled_in_place(tmp_path, monkeypatch):
    """It can be neither removed nor renamed, and what lies beside it is another file system."""
    mount = tmp_path / "out"
    (mount / "lost+found").mkdir(parents=True)
    real = os.replace

    def busy(*_, **__):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def across(first, second, *args, **more):
        assert mount in Path(first).parents
        assert mount in Path(second).parents
        return real(first, second, *args, **more)

    monkeypatch.setattr(Path, "rmdir", busy)
    monkeypatch.setattr(os, "replace", across)
    monkeypatch.setattr(os, "rename", across)
    with claim(mount), staged(mount) as stage:
        fill(stage)
    assert names(mount) == ["lost+found", "manifest.json", "tables"]


def test_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with staged(tmp_path / "out") as stage:
        fill(stage)
    assert names(tmp_path / "out") == ["manifest.json", "tables"]


def test_what_a_killed_run_was_moving_is_finished(tmp_path):
    """As if killed between two pieces: the stage is whole, and one of its pieces has moved."""
    stage = tmp_path / ".entangle-lens.partial-abc"
    stage.mkdir()
    fill(stage)
    (stage / "tables").rename(tmp_path / "tables")
    (tmp_path / ".entangle-lens.lock").write_text(stage.name)
    with pytest.raises(EntangleError, match="holds another run"):
        claim(tmp_path).__enter__()
    assert names(tmp_path) == ["manifest.json", "tables"]


@pytest.mark.parametrize("named", ["../precious", "/etc", "precious", ""])
def test_lock_file_that_names_no_stage_moves_nothing(tmp_path, named):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/a").write_text("a")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".entangle-lens.lock").write_text(named)
    with claim(out):
        pass
    assert names(tmp_path) == ["out", "precious"]
    assert names(out) == []
    assert names(tmp_path / "precious") == ["a"]


@pytest.mark.parametrize("at", [1, 2])
def test_failure_while_moving_leaves_nothing(tmp_path, monkeypatch, at):
    real, moved = Path.replace, []

    def replace(self, target):
        moved.append(self)
        if len(moved) == at:
            raise FULL
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(UnwritableError, match="No space left on device"):  # noqa: SIM117
        with staged(tmp_path / "out") as stage:
            fill(stage)
    assert names(tmp_path) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_interruption_leaves_nothing_and_stays_what_it_is(tmp_path, stop):
    with pytest.raises(stop), staged(tmp_path / "out") as stage:  # noqa: PT012
        fill(stage)
        raise stop
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 256, "File name too long"),
        ("a\0b", "zero byte"),
        ("file/in", "Not a directory"),
        ("file", "is a file"),
        ("circle", "is a file|symbolic links"),
        ("circle/in", "symbolic links"),
    ],
)
def test_place_that_cannot_be_written_is_one_sentence(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(EntangleError, match=reason) as refused:
        claim(tmp_path / name).__enter__()
    assert str(refused.value).startswith("the output folder ")
    assert names(tmp_path) == ["circle", "file"]


def test_too_little_room_is_found_before_the_work(tmp_path):
    with pytest.raises(EntangleError, match=r"needs 1000000000\.0 GB, and .* are free there"):
        claim(tmp_path / "out", n_bytes=10**18).__enter__()
    assert names(tmp_path) == []
    with claim(tmp_path / "out", n_bytes=1):
        pass


class RustError(Exception):
    """As safetensors raises it."""


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space"),
        RustError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_moves_the_results_elsewhere_and_says_where(tmp_path, monkeypatch, error):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def write(folder):
        fill(folder)
        if tmp_path / "temporary" not in folder.parents:
            raise error

    with pytest.raises(EntangleError, match=r"\(No space left on device\)") as refused:
        save_results(tmp_path / "out", write, "page.html", lambda: pytest.fail("no page is due"))
    (elsewhere,) = (tmp_path / "temporary").iterdir()
    assert str(elsewhere) in str(refused.value)
    assert names(elsewhere) == ["manifest.json", "tables"]
    assert names(tmp_path) == ["temporary"]


def test_disks_that_are_all_full_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def write(folder):
        fill(folder)
        raise FULL

    with pytest.raises(EntangleError, match="nothing was saved"):
        save_results(tmp_path / "out", write, "page.html", str)
    assert names(tmp_path / "temporary") == []
    assert names(tmp_path) == ["temporary"]


@pytest.mark.parametrize(
    ("error", "reason"), [(FULL, "No space left"), (ValueError("no figure"), "ValueError: no fig")]
)
def test_results_stay_when_the_page_fails(tmp_path, error, reason):
    def render():
        raise error

    with pytest.raises(EntangleError, match=rf"page.html could not be written \({reason}") as said:
        save_results(tmp_path / "out", fill, "page.html", render)
    assert f"all else is in '{(tmp_path / 'out').resolve()}'" in str(said.value)
    assert names(tmp_path / "out") == ["manifest.json", "tables"]


def test_results_are_whole_with_their_page(tmp_path):
    assert save_results(tmp_path / "out", fill, "page.html", lambda: "shown").read_text() == "shown"
    assert names(tmp_path / "out") == ["manifest.json", "page.html", "tables"]
    with pytest.raises(EntangleError, match="holds another run"):
        save_results(tmp_path / "out", fill, "page.html", str)
