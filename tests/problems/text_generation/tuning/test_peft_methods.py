import pytest
import torch
from peft import PeftModel

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import loop
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.models import DTYPES, trainable_parameters
from gyropilot.problems.text_generation.tuning.ia3 import Ia3
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.peft_methods import PeftMethod
from gyropilot.problems.text_generation.tuning.peft_types import NOT_OFFERED, PEFT_TYPES, faults_of, misfits_of

SETTINGS = {
    "C3A": {"block_size": 32},
    "FOURIERFT": {"n_frequency": 200},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 16},
    "ROAD": {"group_size": 32},
    "SHIRA": {"r": 4},
    "VBLORA": {"vector_length": 32, "num_vectors": 16},
    "VERA": {"r": 16},
    "WAVEFT": {"n_frequency": 200},
}
"""Where PEFT's defaults are for wider models."""
PEFT_TALKS = pytest.mark.filterwarnings("ignore::UserWarning")
METHODS = {
    "IA3": Ia3(),
    "DORA": Lora(rank=4, alpha=8, variant="DORA"),
    "RSLORA": Lora(rank=4, alpha=8, variant="RSLORA"),
    **{
        init: Lora(rank=4, alpha=4, init=init) for init in ("GAUSSIAN", "ORTHOGONAL", "OLORA", "PISSA", "PISSA_NITER_4")
    },
    "OLORA rsLoRA": Lora(rank=4, alpha=4, init="OLORA", variant="RSLORA"),
    "PISSA DoRA": Lora(rank=4, alpha=4, init="PISSA", variant="DORA"),
    **{name: PeftMethod(peft_type=name, settings=SETTINGS.get(name, {})) for name in PEFT_TYPES},
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


@pytest.fixture
def trained(tiny, method, tmp_path):
    """A model after some steps, with the loss before and after."""
    examples, plan = tiny.examples(8), tiny.plan(epochs=6, learning_rate=3e-2, warmup_steps=0)
    model = method.attach(tiny.loaded("llama"), seed=3)
    before = evaluate_loss(model, examples, plan).mean
    loop.train(
        model,
        examples,
        plan,
        checkpoints=tmp_path / "checkpoints",
        reporter=tiny.listener(),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=lambda _: None,
    )
    return model, before, evaluate_loss(model, examples, plan).mean


@PEFT_TALKS
def test_it_learns_loads_in_peft_and_merges_to_the_same_loss(tiny, method, trained, tmp_path):
    examples, plan = tiny.examples(8), tiny.plan()
    model, before, after = trained
    assert after < before - 0.05
    if method.saves_adapter:
        method.save(model, tmp_path / "adapter")
        assert {one.name for one in (tmp_path / "adapter").iterdir()} <= {
            "adapter_config.json",
            "adapter_model.safetensors",
            "README.md",
        }
        again = PeftModel.from_pretrained(tiny.loaded("llama").model, str(tmp_path / "adapter"), is_trainable=True)
        assert evaluate_loss(again, examples, plan).mean == pytest.approx(after, rel=1e-4)
    merged = method.merge(model, dtype="float32")
    assert merged.state_dict().keys() == tiny.loaded("llama").model.state_dict().keys()
    assert evaluate_loss(merged, examples, plan).mean == pytest.approx(after, rel=1e-4)


@PEFT_TALKS
def test_trained_parameters_are_float32_drawn_by_the_seed_over_a_bfloat16_base_and_have_gradients(tiny, method):
    examples, plan = tiny.examples(4), tiny.plan(dtype="bfloat16")
    losses = []
    for _ in range(2):
        loaded = tiny.loaded("llama")
        loaded.model.to(DTYPES[method.base_dtype("bfloat16")])
        torch.rand(5)
        model = method.attach(loaded, seed=3)
        assert {one.dtype for one in trainable_parameters(model).values()} == {torch.float32}
        losses.append(evaluate_loss(model, examples, plan).mean)
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("peft_type", "settings", "told"),
    [
        ("LOHA", {"rank": 4}, "is no setting of LOHA.*known are r, alpha"),
        ("LOHA", {"r": 0}, "is outside 1 to 1024"),
        ("LOHA", {"r": True}, "is not an integer"),
        ("LOHA", {"r": 10**9}, "is outside 1 to 1024"),
        ("LOHA", {"rank_dropout": 1.0}, "is not from 0 to 1, 1 itself left out"),
        ("VBLORA", {"num_vectors": 10**18, "vector_length": 10**18}, "is outside 2 to 4096.*is outside 1 to 16384"),
        ("OFT", {"num_cayley_neumann_terms": 10**9}, "is outside 1 to 100"),
        ("VERA", {"d_initial": 10**400}, "is not a finite number"),
        ("FOURIERFT", {"n_frequency": 10**12}, "is outside 1 to 1000000"),
        ("ROAD", {"variant": "road_3"}, "give one of road_1"),
        ("HRA", {"apply_GS": 1}, "is not true or false"),
        ("LN_TUNING", {"r": 4}, "LN_TUNING has none"),
        ("ADALORA", {}, "must be told of every step"),
        ("LORA", {}, "has a tuning type of its own"),
        ("NOTHING", {}, "is no method of PEFT that is known here.*give one of LOHA"),
    ],
)
def test_what_peft_is_not_asked_for_is_refused_with_its_reason(tiny, peft_type, settings, told):
    assert faults_of(peft_type, settings, where="TuningConfig.peft_settings")
    with pytest.raises(TrainingFailed, match=told):
        PeftMethod(peft_type=peft_type, settings=settings).attach(tiny.loaded("llama"), seed=1)


@pytest.mark.parametrize(
    ("peft_type", "settings", "field", "told"),
    [
        ("ROAD", {"group_size": 9}, "group_size", "must be even"),
        ("ROAD", {}, "group_size", "by default does not divide"),
        ("C3A", {"block_size": 7}, "block_size", "does not divide the base model's width, 96"),
        ("VBLORA", {"vector_length": 32, "num_vectors": 4, "topk": 5}, "topk", "is more than num_vectors"),
        ("GRALORA", {"gralora_k": 3, "r": 16}, "gralora_k", "does not divide r, 16"),
        ("SHIRA", {"r": 49}, "r", "more than half of the base model's width"),
    ],
)
def test_settings_that_fit_neither_each_other_nor_the_model_are_told(peft_type, settings, field, told):
    (fault,) = misfits_of(peft_type, settings, width=96, where="peft_settings")
    assert (fault.where, told in fault.problem) == (f"peft_settings.{field}", True)


def test_those_that_fit_are_not():
    for peft_type in PEFT_TYPES:
        assert not misfits_of(peft_type, {}, width=1024, where="peft_settings")
        assert not misfits_of(peft_type, SETTINGS.get(peft_type, {}), width=64, where="peft_settings")


def test_each_method_is_offered_or_left_out_with_a_reason_and_never_both():
    assert not PEFT_TYPES.keys() & NOT_OFFERED.keys()


@pytest.mark.parametrize("method", [Lora(targets=("q_proj", "query")), Ia3(targets=("query",))])
def test_targets_that_the_model_has_not_are_named_with_those_it_has(tiny, method):
    with pytest.raises(TrainingFailed, match=r"names query, and no linear layer .* are down_proj, gate_proj, k_proj"):
        method.attach(tiny.loaded("llama"), seed=1)


def test_only_the_targets_are_changed(tiny):
    names = trainable_parameters(Lora(targets=("q_proj",)).attach(tiny.loaded("llama"), seed=1))
    assert {name.split(".")[-4] for name in names} == {"q_proj"}


def test_settings_that_do_not_fit_the_model_say_so(tiny):
    with pytest.raises(TrainingFailed, match="does not fit this llama model"):
        PeftMethod(peft_type="SHIRA", settings={"r": 1024}).attach(tiny.loaded("llama"), seed=1)
