"""How common are the words of each item? A covariate for the multiverse.

    pip install "entangle-lens[frequency]"
    python experiments/word_frequencies.py FOLDER [--language en]

Reads ``items.csv`` of a folder of stimuli and writes ``log_frequency`` into its ``covariates.csv``,
beside the columns that are there: the mean over the item's words of their Zipf frequency (log10 of
the times a word stands in a billion words; van Heuven et al. 2014), by wordfreq (Speer 2022).
Words that wordfreq does not know, such as misspelled ones, count 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from wordfreq import lossy_tokenize, zipf_frequency

COLUMN = "log_frequency"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of stimuli")
    parser.add_argument("--language", default="en", help="of the items, as wordfreq names it")
    args = parser.parse_args()
    items = pd.read_csv(args.folder / "items.csv", dtype=str)
    path = args.folder / "covariates.csv"
    covariates = pd.read_csv(path, dtype=str) if path.exists() else items[["item_id"]]
    found = items.set_index("item_id")["text"].map(lambda text: frequency(text, args.language))
    covariates[COLUMN] = covariates["item_id"].map(found).map("{:.3f}".format)
    covariates.to_csv(path, index=False)
    print(f"{path}: {COLUMN} from {found.min():.2f} to {found.max():.2f}")


def frequency(text: str, language: str) -> float:
    words = lossy_tokenize(text, language)
    return float(np.mean([zipf_frequency(word, language) for word in words]))


if __name__ == "__main__":
    main()
