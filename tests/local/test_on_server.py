"""`tune(server=...)`: the service trains, and the model answers here what it answers there."""

import json

import pytest

import services
import source_vectors
import tiny_models
from gyropilot.errors import InvalidRequest, TrainingFailed
from gyropilot.problems.text_generation.request import read_spec
from gyropilot.problems.text_generation.tuning import reading
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.sdk.errors import Refused
from gyropilot.tuning import TuningConfig, load, tune
from tuning_calls import PROMPT, QUESTION, QUICK, ROWS


@pytest.mark.slow
def test_a_service_tunes_and_its_model_answers_here_as_its_endpoint_does(service, tmp_path, capsys):
    client = service.sdk()
    config = TuningConfig(**PROMPT)
    given = {"base_model": services.TINY, "tuning_config": config, "server": client, "home": service.home}
    out = tmp_path / "out"
    rows = {"train_stream": iter(ROWS), "val_stream": ROWS[:4]}
    with tune(**rows, output=out, silence_progress_bars=False, **given, **QUICK) as model:
        answer = model.run(QUESTION, max_new_tokens=8)
        assert model.metrics["ValidationLoss"] < model.base_metrics["ValidationLoss"]
        assert model.spec.epochs == 4
    assert "training" in capsys.readouterr().err
    job = next(one["AutoMLJobName"] for one in client.jobs(NameContains="tune-"))
    client.endpoints.wait(client.endpoints.deploy(job))
    body = json.dumps({"inputs": QUESTION, "parameters": {"max_new_tokens": 8}}).encode()
    (reply,) = json.loads(client.invoke(job, body).body)
    assert reply["generated_text"] == answer.generated_text
    client.endpoints.delete(job)
    with load(out, home=service.home) as again:
        assert again.run(QUESTION, max_new_tokens=8).generated_text == answer.generated_text
    with pytest.raises(Refused, match=r"tuning_config\.num_virtual_tokens"):
        tune(train_stream=ROWS, **(given | {"tuning_config": {"num_virtual_tokens": 256}}))


@pytest.fixture(scope="module")
def source(service, tiny_model_folder, tmp_path_factory):
    """The name of a source prompt that the service alone has: of three tasks, 4 rows and 2 ranks."""
    folder = tmp_path_factory.mktemp("source") / "stones"
    source_vectors.bring(service, folder, tiny_model_folder)
    yield "stones"
    assert service.gyropilot("prompts", "remove", "stones").returncode == 0


def beginning_with(source, **others):
    """Give a tuning_config that begins with a source prompt, and says nothing of its rows."""
    given = {"prompt_tuning_init_method": "AVERAGE_SOURCE", "prompt_tuning_init_source_model": source}
    return {"tuning_type": "MULTITASK_PROMPT_TUNING", "tuning_config": given | others}


def test_a_source_prompt_that_is_not_seen_from_here_says_how_many_rows_there_are():
    asked = beginning_with("stones")
    assert reading.read(asked, Surroundings()).tuning.prompt_tuning_init_source_model == "stones"
    for changes in ({"prompt_tuning_init_source_model": None}, {"prompt_tuning_init_method": "RANDOM"}):
        with pytest.raises(InvalidRequest, match=r"tuning_config\.num_virtual_tokens: is missing"):
            reading.read(beginning_with("stones", **changes), Surroundings())


@pytest.mark.slow
def test_a_job_begins_with_a_source_prompt_of_the_service(service, source):
    given = {"base_model": services.TINY, "train_stream": ROWS, "server": service.sdk(), "home": service.home}
    quick = QUICK | {"num_epochs": 1}
    with tune(**beginning_with(source), **given, **quick) as model:
        method = model.spec.method
        assert (method.num_virtual_tokens, method.prompt_ranks) == (source_vectors.ROWS, source_vectors.RANKS)
        assert method.prompt_tuning_init_source_model == source
        assert model.run(QUESTION, max_new_tokens=2).generated_tokens == 2
    for others, where in (
        ({"prompt_tuning_init_source_model": "absent"}, r"tuning_config\.prompt_tuning_init_source_model"),
        ({"num_virtual_tokens": 9}, r"tuning_config\.num_virtual_tokens"),
    ):
        with pytest.raises(Refused, match=where):
            tune(**beginning_with(source, **others), **given, **quick)


@pytest.mark.slow
def test_a_base_that_the_service_alone_has_is_needed_by_answers_alone(service, tmp_path):
    base = tiny_models.make("t5", tmp_path / "t5")
    assert service.gyropilot("models", "add", "Tiny-T5", base).returncode == 0
    client, home = service.sdk(), tmp_path / "home"
    given = {"base_model": "Tiny-T5", "train_stream": ROWS, "tuning_config": PROMPT, "server": client, "home": home}
    with tune(**given, **(QUICK | {"num_epochs": 1})) as model:
        job = next(one["AutoMLJobName"] for one in client.jobs(NameContains="tune-", SortOrder="Descending"))
        assert model.spec == read_spec(client.progress(job).used)
        assert model.spec.method.output_model_types == ("ENCODER",)
        with pytest.raises(TrainingFailed, match=r"Tiny-T5.*gyropilot models"):
            model.run(QUESTION)
        saved = model.save(tmp_path / "saved")
    with load(saved, base_model=base, home=home) as again:
        assert again.run(QUESTION, max_new_tokens=2).generated_tokens <= 2
