import pytest

from gyropilot.base_models import json_files


@pytest.mark.parametrize(("model_type", "is_new"), [("falcon", None), ("RefinedWebModel", None), ("RefinedWeb", True)])
def test_a_falcon_of_the_first_release_is_read_under_the_names_of_today(model_type, is_new):
    config = {"model_type": model_type, "n_layer": 60, "n_head": 128, "n_head_kv": 8, "hidden_size": 8192}
    family, kept, dropped = json_files.clean_config(config)
    assert (family.name, kept["model_type"]) == ("FalconForCausalLM", "falcon")
    assert (kept["num_hidden_layers"], kept["num_attention_heads"], kept["num_kv_heads"]) == (60, 128, 8)
    assert kept.get("new_decoder_architecture") == is_new
    assert dropped == []


def test_a_t5_whose_head_is_its_own_keeps_saying_so():
    published = {"model_type": "t5", "d_model": 8, "tie_word_embeddings": False}
    assert json_files.clean_config(published)[1]["tie_word_embeddings"] is False
    # as transformers writes it again
    saved = {"model_type": "t5", "d_model": 8, "tie_word_embeddings": True, "scale_decoder_outputs": False}
    assert json_files.clean_config(saved)[1]["scale_decoder_outputs"] is False
