"""``entangle-lens repair``: a checkpoint freed of a value, and one checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import DEFAULT_MODEL, Device, Dtype, RemoteCode, app, say
from entangle_lens.cli.checks import check_design, check_seed
from entangle_lens.errors import EntangleError
from entangle_lens.model_names import check_names, source_of


@app.command()
def repair(
    model: Annotated[
        str | None,
        typer.Argument(help=f"Hub id, local model folder, or organism:NAME. [{DEFAULT_MODEL}]"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="best (of all, on held-out pairs; the default), pooled (over all questions), "
            "moral, grammar or economic (where that is asked), or subspace (their span)."
        ),
    ] = None,
    direction: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Saved directions to remove, instead of fitting."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer to fit at, or to take from FILE; else chosen.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New or empty folder for the repaired checkpoint.")
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Check a repaired checkpoint; no MODEL is needed."),
    ] = None,
    stimuli: Annotated[
        str | None,
        typer.Option(help="Bundled name or folder; by default those beside the model, or goods."),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Repair a model that is not entangled too.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Annotated[int, typer.Option(help="Of resamples.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer wordings and samples.")] = False,
    scale: Annotated[str, typer.Option(help="Rating scale LOW:HIGH, such as -10:10.")] = "1:9",
    revision: Annotated[str | None, typer.Option(help="Hub branch, tag or commit.")] = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Write MODEL without the moral value in its weights, with what that costs; or check it."""
    name = DEFAULT_MODEL if model is None else model
    if verify is not None:
        others = {"MODEL": model, "--method": method, "--direction": direction, "--out": out}
        _refuse_beside_verify(others)
    elif out is None:
        raise EntangleError("no --out was given; give a new or empty folder for the checkpoint")
    check_names(device, dtype)
    check_seed(seed)
    if verify is None:
        check_design(source_of(name, revision), stimuli, scale=scale, seed=seed)
    from entangle_lens.entanglement.design import Design
    from entangle_lens.results.repair_checkpoint import repair as write
    from entangle_lens.results.repair_record import Loading

    loading = Loading(device, dtype, revision, trust_remote_code)
    if verify is not None:
        _verify(verify, stimuli, loading)
        return
    design = Design.make(scale=scale, seed=seed, quick=quick)
    assert out is not None
    written = write(
        name,
        out,
        method,
        direction=direction,
        layer=layer,
        stimuli=stimuli,
        design=design,
        loading=loading,
        anyway=anyway,
        progress=True,
        tell=say,
    )
    say(str(written))
    if not written.choice.passes and direction is None and method not in (None, "best"):
        say("--method best looks for a removal that passes in every context.")
    say(f"\ncheckpoint: {written.folder}")


def _verify(folder: Path, stimuli: str | None, loading) -> None:  # type: ignore[no-untyped-def]
    from entangle_lens.results.repair_verify import verify_repair

    found = verify_repair(folder, stimuli=stimuli, loading=loading, progress=True)
    say(str(found))
    if not found.holds:
        raise typer.Exit(1)


def _refuse_beside_verify(others: Mapping[str, object]) -> None:
    given = next((name for name, value in others.items() if value is not None), None)
    if given is not None:
        raise EntangleError(f"--verify checks what is in its folder; leave {given} out")
