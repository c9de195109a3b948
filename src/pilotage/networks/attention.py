"""Self-attention over the pixels of a feature map."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from pilotage.networks.blocks import GroupNorm


class Attention(nn.Module):
    """Multi-head self-attention with a residual path, as in ADM (2105.05233).

    The projection's rows are [all q | all k | all v], each ordered by head. Published weights that
    interleave the heads are permuted when they are loaded.
    """

    def __init__(self, channels: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        tokens = self.norm(h).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = split_heads(self.qkv(tokens), self.heads)
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return h + self.proj(mixed).transpose(1, 2).unflatten(2, h.shape[2:])


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
    """(B, L, 3C), the rows as in `Attention`, to q, k and v, each (B, heads, L, C / heads)."""
    return qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
