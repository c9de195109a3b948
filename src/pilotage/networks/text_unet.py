"""The ADM U-Net that reads a text: GLIDE (Nichol et al., 2112.10741)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.networks.encoder_path import check_input
from pilotage.networks.text_cond import EncodedText, TextCond, beside
from pilotage.networks.text_plan import TextPlan
from pilotage.networks.text_transformer import TextConditioning, TextTransformer
from pilotage.networks.unet import UNetLayers


class TextUNet(UNetLayers):
    """The ADM U-Net with a text transformer, whose sequence all of its attention also looks at.

    Args:
        in_channels: channels C of the noisy image alone.
        out_channels: channels of the prediction; as many as ``in_channels`` if None.
        vocabulary: number of token ids; None with an encoder.
        context: number of tokens L of a caption, padding included.
        text_width: width of the text transformer.
        text_layers: its number of blocks.
        text_heads: its number of attention heads.
        final_norm: it ends in a layer norm.
        padding: it has an embedding of padding; without one masks have no effect.
        low_res: the network enlarges an image, and sees it up-sampled beside x.
        inpaint: the network completes an image, and sees what is known of it, and where, beside x.
        encoder_width: width D of the features of a frozen encoder, which then take the place of
            tokens; None without one.
        learned_variance: as for `UNet`, and so are all others: ``channels``, ``channel_mult``,
            ``num_res_blocks``, ``attention_resolutions``, ``head_channels``, ``heads``,
            ``heads_up``, ``scale_shift_norm``, ``resblock_updown``, ``conv_resample``,
            ``norm_groups``, ``dropout`` and ``zero_init``.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.
        null: None; `empty` gives the null condition.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int | None = None,
        vocabulary: int | None = 50257,
        context: int = 128,
        text_width: int = 512,
        text_layers: int = 16,
        text_heads: int = 8,
        final_norm: bool = True,
        padding: bool = True,
        low_res: bool = False,
        inpaint: bool = False,
        encoder_width: int | None = None,
        learned_variance: bool = False,
        channels: int = 64,
        channel_mult: Sequence[float] = (1, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2, 4),
        head_channels: int | None = None,
        heads: int | None = None,
        heads_up: int | None = None,
        scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        conv_resample: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        zero_init: bool = True,
    ):
        plan = TextPlan(
            in_channels=in_channels,
            out_channels=out_channels,
            vocabulary=vocabulary,
            context=context,
            text_width=text_width,
            text_layers=text_layers,
            text_heads=text_heads,
            final_norm=final_norm,
            padding=padding,
            low_res=low_res,
            inpaint=inpaint,
            encoder_width=encoder_width,
            learned_variance=learned_variance,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            head_channels=head_channels,
            heads=heads,
            heads_up=heads_up,
            scale_shift_norm=scale_shift_norm,
            resblock_updown=resblock_updown,
            conv_resample=conv_resample,
            norm_groups=norm_groups,
            dropout=dropout,
            zero_init=zero_init,
        )
        super().__init__(plan, TextConditioning(channels))
        self.plan = plan
        self.text = TextTransformer(
            vocabulary,
            context,
            text_width,
            text_layers,
            text_heads,
            self.condition.width,
            final_norm,
            padding,
            encoder_width,
        )

    def empty(self, count: int) -> TextCond:
        """The null condition ``count`` times: empty captions, padded with the last id or zeros."""
        shape, plan = (count, self.plan.context), self.plan
        device = self.stem.weight.device
        if plan.encoder_width is None:
            tokens = torch.full(shape, plan.vocabulary - 1, device=device)
        else:
            tokens = torch.zeros(*shape, plan.encoder_width, device=device)
        return TextCond(tokens, torch.zeros(shape, dtype=torch.bool, device=device))

    def encode(self, cond: TextCond, size: Sequence[int] | None = None) -> EncodedText:
        """Compute what does not change over the steps, for `forward` to take as ``cond``.

        Args:
            cond: the captions and images.
            size: (H, W) of x; needed where the network sees an image beside x.

        Raises:
            PilotageError: if a shape is wrong, or an image is missing or given in vain.
        """
        return self.encode_text(cond)._replace(image=beside(self.plan, cond, size))

    def encode_text(self, cond: TextCond) -> EncodedText:
        """What `encode` gives, but for the image."""
        return EncodedText(*self.text(cond.tokens, cond.mask))

    def forward(
        self, x: Tensor, time: Tensor, cond: TextCond | EncodedText | None = None
    ) -> Tensor:
        """Predict from a noisy image.

        Args:
            x: (B, C, H, W) images.
            time: (B,) times.
            cond: captions, with images where they are asked for, as they are or as `encode` gave
                them; None is the empty caption for all.

        Returns:
            (B, out, H, W), ``out`` being ``out_channels``, or twice that with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or an image is missing or given in vain.
        """
        check_input(x, time, self.plan.in_channels)
        if cond is None:
            cond = self.empty(len(x))
        if isinstance(cond, TextCond):
            cond = self.encode(cond, x.shape[2:])
        self._check(cond, x)
        if cond.image is not None:
            x = torch.cat([x, cond.image.to(x.dtype)], dim=1)
        return self.predict(x, self.condition(time, cond.pooled), cond.sequence)

    def _check(self, cond: Any, x: Tensor) -> None:
        if not isinstance(cond, EncodedText):
            raise PilotageError(
                f"cond is a {type(cond).__name__}: it must be a TextCond, an EncodedText or None."
            )
        count, beside = len(x), self.plan.beside
        image = (count, beside, *x.shape[2:]) if beside else None
        found = None if cond.image is None else tuple(cond.image.shape)
        if len(cond.pooled) != count or len(cond.sequence) != count or found != image:
            raise PilotageError(
                f"cond is for {len(cond.pooled)} examples with images {found} and x has shape "
                f"{tuple(x.shape)}: it must be for {count} with images {image}."
            )
