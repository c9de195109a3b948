"""Published trainings of denoising diffusion GANs as recipes, by the script's names of their data.

The facts are those of ``readme.md`` in NVlabs/denoising-diffusion-gan (each data set's command) and
of ``train_ddgan.py`` there (what a command leaves out: three maps of the latent after the first,
100 numbers in it, attention at 16 pixels, an average of 0.9999; and by data set the discriminator
and the mirroring). Batches are those of all processes together. Weights were released of
``cifar10`` and ``celeba_256``. For its ``stackmnist`` no command is published.
"""

from pilotage.models.run_folder import IMPORTED
from pilotage.settings import AdversarialRecipe, DiscriminatorSettings, GeneratorSettings

_LARGE = {
    "data": IMPORTED,
    "size": (256, 256),
    "network": GeneratorSettings(
        channels=64, channel_mult=(1, 1, 2, 2, 4, 4), attention_resolutions=(16,)
    ),
    "discriminator": DiscriminatorSettings(size="large"),
    "flip": True,
    "p_uncond": 1.0,
    "discriminator_learning_rate": 1e-4,
    "r1_every": 10,
}

PUBLISHED_GANS: dict[str, AdversarialRecipe] = {
    "cifar10": AdversarialRecipe(
        data=IMPORTED,
        size=(32, 32),
        steps_T=4,
        network=GeneratorSettings(
            channels=128, channel_mult=(1, 2, 2, 2), attention_resolutions=(2,), latent_layers=4
        ),
        discriminator=DiscriminatorSettings(size="small"),
        flip=True,
        p_uncond=1.0,
        batch_size=256,
        learning_rate=1.6e-4,
        discriminator_learning_rate=1.25e-4,
        r1_gamma=0.02,
        r1_every=15,
        ema_decay=0.9999,
    ),
    "celeba_256": AdversarialRecipe(
        **_LARGE, steps_T=2, batch_size=32, learning_rate=2e-4, r1_gamma=2.0, ema_decay=0.9999
    ),
    "lsun": AdversarialRecipe(
        **_LARGE, steps_T=4, batch_size=64, learning_rate=1.6e-4, r1_gamma=1.0, ema_decay=0.999
    ),
}
