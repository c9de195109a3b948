"""What a report says of the rows of sweeps: the tables of the papers, curves, images, manifest."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pilotage.metrics import METRICS
from pilotage.metrics.registry import columns_of
from pilotage.report.best import ALL, aims, best_of, cards_of, curve_best, difference, told_apart
from pilotage.report.charts import STAR
from pilotage.report.content import (
    Block,
    Chart,
    Dot,
    Line,
    Number,
    Rule,
    Series,
    Strip,
    Table,
    charts,
    printed,
    section,
    table,
)
from pilotage.report.grouping import Curve, Group
from pilotage.report.words import (
    BY_CLASSIFIER,
    FREE,
    MISSING,
    capital,
    digits_of,
    direction,
    listed,
    measure_text,
    metric_name,
    size_text,
    spoken,
    w_text,
    way_text,
    with_arrow,
)
from pilotage.sweep.rows import UNKNOWN, Measure, Row, SampleRow

SCORE, DISTANCE = "inception_score", "frechet"
BEST_W = "Best w for each aim"
COSTS = (  # what guidance costs: a metric, which way is worse, and how that is said
    ("caption_diversity", -1, "diversity of a caption's images", "lower"),
    ("recall", -1, "diversity (recall)", "lower"),
    ("clipped_fraction", 1, "saturation (clipped fraction)", "higher"),
)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_COLUMNS = 16  # of images in a preview
LOG_RATIO = 20  # of the largest to the smallest value, from which an axis is logarithmic


def summary(groups: Sequence[Group]) -> Block | None:
    """The best w for each aim, by how much and how sure: what a reader wants first."""
    found = []
    for group in groups:
        cards = [
            block
            for name, cards in cards_of(group).items()
            for block in ([Block("text", name, "of")] if name else []) + [Block("cards", cards)]
        ]
        if cards and len(groups) > 1:
            cards.insert(0, Block("text", capital(group.title), "of"))
        found += cards
    return section(BEST_W, *found)


def sweep_section(group: Group, number: int) -> Block | None:
    """All about one group; its pictures end in the number, unless it is the first."""
    end = "" if number == 1 else f"-{number}"
    ways = {curve.way: curve for curve in group.curves}
    free_first = [table(over_w(group, ways[way])) for way in ways]
    return section(
        capital(group.title),
        *(Block("note", said) for said in notes(group)),
        section("Best w of every curve", table(best_table(group))),
        captioned(group, f"captions{end}"),
        section("Over w", *free_first),
        section("Classifier-free against classifier guidance at matched IS", *matched(group)),
        section("Trade-off", charts(f"curves{end}", sweep_charts(group), "trade-off curves",
                                    charts_caption(group))),  # fmt: skip
        section("Every setting", table(metrics_table(group))),
        section("Further numbers", table(further_table(group)), kind="folded"),
        samples(group, f"samples{end}"),
    )


def notes(group: Group) -> list[str]:
    """What a reader has to know before comparing numbers of this group."""
    said = []
    least = group.extractor.get("dimensions")
    few = sorted({r.n for r in group.rows if isinstance(least, int) and r.n < least})
    if few:
        said.append(
            f"With n = {listed(map(str, few))}, fewer than the {least} feature dimensions, "
            "distances are not reliable."
        )
    floors, counts = {r.n for r in group.of_kind("real")}, {r.n for r in group.samples}
    if floors and counts and floors != counts:
        said.append(
            f"The floor is measured on n = {listed(map(str, sorted(floors)))} real images, samples "
            f"on n = {listed(map(str, sorted(counts)))}: fewer images give larger distances."
        )
    return said


def best_table(group: Group) -> Table | None:
    """The best w of every curve, for each aim, if there are several curves."""
    wanted = [m for m in aims() if any(curve.points(m) for curve in group.curves)]
    if len(group.curves) < 2 or not wanted:
        return None
    digits, lines = digits_of(wanted, group.rows), []
    for curve in group.curves:
        cells = []
        for best in (best_of(curve, metric) for metric in wanted):
            ties = f"({', '.join(f'{w:g}' for w in best.ties)})" if best and best.ties else ""
            cells.append(
                (Number(f"{best.row.w:g}", ties), printed(best.measure, digits[best.metric]))
                if best
                else (Number(MISSING), Number(MISSING))
            )
        lines.append(Line(curve.label, cells))
    caption = "Best w of each curve (in brackets those not told apart from it) / its value."
    if len(group.guidances) > 1:
        caption += " Each w is that of the curve's own guidance."
    return Table(caption, "curve", [with_arrow(m, group.extractor) for m in wanted], lines)


def over_w(group: Group, first: Curve) -> Table:
    """2207.12598, Tables 1-2: rows w, columns p_uncond (or models) at each T, of one way."""
    curves = [curve for curve in group.curves if curve.way == first.way]
    metrics = [m for m in (DISTANCE, SCORE) if any(curve.points(m) for curve in curves)]
    digits, models = digits_of(metrics, group.rows), list(group.models.values())
    columns = [({row.w: row for row in c.rows}, best_values(c.rows, metrics)) for c in curves]
    lines = [
        Line(f"{w:g}", [numbers(rows.get(w), digits, best) for rows, best in columns])
        for w in sorted({w for rows, _ in columns for w in rows})
    ]
    for row in group.of_kind("bicubic", "real"):
        lines.append(Line(floor_name(row), [numbers(row, digits)] * len(columns), "floor"))
    steps = list(dict.fromkeys(curve.steps for curve in curves))
    names, spans = [f"T = {curve.steps}" for curve in curves], []
    if len(models) > 1:
        spans = [(f"T = {t}", sum(c.steps == t for c in curves)) for t in steps]
        names = [models[curve.model] for curve in curves]
    shown = " / ".join(with_arrow(m, group.extractor) for m in metrics)
    return Table(f"{shown} over w: {way_text(first.rows[0])}.", "w", names, lines, spans)


def metrics_table(group: Group) -> Table:
    """2105.05233, Tables 4-5: a row per setting, a column per metric."""
    caption = "Every setting, with the numbers that the papers give."
    if BY_CLASSIFIER in group.kinds:
        caption += " A classifier at w = 0 does not guide."
    return setting_table(group, columns_of("main"), caption)


def further_table(group: Group) -> Table | None:
    """What else was measured, if anything; metrics that are not registered come last."""
    seen = dict.fromkeys(m for row in group.rows for m in row.metrics)
    wanted = [m for m in columns_of("further") if m in seen]
    wanted += [m for m in seen if m not in METRICS]
    return setting_table(group, wanted, "Further numbers of every setting.") if wanted else None


def setting_table(group: Group, wanted: Sequence[str], caption: str) -> Table:
    """A row per setting, a column for each of these metrics that was measured."""
    metrics = [m for m in wanted if any(m in row.metrics for row in group.rows)]
    digits, best, lines = digits_of(metrics, group.rows), best_values(group.samples, metrics), []

    def line(head: str, row: Row, kind: str) -> Line:
        shown = best if kind == "row" else {}
        return Line(head, [(number,) for number in numbers(row, digits, shown)], kind)

    for curve in group.curves:
        lines += [Line(curve.label, kind="title")] if len(group.curves) > 1 else []
        lines += [line(w_text(row), row, "row") for row in curve.rows]
    images = group.of_kind("images")
    lines += [Line("other images", kind="title")] if images and group.curves else []
    lines += [line(f"{row.name} (n = {row.n})", row, "images") for row in images]
    lines += [line(floor_name(row), row, "floor") for row in group.of_kind("bicubic", "real")]
    columns = [with_arrow(m, group.extractor) for m in metrics]
    return Table(caption, "w" if group.curves else "images", columns, lines)


def floor_name(row: Row) -> str:
    """The name of the floor, or of what no model has enlarged."""
    size = row.low_res and row.kind != "real" and f" from {size_text(row.low_res['size'])}"
    return f"{row.kind}{size or ''} (n = {row.n})"


def numbers(
    row: Row | None, digits: Mapping[str, int], best: Mapping[str, float] = {}
) -> tuple[Number, ...]:
    """The metrics whose decimals are given; dashes without a row."""
    found = {m: row.measure(m) if row else UNKNOWN for m in digits}
    return tuple(printed(x, digits[m], x.value == best.get(m)) for m, x in found.items())


def best_values(rows: Iterable[Row], metrics: Iterable[str]) -> dict[str, float]:
    """The best value of each metric; NaN, which equals nothing, where no way is better."""
    rows, found = list(rows), {}
    for metric in metrics:
        sign = direction(metric)
        values = [row.metrics[metric].value for row in rows if row.has(metric)] if sign else []
        found[metric] = max(values, key=lambda value: sign * value, default=math.nan)
    return found


def matched(group: Group) -> list[Block | None]:
    """What each w of a classifier reaches, and classifier-free guidance at the same IS.

    One table per T, sampler and n that has curves of both kinds.
    """
    usable = [curve for curve in group.curves if curve.rows_with(SCORE, DISTANCE)]
    alike: dict[tuple[Any, ...], list[Curve]] = {}
    for curve in usable:
        row = curve.rows[0]
        key = row.steps, row.sampler_record["sampler"], row.sampler_record.get("eta"), row.n
        alike.setdefault(key, []).append(curve)
    return [table(_matched(group, *key, curves)) for key, curves in alike.items()]


def _matched(
    group: Group, steps: int, sampler: str, _: Any, n: int, curves: list[Curve]
) -> Table | None:
    free = [curve for curve in curves if curve.kind == FREE]
    guided = [(c, [r for r in c.rows_with(SCORE, DISTANCE) if r.w > 0]) for c in curves]
    guided = [(c, rows) for c, rows in guided if c.kind == BY_CLASSIFIER and rows]
    if not free or not guided:
        return None
    others = [m for m in ("precision", "recall") if any(m in row.metrics for row in group.rows)]
    metrics, lines = [DISTANCE, *others], []
    digits = digits_of([SCORE, *metrics], group.rows)
    for curve, rows in guided:
        lines += [Line(curve.label, kind="title")] if len(guided) > 1 else []
        for row in rows:
            there = [_at_score(c, row.metrics[SCORE].value, metrics) for c in free]
            found = [printed(t.get(m, UNKNOWN), digits[m]) for t in there for m in metrics]
            lines.append(Line(f"{row.w:g}", [(x,) for x in (*numbers(row, digits), *found)]))
    own = guided[0][0].label if len(guided) == 1 else BY_CLASSIFIER
    spans = [(own, 1 + len(metrics)), *((curve.label, len(metrics)) for curve in free)]
    names = [with_arrow(m, group.extractor) for m in (SCORE, *metrics)]
    caption = (
        "What each w of the classifier reaches, and classifier-free guidance at the same IS "
        f"(T = {steps}, {sampler}, n = {n}): linear between neighbouring w, a dash where the curve "
        "does not have that IS, the lower distance where it has it twice. ± is interpolated too "
        "and leaves out that of the IS."
    )
    return Table(caption, "w", names + names[1:] * len(free), lines, spans)


def _at_score(curve: Curve, score: float, metrics: Sequence[str]) -> dict[str, Measure]:
    """The metrics of a curve where it has that inception score; nothing outside its range."""
    rows, found = curve.rows_with(SCORE, DISTANCE), []
    for a, b in zip(rows, rows[1:] or rows, strict=False):
        low, high = a.metrics[SCORE].value, b.metrics[SCORE].value
        if min(low, high) <= score <= max(low, high):
            share = (score - low) / (high - low) if low != high else 0.0
            found.append({m: _between(a.measure(m), b.measure(m), share) for m in metrics})
    return min(found, key=lambda place: place[DISTANCE].value, default={})


def _between(a: Measure, b: Measure, share: float) -> Measure:
    if share in (0, 1):  # a neighbour without that metric must not spoil it
        return b if share else a
    return Measure(*((1 - share) * x + share * y for x, y in zip(a, b, strict=True)))


def sweep_charts(group: Group) -> list[Chart]:
    """Figure 4 of 2207.12598 and its like; those whose metrics were measured."""
    pairs = [
        (x, y)
        for x, y in ((SCORE, DISTANCE), ("recall", "precision"))
        if any(curve.rows_with(x, y) for curve in group.curves)
    ]
    found = [_chart(group, x, y, group.curves) for x, y in pairs]
    return found + [c for m in (DISTANCE, SCORE) for c in charts_over_w(group, m, group.curves)]


def charts_over_w(group: Group, metric: str, curves: Sequence[Curve]) -> list[Chart]:
    """A metric over w, for each kind of guidance: strengths of two kinds share no axis.

    A single w makes no curve, and no chart.
    """
    found = [[curve for curve in curves if curve.kind == kind] for kind in group.kinds]
    shown = [part for part in found if any(len(curve.points(metric)) > 1 for curve in part)]
    return [_chart(group, "w", metric, part) for part in shown]


def charts_caption(group: Group) -> str:
    """How to read the charts."""
    said = "Points are labelled with w, bars are one standard error."
    if len(group.kinds) > 1:
        said += (
            " Filled points are classifier-free, hollow ones classifier guidance; "
            "each w is that of the point's own guidance."
        )
    if group.of_kind("real"):
        said += " Grey dashes: real against real, which no model can beat at that n."
    if group.of_kind("bicubic"):
        said += " Dots or a star: bicubic enlargement, which needs no model."
    return said


def _chart(group: Group, x: str, y: str, curves: Sequence[Curve]) -> Chart:
    names = {m: "w" if m == "w" else with_arrow(m, group.extractor) for m in (x, y)}
    if x == "w" and len(group.kinds) > 1:
        names["w"] = f"w, {curves[0].kind}"
    plain = [names[m].rstrip(" ↑↓") for m in (x, y)]
    shown = [(curve, curve.rows_with(x, y)) for curve in curves]
    series = [_series(group, curve, rows, x, y) for curve, rows in shown if rows]
    rules = []
    for kind, dash in (("bicubic", 2), ("real", 1)):
        for row in group.of_kind(kind):
            name = floor_name(row) if kind == "bicubic" else f"real against real (n = {row.n})"
            if row.has(y) and (x == "w" or kind == "real"):
                rules.append(Rule(name, row.metrics[y].value, dash))
            if kind == "real" and x == "recall" and row.has(x):
                rules.append(Rule("", row.metrics[x].value, dash, vertical=True))
    for k, row in enumerate(group.of_kind("images", "bicubic") if x != "w" else ()):
        if row.has(x, y):
            name = row.name if row.kind == "images" else floor_name(row)
            series.append(Series(name, [_dot(group, row, x, y)], 7 - k % 2, marker=STAR))
    values = [dot.y for s in series for dot in s.dots]
    log = bool(values) and min(values) > 0 and max(values) > LOG_RATIO * min(values)
    title = f"{plain[1]} {'over' if x == 'w' else 'against'} {plain[0]}"
    return Chart(title, names[x], names[y], series, rules, log_y=log)


def _series(group: Group, curve: Curve, rows: Sequence[SampleRow], x: str, y: str) -> Series:
    """Colour by model, dashes by steps (most steps solid) and kind of guidance, marker by way.

    Of a single model, colour by steps and guidance. A classifier's points are hollow.
    """
    kind = group.kinds.index(curve.kind)
    if len(group.models) > 1:
        colour = curve.model
        keys = {(-c.steps, group.kinds.index(c.kind)) for c in group.curves}
        dash = sorted(keys).index((-curve.steps, kind))
    else:
        own = [(group.guidances.index(c.guidance), -c.steps) for c in group.curves]
        colour = sorted(set(own)).index(own[group.curves.index(curve)])
        dash = kind
    ways = list(dict.fromkeys(c.way for c in group.curves))
    dots = [_dot(group, row, x, y, curve.label) for row in rows]
    hollow = curve.kind == BY_CLASSIFIER
    return Series(curve.label, dots, colour, dash, ways.index(curve.way) % STAR, hollow)


def _dot(group: Group, row: Row, x: str, y: str, label: str = "") -> Dot:
    """A row as a point; what it shows are w and the metrics of the papers."""
    shown = dict.fromkeys([*(m for m in (x, y) if m != "w"), *columns_of("main")])
    digits = digits_of([m for m in shown if row.has(m)], group.rows)
    values = [f"{metric_name(m, group.extractor)} {measure_text(row.measure(m), digits[m])}"
              for m in digits]  # fmt: skip
    own = isinstance(row, SampleRow)
    head = f"{label}, w = {row.w:g}" if isinstance(row, SampleRow) else row.name
    tip = "\n".join([head, *values])
    here, bar = row.measure(y), row.measure(x).bar
    if x == "w" and isinstance(row, SampleRow):
        return Dot(row.w, here.value, here.bar, tip=tip)
    name = f"{row.w:g}" if isinstance(row, SampleRow) and own else ""
    return Dot(row.measure(x).value, here.value, here.bar, (bar, bar), name, tip)


def captioned(group: Group, picture: str) -> Block | None:
    """Runs on captions: do images show what these say, and what does guidance cost them?"""
    curves = [curve for curve in group.curves if curve.rows[0].captions]
    if not curves:
        return None
    single = [metric for metric in columns_of("captions") if metric != ALL]
    over = (ALL, "caption_diversity", "recall", "clipped_fraction", "condition_psnr")
    found = [chart for metric in over for chart in charts_over_w(group, metric, curves)]
    judged = [curve for curve in curves if curve.points(ALL)]
    caption = (
        f"Lower and higher are said of what differs by more than {2} standard errors of the "
        "difference, there and at every larger w."
    )
    shown = None
    if judged:
        first = curve_best(group)
        curve = first if first in judged else judged[0]
        named = f", {curve.label}" if len(group.curves) > 1 else ""
        series = [
            Series(spoken(m), [_dot(group, row, "w", m) for row in curve.rows_with(m)], k, 0, k)
            for k, m in enumerate(single)
            if curve.points(m)
        ]
        title = f"accuracy of each attribute over w{named}"
        found.append(Chart(title, "w", "share of images ↑", series))
        caption += (
            " Caption accuracy is the share of images that have everything right that the caption "
            "says, to judge by the pixels; the other accuracies are those with one attribute "
            "right; relation only counts where the caption has one."
        )
        columns = [ALL, "caption_diversity", "recall", "clipped_fraction", *single]
        said = "What images have right of their captions, and what guidance costs."
        shown = table(setting_table(group, columns, said))
    texts = [Block("text", _costs(curve, len(curves) > 1)) for curve in curves]
    drawn = charts(picture, found, "caption accuracy and its costs, over w", caption)
    return section("Captions: accuracy and what guidance costs", *texts, drawn, shown)


def _costs(curve: Curve, several: bool) -> str:
    """How much guidance helps the captions, and from where on it costs."""
    said, costs = "", []
    points = curve.points(ALL)
    if points:
        start, here = _reference(points)
        best, most = max(points, key=lambda point: point[1].value)
        said = f"{spoken(ALL)} is {here.value:.1%} at w = {start:g} and "
        higher = most.value > here.value
        said += f"highest at w = {best:g}, {most.value:.1%}. " if higher else "nowhere higher. "
    for metric, sign, text, word in COSTS:
        rows = curve.rows_with(metric)
        if len(rows) > 1:
            w = _cost(rows, metric, sign)
            costs.append(
                f"{text} is nowhere {word}" if w is None else f"{text} is {word} from w = {w:g} on"
            )
    if costs:
        said += f"Compared with w = {_reference(curve.points('recall'))[0]:g}, {listed(costs)}."
    return f"{curve.label}: {said}".strip() if several else capital(said.strip())


def _cost(rows: Sequence[SampleRow], metric: str, sign: int) -> float | None:
    """The first w from which on a metric is worse than without guidance, if any."""
    here = next((row for row in rows if row.w >= 0), rows[0])
    found = None
    for row in reversed(rows):
        gap = difference(here, row, metric)
        if row.w <= here.w or not (sign * gap.value > 0 and told_apart(gap)):
            break
        found = row.w
    return found


def _reference(points: Sequence[tuple[float, Measure]]) -> tuple[float, Measure]:
    """Without guidance, or the nearest to it above."""
    return next((point for point in points if point[0] >= 0), points[0])


def samples(group: Group, picture: str) -> Block | None:
    """The first images of every row, of the same seeds at each w; the best curve first."""
    first = curve_best(group)
    blocks: list[Block] = []
    for curve in sorted(group.curves, key=lambda curve: curve != first):
        rows = [row for row in curve.rows if row.preview]
        strips = [Strip(f"w = {row.w:g}", _picture(group, row)) for row in rows]
        if not strips:
            continue
        said = "The same seeds at each w."
        if rows[0].first_captions:
            each = (f"{k}. {text}" for k, text in enumerate(rows[0].first_captions, 1))
            said += f" Captions, row by row: {'; '.join(each)}"
        usable = picture if any(strip.picture for strip in strips) else ""
        columns = _columns(group, rows[0])
        seeds = Block("seeds", strips, curve.label, said, "" if blocks else usable, columns)
        blocks.append(Block("folded", [seeds], curve.label) if blocks else seeds)
    return section("The same seeds at each w", *blocks)


def _columns(group: Group, row: SampleRow) -> Sequence[str]:
    """The classes of the columns of images, which are sampled in turn, if each has a column."""
    classes: Sequence[str] = group.sources[row.id].data.classes
    return classes if 1 < len(classes) <= MOST_COLUMNS and not row.captions else ()


def _picture(group: Group, row: Row) -> bytes | None:
    """A PNG within the run folder: a table that came from elsewhere reaches no other file."""
    folder = group.sources[row.id].folder.resolve()
    path = (folder / str(row.preview)).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        return None
    content = path.read_bytes()
    return content if content.startswith(SIGNATURE) else None
