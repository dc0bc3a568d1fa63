"""``entangle-lens run`` and ``doctor``: a model measured, and the ways of running it compared."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import DEFAULT_MODEL, Device, Dtype, Model, RemoteCode, app, say
from entangle_lens.cli.checks import check_budget, check_design, check_model, claimed

Polarity = StrEnum("Polarity", ["both", "ascending", "descending"])


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
    quick: Annotated[
        bool, typer.Option("--quick", help="At most 150,000 tokens; what is left out is said.")
    ] = False,
    layers: Annotated[str, typer.Option(help="all, 8, 4,8,12 or 4-12.")] = "all",
    scale: Annotated[str, typer.Option(help="Rating scale LOW:HIGH, such as -10:10.")] = "1:9",
    polarity: Annotated[
        Polarity,
        typer.Option(help="Ask with the scale running in one way only, or in both."),
    ] = Polarity["both"],
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", help="Leave out what does not fit into so many minutes, and say so."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Hub branch, tag or commit.")] = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Measure value entanglement in MODEL, locate it, repair it, and write a report."""
    source = check_model(model, device, dtype, revision)
    check_budget(budget)
    check_design(source, stimuli, scale=scale, seed=seed, layers=layers, polarity=polarity)
    with claimed(out, model) as folder:
        import entangle_lens as el
        from entangle_lens.results.summary import headline_text

        loaded = el.load(
            model,
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        study = el.study(
            loaded,
            stimuli,
            scale=scale,
            seed=seed,
            quick=quick,
            layers=layers,
            polarity=polarity.value,
            budget=budget,
        )
        say(f"plan: {study.plan()}")
        study.run(progress=True)
        say(headline_text(study.findings))  # before saving, which may fail
        say(f"\n{study.findings.cost}")
        say(f"report: {study.save(folder)}")


@app.command()
def doctor(
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Check that fast and plain ways of running MODEL give the same numbers."""
    check_model(model, device, dtype)
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
