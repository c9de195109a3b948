"""DINOv2 (2304.07193) through transformers: features that know no classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.metrics.extractors.extractor import (
    Extractor,
    check_images,
    exact_convolutions,
    pick_device,
    three_channels,
    to_array,
)
from pilotage.metrics.features import Features
from pilotage.utils.files import content_hash

DEFAULT_MODEL = "facebook/dinov2-base"
SIDE = 224
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the model's own


class Dinov2(Extractor):
    """The model as an `Extractor`; made by `dinov2`."""

    name = "dinov2"
    resize = f"Pillow bicubic to {SIDE}x{SIDE}, antialiased, rounded to uint8"

    def __init__(self, model: nn.Module, dimensions: int, device: torch.device):
        self._model, self._device = model.eval().requires_grad_(False).to(device), device
        self.dimensions = dimensions
        facts = {"name": self.name, "resize": self.resize, "mean": MEAN, "spread": SPREAD}
        self.hash = content_hash(model.state_dict(), facts)

    def __call__(self, images: Tensor) -> Features:
        """The class token's features of uint8 images (B, 1 or 3, H, W); no spatial, no logits."""
        check_images(images, channels=(1, 3))
        x = resize_bicubic(three_channels(images.cpu()), SIDE).to(self._device).float() / 255
        mean, spread = (torch.tensor(v, device=x.device)[:, None, None] for v in (MEAN, SPREAD))
        with torch.inference_mode(), exact_convolutions():
            seen = self._model(pixel_values=(x - mean) / spread)
        return Features(to_array(seen.pooler_output), None, None)


def dinov2(
    name_or_path: str | Path = DEFAULT_MODEL, *, device: torch.device | str | None = None
) -> Dinov2:
    """A DINOv2 model from the hub or from a folder, read from safetensors only.

    Images are resized whole to 224 x 224 with Pillow's bicubic filter and normalised with
    ImageNet's mean and spread. That is the arithmetic of the model's own processor without its
    crop, which would cut away the margin of every image, and the same under every version of
    transformers.

    Args:
        name_or_path: a hub id or a folder.
        device: where to run; None: this process's own.

    Raises:
        PilotageError: if transformers is not installed, or the model cannot be had.
    """
    try:
        from transformers import Dinov2Model
    except ImportError:
        raise PilotageError(
            "extractor=dinov2 needs transformers, which is not installed; "
            "install the extra dinov2: pip install 'pilotage[dinov2]'."
        ) from None
    try:
        model = Dinov2Model.from_pretrained(str(name_or_path), use_safetensors=True).float()
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise PilotageError(
            f"extractor=dinov2:{name_or_path} cannot be loaded ({reason}); give a hub id such as "
            f"{DEFAULT_MODEL}, or a folder with config.json and model.safetensors."
        ) from None
    return Dinov2(model, model.config.hidden_size, pick_device(device))


def resize_bicubic(images: Tensor, side: int) -> Tensor:
    """uint8 (B, C, H, W) to (B, C, side, side) by Pillow; an image of that size stays."""
    from PIL import Image

    B, C, H, W = images.shape
    planes = images.reshape(B * C, H, W).numpy()
    size, filter_ = (side, side), Image.Resampling.BICUBIC
    resized = [np.asarray(Image.fromarray(plane).resize(size, filter_)) for plane in planes]
    return torch.from_numpy(np.array(resized, np.uint8)).reshape(B, C, side, side)
