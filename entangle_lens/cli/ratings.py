"""``entangle-lens ratings``: ratings made elsewhere."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from entangle_lens.cli.app import app, in_options, say
from entangle_lens.cli.checks import check_seed
from entangle_lens.results.staging import ROOM
from entangle_lens.staging import claim


def _as(option: str) -> Any:
    """Return an option for people's table that does what ``option`` does for the models'."""
    return typer.Option(metavar="COL", help=f"As {option}, in people's table.", show_default=False)


@app.command()
def ratings(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="csv, tsv, txt, json, jsonl, parquet or xlsx: one file per model, or several "
            "models in one with a column model.",
            show_default=False,
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
    value_column: Annotated[
        str | None,
        typer.Option(metavar="COL", help="In rows of item and value, the value; by default value."),
    ] = None,
    rating_column: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="In rows of item and value, the rating; by default rating or mean."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Models, each analysed alone; by default model."),
    ] = None,
    human: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="People's ratings, to test every model against."),
    ] = None,
    human_moral: Annotated[str | None, _as("--moral")] = None,
    human_secondary: Annotated[str | None, _as("--secondary")] = None,
    human_item: Annotated[str | None, _as("--item")] = None,
    human_scenario: Annotated[str | None, _as("--scenario")] = None,
    human_text: Annotated[str | None, _as("--text")] = None,
    human_se: Annotated[list[str] | None, _as("--se")] = None,
    human_value_column: Annotated[str | None, _as("--value-column")] = None,
    human_rating_column: Annotated[str | None, _as("--rating-column")] = None,
    missing_codes: Annotated[
        list[str] | None,
        typer.Option(
            "--missing-code",
            metavar="CODE",
            help="A number or word for a missing rating, such as -99; none says that a -99 is a "
            "rating.",
        ),
    ] = None,
    common_items: Annotated[
        bool,
        typer.Option("--common-items", help="Only items that all tables have rated."),
    ] = False,
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
    check_seed(seed)
    human_columns = {
        "moral": human_moral,
        "secondary": human_secondary,
        "item": human_item,
        "scenario": human_scenario,
        "text": human_text,
        "se": human_se,
        "value_column": human_value_column,
        "rating_column": human_rating_column,
    }
    with nullcontext() if out is None else claim(out, n_bytes=ROOM):
        import entangle_lens as el

        analysis = el.analyse_ratings(
            files,
            moral=moral,
            secondary=secondary,
            item=item,
            scenario=scenario,
            text=text,
            se=se or (),
            value_column=value_column,
            rating_column=rating_column,
            model=model,
            human=human,
            human_columns={name: named for name, named in human_columns.items() if named},
            missing_codes=_codes(missing_codes),
            common_items=common_items,
            scenario_from_text=scenario_from_text,
            allow_missing=allow_missing,
            seed=seed,
        )
        say(in_options(str(analysis)))
        if out is not None:
            say(f"\nreport: {analysis.save(out)}")


def _codes(given: list[str] | None) -> list[str] | None:
    """Return the codes for missing ratings; the word none says that there are none."""
    if not given:
        return None
    return [code for code in given if code != "none"]
