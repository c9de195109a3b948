"""The text transformer of GLIDE (Nichol et al., 2112.10741, section 4.1)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from pilotage.errors import PilotageError
from pilotage.networks.blocks import split_heads
from pilotage.networks.plan import Network, Plan, positive_int

_WHOLE = (torch.int64, torch.int32)
# About the scale of what a block adds initially: with smaller embeddings word order is not learned.
EMBEDDED = 0.3


class TextFeatures(NamedTuple):
    """Encoded captions of a `TextTransformer`.

    Attributes:
        pooled: (B, E), added to the time embedding.
        sequence: (B, L, width), attended to, padded positions included.
    """

    pooled: Tensor
    sequence: Tensor


@dataclass(frozen=True, kw_only=True)
class TextTransformerPlan(Plan):
    """The settings of a `TextTransformer`.

    Attributes:
        vocabulary: number of token ids; None with an encoder.
        context: number of tokens L of a caption, padding included.
        text_width: width of the sequence.
        text_layers: number of blocks.
        text_heads: number of attention heads.
        final_norm: the sequence ends in a layer norm.
        padding: whether there is an embedding of padding; without it masks have no effect.
        encoder_width: width D of the features of a frozen encoder, which replace tokens; None
            without one.
    """

    vocabulary: int | None = 50257
    context: int = 128
    text_width: int = 512
    text_layers: int = 16
    text_heads: int = 8
    final_norm: bool = True
    padding: bool = True
    encoder_width: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocabulary is not None and self.encoder_width is not None:
            raise PilotageError(
                f"vocabulary is {self.vocabulary} and encoder_width is {self.encoder_width}: "
                "one must be None."
            )
        reads = "vocabulary" if self.encoder_width is None else "encoder_width"
        for name in (reads, "context", "text_width", "text_layers", "text_heads"):
            positive_int(name, getattr(self, name))
        if self.text_width % self.text_heads:
            raise PilotageError(
                f"text_heads is {self.text_heads}: it must divide {self.text_width}, the "
                "text_width."
            )

    @property
    def caption_shape(self) -> tuple[int, ...]:
        """Shape of a caption's tokens, (L,), or of its features, (L, D)."""
        if self.encoder_width is None:
            return (self.context,)
        return (self.context, self.encoder_width)


class TextTransformer(Network):
    """Encode tokens, or features of a frozen encoder, to one vector and a sequence.

    There is no attention mask. Instead a padded position is the learned embedding of padding at
    that position, whatever its token.

    Args:
        plan: the settings.
        pooled_width: of the vector, E.
    """

    plan: TextTransformerPlan

    def __init__(self, plan: TextTransformerPlan, pooled_width: int):
        super().__init__(plan)
        width = plan.text_width
        self.token: nn.Embedding | nn.Linear
        if plan.vocabulary is None:
            self.token = nn.Linear(plan.caption_shape[-1], width)
        else:
            self.token = nn.Embedding(plan.vocabulary, width)
            nn.init.normal_(self.token.weight, std=EMBEDDED)
        self.position = _embedded(plan)
        self.padding = _embedded(plan) if plan.padding else None
        self.blocks = nn.ModuleList(
            TextBlock(width, plan.text_heads) for _ in range(plan.text_layers)
        )
        self.norm = nn.LayerNorm(width) if plan.final_norm else nn.Identity()
        self.proj = nn.Linear(width, pooled_width)

    def forward(self, tokens: Tensor, mask: Tensor) -> TextFeatures:
        """Encode captions.

        Args:
            tokens: (B, L) int64 ids in [0, vocabulary), or features (B, L, D).
            mask: (B, L) bool, False where padded.

        Raises:
            PilotageError: if a shape or type is wrong, or an id is not in the vocabulary.
        """
        self._check(tokens, mask)
        if tokens.is_floating_point():
            tokens = tokens.to(self.token.weight.dtype)
        h = self.token(tokens) + self.position
        if self.padding is not None:
            h = torch.where(mask[:, :, None], h, self.padding)
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        return TextFeatures(self.proj(h[:, -1]), h)

    def _check(self, tokens: Tensor, mask: Tensor) -> None:
        vocabulary, shape = self.plan.vocabulary, self.plan.caption_shape
        if tokens.shape[1:] != shape or mask.shape != tokens.shape[:2]:
            raise PilotageError(
                f"tokens have shape {tuple(tokens.shape)} and mask {tuple(mask.shape)}: they must "
                f"be (B, {', '.join(map(str, shape))}) and (B, {shape[0]})."
            )
        features = vocabulary is None
        allowed = tokens.is_floating_point() if features else tokens.dtype in _WHOLE
        if not allowed or mask.dtype != torch.bool:
            raise PilotageError(
                f"tokens are {tokens.dtype} and mask is {mask.dtype}: they must be "
                f"{'torch.float32' if features else 'torch.int64'} and torch.bool."
            )
        if vocabulary is not None:
            _check_ids(tokens, vocabulary)


class TextBlock(nn.Module):
    """A pre-norm transformer block.

    The rows of the attention's projection are [all q | all k | all v], each ordered by head.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_in = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        q, k, v = split_heads(self.qkv(self.norm_in(h)), self.heads)
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + self.proj(mixed)
        branch: Tensor = self.out(gelu(self.hidden(self.norm_out(h))))
        return h + branch


def _embedded(plan: TextTransformerPlan) -> nn.Parameter:
    """Return a vector for every position."""
    return nn.Parameter(EMBEDDED * torch.randn(plan.context, plan.text_width))


def _check_ids(tokens: Tensor, vocabulary: int) -> None:
    outside = (tokens < 0) | (tokens >= vocabulary)
    if outside.any():
        raise PilotageError(
            f"tokens have {int(tokens[outside][0])}: each must lie in 0..{vocabulary - 1}."
        )
