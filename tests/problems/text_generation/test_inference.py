from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import served_models
from gyropilot.errors import InvalidRequest, LimitExceeded, NotFound, TrainingFailed, Unavailable
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.decoding import memory, opening

QUESTION = "What colour has stone 1?"


@pytest.fixture
def copied(tuned, tmp_path):
    return served_models.unpacked(tuned.output, tmp_path / "model")


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_fresh_process_gives_the_answers_that_were_scored(tuned, copied, tmp_path):
    """As adapter and base, and by the merged weights where the base is not there."""
    scored = tuned.scored()[:4]
    inputs = [text for text, _ in scored]
    asked = [(copied, base_models, inputs, None) for base_models in (tuned.base_models, tmp_path / "empty")]
    assert served_models.answers_of_a_fresh_process(asked) == [[answer for _, answer in scored]] * 2


def test_models_on_one_base_share_its_weights(tuned, copied, served):
    (container,) = tuned.result.containers
    server = served_models.opened(tuned.base_models)
    try:
        for name in ("a", "b"):
            server.load(name, copied, dict(container.environment))
        (digest,) = server.base_digests
        assert container.shares == f"{digest}:{json.loads((copied / artifacts.SERVING).read_text())['dtype']}"
        answers = {name: served_models.Served(server, name).text(QUESTION) for name in ("a", "b")}
        assert answers["a"] == answers["b"] == served.text(QUESTION)
        assert server.encoder_count == 1
        server.unload("a")
        with pytest.raises(NotFound):
            served_models.Served(server, "a").text(QUESTION)
        assert served_models.Served(server, "b").text(QUESTION) == answers["b"]
        server.unload("b")
        assert server.base_digests == []
        assert server.encoder_count == 0
    finally:
        server.close()


@pytest.mark.parametrize(("spare", "computed_in"), [(4 << 20, "float32"), (-2, "bfloat16")])
def test_a_model_trained_in_bfloat16_is_computed_in_float32_where_memory_allows(tuned, copied, spare, computed_in):
    """Then what others ask at the same time changes no answer."""
    change(copied / artifacts.SERVING, dtype="bfloat16")
    twice = 2 * opening.weight_bytes(copied, dtype="float32")
    server = served_models.opened(tuned.base_models, memory_bytes=memory.LIBRARY_BYTES + twice + spare)
    server.load("model", copied, {})
    assert server.base_precisions == [computed_in]
    assert served_models.Served(server, "model").text(QUESTION)
    server.close()


def test_the_merged_weights_answer_where_the_base_is_another_than_in_training(tuned, copied):
    change(copied / artifacts.SERVING, base_model_digest="0" * 64)
    with served_models.serving(copied, base_models=tuned.base_models) as model:
        assert model.server.base_digests == []
        (question, answer), *_ = tuned.scored()
        assert model.text(question) == answer


def test_an_answer_is_as_long_as_asked(served):
    whole = served.text(QUESTION)
    part = served.text(QUESTION, max_new_tokens=2, do_sample=False)
    assert whole.startswith(part)
    assert 0 < len(part) < len(whole)


def test_the_environment_says_how_long_an_answer_may_be_and_what_is_told(tuned, copied):
    environment = {"GYROPILOT_MAX_NEW_TOKENS": "2", "SAGEMAKER_INFERENCE_OUTPUT": "generated_text, details"}
    with served_models.serving(copied, base_models=tuned.base_models, environment=environment) as model:
        (one,) = model.answer({"inputs": QUESTION})
        assert (one["details"]["finish_reason"], one["details"]["generated_tokens"]) == ("length", 2)


def test_a_model_whose_environment_is_wrong_is_not_loaded(tuned, copied):
    server = served_models.opened(tuned.base_models)
    with pytest.raises(InvalidRequest, match=r"GYROPILOT_MAX_NEW_TOKEN: .*did you mean GYROPILOT_MAX_NEW_TOKENS"):
        server.load("model", copied, {"GYROPILOT_MAX_NEW_TOKEN": "2"})
    server.load("model", copied, {})
    server.close()


def test_a_model_that_the_memory_has_no_room_for_is_refused_with_the_numbers(tuned, copied):
    server = served_models.opened(tuned.base_models, memory_bytes=100 << 20)
    with pytest.raises(LimitExceeded, match="of the replica's 100 MiB"):
        server.load("model", copied, {})
    server.close()


def test_another_tokenizer_than_in_training_is_refused(tuned, copied):
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with (
        pytest.raises(TrainingFailed, match="other tokens"),
        served_models.serving(copied, base_models=tuned.base_models),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (artifacts.SERVING, "gyropilot-serving.json of the model cannot be read"),
        ("tokenizer.json", "lack tokenizer.json"),
        ("gyropilot-template.json", "lack gyropilot-template.json"),
        ("adapter/adapter_model.safetensors", "adapter"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tuned, copied, name, told):
    (copied / name).unlink()
    with pytest.raises(TrainingFailed, match=told), served_models.serving(copied, base_models=tuned.base_models):
        pass


def test_an_answer_nobody_waits_for_ends(served):
    call = served.call({"inputs": QUESTION})
    call.cancelled.set()
    with pytest.raises(Unavailable):
        served.server.answer(served.name, call)
    assert served.text(QUESTION)


def test_a_stream_that_nobody_takes_ends_and_the_next_call_is_answered(served):
    call = served.call({"inputs": QUESTION, "stream": True, "parameters": {"max_new_tokens": 200}})
    parts = served.server.stream(served.name, call).parts
    assert next(parts).startswith(b"data:")
    parts.close()
    assert not call.cancelled.is_set()
    assert served.text(QUESTION)


def test_extreme_numbers_of_one_caller_change_nothing_for_another(served):
    extremes = [
        {"temperature": 100, "top_p": 1e-300, "repetition_penalty": 100, "seed": -(2**63)},
        {"temperature": 1e-4, "top_k": 10_000_000, "repetition_penalty": 0.01, "seed": 2**64 - 1},
        {"temperature": 5e-324, "top_k": 1, "top_p": 5e-324, "repetition_penalty": 0.01},
        {"temperature": 0.0001, "top_p": 0.9999999999999999, "top_k": 1, "repetition_penalty": 100},
    ]
    wide = {"inputs": ["a"] * 32, "parameters": {"max_new_tokens": 60, "temperature": 100, "num_return_sequences": 16}}
    calls = [served.call(wide)]
    for one in extremes:
        calls.append(served.call({"inputs": QUESTION, "parameters": {"max_new_tokens": 60, "details": True, **one}}))
    alone = served.text(QUESTION, max_new_tokens=60)
    with ThreadPoolExecutor(len(calls)) as pool:
        first, *others = [pool.submit(served.server.answer, served.name, one) for one in calls]
        assert [served.text(QUESTION, max_new_tokens=60) for _ in range(3)] == [alone] * 3
        for one in others:
            (told,) = json.loads(one.result().body)
            assert told["details"]["generated_tokens"] > 0
        calls[0].cancelled.set()
        assert isinstance(first.exception(), Unavailable)


def test_requests_at_the_same_time_get_the_answers_they_get_alone(served):
    texts = [f"What colour has stone {number}?" for number in range(12)]
    alone = [served.text(text) for text in texts]
    together = [""] * len(texts)

    def ask(place):
        together[place] = served.text(texts[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(texts))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert together == alone
