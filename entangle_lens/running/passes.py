"""One pass of the bare decoder over a batch: what it edits, keeps and leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from entangle_lens.errors import EntangleError
from entangle_lens.running import account
from entangle_lens.running.decoder import Decoder
from entangle_lens.running.edits import Edit, apply, sites_of
from entangle_lens.running.rows import Rows
from entangle_lens.running.sites import alter, watch

Keep = Callable[[Float[Tensor, "batch pos ..."]], Tensor]


@dataclass(frozen=True)
class Call:
    """How a block was called: its arguments by place and by name, without the residual stream."""

    by_place: tuple[Any, ...]
    by_name: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass of the body left behind.

    ``hidden`` has passed the final norm. ``kept`` holds what was asked for at each layer,
    ``calls`` how each block was called (without its input), where recorded.
    """

    hidden: Float[Tensor, "batch pos d_model"] | None
    kept: Mapping[int, Tensor]
    calls: Mapping[int, Call]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a pass should keep: ``keep(activation)`` at ``site`` of each of ``layers``.

    ``keep`` runs inside the hook, so only what it returns stays in memory. ``last`` says that
    nothing but this position of each row is read after the last block, which then leaves out the
    rest. ``record`` keeps the blocks' arguments. Layers above ``stop_after`` are not run.
    """

    layers: Sequence[int] = ()
    site: str = "resid_post"
    keep: Keep = lambda activation: activation
    last: Int[Tensor, " batch"] | None = None
    record: bool = False
    stop_after: int | None = None


class _ForwardStopped(Exception):  # noqa: N818 - a signal, no error
    pass


def run_body(
    decoder: Decoder,
    ids: Int[Tensor, "batch pos"],
    cache: DynamicCache | None = None,
    edits: Sequence[Edit] = (),
    wanted: Wanted = Wanted(),
    rows: Rows | None = None,
) -> Pass:
    """Run token ids through the body, after the keys and values in ``cache`` if there are any.

    Prompts are padded on the right: a causal model never looks there, so no mask is needed and
    positions count from the cache on. ``rows`` says which tokens are padding; without it none are.
    """
    watcher = _Watcher(decoder, edits, wanted, rows)
    at_end = len(decoder.blocks) - 1
    read_everywhere = any(at_end in edit.layers for edit in edits)
    hidden = None
    n_blocks = len(decoder.blocks) if wanted.stop_after is None else wanted.stop_after + 1
    try:
        watcher.attach()
        with decoder.last_block_reads_only(None if read_everywhere else wanted.last):
            output = decoder.body(input_ids=ids, past_key_values=cache, use_cache=cache is not None)
        hidden = output.last_hidden_state
    except _ForwardStopped:
        pass
    finally:
        for handle in watcher.handles:
            handle.remove()
    n_tokens = ids.numel() if rows is None else int(rows.real.sum())
    account.ran(n_tokens, n_blocks / len(decoder.blocks))
    if len(watcher.fired) < len(edits):
        raise EntangleError("an intervention never fired: its layers were not run")
    return Pass(hidden, watcher.kept, watcher.calls)


@dataclass(eq=False)
class _Watcher:
    """Hooks on the blocks that edit, keep and record, then are taken off again."""

    decoder: Decoder
    edits: Sequence[Edit]
    wanted: Wanted
    rows: Rows | None
    kept: dict[int, Tensor] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    fired: set[int] = field(default_factory=set)
    handles: list[Any] = field(default_factory=list)

    def attach(self) -> None:
        """Put the hooks on one by one, so that all of them come off where one cannot be made."""
        handles = self.handles
        for layer, block in enumerate(self.decoder.blocks):
            if self.wanted.record:
                handles.append(
                    block.register_forward_pre_hook(partial(self._record, layer), with_kwargs=True)
                )
            for number, edit in enumerate(self.edits):
                for site in sites_of(edit) if layer in edit.layers else ():
                    change = partial(self._change, number, edit, layer, site)
                    handles.append(alter(block, site, change))
            if layer in self.wanted.layers:
                handles.append(watch(block, self.wanted.site, partial(self._keep, layer)))
            if layer == self.wanted.stop_after:
                handles.append(block.register_forward_hook(_stop))

    def _record(
        self, layer: int, block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        # The residual stream is the first argument, however it is given.
        own = {key: value for key, value in options.items() if key != "hidden_states"}
        self.calls[layer] = Call(args[1:], own)

    def _change(self, number: int, edit: Edit, layer: int, site: str, resid: Tensor) -> Tensor:
        self.fired.add(number)
        return apply(edit, self.rows, layer, site, resid)

    def _keep(self, layer: int, activation: Tensor) -> None:
        self.kept[layer] = self.wanted.keep(activation)


def _stop(block: nn.Module, args: Any, output: Any) -> None:
    raise _ForwardStopped
