"""Contrast pairs with a planted truth."""

import dataclasses

import jaxtyping
import pytest
import torch

from entangle_lens.directions import ContrastResid

D_MODEL = 16


@dataclasses.dataclass
class World:
    """Pairs share a scene, contexts an offset; the poles differ by ``truth`` and by noise."""

    truth: torch.Tensor
    noise: torch.Tensor
    generator: torch.Generator
    offsets: torch.Tensor
    drawn: int = 0

    def pairs(self, n_pairs, n_contexts=1, **fields):
        """Draw new pairs, one a scenario; ``truth`` is one vector, or one a context."""
        self.drawn += 1
        width = self.truth.shape[-1]
        scene = torch.randn(n_pairs, width, generator=self.generator)

        def pole():
            noise = torch.randn(n_contexts, n_pairs, width, generator=self.generator)
            return scene + noise @ self.noise + self.offsets[:n_contexts, None]

        truth = self.truth.expand(n_contexts, width)[:, None]
        names = tuple(f"draw {self.drawn} scene {number}" for number in range(n_pairs))
        standard = {"value": "moral", "question": "grammar", "layer": 3}
        return ContrastResid(
            **standard | fields, positive=pole() + truth, negative=pole(), scenario_ids=names
        )


@pytest.fixture
def world():
    """Return a maker of worlds: strength of the planted direction, or the direction itself."""

    def make(truth=3.0, noise=None, width=D_MODEL, seed=0, offset=0.3):
        generator = torch.Generator().manual_seed(seed)
        random = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)
        vector = truth if isinstance(truth, torch.Tensor) else truth * random
        offsets = offset * torch.randn(6, width, generator=generator)
        return World(vector, torch.eye(width) if noise is None else noise, generator, offsets)

    return make


@pytest.fixture
def unchecked():
    """Leave out the shape checks of the tests, as in a user's session: only our errors speak."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
