"""Options of published checkpoints that their tensors do not determine."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from pilotage.settings.architectures import NCSNppOptions
from pilotage.settings.base import MaybeSize, Positive, Settings


class ForeignCheckpoint(Settings):
    """What is imported, and to where."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = Field(
        description="A .pt, .pth or .safetensors file of tensors."
    )
    out: Path = Field(description="The run folder to make.")
    key: str | None = Field(
        None, description="Which of several state dicts in the file, or the prefix of its names."
    )


class ImportSettings(ForeignCheckpoint):
    """A checkpoint of guided-diffusion, and options that its tensors do not determine."""

    preset: str | None = Field(
        None, description="A published file's name, such as 256x256_diffusion: answers all below."
    )
    size: MaybeSize = Field(None, description="Height and width of images.")
    head_channels: Positive | None = Field(None, description="Channels per attention head.")
    heads: Positive | None = Field(None, description="Attention heads, instead of head_channels.")
    heads_up: Positive | None = Field(None, description="Heads on the way up, if others.")
    attention_order: Literal["legacy", "new"] = Field(
        "legacy", description="Order of the attention's rows (use_new_attention_order)."
    )
    num_res_blocks: Positive | None = Field(
        None, description="Blocks per level, where a classifier's tensors leave it open."
    )
    norm_groups: Positive = Field(32, description="Groups of the norms; always 32 in ADM itself.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout, for training on.")
    schedule: Literal["linear", "cosine", "truncated_cosine"] | None = Field(
        None, description="Noise levels that it was trained with."
    )
    timesteps: int = Field(1000, ge=2, description="Levels of a beta schedule.")
    lam_min: float = Field(-20.0, description="Noise end of a truncated cosine.")
    lam_max: float = Field(20.0, description="Data end of a truncated cosine.")
    predicts: Literal["eps", "x", "v"] = Field("eps", description="What a U-Net outputs.")
    null_class: bool = Field(False, description="Whether the last label means no class.")
    classes: tuple[str, ...] | None = Field(None, description="The class names, in order.")
    class_names: Path | None = Field(
        None, description="The same as a text file, one name per line; 0, 1, ... by default."
    )


class ImportDdganSettings(ForeignCheckpoint):
    """A generator of a denoising diffusion GAN, and options that its tensors do not determine."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = Field(
        description="A .pth, .pt or .safetensors file of tensors."
    )
    preset: str | None = Field(
        None,
        description="The script's --dataset: cifar10, celeba_256 or lsun; sets all below.",
    )
    size: MaybeSize = Field(None, description="Height and width of images.")
    steps_T: Positive | None = Field(
        None, description="Network calls per image (num_timesteps; that script's default is 4)."
    )
    beta_min: float = Field(0.1, gt=0, description="Rate of the noise at the data end.")
    beta_max: float = Field(20.0, gt=0, description="Rate of the noise at the noise end.")
    geometric: bool = Field(False, description="The two are variances (use_geometric).")
    network: NCSNppOptions = NCSNppOptions()
    discriminator: Path | None = Field(
        None, description="A file of the discriminator's tensors, for training on."
    )


class ImportGlideSettings(ForeignCheckpoint):
    """A network of GLIDE, its tokenizer, and options that its tensors do not determine."""

    vocabulary: Path = Field(description="The tokenizer's ids, encoder.json or encoder.json.gz.")
    merges: Path = Field(description="The tokenizer's merges, vocab.bpe or vocab.bpe.gz.")
    preset: str | None = Field(
        None,
        description="A published network: base, upsample, base-inpaint or upsample-inpaint; "
        "answers all below.",
    )
    size: MaybeSize = Field(None, description="Height and width of images.")
    low_res: MaybeSize = Field(
        None, description="Of a network that enlarges: height and width of what it is given."
    )
    head_channels: Positive | None = Field(None, description="Channels per attention head.")
    heads: Positive | None = Field(None, description="Attention heads, instead of head_channels.")
    heads_up: Positive | None = Field(None, description="Heads on the way up, if others.")
    text_heads: Positive | None = Field(
        None, description="Attention heads of the text transformer (xf_heads)."
    )
    in_channels: Positive | None = Field(
        None, description="Channels of an image, where they are not half of the output's."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout, for training on.")
    schedule: Literal["linear", "cosine"] | None = Field(
        None,
        description="Noise levels: cosine, and linear of a network that enlarges, if not given.",
    )
    timesteps: int = Field(1000, ge=2, description="Levels of the schedule.")
    p_uncond: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Rate at which captions were dropped: 0.2, and 0 of a network that enlarges, "
        "if not given.",
    )
