"""Walks the table of parameters: good values change the specification as they should, bad ones are named."""

import math
from dataclasses import dataclass, field, replace

import pytest

import services
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation.request import AWS
from gyropilot.problems.text_generation.tuning import reading
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS, TUNING_TYPES
from gyropilot.problems.text_generation.tuning.reading import TUNE, read
from gyropilot.problems.text_generation.tuning.specification import VIRTUAL_TOKEN_TYPES, read_tuning_spec

CAUSAL = Surroundings(
    is_encoder_decoder=False,
    context_tokens=512,
    model_tokens=512,
    linear_layers=("q_proj", "v_proj"),
    columns=lambda: ("input", "output", "topic"),
    cuda_devices=2,
)
PROMPT = {"tuning_type": "PROMPT_TUNING", "num_virtual_tokens": 8}
MULTITASK = {"tuning_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 8}
LORA = {"tuning_type": "LORA"}
AVERAGE = {"prompt_tuning_init_method": "AVERAGE_SOURCE", "prompt_tuning_init_source_model": "topics"}
PEFT = {"tuning_type": "PEFT", "peft_type": "LOHA"}
TEXT = {**PROMPT, "prompt_tuning_init_method": "TEXT"}
NO_WHOLES = (0, -1, 1.5, 3.0, True, "3", math.nan, [1])
NO_WORDS = ("", "NO SUCH", "lora ", 1, True, ["LORA"], {})
NO_TEXTS = ("", "  ", 7, True, ["a"], "\ud800")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a parameter takes and refuses."""

    good: dict = field(default_factory=dict)
    """By a value of JSON (a tuple stands for a list): what the specification then holds."""
    bad: tuple = ()
    strings: dict = field(default_factory=dict)
    """By a string of the map: what the specification then holds."""
    bad_strings: tuple = ()
    beside: dict = field(default_factory=dict)
    """What else is given, that the parameter means something."""


ROWS = {
    "tuning_type": Row(
        good={"LORA": "LORA", "FULL": "FULL", "IA3": "IA3"},
        bad=NO_WORDS,
        strings={"LORA": "LORA", "FULL": "FULL"},
        bad_strings=("full", "QLORA", ""),
    ),
    "num_epochs": Row(good={1: 1, 500: 500}, bad=NO_WHOLES, strings={"10": 10}, bad_strings=("0", "11", "2.5", "")),
    "batch_size": Row(good={1: 1, 200: 200}, bad=NO_WHOLES, strings={"64": 64}, bad_strings=("0", "65", "-1", "x")),
    "accumulate_steps": Row(good={1: 1, 32: 32}, bad=NO_WHOLES, strings={"4": 4}, bad_strings=("0", "-1", "1e3")),
    "learning_rate": Row(
        good={0.3: 0.3, 1: 1.0, 1e-9: 1e-9, 7.5: 7.5},
        bad=(0, -0.1, math.nan, math.inf, True, "0.1", [], 10**400),
        strings={"0": 0.0, "1e-5": 1e-5, ".5": 0.5},
        bad_strings=("1.1", "-1", "nan", "inf", "0,1", "1e999"),
    ),
    "learning_rate_warmup_steps": Row(
        good={0: 0, 1000: 1000},
        bad=(-1, 0.5, True, "1"),
        strings={"0": 0, "250": 250},
        bad_strings=("251", "-1", "a"),
    ),
    "max_source_length": Row(good={1: 1, 300: 300}, bad=NO_WHOLES, strings={"64": 64}, bad_strings=("0", "all")),
    "max_target_length": Row(good={1: 1, 300: 300}, bad=NO_WHOLES, strings={"64": 64}, bad_strings=("0", "all")),
    "verbalizer": Row(
        good={"Q: {{input}} A:": "Q: {{input}} A:", "{{input}}": "{{input}}", "{{ x }} {{input}}": "{{ x }} {{input}}"},
        bad=(
            *NO_TEXTS,
            "no place",
            "{{ input }}",
            "{{}}",
            "{input}",
            "{{input}} {{output}}",
            "{{topic}}",
            "{{output}}",
        ),
    ),
    "device": Row(
        good={"cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1"},
        bad=(*NO_TEXTS, "gpu", "cuda:2", "cuda:", "CPU", "cuda:-1", "mps"),
        strings={"cpu": "cpu", "cuda": "cuda"},
        bad_strings=("gpu", "cuda-0"),
    ),
    "torch_dtype": Row(
        good={name: name for name in ("float32", "float16", "bfloat16", "float64")},
        bad=("int8", "float8", "torch.float32", 32, True, ""),
        strings={"bfloat16": "bfloat16"},
        bad_strings=("int8", "bf16"),
    ),
    "silence_progress_bars": Row(good={True: True, False: False}, bad=("yes", 0, 1, [])),
    "seed": Row(
        good={0: 0, 73: 73, 2**32 - 1: 2**32 - 1},
        bad=(-1, 2**32, 1.5, True, "73"),
        strings={"0": 0, "4294967295": 2**32 - 1},
        bad_strings=("-1", "4294967296", "x"),
    ),
    "num_virtual_tokens": Row(
        good={1: 1, 448: 448},
        bad=(*NO_WHOLES, 449, 512, 10**6),
        strings={"20": 20},
        bad_strings=("0", "449", "-1", ""),
        beside={"tuning_type": "P_TUNING"},
    ),
    "prompt_tuning_init_method": Row(
        good={"RANDOM": "RANDOM", "SAMPLE_VOCAB": "SAMPLE_VOCAB"},
        bad=(*NO_WORDS, "ONLY_SOURCE_SHARED", "AVERAGE_SOURCE", "AVERAGE_SOURCE_TASKS", "random"),
        strings={"SAMPLE_VOCAB": "SAMPLE_VOCAB"},
        bad_strings=("SOURCE_SHARED", "AVERAGE_SOURCE", "text"),
        beside=PROMPT,
    ),
    "prompt_tuning_init_text": Row(good={"Say whether.": "Say whether."}, bad=NO_TEXTS, beside=TEXT),
    "prompt_tuning_init_source_model": Row(
        bad=(*NO_TEXTS, "../up", "/abs", "a/b", ".hidden", "a" * 64, "fine-but-no-source-method"),
        bad_strings=("..", ".a"),
        beside=MULTITASK,
    ),
    "output_model_types": Row(
        good={("DECODER",): ("DECODER",)},
        bad=([], ["ENCODER"], ["DECODER", "DECODER"], ["decoder"], "DECODER", [1], {"DECODER": 1}),
        strings={"DECODER": ("DECODER",)},
        bad_strings=("ENCODER", "DECODER-DECODER", "BOTH", ""),
        beside=PROMPT,
    ),
    "prompt_ranks": Row(
        good={1: 1, 4: 4}, bad=(*NO_WHOLES, 257), strings={"2": 2}, bad_strings=("0", "257"), beside=MULTITASK
    ),
    "task_column": Row(good={"topic": "topic"}, bad=(*NO_TEXTS, "input", "output", "other"), beside=MULTITASK),
    "lora_rank": Row(
        good={1: 1, 64: 64}, bad=(*NO_WHOLES, 1025), strings={"8": 8}, bad_strings=("0", "1025", "8.0"), beside=LORA
    ),
    "lora_alpha": Row(
        good={8: 8.0, 0.5: 0.5},
        bad=(0, -1, math.inf, True, "8"),
        strings={"16": 16.0},
        bad_strings=("0", "-1", "inf"),
        beside=LORA,
    ),
    "lora_dropout": Row(
        good={0: 0.0, 0.1: 0.1},
        bad=(1, -0.1, 1.5, math.nan, True, "0.1"),
        strings={"0.05": 0.05},
        bad_strings=("1", "-0.1"),
        beside=LORA,
    ),
    "lora_targets": Row(
        good={("q_proj", "v_proj"): ("q_proj", "v_proj")},
        bad=([], ["q_proj", "q_proj"], ["o_proj"], "q_proj", [1], ["model.q_proj"]),
        beside=LORA,
    ),
    "lora_variant": Row(
        good={"RSLORA": "RSLORA", "DORA": "DORA"},
        bad=NO_WORDS,
        strings={"DORA": "DORA"},
        bad_strings=("dora", "ADALORA"),
        beside=LORA,
    ),
    "lora_init": Row(
        good={"PISSA": "PISSA", "PISSA_NITER_16": "PISSA_NITER_16", "OLORA": "OLORA"},
        bad=(*NO_WORDS, "EVA", "LOFTQ", "CORDA", "LORA_GA", "PISSA_NITER_", "PISSA_NITER_0"),
        strings={"ORTHOGONAL": "ORTHOGONAL"},
        bad_strings=("eva", "pissa"),
        beside=LORA,
    ),
    "peft_type": Row(
        good={"LOHA": "LOHA", "FOURIERFT": "FOURIERFT"},
        bad=(*NO_WORDS, "ADALORA", "LORA", "loha"),
        strings={"VERA": "VERA"},
        bad_strings=("ADALORA", "vera"),
        beside={"tuning_type": "PEFT"},
    ),
    "peft_settings": Row(
        bad=("r=4", [4], {"r": 0}, {"r": 10**9}, {"r": True}, {"rank": 4}, {"target_modules": ["q_proj"]}, {1: 2}),
        beside=PEFT,
    ),
}
KEYED = [parameter for parameter in PARAMETERS if parameter.key]


def test_the_walk_leaves_no_parameter_out():
    assert list(ROWS) == [parameter.name for parameter in PARAMETERS]
    assert {name for name, row in ROWS.items() if row.strings or row.bad_strings} == {one.name for one in KEYED}


def value_of(asked, name):
    parameter = next(one for one in PARAMETERS if one.name == name)
    held_by = asked if hasattr(asked, parameter.kept_as) else asked.tuning
    return getattr(held_by, parameter.kept_as)


def beside(name):
    """What is given beside a parameter: what its row says, or LoRA, which takes nothing more."""
    return {} if name == "tuning_type" else ROWS[name].beside or LORA


def asked_by_strings(strings, values, around=CAUSAL):
    faults = []
    given = reading.of_strings(strings, where="Map", faults=faults)
    given += reading.of_object(values, where=lambda path: f"Object.{path}", faults=faults)
    asked = reading.settle(given, around, way=AWS, faults=faults)
    if faults:
        raise InvalidRequest.of(faults)
    return asked


def faults_of(call, *arguments):
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    return caught.value.faults


def fault_of(values, around=CAUSAL):
    (fault,) = faults_of(read, values, around)
    return fault


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [(name, given, held) for name, row in ROWS.items() for given, held in row.good.items()],
)
def test_a_good_value_is_what_the_specification_holds(name, given, held):
    given = list(given) if isinstance(given, tuple) else given
    asked = read(beside(name) | {name: given}, CAUSAL)
    assert (value_of(asked, name), type(value_of(asked, name))) == (held, type(held))
    assert read_tuning_spec(asked.tuning.to_json()) == asked.tuning


@pytest.mark.parametrize(("name", "given"), [(name, given) for name, row in ROWS.items() for given in row.bad])
def test_a_bad_value_is_a_fault_that_names_the_parameter(name, given):
    fault = fault_of(beside(name) | {name: given})
    assert fault.where.partition(".")[0] == name
    assert fault.problem
    assert fault.fix


@pytest.mark.parametrize(
    ("name", "text", "held"),
    [(name, text, held) for name, row in ROWS.items() for text, held in row.strings.items()],
)
def test_a_good_string_of_the_map_is_what_the_specification_holds(name, text, held):
    parameter = next(one for one in KEYED if one.name == name)
    asked = asked_by_strings({parameter.key: text}, beside(name))
    assert value_of(asked, name) == held
    assert parameter.key not in asked.defaulted


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, row in ROWS.items() for text in row.bad_strings])
def test_a_bad_string_of_the_map_is_a_fault_that_names_its_key(name, text):
    parameter = next(one for one in KEYED if one.name == name)
    (fault,) = faults_of(asked_by_strings, {parameter.key: text}, beside(name))
    assert fault.where == f"Map.{parameter.key}"


@pytest.mark.parametrize("name", [one.name for one in PARAMETERS if one.types])
def test_a_parameter_that_means_nothing_for_a_type_is_refused_with_the_types_it_is_for(name):
    parameter = next(one for one in PARAMETERS if one.name == name)
    row = ROWS[name]
    given = next(iter(row.good), "any" if name == "prompt_tuning_init_source_model" else {"r": 2})
    given = list(given) if isinstance(given, tuple) else given
    fault = fault_of({"tuning_type": "FULL", name: given})
    assert fault.where == name
    assert "means nothing for FULL" in fault.problem
    assert all(one in fault.fix for one in parameter.types)


@pytest.mark.parametrize("tuning_type", list(TUNING_TYPES))
def test_every_type_has_every_default(tuning_type):
    needed = {"num_virtual_tokens": 4} if tuning_type in VIRTUAL_TOKEN_TYPES else {}
    needed |= {"peft_type": "LOHA"} if tuning_type == "PEFT" else {}
    asked = read({"tuning_type": tuning_type, **needed}, CAUSAL)
    aws = asked_by_strings({}, {"tuning_type": tuning_type, **needed})
    is_virtual, is_prompt = tuning_type in VIRTUAL_TOKEN_TYPES, tuning_type.endswith("PROMPT_TUNING")
    assert (asked.epochs, aws.epochs) == ((20, 10) if is_virtual else (3, 3))
    assert asked.learning_rate == {"LORA": 2e-4, "FULL": 5e-5}.get(tuning_type)
    assert (asked.batch_size, asked.warmup_steps, asked.seed, asked.tuning.accumulate_steps) == (8, 10, 42, 1)
    lengths = (asked.tuning.max_source_length, asked.tuning.max_target_length, asked.tuning.verbalizer)
    assert lengths == ((256, 128, "{{input}}") if is_prompt else (None, None, None))
    is_rows = is_prompt or tuning_type == "P_TUNING"
    assert asked.tuning.output_model_types == (("DECODER",) if is_rows else ())
    assert asked.tuning == aws.tuning


def test_each_way_has_its_own_type_where_none_is_given():
    assert read({"num_virtual_tokens": 4}, CAUSAL).tuning.tuning_type == TUNE.tuning_type == "PROMPT_TUNING"
    assert asked_by_strings({}, {}).tuning.tuning_type == "LORA"


def test_an_encoder_decoder_model_has_its_rows_before_the_encoder_and_takes_all_sides():
    seq2seq = Surroundings(is_encoder_decoder=True)
    assert read(PROMPT, seq2seq).tuning.output_model_types == ("ENCODER",)
    both = read({**PROMPT, "output_model_types": ["DECODER", "ENCODER"]}, seq2seq)
    assert both.tuning.output_model_types == ("ENCODER", "DECODER")
    strings = asked_by_strings({"outputModelTypes": "ENCODER-DECODER"}, PROMPT, seq2seq)
    assert strings.tuning.output_model_types == ("ENCODER", "DECODER")
    fault = fault_of({"tuning_type": "PREFIX_TUNING", "num_virtual_tokens": 4}, seq2seq)
    assert (fault.where, "encoder" in fault.problem) == ("tuning_type", True)


def test_rows_leave_room_for_text_on_all_sides_together():
    seq2seq = Surroundings(is_encoder_decoder=True, context_tokens=128, model_tokens=256)
    both = {**PROMPT, "output_model_types": ["ENCODER", "DECODER"]}
    assert read({**both, "num_virtual_tokens": 96}, seq2seq).tuning.num_virtual_tokens == 96
    fault = fault_of({**both, "num_virtual_tokens": 97}, seq2seq)
    assert (fault.where, fault.found, "takes 96 rows on both sides" in fault.problem) == (
        "num_virtual_tokens",
        97,
        True,
    )
    assert read({**PROMPT, "num_virtual_tokens": 127}, seq2seq).tuning.num_virtual_tokens == 127


def test_the_room_is_that_of_the_installed_model(tmp_path):
    store = BaseModelStore(tmp_path / "store", allow_downloads=False)
    (tmp_path / "store").mkdir()
    store.add("tiny", services.make_tiny_model(tmp_path / "tiny"), licence="mit")
    around = Surroundings().beside(store.find("tiny"))
    assert read({**PROMPT, "num_virtual_tokens": 256 - 64}, around)
    assert fault_of({**PROMPT, "num_virtual_tokens": 256 - 63}, around).where == "num_virtual_tokens"
    fault = fault_of({**PEFT, "peft_type": "C3A"}, around)
    assert (fault.where, fault.found) == ("tuning_config.peft_settings.block_size", 256)
    assert read({**PEFT, "peft_type": "C3A", "peft_settings": {"block_size": 8}}, around)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"tuning_type": "PROMPT_TUNING"}, "tuning_config.num_virtual_tokens"),
        (TEXT, "tuning_config.prompt_tuning_init_text"),
        ({**MULTITASK, "prompt_tuning_init_method": "AVERAGE_SOURCE"}, "tuning_config.prompt_tuning_init_source_model"),
        ({"tuning_type": "PEFT"}, "tuning_config.peft_type"),
    ],
)
def test_what_a_type_or_method_needs_is_missed_by_name(given, where):
    fault = fault_of(given)
    assert (fault.where, fault.problem.partition(":")[0]) == (where, "is missing")


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({**PROMPT, "prompt_tuning_init_method": "ONLY_SOURCE_SHARED"}, "prompt_tuning_init_method"),
        (
            {"tuning_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "prompt_tuning_init_method": "SAMPLE_VOCAB"},
            "prompt_tuning_init_method",
        ),
        ({**MULTITASK, "prompt_tuning_init_source_model": "topics"}, "prompt_tuning_init_source_model"),
        ({**MULTITASK, **AVERAGE, "task_column": "topic"}, "task_column"),
        ({**LORA, "lora_init": "ORTHOGONAL", "lora_rank": 7}, "lora_rank"),
        ({**PEFT, "peft_type": "LN_TUNING", "lora_targets": ["q_proj"]}, "lora_targets"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given, where):
    faults = faults_of(read, given, CAUSAL)
    assert where in [one.where for one in faults]
    assert len(faults) == 1 or "prompt_tuning_init_source_model" in given  # of which none is there to be found


def test_the_columns_of_text_and_labels_name_no_task_where_they_are_the_rows():
    labelled = replace(CAUSAL, columns=lambda: ("text", "labels", "input"))
    assert read({**MULTITASK, "task_column": "text"}, labelled).tuning.task_column == "text"
    labelled = replace(CAUSAL, columns=lambda: ("text", "labels", "topic"))
    assert fault_of({**MULTITASK, "task_column": "labels"}, labelled).where == "task_column"
    assert read({**MULTITASK, "task_column": "topic"}, labelled).tuning.task_column == "topic"


def test_what_the_fact_sheet_ignores_is_not_kept():
    given = {**PROMPT, "prompt_tuning_init_source_model": "topics", "prompt_tuning_init_text": "Say."}
    tuning = read(given, CAUSAL).tuning
    assert (tuning.prompt_tuning_init_source_model, tuning.prompt_tuning_init_text) == (None, None)


def test_alpha_follows_the_rank_unless_it_is_given():
    assert read({**LORA, "lora_rank": 4}, CAUSAL).tuning.lora_alpha == 8.0
    assert read({**LORA, "lora_rank": 4, "lora_alpha": 32}, CAUSAL).tuning.lora_alpha == 32.0


def test_lr_is_another_name_of_learning_rate():
    assert read({**LORA, "lr": 0.5}, CAUSAL).learning_rate == 0.5
    assert read({**LORA, "lr": 0.5, "learning_rate": 0.5}, CAUSAL).learning_rate == 0.5
    fault = fault_of({**LORA, "lr": 0.5, "learning_rate": 0.25})
    assert (fault.where, fault.found, "lr" in fault.problem) == ("learning_rate", 0.25, True)


def test_words_have_their_other_spellings():
    source = {"prompt_tuning_init_method": "AVERAGE_SOURCE_TASKS", "tuning_type": "MULTITASK_PROMPT"}
    faults = faults_of(read, {"num_virtual_tokens": 4, **source}, CAUSAL)
    assert [one.problem for one in faults] == ["is missing: the method AVERAGE_SOURCE needs it"]


def test_members_of_tuning_config_stand_within_it_or_beside_it():
    inside = read({"tuning_type": "LORA", "tuning_config": {"lora_rank": 4}}, CAUSAL)
    assert inside == read({"tuning_type": "LORA", "lora_rank": 4}, CAUSAL)
    fault = fault_of({"tuning_type": "LORA", "lora_rank": 4, "tuning_config": {"lora_rank": 8}})
    assert fault.where == "tuning_config.lora_rank"
    assert fault_of({"tuning_type": "LORA", "tuning_config": {"num_epochs": 3}}).fix == "give it beside tuning_config"
    assert fault_of({"tuning_type": "LORA", "tuning_config": [1]}).where == "tuning_config"


def test_none_is_as_if_it_were_not_given():
    assert read({**PROMPT, "seed": None, "tuning_config": None, "verbalizer": None}, CAUSAL) == read(PROMPT, CAUSAL)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num_epoch", "did you mean num_epochs?"),
        ("epochCount", "did you mean num_epochs?"),
        ("initMethod", "did you mean prompt_tuning_init_method?"),
        ("verbaliser", "did you mean verbalizer?"),
        ("base_model", "BaseModelName"),
        ("no", "known are tuning_type"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name, hint):
    fault = fault_of({**LORA, name: 1})
    assert (fault.where, hint in fault.fix) == (name, True)


def test_a_key_of_the_map_is_not_known_by_its_other_name():
    (fault,) = faults_of(asked_by_strings, {"num_virtual_tokens": "8"}, {})
    assert (fault.where, "did you mean numVirtualTokens?" in fault.fix) == ("Map.num_virtual_tokens", True)


def test_map_and_object_together_say_one_thing():
    asked = asked_by_strings({"tuningType": "PROMPT_TUNING", "numVirtualTokens": "8"}, {"num_virtual_tokens": 8})
    assert asked.tuning.num_virtual_tokens == 8
    (fault,) = faults_of(asked_by_strings, {"epochCount": "3"}, {"num_epochs": 12})
    assert (fault.where, fault.found, "Map.epochCount" in fault.problem) == ("Object.num_epochs", 12, True)


def test_all_faults_come_at_once():
    given = {**PROMPT, "seed": -1, "device": "gpu", "verbalizer": "none", "nothing": 1, "lora_rank": 2}
    wheres = [one.where for one in faults_of(read, given, CAUSAL)]
    assert sorted(wheres) == ["device", "lora_rank", "nothing", "seed", "verbalizer"]


def test_a_device_is_only_looked_for_where_the_machine_is_known():
    assert read({**LORA, "device": "cuda:7"}, Surroundings()).tuning.device == "cuda:7"
    none = Surroundings(cuda_devices=0)
    assert "which has cpu" in fault_of({**LORA, "device": "cuda"}, none).problem
    assert read({**LORA, "device": "cpu"}, none).tuning.device == "cpu"


def test_settings_of_a_method_of_peft_are_kept():
    asked = read({**PEFT, "peft_settings": {"r": 4, "module_dropout": 0.1}}, CAUSAL)
    assert asked.tuning.peft_settings == {"r": 4, "module_dropout": 0.1}


def test_more_names_than_there_are_parameters_are_told_in_one_fault():
    many = {f"name{number}": 1 for number in range(20_000)}
    assert "20000 members" in fault_of({**LORA, "tuning_config": many}).problem
    told = faults_of(read, {**LORA, **many}, CAUSAL)[0]
    assert (told.where, "20001 members" in told.problem) == ("parameters", True)
    assert fault_of({**PEFT, "peft_settings": many}).where == "peft_settings"
    assert fault_of({**LORA, "lora_targets": list(many)}).where == "lora_targets"
