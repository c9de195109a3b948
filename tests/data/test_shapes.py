"""`pilotage.data.shapes`: what is drawn, what is held out, and what the checker says of it."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, pad

from pilotage.data.shapes import (
    ATTRIBUTES,
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    VOCABULARY,
    Kind,
    Scene,
    caption,
    check,
    describe,
    draw_captions,
    held_out_captions,
    is_held_out,
    load_shapes,
    parse,
)
from pilotage.data.shapes.draw import AREAS, DRAWS, EXTENTS, GAP, MARGIN, place, uniforms
from pilotage.data.shapes.objects import regions
from pilotage.data.shapes.scenes import alike_scenes, encode, related_scenes
from pilotage.errors import PilotageError
from pilotage.utils.images import from_uint8

A = Kind("small", "red", "circle")
B = Kind("large", "blue", "square")


def every_caption():
    return [caption(scene) for scene in (*alike_scenes(), *related_scenes())]


def captions_of(count, seed):
    """Captions of both sorts, half and half, held-out ones among them."""
    rng = np.random.default_rng(seed)
    texts = every_caption()
    alike = len(alike_scenes())
    ranges = [(0, alike), (alike, len(texts))]
    return [texts[rng.integers(*ranges[k % 2])] for k in range(count)]


# --- captions ---------------------------------------------------------------------------------


def test_captions_read_as_english():
    assert caption(Scene(A)) == "a small red circle"
    assert caption(Scene(B, 2)) == "two large blue squares"
    assert caption(Scene(A, 1, "left of", B)) == "a small red circle left of a large blue square"


def test_every_caption_is_read_back():
    scenes = (*alike_scenes(), *related_scenes())
    assert len({caption(scene) for scene in scenes}) == len(scenes) == 36 * 3 + 36 * 35 * 4
    assert all(parse(caption(scene)) == scene for scene in scenes)
    assert {word for text in every_caption() for word in text.split()} == set(VOCABULARY)


def test_turned_tells_the_same_scene():
    scene = Scene(A, 1, "above", B)
    assert scene.turned() == Scene(B, 1, "below", A)
    assert scene.turned().turned() == scene
    assert Scene(A, 2).turned() == Scene(A, 2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a small purple circle", "'purple'"),
        ("a small red circle beside a large blue square", "'beside'"),
        ("two small red circle", "must read as"),
        ("small red circle", "must read as"),
        ("a small red circle above a small red circle", "two different"),
        ("", "must read as"),
    ],
)
def test_a_caption_that_is_none_is_refused(text, named):
    with pytest.raises(PilotageError, match=named):
        parse(text)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"count": 4}, "count is 4"),
        ({"count": 2, "relation": "above", "second": B}, "count is 2"),
        ({"relation": "above"}, "second is None"),
        ({"relation": "above", "second": A}, "another kind"),
        ({"second": B}, "relation is None"),
        ({"relation": "near", "second": B}, "'near'"),
    ],
)
def test_a_scene_that_no_caption_tells_is_refused(settings, named):
    with pytest.raises(PilotageError, match=named):
        Scene(A, **settings)


def test_a_kind_without_a_name_is_refused():
    with pytest.raises(PilotageError, match="colour is 'pink'"):
        Scene(Kind("small", "pink", "circle"))


# --- what is held out -------------------------------------------------------------------------


def test_held_out_combinations_never_occur_in_training():
    train, held = load_shapes(count=20_000, held_out=2_000)
    assert not any(map(is_held_out, set(train.captions)))
    assert all(map(is_held_out, set(held.captions)))
    trained = {word for text in train.captions for word in text.split()}
    assert trained == set(VOCABULARY)
    seen = {kind for text in set(train.captions) for kind in parse(text).kinds}
    assert len(seen) == 36, "every kind is known on its own"


def test_a_tenth_of_the_combinations_is_held_out():
    alike = [is_held_out(caption(scene)) for scene in alike_scenes()]
    related = [is_held_out(caption(scene)) for scene in related_scenes()]
    assert sum(alike) == 12
    assert sum(related) == 71 * 2 * 4, "71 of 630 pairs, in both orders and all relations"
    for scene in related_scenes()[::7]:
        assert is_held_out(caption(scene)) == is_held_out(caption(scene.turned()))


def test_held_out_combinations_are_these():
    """They are part of every published number, so no change of the code may move them."""
    held = [text for text in every_caption() if is_held_out(text)]
    assert held[:3] == ["a small red circle", "a small green square", "two small blue triangles"]
    found = hashlib.sha256("\n".join(held).encode()).hexdigest()
    assert found == "a9a92387ee5ece9cba8214f3ceffadded67e6eadafeb2c25ff3a95bd93a9470d"


def test_held_out_captions_have_their_images():
    texts = held_out_captions(50, seed=3)
    assert len(texts) == 50
    assert texts == held_out_captions(80, seed=3)[:50]
    assert texts != held_out_captions(50, seed=4)
    assert check(load_shapes(held_out=50, seed=3)[1].batch(range(50)), texts).all.all()


def test_every_combination_of_training_has_its_share():
    train, _ = load_shapes(count=30_000)
    scenes = [parse(text) for text in train.captions]
    related = np.array([scene.relation is not None for scene in scenes])
    assert abs(related.mean() - 0.5) < 0.02
    counts = [scene.count for scene, two in zip(scenes, related, strict=True) if not two]
    assert np.allclose(np.bincount(counts)[1:] / len(counts), 1 / 3, atol=0.02)
    for words, place_of in ((SIZES, 0), (COLOURS, 1), (SHAPES, 2)):
        found = [scene.kind[place_of] for scene in scenes]
        shares = [found.count(word) / len(found) for word in words]
        assert np.allclose(shares, 1 / len(words), atol=0.02)
    told = [scene.relation for scene in scenes if scene.relation]
    assert np.allclose([told.count(r) / len(told) for r in RELATIONS], 0.25, atol=0.02)


# --- the images -------------------------------------------------------------------------------


def test_the_interface_of_image_data():
    train, held = load_shapes()
    assert (len(train), len(held)) == (50_000, 2_000)
    assert (train.shape, train.in_memory) == ((3, 32, 32), True)
    assert train.labels.shape == (50_000,)
    images = train.batch(torch.tensor([3, 0, 3]))
    assert images.dtype == torch.uint8
    assert torch.equal(images[0], images[2])
    assert torch.equal(train.batch(-1), train.batch([49_999]))
    assert train.batch([]).shape == (0, 3, 32, 32)
    with pytest.raises(IndexError):
        train.batch([50_000])


def test_the_class_is_that_of_the_kind_above_or_left():
    for data in load_shapes(count=500):
        assert len(data.classes) == len(set(data.classes)) == len(COLOURS) * len(SHAPES)
        for label, text in zip(data.labels[:500], data.captions[:500], strict=True):
            scene = parse(text)
            scene = scene.turned() if scene.relation in ("below", "right of") else scene
            assert data.classes[label] == f"{scene.kind.colour} {scene.kind.shape}"
        assert set(data.labels) == set(range(len(data.classes)))


def test_an_image_depends_on_seed_and_index_alone():
    train, held = load_shapes(seed=5)
    images = train.batch(range(100))
    assert torch.equal(train.batch(range(99, -1, -1)).flip(0), images)
    assert all(torch.equal(train.batch([i])[0], images[i]) for i in range(0, 100, 9))
    shorter, _ = load_shapes(count=100, seed=5)
    assert torch.equal(shorter.batch(range(100)), images)
    assert shorter.captions == train.captions[:100]
    others, _ = load_shapes(seed=6)
    assert not torch.equal(others.batch(range(100)), images)
    assert not torch.equal(held.batch(range(100)), images)
    assert len({image.numpy().tobytes() for image in images}) == 100


def test_another_process_draws_the_same():
    code = (
        "import hashlib; from pilotage.data.shapes import load_shapes; d, _ = load_shapes(seed=2);"
        "print(hashlib.sha256(d.batch(range(20)).numpy().tobytes()).hexdigest(), d.fingerprint)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    train, _ = load_shapes(seed=2)
    pixels = hashlib.sha256(train.batch(range(20)).numpy().tobytes()).hexdigest()
    assert answer.stdout.split() == [pixels, train.fingerprint], answer


def test_fingerprints_tell_settings_apart():
    settings = ({}, {"size": 64}, {"seed": 1}, {"count": 10})
    prints = [data.fingerprint for s in settings for data in load_shapes(**s)]
    assert len(set(prints)) == 7, "the held-out set does not depend on the training set's length"
    assert load_shapes()[0].fingerprint == prints[0]


def test_a_scene_is_the_same_at_every_size():
    """Smaller images are the larger ones averaged, to the rounding of both."""
    sets = {size: load_shapes(size)[0] for size in (16, 32, 64, 128)}
    assert len({data.captions[:200] for data in sets.values()}) == 1
    images = {size: data.batch(range(200)).float() for size, data in sets.items()}
    for size in (16, 32, 64):
        assert (avg_pool2d(images[2 * size], 2) - images[size]).abs().max() <= 1


def test_a_size_that_divides_nothing_shows_the_same_scene():
    train, _ = load_shapes(45)
    assert check(train.batch(range(100)), train.captions[:100]).all.all()


def test_pixels_cover_what_the_shapes_cover():
    """The light of an image is the area of its shapes, and shapes of one size are alike in it."""
    texts = [f"a {size} red {shape}" for size in SIZES for shape in SHAPES]
    light = (draw_captions(texts, size=64).float()[:, 0] - 48) / (207 - 48)
    assert np.allclose(light.mean((1, 2)), np.repeat(AREAS, 3), rtol=0.002)


def test_shapes_lie_inside_and_apart():
    texts = captions_of(6_000, seed=1)
    codes = encode([parse(text) for text in texts])
    objects = place(codes, uniforms(7, np.arange(len(texts))))
    half = EXTENTS[objects.shape] * np.sqrt(AREAS[objects.size]) / 2
    for centre in (objects.x, objects.y):
        assert (centre - half >= MARGIN - 1e-9).all()
        assert (centre + half <= 1 - MARGIN + 1e-9).all()
    for apart in (1, 2):
        a = np.flatnonzero(objects.image[:-apart] == objects.image[apart:])
        free, _ = between(objects, half, a, a + apart)
        assert (free.max(0) >= GAP - 1e-9).all()


def between(objects, half, a, b):
    """Along x and y: free space between two shapes' boxes, and the way from a's centre to b's."""
    way = np.stack([objects.x[b] - objects.x[a], objects.y[b] - objects.y[a]])
    return np.abs(way) - half[a] - half[b], way


def test_related_shapes_are_apart_along_the_relation_and_hardly_aside():
    scenes = related_scenes()[::3]
    codes = encode(scenes)
    objects = place(codes, uniforms(8, np.arange(len(scenes))))
    half = EXTENTS[objects.shape] * np.sqrt(AREAS[objects.size]) / 2
    first = np.arange(len(scenes)) * 2
    free, way = between(objects, half, first, first + 1)
    upright = np.array([scene.relation in ("above", "below") for scene in scenes])
    ahead, aside = np.where(upright, way[::-1], way)
    assert (np.where(upright, free[1], free[0]) >= GAP - 1e-9).all()
    assert (np.abs(aside) <= 0.5 * np.abs(ahead) + 1e-9).all()
    backward = np.array([scene.relation in ("below", "right of") for scene in scenes])
    assert np.array_equal(ahead < 0, backward)


def test_places_are_everywhere():
    """A single small shape may lie anywhere between the margins."""
    u = uniforms(0, np.arange(2_000))
    objects = place(encode([Scene(A)] * 2_000), u)
    room = MARGIN + EXTENTS[0] * np.sqrt(AREAS[0]) / 2
    for centre in (objects.x, objects.y):
        parts = np.histogram(centre, 8, (room, 1 - room))[0]
        assert abs(parts - 250).max() < 70


@pytest.mark.parametrize("count", [2, 3])
def test_several_shapes_lie_without_a_favourite_side(count):
    u = uniforms(1, np.arange(3_000))
    objects = place(encode([Scene(A, count)] * 3_000), u)
    x, y = objects.x.reshape(-1, count), objects.y.reshape(-1, count)
    assert np.allclose([x.mean(), y.mean()], 0.5, atol=0.01)
    assert np.isclose(np.median(x, 1).mean(), 0.5, atol=0.015)
    assert np.isclose((np.ptp(x, 1) > np.ptp(y, 1)).mean(), 0.5, atol=0.03)


def test_three_lie_in_a_line_or_not():
    objects = place(encode([Scene(A, 3)] * 2_000), uniforms(2, np.arange(2_000)))
    steps = [np.diff(np.sort(v.reshape(-1, 3), 1), axis=1) for v in (objects.x, objects.y)]
    apart = EXTENTS[0] * np.sqrt(AREAS[0]) + GAP - 1e-9
    in_line = np.any([step.min(1) >= apart for step in steps], axis=0).mean()
    assert 0.2 < in_line < 0.5


def test_the_random_numbers_are_uniform_and_independent():
    u = uniforms(123, np.arange(20_000))
    assert u.shape == (20_000, DRAWS)
    assert np.allclose(u.mean(0), 0.5, atol=0.01)
    assert np.allclose(np.cov(u.T) * 12, np.eye(DRAWS), atol=0.05)
    # the published first value of SplitMix64 with the state 0
    assert uniforms(0, np.array([0]))[0, 0] == (0xE220A8397B1DCDAF >> 11) * 2.0**-53


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"size": 15}, "size=15"),
        ({"size": (32, 48)}, "size=(32, 48)"),
        ({"size": "big"}, "size='big'"),
        ({"size": None}, "size=None"),
        ({"count": 0}, "count=0"),
        ({"held_out": 0.1}, "held_out=0.1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_are_not_allowed(settings, named):
    with pytest.raises(PilotageError) as caught:
        load_shapes(**settings)
    assert named in str(caught.value)


# --- the checker ------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(16, 600), (32, 1_500), (64, 200)])
def test_the_checker_agrees_with_what_was_drawn(size, count):
    texts = captions_of(count, seed=size)
    checked = check(draw_captions(texts, size, seed=1), texts)
    assert checked.rates() == dict.fromkeys((*ATTRIBUTES, "all"), 1.0)


def test_describe_says_what_was_drawn():
    texts = captions_of(150, seed=3)
    for text, image in zip(texts, draw_captions(texts), strict=True):
        seen = describe(image)
        assert seen in (parse(text), parse(text).turned())
        assert seen.relation in (None, "above", "left of")


def blurred(images):
    """Blur of one pixel's deviation."""
    taps = torch.exp(-(torch.arange(-4.0, 5) ** 2) / 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    wide = pad(images, (4,) * 4, mode="replicate")
    return conv2d(wide, kernel.expand(3, 1, 9, 9), groups=3)


@pytest.mark.parametrize(
    ("what", "size"),
    [
        ("noise", 32),
        ("blur", 32),
        ("saturation", 32),
        ("pallor", 32),
        ("noise", 16),
        ("pallor", 16),
    ],
)
def test_the_checker_bears_what_models_do(what, size):
    texts = captions_of(300, seed=4)
    images = from_uint8(draw_captions(texts, size))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    marred = {
        "noise": images + 0.1 * noise,
        "blur": blurred(images),
        "saturation": 2 * images,
        "pallor": 0.8 * images,
    }
    assert check(marred[what], texts).all.mean() >= 0.98


def changed(scene, attribute, rng):
    """Scenes of other captions that differ from this one in one attribute alone."""
    if attribute == "count":
        return [] if scene.second else [replace(scene, count=k) for k in {1, 2, 3} - {scene.count}]
    if attribute == "relation":
        others = set(RELATIONS) - {scene.relation}
        return [replace(scene, relation=other) for other in others] if scene.relation else []
    words = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}[attribute]
    found = []
    for name in ("kind", "second") if scene.second else ("kind",):
        kind = getattr(scene, name)
        other = rng.choice([word for word in words if word != getattr(kind, attribute)])
        kinds = {
            "kind": scene.kind,
            "second": scene.second,
            name: kind._replace(**{attribute: other}),
        }
        if kinds["kind"] != kinds["second"]:
            found.append(replace(scene, **kinds))
    return found


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_wrong_attribute_is_found_and_no_other(attribute):
    rng = np.random.default_rng(0)
    pairs = [
        (caption(scene), caption(other))
        for scene in map(parse, captions_of(200, seed=5))
        for other in changed(scene, attribute, rng)
    ]
    asked, shown = zip(*pairs, strict=True)
    assert len(pairs) > 100
    checked = check(draw_captions(shown), asked)
    for name in ATTRIBUTES:
        assert (getattr(checked, name) == (name != attribute)).all(), name
    assert not checked.all.any()


def test_one_wrong_shape_of_several_is_wrong():
    images = draw_captions(["three small red circles"])
    labels = regions((images[:, 0] > 127).numpy().astype(int))
    one = torch.from_numpy(labels == np.unique(labels)[1])
    images[:, 1][one] = images[:, 0][one]  # red and green: yellow
    checked = check(images, ["three small red circles"])
    assert (checked.colour[0], checked.size[0], checked.shape[0], checked.count[0]) == (0, 1, 1, 1)


def test_nothing_is_right_in_an_image_without_shapes():
    texts = ["a small red circle", "a small red circle above a large blue square"]
    for images in (torch.zeros(2, 3, 32, 32), torch.full((2, 3, 32, 32), torch.nan)):
        checked = check(images - 0.5, texts)
        for name in ("size", "colour", "shape", "count", "all"):
            assert not getattr(checked, name).any()
        assert checked.relation.tolist() == [True, False]
        assert checked.rates()["relation"] == 0
        assert describe(images[0] - 0.5) is None
    assert "relation" not in check(torch.zeros(1, 3, 32, 32), texts[:1]).rates()


@pytest.mark.filterwarnings("error")
def test_pixels_that_are_no_numbers_are_black():
    texts = captions_of(20, seed=9)
    images = from_uint8(draw_captions(texts))
    generator = torch.Generator().manual_seed(0)
    beside = (images < 0) & (torch.rand(images.shape, generator=generator) < 0.1)
    assert check(images.masked_fill(beside, torch.nan), texts).all.all()


def test_pure_noise_and_blobs_are_no_shapes():
    texts = captions_of(60, seed=6)
    noise = torch.randn(60, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not check(noise, texts).all.any()
    images = torch.full((2, 3, 32, 32), -0.6)
    images[0, 0, 14:17, 4:28] = 0.6  # a bar
    images[1, :, 10:16, 10:16] = 0.6  # a white square
    checked = check(images, ["a large red square", "a small yellow square"])
    assert checked.shape.tolist() == [False, True]
    assert checked.colour.tolist() == [True, False]
    assert describe(images[0]) is None
    assert describe(images[1]) is None


def test_specks_are_passed_over():
    images = draw_captions(["two large blue squares"])
    images[0, 1, 0, :3] = 207
    assert check(images, ["two large blue squares"]).all[0]


def test_images_in_three_forms_are_the_same():
    texts = captions_of(20, seed=8)
    images = draw_captions(texts)
    wrong = texts[1:] + texts[:1]
    for form in (images, images.numpy(), from_uint8(images), from_uint8(images).double()):
        checked = check(form, wrong)
        assert [getattr(checked, name).tolist() for name in ATTRIBUTES] == [
            getattr(check(images, wrong), name).tolist() for name in ATTRIBUTES
        ]


@pytest.mark.parametrize(
    ("shape", "dtype", "captions", "named"),
    [
        ((1, 3, 8, 8), torch.uint8, ["a small red circle"], "images has shape"),
        ((1, 1, 32, 32), torch.uint8, ["a small red circle"], "images has shape"),
        ((1, 3, 32, 16), torch.uint8, ["a small red circle"], "images has shape"),
        ((3, 32, 32), torch.uint8, ["a small red circle"], "images has shape"),
        ((1, 3, 32, 32), torch.int64, ["a small red circle"], "dtype"),
        ((2, 3, 32, 32), torch.uint8, ["a small red circle"], "captions are 1"),
        ((1, 3, 32, 32), torch.uint8, "a small red circle", "list of captions"),
        ((1, 3, 32, 32), torch.uint8, ["a tiny red circle"], "'tiny'"),
    ],
)
def test_what_cannot_be_checked_is_refused(shape, dtype, captions, named):
    with pytest.raises(PilotageError, match=named):
        check(torch.zeros(shape, dtype=dtype), captions)


def flooded(colours):
    """Regions by flooding from each pixel, one image."""
    labels = np.zeros(colours.shape, int)
    for start in zip(*np.nonzero(colours), strict=True):
        if labels[start]:
            continue
        stack, labels[start] = [start], start[0] * colours.shape[1] + start[1] + 1
        while stack:
            y, x = stack.pop()
            for b in np.ndindex(3, 3):
                near = (y + b[0] - 1, x + b[1] - 1)
                inside = 0 <= near[0] < colours.shape[0] and 0 <= near[1] < colours.shape[1]
                if inside and not labels[near] and colours[near] == colours[start]:
                    labels[near] = labels[start]
                    stack.append(near)
    return labels


def test_regions_are_those_of_a_flood():
    images = np.random.default_rng(0).integers(0, 3, (20, 16, 16))
    labels = regions(images)
    for colours, found in zip(images, labels, strict=True):
        assert np.array_equal(found < 0, colours == 0)
        pairs = set(zip(found[colours > 0].tolist(), flooded(colours)[colours > 0], strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert len(np.unique(labels[0][images[0] > 0])) > 1
    assert not set(labels[0].ravel()) & set(labels[1].ravel()) - {-1}
