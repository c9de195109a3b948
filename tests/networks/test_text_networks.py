"""The text transformer, the U-Net that reads a text, and the tokens that both are told."""

import gzip
import json

import pytest
import torch

from pilotage.conditions import Tokens
from pilotage.diffusion.batching import take
from pilotage.errors import PilotageError
from pilotage.interop.glide.infer import text_unet_settings
from pilotage.interop.glide.published import PUBLISHED_FLAGS
from pilotage.interop.glide.tensors import export_text_unet, load_text_unet
from pilotage.interop.glide.tokenizer import glide_tokenizer
from pilotage.networks import UNet, UNetPlan
from pilotage.networks.blocks import Attention
from pilotage.networks.text_cond import EncodedText, TextCond
from pilotage.networks.text_transformer import TextTransformer, TextTransformerPlan
from pilotage.networks.text_unet import TextUNet, TextUNetPlan

SMALL = {
    "channels": 16,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "head_channels": 8,
    "norm_groups": 4,
    "vocabulary": 20,
    "context": 6,
    "text_width": 12,
    "text_layers": 2,
    "text_heads": 3,
}
PLAIN = {name: SMALL[name] for name in list(SMALL)[:6]}


def perturbed(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def small(**settings):
    torch.manual_seed(0)
    return perturbed(TextUNet(TextUNetPlan(**{**SMALL, **settings})))


def captions(lengths=(3, 6), context=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 20, (len(lengths), context), generator=generator)
    mask = torch.arange(context) < torch.tensor(lengths)[:, None]
    return TextCond(tokens, mask)


def batch(size=(8, 8), count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, *size, generator=generator), torch.linspace(3.5, 800, count)


def images(size=(8, 8), count=2):
    generator = torch.Generator().manual_seed(2)
    known = torch.randn(count, 3, *size, generator=generator)
    mask = (torch.rand(count, 1, *size, generator=generator) < 0.5).float()
    return {"known": known, "known_mask": mask}


# --- the text transformer ------------------------------------------------------------------------


def transformer(**settings):
    torch.manual_seed(0)
    text = {name: value for name, value in SMALL.items() if name not in PLAIN}
    return perturbed(TextTransformer(TextTransformerPlan(**text, **settings), 64))


def test_captions_are_encoded_one_by_one():
    net, (tokens, mask) = transformer(), captions()[:2]
    pooled, sequence = net(tokens, mask)
    assert (pooled.shape, sequence.shape) == ((2, 64), (2, 6, 12))
    for k in range(2):
        alone = net(tokens[k : k + 1], mask[k : k + 1])
        torch.testing.assert_close(alone.pooled[0], pooled[k])
        torch.testing.assert_close(alone.sequence[0], sequence[k])
    other = net((tokens + 1) % 20, mask)
    assert ((other.pooled - pooled).abs().amax(1) > 1e-3).all()


def test_tokens_of_padding_do_not_matter_but_its_place_does():
    net, cond = transformer(), captions()
    other = torch.where(cond.mask, cond.tokens, (cond.tokens + 7) % 20)
    assert not torch.equal(other, cond.tokens)
    for first, second in zip(net(cond.tokens, cond.mask), net(other, cond.mask), strict=True):
        assert torch.equal(first, second)
    shorter = cond.mask & (torch.arange(6) < 2)
    assert not torch.allclose(net(cond.tokens, shorter).pooled, net(*cond[:2]).pooled)


def test_without_an_embedding_of_padding_tokens_are_all_there_is():
    net, cond = transformer(padding=False), captions()
    everything = torch.ones_like(cond.mask)
    assert torch.equal(net(*cond[:2]).pooled, net(cond.tokens, everything).pooled)
    assert net.padding is None


def test_one_caption_does_not_see_another():
    net, cond = transformer().double(), captions()
    alone = net(cond.tokens[:1], cond.mask[:1])
    assert torch.allclose(net(*cond[:2]).pooled[:1], alone.pooled, rtol=1e-12)


def test_every_position_sees_every_other():
    net, cond = transformer(), captions((6, 6))
    changed = cond.tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 20
    before, after = net(*cond[:2]).sequence, net(changed, cond.mask).sequence
    assert ((before - after).abs().amax(2) > 1e-6).all()


@pytest.mark.parametrize(
    ("tokens", "mask", "words"),
    [
        (torch.zeros(2, 5).long(), torch.ones(2, 5).bool(), r"must be \(B, 6\)"),
        (torch.zeros(2, 6).long(), torch.ones(2, 5).bool(), r"must be \(B, 6\)"),
        (torch.zeros(2, 6), torch.ones(2, 6).bool(), "torch.float32"),
        (torch.zeros(2, 6).long(), torch.ones(2, 6), "mask is torch.float32"),
        (torch.full((2, 6), 20), torch.ones(2, 6).bool(), r"tokens have 20: .* 0\.\.19"),
        (torch.full((2, 6), -1), torch.ones(2, 6).bool(), "tokens have -1"),
    ],
)
def test_wrong_captions_are_refused(tokens, mask, words):
    with pytest.raises(PilotageError, match=words):
        transformer()(tokens, mask)


# --- the U-Net -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_any_size(variance, size):
    net, (x, time), cond = small(learned_variance=variance), batch(size), captions()
    x.requires_grad_()
    out = net(x, time, cond)
    assert out.shape == (2, 6 if variance else 3, *size)
    alone = [net(x[k : k + 1], time[k : k + 1], take(cond, slice(k, k + 1))) for k in range(2)]
    torch.testing.assert_close(out, torch.cat(alone))
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert gradient.abs().min() > 0, "a pixel without effect"


def test_both_ways_of_the_text_matter():
    net, cond = small(), captions()
    encoded = net.encode(cond)
    base = net(*batch(), encoded)
    assert torch.equal(base, net(*batch(), cond))
    for part in ("pooled", "sequence"):
        other = encoded._replace(**{part: getattr(encoded, part).flip(0)})
        assert not torch.allclose(net(*batch(), other), base)


def test_every_parameter_of_the_text_gets_a_gradient():
    net = small(norm_groups=2)
    net(*batch(), captions((3, 4))).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        if "text" in name:
            assert parameter.grad.abs().max() > 0, name


def test_no_caption_is_the_empty_caption():
    net = small()
    empty = net.empty(2)
    assert not empty.mask.any()
    assert (empty.tokens == 19).all()
    assert torch.equal(net(*batch()), net(*batch(), empty))
    assert not torch.allclose(net(*batch()), net(*batch(), captions()))
    anything = empty._replace(tokens=captions().tokens)
    assert torch.equal(net(*batch()), net(*batch(), anything))


def test_a_fresh_network_answers_zero():
    torch.manual_seed(0)
    assert (TextUNet(TextUNetPlan(**SMALL))(*batch(), captions()) == 0).all()


def test_the_settings_rebuild_the_network():
    net = small(low_res=True, inpaint=True, learned_variance=True)
    twin = TextUNet(TextUNetPlan(**json.loads(json.dumps(net.settings))))
    twin.load_state_dict(net.state_dict())
    assert twin.settings == net.settings


def test_text_leaves_the_plain_unet_as_it_is():
    torch.manual_seed(3)
    plain = UNet(UNetPlan(**PLAIN))
    assert not any("text" in name for name in plain.state_dict())
    with_text = small()
    extra = with_text.state_dict().keys() - plain.state_dict().keys()
    assert all("text" in name for name in extra)
    assert plain.state_dict().keys() <= with_text.state_dict().keys()


def test_the_keys_of_the_text_are_keys_like_those_of_pixels():
    """Attention to a text of the pixels' own tokens is attention without it."""
    layer = perturbed(Attention(8, 2, 4, text_width=8)).double()
    h = torch.randn(2, 8, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    emb = torch.zeros(2, 1)
    with torch.no_grad():
        layer.text_kv.weight.copy_(layer.qkv.weight[8:])
        layer.text_kv.bias.copy_(layer.qkv.bias[8:])
        tokens = layer.norm(h).flatten(2).transpose(1, 2)
        assert torch.allclose(layer(h, emb, tokens), layer(h, emb), rtol=1e-12)
        assert not torch.allclose(layer(h, emb, tokens.flip(0)), layer(h, emb))


# --- images that are concatenated with x ----------------------------------------------------------


def test_super_resolution_sees_the_up_sampled_image():
    net = small(low_res=True)
    assert net.stem.in_channels == 6
    flat = torch.full((2, 3, 2, 2), 0.25)
    cond = captions()._replace(low_res=flat)
    encoded = net.encode(cond, (8, 8))
    assert torch.equal(encoded.image, torch.full((2, 3, 8, 8), 0.25))
    assert torch.equal(net(*batch(), encoded), net(*batch(), cond))
    ramp = torch.tensor([0.0, 1.0]).expand(2, 3, 1, 2)
    row = net.encode(cond._replace(low_res=ramp), (1, 4)).image[0, 0, 0]
    assert torch.allclose(row, torch.tensor([0.0, 0.25, 0.75, 1.0]))


def test_in_painting_sees_known_pixels_and_where_they_are():
    net, given = small(inpaint=True), images()
    assert net.stem.in_channels == 7
    cond = captions()._replace(**given)
    hidden = given["known"] + 5 * (1 - given["known_mask"])
    assert torch.equal(net(*batch(), cond), net(*batch(), cond._replace(known=hidden)))
    assert torch.equal(net.encode(cond, (8, 8)).image[:, 3:], given["known_mask"])
    nothing = cond._replace(known=given["known"], known_mask=0 * given["known_mask"])
    assert torch.equal(net(*batch(), captions()), net(*batch(), nothing))


def test_both_images_in_their_order():
    net = small(low_res=True, inpaint=True)
    assert net.stem.in_channels == 10
    cond = captions()._replace(**images(), low_res=torch.ones(2, 3, 4, 4))
    image = net.encode(cond, (8, 8)).image
    assert torch.equal(image[:, 3:4], cond.known_mask)
    assert (image[:, 4:] == 1).all()


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({"low_res": True}, {}, "cond.low_res is None"),
        ({}, {"low_res": torch.zeros(2, 3, 4, 4)}, "cond.low_res is given"),
        ({}, images(), "cond.known is given"),
        ({"inpaint": True}, {"known": torch.zeros(2, 3, 8, 8)}, "cond.known_mask is None"),
        ({"inpaint": True}, {"known_mask": torch.zeros(2, 1, 8, 8)}, "cond.known is None"),
        ({"inpaint": True}, images((4, 4)), "cond.known has shape"),
        ({"low_res": True}, {"low_res": torch.zeros(2, 1, 4, 4)}, "cond.low_res has shape"),
        ({"low_res": True}, {"low_res": torch.zeros(1, 3, 4, 4)}, "cond.low_res has shape"),
    ],
)
def test_wrong_images_are_refused(settings, given, words):
    with pytest.raises(PilotageError, match=words):
        small(**settings)(*batch(), captions()._replace(**given))


def test_wrong_encodings_are_refused():
    net = small(low_res=True)
    cond = captions()._replace(low_res=torch.zeros(2, 3, 4, 4))
    with pytest.raises(PilotageError, match="size is None"):
        net.encode(cond)
    encoded = net.encode(cond, (8, 8))
    for wrong in (
        encoded._replace(image=None),
        encoded._replace(image=encoded.image[:, :, :4]),
        EncodedText(encoded.pooled[:1], encoded.sequence[:1], encoded.image[:1]),
    ):
        with pytest.raises(PilotageError, match="cond is for"):
            net(*batch(), wrong)
    with pytest.raises(PilotageError, match="x has shape"):
        net(torch.zeros(2, 6, 8, 8), batch()[1], cond)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vocabulary": 0}, "vocabulary is 0"),
        ({"context": 1.5}, "context is 1.5"),
        ({"text_layers": 0}, "text_layers is 0"),
        ({"text_heads": 5}, "text_heads is 5: it must divide 12"),
        ({"heads": 2}, "heads is 2 and head_channels is 8"),
        ({"channel_mult": ()}, "channel_mult"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(PilotageError, match=words):
        small(**settings)


# --- GLIDE's names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learned_variance": True, "low_res": True},
        {"learned_variance": True, "inpaint": True, "final_norm": False},
        {"learned_variance": True, "low_res": True, "inpaint": True, "padding": False},
        {"head_channels": None, "heads": 2, "heads_up": 4, "learned_variance": True},
        {"in_channels": 1, "learned_variance": True, "low_res": True},
        {"resblock_updown": False, "scale_shift_norm": False, "learned_variance": True},
    ],
)
def test_export_and_load_are_inverse(settings):
    net = small(**{**settings, "norm_groups": 32})
    weights = export_text_unet(net)
    names = ("heads", "head_channels", "heads_up", "text_heads")
    back = load_text_unet(weights, **{name: net.settings[name] for name in names})
    assert back.settings == net.settings
    assert all(torch.equal(back.state_dict()[n], t) for n, t in net.state_dict().items())


def test_an_ambiguous_network_is_resolved_by_its_image():
    """6 channels in and 6 out: an up-sampler of 3 channels, unless images have 6."""
    weights = export_text_unet(small(in_channels=6, norm_groups=32))
    flags = {"head_channels": 8, "text_heads": 3}
    assert text_unet_settings(weights, **flags)["low_res"]
    told = text_unet_settings(weights, **flags, in_channels=6)
    assert (told["in_channels"], told["low_res"], told["learned_variance"]) == (6, False, False)


def on_meta(**settings):
    with torch.device("meta"):
        return TextUNet(TextUNetPlan(**settings))


PUBLISHED = {
    "base": {
        "channel_mult": (1, 2, 3, 4),
        "num_res_blocks": 3,
        "attention_resolutions": (2, 4, 8),
    },
    "upsample": {
        "channel_mult": (1, 1, 2, 2, 4, 4),
        "num_res_blocks": 2,
        "attention_resolutions": (8, 16, 32),
        "low_res": True,
    },
}


def published(name):
    shared = {"channels": 192, "head_channels": 64, "learned_variance": True, "dropout": 0.1}
    return on_meta(**shared, **PUBLISHED[name])


@pytest.mark.parametrize(("name", "count"), [("base", 385030726), ("upsample", 398361286)])
def test_the_published_networks_are_as_large(name, count):
    """The counts that GLIDE's notebook prints of its two released models."""
    net = published(name)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    told = text_unet_settings(export_text_unet(net), **PUBLISHED_FLAGS)
    assert on_meta(**told).settings == net.settings


def test_the_published_names_and_shapes():
    net = published("base")
    weights = export_text_unet(net)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    assert shapes["token_embedding.weight"] == (50257, 512)
    assert shapes["transformer.resblocks.15.attn.c_qkv.weight"] == (1536, 512)
    assert shapes["transformer_proj.weight"] == (768, 512)
    assert shapes["input_blocks.5.1.encoder_kv.weight"] == (768, 512, 1)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"head_channels": 8}, "text_heads is None"),
        ({"text_heads": 3}, "heads and head_channels are both None"),
        ({"text_heads": 5, "head_channels": 8}, "text_heads is 5"),
        ({"text_heads": 3, "head_channels": 8, "xf_heads": 3}, "flags have xf_heads"),
        ({"text_heads": 3, "head_channels": 8, "in_channels": 4}, "3 input channels"),
        ({"text_heads": 3, "head_channels": 8, "in_channels": 0}, "in_channels is 0"),
    ],
)
def test_wrong_flags_are_named(flags, words):
    weights = export_text_unet(small())
    with pytest.raises(PilotageError, match=words):
        load_text_unet(weights, **flags)


def test_networks_without_text_are_refused():
    weights = {n: t for n, t in export_text_unet(small()).items() if "_blocks" in n}
    with pytest.raises(PilotageError, match="no text transformer"):
        load_text_unet(weights, **PUBLISHED_FLAGS)


# --- tokens --------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A vocabulary of small letters, a space, "é" in two bytes, and two merges."""
    pieces = [*"abcdehlo", "Ġ", "Ã", "©", "he", "ll"]
    ids = {piece: index for index, piece in enumerate(pieces)} | {"<|endoftext|>": len(pieces)}
    vocabulary, merges = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    vocabulary.write_text(json.dumps(ids), encoding="utf-8")
    merges.write_text("#version: 0.2\nh e\nl l\n", encoding="utf-8")
    return vocabulary, merges, ids


def test_tokens_are_merged_in_lower_case_and_padded(files):
    vocabulary, merges, ids = files
    tokenizer = glide_tokenizer(vocabulary, merges, context=5)
    assert tokenizer.ids("Hello É") == [ids[p] for p in ("he", "ll", "o", "Ġ", "Ã", "©")]
    with pytest.warns(UserWarning, match="longer than 5 tokens"):
        cond = Tokens(tokenizer).collate(["", "hell", "bad cable ade"])
    assert cond.tokens.tolist()[0] == [13] * 5
    assert cond.tokens.tolist()[1] == [11, 12, 13, 13, 13]
    assert cond.mask.tolist() == [[False] * 5, [True, True, False, False, False], [True] * 5]
    assert (cond.tokens.dtype, cond.mask.dtype) == (torch.int64, torch.bool)
    assert Tokens(tokenizer).collate([]).tokens.shape == (0, 5)
    assert glide_tokenizer(vocabulary, merges).context == 128


def test_files_may_be_compressed(files, tmp_path):
    packed = []
    for path in files[:2]:
        packed.append(tmp_path / f"{path.name}.gz")
        packed[-1].write_bytes(gzip.compress(path.read_bytes()))
    assert glide_tokenizer(*packed).ids("hello") == glide_tokenizer(*files[:2]).ids("hello")


def test_wrong_files_and_captions_are_named(files, tmp_path):
    vocabulary, merges, _ = files
    broken = tmp_path / "broken"
    for content, words in [
        (b"{", "must be JSON"),
        (b"[1]", "tokens and their ids"),
        (b"\xff\xfe", "must be UTF-8"),
        (b"\x1f\x8b\x08broken", "must be UTF-8 text, plain or gzipped"),
    ]:
        broken.write_bytes(content)
        with pytest.raises(PilotageError, match=words):
            glide_tokenizer(broken, merges)
    for content, words in [(b"", "two tokens"), (b"a b c", "two tokens"), (b"x y", "vocabulary")]:
        broken.write_bytes(content)
        with pytest.raises(PilotageError, match=words):
            glide_tokenizer(vocabulary, broken)
    with pytest.raises(PilotageError, match="no such file"):
        glide_tokenizer(tmp_path / "absent", merges)
    with pytest.raises(PilotageError, match="context is 0"):
        glide_tokenizer(vocabulary, merges, context=0)
    tokenizer = glide_tokenizer(vocabulary, merges)
    with pytest.raises(PilotageError, match="surrogate"):
        tokenizer.ids("\ud800")
