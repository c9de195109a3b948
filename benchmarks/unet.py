"""Our U-Net against the same network in diffusers, as ratios measured in one run.

    python benchmarks/unet.py --out results/benchmarks-unet.md
    python benchmarks/unet.py --device cuda --dtype bf16 --compile --sizes 32 128 64 32

Both have as many weights, and given the same ones they answer the same. Each row times A and B in
turn, as in ``run.py``.
"""

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import diffusers
import torch
import tyro
from diffusers.models.attention_processor import Attention as TheirAttention
from diffusers.models.resnet import ResnetBlock2D
from run import Row, compare, publish, table
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pilotage.networks import UNet, UNetPlan
from pilotage.networks.blocks import Attention, ResBlock

CLASSES = 10
GROUPS = 32
HEAD = 32

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


class Shape(NamedTuple):
    """What both networks look like.

    Attributes:
        channels: base width.
        mult: width of each level, in units of channels.
        blocks: residual blocks per level.
        attention: down-sampling rates with attention.
    """

    channels: int
    mult: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]


class Inputs(NamedTuple):
    """A batch."""

    z: Tensor
    time: Tensor
    labels: Tensor


class Theirs(nn.Module):
    """Their network with our call."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        attended = [2**level in shape.attention for level in range(len(shape.mult))]
        down = ["AttnDownBlock2D" if there else "ResnetDownsampleBlock2D" for there in attended]
        up = ["AttnUpBlock2D" if there else "ResnetUpsampleBlock2D" for there in attended[::-1]]
        self.unet = diffusers.UNet2DModel(
            block_out_channels=tuple(shape.channels * m for m in shape.mult),
            layers_per_block=shape.blocks,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            attention_head_dim=HEAD,
            norm_num_groups=GROUPS,
            attn_norm_num_groups=GROUPS,
            num_class_embeds=CLASSES + 1,
        )

    def forward(self, z: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """The prediction."""
        return self.unet(z, time, labels, return_dict=False)[0]


def ours(shape: Shape) -> UNet:
    """Our network."""
    plan = UNetPlan(
        channels=shape.channels,
        channel_mult=shape.mult,
        num_res_blocks=shape.blocks,
        attention_resolutions=shape.attention,
        head_channels=HEAD,
        norm_groups=GROUPS,
        num_classes=CLASSES,
        null_class=True,
    )
    return UNet(plan)


def twins(shape: Shape) -> tuple[UNet, Theirs]:
    """Both, with the same weights and, as is checked, the same answers."""
    a, b = ours(shape), Theirs(shape)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (a, b)]
    assert sizes[0] == sizes[1], f"{sizes[0]} weights of ours, {sizes[1]} of theirs"
    with torch.no_grad():
        copy_weights(b.unet, a)
        x = inputs(2, 16, "cpu")
        torch.testing.assert_close(a(*x), b(*x), atol=1e-4, rtol=1e-4)
    return a, b


def copy_weights(theirs: diffusers.UNet2DModel, ours: UNet) -> None:
    """Their weights into our network."""
    way = nn.ModuleList([theirs.down_blocks, theirs.mid_block, theirs.up_blocks])
    pairs = [
        (theirs.conv_in, ours.stem),
        (theirs.time_embedding.linear_1, ours.condition.time[0]),
        (theirs.time_embedding.linear_2, ours.condition.time[2]),
        (theirs.class_embedding, ours.condition.label),
        (theirs.conv_norm_out, ours.norm),
        (theirs.conv_out, ours.out),
    ]
    for a, b in both(way, ResnetBlock2D, ours, ResBlock):
        pairs += [(a.norm1, b.norm_in), (a.conv1, b.conv_in), (a.time_emb_proj, b.emb)]
        pairs += [(a.norm2, b.norm_out), (a.conv2, b.conv_out), (a.conv_shortcut, b.skip)]
    for a, b in both(way, TheirAttention, ours, Attention):
        pairs += [(a.group_norm, b.norm), (a.to_out[0], b.proj)]
        for name in ("weight", "bias"):
            parts = [getattr(part, name) for part in (a.to_q, a.to_k, a.to_v)]
            getattr(b.qkv, name).copy_(torch.cat(parts))
    for source, target in pairs:
        if source is not None:
            target.load_state_dict(source.state_dict())


def both(
    theirs: nn.Module, their_type: type, ours: nn.Module, our_type: type
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The layers of a kind, in the order in which they run."""
    a = [layer for layer in theirs.modules() if isinstance(layer, their_type)]
    b = [layer for layer in ours.modules() if isinstance(layer, our_type)]
    return zip(a, b, strict=True)


def inputs(batch: int, size: int, device: str) -> Inputs:
    """Noise at random times, with labels."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(batch, 3, size, size, generator=generator)
    time = 1000 * torch.rand(batch, generator=generator)
    return Inputs(z.to(device), time.to(device), (torch.arange(batch) % CLASSES).to(device))


def forward(network: nn.Module, call: Network, x: Inputs, bf16: bool) -> Callable[[], None]:
    """One call as in sampling."""
    network.eval()

    @torch.no_grad()
    def run() -> None:
        with torch.autocast(x.z.device.type, torch.bfloat16, enabled=bf16):
            call(*x)

    return run


def training_step(network: nn.Module, call: Network, x: Inputs, bf16: bool) -> Callable[[], None]:
    """Forward, backward and AdamW."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    target = torch.randn_like(x.z)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(x.z.device.type, torch.bfloat16, enabled=bf16):
            output = call(*x)
        mse_loss(output.float(), target).backward()
        optimizer.step()

    return run


def rows_of_size(
    networks: tuple[UNet, Theirs], x: Inputs, bf16: bool, compiled: bool, rounds: int
) -> list[Row]:
    """Forward and training step for one batch."""
    torch.compiler.reset()
    calls = [torch.compile(n, dynamic=False) if compiled else n for n in networks]
    label = f"{x.z.shape[-1]}x{x.z.shape[-1]}, batch {len(x.z)}{', compiled' if compiled else ''}"
    rows = []
    for name, how in (("forward", forward), ("training step", training_step)):
        sides = [how(n, c, x, bf16) for n, c in zip(networks, calls, strict=True)]
        rows.append(compare(f"{name}, {label}: Pilotage / diffusers", *sides, rounds))
    return rows


def main(
    out: Path | None = None,
    rounds: int = 7,
    sizes: tuple[tuple[int, int], ...] = ((32, 8), (32, 16), (64, 4)),
    channels: int = 64,
    mult: tuple[int, ...] = (1, 2, 2),
    blocks: int = 2,
    attention: tuple[int, ...] = (2, 4),
    device: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu",
    dtype: Literal["float32", "bf16"] = "float32",
    compile: bool = False,
) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        sizes: height (= width) and batch of each pair of rows.
        channels: base width.
        mult: width of each level, in units of channels.
        blocks: residual blocks per level.
        attention: down-sampling rates with attention.
        device: where to run.
        dtype: bf16 is mixed precision, for a GPU.
        compile: also rows with torch.compile, for a GPU.
    """
    if device == "cpu" and (dtype != "float32" or compile):
        raise SystemExit("error: on a CPU only float32 is measured, without --compile.")
    networks = twins(Shape(channels, mult, blocks, attention))
    weights = sum(p.numel() for p in networks[0].parameters())
    for network in networks:
        network.to(device)
    rows = []
    for size, batch in sizes:
        x = inputs(batch, size, device)
        for compiled in (False, True)[: 1 + compile]:
            rows += rows_of_size(networks, x, dtype == "bf16", compiled, rounds)
    place = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    text = (
        "# U-Net, as ratios\n\n"
        f"`python benchmarks/unet.py --rounds {rounds}` with torch {torch.__version__}, diffusers "
        f"{diffusers.__version__}, {torch.get_num_threads()} threads, {place}, {dtype}. Both "
        f"networks have {weights:,} weights ({channels} channels x {mult}, {blocks} blocks per "
        f"level, attention at rates {attention}), and with the same ones they give the same "
        "output. Medians; the ratio is the median of pairs timed in turn.\n\n"
        f"{table(rows)}\n"
    )
    publish(text, out)


if __name__ == "__main__":
    tyro.cli(main)
