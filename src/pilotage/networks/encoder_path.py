"""The way down and the middle, which `UNet` and `UNetEncoder` have in common."""

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.attention import Attention
from pilotage.networks.blocks import ResBlock, Stage
from pilotage.networks.plan import Plan


def way_down(plan: Plan) -> tuple[nn.ModuleList, list[int]]:
    """The stages after the stem, and the channels of every feature map, the stem's first."""
    stages, widths = [], [plan.widths[0]]
    for level, width in enumerate(plan.widths):
        for _ in range(plan.num_res_blocks):
            attention = plan.attention(width) if plan.attended(level) else None
            stages.append(Stage(block=plan.block(widths[-1], width), attention=attention))
            widths.append(width)
        if level < len(plan.widths) - 1:
            stages.append(Stage(down=plan.down(width)))
            widths.append(width)
    return nn.ModuleList(stages), widths


def middle(plan: Plan) -> Stage:
    """Attention between two blocks, at the lowest level."""
    width = plan.widths[-1]
    return Stage(
        block_in=plan.block(width, width),
        attention=plan.attention(width),
        block_out=plan.block(width, width),
    )


def check_input(x: Tensor, time: Tensor, channels: int) -> None:
    """Raise a `PilotageError` unless x is (B, channels, H, W) and time (B,)."""
    if x.ndim != 4 or x.shape[1] != channels or x.shape[:1] != time.shape:
        raise PilotageError(
            f"x has shape {tuple(x.shape)} and time {tuple(time.shape)}: they must be "
            f"(B, {channels}, H, W) and (B,)."
        )


def zero_branches(network: nn.Module) -> None:
    """Start every residual branch of blocks and attention at zero, as in ADM."""
    for module in network.modules():
        if isinstance(module, ResBlock):
            zero(module.conv_out)
        elif isinstance(module, Attention):
            zero(module.proj)


def zero(layer: nn.Linear | nn.Conv2d) -> None:
    """Set a layer's weight and bias to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
