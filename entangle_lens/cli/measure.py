"""``entangle-lens run`` and ``doctor``: a model measured, and the ways of running it compared."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import DEFAULT_MODEL, Device, Dtype, Model, RemoteCode, app, say
from entangle_lens.errors import EntangleError


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
    from entangle_lens.results.staging import check_out_folder

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
    say(f"plan: {study.plan()}")
    report = study.run(progress=True).save(folder)
    say(_verdict_lines(study))
    say(f"\n{study.findings.cost}")
    say(f"report: {report}")


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
        say(str(check))
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


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
