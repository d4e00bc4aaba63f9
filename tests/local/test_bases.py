"""A base model is found by its name, by its name on the hub, or read from a folder into a store of the call's own."""

import shutil

import pytest

from gyropilot import settings
from gyropilot.errors import InvalidData, InvalidRequest
from gyropilot.local.bases import base_of


@pytest.fixture
def found(tmp_path):
    chosen = settings.read({"home": tmp_path / "home"}, {})

    def find(given, **how):
        return base_of(given, chosen, tmp_path / "working", where="base_model", **how)

    return find


def test_names_are_looked_for_in_the_store_of_the_home(found, tmp_path):
    for given, name in (
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("..%2fup", "..%2fup"),
    ):
        base = found(given)
        assert (base.name, base.root) == (name, tmp_path.resolve() / "home" / "base_models")
    with pytest.raises(InvalidRequest):
        base.store.check_available(base.name, accept_eula=True)


def test_a_folder_is_copied_into_a_store_of_its_own(found, tmp_path, tiny_model_folder):
    base = found(tiny_model_folder)
    assert base.root == tmp_path / "working" / "base_models"
    model = base.store.verify(base.name)
    assert (model.name, model.kind) == ("tiny", "causal")
    assert not (tmp_path / "home").exists()


def test_the_name_of_a_folder_is_made_fit_and_may_be_chosen(found, tmp_path, tiny_model_folder):
    for folder, name in (("my model_(v2)!", "my-model-v2"), ("falcon7binstruct", "falcon7binstruct-local")):
        shutil.copytree(tiny_model_folder, tmp_path / folder)
        assert found(tmp_path / folder).name == name
    assert found(str(tiny_model_folder), name="chosen").name == "chosen"


@pytest.mark.parametrize("given", ["", "  ", 7, None, b"tiny", ["tiny"]])
def test_what_is_no_name_is_refused(found, given):
    with pytest.raises(InvalidRequest, match=r"base_model: is (missing|no name and no path)"):
        found(given)


def test_folders_that_hold_no_model_are_refused(found, tmp_path):
    with pytest.raises(InvalidRequest, match="base_model: is no folder, and no installed model"):
        found("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match=r"holds no config\.json"):
        found(tmp_path / "empty")
