"""Self-attention over the pixels of a feature map, optionally extended by text."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from pilotage.networks.blocks import GroupNorm


class Attention(nn.Module):
    """Multi-head self-attention with a residual path, as in ADM (2105.05233).

    The projection's rows are [all q | all k | all v], each ordered by head. Published weights that
    interleave the heads are permuted on loading.

    With ``text_width``, pixels also attend to a text: its keys and values precede theirs
    (GLIDE, 2112.10741, section 4.1). The rows of that projection are [all k | all v].
    """

    def __init__(self, channels: int, heads: int, groups: int, text_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.text_kv = None if text_width is None else nn.Linear(text_width, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W), optionally with a text (B, L, text_width), to the same shape."""
        tokens = self.norm(h).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = split_heads(self.qkv(tokens), self.heads)
        if self.text_kv is not None and text is not None:
            k_text, v_text = split_heads(self.text_kv(text), self.heads, parts=2)
            k, v = torch.cat([k_text, k], dim=2), torch.cat([v_text, v], dim=2)
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        branch: Tensor = self.proj(mixed)
        return h + torch.unflatten(branch.transpose(1, 2), 2, h.shape[2:])


def split_heads(qkv: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """Split (B, L, 3C), ordered as in `Attention`, into q, k and v, (B, heads, L, C / heads).

    With 2 parts, (B, L, 2C) to k and v.
    """
    return torch.unflatten(qkv, 2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
