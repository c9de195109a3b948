"""Arguments of the published training script, converted to settings, and published trainings.

The trainings are named after their data, as in the script. The facts are those of ``readme.md`` in
NVlabs/denoising-diffusion-gan (each data set's command) and of ``train_ddgan.py`` there (what a
command leaves out: three maps of the latent after the first, 100 numbers in it, attention at 16
pixels, an average of 0.9999; and by data set the discriminator and the mirroring). Batches are
those of all processes together. Weights were released of ``cifar10`` and ``celeba_256``. For its
``stackmnist`` no command is published.
"""

from typing import Any

from pilotage.models.run_folder import IMPORTED
from pilotage.settings import AdversarialRecipe, DiscriminatorSettings, GeneratorSettings

# keywords of the published network, ours, and that code's defaults
KEYWORDS: dict[str, tuple[str, Any]] = {
    "num_res_blocks": ("num_res_blocks", 2),
    "dropout": ("dropout", 0.0),
    "resamp_with_conv": ("resample_conv", True),
    "fir": ("fir", True),
    "fir_kernel": ("fir_kernel", (1, 3, 3, 1)),
    "skip_rescale": ("skip_rescale", True),
    "progressive_combine": ("progressive_combine", "sum"),
    "progressive": ("progressive", "none"),
    "progressive_input": ("progressive_input", "residual"),
    "fourier_scale": ("fourier_scale", 16.0),
    "centered": ("centered", True),
}
BLOCKS = {"biggan": "biggan", "biggan_oneadagn": "biggan_one", "ddpm": "ddpm"}
# those that are inferred from the tensors if absent
READ_OFF = {"num_channels_dae", "num_channels", "nz", "z_emb_dim", "n_mlp", "conditional"}
GENERATOR = {
    *KEYWORDS,
    *READ_OFF,
    *("ch_mult", "image_size", "attn_resolutions", "resblock_type"),
    *("embedding_type", "not_use_tanh"),
}
DISCRIMINATOR = {"cls", "nc", "ngf", "t_emb_dim", "act"}
# further arguments of the published training script, accepted and ignored
TRAINING = {
    *("seed", "resume", "exp", "dataset", "batch_size", "num_epoch", "lr_g", "lr_d", "no_lr_decay"),
    *("use_geometric", "beta_min", "beta_max", "num_timesteps", "t_emb_dim", "ngf"),
    *("beta1", "beta2", "use_ema", "ema_decay", "r1_gamma", "lazy_reg"),
    *("save_content", "save_content_every", "save_ckpt_every"),
    *("num_proc_node", "num_process_per_node", "node_rank", "local_rank", "master_address"),
    *("world_size", "global_rank", "global_size"),
}

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
