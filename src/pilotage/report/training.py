"""What a report says of training and likelihood: curves of the logs, noise levels, bits."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pilotage.report import content as c
from pilotage.report import words
from pilotage.report.read import Source
from pilotage.sweep.curves import Bounds, coded, telling
from pilotage.sweep.rows import Bound

LOSSES = ("loss", "simple", "vlb", "cross_entropy", "generator_loss", "discriminator_loss")
NORMS = ("grad_norm", "generator_grad_norm", "discriminator_grad_norm")
SMOOTHED = (*LOSSES, "accuracy", *NORMS)
WINDOW, LEAST = 101, 21  # lines of the log over which a variance is taken
FEW = 15  # points of a line that also have markers
VARIANCE = "variance of the diffusion term over training"
LEVELS = "accuracy and calibration by noise level"
SHOWN = ("accuracy", "confidence", "calibration_error", "log_loss")
HEADS = ("accuracy ↑", "confidence", "calibration error ↓", "log loss ↓")
PARTS = ("bits_per_dimension", "prior", "reconstruction", "diffusion")
BITS = "bits per dimension"
BEYOND = 10  # inf stands where this many times the largest T would
LOG_RATIO = 4
Logs = dict[str, list[dict[str, Any]]]  # lines by run


def training_charts(sources: Sequence[Source]) -> list[c.Chart]:
    """Losses first, smoothed and logarithmic, then every other number of ``metrics.jsonl``.

    A loss that is no denoiser's has a name of its own, so that it shares no axis with one.
    """
    logs: Logs = {}
    for source in sources:
        gan = any("discriminator_loss" in line for line in source.training)
        names = {"loss": "generator_loss", "grad_norm": "generator_grad_norm"} if gan else {}
        names = {"loss": "cross_entropy"} if source.classifies else names
        logs[source.label] = [
            {names.get(key, key): value for key, value in line.items()} for line in source.training
        ]
    keys = _keys(logs)
    first = [key for key in (*LOSSES, "accuracy", *NORMS, "learning_rate") if key in keys]
    rest = [key for key in keys if key not in first]
    return [_over_steps(logs, key, key in SMOOTHED) for key in first + rest]


def health(sources: Sequence[Source]) -> c.Block | None:
    """Every number of ``health.jsonl``, and the warnings; those that differ in numbers are one."""
    logs = {source.label: source.health for source in sources}
    warnings = [pair for source in sources for pair in _warnings(source)]
    drawn = [_over_steps(logs, key, smooth=False) for key in _keys(logs)]
    if not drawn and not warnings:
        return None
    said = c.Block("items", warnings) if warnings else c.Block("text", "No warning was raised.")
    return c.section("Training health", said, c.charts("health", drawn, "health curves"))


def _warnings(source: Source) -> Iterator[tuple[str, str]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for line in source.health:
        for text in np.atleast_1d(line.get("warnings") or []):
            kind = re.sub(r"\d+(\.\d+)?", "#", str(text))
            found.setdefault(kind, []).append((line["step"], str(text).rstrip(".")))
    for (first, text), *more in found.values():
        when = f"step {first}"
        if more:
            last, text = more[-1]
            when = f"steps {first} to {last} ({len(more) + 1} times), lastly"
        yield f"{source.label}, {when}", f"{text}."


def _keys(logs: Logs) -> list[str]:
    found = [pair for lines in logs.values() for line in lines for pair in line.items()]
    return list(dict.fromkeys(k for k, v in found if k != "step" and scalar(v) is not None))


def scalar(value: Any) -> float | None:
    """A finite number; of a list or an object of numbers the one furthest from zero."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return max((x for x in map(scalar, parts) if x is not None), key=abs, default=None)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _curve(lines: Sequence[dict[str, Any]], key: str) -> Any:
    """The numbers of that name by step, a pandas series."""
    found = {line["step"]: scalar(line.get(key)) for line in lines}
    return pd.Series(found, dtype=float).dropna()


def _over_steps(logs: Logs, key: str, smooth: bool) -> c.Chart:
    series, curves = [], {label: _curve(lines, key) for label, lines in logs.items()}
    for k, (label, values) in enumerate(curves.items()):
        if smooth and len(values):
            series.append(c.Series(label, _dots(values, label), k, faint=True))
            values = values.ewm(alpha=1 / max(1.0, len(values) / 40)).mean()
        if len(values):
            marker = 0 if len(values) < FEW else -1
            series.append(c.Series(label, _dots(values, label), k, marker=marker))
    name = key.replace("_", " ") + (" (smoothed)" if smooth else "")
    chart = c.Chart(name, "step", "", series)
    return chart._replace(log_y=key in LOSSES and min(chart.values) > 0)


def _dots(values: Any, label: str) -> list[c.Dot]:
    return [c.Dot(x, y, tip=f"{label}, step {x:g}\n{y:.4g}") for x, y in values.items()]


def variance_charts(sources: Sequence[Source]) -> list[c.Chart]:
    """How much the diffusion term of the bound varies over training, of runs that log it.

    The variance is that around the running mean, in (bits per dimension)².
    """
    found = []
    for k, source in enumerate(sources):
        values = _curve(source.training, "diffusion") / (math.prod(source.data.shape) * math.log(2))
        window = min(WINDOW, len(values) // 3)
        window -= 1 - window % 2
        if window >= LEAST:
            values = moving_variance(values, window)
            dots = _dots(values[values > 0], source.label)
            found += [c.Series(source.label, dots, k, marker=-1)] if dots else []
    chart = c.Chart(VARIANCE, "step", "(bits per dimension)²", found, log_y=True)
    return [chart] if found else []


def moving_variance(values: Any, window: int) -> Any:
    """Variance around the running mean, over windows of an odd number of values.

    Without a bias where a trend is linear: the middle of a window is part of its mean, so that
    the residuals of independent values have 1 − 1/window of their variance. There are window − 1
    values fewer at each end.
    """
    residuals = values - values.rolling(window, center=True).mean()
    found = (residuals**2).rolling(window, center=True).mean() * window / (window - 1)
    return found.dropna()


def classifiers(sources: Sequence[Source]) -> c.Block | None:
    """Accuracy and calibration of classifiers by noise level: a chart and a table of the newest."""
    drawn, tables = [], []
    shown = [source for source in sources if source.classifies and source.levels]
    for source in shown:
        newest, count = source.levels[-1], len(source.data.classes)
        levels: Sequence[Any] = newest.levels
        series = [
            c.Series(name, [c.Dot(x["lam"], x[key], tip=f"{name} {x[key]:.3f}, lam {x['lam']:.3g}")
                            for x in levels], k, k, k)
            for k, (key, name) in enumerate((key, key.replace("_", " ")) for key in SHOWN[:3])
        ]  # fmt: skip
        rules = [c.Rule("chance", 1 / count)] if count else []
        title = f"{LEVELS}, {source.label}" if len(shown) > 1 else LEVELS
        drawn.append(c.Chart(title, "lam", "", series, rules))
        chance = f"; chance is {1 / count:.3g}" if count else ""
        caption = f"{source.label} at step {newest.step}, on {newest.images} images{chance}."
        lines = [
            c.Line(f"{x['lam']:.3g}", [(c.Number(f"{x[key]:.3f}"),) for key in SHOWN])
            for x in levels
        ]
        tables.append(c.table(c.Table(caption, "lam", HEADS, lines)))
    caption = words.sentences(levels=True)
    return c.section("Noisy classifiers", c.charts("levels", drawn, LEVELS, caption), *tables)


def likelihood(sources: Sequence[Source]) -> c.Block | None:
    """Bits per dimension by model and T, as tables and as charts."""
    found = coded({source.label: source.bounds for source in sources})
    runs = [source.label for source in sources]
    drawn = [bits_chart(*pair, runs, named=len(found) > 1) for pair in found]
    varies = words.sentences(variance={"window": WINDOW})
    return c.section(
        "Likelihood",
        *(c.table(bits_table(*pair)) for pair in found),
        c.charts("likelihood", drawn, BITS, words.sentences(bits_chart=True)),
        c.charts("variance", variance_charts(sources) if found else [], VARIANCE, varies),
    )


def bits_table(found: Bounds, codecs: dict[str, float]) -> c.Table:
    """A row per bound under its model, and the codecs at the end."""
    digits = {part: words.decimals(getattr(b, part) for _, b in found) for part in PARTS}
    lines: list[c.Line] = []
    models: dict[str, list[Bound]] = {}
    for run, bound in found:
        facts = [bound.facts[key] for key in ("conditions", "weights", "v")]
        named = [x for x in facts if x not in ("averaged weights", "its own v")]
        models.setdefault(", ".join([run, *named]), []).append(bound)
    for title, own in models.items():
        lines.append(c.Line(title, kind="title"))
        for b in sorted(own, key=lambda b: (b.T, b.training_step, b.calls, b.seed)):
            numbers = [c.printed(getattr(b, part), digits[part]) for part in PARTS]
            numbers += [c.Number(str(x)) for x in (b.calls, b.seed, b.training_step)]
            lines.append(c.Line(f"{b.T:.0f}", [(number,) for number in numbers]))
    for name, bits in codecs.items():
        cells = [f"{bits:.{digits[BITS.replace(' ', '_')]}f}", *[""] * 6]
        lines.append(c.Line(name, [(c.Number(text),) for text in cells], "floor"))
    data = words.listed(dict.fromkeys(str(b.data.get("data") or "data") for _, b in found))
    said = words.sentences(bits={"data": data, "images": _images(found)}, codecs=bool(codecs))
    columns = (f"{BITS} ↓", *PARTS[1:], "evaluations", "seed", "training step")
    return c.Table(said, "T", columns, lines)


def _images(found: Bounds) -> str:
    return f"n = {found[0][1].n}, hash {found[0][1].data['hash']:.12}"


def bits_chart(
    found: Bounds, codecs: dict[str, float], runs: Sequence[str], named: bool
) -> c.Chart:
    """The bound over T, a curve per model; T = inf stands at the right end."""
    finite = sorted({b.T for _, b in found if math.isfinite(b.T)})
    end, series = BEYOND * finite[-1] if finite else 1.0, []
    for run in dict.fromkeys(run for run, _ in found):
        curves: dict[tuple[str, ...], dict[float, Bound]] = {}
        for b in sorted((b for label, b in found if label == run), key=lambda b: (b.T, b.calls)):
            curves.setdefault(tuple(b.facts.values()), {})[b.T] = b
        names = telling([next(iter(own.values())).facts for own in curves.values()])
        for k, (name, own) in enumerate(zip(names, curves.values(), strict=True)):
            label = ", ".join(filter(None, (run, name)))
            dots = []
            for bits, b in ((b.bits_per_dimension, b) for b in own.values()):
                tip = f"{label}, T = {b.steps}\n{words.measure_text(bits, 3)} {BITS}"
                dots.append(c.Dot(min(b.T, end), bits.value, bits.bar, tip=tip))
            dots = [dot for dot in dots if math.isfinite(dot.y)]
            series += [c.Series(label, dots, runs.index(run), k, k)] if dots else []
    rules = [c.Rule(name, bits, 1 + k % 3) for k, (name, bits) in enumerate(codecs.items())]
    powers = [10.0**k for k in range(10) if finite and finite[0] <= 10**k <= finite[-1]]
    ticks = [(T, f"{T:g}") for T in (finite if len(finite) < 7 else powers)]
    ticks += [(end, "inf")] if any(math.isinf(b.T) for _, b in found) else []
    title = f"{BITS} over T" + (f", {_images(found)}" if named else "")
    chart = c.Chart(title, "T", f"{BITS} ↓", series, rules, log_x=True, ticks=ticks)
    return chart.log_if(LOG_RATIO)
