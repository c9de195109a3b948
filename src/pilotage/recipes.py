"""Named presets: recipes that were run, each with the score that it reached."""

from typing import NamedTuple

from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    Recipe,
    TextRecipe,
    TextUNetSettings,
    UNetSettings,
)


class Preset(NamedTuple):
    """A recipe under a name.

    Attributes:
        recipe: all settings of the denoiser.
        classifier: all settings of the classifier that guides it.
        about: what it trains, in a line.
        score: what was measured with it, and by which command; empty until it was.
    """

    recipe: Recipe
    classifier: ClassifierRecipe
    about: str
    score: str = ""


PRESETS: dict[str, Preset] = {
    "digits": Preset(
        Recipe(
            data="digits",
            network=UNetSettings(
                channels=32,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(2,),
                norm_groups=8,
            ),
            steps=1000,
            batch_size=64,
            learning_rate=2e-3,
            ema_decay=0.995,
            checkpoint_every=250,
            sample_every=500,
        ),
        classifier=ClassifierRecipe(
            data="digits",
            network=EncoderSettings(
                channels=32,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(2,),
                norm_groups=8,
                dropout=0.1,
            ),
            steps=1000,
            batch_size=64,
            learning_rate=1e-3,
            weight_decay=0.05,
            ema_decay=0.99,
            checkpoint_every=250,
            sample_every=500,
        ),
        about="scikit-learn's 8x8 digits, embedded: minutes on two cores",
        score=(
            "Of 100 images each at 64 ddim steps, a classifier recognises 0.98 at w = 0 and 1.00 "
            "at w = 1 (0.99 of real held-out digits): pilotage demo, seed 0"
        ),
    ),
    "mnist": Preset(
        Recipe(
            data="ylecun/mnist",
            network=UNetSettings(channels=64, channel_mult=(1, 2, 2), attention_resolutions=(4,)),
            steps=30_000,
            batch_size=128,
            learning_rate=5e-4,
            warmup_steps=500,
            ema_decay=0.9995,
            precision="bf16",
            checkpoint_every=1000,
            sample_every=5000,
        ),
        classifier=ClassifierRecipe(
            data="ylecun/mnist",
            network=EncoderSettings(
                channels=32, channel_mult=(1, 2, 2), num_res_blocks=1, attention_resolutions=(4,)
            ),
            steps=10_000,
            batch_size=128,
            learning_rate=3e-4,
            weight_decay=0.05,
            warmup_steps=500,
            ema_decay=0.999,
            precision="bf16",
            checkpoint_every=1000,
            sample_every=5000,
        ),
        about="28x28 handwritten digits, from the hub or --data",
    ),
    "cifar10": Preset(
        Recipe(
            data="uoft-cs/cifar10",
            network=UNetSettings(
                channels=128,
                channel_mult=(1, 2, 2),
                num_res_blocks=3,
                attention_resolutions=(2, 4),
                head_channels=64,
                dropout=0.1,
            ),
            flip=True,
            steps=200_000,
            batch_size=256,
            learning_rate=2e-4,
            betas=(0.9, 0.999),
            warmup_steps=2000,
            ema_decay=0.9999,
            precision="bf16",
            checkpoint_every=2000,
            sample_every=10_000,
        ),
        classifier=ClassifierRecipe(
            data="uoft-cs/cifar10",
            network=EncoderSettings(
                channels=64, channel_mult=(1, 2, 2), attention_resolutions=(2, 4), dropout=0.1
            ),
            flip=True,
            steps=60_000,
            batch_size=256,
            learning_rate=3e-4,
            weight_decay=0.05,
            warmup_steps=2000,
            ema_decay=0.999,
            precision="bf16",
            checkpoint_every=2000,
            sample_every=10_000,
        ),
        about="32x32 colour photographs of ten classes, from the hub or --data",
    ),
}


class AdversarialPreset(NamedTuple):
    """A recipe of a denoising diffusion GAN under a name.

    Attributes:
        recipe: all settings.
        about: what it trains, in a line.
        score: what was measured with it, and by which command; empty until it was.
    """

    recipe: AdversarialRecipe
    about: str
    score: str = ""


_TINY = AdversarialRecipe(
    data="digits",
    network=GeneratorSettings(
        channels=24,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        latent_dim=32,
        latent_width=64,
        latent_layers=2,
    ),
    discriminator=DiscriminatorSettings(size="tiny", channels=32, time_width=64),
    steps=1500,
    batch_size=64,
    learning_rate=5e-4,
    discriminator_learning_rate=4e-4,
    ema_decay=0.999,
    checkpoint_every=500,
    sample_every=1000,
)
_PAPER = AdversarialRecipe(
    data="uoft-cs/cifar10",
    network=GeneratorSettings(channels=128, channel_mult=(1, 2, 2, 2), attention_resolutions=(2,)),
    discriminator=DiscriminatorSettings(channels=64),
    flip=True,
    p_uncond=1.0,
    steps=300_000,
    batch_size=256,
    learning_rate=1.6e-4,
    discriminator_learning_rate=1.25e-4,
    r1_gamma=0.02,
    ema_decay=0.9999,
    precision="bf16",
    checkpoint_every=2000,
    sample_every=10_000,
)

ADVERSARIAL_PRESETS: dict[str, AdversarialPreset] = {
    "digits": AdversarialPreset(_TINY, about="scikit-learn's 8x8 digits, in four network calls"),
    "stacked-digits": AdversarialPreset(
        _TINY.replace(data="stacked:digits", p_uncond=1.0),
        about="three of them as three channels: 1000 modes",
    ),
    "25-gaussians": AdversarialPreset(
        AdversarialRecipe(
            data="25-gaussians",
            network=GeneratorSettings(channels=128, num_res_blocks=3, latent_dim=2),
            discriminator=DiscriminatorSettings(channels=128, layers=3),
            # each step's noise is below the distance of the bells but for the first
            beta_min=5e-4,
            beta_max=0.9995,
            geometric=True,
            p_uncond=1.0,
            steps=6000,
            batch_size=256,
            learning_rate=2e-3,
            r1_gamma=1e-3,
            r1_every=2,
            checkpoint_every=1000,
            sample_every=2000,
        ),
        about="25 narrow bells on a grid in the plane: are all of them found?",
    ),
    "mnist": AdversarialPreset(
        _PAPER.replace(
            data="ylecun/mnist",
            flip=False,
            network=GeneratorSettings(channels=64, channel_mult=(1, 2, 2)),
            p_uncond=0.1,
            steps=60_000,
        ),
        about="28x28 handwritten digits, from the hub or --data",
    ),
    "stacked-mnist": AdversarialPreset(
        _PAPER.replace(
            data="stacked:ylecun/mnist",
            flip=False,
            size=(32, 32),
            network=GeneratorSettings(channels=64, channel_mult=(1, 2, 2)),
            steps=60_000,
        ),
        about="three MNIST digits as three channels: 1000 modes",
    ),
    "cifar10": AdversarialPreset(
        _PAPER, about="32x32 colour photographs without labels, as in the paper"
    ),
}


def denoiser_beside(name: str) -> Recipe:
    """The denoiser that a GAN's preset is compared with.

    It is that of the same name, or of what is stacked; else the digits' one on the same data.
    """
    same = name.removeprefix("stacked-")
    recipe = PRESETS[same if same in PRESETS else "digits"].recipe
    return recipe.replace(data=ADVERSARIAL_PRESETS[name].recipe.data)


class TextPreset(NamedTuple):
    """A recipe of a denoiser on captions under a name.

    Attributes:
        recipe: all settings.
        about: what it trains, in a line.
        score: what was measured with it, and by which command; empty until it was.
    """

    recipe: TextRecipe
    about: str
    score: str = ""


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
        norm_groups=8,
        text_width=64,
        text_layers=2,
    ),
    steps=4000,
    batch_size=64,
    learning_rate=1e-3,
    ema_decay=0.999,
    checkpoint_every=250,
    sample_every=1000,
)

TEXT_PRESETS: dict[str, TextPreset] = {
    "shapes": TextPreset(_SHAPES, about="captioned shapes, drawn on the fly at 32x32"),
    "shapes-small": TextPreset(
        _SHAPES.replace(
            size=(16, 16),
            network=_SHAPES.network.replace(channel_mult=(1, 2)),
            batch_size=32,
        ),
        about="the same at 16x16: the base of a cascade",
    ),
    "shapes-up": TextPreset(
        _SHAPES.replace(
            size=(64, 64),
            low_res=(16, 16),
            network=_SHAPES.network.replace(
                channels=16,
                channel_mult=(1, 2, 2, 2),
                attention_resolutions=(8,),
                head_channels=16,
            ),
            steps=2500,
            batch_size=8,
        ),
        about="from 16x16 to 64x64, with the caption",
    ),
    "captioned": TextPreset(
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
