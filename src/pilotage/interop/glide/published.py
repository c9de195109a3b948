"""OpenAI's published networks of GLIDE (2112.10741) as recipes, by their published names.

The names are those of ``download.py`` in openai/glide-text2im, the facts those of
``model_creation.py`` there (``model_and_diffusion_defaults`` and its ``_upsampler``, and
``create_model`` for the widths by image size), and of the paper: captions were dropped at a rate of
0.2 when the base network was fine-tuned for guidance (section 4.2), and an upsampler
always had its whole low resolution (4.3). Learning rates are not published: the rate and EMA decay
here are for further training.

In ``notebooks/text2im.ipynb`` there, the base network is sampled in 100 steps at ``guidance_scale``
3, and the upsampler by DDIM, without guidance, in the 27 steps of ``fast27`` (here
``--up-sampler ddim --up-steps fast27``), from noise times a "temperature" of 0.997. Here it is 1:
sharper, and sometimes grainy.
"""

from typing import Any

from pilotage.models.run_folder import IMPORTED
from pilotage.settings import TextRecipe, TextUNetSettings

# what the tensors of the four published networks do not determine
PUBLISHED_FLAGS = {"head_channels": 64, "text_heads": 8, "dropout": 0.1}

CAPTIONS_DROPPED = 0.2


def glide_recipe(**settings: Any) -> TextRecipe:
    """Make a recipe with the common settings of GLIDE's networks."""
    enlarges = settings.get("low_res") is not None
    shared = {
        "data": IMPORTED,
        "tokenizer": IMPORTED,
        "schedule": "linear" if enlarges else "cosine",
        "timesteps": 1000,
        "predicts": "eps",
        "objective": "hybrid",
        "p_uncond": 0.0 if enlarges else CAPTIONS_DROPPED,
        "p_uncond_image": 0.0 if enlarges else 0.1,
        "learning_rate": 1e-4,
        "ema_decay": 0.9999,
    }
    return TextRecipe(**{**shared, **settings})


def _network(**more: Any) -> TextUNetSettings:
    return TextUNetSettings(
        channels=192,
        head_channels=64,
        dropout=0.1,
        text_width=512,
        text_layers=16,
        text_heads=8,
        **more,
    )


_TOKENS = {"vocabulary": 50257, "context": 128}
_BASE = glide_recipe(
    size=(64, 64),
    network=_network(channel_mult=(1, 2, 3, 4), num_res_blocks=3, attention_resolutions=(2, 4, 8)),
    **_TOKENS,
)
_UPSAMPLE = glide_recipe(
    size=(256, 256),
    low_res=(64, 64),
    network=_network(
        channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2, attention_resolutions=(8, 16, 32)
    ),
    **_TOKENS,
)

PUBLISHED_GLIDE: dict[str, TextRecipe] = {
    "base": _BASE,
    "upsample": _UPSAMPLE,
    "base-inpaint": _BASE.replace(inpaint=True),
    "upsample-inpaint": _UPSAMPLE.replace(inpaint=True),
}
