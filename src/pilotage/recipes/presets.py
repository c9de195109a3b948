"""The presets of every kind of training."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    Recipe,
    TextRecipe,
    TextUNetSettings,
    TrainingRecipe,
    UNetSettings,
)

R = TypeVar("R", bound=TrainingRecipe, covariant=True)


class Preset(NamedTuple, Generic[R]):
    """A recipe under a name.

    Attributes:
        recipe: all settings.
        about: what it trains, in a line.
        score: what was measured with it, and by which command; empty until it was.
        classifier: all settings of the classifier that guides it, where there is one.
    """

    recipe: R
    about: str
    score: str = ""
    classifier: ClassifierRecipe | None = None


# --- denoisers on labels, each with the classifier that guides it -------------------------------

_SMALL: dict[str, Any] = {  # a U-Net, or an encoder, of 8x8 images
    "channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "norm_groups": 8,
}
_HOURS: dict[str, Any] = {"precision": "bf16", "checkpoint_every": 1000, "sample_every": 5000}
_DAYS: dict[str, Any] = {"precision": "bf16", "checkpoint_every": 2000, "sample_every": 10_000}
# what a denoiser and the classifier that guides it share
_DIGITS: dict[str, Any] = {"data": "digits", "steps": 1000, "batch_size": 64}
_DIGITS |= {"checkpoint_every": 250, "sample_every": 500}
_MNIST: dict[str, Any] = {"data": "ylecun/mnist", "batch_size": 128, "warmup_steps": 500, **_HOURS}
_CIFAR10: dict[str, Any] = {"data": "uoft-cs/cifar10", "flip": True, "batch_size": 256}
_CIFAR10 |= {"warmup_steps": 2000, **_DAYS}

PRESETS: dict[str, Preset[Recipe]] = {
    "digits": Preset(
        Recipe(network=UNetSettings(**_SMALL), learning_rate=2e-3, ema_decay=0.995, **_DIGITS),
        classifier=ClassifierRecipe(
            network=EncoderSettings(**_SMALL, dropout=0.1),
            learning_rate=1e-3,
            weight_decay=0.05,
            ema_decay=0.99,
            **_DIGITS,
        ),
        about="scikit-learn's 8x8 digits, embedded: minutes on two cores",
        score=(
            "Of 100 images each at 64 ddim steps, a classifier recognises 0.98 at w = 0 and 1.00 "
            "at w = 1 (0.99 of real held-out digits): pilotage demo, seed 0"
        ),
    ),
    "mnist": Preset(
        Recipe(
            network=UNetSettings(channels=64, channel_mult=(1, 2, 2), attention_resolutions=(4,)),
            steps=30_000,
            learning_rate=5e-4,
            ema_decay=0.9995,
            **_MNIST,
        ),
        classifier=ClassifierRecipe(
            network=EncoderSettings(
                channels=32, channel_mult=(1, 2, 2), num_res_blocks=1, attention_resolutions=(4,)
            ),
            steps=10_000,
            learning_rate=3e-4,
            weight_decay=0.05,
            ema_decay=0.999,
            **_MNIST,
        ),
        about="28x28 handwritten digits, from the hub or --data",
    ),
    "cifar10": Preset(
        Recipe(
            network=UNetSettings(
                channels=128,
                channel_mult=(1, 2, 2),
                num_res_blocks=3,
                attention_resolutions=(2, 4),
                head_channels=64,
                dropout=0.1,
            ),
            steps=200_000,
            learning_rate=2e-4,
            betas=(0.9, 0.999),
            ema_decay=0.9999,
            **_CIFAR10,
        ),
        classifier=ClassifierRecipe(
            network=EncoderSettings(
                channels=64, channel_mult=(1, 2, 2), attention_resolutions=(2, 4), dropout=0.1
            ),
            steps=60_000,
            learning_rate=3e-4,
            weight_decay=0.05,
            ema_decay=0.999,
            **_CIFAR10,
        ),
        about="32x32 colour photographs of ten classes, from the hub or --data",
    ),
}

CLASSIFIER_PRESETS: dict[str, Preset[ClassifierRecipe]] = {
    name: Preset(preset.classifier, preset.about)
    for name, preset in PRESETS.items()
    if preset.classifier is not None
}

# --- denoising diffusion GANs -------------------------------------------------------------------

_TINY_GAN = AdversarialRecipe(
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
_PAPER_GAN = AdversarialRecipe(
    data="uoft-cs/cifar10",
    network=GeneratorSettings(
        channels=128, channel_mult=(1, 2, 2, 2), attention_resolutions=(2,), latent_layers=4
    ),
    discriminator=DiscriminatorSettings(channels=64),
    flip=True,
    p_uncond=1.0,
    steps=300_000,
    batch_size=256,
    learning_rate=1.6e-4,
    discriminator_learning_rate=1.25e-4,
    r1_gamma=0.02,
    ema_decay=0.9999,
    **_DAYS,
)
_MNIST_GAN = _PAPER_GAN.replace(
    data="ylecun/mnist",
    flip=False,
    network=GeneratorSettings(channels=64, channel_mult=(1, 2, 2)),
    p_uncond=0.1,
    steps=60_000,
)

ADVERSARIAL_PRESETS: dict[str, Preset[AdversarialRecipe]] = {
    "digits": Preset(
        _TINY_GAN,
        about="scikit-learn's 8x8 digits, in four network calls",
        score="FD (in-domain) 3.6, recall 0.31 of 500 images: pilotage study trilemma, seed 0",
    ),
    "stacked-digits": Preset(
        _TINY_GAN.replace(data="stacked:digits", p_uncond=1.0),
        about="three of them as three channels: 1000 modes",
    ),
    "25-gaussians": Preset(
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
        score="All 25 for seeds 0 to 4, with 97% to 99% of samples within 3 standard deviations",
    ),
    "mnist": Preset(_MNIST_GAN, about="28x28 handwritten digits, from the hub or --data"),
    "stacked-mnist": Preset(
        _MNIST_GAN.replace(data="stacked:ylecun/mnist", size=(32, 32), p_uncond=1.0),
        about="three MNIST digits as three channels: 1000 modes",
    ),
    "cifar10": Preset(_PAPER_GAN, about="32x32 colour photographs without labels, as in the paper"),
}


def compared_denoiser(name: str) -> Recipe:
    """The denoiser that a GAN's preset is compared with.

    It is that of the same name, or of what is stacked; else the digits' one on the same data.
    """
    same = name.removeprefix("stacked-")
    recipe = PRESETS[same if same in PRESETS else "digits"].recipe
    return recipe.replace(data=ADVERSARIAL_PRESETS[name].recipe.data)


# --- denoisers on captions ----------------------------------------------------------------------

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

TEXT_PRESETS: dict[str, Preset[TextRecipe]] = {
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
            **_HOURS,
        ),
        about="your own captioned images (--data FOLDER)",
    ),
}

# by the ``task`` of their recipes
PRESETS_OF: dict[str, Mapping[str, Preset[TrainingRecipe]]] = {
    "denoiser": PRESETS,
    "classifier": CLASSIFIER_PRESETS,
    "gan": ADVERSARIAL_PRESETS,
    "captioned": TEXT_PRESETS,
}
