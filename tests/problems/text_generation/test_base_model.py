import json

import pytest

import services
import tuning_jobs
from gyropilot.problems.text_generation.base_model import read_base_model


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 4096),
        ({"sliding_window": 64}, 64),
        ({"sliding_window": 64, "use_sliding_window": False}, 4096),
        ({"max_position_embeddings": None, "max_seq_len": 99}, 99),
    ],
)
def test_a_row_has_no_more_tokens_than_positions_or_the_attention_window(tmp_path, changes, tokens):
    job = tuning_jobs.Job(tmp_path, services.make_tiny_model(tmp_path / "tiny"))
    config = job.base_models / services.TINY / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 4096} | changes))
    assert read_base_model(job.base_models, services.TINY, requested=services.TINY).model_tokens == tokens
