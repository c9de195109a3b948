"""The one table between our networks of denoising diffusion GANs and the published ones'."""

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from pilotage.interop.adm.names import Pair
from pilotage.networks.adaptive import AdaptiveBlock, Norm, PixelAttention
from pilotage.networks.discriminator import Discriminator
from pilotage.networks.embedding import FourierFeatures
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_stages import JoinImage, Resize
from pilotage.networks.resampling import DownConv, UpConv


def generator_pairs(network: NCSNpp) -> Iterator[Pair]:
    """Every parameter of ``network``, which may lie on the meta device.

    The published network keeps its layers in one list, ``all_modules``, in the order in which ours
    are made.
    """
    for number, (ours, layer) in enumerate(_layers(network)):
        for inner, theirs in _inside(layer):
            yield from _pairs(
                layer.get_submodule(inner) if inner else layer,
                ".".join(part for part in (ours, inner) if part),
                ".".join(part for part in (f"all_modules.{number}", theirs) if part),
            )
    for number, layer in enumerate(network.latent.layers):
        yield from _pairs(layer, f"latent.layers.{number}", f"z_transform.{2 * number + 1}")


def discriminator_pairs(network: Discriminator) -> Iterator[Pair]:
    """Every parameter of ``network``, which may lie on the meta device."""
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
    """Those modules, named, that are entries of ``all_modules``."""
    bare = isinstance(module, Resize) and not any(module.children())
    if bare or isinstance(module, _LAYERS):
        yield name, module
        return
    for child, inner in module.named_children():
        path = f"{name}.{child}" if name else child
        if path not in ("latent", "time.label"):
            yield from _layers(inner, path)


def _inside(layer: nn.Module) -> list[tuple[str, str]]:
    """The modules with parameters inside an entry, under our names and theirs."""
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
    for name, parameter in module.named_parameters(recurse=False):
        load, export = _same, _same
        other = {"frequencies": "W"}.get(name, name)
        if dense:
            other = {"weight": "W", "bias": "b"}[name]
            if name == "weight":
                load, export = _rows(parameter.ndim), _columns
        yield Pair(f"{ours}.{name}", f"{theirs}.{other}", load, export)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _rows(dims: int) -> Callable[[Tensor], Tensor]:
    """(in, out) as the weight of a linear map, or of a 1x1 convolution."""
    return lambda tensor: tensor.T.reshape(*tensor.T.shape, *[1] * (dims - 2))


def _columns(tensor: Tensor) -> Tensor:
    """The weight of a linear map or a 1x1 convolution as (in, out)."""
    return tensor.flatten(1).T
