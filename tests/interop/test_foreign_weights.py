"""Checkpoints as training loops wrap them, and files that are none."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.interop import export_unet, load_unet
from pilotage.interop.foreign_weights import read_weights
from pilotage.networks import UNet, UNetPlan

from .foreign import import_refused, run_import

STATE = {f"{place}.0.{name}": torch.randn(3) for place in ("in", "out") for name in "ab"}
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}
ADAM = {
    "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}},
    "param_groups": [{"lr": 1e-3, "params": [0]}],
}


def prefixed(prefix, state=STATE):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def same(found, state=STATE):
    return found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


WRAPPED = {
    "module": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "both": prefixed("module._orig_mod."),
    "compiled inside": {name.replace(".0.", ".0._orig_mod."): x for name, x in STATE.items()},
    "model": prefixed("model."),
    "unet": prefixed("unet."),
    "diffusers of lightning": prefixed("model.unet.module."),
    "state_dict": {"state_dict": STATE, "epoch": 3},
    "model and optimizer": {"model": STATE, "optimizer": ADAM, "step": 5, "lr": 0.1},
    "only the average": {"ema": prefixed("module."), "step": 3},
    "lightning": {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.0",
        "state_dict": OrderedDict(prefixed("model.")),
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [ADAM],
        "lr_schedulers": [],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": {"channels": 32, "betas": torch.zeros(2)},
    },
    "nested": {"checkpoint": {"network": {"state_dict": prefixed("module.")}}, "args": {"x": 1}},
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("kind", ["pt", "legacy", "mapping"])
def test_wrappers_are_taken_off(tmp_path, name, kind):
    given = WRAPPED[name]
    if kind != "mapping":
        torch.save(given, tmp_path / "a.pt", _use_new_zipfile_serialization=kind == "pt")
        given = tmp_path / "a.pt"
    assert same(read_weights(given))


def test_of_several_one_is_asked_for():
    both = {"model": prefixed("module."), "ema": prefixed("module.", OTHER), "optimizer": ADAM}
    with pytest.raises(
        PilotageError, match="weights hold 2 state dicts: give key one of model, ema"
    ):
        read_weights(both)
    assert same(read_weights(both, "ema"), OTHER)
    assert same(read_weights(both, "model"))
    assert same(read_weights({"nets": both, "step": 1}, "nets.ema"), OTHER)
    with pytest.raises(PilotageError, match="key is 'mean': the weights have model, ema"):
        read_weights(both, "mean")


def test_of_several_networks_in_one_state_dict_one_is_asked_for():
    flat = prefixed("model.diffusion_model.") | prefixed("first_stage_model.", OTHER)
    for key, given in (("model.diffusion_model", flat), ("state_dict.model", {"state_dict": flat})):
        assert same(read_weights(given, key))
    assert same(read_weights(flat, "first_stage_model"), OTHER)
    assert len(read_weights(flat)) == 8  # what is too much is then named by the table of names
    with pytest.raises(
        PilotageError, match="key is 'x': the weights have first_stage_model, model"
    ):
        read_weights(flat, "x")


@pytest.mark.parametrize(
    "name",
    [
        "unet.down_blocks.0.attn.to_q.lora_A.weight",
        "lora_unet_down_blocks_0.lora_down.weight",
        "base_model.model.to_q.lora_B.default.weight",
        "unet.to_k.processor.to_k_lora.up.weight",
        "lycoris.hada_w1_a",
    ],
)
def test_lora_updates_are_refused_by_name(name):
    with pytest.raises(PilotageError, match=r"LoRA updates, such as .*merge"):
        read_weights({name: torch.zeros(2, 2), "x": torch.zeros(2)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": torch.zeros(1), "step": 3}, "other things than tensors, in step"),
        ({"optimizer": ADAM, "step": 3}, "other things than tensors, in optimizer, step"),
        ({0: torch.zeros(1)}, "other things than tensors, in 0"),
        (
            {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": STATE}}}}}}}},
            "other things than tensors, in a",
        ),
    ],
)
def test_what_is_no_state_dict(given, message):
    with pytest.raises(PilotageError, match=message):
        read_weights(given)


def test_a_name_that_is_a_prefix_alone():
    assert read_weights({"model": torch.zeros(1)}).keys() == {"model"}
    assert read_weights({}) == {}


# --- files ------------------------------------------------------------------------------------


class Payload:
    """A pickle that would make a folder if it were ever loaded."""

    def __reduce__(self):
        return os.mkdir, ("payload-ran",)


def refusal(path):
    with pytest.raises(PilotageError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "cut", "folder", "pipe", "absent"])
def test_damaged_and_malicious_files(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    whole = io.BytesIO()
    torch.save(STATE, whole)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload()))
    elif kind == "torch":
        torch.save({"a": Payload()}, path)
    elif kind in ("empty", "cut"):
        path.write_bytes(b"" if kind == "empty" else whole.getvalue()[:-200])
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    said = refusal(path)
    assert "weights_only" not in said
    assert "trust" not in said
    assert not (tmp_path / "payload-ran").exists()


def test_tensors_that_are_not_stored_in_full(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "a.pt")
    assert "not stored in full" in refusal(tmp_path / "a.pt")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    refusal(tmp_path / "a.pt")


def test_compressed_files_do_not_swell(tmp_path):
    torch.save({"a": torch.zeros(2**22)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in whole.namelist():
            packed.writestr(member, whole.read(member))
    assert "it would take" in refusal(tmp_path / "a.pt")


# --- imports ----------------------------------------------------------------------------------


def test_imports_take_wrapped_files_and_a_key(tmp_path, capsys):
    torch.manual_seed(0)
    unet = UNet(UNetPlan(in_channels=1, channels=32, channel_mult=(1, 2), num_res_blocks=1))
    state = export_unet(unet)
    flags = ("--size", "8", "8", "--head-channels", "32", "--schedule", "linear")
    torch.save({"ema": prefixed("module.", state), "model": state}, tmp_path / "a.pt")
    assert "give key one of ema, model" in import_refused(
        capsys, "adm", tmp_path / "a.pt", tmp_path / "run", *flags
    )
    assert not (tmp_path / "run").exists()
    assert run_import("adm", tmp_path / "a.pt", tmp_path / "run", "--key", "ema", *flags) == 0
    loaded = load_unet({"state_dict": prefixed("model.", state)}, head_channels=32)
    x, level = torch.randn(1, 1, 8, 8), torch.zeros(1)
    assert same(export_unet(loaded), state)
    assert loaded(x, level).shape[0] == 1


def test_compressed_vocabularies_do_not_swell(tmp_path):
    import gzip

    from pilotage.interop.glide.tokenizer import glide_tokenizer

    for name, content in (("bomb", bytes(2**27)), ("deep", b"[" * 10**5), ("cut", b"{")):
        (tmp_path / name).write_bytes(gzip.compress(content))
        with pytest.raises(PilotageError, match=f"vocabulary is .*{name}"):
            glide_tokenizer(tmp_path / name, tmp_path / name, 16)
