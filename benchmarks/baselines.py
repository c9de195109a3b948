"""The other side: the network alone, a plain loop, and Hugging Face diffusers."""

from collections.abc import Callable

import torch
from subject import Subject, W
from torch.nn.functional import mse_loss

from pilotage.training.learner import adamw


def bare_network_calls(subject: Subject, steps: int) -> Callable[[], None]:
    """The calls that no guided sampler can avoid: both branches in one batch, and nothing else."""
    network = subject.network.eval()
    z = torch.cat([subject.z, subject.z])
    cond = torch.cat([subject.labels, torch.full_like(subject.labels, subject.null)])
    time = torch.full((len(z),), 500.0, device=subject.device)

    @torch.no_grad()
    def run() -> None:
        for _ in range(steps):
            network(z, time, cond)

    return run


def hand_written_loop(subject: Subject, steps: int) -> Callable[[], None]:
    """Guided DDIM with v-prediction and clipping as one would write it for one model."""
    network = subject.network.eval()
    cond = torch.cat([subject.labels, torch.full_like(subject.labels, subject.null)])
    angles = torch.linspace(1 - 1e-4, 1e-4, steps, dtype=torch.float64) * torch.pi / 2
    levels = [(float(a.cos()), float(a.sin())) for a in angles] + [(1.0, 0.0)]
    times = [1000 * float(a) * 2 / torch.pi for a in angles]

    @torch.no_grad()
    def run() -> None:
        z = subject.z
        for k, time in enumerate(times):
            t = torch.full((2 * len(z),), time, device=subject.device)
            v, v_null = network(torch.cat([z, z]), t, cond).chunk(2)
            v = (1 + W) * v - W * v_null
            (a, s), (a_next, s_next) = levels[k], levels[k + 1]
            x = (a * z - s * v).clamp(-1, 1)
            z = a_next * x + s_next * (z - a * x) / s

    return run


def diffusers_sampling_loop(subject: Subject, steps: int) -> Callable[[], None]:
    """Its DDIM scheduler around the same network, guided as its pipelines do."""
    from diffusers import DDIMScheduler

    network = subject.network.eval()
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=True
    )
    cond = torch.cat([torch.full_like(subject.labels, subject.null), subject.labels])

    @torch.no_grad()
    def run() -> None:
        scheduler.set_timesteps(steps)
        z = subject.z
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([z, z]), t)
            null, given = network(both, t.to(z).expand(len(both)), cond).chunk(2)
            guided = null + (1 + W) * (given - null)
            z = scheduler.step(guided, t, z).prev_sample

    return run


def bare_training_step(subject: Subject) -> Callable[[], None]:
    """Forward, backward and optimiser on ready-made inputs."""
    network = subject.network.train()
    optimizer = adamw(network, subject.recipe)
    x, labels = subject.images()
    time = torch.rand(len(x), device=subject.device) * 1000
    target = torch.randn_like(x)

    def run() -> None:
        optimizer.zero_grad()
        mse_loss(network(x, time, labels), target).backward()
        optimizer.step()

    return run


def diffusers_training_step(subject: Subject) -> Callable[[], None]:
    """The step of its documented unconditional training script and its EMA, with dropped labels."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_constant_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    accelerator = Accelerator()
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    ema = EMAModel(subject.network.parameters(), decay=0.995, use_ema_warmup=True)
    ema.to(subject.device)
    optimizer = adamw(subject.network.train(), subject.recipe)
    rates = get_constant_schedule_with_warmup(optimizer, 100)
    network, optimizer, rates = accelerator.prepare(subject.network, optimizer, rates)
    x, labels = subject.images()

    def run() -> None:
        noise = torch.randn_like(x)
        times = torch.randint(0, 1000, (len(x),), device=x.device)
        noisy = scheduler.add_noise(x, noise, times)
        dropped = torch.rand(len(x), device=x.device) < subject.recipe.p_uncond
        with accelerator.accumulate(network):
            output = network(noisy, times.float(), torch.where(dropped, subject.null, labels))
            loss = mse_loss(output, scheduler.get_velocity(x, noise, times))
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(network.parameters(), subject.recipe.clip_norm)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
        ema.step(network.parameters())
        loss.detach().item()

    return run
