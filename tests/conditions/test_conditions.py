"""Condition spaces: their nulls, batches and dropping, and what they leave on disk."""

import json
import random
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from pilotage.conditions import (
    ByteLevelBPE,
    FrozenText,
    Images,
    Known,
    KnownPixels,
    Labels,
    Several,
    Space,
    Tokens,
    draw_dropped,
    draw_uniform,
    frozen_text,
    load_space,
)
from pilotage.diffusion import NetworkDenoiser, classifier_free, several
from pilotage.errors import PilotageError
from pilotage.interop.glide.tokenizer import glide_tokenizer
from pilotage.networks.text_unet import TextUNet, TextUNetPlan

CAPTIONS = [
    f"{size} {colour} {shape}"
    for size in ("a small", "a Large")
    for colour in ("red", "green", "blue", "Übergrün")
    for shape in ("square", "circle", "triangle")
]
DROPPED = torch.tensor([True, False, False, True])


@pytest.fixture(scope="module")
def bpe():
    return ByteLevelBPE.train(CAPTIONS, size=300, context=12)


def same_batch(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_batch(a[name], b[name]) for name in a)
    if isinstance(a, tuple):
        return type(a) is type(b) and all(map(same_batch, a, b))
    return a == b


# --- what all spaces have in common --------------------------------------------------------------


def spaces(bpe):
    """Each kind of space with four values, none of them the null."""
    image = torch.linspace(-1, 1, 12).reshape(3, 2, 2)
    mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    simple = {
        "labels": (Labels(("cat", "dog")), [0, 1, 1, 0]),
        "tokens": (Tokens(bpe), CAPTIONS[:4]),
        "images": (Images((3, 2, 2)), [image, -image, image / 2, image]),
        "known": (KnownPixels((3, 2, 2)), [(image, mask)] * 4),
    }
    parts = {name: space for name, (space, _) in simple.items()}
    values = [
        dict(zip(simple, row, strict=True))
        for row in zip(*(v for _, v in simple.values()), strict=True)
    ]
    return {**simple, "several": (Several(parts, together=True), values)}


KINDS = ["labels", "tokens", "images", "known", "several"]


@pytest.mark.parametrize("kind", KINDS)
def test_dropping_puts_the_null_in_the_dropped_rows_only(bpe, kind):
    space, values = spaces(bpe)[kind]
    assert isinstance(space, Space)
    batch = space.collate(values)
    wanted = [None if gone else value for gone, value in zip(DROPPED, values, strict=True)]
    assert same_batch(space.drop(batch, DROPPED), space.collate(wanted))
    assert not same_batch(space.drop(batch, DROPPED), batch)
    assert same_batch(space.drop(batch, torch.zeros(4, dtype=torch.bool)), batch)


@pytest.mark.parametrize("kind", KINDS)
def test_the_null_is_what_guidance_takes(bpe, kind):
    """The branch without a condition is told what training told for a dropped one."""
    space, values = spaces(bpe)[kind]
    batch, called = space.collate(values), []

    def network(z, lam, cond):
        called.append(cond)
        return z

    z, lam = torch.zeros(4, 1), torch.zeros(4)
    classifier_free(NetworkDenoiser(network), -1.0, space.null)(z, lam, batch)
    assert same_batch(called[0], space.drop(batch, torch.ones(4, dtype=torch.bool)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_comes_back_from_its_folder(bpe, kind, tmp_path):
    space, values = spaces(bpe)[kind]
    space.save(tmp_path / "condition")
    again = load_space(tmp_path / "condition")
    assert type(again) is type(space)
    assert same_batch(again.null, space.null)
    assert same_batch(again.collate(values), space.collate(values))
    if kind == "several":
        assert again.together == space.together
    if kind == "labels":
        assert again == space


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "has no 'kind'"),
        ('{"kind": "smells"}', "kind 'smells': it must be one of labels, tokens"),
        ('{"kind": "labels"}', "lacks 'classes'"),
    ],
)
def test_a_folder_that_holds_no_space(tmp_path, text, words):
    if text is not None:
        (tmp_path / "condition.json").write_text(text)
    with pytest.raises(PilotageError, match=words):
        load_space(tmp_path)


# --- dropping ------------------------------------------------------------------------------------


def test_one_rate_drops_as_it_always_did():
    uniform = torch.tensor([0.0, 0.19, 0.2, 0.9])
    assert draw_dropped(uniform, 0.2).tolist() == [True, True, False, False]
    assert draw_dropped(uniform, 0).sum() == 0
    assert draw_dropped(uniform, 1).sum() == 4


def test_together_and_apart(bpe):
    """Together, the parts go at once; apart, each at its own rate and regardless of the others."""
    count, parts = 4000, {"label": Labels(("cat",)), "image": Images((1, 1, 1))}
    batch = {"label": torch.zeros(count, dtype=torch.int64), "image": torch.ones(count, 1, 1, 1)}

    def gone(together, rates):
        space = Several(parts, together)
        uniform = draw_uniform(space, count, torch.Generator().manual_seed(0))
        left = space.drop(batch, draw_dropped(uniform, rates))
        return left["label"] == 1, left["image"].flatten() == 0

    label, image = gone(True, 0.3)
    assert torch.equal(label, image)
    assert abs(label.float().mean() - 0.3) < 0.03
    for rates in (0.3, {"label": 0.3, "image": 0.6}):
        label, image = gone(False, rates)
        p = rates if isinstance(rates, float) else rates["image"]
        assert abs(label.float().mean() - 0.3) < 0.03
        assert abs(image.float().mean() - p) < 0.03
        assert abs((label & image).float().mean() - 0.3 * p) < 0.03


def test_numbers_for_dropping_are_those_of_one_draw():
    """Labels train on the same numbers as before there were other spaces."""
    drawn = draw_uniform(Labels(("cat",)), 5, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, torch.rand(5, generator=torch.Generator().manual_seed(1)))


def test_parts_are_dropped_by_name():
    space = Several({"a": Labels(("x", "y")), "b": Labels(("z",))}, together=False)
    batch = {"a": torch.tensor([0, 1, 1, 0]), "b": torch.zeros(4, dtype=torch.int64)}
    left = space.drop(batch, {"b": DROPPED})
    assert left["a"].tolist() == [0, 1, 1, 0]
    assert left["b"].tolist() == [1, 0, 0, 1]
    columns = torch.stack([~DROPPED, DROPPED], dim=1)
    assert space.drop(batch, columns)["a"].tolist() == [0, 2, 2, 0]
    assert torch.equal(space.drop(batch, columns)["b"], left["b"])
    assert torch.equal(space.drop(batch, {"a": ~DROPPED, "b": DROPPED})["b"], left["b"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda s: Several({}, True), "parts is empty"),
        (lambda s: Several({"a b": Labels(())}, True), "'a b'.*identifier"),
        (lambda s: Several({"c": s}, True), "is a Several"),
        (lambda s: s.collate([{"c": 1}]), "cond has 'c'"),
        (lambda s: s.drop({"a": torch.zeros(4).long()}, {"c": DROPPED}), "dropped has 'c'"),
        (lambda s: s.drop({}, DROPPED[:, None].expand(4, 3)), "dropped has 3 columns"),
        (
            lambda s: draw_dropped(torch.rand(4), {"a": 0.1, "b": 0.1}),
            r"uniform has shape \(4,\): it must be \(B, 2\)",
        ),
        (lambda s: draw_dropped(torch.rand(4, 3), {"a": 0.1, "b": 0.1}), "a column for each of"),
    ],
)
def test_parts_that_do_not_fit(wrong, words):
    with pytest.raises(PilotageError, match=words):
        wrong(Several({"a": Labels(("x",)), "b": Labels(("y",))}, together=False))


def test_names_that_are_numbers_of_others_are_refused():
    labels = Labels(("1", "2", "3", "10"))
    for wanted in ("1", "2", "3"):
        with pytest.raises(PilotageError, match=f"name:{wanted} or number:{wanted}"):
            labels.values(wanted)
    assert labels.values(["10", "0", "name:2", "number:2", 1]) == [3, 0, 1, 2, 1]
    assert Labels(("0", "1", "2")).values(["2", "0"]) == [2, 0]
    assert Labels(("9", "8")).values(["9", "8", "1"]) == [0, 1, 1]
    for wanted in ("name:4", "number:4", "9" * 5000, "number:x"):
        with pytest.raises(PilotageError, match="labels has"):
            labels.values(wanted)


def test_labels_as_a_batch():
    labels = Labels(("cat", "dog"))
    assert labels.collate([1, None, 0, 2]).tolist() == [1, 2, 0, 2]
    with pytest.raises(PilotageError, match=r"labels has 3: it must lie in 0\.\.2"):
        labels.collate([3])


# --- images --------------------------------------------------------------------------------------


def test_unknown_pixels_cannot_be_read():
    mask = torch.tensor([[[True, False]]])
    batch = KnownPixels((2, 1, 2)).collate([(torch.full((2, 1, 2), 7.0), mask), None])
    assert isinstance(batch, Known)
    assert batch.image.tolist() == [[[[7, 0]], [[7, 0]]], [[[0, 0]], [[0, 0]]]]
    assert batch.mask.tolist() == [[[[1, 0]]], [[[0, 0]]]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Images((3, 2)), "must be \\(C, H, W\\)"),
        (lambda: Images((3, 0, 2)), "shape is 0"),
        (lambda: Images((1, 2, 2)).collate([torch.zeros(1, 2, 3)]), "an image has shape"),
        (lambda: Images((1, 2, 2)).collate([torch.zeros(1, 2, 2).byte()]), "dtype torch.uint8"),
        (
            lambda: KnownPixels((1, 1, 1)).collate(
                [(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.5))]
            ),
            r"values in \[0.5",
        ),
        (
            lambda: KnownPixels((2, 1, 1)).collate([(torch.zeros(2, 1, 1), torch.ones(2, 1, 1))]),
            "a mask has shape",
        ),
    ],
)
def test_images_that_do_not_fit(wrong, words):
    with pytest.raises(PilotageError, match=words):
        wrong()


# --- captions ------------------------------------------------------------------------------------


def test_tokens_are_padded_with_the_end(bpe):
    batch = Tokens(bpe).collate(["a small red square", "", None])
    ids = bpe.ids("a small red square")
    assert 0 < len(ids) < 12
    assert batch.tokens[0].tolist() == ids + [bpe.end] * (12 - len(ids))
    assert batch.mask.sum(1).tolist() == [len(ids), 0, 0]
    assert batch.mask[0, : len(ids)].all()
    assert (batch.tokens[1:] == bpe.end).all()
    assert batch.tokens.dtype == torch.int64
    assert batch[2:] == (None, None, None)
    assert Tokens(bpe, context=3).null.tokens.shape == (1, 3)


def test_long_captions_are_cut_and_counted_once(bpe):
    long = "zqzq " * 9
    with pytest.warns(UserWarning, match="longer than 12") as told:
        batch = Tokens(bpe).collate(["a red square", long, long, ""])
    length = len(bpe.ids(long))
    assert [str(warning.message) for warning in told] == [
        "2 of 4 captions are longer than 12 tokens and are truncated, such as "
        f"'{long[:40]}…' with {length}."
    ]
    assert batch.tokens[1].tolist() == bpe.ids(long)[:12]
    assert batch.mask[1].all()
    with pytest.warns(
        UserWarning, match="1 of 1 captions is longer than 12 tokens and is truncated"
    ):
        Tokens(bpe).collate([long])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Tokens(bpe).collate(CAPTIONS)


def test_captions_as_a_user_writes_them(bpe):
    space = Tokens(bpe)
    assert space.values("a cat") == ["a cat"]
    assert space.values(("a", "")) == ["a", ""]
    for wrong, words in (([], "captions is empty"), (["a", 3], "captions has 3")):
        with pytest.raises(PilotageError, match=words):
            space.values(wrong)


def test_glides_tokens_are_kept(tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: number for number, token in enumerate([*alphabet, "re", "red"])}
    (tmp_path / "encoder.json").write_text(json.dumps({**ids, "<|endoftext|>": len(ids)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nr e\nre d\n")
    glide = glide_tokenizer(tmp_path / "encoder.json", tmp_path / "vocab.bpe", context=20)
    batch = Tokens(glide).collate(["a Red square", "", "red"])
    assert batch.tokens[2].tolist() == [257, *[258] * 19]
    Tokens(glide).save(tmp_path / "condition")
    kept = load_space(tmp_path / "condition")
    assert same_batch(kept.collate(["a Red square", "", "red"]), batch)


def test_a_tokenizer_that_cannot_be_saved(tmp_path):
    class Letters:
        size, end, context = 256, 0, 4

        def ids(self, caption):
            return list(caption.encode())

    space = Tokens(Letters())
    assert space.collate(["ab"]).tokens.tolist() == [[97, 98, 0, 0]]
    with pytest.raises(PilotageError, match="a Letters, which cannot be saved"):
        space.save(tmp_path)


def test_a_tokenizer_that_was_changed_is_refused(bpe, tmp_path):
    Tokens(bpe).save(tmp_path)
    facts = json.loads((tmp_path / "condition.json").read_text())
    assert facts == {"kind": "tokens", "context": 12, "sha256": bpe.hash}
    ByteLevelBPE.train(CAPTIONS, size=290, context=12).save(tmp_path / "tokenizer.json")
    with pytest.raises(PilotageError, match="must be the file that was saved"):
        load_space(tmp_path)


def test_a_network_that_reads_captions_is_guided_in_one_call(bpe):
    """Two calls, one with each condition, give what one batched call gives."""
    torch.manual_seed(0)
    net = TextUNet(
        TextUNetPlan(
            in_channels=1,
            vocabulary=bpe.size,
            context=12,
            text_width=8,
            text_layers=1,
            text_heads=2,
            low_res=True,
            channels=8,
            channel_mult=(1,),
            num_res_blocks=1,
            attention_resolutions=(1,),
            head_channels=4,
            norm_groups=2,
        )
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    space, denoise = Tokens(bpe), NetworkDenoiser(net, "eps")
    assert same_batch(space.null, net.empty(1))
    low_res = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    cond = space.collate(CAPTIONS[:3])._replace(low_res=low_res)
    z, lam = torch.randn(3, 1, 4, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    guided = classifier_free(denoise, 2.0, space.null)(z, lam, cond)
    assert denoise.calls == 1
    given = denoise(z, lam, cond).eps
    free = denoise(z, lam, net.empty(3)._replace(low_res=low_res)).eps
    torch.testing.assert_close(guided.eps, 3 * given - 2 * free, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(given, free, atol=1e-4)
    negative = classifier_free(denoise, 2.0, space.collate(["a Large blue circle"] * 3))
    assert not torch.allclose(negative(z, lam, cond).eps, guided.eps, atol=1e-4)


def test_captions_and_images_are_guided_apart(bpe):
    space = Several({"text": Tokens(bpe), "image": Images((1, 2, 2))}, together=False)
    values = [{"text": text, "image": torch.ones(1, 2, 2)} for text in CAPTIONS[:2]]

    def network(z, lam, cond):
        told = cond["text"].mask.sum(1) + 100 * cond["image"].mean(dim=(1, 2, 3))
        return told[:, None].expand_as(z)

    words = torch.tensor([len(bpe.ids(text)) for text in CAPTIONS[:2]])[:, None]
    denoise = NetworkDenoiser(network, "eps")
    guided = several(denoise, {"image": 0.5, "text": 2.0}, space.null)
    eps = guided(torch.zeros(2, 1), torch.zeros(2), space.collate(values)).eps
    torch.testing.assert_close(eps, 100 * 1.5 + words * 3.0)
    assert denoise.calls == 1


# --- the tokenizer -------------------------------------------------------------------------------


def test_training_does_not_depend_on_the_order_of_captions(bpe, tmp_path):
    shuffled = random.Random(0).sample(CAPTIONS, len(CAPTIONS))
    assert shuffled != CAPTIONS
    again = ByteLevelBPE.train(shuffled, size=300, context=12)
    for name, tokenizer in (("a", bpe), ("b", again)):
        tokenizer.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert again.hash == bpe.hash
    assert ByteLevelBPE.train(CAPTIONS[1:], size=300, context=12).hash != bpe.hash


def test_the_vocabulary_is_bytes_merges_and_the_end(bpe):
    assert (bpe.size, bpe.end, bpe.context) == (300, 299, 12)
    assert len(bpe.ids("square")) < len("square"), "frequent words are merged"
    assert ByteLevelBPE.train(["ab ab"], size=1000).size == 258, "no pair is left that occurs twice"
    assert ByteLevelBPE.train(["a"], size=257).end == 256


def test_no_text_is_unknown(bpe, tmp_path):
    bpe.save(tmp_path / "tokenizer.json")
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    plain.no_truncation()
    for text in ("日本語 🙂", "naïve café", "a  b\n\tc", "\x00"):
        assert plain.decode(bpe.ids(text)) == text
        assert all(0 <= number < bpe.end for number in bpe.ids(text))


def test_captions_that_look_alike_are_alike(bpe):
    assert bpe.ids("caf\u00e9") == bpe.ids("cafe\u0301")
    assert bpe.ids("A RED Square") == bpe.ids("a red square")
    assert bpe.ids(" a red square\n") == bpe.ids("a red square")
    assert bpe.ids("  ") == []
    exact = ByteLevelBPE.train(CAPTIONS, size=300, lower=False)
    assert exact.ids("A RED Square") != exact.ids("a red square")


def test_the_end_cannot_be_written_in_a_caption(bpe):
    assert bpe.end not in bpe.ids("a <|endoftext|> b")


def test_a_saved_tokenizer_is_the_same(bpe, tmp_path):
    bpe.save(tmp_path / "tokenizer.json")
    again = ByteLevelBPE.load(tmp_path / "tokenizer.json")
    assert (again.hash, again.size, again.end, again.context) == (bpe.hash, 300, 299, 12)
    assert [again.ids(text) for text in CAPTIONS] == [bpe.ids(text) for text in CAPTIONS]
    longer = ByteLevelBPE.load(tmp_path / "tokenizer.json", context=20)
    assert (longer.context, longer.end) == (20, 299)
    longer.save(tmp_path / "longer.json")
    assert ByteLevelBPE.load(tmp_path / "longer.json").hash == longer.hash != bpe.hash


@pytest.mark.parametrize(
    ("words", "pads", "end"),
    [
        (["a", "[PAD]", "</s>"], False, 1),
        (["a", "b", "</s>"], False, 2),
        (["a", "b", "c"], False, 3),
        (["a", "</s>", "here"], "here", 2),
    ],
)
def test_a_given_tokenizer_pads_with_what_it_has(tmp_path, words, pads, end):
    given = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="a"))
    given.pre_tokenizer = pre_tokenizers.Whitespace()
    if pads:
        given.enable_padding(pad_id=words.index(pads), pad_token=pads)
    given.save(str(tmp_path / "given.json"))
    with pytest.raises(
        PilotageError, match=r"context is None: it must be given, as .* has no maximal length"
    ):
        ByteLevelBPE.load(tmp_path / "given.json")
    tokenizer = ByteLevelBPE.load(tmp_path / "given.json", context=4)
    assert (tokenizer.end, tokenizer.size, tokenizer.context) == (end, max(3, end + 1), 4)
    assert Tokens(tokenizer).collate(["a a"]).tokens.tolist() == [[0, 0, end, end]]
    tokenizer.save(tmp_path / "again.json")
    again = ByteLevelBPE.load(tmp_path / "again.json")
    assert (again.hash, again.end, again.context) == (tokenizer.hash, end, 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: ByteLevelBPE.train([]), "captions is empty"),
        (lambda: ByteLevelBPE.train(["", " "]), "captions is empty"),
        (lambda: ByteLevelBPE.train(["a", "\ud800"]), "without lone surrogates"),
        (lambda: ByteLevelBPE.train(["a"], size=256), "size is 256: it must be at least 257"),
        (lambda: ByteLevelBPE.train(["a"], context=0), "context is 0"),
        (
            lambda: ByteLevelBPE.load("/nowhere.json"),
            "tokenizer is '/nowhere.json': it cannot be read",
        ),
        (lambda: ByteLevelBPE.load(__file__), "must be a tokenizer.json"),
    ],
)
def test_tokenizers_that_cannot_be(wrong, words):
    with pytest.raises(PilotageError, match=words):
        wrong()


def test_a_caption_that_is_no_text(bpe):
    with pytest.raises(PilotageError, match="surrogate"):
        Tokens(bpe).collate(["\ud800"])


# --- frozen encoders -----------------------------------------------------------------------------


class Letters:
    """A stand-in for an encoder: a token for each letter, and one at the start."""

    name, hash, width, context = "letters", "00ff", 2, 5

    def __init__(self):
        self.encoded = []

    def lengths(self, captions):
        return [len(caption) + 1 for caption in captions]

    def __call__(self, captions):
        self.encoded += captions
        points = [torch.tensor([0, *map(ord, caption)])[: self.context] for caption in captions]
        return [torch.stack([p, p + 0.5], dim=1) for p in points]


def test_features_are_encoded_once(tmp_path):
    encoder = Letters()
    space = FrozenText(encoder, cache=tmp_path / "cache")
    batch = space.collate(["ab", "", "ab"])
    assert batch.tokens.shape == (3, 5, 2)
    assert batch.tokens[0, :, 0].tolist() == [0, 97, 98, 0, 0]
    assert batch.mask.sum(1).tolist() == [3, 0, 3]
    assert encoder.encoded == ["ab"]
    again = FrozenText(encoder, cache=tmp_path / "cache").collate([" ", "ab", None])
    assert encoder.encoded == ["ab"]
    assert torch.equal(again.tokens[1], batch.tokens[0])
    assert not again.tokens[::2].any(), "the empty caption is all padding"
    assert same_batch(
        space.drop(batch, torch.tensor([True, False, False])), space.collate(["", "", "ab"])
    )
    (file, *_) = (tmp_path / "cache").rglob("*.safetensors")
    assert load_file(file)["sequence"].shape[1] == 2
    with pytest.warns(UserWarning, match="1 of 2 captions is longer than 5 tokens"):
        space.collate(["abcde", ""])


def test_other_encoders_have_other_features(tmp_path):
    first, second = Letters(), Letters()
    second.hash = "another"
    for encoder in (first, second):
        FrozenText(encoder, cache=tmp_path).collate(["a"])
    assert second.encoded == ["a"]


def test_the_usual_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    FrozenText(Letters()).collate(["a"])
    assert len(list((tmp_path / "pilotage" / "text").rglob("*.safetensors"))) == 1


def test_a_frozen_encoder_needs_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PilotageError, match=r"pilotage\[text\]"):
        frozen_text("some/model")


@pytest.fixture(scope="module", params=["clip", "t5"])
def tiny_encoder(request, bpe, tmp_path_factory):
    """A folder of a random text encoder of transformers with this module's tokens."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp(request.param)
    bpe.save(folder / "given.json")
    end = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    file = str(folder / "given.json")
    transformers.PreTrainedTokenizerFast(tokenizer_file=file, **end).save_pretrained(folder)
    torch.manual_seed(0)
    small = {"num_layers": 1, "num_heads": 2, "d_model": 8, "d_kv": 4, "d_ff": 8}
    if request.param == "t5":
        model = transformers.T5Model(transformers.T5Config(vocab_size=300, **small))
    else:
        small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        config = transformers.CLIPTextConfig(
            vocab_size=300, num_attention_heads=2, max_position_embeddings=9, **small
        )
        model = transformers.CLIPTextModel(config)
    model.save_pretrained(folder)
    return folder


def test_an_encoder_of_transformers(tiny_encoder, bpe, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    space = frozen_text(tiny_encoder, context=9)
    null = space.null
    batch = space.collate(["a small red square", "blue", ""])
    assert batch.tokens.shape == (3, 9, 8)
    assert batch.mask.sum(1).tolist() == [
        len(bpe.ids(c)) for c in ("a small red square", "blue", "")
    ]
    alone = frozen_text(tiny_encoder, context=9, cache=tmp_path / "other").collate(["blue"])
    torch.testing.assert_close(alone.tokens[0], batch.tokens[1])
    assert torch.equal(null.tokens[0], batch.tokens[2])
    space.save(tmp_path / "condition")
    again = load_space(tmp_path / "condition")
    assert same_batch(again.collate(["blue"]), space.collate(["blue"]))
    facts = json.loads((tmp_path / "condition" / "condition.json").read_text())
    (tmp_path / "condition" / "condition.json").write_text(json.dumps({**facts, "sha256": "0"}))
    with pytest.raises(PilotageError, match="it must be the one that was saved"):
        load_space(tmp_path / "condition")


def test_an_encoder_that_cannot_be_had(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(PilotageError, match="cannot be loaded"):
        frozen_text(tmp_path)


def test_a_misspelt_label_is_guessed():
    with pytest.raises(PilotageError, match=r"number in 0\.\.1\. Did you mean cats\?"):
        Labels(("cats", "dogs")).values("cast")
