"""Several ratings of the same item: which tables hold them, and their mean."""

from __future__ import annotations

import numpy as np
import pandas as pd

from entangle_lens.errors import EntangleError
from entangle_lens.panel.reading import several, shown


def are_single(part: pd.DataFrame, rows: pd.DataFrame, has_se: bool, source: str) -> bool:
    """Say whether the rows of one value are single ratings, several per item.

    ``part`` has the ``item_id`` of each row, ``rows`` all its cells.

    Raises:
        EntangleError: an item stands in several rows that are not single ratings.
    """
    if part["item_id"].is_unique:
        return False
    why = _why_not(part, rows, has_se)
    if not why:
        return True
    item = part["item_id"][part["item_id"].duplicated(keep=False)].iloc[0]
    numbered = [str(row) for row in part.index[part["item_id"] == item]]
    raise EntangleError(
        f"{source}: duplicated items: {shown(item)} stands in rows {several(numbered, 5)}; {why}"
    )


def _why_not(part: pd.DataFrame, rows: pd.DataFrame, has_se: bool) -> str:
    """Return why rows that repeat items are not single ratings; nothing where they are."""
    if has_se:
        return "with standard errors, one row per item was expected"
    n_rows = part["item_id"].value_counts()
    n_once = int((n_rows == 1).sum())
    if n_once >= len(n_rows) / 2:
        return f"{n_once} of {len(n_rows)} items stand once, so these are nott single ratings"
    is_repeat = part["item_id"].duplicated()
    is_copy = rows.astype(str).duplicated()
    if is_copy[is_repeat].all():
        return "all rows that repeat an item are copies, the same in every column"
    return ""


def averaged(part: pd.DataFrame) -> pd.DataFrame:
    """Return mean, se = sd / sqrt(n) and n of each item's ratings, missing ones left out."""
    groups = part.groupby("item_id", sort=False)["rating"]
    n = groups.count()
    table = pd.DataFrame({"rating": groups.mean(), "se": groups.std(ddof=1) / np.sqrt(n), "n": n})
    return table.reset_index()
