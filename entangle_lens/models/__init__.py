"""Models, loaded one way wherever they come from."""

from entangle_lens.models.loading import (
    Model,
    ModelInfo,
    PlainModel,
    info,
    load,
    load_plain,
)

__all__ = ["Model", "ModelInfo", "PlainModel", "info", "load", "load_plain"]
