"""Run folders with made-up numbers, for the report alone: nothing of them is a result."""

import hashlib
import json
import math

import numpy as np
from PIL import Image

from pilotage.models.run_folder import Card, DataFacts, write_card
from pilotage.settings import ClassifierRecipe, Recipe

IN_DOMAIN = {
    "name": "in-domain",
    "hash": "ab" * 32,
    "dimensions": 64,
    "resize": "none",
    "accuracy": 0.98,
}
REFERENCE = {"data": "digits", "split": "train", "n": 1618, "hash": "cd" * 32}
FACTS = DataFacts(
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
    train=1618,
    held_out=179,
    fingerprint="cd" * 32,
)


def make_run(folder, p_uncond=0.1, training=True, health=True):
    """A run folder with a card, and training and health curves if wanted."""
    folder.mkdir(parents=True)
    write_card(folder, Card(Recipe(p_uncond=p_uncond), FACTS))
    noise = np.random.default_rng(int(p_uncond * 100))
    if training:
        lines = [_training(step, noise) for step in range(10, 1001, 10)]
        write_lines(folder / "metrics.jsonl", lines)
    if health:
        lines = [_health(step, noise) for step in range(100, 1001, 100)]
        write_lines(folder / "health.jsonl", lines)
    return folder


def make_classifier(folder, levels=True):
    """A classifier's run folder, with training curves, and noise levels if wanted."""
    folder.mkdir(parents=True)
    write_card(folder, Card(ClassifierRecipe(), FACTS))
    noise = np.random.default_rng(7)
    lines = [_training(step, noise) for step in range(10, 1001, 10)]
    for line in lines:
        line["loss"] = 0.4 + 1.9 * math.exp(-line["step"] / 200)
        line["accuracy"] = float(0.8 - 0.7 * math.exp(-line["step"] / 200))
    write_lines(folder / "metrics.jsonl", lines)
    if levels:
        lines = [levels_line(step) for step in (500, 1000)]
        write_lines(folder / "noise_levels.jsonl", lines)
    return folder


def levels_line(step):
    """A line of noise_levels.jsonl: better with more steps and less noise."""
    return {"step": step, "images": "held out", "levels": [_level(k, step) for k in range(10)]}


def _level(part, step):
    u = (part + 0.5) / 10
    lam = -2 * math.log(math.tan(math.pi / 2 * (0.0001 + 0.9998 * u)))
    skill = min(1, step / 1000) / (1 + math.exp(-lam - 1))
    return {
        "u": u,
        "lam": lam,
        "accuracy": 0.1 + 0.88 * skill,
        "confidence": 0.15 + 0.8 * skill,
        "calibration_error": 0.05 - 0.03 * skill,
        "log_loss": 2.3 - 2.2 * skill,
    }


def _training(step, noise):
    return {
        "step": step,
        "loss": float((0.04 + math.exp(-step / 150)) * noise.normal(1, 0.08)),
        "grad_norm": float(0.3 + noise.gamma(2, 0.1)),
        "learning_rate": 2e-3 * min(1, step / 100),
    }


def _health(step, noise):
    drift = float(0.4 * math.exp(-step / 200) + noise.uniform(0, 0.02))
    said = ["samples' channel means are 0.31 of the data's away"] if step < 300 else []
    return {
        "step": step,
        "channel_mean_drift": {"0": drift, "1": -drift / 2},
        "clipped_fraction": float(0.02 + noise.uniform(0, 0.01)),
        "spread_ratio": float(1 - 0.3 * math.exp(-step / 300)),
        "ema_raw_gap": float(0.2 * math.exp(-step / 400)),
        "nearest_train_distance": float(0.3 + noise.uniform(0, 0.02)),
        "warnings": said,
    }


def sample_row(w, steps=64, **changes):
    """A row of a sweep whose numbers have the paper's shape; changed as asked."""
    p_uncond = changes.get("p_uncond", 0.1)
    sampler = changes.get("sampler", "ancestral")
    worse = 1 + p_uncond / 2 + 16 / steps
    frechet = (1.4 + 6 * (math.sqrt(w + 0.02) - 0.5) ** 2) * worse
    key = f"{changes.get('run_hash', '11')}{p_uncond}{w}{steps}{sampler}{changes.get('n', 2000)}"
    row = {
        "id": hashlib.sha256(key.encode()).hexdigest()[:16],
        "kind": "sample",
        "run": "runs/digits",
        "run_hash": "11" * 32,
        "step": 1000,
        "p_uncond": p_uncond,
        "w": w,
        "guidance_scale": 1 + w,
        "steps": steps,
        "sampler": sampler,
        "v": 0.3 if sampler == "ancestral" else None,
        "eta": 0.0 if sampler == "ddim" else None,
        "n": 2000,
        "seeds": [0, 2000],
        "extractor": IN_DOMAIN,
        "reference": REFERENCE,
        "convention": "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w",
        "code": "0.1.0",
        "metrics": {
            "frechet": [frechet, 0.012 + frechet / 90],
            "spatial_frechet": [frechet * 3.1, 0.09],
            "inception_score": [8.4 + 1.3 * (1 - math.exp(-1.3 * w)) - 4 / steps, 0.031],
            "precision": [0.78 + 0.18 * (1 - math.exp(-w)), 0.006],
            "recall": [0.75 * math.exp(-0.35 * w), 0.009],
            "density": [0.9 + 0.2 * w / (1 + w), math.nan],
            "coverage": [0.93 - 0.05 * w, 0.007],
            "kernel": [frechet / 2000, 0.00004],
            "accuracy": [min(1.0, 0.93 + 0.03 * w), 0.004],
            "clipped_fraction": [0.21 + 0.04 * w, 0.002],
        },
        "network_calls": steps * 32,
        "seconds": 12.3 * steps / 64,
        "preview": None,
    }
    return row | changes


def measured(w, frechet, score=(9.0, 0.1), **changes):
    """A row with these two numbers only."""
    metrics = {"frechet": list(frechet), "inception_score": list(score)}
    return sample_row(w, metrics=metrics, **changes)


def classifier_row(w, **changes):
    """A row guided by a classifier; w = 0 is the row without guidance, but for its id."""
    row = sample_row(w / 4, steps=changes.get("steps", 64), p_uncond=changes.get("p_uncond", 0.1))
    del row["guidance_scale"]
    row |= {
        "w": w,
        "guidance": "classifier",
        "classifier": "runs/clf",
        "classifier_step": 1000,
        "classifier_hash": "5b" * 32,
        "classifier_free_w": 0.0,
        "classifier_shift": "eps",
        "convention": "eps - w * sigma * grad log p(c | z), of the model at classifier_free_w",
    }
    row |= changes
    decides = ("run_hash", "w", "steps", "classifier_hash", "classifier_free_w", "classifier_shift")
    key = " ".join(str(row[name]) for name in decides)
    return row | {"id": changes.get("id", hashlib.sha256(key.encode()).hexdigest()[:16])}


def real_row(**changes):
    """The floor: what real images reach."""
    row = {
        "id": "f" * 16,
        "kind": "real",
        "run": "runs/digits",
        "n": 179,
        "extractor": IN_DOMAIN,
        "reference": REFERENCE,
        "code": "0.1.0",
        "metrics": {
            "frechet": [0.93, 0.05],
            "spatial_frechet": [3.2, 0.2],
            "inception_score": [9.32, 0.08],
            "precision": [0.91, 0.02],
            "recall": [0.86, 0.01],
        },
        "preview": None,
    }
    return row | changes


def write_lines(path, lines):
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_sweep(folder, rows):
    """The table of a run."""
    write_lines(folder / "sweep" / "rows.jsonl", rows)


def write_preview(folder, row, sharpness):
    """A strip of made-up pictures, and its name in the row."""
    name = f"sweep/previews/{row['id']}.png"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image = np.full((19, 107), 255, np.uint8)
    for k in range(20):
        cell = np.random.default_rng(k).normal(size=(8, 8))
        top, left = k // 10 * 11, k % 10 * 11
        image[top : top + 8, left : left + 8] = np.clip(128 + 60 * sharpness * cell, 0, 255)
    Image.fromarray(image).save(folder / name)
    return row | {"preview": name}


def likelihood_line(steps="inf", bits=2.6, error=0.03, **changes):
    """A line of likelihood.jsonl."""
    line = {
        "bits_per_dimension": [bits, error],
        "prior": [0.004, 0.00001],
        "reconstruction": [0.007, 0.0006],
        "diffusion": [bits - 0.011, error],
        "n": 300,
        "steps": steps,
        "evaluations": 64,
        "unconditional": False,
        "v": None,
        "seed": 0,
        "run": "runs/digits",
        "weights": "ema",
        "training_step": 1000,
        "schedule": "linear_lam",
        "lam_min": -5.0,
        "lam_max": 13.3,
        "data": {"data": "digits", "split": "held out", "hash": "ef" * 32},
        "code": "0.1.0",
    }
    return line | changes


def write_likelihood(folder, *lines):
    """The likelihoods of a run."""
    write_lines(folder / "likelihood.jsonl", lines)
