"""The text transformer of GLIDE (Nichol et al., 2112.10741, section 4.1)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

from pilotage.errors import PilotageError
from pilotage.networks.attention import split_heads
from pilotage.networks.checks import positive_int
from pilotage.networks.embedding import Conditioning, timestep_embedding

_WHOLE = (torch.int64, torch.int32)
# About what a block adds at first: the order of words is lost beside that if they begin smaller.
EMBEDDED = 0.3


class TextFeatures(NamedTuple):
    """What a `TextTransformer` makes of a batch of captions.

    Attributes:
        pooled: (B, E), to be added to the time.
        sequence: (B, L, width), to be attended to; padded positions are part of it.
    """

    pooled: Tensor
    sequence: Tensor


class TextTransformer(nn.Module):
    """Tokens, or their features of a frozen encoder, to one vector and a sequence.

    Every position sees every other: there is no attention mask. Instead a padded position is the
    learned embedding of padding at that position, whatever its token.

    Args:
        vocabulary: number of token ids; None with features.
        context: number of positions L.
        width: of the sequence.
        layers: number of blocks.
        heads: number of attention heads.
        pooled_width: of the vector, E.
        final_norm: the sequence ends in a layer norm.
        padding: there is an embedding of padding; without one the mask has no effect.
        encoder_width: of the features, D; None with tokens.

    Raises:
        PilotageError: if a setting is out of range, heads do not divide the width, or both a
            vocabulary and an encoder's width are given.
    """

    def __init__(
        self,
        vocabulary: int | None,
        context: int,
        width: int,
        layers: int,
        heads: int,
        pooled_width: int,
        final_norm: bool = True,
        padding: bool = True,
        encoder_width: int | None = None,
    ):
        super().__init__()
        check_text_settings(vocabulary, context, width, layers, heads, encoder_width)
        if encoder_width is None:
            self.token = nn.Embedding(vocabulary, width)
            nn.init.normal_(self.token.weight, std=EMBEDDED)
        else:
            self.token = nn.Linear(encoder_width, width)
        self.position = nn.Parameter(EMBEDDED * torch.randn(context, width))
        self.padding = nn.Parameter(EMBEDDED * torch.randn(context, width)) if padding else None
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()
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
        features = isinstance(self.token, nn.Linear)
        row = (len(self.position), self.token.in_features) if features else (len(self.position),)
        if tokens.shape[1:] != row or mask.shape != tokens.shape[:2]:
            raise PilotageError(
                f"tokens have shape {tuple(tokens.shape)} and mask {tuple(mask.shape)}: they must "
                f"be (B, {', '.join(map(str, row))}) and (B, {row[0]})."
            )
        allowed = torch.is_floating_point(tokens) if features else tokens.dtype in _WHOLE
        if not allowed or mask.dtype != torch.bool:
            raise PilotageError(
                f"tokens are {tokens.dtype} and mask is {mask.dtype}: they must be "
                f"{'torch.float32' if features else 'torch.int64'} and torch.bool."
            )
        if not features:
            self._check_ids(tokens)

    def _check_ids(self, tokens: Tensor) -> None:
        vocabulary = self.token.num_embeddings
        outside = (tokens < 0) | (tokens >= vocabulary)
        if outside.any():
            raise PilotageError(
                f"tokens have {int(tokens[outside][0])}: each must lie in 0..{vocabulary - 1}."
            )


class TextBlock(nn.Module):
    """Attention and a hidden layer, each on a norm of what it is added to.

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
        return h + self.out(gelu(self.hidden(self.norm_out(h))))


class TextConditioning(Conditioning):
    """Time and pooled text in one vector, passed through SiLU, as `Conditioning` does a class."""

    def __init__(self, channels: int):
        super().__init__(channels)

    def forward(self, time: Tensor, cond: Tensor) -> Tensor:
        """``time`` (B,) and a pooled text (B, width) to (B, width)."""
        features = timestep_embedding(time, self.channels, self.time[0].weight.dtype)
        return silu(self.time(features) + cond)


def check_text_settings(
    vocabulary: Any, context: Any, width: Any, layers: Any, heads: Any, encoder_width: Any
) -> None:
    """Raise a `PilotageError` unless these are whole numbers that fit together."""
    if vocabulary is not None and encoder_width is not None:
        raise PilotageError(
            f"vocabulary is {vocabulary} and encoder_width is {encoder_width}: one must be None."
        )
    for name, value in (
        ("vocabulary", vocabulary) if encoder_width is None else ("encoder_width", encoder_width),
        ("context", context),
        ("text_width", width),
        ("text_layers", layers),
        ("text_heads", heads),
    ):
        positive_int(name, value)
    if width % heads:
        raise PilotageError(f"text_heads is {heads}: it must divide {width}, the text_width.")
