"""The command line: arguments in, the library called, paths and verdicts out.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from entangle_lens.errors import EntangleError

# Click's UsageError, of whichever click this typer carries.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="entangle-lens",
    help="Measure value entanglement in language models, find where it lives, and repair it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
stimuli_app = typer.Typer(help="Look at stimulus tables.", no_args_is_help=True)
organism_app = typer.Typer(
    help="Tiny models whose entanglement is planted and known.", no_args_is_help=True
)
app.add_typer(stimuli_app, name="stimuli")
app.add_typer(organism_app, name="organism")

DEFAULT_MODEL = "organism:qwen3-entangled"
Model = Annotated[
    str,
    typer.Argument(help="Hub id, local model folder, or organism:NAME.", show_default=True),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, or balanced over all GPUs.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the checkpoint.")
]


@app.command()
def run(
    model: Model = DEFAULT_MODEL,
    stimuli: Annotated[
        str | None,
        typer.Option(help="Bundled name or folder; by default those beside the model, or goods."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New or empty folder; by default one under runs/.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Annotated[int, typer.Option(help="Of resamples and random directions.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer wordings and samples.")] = False,
    layers: Annotated[str, typer.Option(help="all, 8, 4,8,12 or 4-12.")] = "all",
    scale: Annotated[str, typer.Option(help="Rating scale LOW:HIGH, such as -10:10.")] = "1:9",
    revision: Annotated[str | None, typer.Option(help="Hub branch, tag or commit.")] = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Measure value entanglement in MODEL, locate it, repair it, and write a report."""
    folder = out or _fresh_folder(model)
    if seed < 0:
        raise EntangleError(f"seed {seed} is negative; a whole number from 0 on was expected")
    from entangle_lens.results.run_folder import check_out_folder

    check_out_folder(folder)
    import entangle_lens as el

    loaded = el.load(
        model,
        device=device,
        dtype=dtype,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    study = el.study(loaded, stimuli, scale=scale, seed=seed, quick=quick, layers=layers)
    _say(f"plan: {study.plan()}")
    report = study.run(progress=True).save(folder)
    _say(_verdict_lines(study))
    _say(f"\n{study.findings.cost}")
    _say(f"report: {report}")


@app.command()
def doctor(
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Check that fast and plain ways of running MODEL give the same numbers."""
    import entangle_lens as el
    from entangle_lens.entanglement.doctor import examine
    from entangle_lens.models import info, load_plain

    loaded = el.load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    plain = load_plain(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    checks = examine(loaded, plain, info(loaded).dtype)
    for check in checks:
        _say(
            f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: largest difference "
            f"{check.difference:.1e}, allowed {check.tolerance:.0e}"
        )
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


@stimuli_app.command("check")
def check_stimuli(
    folder: Annotated[str, typer.Argument(help="A folder of tables, or a bundled name.")],
) -> None:
    """Say precisely what is wrong with a stimulus folder, row and column."""
    from entangle_lens.stimuli import check_stimuli as check
    from entangle_lens.stimuli import load_stimuli

    problems = check(folder)
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        raise EntangleError(f"stimuli {folder!r} have {len(problems)} problems, listed above")
    loaded = load_stimuli(folder)
    sizes = ", ".join(
        f"{len(each)} {name}"
        for name, each in (
            ("items", [item for items in loaded.items.values() for item in items.texts]),
            ("contrast pairs", [t for c in loaded.contrasts.values() for t in c.positive]),
            ("questions", loaded.questions),
        )
    )
    _say(f"{folder}: sound ({sizes}; sha256 {loaded.digest[:16]})")


@organism_app.command("list")
def list_organisms() -> None:
    """List the organisms that ship with the package."""
    from entangle_lens.organisms.bundle import ORGANISM_PREFIX, bundled_organisms

    _say("\n".join(f"{ORGANISM_PREFIX}{name}" for name in bundled_organisms()))


@organism_app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    family: Annotated[str, typer.Option(help="qwen2, qwen3, gemma2, gemma3 or mistral.")] = "qwen3",
    grammar: Annotated[float, typer.Option(help="Leak of morality into grammar ratings.")] = 0.5,
    economic: Annotated[float, typer.Option(help="Leak into economic ratings.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Of weights and training prompts.")] = 0,
) -> None:
    """Train an organism and save it with its stimuli and its card (minutes on two cores)."""
    from entangle_lens.organisms.train import train_organism
    from entangle_lens.organisms.world import Leak

    card = train_organism(family, Leak(grammar, economic), seed, out, progress=True)
    true = card["true_correlation"]
    _say(
        f"{out}: true r(moral level, rating) {true['moral_grammar']:.3f} for grammar, "
        f"{true['moral_economic']:.3f} for economic"
    )


def main() -> None:
    """Run the command line; a user's error is one sentence and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        sys.exit(app(standalone_mode=False))
    except EntangleError as error:
        _refuse(str(error))
    except _UsageError as error:
        _refuse(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("entangle-lens: stopped; nothing was written", err=True)
        sys.exit(130)


def _refuse(message: str) -> None:
    shown = message if message.startswith("Usage: ") else f"entangle-lens: {message}"
    typer.echo(shown, err=True)
    sys.exit(2)


def _say(text: str) -> None:
    typer.echo(text)


def _fresh_folder(model: str) -> Path:
    name = re.sub(r"[^\w.-]+", "-", model.rstrip("/").split("/")[-1]).strip("-.")
    stem = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = stem, 1
    while folder.exists():
        number += 1
        folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def _verdict_lines(study) -> str:  # type: ignore[no-untyped-def]
    lines = [f"{'pair':<16} {'r of ratings':<22} {'leak':<14} verdict"]
    for name, each in study.findings.pairs.items():
        before = f"{each.repair.before.leak.value:.2f}"
        after = f"{each.repair.after.leak.value:.2f}" if each.repair.after else "-"
        verdict = f"{each.entangled.word}, {each.repaired.word}"
        lines.append(
            f"{name:<16} {each.behaviour.entanglement!s:<22} {before} -> {after:<6} {verdict}"
        )
    return "\n".join(lines)
