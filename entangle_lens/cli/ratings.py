"""``entangle-lens ratings``: ratings made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import app, say


@app.command()
def ratings(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="CSV, parquet or JSONL, one file a model.", show_default=False
        ),
    ],
    moral: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Moral ratings; by default a column such as moral."),
    ] = None,
    secondary: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="The other ratings; by default one such as grammar or economic."
        ),
    ] = None,
    item: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Items; by default item_id, item, id or text."),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Scenarios; by default scenario_id or scenario."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="Items' texts; by default text, sentence, item_text or stimulus."
        ),
    ] = None,
    se: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL", help="Standard errors: once for the moral, again for the other ratings."
        ),
    ] = None,
    human: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="People's ratings, to test every model against."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New or empty folder: report.html, summary.json, tables/.")
    ] = None,
    scenario_from_text: Annotated[
        bool,
        typer.Option("--scenario-from-text", help="Guess scenarios from words that items share."),
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Go on with more than 10 % of items not rated."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of resamples and permutations.")] = 0,
) -> None:
    """Measure entanglement in ratings made elsewhere, by API models or by people.

    A row is an item, a single rating (averaged, if most items have several), or an item and value
    with columns value and rating: --moral and --secondary then name values.

    Example: entangle-lens ratings gpt.csv --human people.csv --out report

    At least 8 scenarios are needed (items, if no scenarios are known). Exit code 2 means bad
    input, said in one line.
    """
    from entangle_lens.results.staging import check_out_folder

    if out is not None:
        check_out_folder(out)
    import entangle_lens as el

    analysis = el.analyse_ratings(
        files,
        moral=moral,
        secondary=secondary,
        item=item,
        scenario=scenario,
        text=text,
        se=se or (),
        human=human,
        scenario_from_text=scenario_from_text,
        allow_missing=allow_missing,
        seed=seed,
    )
    say(str(analysis))
    if out is not None:
        say(f"\nreport: {analysis.save(out)}")
