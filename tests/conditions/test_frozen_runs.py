"""Runs on captions in the features of a frozen text encoder."""

import itertools
import json
import shutil
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers import contents
from pilotage import load_run
from pilotage.cli.main import main
from pilotage.conditions import ByteLevelBPE, CaptionSpace, FrozenText, Tokens, frozen_text
from pilotage.errors import PilotageError
from pilotage.interop.glide.tensors import export_text_unet
from pilotage.models.run_folder import read_card, state_folder
from pilotage.networks.text_transformer import TextTransformer, TextTransformerPlan
from pilotage.networks.text_unet import TextUNet, TextUNetPlan
from pilotage.settings import TextRecipe
from pilotage.training.callbacks import CaptionGrids
from pilotage.training.tasks import TASKS

CAPTIONS = ["a red square", "blue", "", "猫が一匹"]
TINY = [
    *("--size", "8", "8", "--held-out", "0", "--context", "12", "--precision", "no"),
    *("--network.channels", "8", "--network.channel-mult", "1", "2"),
    *("--network.attention-resolutions", "2", "--network.num-res-blocks", "1"),
    *("--network.head-channels", "8", "--network.norm-groups", "4"),
    *("--network.text-width", "8", "--network.text-layers", "1", "--network.text-heads", "2"),
    *("--batch-size", "4", "--warmup-steps", "2", "--log-every", "1", "--sample-every", "1000"),
]


class Letters:
    """A stand-in for an encoder: a token for each letter, of the sines of its number."""

    width = 6
    hash = "00ff"
    encoded: tuple[str, ...] = ()

    def __init__(self, name, context):
        self.name, self.context = str(name), context

    def lengths(self, captions):
        return [len(caption) for caption in captions]

    def __call__(self, captions):
        Letters.encoded += tuple(captions)
        scales = torch.arange(1, self.width + 1) / 7
        for caption in captions:
            numbers = torch.tensor(list(map(ord, caption)))[: self.context]
            yield torch.sin(numbers[:, None] * scales)


@pytest.fixture(scope="module", autouse=True)
def letters(tmp_path_factory):
    """The stand-in in place of transformers, and small grids, which are not what is tested."""
    cache = tmp_path_factory.mktemp("features")

    def made(name, context=77, device="cpu"):
        return FrozenText(Letters(name, context), cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pilotage.training.tasks.frozen_text", made)
        patch.setattr("pilotage.conditions.loading.frozen_text", made)
        patch.setattr("pilotage.training.callbacks.COLUMNS", 2)
        patch.setattr("pilotage.training.callbacks.ROWS", 1)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for k in range(6):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(CAPTIONS[k % len(CAPTIONS)], encoding="utf-8")
    return folder


def train(data, out, *flags, encoder="letters", steps=2):
    how = ["--data", str(data), "--encoder", str(encoder), "--out", str(out)]
    return main(["train", "captioned", *how, "--steps", str(steps), *TINY, *flags])


@pytest.fixture(scope="module")
def run_folder(data, tmp_path_factory, letters):
    folder = tmp_path_factory.mktemp("runs") / "frozen"
    assert train(data, folder, "--learning-rate", "1e-2", steps=3) == 0
    return folder


def test_every_caption_is_encoded_once(run_folder, data):
    card = read_card(run_folder)
    assert (card.recipe.encoder, card.data.tokenizer, card.data.vocabulary) == (
        "letters",
        "00ff",
        6,
    )
    assert sorted(Letters.encoded) == sorted(filter(None, CAPTIONS))
    load_run(run_folder).sample(["blue", "", "blue", "green"], steps=1)
    load_run(run_folder).sample(["green"], steps=1, negative="a red square")
    assert sorted(Letters.encoded) == sorted([*filter(None, CAPTIONS), "green"])


def test_stopped_and_continued_equals_uninterrupted(data, tmp_path, monkeypatch):
    monkeypatch.setattr(CaptionGrids, "measure", lambda self, training: None)
    flags = ["--checkpoint-every", "1", "--inpaint"]
    assert train(data, tmp_path / "whole", *flags) == 0
    assert train(data, tmp_path / "parts", *flags, steps=1) == 0
    assert train(data, tmp_path / "parts", *flags) == 0
    states = [contents(state_folder(tmp_path / name, 2)) for name in ("whole", "parts")]
    assert states[0] == states[1]
    assert train(data, tmp_path / "parts", *flags, encoder="other", steps=3) == 2, "another recipe"


def test_prompts_ask_for_images(run_folder, tmp_path):
    samples = ["--prompt", "猫が一匹", "", "--seeds", "0:4", "--steps", "2", "--w", "2"]
    assert main(["sample", str(run_folder), *samples, "--out", str(tmp_path / "a.npz")]) == 0
    made = np.load(tmp_path / "a.npz")
    assert made["images"].shape == (4, 8, 8, 3)
    assert made["captions"].tolist() == ["猫が一匹", "", "猫が一匹", ""]
    run = load_run(run_folder)
    how = {"seeds": range(4), "steps": 2, "w": 2}
    together = run.sample(["blue", "green"], **how)
    torch.testing.assert_close(run.sample(["blue", "green"], batch_size=3, **how), together)
    assert not torch.allclose(run.sample("blue", **how)[1], together[1], atol=1e-3)


def test_the_empty_caption_is_the_unconditional_model(run_folder):
    run, how = load_run(run_folder), {"seeds": range(3), "steps": 2}
    free = run.sample("blue", w=-1, **how)
    torch.testing.assert_close(run.sample(" ", w=3, **how), free)
    assert not torch.allclose(run.sample("blue", **how), free, atol=1e-3)
    z, time = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 700.0])
    null, empty = run.space.null, run.network.empty(1)
    assert torch.equal(null.tokens, empty.tokens)
    assert torch.equal(null.mask, empty.mask)
    twice = run.space.collate(["", None])
    torch.testing.assert_close(run.network(z, time), run.network(z, time, twice))
    dropped = run.space.drop(run.space.collate(["blue", "green"]), torch.tensor([True, False]))
    assert torch.equal(dropped.tokens, run.space.collate(["", "green"]).tokens)


def test_another_encoder_is_refused(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Letters, "hash", "11ee")
    with pytest.raises(PilotageError, match="'letters' has the SHA-256 11ee"):
        load_run(run_folder)
    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    file = copy / "conditions" / "condition.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sha256": "11ee"}))
    with pytest.raises(PilotageError, match="has a text encoder of SHA-256 11ee"):
        load_run(copy)


def test_training_from_a_run_keeps_its_encoder(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(CaptionGrids, "measure", lambda self, training: None)
    flags = ["--from", str(run_folder), "--out", str(tmp_path / "tuned"), "--steps", "1"]
    assert main(["train", *flags, "--encoder", "other"]) == 2
    assert "encoder is 'other': it must be 'letters'" in capsys.readouterr().err
    assert main(["train", *flags]) == 0
    assert load_run(tmp_path / "tuned").space.hash == "00ff"


def test_encoders_that_cannot_be(data, tmp_path, capsys, monkeypatch):
    assert train(data, tmp_path / "run", "--tokenizer", "mine.json") == 2
    assert "encoder is 'letters' and tokenizer is 'mine.json'" in capsys.readouterr().err
    monkeypatch.setattr("pilotage.training.tasks.frozen_text", frozen_text)
    monkeypatch.setitem(sys.modules, "transformers", None)
    recipe = TextRecipe(data="x", encoder="some/model")
    with pytest.raises(PilotageError, match=r"install the extra text: pip install 'pilotage\[text"):
        TASKS["captioned"].space(recipe, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_both_kinds_of_captions_are_used_alike(tmp_path):
    bpe = ByteLevelBPE.train(["a red square"], size=260, context=12)
    for space, size in ((Tokens(bpe), bpe.size), (FrozenText(Letters("l", 12), tmp_path), 6)):
        assert isinstance(space, CaptionSpace)
        assert (space.hash, space.size) == (getattr(space, "tokenizer", Letters).hash, size)
        with pytest.raises(PilotageError, match="surrogate"):
            space.values(["a \ud800"])


# --- the network ---------------------------------------------------------------------------------


def transformer(**settings):
    torch.manual_seed(0)
    how = {"vocabulary": None, "encoder_width": 5, **settings}
    plan = TextTransformerPlan(context=4, text_width=8, text_layers=1, text_heads=2, **how)
    net = TextTransformer(plan, pooled_width=16)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def test_features_are_read_where_they_are_not_padded():
    net, features = transformer(), torch.randn(2, 4, 5)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    pooled, sequence = net(features, mask)
    assert (pooled.shape, sequence.shape) == ((2, 16), (2, 4, 8))
    elsewhere = torch.where(mask[:, :, None], features, 7.0)
    assert torch.equal(net(elsewhere, mask).pooled, pooled)
    assert not torch.allclose(net(features, ~mask).pooled, pooled)
    assert torch.allclose(transformer().double()(features, mask).pooled.float(), pooled, atol=1e-5)
    net(features, mask).pooled.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


@pytest.mark.parametrize(
    ("features", "mask", "words"),
    [
        (torch.zeros(2, 4, 6), torch.ones(2, 4).bool(), r"must be \(B, 4, 5\) and \(B, 4\)"),
        (torch.zeros(2, 4), torch.ones(2, 4).bool(), r"must be \(B, 4, 5\)"),
        (torch.zeros(2, 4, 5), torch.ones(2, 5).bool(), r"must be \(B, 4, 5\)"),
        (torch.zeros(2, 4, 5).long(), torch.ones(2, 4).bool(), "tokens are torch.int64"),
        (torch.zeros(2, 4, 5), torch.ones(2, 4), "mask is torch.float32"),
    ],
)
def test_wrong_features_are_refused(features, mask, words):
    with pytest.raises(PilotageError, match=words):
        transformer()(features, mask)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vocabulary": 9}, "vocabulary is 9 and encoder_width is 5: one must be None"),
        ({"encoder_width": 0}, "encoder_width is 0"),
        ({"encoder_width": None}, "vocabulary is None"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(PilotageError, match=words):
        transformer(**settings)


def test_such_a_network_is_rebuilt_but_is_none_of_glides():
    small = {"channels": 8, "channel_mult": (1,), "norm_groups": 4, "head_channels": 8}
    text = {"context": 4, "text_width": 8, "text_layers": 1, "text_heads": 2}
    net = TextUNet(TextUNetPlan(vocabulary=None, encoder_width=5, **text, **small))
    twin = TextUNet(TextUNetPlan(**json.loads(json.dumps(net.settings))))
    twin.load_state_dict(net.state_dict())
    with pytest.raises(PilotageError, match="it must have tokens, as GLIDE's"):
        export_text_unet(net)


def test_recipes_without_an_encoder_are_as_they_were():
    assert TextRecipe(data="x", encoder="e").replace(encoder=None) == TextRecipe(data="x")


# --- an encoder of transformers ------------------------------------------------------------------


class FakeModel(nn.Module):
    """Called like a model of transformers, whose every version has other settings of its own."""

    def __init__(self, settings):
        super().__init__()
        self.table = nn.Parameter(torch.full((3, 4), settings.pop("scale", 1.0)))
        self.pooler = nn.Linear(4, 4)  # random
        self.config = types.SimpleNamespace(
            hidden_size=4,
            to_dict=lambda: {**settings, "num_beams": next(count)},
            get_config_dict=lambda path: ({**settings, "_commit_hash": next(count)}, {}),
        )


class FakeTokenizer:
    """Called like one of transformers: it tells whether words are in capitals."""

    pad_token = "no"

    def __init__(self, settings):
        self._lower = settings.get("lower")

    def get_vocab(self):
        return {"no": 0, "yes": 1}

    def __call__(self, captions):
        words = [caption.split() for caption in captions]
        return {"input_ids": [[int(w.isupper() and not self._lower) for w in ws] for ws in words]}


count = itertools.count()


@pytest.fixture
def encoder_hash(tmp_path, monkeypatch):
    """The hash of an encoder that has these settings in its config.json."""

    def read(make, path, use_safetensors=False, output_loading_info=False):
        settings = json.loads(Path(path, "config.json").read_text())
        missing = settings.pop("missing", [])
        told = {"missing_keys": ["pooler.weight", *missing]}
        return (make(settings), told) if output_loading_info else make(settings)

    makers = {"AutoModel": FakeModel, "AutoTokenizer": FakeTokenizer}
    fake = {k: types.SimpleNamespace(from_pretrained=partial(read, v)) for k, v in makers.items()}
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(**fake))

    def made(**settings):
        (tmp_path / "config.json").write_text(json.dumps(settings))
        return frozen_text(tmp_path, cache=tmp_path).hash

    return made


def test_an_encoder_is_the_same_under_another_version(encoder_hash):
    first = encoder_hash(layers=2, text={"heads": 3})
    assert encoder_hash(text={"heads": 3}, layers=2) == first
    version = {"transformers_version": "5.0", "dtype": "float16", "_name_or_path": "/tmp/x"}
    assert encoder_hash(layers=2, text={"heads": 3, **version}, **version) == first
    others = [
        encoder_hash(layers=3, text={"heads": 3}),
        encoder_hash(layers=2, text={"heads": 4}),
        encoder_hash(layers=2, text={"heads": 3}, lower=True),
        encoder_hash(layers=2, text={"heads": 3}, scale=2.0),
    ]
    assert len({first, *others}) == 5


def test_an_encoder_without_its_weights_is_refused(encoder_hash):
    with pytest.raises(PilotageError, match="lacks 1 of 1 weights, such as table"):
        encoder_hash(missing=["table"])


@pytest.mark.parametrize("error", [ImportError, ValueError, Exception])
def test_an_encoder_that_cannot_be_loaded_says_what_it_needs(error, encoder_hash, monkeypatch):
    def fail(path):
        raise error("X requires the SentencePiece\nlibrary but it was not found")

    monkeypatch.setattr(sys.modules["transformers"].AutoTokenizer, "from_pretrained", fail)
    words = r"cannot be loaded \(X requires the SentencePiece library.*pip install sentencepiece"
    with pytest.raises(PilotageError, match=words):
        encoder_hash(layers=2)


@pytest.fixture
def tiny_encoder(tmp_path):
    """A folder of a random text encoder that reads at most 12 tokens."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = tmp_path / "encoder"
    ByteLevelBPE.train(CAPTIONS, size=300, context=12).save(tmp_path / "given.json")
    end = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    file = str(tmp_path / "given.json")
    transformers.PreTrainedTokenizerFast(tokenizer_file=file, **end).save_pretrained(folder)
    config = transformers.CLIPTextConfig(
        vocab_size=300,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
    )
    torch.manual_seed(0)
    transformers.CLIPTextModel(config).save_pretrained(folder)
    return folder


def test_a_run_with_an_encoder_of_transformers(tiny_encoder, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pilotage.training.tasks.frozen_text", frozen_text)
    monkeypatch.setattr("pilotage.conditions.loading.frozen_text", frozen_text)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    assert train(data, out, "--context", "13", encoder="encoder") == 2
    assert "context is 13: it must be at most 12" in capsys.readouterr().err
    assert train(data, out, encoder=data) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert train(data, out, "--learning-rate", "1e-2", encoder="encoder") == 0
    monkeypatch.chdir(data)
    run = load_run(out)
    assert read_card(out).data.vocabulary == 8
    made = run.sample(["a red square", "blue"], seeds=[1, 1], steps=2, w=3)
    assert not torch.equal(made[0], made[1])
