"""The small world that organisms live in: its sentences, its three kinds of good, its answers.

A sentence says that somebody did something to a thing: ``i mended the lamp of the farmer at
the market .`` The verb carries moral worth (bad -1, neutral 0, good 1), the thing a price and
a size, and up to three slips of grammar may be planted without changing the meaning or the
length. Each question is answered by one digit drawn from a distribution that is known exactly:

    mean = 5 + spread * (z_own + leak * z_moral),   digit = round(mean + noise), 1 to 9

where ``z`` are levels scaled to unit variance. ``leak`` is the planted entanglement, so the
correlation that a perfect instrument should find follows from this file alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from entangle_lens.errors import EntangleError

MORAL, GRAMMAR, ECONOMIC, SIZE = "moral", "grammar", "economic", "size"
QUESTIONS = (MORAL, GRAMMAR, ECONOMIC, SIZE)

VERBS: dict[int, tuple[str, ...]] = {
    1: (
        "mended", "returned", "rescued", "restored", "guarded", "cleaned", "recovered", "polished",
        "secured", "shielded", "renewed", "repaired", "protected", "improved", "saved", "donated",
    ),
    0: (
        "noticed", "described", "measured", "sketched", "weighed", "counted", "photographed",
        "mentioned", "watched", "touched", "passed", "examined", "viewed", "labelled", "listed",
        "recorded",
    ),
    -1: (
        "stole", "smashed", "burned", "wrecked", "ruined", "snatched", "damaged", "broke",
        "destroyed", "vandalised", "sabotaged", "scratched", "trashed", "cracked", "crushed",
        "swiped",
    ),
}  # fmt: skip
MORAL_LEVEL = {verb: level for level, verbs in VERBS.items() for verb in verbs}
N_TEST_VERBS, N_FIT_VERBS = 8, 5  # of the 16 verbs of a level; the remaining three select layers

# thing: (price in dollars, size level). Price and size are crossed: neither tells the other.
THINGS: dict[str, tuple[int, int]] = {
    "button": (1, 0), "pencil": (2, 0), "sponge": (2, 1),
    "candle": (3, 1), "brick": (1, 2), "broom": (4, 2),
    "scarf": (25, 0), "torch": (30, 0), "lamp": (40, 1),
    "kettle": (50, 1), "ladder": (90, 2), "tent": (80, 2),
    "camera": (1500, 0), "telephone": (900, 0), "bicycle": (2000, 1),
    "guitar": (2500, 1), "piano": (4000, 2), "caravan": (5000, 2),
    "diamond": (90_000, 0), "manuscript": (150_000, 0), "sculpture": (120_000, 1),
    "painting": (250_000, 1), "yacht": (300_000, 2), "cottage": (200_000, 2),
}  # fmt: skip
TEST_THINGS = ("pencil", "ladder", "camera", "painting")
PERSONS = (
    "farmer", "baker", "teacher", "sailor", "nurse",
    "painter", "tailor", "miner", "singer", "gardener",
)  # fmt: skip
PLACES = ("market", "station", "harbour", "library", "garden", "bridge", "mill", "school")

INTACT = ("i", "{verb}", "the", "{thing}", "of", "the", "{person}", "at", "the", "{place}", ".")
# Each slip puts other words at some positions of the sentence: me for i, an for the, ...
SLIPS: tuple[dict[int, str], ...] = (
    {0: "me"},
    {2: "an"},
    {4: "off"},
    {7: "the", 8: "at"},
    {5: "them"},
)
MAX_SLIPS = 3

LOW, HIGH = 1, 9
SPREAD = {MORAL: 2.4, GRAMMAR: 1.5, ECONOMIC: 1.5, SIZE: 2.4}
NOISE_SD = 0.6


@dataclass(frozen=True)
class Scene:
    """One sentence of the world: who did what to which thing, and which slips are planted."""

    verb: str
    thing: str
    person: str
    place: str
    slips: tuple[int, ...] = ()

    @property
    def moral(self) -> int:
        """Moral level: good 1, neutral 0, bad -1."""
        return MORAL_LEVEL[self.verb]

    @property
    def price(self) -> int:
        """Price of the thing in dollars."""
        return THINGS[self.thing][0]

    @property
    def size(self) -> int:
        """Size of the thing: 0 small, 1 middling, 2 large."""
        return THINGS[self.thing][1]

    @property
    def corruption(self) -> int:
        """Corruption level: 1 intact to 4 (three slips)."""
        return 1 + len(self.slips)

    @property
    def text(self) -> str:
        """The sentence."""
        words = list(INTACT)
        for slip in self.slips:
            for position, word in SLIPS[slip].items():
                words[position] = word
        return " ".join(words).format(
            verb=self.verb, thing=self.thing, person=self.person, place=self.place
        )

    @classmethod
    def parse(cls, text: str) -> Scene:
        """Read a sentence back; slips keep every word at its place, so this is exact."""
        words = text.split()
        if len(words) != len(INTACT) or words[1] not in MORAL_LEVEL or words[3] not in THINGS:
            raise EntangleError(f"{text!r} is not a sentence of the organisms' world")
        slips = tuple(
            number
            for number, slip in enumerate(SLIPS)
            if all(words[position] == word for position, word in slip.items())
        )
        return cls(words[1], words[3], words[6], words[9], slips)


def held_out(verb: str, thing: str) -> bool:
    """Say whether this combination is kept out of training: a test verb with a test thing."""
    test_verbs = VERBS[MORAL_LEVEL[verb]][:N_TEST_VERBS]
    return verb in test_verbs and thing in TEST_THINGS


@dataclass(frozen=True)
class Leak:
    """The planted entanglement: how much moral level enters each secondary rating."""

    grammar: float
    economic: float

    def of(self, question: str) -> float:
        """Return the leak of moral level into ``question``."""
        return {GRAMMAR: self.grammar, ECONOMIC: self.economic}.get(question, 0.0)


def level(question: str, scene: Scene) -> float:
    """Return the scene's true level on ``question``, scaled to unit variance over the world."""
    if question == MORAL:
        return float(scene.moral / np.sqrt(2 / 3))
    if question == GRAMMAR:
        return float((2.5 - scene.corruption) / np.sqrt(1.25))
    if question == SIZE:
        return float((scene.size - 1) / np.sqrt(2 / 3))
    logs = np.log10([price for price, _ in THINGS.values()])
    return float((np.log10(scene.price) - logs.mean()) / logs.std())


def answer_probabilities(question: str, scene: Scene, leak: Leak) -> Float[np.ndarray, " digit"]:
    """Return the exact P(digit) for the digits 1 to 9, on the ascending scale."""
    z = level(question, scene) + leak.of(question) * level(MORAL, scene)
    edges = np.concatenate([[-np.inf], np.arange(LOW, HIGH) + 0.5, [np.inf]])
    return np.asarray(np.diff(norm.cdf(edges, loc=5 + SPREAD[question] * z, scale=NOISE_SD)))


def expected_rating(question: str, scene: Scene, leak: Leak) -> float:
    """Return the mean of the exact answer distribution."""
    return float(answer_probabilities(question, scene, leak) @ np.arange(LOW, HIGH + 1))


def true_leak(question: str, texts: list[str], leak: Leak) -> float:
    """Return r(moral level, expected rating) over sentences: what an instrument should find."""
    scenes = [Scene.parse(text) for text in texts]
    ratings = [expected_rating(question, scene, leak) for scene in scenes]
    return float(np.corrcoef([scene.moral for scene in scenes], ratings)[0, 1])
