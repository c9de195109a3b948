"""Import of tensors of denoising diffusion GANs (Xiao, Kreis & Vahdat, 2112.07804).

The two tables of names are those of the published generators and discriminators.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import nn

from pilotage.interop.ddgan.infer import discriminator_settings, generator_settings
from pilotage.interop.foreign_weights import SAME, Layout, Pair, Weights, loaded, read_weights
from pilotage.networks.adaptive import AdaptiveBlock, Norm, PixelAttention
from pilotage.networks.discriminator import Discriminator, DiscriminatorPlan
from pilotage.networks.embedding import FourierFeatures
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.networks.ncsnpp_stages import JoinImage, Resize
from pilotage.networks.resampling import DownConv, UpConv


def load_generator(weights: Weights, config: Mapping[str, Any]) -> NCSNpp:
    """Build the `NCSNpp` equivalent to the published generator with these weights.

    A file ``netG_….pth`` of a run with EMA holds the averaged weights already. ``content.pth``
    holds the weights of the last step under ``netG_dict`` (their average lies in the optimiser's
    state) together with objects that are not tensors, so it cannot be read as it is.

    Args:
        weights: a ``.safetensors``, ``.pt`` or ``.pth`` file (only tensors are unpickled), or a
            state dict, with the published parameter names.
        config: arguments of the published script by their own names. ``ch_mult`` is needed; absent
            ones have that script's defaults. The channels, the latent and its mapping, and
            whether and how the network takes the time are inferred from the tensors.

    Returns:
        The network in evaluation mode, with copied tensors, on the device and in the dtype of the
        given ones. Its times are 0..T − 1 (`FewSteps.time`).

    Raises:
        PilotageError: if the file cannot be read, an argument is unknown or out of range, or
            tensors are missing, left over or of another shape.
    """
    tensors = read_weights(weights)
    settings = generator_settings(tensors, config)
    if settings["time_features"] == "none":  # the published blocks keep layers that they never use
        tensors = {name: tensor for name, tensor in tensors.items() if ".Dense_0." not in name}
    return loaded(lambda: NCSNpp(NCSNppPlan(**settings)), tensors, generator_pairs)


def load_discriminator(
    weights: Weights,
    config: Mapping[str, Any] | None = None,
    size: Literal["small", "large"] | None = None,
) -> Discriminator:
    """Build the `Discriminator` equivalent to the published one with these weights.

    Args:
        weights: as for `load_generator`; ``netD_dict`` of ``content.pth``.
        config: keywords of the published class, ``nc``, ``ngf``, ``t_emb_dim``, which are inferred
            from the tensors if absent, and ``act`` ("LeakyReLU(0.2)" if absent).
        size: "small" or "large"; inferred from the tensors if None.

    Returns:
        The network as `load_generator` returns it; logits are (B,), not (B, 1).

    Raises:
        PilotageError: as for `load_generator`.
    """
    tensors = read_weights(weights)
    plan = DiscriminatorPlan(**discriminator_settings(tensors, config or {}, size))
    return loaded(lambda: Discriminator(plan), tensors, discriminator_pairs)


def generator_pairs(network: NCSNpp) -> Iterator[Pair]:
    """Iterate over every parameter of ``network``, which may be on the meta device.

    The published network keeps its layers in one list, ``all_modules``, in the order in which ours
    are made.
    """
    for number, (ours, layer) in enumerate(_layers(network)):
        for inner, theirs in _inside(layer):
            names = f"{ours}.{inner}", f"all_modules.{number}.{theirs}"
            yield from _pairs(layer.get_submodule(inner), *(name.rstrip(".") for name in names))
    for number, layer in enumerate(network.latent.layers):
        yield from _pairs(layer, f"latent.layers.{number}", f"z_transform.{2 * number + 1}")


def discriminator_pairs(network: Discriminator) -> Iterator[Pair]:
    """Iterate over every parameter of ``network``, which may be on the meta device."""
    names = {
        "time.first": "t_embed.main.0",
        "time.second": "t_embed.main.2",
        "stem": "start_conv",
        "conv": "final_conv",
        "out": "end_linear",
    }
    inner = {"conv_in": "conv1.0", "conv_out": "conv2.0", "time": "dense_t1", "skip": "skip.0"}
    for number in range(len(network.blocks)):
        for ours, theirs in inner.items():
            names[f"blocks.{number}.{ours}"] = f"conv{number + 1}.{theirs}"
    for ours, theirs in names.items():
        yield from _pairs(network.get_submodule(ours), ours, theirs)


_LAYERS = (
    *(AdaptiveBlock, PixelAttention, DownConv, UpConv, JoinImage, Norm, FourierFeatures),
    *(nn.Conv2d, nn.Linear),
)


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the named modules that are entries of ``all_modules``."""
    bare = isinstance(module, Resize) and not any(module.children())
    if bare or isinstance(module, _LAYERS):
        yield name, module
        return
    for child, inner in module.named_children():
        path = f"{name}.{child}" if name else child
        if path not in ("latent", "time.label"):
            yield from _layers(inner, path)


def _inside(layer: nn.Module) -> list[tuple[str, str]]:
    """Return the modules with parameters inside an entry, under our names and theirs."""
    if isinstance(layer, AdaptiveBlock):
        return list(_block(layer))
    if isinstance(layer, PixelAttention):
        projections = (("q", "NIN_0"), ("k", "NIN_1"), ("v", "NIN_2"), ("proj", "NIN_3"))
        return [("norm", "GroupNorm_0"), *projections]
    if isinstance(layer, DownConv | UpConv):
        return [("conv", "Conv_0" if layer.resampling.taps is None else "Conv2d_0")]
    if isinstance(layer, JoinImage):
        return [("conv", "Conv_0")]
    return [("", "")]


def _block(block: AdaptiveBlock) -> Iterator[tuple[str, str]]:
    yield "norm_in.style", "GroupNorm_0.style"
    yield "conv_in", "Conv_0"
    if block.time is not None:
        yield "time", "Dense_0"
    own = isinstance(block.norm_out, Norm)
    yield ("norm_out", "GroupNorm_1") if own else ("norm_out.style", "GroupNorm_1.style")
    yield "conv_out", "Conv_1"
    if block.skip is not None:
        yield "skip", "NIN_0" if block.kind == "ddpm" else "Conv_2"


def _pairs(module: nn.Module, ours: str, theirs: str) -> Iterator[Pair]:
    dense = theirs.rpartition(".")[2].startswith("NIN_")
    renamed = {"weight": "W", "bias": "b"} if dense else {"frequencies": "W"}
    for name, parameter in module.named_parameters(recurse=False):
        layout = _transposed(parameter.ndim) if dense and name == "weight" else SAME
        yield Pair(f"{ours}.{name}", f"{theirs}.{renamed.get(name, name)}", *layout)


def _transposed(dims: int) -> Layout:
    """(in, out) there, the weight of a linear map or of a 1x1 convolution here."""
    return Layout(
        lambda tensor: tensor.T.reshape(*tensor.T.shape, *[1] * (dims - 2)),
        lambda tensor: tensor.flatten(1).T,
    )
