"""The rule of the verdict, in words and in numbers."""

from __future__ import annotations

from entangle_lens.stimuli import CONFOUNDED

__all__ = [
    "ALPHA",
    "CONFOUNDED",
    "EQUIVALENT",
    "HALF",
    "MAX_ACCURACY_LOSS",
    "MAX_MASS_LOSS",
    "MIN_MASS",
    "MIN_SPREAD",
    "MIN_SPREAD_KEPT",
    "RULE",
    "SMALLEST",
]

ALPHA = 0.05
SMALLEST = 0.10
EQUIVALENT = 0.20
MIN_MASS = 0.5
MIN_SPREAD = 0.01
MAX_ACCURACY_LOSS = 0.05
MIN_SPREAD_KEPT = 0.5
MAX_MASS_LOSS = 0.05
HALF = 0.5

RULE = f"""\
Entangled: the 95 % interval of r(moral rating, secondary rating) excludes the reference, the
scenario-permutation p is below {ALPHA}, and r lies at least {SMALLEST:.2f} from the reference. The
reference is people's correlation on the same items where given, else the design's own correlation
of the two levels, which is 0 where they are crossed. Where the levels correlate by
{CONFOUNDED:.2f} or more, r has little room above that reference, and a leak that differs from its
own reference (people's leak, else 0) by the same three conditions counts as well. Not entangled:
not that, and the whole interval, and that of the leak where it counts, lies within
{EQUIVALENT:.2f} of its reference. Inconclusive: everything else, and any model that does not rate
what it is asked. Of either value, that is where the options of the scale hold less than
{MIN_MASS:.0%} of the probability, where the ratings vary over items by less than
{MIN_SPREAD:.0%} of the scale (standard deviation), or where the 95 % interval of r(design level,
rating of that same value) does not lie above 0.

Repaired, judged by the leak, which is r(design's moral level, secondary rating) with what the
secondary level explains of the moral level taken out, and never by the moral ratings that the
intervention itself may have changed: the leak changed (the 95 % interval of the paired change
excludes 0), lies nearer to its reference than under 97.5 % of random directions of the same
removed variance, and ends less than {SMALLEST:.2f} from it, while the secondary ratings keep their
accuracy (loss at most {MAX_ACCURACY_LOSS:.2f}), at least {MIN_SPREAD_KEPT:.0%} of their spread over
items and their option mass (loss at most {MAX_MASS_LOSS:.2f}). Partly repaired: the same, but it
ends {SMALLEST:.2f} or more from the reference with at least half of the leak gone. Seeming repair:
neither, although r(moral rating, secondary rating), both taken under the intervention, or the leak
itself, lost at least half of its distance from the reference. Not repaired: none of these. Nothing
to repair: the model is not entangled or the evidence is inconclusive.

What a repair costs stands beside the word. "At the price of the moral ratings": their accuracy,
r(moral level, moral rating), is at most half of what it was. "At some cost to the moral ratings":
it fell by more than {MAX_ACCURACY_LOSS:.2f}.
"""
