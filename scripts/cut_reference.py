"""Cut the small reference set out of the large one: ``python scripts/cut_reference.py FOLDER OUT``.

FOLDER holds the recorded values of the public reference codes, one ``NAME.safetensors`` and one
``NAME.json`` for each case; OUT gets the same layout with less in it. `KEPT` says which tensors
stay and `CUT` which of their rows. Nothing is computed anew: what stays is what was recorded.

Large tensors that are a seed's normal numbers are not stored. They are listed in the JSON under
``drawn``, from which ``tests/reference/drawn.py`` makes them again; here it is checked that those
are the recorded ones, bit for bit.
"""

import argparse
import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))
from drawn import drawn, filled, fingerprint

Tensors = dict[str, Tensor]

KEPT = {
    "adm_unet": (r"model/.+", r"in/.+", r"out/timestep_embedding", r"out/output(_f64)?"),
    "adm_classifier": (r"model/.+", r"in/.+", r"out/.+"),
    "gaussian_diffusion": (
        r"tiny_model/.+",
        r"in/.+",
        r"schedule/cosine1000/alphas_cumprod",
        r"schedule/cosine400/betas",
        r"respaced/(?!1000:(250|50|ddim50)/).+",
        r"out/f64/cosine/q\.(q_sample|post_mean|post_logvar)",
        r"out/f64/cosine/p_mean_variance/EPSILON/LEARNED_RANGE/clip0\.mean",
        r"out/f64/cosine/p_mean_variance/START_X/FIXED_SMALL/clip1\.variance",
        r"out/f64/cosine/p_mean_variance/PREVIOUS_X/LEARNED_RANGE/clip1\.pred_xstart",
        r"out/f64/cosine/p_sample/cond1\.sample",
        r"out/f32/cosine/p_sample/cond0\.sample",
        r"out/f64/cosine/ddim_sample/eta0\.5/cond1\.sample",
        r"out/f32/cosine/ddim_sample/eta0\.0/cond0\.sample",
        r"out/f64/cosine/condition\.score_pred_xstart",
        r"out/f64/cosine/ddim_reverse\.sample",
        r"out/f64/respaced_rescaled/.+/cond1\.(ddim|ts_.+)",
        r"out/f64/training_losses/cosine.+",
        r"out/f64/training_losses/linear1000/START_X/.+",
        r"out/f32/training_losses_grad/.+",
        r"out/f32/training_losses/cosine1000/EPSILON/LEARNED_RANGE/.+",
        r"out/f64/linear/vb_terms\.(output|decoder_ll)",
        r"out/f32/linear/vb_terms\.output",
        r"out/f64/normal_kl\.(kl|prior|prior_cos)",
        r"out/f64/calc_bpd_loop/clip1\..+",
        r"out/f32/calc_bpd_loop/clip0\..+",
        r"out/f64/loop/(p|ddim0|ddimeta)/cond1\..+",
        r"out/f32/loop/(p|ddimeta)/cond0\..+",
    ),
    "glide_text2im": (
        r"(model|superres|inpaint)/.+",
        r"in/.+",
        r"out/(xf_proj|xf_out_f64|guided_f64|ts_given_to_model)",
        r"out/(superres|inpaint|p_sample_clip1|ddim_sample)",
        r"respaced/.+",
        r"tokenizer/.+",
    ),
    "ddgan": (
        r"schedule/.+",
        r"net(G|D|D_large)/.+",
        r"in/(?!large_).+",
        r"out/f32/(q_pairs_x_tp1|generator|sample_from_model)",
        r"out/f../(z_embedding|gradD\.end_linear.+|D_(real|fake|after).*|err.+)",
        r"out/f../(G_logits.+|grad_penalty|grad._norms.*)",
    ),
    "vdm": (
        r"in/(?!score_).+",
        r"params/.+",
        r"out/f64/gamma/.+",
        r"out/f32/gamma/learnable_nnet/.+",
        r"out/f64/loss/(fixed/T0/antithetic|learnable_scalar/T10/given_t)/.+",
        r"out/f64/loss/learnable_nnet/T./given_t/.+",
        r"out/f32/loss/learnable_nnet/T10/antithetic/.+",
        r"out/f64/sample/(fixed/T10/i9|learnable_scalar/T10/i5|learnable_nnet/T10/i0)",
        r"out/f32/sample/learnable_nnet/T10/i5",
        r"out/f64/(generate_x|generate_x_z0)/learnable_nnet",
        r"out/f64/(encode|fourier_.+|logprob_.+)",
        r"out/f../timestep_embedding",
        r"out/f32/(fourier_6_8|logprob_.+|generate_x/fixed)",
    ),
    "samplers": (
        r"mog/.+",
        r"in/.+",
        r"out/.+",
        r"k/.+",
        r"d/alphas_cumprod_f64",
        r"d/ddim/.+",
        r"d/dpmpp/linspace/midpoint2/(timesteps|trajectory.*)",
    ),
    "metrics": (r"in/.+", r"out/(?!(mu|sigma|radii_sq)_fake|kid_subset_idx|kid_per_subset).+"),
    "guiders": (
        r"in/.+",
        r"out/cfg(_original)?_f64",
        r"out/(cfg|cfg_interval|apg_momentum)",
    ),
}

# Which rows of a batch stay. GLIDE's has conditions in one half and the empty one in the other.
ROWS = {
    "adm_unet": [1],
    "adm_classifier": [1],
    "gaussian_diffusion": [0, 2],
    "glide_text2im": [1, 3],
}

Part = Callable[[Tensor], Tensor]
CUT: dict[str, dict[str, Part]] = {
    "adm_unet": {r"(in|out)/.+": lambda t: t[ROWS["adm_unet"]]},
    "adm_classifier": {r"(in|out)/.+": lambda t: t[ROWS["adm_classifier"]]},
    "gaussian_diffusion": {
        r"in/bpd_noises": lambda t: t[:, ROWS["gaussian_diffusion"]],
        # every pixel of these chains stands alone
        r"in/(x_T|cond_target)": lambda t: t[:1, :, :2, :2],
        r"in/loop_noises|out/.+/loop/.+\.trajectory": lambda t: t[:, :1, :, :2, :2],
        r"out/.+/loop/.+\.model_ts": lambda t: t,
        r"(in|out)/.+": lambda t: t[ROWS["gaussian_diffusion"]],
    },
    "glide_text2im": {r"(in|out)/.+": lambda t: t[ROWS["glide_text2im"]]},
    "samplers": {
        r"in/x_T_unit": lambda t: t[:2],
        r"in/.+_noises|(k|d)/.+/(trajectory.*|denoised)": lambda t: t[:, :2],
    },
    "guiders": {r"(in|out)/.+": lambda t: t[:, :1]},
}


class Draws(NamedTuple):
    """Tensors that one seed gives, as `drawn` reads it."""

    prefix: str
    seed: int
    skip: int = 0  # numbers that the generator has given before
    matrices: list[float] | None = None  # gain and bounds; None for the normal numbers themselves
    names: tuple[str, ...] | None = None  # without the prefix, in order; None for whatever fits
    dim: int = 0  # along which the rows of the case are kept


ADM = [1, 0.05, 0.2]
DRAWN = {
    "adm_unet": [Draws("model/", 101, matrices=ADM)],
    "adm_classifier": [Draws("model/", 111, matrices=ADM)],
    "gaussian_diffusion": [Draws("in/", 301, 4654, names=("bpd_noises",), dim=1)],
    "glide_text2im": [
        Draws("model/", 501, matrices=ADM),
        Draws("superres/", 508, matrices=ADM),
        Draws("inpaint/", 509, matrices=ADM),
        Draws("in/", 502, 14, names=("x", "noise")),
    ],
    "ddgan": [
        Draws("netG/", 701, matrices=[1, 0.05, 0.25]),
        Draws("netD/", 704, matrices=[2, 0.05, 0.5]),
        Draws("netD_large/", 705, matrices=[2, 0.05, 0.5]),
        Draws(
            *("in/", 702, 3264),
            names=(
                *("noise_D_xtp1", "noise_D_xt", "noise_D_posterior", "z_D"),
                *("noise_G_xtp1", "noise_G_xt", "noise_G_posterior", "z_G"),
            ),
        ),
    ],
}

# facts of the JSON that say something of single outputs, by their names
OF_OUTPUTS = (
    "f32_vs_f64",
    "max_abs_f32_vs_f64",
    "f32_vs_f64_rel_to_max",
    "d_float32_tables_effect",
    "k_effect_of_float32_sigmas",
)
GONE = ("rel_to_max_f32_vs_f64", "nnet_reference_init", "diff_norms", "diffusion_coefficients_note")
MOST_STEPS = 100  # of a list of timesteps in the JSON


def main() -> None:
    """Cut every case of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the large set")
    parser.add_argument("out", type=Path, help="the folder of the small set")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        cut_case(name, asked.folder, asked.out)
    cut_tokenizer(asked.folder, asked.out)
    size = sum(path.stat().st_size for path in asked.out.rglob("*") if path.is_file())
    print(f"{size / 1000:.0f} kB in {asked.out}")


def cut_case(name: str, folder: Path, out: Path) -> None:
    """Write one case with what stays of it."""
    facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    whole = {
        key: tensor
        for key, tensor in load_file(folder / f"{name}.safetensors").items()
        if any(re.fullmatch(pattern, key) for pattern in KEPT[name])
    }
    entries = [entry(name, whole, draws) for draws in DRAWN.get(name, [])]
    tensors = {key: cut(name, key, tensor) for key, tensor in whole.items()}
    made = {key: tensor for found in entries for key, tensor in drawn(found).items()}
    if not all(torch.equal(tensor, tensors[key]) for key, tensor in made.items()):
        raise SystemExit(f"{name}: what is drawn is not what was recorded.")
    stored = {key: tensor.contiguous() for key, tensor in tensors.items() if key not in made}
    save_file(stored, out / f"{name}.safetensors")
    left = cut_facts(facts, tensors)
    if entries:
        left["drawn"] = entries
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in left.items())
    (out / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def cut(name: str, key: str, tensor: Tensor) -> Tensor:
    """The part of a tensor that the first rule for its name leaves; all of it without one."""
    for pattern, kept in CUT.get(name, {}).items():
        if re.fullmatch(pattern, key):
            return kept(tensor)
    return tensor


def entry(name: str, tensors: Tensors, draws: Draws) -> dict[str, Any]:
    """What `drawn` needs to make those tensors again, in the order in which the seed gives them.

    A tensor that the seed does not give is left out, and so stored.
    """
    left = {
        key.removeprefix(draws.prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(draws.prefix)
    }
    if draws.names is not None:
        left = {key: left[key] for key in draws.names}
    generator = torch.Generator().manual_seed(draws.seed)
    torch.rand(draws.skip, generator=generator)
    shapes = {}
    while (key := following(left, generator, draws.matrices)) is not None:
        shapes[key] = list(left.pop(key).shape)
    rows = [draws.dim, ROWS[name]] if draws.matrices is None and name in ROWS else None
    found = {**draws._asdict(), "rows": rows, "shapes": shapes}
    del found["names"], found["dim"]
    return {**found, "sha256": fingerprint(drawn(found))}


def following(
    left: Tensors, generator: torch.Generator, matrices: list[float] | None
) -> str | None:
    """Which of the tensors the generator gives next; it goes on if there is one."""
    before = generator.get_state()
    for key, tensor in left.items():
        generator.set_state(before)
        if torch.equal(filled(key, list(tensor.shape), generator, matrices), tensor):
            return key
    return None


def cut_facts(facts: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The facts about what stays, and the list of its tensors."""
    left = {key: value for key, value in facts.items() if key not in GONE}
    for key in OF_OUTPUTS:
        if isinstance(left.get(key), dict) and "max_abs" not in left[key]:
            found = {of: v for of, v in left[key].items() if any(of in name for name in tensors)}
            left[key] = {of: measured(value) for of, value in found.items()}
    if "configs" in left:
        left["configs"] = {k: v for k, v in left["configs"].items() if f"out/{k}" in tensors}
    if "space_timesteps" in left:
        asked = left["space_timesteps"].items()
        left["space_timesteps"] = {k: steps for k, steps in asked if len(steps) <= MOST_STEPS}
    if "antithetic_arange_wrong_length_for_batch" in left:
        del left["antithetic_arange_wrong_length_for_batch"][8:]
    left["tensors"] = {
        key: [str(tensors[key].dtype).removeprefix("torch."), list(tensors[key].shape)]
        for key in left["tensors"]
        if key in tensors
    }
    return left


def measured(value: Any) -> Any:
    """Of several figures about an output, those that set a tolerance."""
    wanted = ("max_abs", "rel_to_max")
    return {k: v for k, v in value.items() if k in wanted} if isinstance(value, dict) else value


def cut_tokenizer(folder: Path, out: Path) -> None:
    """GLIDE's vocabulary, less what none of the recorded captions needs.

    A merge stays if what it makes lies within a token of a caption: so all that are used there do,
    and one that is not used cannot stand in their way, since it could not before.
    """
    source, target = folder / "glide_tokenizer", out / "glide_tokenizer"
    ids = json.loads(gzip.decompress((source / "encoder.json.gz").read_bytes()))
    version, *merges = gzip.decompress((source / "vocab.bpe.gz").read_bytes()).decode().splitlines()
    path = out / "glide_text2im.json"
    facts = json.loads(path.read_text(encoding="utf-8"))["tokenizer"]
    padded = load_file(out / "glide_text2im.safetensors")["tokenizer/padded_tokens"]
    told = {number for row in padded.tolist() for number in row}
    told |= {number for caption in facts["captions"] for number in caption["tokens"]}
    tokens = {token for token, number in ids.items() if number in told}
    kept = [m for m in merges if m and any(m.replace(" ", "") in token for token in tokens)]
    words = {merge.replace(" ", "") for merge in kept} | tokens
    left = {token: number for token, number in ids.items() if len(token) == 1 or token in words}
    target.mkdir(exist_ok=True)
    for name, text in (
        ("encoder.json.gz", json.dumps(left)),
        ("vocab.bpe.gz", "\n".join([version, *kept, ""])),
    ):
        (target / name).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
