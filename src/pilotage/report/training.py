"""What a report says of training and likelihood: curves of the logs, noise levels, bits."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pilotage.report.content import (
    Block,
    Chart,
    Dot,
    Line,
    Number,
    Rule,
    Series,
    Table,
    charts,
    printed,
    section,
    table,
)
from pilotage.report.read import Source
from pilotage.report.words import decimals, listed, measure_text, number_text, spoken, telling
from pilotage.sweep.rows import Bound, Measure

LOSSES = ("loss", "simple", "vlb", "cross_entropy", "generator_loss", "discriminator_loss")
NORMS = ("grad_norm", "generator_grad_norm", "discriminator_grad_norm")
SMOOTHED = (*LOSSES, "accuracy", *NORMS)
WINDOW, LEAST = 101, 21  # lines of the log over which a variance is taken
FEW = 15  # points of a line that also have markers
VARIANCE = "variance of the diffusion term over training"
LEVELS = "accuracy and calibration by noise level"
SHOWN = {
    "accuracy": "accuracy ↑",
    "confidence": "confidence",
    "calibration_error": "calibration error ↓",
    "log_loss": "log loss ↓",
}
PARTS = ("bits_per_dimension", "prior", "reconstruction", "diffusion")
BITS = "bits per dimension ↓"
BEYOND = 10  # inf stands where this many times the largest T would
LOG_RATIO = 4
MEANING = (
    "Bits per dimension: an upper bound of −log₂ p per dimension, mean over the images ± one "
    "standard error; lower is better. They are the sum of prior, reconstruction and diffusion. "
    "T is the number of steps of the bound, inf is continuous time. Evaluations: network calls "
    "per image that estimate diffusion."
)


def training_charts(sources: Sequence[Source]) -> list[Chart]:
    """Losses first, smoothed and logarithmic, then every other number of ``metrics.jsonl``."""
    logs = {source.label: _renamed(source) for source in sources}
    keys = _keys(logs)
    first = [key for key in (*LOSSES, "accuracy", *NORMS, "learning_rate") if key in keys]
    return [_over_steps(logs, k) for k in first + [key for key in keys if key not in first]]


def health(sources: Sequence[Source]) -> Block | None:
    """Every number of ``health.jsonl``, and the warnings; those that differ in numbers are one."""
    logs = {source.label: source.health for source in sources}
    warnings = [pair for source in sources for pair in _warnings(source)]
    drawn = [_over_steps(logs, key, smooth=False) for key in _keys(logs)]
    if not drawn and not warnings:
        return None
    said = Block("items", warnings) if warnings else Block("text", "No warning was raised.")
    return section("Training health", said, charts("health", drawn, "health curves"))


def _warnings(source: Source) -> Iterator[tuple[str, str]]:
    said = [
        (line["step"], str(text).rstrip("."))
        for line in source.health
        for text in np.atleast_1d(line.get("warnings") or [])
    ]
    frame = pd.DataFrame(said, columns=["step", "text"])
    for _, own in frame.groupby(frame["text"].str.replace(r"\d+(\.\d+)?", "#", regex=True), sort=False):
        first, last, count = own["step"].iloc[0], own["step"].iloc[-1], len(own)
        when = f"steps {first} to {last} ({count} times), lastly" if count > 1 else f"step {first}"
        yield f"{source.label}, {when}", f"{own['text'].iloc[-1]}."


def _renamed(source: Source) -> list[dict[str, Any]]:
    """The lines, a loss that is no denoiser's named so that it shares no axis with one."""
    names = {}
    if source.classifies:
        names = {"loss": "cross_entropy"}
    elif any("discriminator_loss" in line for line in source.training):
        names = {"loss": "generator_loss", "grad_norm": "generator_grad_norm"}
    return [{names.get(key, key): value for key, value in line.items()} for line in source.training]


def _keys(logs: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [line for own in logs.values() for line in own]
    found = [k for line in lines for k, v in line.items() if k != "step" and scalar(v) is not None]
    return list(dict.fromkeys(found))


def scalar(value: Any) -> float | None:
    """A finite number; of a list or an object of numbers the one furthest from zero."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return max((x for x in map(scalar, parts) if x is not None), key=abs, default=None)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _curve(lines: Sequence[dict[str, Any]], key: str) -> pd.Series:
    """The numbers of that name by step."""
    found = {line["step"]: scalar(line.get(key)) for line in lines}
    return pd.Series(found, dtype=float).dropna()


def _over_steps(
    logs: dict[str, list[dict[str, Any]]], key: str, smooth: bool | None = None
) -> Chart:
    series, name = [], key.replace("_", " ")
    smooth = key in SMOOTHED if smooth is None else smooth
    lowest = math.inf
    for k, (label, lines) in enumerate(logs.items()):
        values = _curve(lines, key)
        if values.empty:
            continue
        lowest = min(lowest, values.min())
        if smooth:
            series.append(Series(label, _dots(values, label), k, faint=True))
            values = values.ewm(alpha=1 / max(1.0, len(values) / 40)).mean()
        marker = 0 if len(values) < FEW else -1
        series.append(Series(label, _dots(values, label), k, marker=marker))
    log = key in LOSSES and 0 < lowest < math.inf
    return Chart(f"{name} (smoothed)" if smooth else name, "step", "", series, log_y=log)


def _dots(values: pd.Series, label: str) -> list[Dot]:
    return [Dot(x, y, tip=f"{label}, step {x:g}\n{y:.4g}") for x, y in values.items()]


def variance_charts(sources: Sequence[Source]) -> list[Chart]:
    """How much the diffusion term of the bound varies over training, of runs that log it."""
    found = [
        Series(source.label, _dots(values, source.label), k, marker=-1)
        for k, source in enumerate(sources)
        if not (values := _variance(source)).empty
    ]
    return [Chart(VARIANCE, "step", "(bits per dimension)²", found, log_y=True)] if found else []


def _variance(source: Source) -> pd.Series:
    """The variance around the running mean by step, in (bits per dimension)²."""
    values = _curve(source.training, "diffusion")
    window = min(WINDOW, len(values) // 3)
    window -= 1 - window % 2
    if window < LEAST:
        return pd.Series(dtype=float)
    found = moving_variance(values / (math.prod(source.data.shape) * math.log(2)), window)
    return found[found > 0]


def moving_variance(values: pd.Series, window: int) -> pd.Series:
    """Variance around the running mean, over windows of an odd number of values.

    Without a bias where a trend is linear: the middle of a window is part of its mean, so that
    the residuals of independent values have 1 − 1/window of their variance. There are window − 1
    values fewer at each end.
    """
    residuals = values - values.rolling(window, center=True).mean()
    found = (residuals**2).rolling(window, center=True).mean() * window / (window - 1)
    return found.dropna()


def classifiers(sources: Sequence[Source]) -> Block | None:
    """Accuracy and calibration of classifiers by noise level: a chart and a table of the newest."""
    shown = [source for source in sources if source.classifies and source.levels]
    caption = (
        "lam is the log signal-to-noise ratio: noise on the left, clean images on the right. "
        "Confidence is the mean probability of the likeliest class, the calibration error its mean "
        "distance from the accuracy, over bins of confidence."
    )
    drawn = charts("levels", [_levels_chart(s, len(shown) > 1) for s in shown], LEVELS, caption)
    return section("Noisy classifiers", drawn, *(table(_levels_table(s)) for s in shown))


def _levels_chart(source: Source, named: bool) -> Chart:
    levels = source.levels[-1].levels
    series = [
        Series(spoken(key), [Dot(x["lam"], x[key], tip=f"{spoken(key)} {x[key]:.3f}\nlam "
               f"{x['lam']:.3g}") for x in levels], k, k, k)
        for k, key in enumerate(("accuracy", "confidence", "calibration_error"))
    ]  # fmt: skip
    count = len(source.data.classes)
    rules = [Rule("chance", 1 / count)] if count else []
    return Chart(f"{LEVELS}, {source.label}" if named else LEVELS, "lam", "", series, rules)


def _levels_table(source: Source) -> Table:
    newest, count = source.levels[-1], len(source.data.classes)
    chance = f"; chance is {1 / count:.3g}" if count else ""
    caption = f"{source.label} at step {newest.step}, on {newest.images} images{chance}."
    lines = [
        Line(f"{level['lam']:.3g}", [(Number(f"{level[key]:.3f}"),) for key in SHOWN])
        for level in newest.levels
    ]
    return Table(caption, "lam", list(SHOWN.values()), lines)


def coded(sources: Sequence[Source]) -> list[pd.DataFrame]:
    """Bounds that compare: a frame for each data and number of images, a line per bound.

    Of bounds that agree in all that decides them the newest counts. Columns: ``run``, ``free``
    (unconditional), ``T``, what else decides, and ``bound``.
    """
    found = []
    for source in sources:
        conditional = bool(source.data.classes) and source.p_uncond != 1
        for bound in source.bounds:
            T = math.inf if bound.steps == "inf" else float(bound.steps)
            whole = bound.timesteps is not None or bound.evaluations > T
            found.append(
                {
                    "run": source.label,
                    "free": bound.unconditional or not conditional,
                    "weights": bound.weights,
                    "v": -1.0 if bound.v is None else bound.v,
                    "n": bound.n,
                    "hash": bound.data["hash"],
                    "T": T,
                    "evaluations": int(T) if whole else bound.evaluations,
                    "seed": bound.seed,
                    "step": bound.training_step,
                    "bound": bound,
                }
            )
    if not found:
        return []
    frame = pd.DataFrame(found)
    parts = [part for _, part in frame.groupby(["hash", "n"], sort=False)]
    return [part.drop_duplicates(list(frame.columns[:-1]), keep="last") for part in parts]


def codecs(frame: pd.DataFrame, sources: Sequence[Source]) -> dict[str, float]:
    """Bits per dimension of lossless codecs on the same images, the newest."""
    key = frame["hash"].iloc[0], frame["n"].iloc[0]
    bounds = [b for s in sources for b in s.bounds if (b.data["hash"], b.n) == key]
    return {name: bits for bound in bounds for name, bits in bound.codecs.items()}


def likelihood(sources: Sequence[Source]) -> Block | None:
    """Bits per dimension by model and T, as tables and as charts."""
    frames = coded(sources)
    if not frames:
        return None
    drawn = [bits_chart(frame, sources, len(frames) > 1) for frame in frames]
    caption = (
        "Bars are one standard error; inf is continuous time. Where a curve has several rows of "
        "one T, that with the most evaluations is drawn. Grey dashes: lossless codecs."
    )
    said = (
        "Variance of the diffusion term in the training log, a mean over a batch, around its "
        f"running mean; both over {WINDOW} logged lines, or a third of a shorter log. It tells "
        "something only where a logged line is one step (log_every 1), and compares runs of one "
        "batch size: a line that is the mean of several steps varies less."
    )
    return section(
        "Likelihood",
        *(table(_bits_table(frame, codecs(frame, sources))) for frame in frames),
        charts("likelihood", drawn, "bits per dimension", caption),
        charts("variance", variance_charts(sources), VARIANCE, said),
    )


def _bits_table(frame: pd.DataFrame, others: dict[str, float]) -> Table:
    bounds: list[Bound] = list(frame["bound"])
    digits = {part: decimals(getattr(bound, part) for bound in bounds) for part in PARTS}
    lines = []
    for (run, free, weights, v), own in frame.groupby(["run", "free", "weights", "v"], sort=False):
        title = [run, "unconditional" if free else "conditional"]
        title += ["latest weights"] if weights == "model" else []
        lines.append(Line(", ".join(title + ([f"v = {v:g}"] if v >= 0 else [])), kind="title"))
        for row in own.sort_values(["T", "step", "evaluations", "seed"]).itertuples():
            found = [printed(getattr(row.bound, part), digits[part]) for part in PARTS]
            found += [Number(str(count)) for count in (row.evaluations, row.seed, row.step)]
            lines.append(Line(f"{row.T:.0f}", [(number,) for number in found]))
    for name, bits in others.items():
        found = [Number(number_text(bits, digits[PARTS[0]])), *[Number("")] * 6]
        lines.append(Line(name, [(number,) for number in found], "floor"))
    data = listed(dict.fromkeys(str(b.data["data"]) for b in bounds if b.data.get("data")))
    said = f"Held-out images of {data or 'data'} ({_images(frame)}). {MEANING}"
    said += " At the end: lossless codecs, on the same images." if others else ""
    columns = (BITS, *PARTS[1:], "evaluations", "seed", "training step")
    return Table(said, "T", columns, lines)


def _images(frame: pd.DataFrame) -> str:
    return f"n = {frame['n'].iloc[0]}, hash {frame['hash'].iloc[0]:.12}"


def bits_chart(frame: pd.DataFrame, sources: Sequence[Source], named: bool) -> Chart:
    """The bound over T, a curve per model; T = inf stands at the right end."""
    finite = sorted({T for T in frame["T"] if math.isfinite(T)})
    end = BEYOND * finite[-1] if finite else 1.0
    runs, series = [source.label for source in sources], []
    for run, part in frame.groupby("run", sort=False):
        keys = ["free", "weights", "v", "step"]
        curves = [(dict(zip(keys, key, strict=True)), own) for key, own in part.groupby(keys)]
        names = telling([_facts(key) for key, _ in curves])
        for k, (name, (_, own)) in enumerate(zip(names, curves, strict=True)):
            own = own.sort_values(["T", "evaluations"]).drop_duplicates("T", keep="last")
            label = ", ".join(filter(None, (run, name)))
            dots = [d for row in own.itertuples() if (d := _bit(row.T, end, row.bound, label))]
            series.append(Series(label, dots, runs.index(run), k % 4, k % 4))
    others = codecs(frame, sources)
    rules = [Rule(name, bits, 1 + k % 3) for k, (name, bits) in enumerate(others.items())]
    ticks = [(T, f"{T:g}") for T in finite] if len(finite) < 7 else []
    ticks = ticks or [(10.0**k, f"{10**k}") for k in range(7) if finite and 10**k <= finite[-1]]
    ticks += [(end, "inf")] if math.inf in set(frame["T"]) else []
    values = [dot.y for one in series for dot in one.dots]
    log = bool(values) and 0 < LOG_RATIO * min(values) < max(values)
    title = "bits per dimension over T" + (f", {_images(frame)}" if named else "")
    return Chart(title, "T", BITS, series, rules, True, log, ticks)


def _facts(key: dict[str, Any]) -> dict[str, str]:
    """What may tell the curves of a run apart."""
    return {
        "free": "unconditional" if key["free"] else "conditional",
        "weights": "averaged weights" if key["weights"] == "ema" else "latest weights",
        "v": "its own v" if key["v"] < 0 else f"v = {key['v']:g}",
        "step": f"step {key['step']}",
    }


def _bit(T: float, end: float, bound: Bound, label: str) -> Dot | None:
    bits: Measure = bound.bits_per_dimension
    if not math.isfinite(bits.value):
        return None
    tip = f"{label}, T = {bound.steps}\n{measure_text(bits, 3)} bits per dimension"
    return Dot(min(T, end), bits.value, bits.bar, tip=tip)
