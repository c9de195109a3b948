"""Presets of denoisers on captions."""

from pilotage.recipes.preset import Preset
from pilotage.settings import TextRecipe, TextUNetSettings

_SHAPES = TextRecipe(
    data="shapes",
    size=(32, 32),
    context=24,
    vocabulary=320,
    network=TextUNetSettings(
        channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(2, 4),
        head_channels=16,
        resblock_updown=False,
        norm_groups=8,
        text_width=64,
        text_layers=3,
    ),
    steps=10_000,
    batch_size=64,
    learning_rate=1e-3,
    decay="cosine",
    ema_decay=0.999,
    checkpoint_every=250,
    sample_every=1000,
)

TEXT_PRESETS: dict[str, Preset] = {
    "shapes": Preset(_SHAPES, about="captioned shapes, drawn on the fly at 32x32"),
    "shapes-small": Preset(
        _SHAPES.replace(
            size=(16, 16),
            network=_SHAPES.network.replace(channel_mult=(1, 2)),
            steps=13_000,
            batch_size=32,
        ),
        about="the same at 16x16: the base of a cascade",
    ),
    "shapes-up": Preset(
        _SHAPES.replace(
            size=(64, 64),
            low_res=(16, 16),
            network=_SHAPES.network.replace(
                channels=16,
                channel_mult=(1, 2, 2, 2),
                attention_resolutions=(8,),
                resblock_updown=True,
                text_layers=2,
            ),
            steps=9500,
            batch_size=8,
        ),
        about="from 16x16 to 64x64, with the caption",
    ),
    "captioned": Preset(
        TextRecipe(
            data=".",
            size=(64, 64),
            network=TextUNetSettings(
                channels=128,
                channel_mult=(1, 2, 3, 4),
                attention_resolutions=(4, 8),
                head_channels=64,
                text_width=256,
                text_layers=6,
            ),
            steps=100_000,
            batch_size=64,
            learning_rate=3e-4,
            warmup_steps=1000,
            ema_decay=0.9999,
            precision="bf16",
            checkpoint_every=1000,
            sample_every=5000,
        ),
        about="your own captioned images (--data FOLDER)",
    ),
}
