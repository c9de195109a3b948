"""Our text-conditioned networks, steps and tokens against GLIDE's, whatever its settings were.

What was recorded is read off the names: every tensor that is neither an input nor a weight is a
test of its own, and one that no answer below recognises fails.
"""

import re
import warnings

import pytest
import torch

from pilotage.conditions import Tokens
from pilotage.diffusion import (
    NetworkDenoiser,
    State,
    Timesteps,
    ancestral,
    classifier_free,
    clip_x,
    ddim,
)
from pilotage.diffusion.logsnr import tau
from pilotage.diffusion.timesteps import respaced
from pilotage.errors import PilotageError
from pilotage.interop.adm.diffusion import network_time
from pilotage.interop.glide.infer import text_unet_settings
from pilotage.interop.glide.tensors import export_text_unet, load_text_unet, text_unet_pairs
from pilotage.interop.glide.tokenizer import END_OF_TEXT, glide_tokenizer
from pilotage.networks.blocks import Attention
from pilotage.networks.text_cond import EncodedText, TextCond

from .reference import (
    Answers,
    distance,
    every_folder,
    float32_room,
    float64_room,
    folders,
    state_dict,
)
from .same_network import assert_blind, gradient_sizes, unfilled, with_wide_tables

GIVEN = ("in", "model", "superres", "inpaint")
PUBLISHED_STEPS = 1000
END = torch.tensor([torch.inf], dtype=torch.float64)

recorded = every_folder("glide_text2im")
answers = Answers(
    "glide_text2im",
    lambda name: None if name.split("/")[0] in GIVEN else name.removesuffix("_f64"),
)


def flags_of(config):
    """What the tensors do not tell, from GLIDE's own keywords."""
    flags = {"text_heads": config["xf_heads"], "dropout": config.get("dropout", 0)}
    if config.get("num_head_channels", -1) != -1:
        return {**flags, "head_channels": config["num_head_channels"]}
    up = config.get("num_heads_upsample", -1)
    return {**flags, "heads": config["num_heads"], "heads_up": None if up == -1 else up}


class Run:
    """The recorded inputs and networks in one precision."""

    def __init__(self, facts, tensors, dtype):
        self.facts, self.tensors, self.dtype = facts, tensors, dtype

    def get(self, name):
        tensor = self.tensors[f"in/{name}"]
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def network(self, prefix="model"):
        config = self.facts["config" if prefix == "model" else "config_superres_inpaint"]
        weights = state_dict(self.tensors, prefix)
        return load_text_unet(weights, **flags_of(config)).to(self.dtype)

    @property
    def captions(self):
        return TextCond(self.tensors["in/tokens"], self.tensors["in/mask"])

    def predict(self, prefix="model", **images):
        cond = self.captions._replace(**images)
        return self.network(prefix)(self.get("x"), self.tensors["in/timesteps"], cond)

    @property
    def schedule(self):
        kind = {"squaredcos_cap_v2": "cosine"}.get(self.facts["schedule"], self.facts["schedule"])
        return Timesteps(kind, self.facts.get("diffusion_steps", PUBLISHED_STEPS))

    @property
    def chain(self):
        """λ of the respaced chain, decreasing."""
        wanted = self.facts["respacing"]
        return self.schedule.grid(wanted or str(self.schedule.count)).flip(0)

    def guided(self, time):
        """Their model function: the first half of x under all captions; its s is 1 + w.

        The condition is the number of a caption, and the null condition that of an empty one.
        """
        network = self.network()
        encoded, seen = network.encode(self.captions), []

        def numbered(z, time, rows):
            seen.append(network(z, time, EncodedText(encoded.pooled[rows], encoded.sequence[rows])))
            return seen[-1]

        half = len(time) // 2
        z, rows = self.get("x")[:half], torch.arange(2 * half)
        denoise = NetworkDenoiser(numbered, "eps", lambda lam: time)
        guide = classifier_free(denoise, self.facts["guidance_scale"] - 1, null=rows[half:])
        eps = guide(z, torch.zeros(half), rows[:half]).eps
        return torch.cat([torch.cat([eps, eps]), seen[0][:, z.shape[1] :]], dim=1)

    def stepped(self, step, clip=True):
        """The states that a step leads to, guided, one example at a time: their λ are scalars."""
        levels, lams = self.tensors["in/t_respaced"].tolist(), torch.cat([END, self.chain])
        time = network_time(self.schedule)(lams[1:][levels]).to(self.dtype)
        output, z, noise = self.guided(time), self.get("x"), self.get("noise")
        states = []
        for i, t in enumerate(levels):
            row = slice(i, i + 1)
            said = NetworkDenoiser(lambda *_, row=row: output[row], "eps")
            denoise = clip_x(said) if clip else said
            states.append(step(denoise, State(z[row], lams[t + 1]), lams[t], noise[row]))
        return states


# --- networks ------------------------------------------------------------------------------------


@answers(r"out/output")
def output(run):
    return run.predict()


@answers(r"out/xf_(?P<what>proj|out)")
def features(run, what):
    """Their sequence is (B, width, L)."""
    encoded = run.network().encode(run.captions)
    return encoded.pooled if what == "proj" else encoded.sequence.mT


@answers(r"out/superres")
def superres(run):
    return run.predict("superres", low_res=run.get("low_res"))


@answers(r"out/inpaint")
def inpaint(run):
    images = {"known": run.get("inpaint_image"), "known_mask": run.get("inpaint_mask")}
    return run.predict("inpaint", **images)


# --- guidance and steps --------------------------------------------------------------------------


@answers(r"out/guided")
def guided(run):
    return run.guided(run.tensors["in/timesteps"])


@answers(r"out/p_sample(?P<what>_pred_xstart)?_clip(?P<clip>[01])")
def p_sample(run, what, clip):
    states = run.stepped(ancestral("learned"), bool(int(clip)))
    return torch.cat([state.prediction.x if what else state.z for state in states])


@answers(r"out/ddim_sample")
def ddim_sample(run):
    return torch.cat([state.z for state in run.stepped(ddim(0))])


@answers(r"out/ts_given_to_model")
def told_times(run):
    lams = run.chain[run.tensors["in/t_respaced"]]
    time = network_time(run.schedule)(lams)
    assert torch.equal(time, time.round())
    return time.long()


def betas(lams):
    """β of a chain of decreasing λ: the transition variance τ σ_t²."""
    return tau(lams, torch.cat([END, lams[:-1]])) * torch.sigmoid(-lams)


@answers(r"respaced/betas")
def chain_betas(run):
    return betas(run.chain)


@answers(r"respaced/fast27_(?P<kind>\w+)_betas")
def fast27_betas(run, kind):
    schedule = Timesteps(kind, PUBLISHED_STEPS)
    return betas(schedule.grid("fast27").flip(0))


# --- tokens --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(recorded):
    return made_tokenizer(recorded[0])


def made_tokenizer(facts):
    place = folders()[facts.where.split("/")[0]] / "glide_tokenizer"
    files = [place / n for n in ("encoder.json.gz", "vocab.bpe.gz")]
    for path in files:
        if not path.is_file():
            pytest.skip(f"{facts.where} has no vocabulary {path}")
    return glide_tokenizer(*files, context=facts["tokenizer"]["text_ctx"])


@answers(r"tokenizer/(?P<what>padded_tokens|mask)")
def padded(run, what):
    captions = [c["caption"] for c in run.facts["tokenizer"]["captions"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of the captions are cut
        cond = Tokens(made_tokenizer(run.facts)).collate(captions)
    return cond.mask if what == "mask" else cond.tokens


def test_raw_tokens(recorded, tokenizer):
    """The JSON holds the first of a long caption's tokens, and how many there are."""
    for entry in recorded[0]["tokenizer"]["captions"]:
        ours = tokenizer.ids(entry["caption"])
        assert len(ours) == entry["n_tokens"]
        assert ours[: len(entry["tokens"])] == entry["tokens"]


def test_the_facts_of_the_vocabulary(recorded, tokenizer):
    facts = recorded[0]["tokenizer"]
    assert facts["end_token_string"] == END_OF_TEXT
    assert (tokenizer.size, tokenizer.end) == (facts["n_vocab"], facts["end_token"])
    empty = Tokens(tokenizer).collate([""])
    assert (empty.tokens == tokenizer.end).all() == facts["uncond_tokens_all_equal_end"]
    assert empty.mask.any() == facts["uncond_mask_any"]
    assert tokenizer.end not in tokenizer.ids(END_OF_TEXT)


# --- beyond the answers --------------------------------------------------------------------------


def test_fast27_keeps_their_timesteps(recorded):
    assert respaced(PUBLISHED_STEPS, "fast27") == recorded[0]["fast27_steps"]


@pytest.mark.parametrize("prefix", ["model", "superres", "inpaint"])
def test_the_tensors_tell_the_settings(recorded, prefix):
    facts, tensors = recorded
    config = facts["config" if prefix == "model" else "config_superres_inpaint"]
    weights = state_dict(tensors, prefix)
    told = text_unet_settings(weights, **flags_of(config))
    expected = {
        "vocabulary": facts["config"]["n_vocab_stub"],
        "context": config["text_ctx"],
        "text_width": config["xf_width"],
        "text_layers": config["xf_layers"],
        "text_heads": config["xf_heads"],
        "final_norm": config["xf_final_ln"],
        "padding": config["xf_padding"],
        "in_channels": config["in_channels"],
        "learned_variance": config["out_channels"] == 2 * config["in_channels"],
        "low_res": prefix == "superres",
        "inpaint": prefix == "inpaint",
        "channels": config["model_channels"],
        "channel_mult": config["channel_mult"],
        "num_res_blocks": config["num_res_blocks"],
        "scale_shift_norm": config["use_scale_shift_norm"],
        "dropout": config.get("dropout", 0),
    }
    assert {name: told[name] for name in expected} == expected
    half = {name: tensor.half().to("meta") for name, tensor in weights.items()}
    assert text_unet_settings(half, **flags_of(config)) == told


@pytest.mark.parametrize("prefix", ["model", "superres", "inpaint"])
def test_export_gives_the_weights_back(recorded, prefix):
    weights = state_dict(recorded[1], prefix)
    back = export_text_unet(Run(*recorded, torch.float32).network(prefix))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_the_order_of_the_rows_matters(recorded):
    """With several heads anywhere, rows left as they are give something else."""
    run = Run(*recorded, torch.float64)
    network = run.network()
    cond, x, time = run.captions, run.get("x"), run.tensors["in/timesteps"]
    several = [m for m in network.modules() if isinstance(m, Attention) and m.heads > 1]
    if not several:
        pytest.skip("every attention has one head")
    with torch.no_grad():
        right = network(x, time, cond)
        for layer in several:
            for part in ("weight", "bias"):
                rows = getattr(layer.text_kv, part)
                heads = (2, layer.heads, -1)
                rows.data = rows.unflatten(0, heads).transpose(0, 1).flatten(0, 2).clone()
        room = float32_room(run.facts["f32_vs_f64"]["output"]["max_abs"], right)
        assert distance(network(x, time, cond), right) > 10 * room


def test_the_output_reacts_to_the_same_parameters(recorded):
    run = Run(*recorded, torch.float64)
    network = run.network()
    made = network(run.get("x"), run.tensors["in/timesteps"], run.captions)
    names = {pair.ours: pair.theirs for pair in text_unet_pairs(network)}
    sizes = gradient_sizes(made, {names[n]: p for n, p in network.named_parameters()})
    assert_blind(sizes, run.facts["params_output_is_blind_to"], network)


def test_a_missing_tensor_is_listed_whichever_it_is(recorded):
    facts, tensors = recorded
    weights, flags = state_dict(tensors, "superres"), flags_of(facts["config_superres_inpaint"])
    whole = {"padding_embedding"}  # a network without it looks like one that lost it
    for gone in weights.keys() - whole:
        left = {name: tensor for name, tensor in weights.items() if name != gone}
        with pytest.raises(PilotageError) as caught, unfilled():
            load_text_unet(left, **flags)
        assert gone in str(caught.value)
    with pytest.raises(PilotageError, match=re.escape("left over: surplus.weight.")):
        load_text_unet({**weights, "surplus.weight": torch.zeros(1)}, **flags)


# --- all of them ---------------------------------------------------------------------------------


@answers.each()
def test_answer(recorded, name):
    facts, tensors = recorded
    expected, exact = tensors[name], name.endswith("_f64")
    run = Run(facts, tensors, torch.float64 if exact else torch.float32)

    def evaluate():
        with torch.no_grad():
            return answers.of(name, run)

    ours = evaluate()
    assert ours.dtype == expected.dtype
    if not expected.is_floating_point():
        assert torch.equal(ours, expected)
        return
    if expected.dtype == torch.float64:
        allowed = float64_room(expected) + 10 * distance(ours, with_wide_tables(evaluate))
    else:
        of = name.removeprefix("out/")
        allowed = float32_room(facts["f32_vs_f64"][of]["max_abs"], expected)
    error = distance(ours, expected)
    assert error <= allowed, f"{error:.3g} is above {allowed:.3g}"
