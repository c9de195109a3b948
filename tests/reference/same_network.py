"""When two networks are one: settings, flags that tensors cannot tell, parameters, rounding."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def effective(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, those that make no difference set to one value."""
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    if len(plain["channel_mult"]) == 1:
        plain["resblock_updown"] = False
    if plain["resblock_updown"] or len(plain["channel_mult"]) == 1:
        plain["conv_resample"] = True
    return plain


def flags_of(config: dict[str, Any]) -> dict[str, Any]:
    """Flags of `infer_config` for guided-diffusion's keywords."""
    flags = {
        "image_size": config.get("image_size"),
        "attention_order": "new" if config.get("use_new_attention_order") else "legacy",
        "dropout": config.get("dropout", 0),
    }
    if config.get("num_head_channels", -1) != -1:
        return {**flags, "head_channels": config["num_head_channels"]}
    up = config.get("num_heads_upsample", -1)
    return {**flags, "heads": config.get("num_heads", 1), "heads_up": None if up == -1 else up}


def assert_blind(sizes: dict[str, float], listed: Collection[str], network: nn.Module) -> None:
    """The output reacts to a parameter if theirs does.

    Theirs was looked at in float32, where a bias that a norm takes away again still shows by its
    rounding. So ours may be blind to more biases than are listed if a norm has a channel per group.

    Args:
        sizes: gradients in float64 by their names, the largest entry of each.
        listed: the parameters that their output does not react to.
        network: ours.
    """
    most = max(sizes.values())
    weak = {name for name, size in sizes.items() if size <= 1e-6 * most}
    blind = {name for name, size in sizes.items() if size <= 1e-10 * most}
    assert set(listed) <= weak
    norms = [m for m in network.modules() if isinstance(m, nn.GroupNorm)]
    taking = any(norm.num_groups == norm.num_channels for norm in norms)
    more = blind - set(listed)
    assert all(taking and name.endswith(".bias") for name in more), more


def gradient_sizes(output: Tensor, named: dict[str, nn.Parameter]) -> dict[str, float]:
    """The largest entry of each parameter's gradient, of a sum with weights that differ."""
    direction = torch.linspace(-1, 1.3, output.numel(), dtype=output.dtype).view_as(output)
    gradients = torch.autograd.grad((output * direction).sum(), list(named.values()))
    return {name: g.abs().max().item() for name, g in zip(named, gradients, strict=True)}


@contextmanager
def unfilled() -> Iterator[None]:
    """Networks are built without filling their parameters: for a test that builds very many."""
    with pytest.MonkeyPatch.context() as patch:
        for layer in (nn.Linear, _ConvNd):
            patch.setattr(layer, "reset_parameters", lambda self: None)
        yield


def with_wide_tables(evaluate: Callable[[], Any]) -> Any:
    """What a network says if its tables of frequencies are not rounded to float32.

    Theirs are, as ours are, but a processor's exponential may round them otherwise. So far as ours
    lie from the unrounded ones, theirs may lie, too: by ten times what that moves, float64 outputs
    may differ.
    """
    arange = torch.arange

    def wide(*arguments: Any, dtype: Any = None, **options: Any) -> Tensor:
        dtype = torch.float64 if dtype == torch.float32 else dtype
        return arange(*arguments, dtype=dtype, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "arange", wide)
        return evaluate()
