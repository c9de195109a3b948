"""What a report says of the rows of sweeps: the tables of the papers, curves, captions, images."""

import math
from collections.abc import Mapping, Sequence

from pilotage.metrics import METRICS, naming
from pilotage.metrics.registry import columns_of
from pilotage.report import content as c
from pilotage.report import words
from pilotage.sweep import best as b
from pilotage.sweep.curves import Curve, Group, hardly_better
from pilotage.sweep.rows import BY_CLASSIFIER, FREE, UNKNOWN, Measure, Row, SampleRow

SCORE, DISTANCE = "inception_score", "frechet"
COSTS = (  # what guidance costs: a metric, which way is worse, and how that is said
    ("caption_diversity", -1, "diversity of a caption's images", "lower"),
    ("recall", -1, "diversity (recall)", "lower"),
    ("clipped_fraction", 1, "saturation (clipped fraction)", "higher"),
)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_COLUMNS = 16  # of images in a preview
LOG_RATIO = 20  # of the largest to the smallest value, from which an axis is logarithmic
STAR = 4  # the marker of what no sweep has made


def summary(groups: Sequence[Group]) -> c.Block | None:
    """The best w for each aim, of all curves whose w means the same, by how much and how sure."""
    blocks = []
    for group in groups:
        guidances, digits = group.each("guidance"), words.digits_of(b.aims(), group.samples)
        for name in guidances:
            curves = [curve for curve in group.curves if curve.guidance == name]
            best = [found for metric in digits if (found := b.best_over(curves, metric))]
            heads = [group.title] * (len(groups) > 1) + [name] * (len(guidances) > 1)
            if best and heads:
                blocks.append(c.Block("text", words.capital(": ".join(heads)), "of"))
            blocks += [c.Block("note", text) for text in cautions(group) if best]
            cards = [card(one, group, digits[one.metric]) for one in best]
            blocks += [c.Block("cards", cards)] if cards else []
    return c.section("Best w for each aim", *blocks)


def card(best: b.Best, group: Group, digits: int) -> tuple[str, str, str, str, str]:
    """``Lowest FD``, ``w = 0.5``, its value, the curve, and how sure that is."""
    way = "Highest" if naming.direction(best.metric) > 0 else "Lowest"
    aim = f"{way} {naming.metric_name(best.metric, group.extractor)}"
    value = words.measure_text(best.measure, digits)
    return aim, f"w = {best.row.w:g}", value, best.curve.label, remark(best, digits)


def remark(best: b.Best, digits: int) -> str:
    """The runner-up and the ties as sentences, and whether the grid ended at the best."""
    if not best.gaps:
        return "The only w measured."
    w, gap = best.gaps[0]
    digits = max(digits, words.decimals([gap])) if gap.error > 0 else digits
    said = f"Next w = {w:g}: {'+' * (gap.value >= 0)}{words.measure_text(gap, digits)}"
    if math.isfinite(gap.error):
        also = [f"{other:g}" for other in best.ties if other != w]
        said += f", {'not ' * (w in best.ties)}told apart."
        said += f" Also not told apart: w = {words.listed(also)}." if also else ""
    else:
        said += "; no standard error is known, so neighbours may be as good."
    others = [w for w, _ in best.gaps]
    if not min(others) < best.row.w < max(others):
        end = "largest" if best.row.w > max(others) else "smallest"
        said += f" It is the {end} w tried."
    return said


def sweep_section(group: Group, number: int) -> c.Block | None:
    """All about one group; the names of its pictures end in the number, unless it is the first."""
    end = "" if number == 1 else f"-{number}"
    kinds = {f"chart_{kind}": bool(group.of_kind(kind)) for kind in ("real", "bicubic")}
    said = words.sentences(chart=True, chart_kinds=len(group.each("kind")) > 1, **kinds)
    drawn = c.charts(f"curves{end}", sweep_charts(group), "trade-off curves", said)
    main = words.sentences(main=True)
    # metrics that are not registered come last
    new = dict.fromkeys(m for row in group.rows for m in row.metrics if m not in METRICS)
    further = setting_table(group, [*columns_of("further"), *new], "What else was measured.")
    return c.section(
        group.title,
        *(c.Block("note", text) for text in notes(group)),
        c.section("Best w of every curve", c.table(best_table(group))),
        captioned(group, f"captions{end}"),
        c.section("Over w", *(c.table(over_w(group, way)) for way in group.each("way"))),
        c.section("Classifier-free against classifier guidance at matched IS", *matched(group)),
        c.section("Trade-off", drawn),
        c.section("Every setting", c.table(setting_table(group, columns_of("main"), main))),
        c.section("Further numbers", c.table(further) if further.columns else None, kind="folded"),
        samples(group, f"samples{end}"),
    )


def notes(group: Group) -> list[str]:
    """What a reader has to know before comparing numbers of this group."""
    floors, counts = (_counts(rows) for rows in (group.of_kind("real"), group.samples))
    differ = floors and counts and floors != counts
    said = words.sentences(floor=differ and {"floors": floors, "counts": counts})
    return [*cautions(group), *filter(None, [said])]


def cautions(group: Group) -> list[str]:
    """Why the numbers of this group may mean little."""
    least, accuracy = (group.extractor.get(name) for name in ("dimensions", "accuracy"))
    few = _counts([row for row in group.rows if isinstance(least, int) and row.n < least])
    weak = hardly_better(accuracy, group.chance)
    said = (
        words.sentences(few=few and {"few": few, "least": least}),
        words.sentences(weak=weak and {"accuracy": f"{accuracy:.0%}"}),
    )
    return list(filter(None, said))


def _counts(rows: Sequence[Row]) -> str:
    return words.listed(map(str, sorted({row.n for row in rows})))


def best_table(group: Group) -> c.Table | None:
    """The best w of every curve, for each aim, if there are several curves."""
    digits = words.digits_of(b.aims(), group.samples)
    if len(group.curves) < 2 or not digits:
        return None
    lines = []
    for curve in group.curves:
        cells = [(c.Number(words.MISSING),) * 2] * len(digits)
        for k, metric in enumerate(digits):
            best = b.best_of(curve, metric)
            if best:
                ties = f"({', '.join(f'{w:g}' for w in best.ties)})" if best.ties else ""
                value = c.printed(best.measure, digits[metric])
                cells[k] = c.Number(f"{best.row.w:g}", ties), value
        lines.append(c.Line(curve.label, cells))
    said = words.sentences(best=True, own_w=len(group.each("guidance")) > 1)
    names = [naming.with_arrow(metric, group.extractor) for metric in digits]
    return c.Table(said, "curve", names, lines)


def over_w(group: Group, way: int) -> c.Table:
    """2207.12598, Tables 1-2: rows w, columns p_uncond (or models) at each T, of one way."""
    curves = [curve for curve in group.curves if curve.way == way]
    metrics = [m for m in (DISTANCE, SCORE) if any(curve.points(m) for curve in curves)]
    digits, models = words.digits_of(metrics, group.rows), list(group.models.values())
    columns = [
        ({row.w: row for row in curve.rows}, b.best_values(curve.rows, metrics)) for curve in curves
    ]
    lines = [
        c.Line(f"{w:g}", [numbers(rows.get(w), digits, best) for rows, best in columns])
        for w in sorted({w for rows, _ in columns for w in rows})
    ]
    for row in group.of_kind("bicubic", "real"):
        lines.append(c.Line(row.title, [numbers(row, digits, {})] * len(columns), "floor"))
    steps, spans = [curve.steps for curve in curves], []
    names = [f"T = {T}" for T in steps]
    if len(models) > 1:
        spans = [(f"T = {T}", steps.count(T)) for T in dict.fromkeys(steps)]
        names = [models[curve.model] for curve in curves]
    shown = " / ".join(naming.with_arrow(m, group.extractor) for m in metrics)
    return c.Table(f"{shown} over w: {curves[0].rows[0].way}.", "w", names, lines, spans)


def setting_table(group: Group, wanted: Sequence[str], caption: str) -> c.Table:
    """A row per setting, a column for each of these metrics that was measured."""
    digits, lines = words.digits_of(wanted, group.rows), []
    best = b.best_values(group.samples, digits)

    def add(head: str, row: Row, kind: str) -> None:
        shown = numbers(row, digits, best if kind == "row" else {})
        lines.append(c.Line(head, [(number,) for number in shown], kind))

    for curve in group.curves:
        lines += [c.Line(curve.label, kind="title")] if len(group.curves) > 1 else []
        for sample in curve.rows:
            add(sample.w_text, sample, "row")
    images = group.of_kind("images")
    lines += [c.Line("other images", kind="title")] if images and group.curves else []
    for row in images:
        add(row.title, row, "images")
    for row in group.of_kind("bicubic", "real"):
        add(row.title, row, "floor")
    names = [naming.with_arrow(metric, group.extractor) for metric in digits]
    return c.Table(caption, "w" if group.curves else "images", names, lines)


def numbers(
    row: Row | None, digits: Mapping[str, int], best: Mapping[str, float]
) -> tuple[c.Number, ...]:
    """The metrics whose decimals are given; dashes without a row."""
    found = {m: row.measure(m) if row else UNKNOWN for m in digits}
    return tuple(c.printed(x, digits[m], x.value == best.get(m)) for m, x in found.items())


def matched(group: Group) -> list[c.Block | None]:
    """A table per T, sampler and n that has curves of both kinds of guidance."""
    alike: dict[str, list[Curve]] = {}
    for curve in group.curves:
        facts = curve.rows[0].facts
        key = ", ".join(filter(None, (facts["sampler"], facts.get("eta"), facts["n"])))
        if curve.rows_with(SCORE, DISTANCE):
            alike.setdefault(f"T = {curve.steps}, {key}", []).append(curve)
    return [c.table(_matched(group, how, curves)) for how, curves in alike.items()]


def _matched(group: Group, how: str, curves: Sequence[Curve]) -> c.Table | None:
    """What each w of a classifier reaches, and classifier-free guidance at the same IS."""
    free = [curve for curve in curves if curve.kind == FREE]
    guided = {
        curve.label: [row for row in curve.rows_with(SCORE, DISTANCE) if row.w > 0]
        for curve in curves
        if curve.kind == BY_CLASSIFIER
    }
    guided = {label: rows for label, rows in guided.items() if rows}
    if not free or not guided:
        return None
    digits = words.digits_of([SCORE, DISTANCE, "precision", "recall"], group.rows)
    metrics, lines = [m for m in digits if m != SCORE], []
    for label, rows in guided.items():
        lines += [c.Line(label, kind="title")] if len(guided) > 1 else []
        for row in rows:
            there = [b.at_score(curve, row.metrics[SCORE].value, metrics) for curve in free]
            more = [c.printed(t.get(m, UNKNOWN), digits[m]) for t in there for m in metrics]
            cells = [(number,) for number in (*numbers(row, digits, {}), *more)]
            lines.append(c.Line(f"{row.w:g}", cells))
    own = next(iter(guided)) if len(guided) == 1 else BY_CLASSIFIER
    spans = [(own, len(digits)), *((curve.label, len(metrics)) for curve in free)]
    names = [naming.with_arrow(m, group.extractor) for m in digits]
    caption = words.sentences(matched={"how": how})
    return c.Table(caption, "w", names + names[1:] * len(free), lines, spans)


def sweep_charts(group: Group) -> list[c.Chart]:
    """Figure 4 of 2207.12598 and its like; those whose metrics were measured."""
    found = [
        _chart(group, x, y, group.curves)
        for x, y in ((SCORE, DISTANCE), ("recall", "precision"))
        if any(curve.rows_with(x, y) for curve in group.curves)
    ]
    for metric in (DISTANCE, SCORE):
        found += charts_over_w(group, metric, group.curves)
    return found


def charts_over_w(group: Group, metric: str, curves: Sequence[Curve]) -> list[c.Chart]:
    """A metric over w, for each kind of guidance, whose strengths share no axis.

    A single w makes no curve, and no chart.
    """
    found = [[curve for curve in curves if curve.kind == kind] for kind in group.each("kind")]
    shown = [part for part in found if any(len(curve.points(metric)) > 1 for curve in part)]
    return [_chart(group, "w", metric, part) for part in shown]


def _chart(group: Group, x: str, y: str, curves: Sequence[Curve]) -> c.Chart:
    names = {m: naming.with_arrow(m, group.extractor) for m in (x, y)}
    if x == "w" and len(group.each("kind")) > 1:
        names["w"] = f"w, {curves[0].kind}"
    shown = [(curve, curve.rows_with(x, y)) for curve in curves]
    series = [_series(group, curve, rows, x, y) for curve, rows in shown if rows]
    for k, row in enumerate(group.of_kind("images", "bicubic") if x != "w" else ()):
        if row.has(x, y):
            dots = [_dot(group, row, x, y, row.title)]
            series.append(c.Series(row.title, dots, 7 - k % 2, marker=STAR))
    rules = []
    for row in group.of_kind("bicubic", "real"):
        floor, dash = row.kind == "real", 1 if row.kind == "real" else 2
        name = f"real against real (n = {row.n})" if floor else row.title
        if row.has(y) and (floor or x == "w"):
            rules.append(c.Rule(name, row.metrics[y].value, dash))
        if row.has(x) and floor and x == "recall":
            rules.append(c.Rule(name, row.metrics[x].value, dash, vertical=True))
    plain = [names[m].rstrip(" ↑↓") for m in (x, y)]
    title = f"{plain[1]} {'over' if x == 'w' else 'against'} {plain[0]}"
    return c.Chart(title, names[x], names[y], series, rules).log_if(LOG_RATIO)


def _series(group: Group, curve: Curve, rows: Sequence[Row], x: str, y: str) -> c.Series:
    """Colour by model, dashes by steps (most steps solid) and kind of guidance, marker by way.

    Of a single model, colour by steps and guidance. A classifier's points are hollow.
    """
    ways, guidances, kinds = (group.each(name) for name in ("way", "guidance", "kind"))
    several, hollow = len(group.models) > 1, curve.kind == BY_CLASSIFIER
    keys = [(guidances.index(k.guidance) * (not several), -k.steps) for k in group.curves]
    place = sorted(set(keys)).index(keys[group.curves.index(curve)])
    colour, dash = (curve.model, place) if several else (place, 0)
    dots = [_dot(group, row, x, y, curve.label) for row in rows]
    look = colour, dash + kinds.index(curve.kind), ways.index(curve.way) % STAR, hollow
    return c.Series(curve.label, dots, *look)


def _dot(group: Group, row: Row, x: str, y: str, name: str) -> c.Dot:
    """A row as a point; what it shows on hovering are w and the numbers of the papers."""
    w = f"{row.w:g}" if isinstance(row, SampleRow) else ""
    shown = dict.fromkeys([m for m in (x, y, *columns_of("main")) if row.has(m)])
    digits = words.digits_of(shown, group.rows)
    texts = [
        f"{naming.metric_name(m, group.extractor)} {words.measure_text(row.metrics[m], digits[m])}"
        for m in shown
    ]
    tip = "\n".join([f"{name}, w = {w}" if w else name, *texts])
    if isinstance(row, SampleRow) and x == "w":
        across, w = Measure(row.w), ""
    else:
        across = row.metrics[x]
    bars = across.bar, across.bar
    return c.Dot(across.value, row.metrics[y].value, row.metrics[y].bar, bars, w, tip)


def captioned(group: Group, picture: str) -> c.Block | None:
    """Runs on captions: do images show what these say, and what does guidance cost them?"""
    curves = [curve for curve in group.curves if curve.rows[0].captions]
    if not curves:
        return None
    over = (b.ALL, "caption_diversity", "recall", "clipped_fraction", "condition_psnr")
    found = [chart for metric in over for chart in charts_over_w(group, metric, curves)]
    several, shown = len(group.curves) > 1, None
    judged = [curve for curve in curves if curve.points(b.ALL)]
    if judged:
        curve = next((curve for curve in judged if curve == b.curve_best(group)), judged[0])
        single = [metric for metric in columns_of("captions") if metric != b.ALL]
        series = []
        for k, m in enumerate(metric for metric in single if curve.points(metric)):
            name = naming.metric_name(m, group.extractor)
            dots = [_dot(group, row, "w", m, name) for row in curve.rows_with(m)]
            series.append(c.Series(name, dots, k, 0, k))
        title = "accuracy of each attribute over w" + (f", {curve.label}" if several else "")
        found.append(c.Chart(title, "w", "share of images ↑", series))
        columns = [b.ALL, "caption_diversity", "recall", "clipped_fraction", *single]
        shown = c.table(setting_table(group, columns, words.sentences(captions=True)))
    texts = [c.Block("text", _costs(curve, len(curves) > 1)) for curve in curves]
    said = words.sentences(costs={"errors": b.ERRORS}, judged=bool(judged))
    drawn = c.charts(picture, found, "captions: accuracy and what guidance costs", said)
    return c.section("Captions: accuracy and what guidance costs", *texts, drawn, shown)


def _costs(curve: Curve, several: bool) -> str:
    """How much guidance helps the captions, and from where on it costs."""
    said, costs = "", []
    start = next((row for row in curve.rows if row.w >= 0), curve.rows[0])
    points = dict(curve.points(b.ALL))
    if start.w in points:
        best, here = max(points, key=lambda w: points[w].value), points[start.w].value
        said = f"caption accuracy is {here:.1%} at w = {start.w:g} and "
        higher = f"highest at w = {best:g}, {points[best].value:.1%}. "
        said += higher if points[best].value > here else "nowhere higher. "
    for metric, sign, text, word in COSTS:
        if len(curve.points(metric)) > 1:
            w = b.worse_from(curve.rows_with(metric), metric, sign)
            where = f"nowhere {word}" if w is None else f"{word} from w = {w:g} on"
            costs.append(f"{text} is {where}")
    said += f"Compared with w = {start.w:g}, {words.listed(costs)}." if costs else ""
    return f"{curve.label}: {said.strip()}" if several else words.capital(said.strip())


def samples(group: Group, picture: str) -> c.Block | None:
    """The first images of every row, of the same seeds at each w; the best curve first."""
    first = b.curve_best(group)
    blocks: list[c.Block] = []
    for curve in sorted(group.curves, key=lambda curve: curve != first):
        rows = [row for row in curve.rows if row.preview]
        strips = [(f"w = {row.w:g}", _picture(group, row)) for row in rows]
        if strips:
            each = (f"{k}. {text}" for k, text in enumerate(rows[0].first_captions, 1))
            said = f"Captions, row by row: {'; '.join(each)}" if rows[0].first_captions else ""
            file = picture if not blocks and any(image for _, image in strips) else ""
            # classes are sampled in turn, so that each has a column, if there are not too many
            classes = group.runs[rows[0].id].data.classes
            columns = classes if 1 < len(classes) <= MOST_COLUMNS and not said else ()
            seeds = c.Block("seeds", strips, curve.label, said, file, columns)
            blocks.append(c.Block("folded", [seeds], curve.label) if blocks else seeds)
    return c.section("The same seeds at each w", *blocks)


def _picture(group: Group, row: Row) -> bytes | None:
    """A PNG within the run folder: a table that came from elsewhere reaches no other file."""
    folder = group.runs[row.id].folder.resolve()
    try:
        path = (folder / str(row.preview)).resolve()
        content = path.read_bytes() if path.is_relative_to(folder) and path.is_file() else b""
    except (OSError, ValueError):  # no name of a file
        return None
    return content if content.startswith(SIGNATURE) else None
