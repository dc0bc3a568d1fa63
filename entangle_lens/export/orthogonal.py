"""Weight orthogonalisation as mathematics: what is taken out of a matrix that writes to the stream.

Directional ablation is linear, so it can be done to the weights instead of the activations:
W <- (I - r r^T) W for every W that writes to the residual stream (Arditi et al., arXiv
2406.11717, section 4). Gemma 2 and 3 put a norm between such a matrix and the stream, and a norm
is not linear: see :func:`before_norm`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError

_SMALLEST_SCALE = 1e-6  # of the largest singular value; below it vectors lie in each other's span
_SMALLEST_GAIN = 1e-2  # of the mean square gain; smaller gains are not divided by
_CHUNK = 1 << 23  # elements edited at a time, which bounds the memory that float32 costs


@dataclass(frozen=True, eq=False)
class Projection:
    """The linear map x' = x - s U^T Q x of what a matrix writes.

    ``read`` is Q, what is measured and gone afterwards (Q x' = 0 at s = 1); ``moved`` is U, along
    which x is moved, with Q U^T = I. For a matrix that writes to the stream itself both are the
    basis, and the map is directional ablation.
    """

    read: Float[Tensor, "k d_model"]
    moved: Float[Tensor, "k d_model"]

    def edited(self, weight: Tensor, d_model_axis: int, strength: float) -> Tensor:
        """Return ``weight`` with every vector along ``d_model_axis`` mapped.

        Computed in float32 at least, some vectors at a time, and returned in its own dtype.
        """
        if strength == 0:
            return weight
        out = torch.empty_like(weight)
        before, after = _vectors(weight, d_model_axis), _vectors(out, d_model_axis)
        wide = torch.promote_types(weight.dtype, torch.float32)
        q, u = self.read.to(weight.device, wide), self.moved.to(weight.device, wide)
        for rows in _chunks(before):
            x = before[rows].to(wide)
            after[rows] = (x - strength * (x @ q.T) @ u).to(weight.dtype)
        return out

    def leftover(self, weight: Tensor, d_model_axis: int) -> float:
        """Return how much of Q the matrix still writes: 0 for none, about 1 for an unedited one.

        |Q W| / |Q * W|, Frobenius norms, * elementwise, the largest over the rows of Q: the size
        of the sum over coordinates, in units of what the same terms give with random signs.
        Rounding W to a dtype leaves at most half its epsilon, whatever the outliers in W.
        """
        q = self.read.double()
        vectors = _vectors(weight, d_model_axis)
        total, scale = torch.zeros(len(q)).double(), torch.zeros(len(q)).double()
        for rows in _chunks(vectors):
            x = vectors[rows].double().cpu()
            total += (x @ q.T).square().sum(0)
            scale += (x.square() @ q.T.square()).sum(0)
        return float((total / scale.clamp_min(torch.finfo(scale.dtype).tiny)).sqrt().max())


def orthonormal(vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, "k d_model"]:
    """Return an orthonormal basis of the span of ``vectors``, in float64; k is their rank.

    Raises:
        EntangleError: no vector, a zero one or one that is not finite, or no rows of real numbers.
    """
    wide = _rows(vectors)
    if not len(wide) or not bool(wide.isfinite().all()) or not bool((wide != 0).any(1).all()):
        raise EntangleError(
            f"a basis of {len(wide)} vectors was given, some zero or not finite; at least one "
            "vector, each of a length above zero, was expected"
        )
    # By the largest number first: the square of 1e300 is not finite.
    units = torch.nn.functional.normalize(wide / wide.abs().amax(1, keepdim=True), dim=1)
    _, scale, axes = torch.linalg.svd(units, full_matrices=False)
    return axes[scale > _SMALLEST_SCALE * scale.max()]


def check_strength(strength: object) -> None:
    """Refuse a strength that is no finite number.

    Raises:
        EntangleError: as said above.
    """
    number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not number or not math.isfinite(strength):  # type: ignore[arg-type]
        raise EntangleError(f"strength {strength!r} was given; a finite number was expected")


def before_stream(basis: Float[Tensor, "k d_model"]) -> Projection:
    """Return the map for a matrix whose output is added to the stream as it is."""
    return Projection(basis, basis)


def before_norm(basis: Float[Tensor, "k d_model"], gain: Float[Tensor, " d_model"]) -> Projection:
    """Return the map for a matrix whose output x is added as g * x / rms(x), as in Gemma 2 and 3.

    B (g * x) = 0 for every x takes the basis exactly out of what is added, so Q = B diag(g), and
    not B, has to vanish. Any U with Q U^T = I does that; U = B diag(1/g) leaves the rest of
    g * x as it is, so that what is added is the hook's own edit times rms(x) / rms(x'). No
    weights give the hook's edit itself: what leaves the norm lies on the ellipsoid
    sum_i (a_i / g_i)^2 = d_model, and the ablated vector does not. Gains near zero are not
    divided by: U = (Q M Q^T)^-1 Q M with M = diag(1 / (g^2 + .01 mean(g^2))).
    """
    wide = gain.detach().cpu().double()
    read = basis.double() * wide
    metric = 1 / (wide.square() + _SMALLEST_GAIN * wide.square().mean())
    return Projection(read, torch.linalg.pinv((read * metric) @ read.T) @ (read * metric))


def _rows(vectors: object) -> Float[Tensor, "vector d_model"]:
    if isinstance(vectors, np.ndarray) and vectors.dtype.kind in "fiu":
        vectors = torch.from_numpy(vectors)
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or vectors.is_complex():
        given = f"shape {tuple(vectors.shape)}" if isinstance(vectors, Tensor) else "another type"
        raise EntangleError(
            f"the basis is of {given}; a tensor of real numbers [vector, d_model] was expected"
        )
    return vectors.detach().cpu().double()


def _vectors(weight: Tensor, d_model_axis: int) -> Tensor:
    """View a matrix, or a bias, as rows that live in the residual stream."""
    if weight.ndim == 1:
        return weight[None]
    return weight if d_model_axis == 1 else weight.T


def _chunks(vectors: Tensor) -> list[slice]:
    step = max(1, _CHUNK // vectors.shape[1])
    return [slice(start, start + step) for start in range(0, len(vectors), step)]
