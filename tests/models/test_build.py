"""From a card to its networks: every setting of a recipe arrives in the network's plan."""

import pytest

from pilotage.errors import PilotageError
from pilotage.interop.imported_run import built_network
from pilotage.models.build import build_discriminator, plan_of
from pilotage.models.run_folder import Card, DataFacts
from pilotage.networks import UNetPlan
from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    NCSNppSettings,
    Recipe,
    TextRecipe,
    TextUNetSettings,
    UNetSettings,
)

ADM = {
    "channels": 8,
    "channel_mult": (1, 1.5),
    "num_res_blocks": 1,
    "attention_resolutions": (1,),
    "scale_shift_norm": False,
    "resblock_updown": False,
    "conv_resample": False,
    "norm_groups": 4,
    "dropout": 0.1,
}
HEADS = {"heads": 2, "heads_up": 4}
UNET = UNetSettings(**ADM, **HEADS, fourier=(1, 2), null_class=False, head_channels=16)
TEXT = TextUNetSettings(
    **{**ADM, **HEADS, "head_channels": 16, "text_width": 6, "text_layers": 1, "text_heads": 3},
    final_norm=False,
    padding=False,
)
NCSNPP = NCSNppSettings(
    block="ddpm",
    fir=False,
    fir_kernel=(1, 2, 1),
    resample_conv=False,
    skip_rescale=False,
    progressive="residual",
    progressive_input="input_skip",
    progressive_combine="cat",
    centered=False,
    tanh=False,
    time_features="fourier",
    fourier_scale=8.0,
)
GENERATOR = {
    **{"channels": 8, "channel_mult": (1, 3), "num_res_blocks": 1, "dropout": 0.1},
    **{"attention_resolutions": (1,), "latent_dim": 5, "latent_layers": 1},
}


def card(recipe, classes=3):
    names = tuple("abc"[:classes])
    facts = {"train": 1, "held_out": 0, "fingerprint": "", "vocabulary": 20}
    return Card(recipe, DataFacts(shape=(1, 8, 8), classes=names, **facts))


def arrived(network, settings, *apart):
    """Settings, none at its default, are those of the network, but for those set apart."""
    wanted = {name: value for name, value in settings if name not in apart}
    defaults = type(settings).model_fields
    assert [name for name, value in wanted.items() if value == defaults[name].default] == []
    assert {name: getattr(network.plan, name) for name in wanted} == wanted


def test_every_setting_of_a_unet_arrives():
    network = built_network(card(Recipe(network=UNET, p_uncond=0.0)))
    arrived(network, UNET, "head_channels")
    assert network.plan.head_channels is None, "heads take its place"
    plan = built_network(card(Recipe(objective="hybrid", network={"channels": 32}))).plan
    assert (plan.head_channels, plan.num_classes, plan.null_class) == (32, 3, True)
    assert plan.learned_variance


def test_every_setting_of_a_network_that_reads_arrives():
    how = {"data": "x", "network": TEXT, "context": 7}
    network = built_network(card(TextRecipe(**how, inpaint=True, low_res=(4, 4))))
    arrived(network, TEXT, "head_channels")
    plan = network.plan
    assert (plan.vocabulary, plan.encoder_width, plan.context) == (20, None, 7)
    assert (plan.inpaint, plan.low_res, plan.learned_variance) == (True, True, False)
    plan = built_network(card(TextRecipe(**how, encoder="e", objective="hybrid"))).plan
    assert (plan.vocabulary, plan.encoder_width) == (None, 20)
    assert (plan.inpaint, plan.low_res, plan.learned_variance) == (False, False, True)


def test_every_setting_of_a_classifier_arrives():
    settings = EncoderSettings(**ADM, heads=2, head_channels=16, pool="spatial_v2")
    network = built_network(card(ClassifierRecipe(network=settings)))
    arrived(network, settings, "head_channels")
    assert (network.plan.size, network.plan.classes) == ((8, 8), 3)


@pytest.mark.parametrize(
    ("changes", "tanh"),
    [({}, True), ({"predicts": "eps"}, False), ({"direct": True}, False)],
)
def test_every_setting_of_a_unet_with_a_latent_arrives(changes, tanh):
    settings = GeneratorSettings(**GENERATOR, kind="unet", head_channels=4, norm_groups=4)
    network = built_network(card(AdversarialRecipe(network=settings, **changes)))
    arrived(network, settings, "kind", "ncsnpp", "latent_width")
    assert (network.plan.num_classes, network.plan.tanh) == (4, tanh)


def test_every_setting_of_an_ncsnpp_arrives():
    settings = GeneratorSettings(**GENERATOR, latent_width=6, ncsnpp=NCSNPP)
    network = built_network(card(AdversarialRecipe(network=settings, p_uncond=1)))
    arrived(network, settings, "kind", "ncsnpp", "head_channels", "norm_groups")
    arrived(network, NCSNPP)
    assert network.plan.num_classes is None
    timed = settings.replace(ncsnpp=NCSNPP.replace(tanh=True))
    assert built_network(card(AdversarialRecipe(network=timed))).plan.tanh
    drawn = AdversarialRecipe(network=timed, predicts="eps")
    assert not built_network(card(drawn)).plan.tanh


def test_every_setting_of_a_discriminator_arrives():
    settings = DiscriminatorSettings(size="tiny", channels=4, layers=2, time_width=8, slope=0.1)
    recipe = AdversarialRecipe(discriminator=settings)
    network = build_discriminator(card(recipe))
    arrived(network, settings, "layers")
    assert (network.plan.in_channels, network.plan.num_classes) == (1, 4)


def test_networks_of_points_have_their_widths_and_depths():
    recipe = AdversarialRecipe(
        network={"channels": 8, "num_res_blocks": 1, "latent_dim": 5},
        discriminator={"channels": 4, "layers": 2},
    )
    facts = DataFacts(shape=(2,), classes=("a",), train=1, held_out=0, fingerprint="")
    g = built_network(Card(recipe, facts)).plan
    d = build_discriminator(Card(recipe, facts)).plan
    assert (g.dim, g.hidden, g.layers, g.latent_dim, g.num_classes) == (2, 8, 1, 5, 2)
    assert (d.dim, d.hidden, d.layers, d.num_classes) == (2, 4, 2, 2)


def test_a_plan_takes_what_is_given_before_what_settings_say():
    plan = plan_of(UNetPlan, EncoderSettings(norm_groups=4), channels=32, dropout=0.5)
    assert (plan.channels, plan.norm_groups, plan.dropout) == (32, 4, 0.5)
    assert plan.fourier is None, "what neither says has the plan's default"
    later = plan_of(UNetPlan, EncoderSettings(norm_groups=4), TextUNetSettings(norm_groups=2))
    assert later.norm_groups == 2
    with pytest.raises(PilotageError, match="channels is 0"):
        plan_of(UNetPlan, EncoderSettings(), channels=0)
    with pytest.raises(TypeError, match="chanels"):
        plan_of(UNetPlan, EncoderSettings(), chanels=8)
