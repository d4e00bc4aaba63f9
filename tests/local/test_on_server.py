"""`tune(server=...)`: the service trains, and the model answers here what it answers there."""

import json

import pytest

import services
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
