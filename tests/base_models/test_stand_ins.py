import pytest

import model_folders as folders
from gyropilot.base_models import stand_ins
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import AlreadyExists, InvalidRequest, NotFound


@pytest.fixture
def root(tmp_path):
    return tmp_path / "home" / "base_models"


@pytest.fixture
def store(root, tmp_path):
    store = BaseModelStore(root, allow_downloads=False)
    store.add("small", folders.make(tmp_path / "source"), licence="mit")
    return store


def told(call, kind=InvalidRequest):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_stand_in_gives_the_installed_model_with_the_narrower_limits(store):
    assert store.find("Falcon7BInstruct") is None
    made = store.add_stand_in("Falcon7BInstruct", "small")
    assert store.stand_ins() == [made]
    assert (made.name, made.loaded, made.created_at.tzinfo is not None) == ("Falcon7BInstruct", "small", True)
    found = store.find("Falcon7BInstruct")
    assert (found.name, found.path, found.stands_in_for) == ("small", store.find("small").path, "Falcon7BInstruct")
    assert (found.context_tokens, found.max_rows) == (64, 1000)
    assert store.find("small").stands_in_for == ""
    assert [one.name for one in store.installed()] == ["small"]
    store.check_available("Falcon7BInstruct", accept_eula=False)
    store.remove_stand_in("Falcon7BInstruct")
    assert store.find("Falcon7BInstruct") is None
    assert store.stand_ins() == []


def test_nothing_is_a_stand_in_until_it_is_said_so(store):
    said = told(lambda: store.check_available("Falcon7BInstruct", accept_eula=False))
    assert "the weights of this model are not here" in said
    assert "name a model that is installed, as small; or" in said
    assert "gyropilot models stand-in Falcon7BInstruct small;" in said


def test_the_licence_of_the_requested_name_still_has_to_be_accepted(store):
    store.add_stand_in("Llama2-7B", "small")
    assert "Llama2-7B is under the licence 'llama2'" in told(
        lambda: store.check_available("Llama2-7B", accept_eula=False)
    )
    store.check_available("Llama2-7B", accept_eula=True)


@pytest.mark.parametrize(
    ("name", "loaded", "said"),
    [
        ("Falcon7BInstruc", "small", "did you mean Falcon7BInstruct"),
        ("Falcon7BInstruct", "nobody", "MODEL: is no known base model"),
        ("Falcon7BInstruct", "Mistral7B", "MODEL: the weights of this model are not here"),
        ("Falcon7BInstruct", "Falcon7BInstruct", "is no other installed model"),
        ("Falcon7BInstruct", "../small", "is no other installed model"),
        ("../small", "small", "is no known base model"),
        ("", "small", "is no known base model"),
        ("small", "small", "is no other installed model"),
    ],
)
def test_what_makes_no_sense_is_refused(store, name, loaded, said):
    assert said in told(lambda: store.add_stand_in(name, loaded))
    assert store.stand_ins() == []


def test_a_stand_in_stands_on_no_other(store):
    store.add_stand_in("Falcon7B", "small")
    assert "is a stand-in itself" in told(lambda: store.add_stand_in("Falcon40B", "Falcon7B"))


def test_a_name_has_one_stand_in_and_naming_it_again_changes_nothing(store, tmp_path):
    store.add("other", folders.make(tmp_path / "other"))
    store.add_stand_in("Falcon7B", "small")
    store.add_stand_in("Falcon7B", "small")
    assert "has another stand-in" in told(lambda: store.add_stand_in("Falcon7B", "other"))
    assert store.find("Falcon7B").name == "small"


def test_an_installed_name_gets_no_stand_in_and_a_stood_in_name_is_not_installed(store, root, tmp_path):
    store.add_stand_in("Falcon7B", "small")
    source = tmp_path / "source"
    assert "models stand-in --remove Falcon7B" in told(lambda: store.add("Falcon7B", source), AlreadyExists)
    assert "downloads are not allowed" in told(lambda: store.pull("Falcon7B"))
    store.add("other", source)
    (root / "Falcon40B").mkdir()
    assert "is installed itself" in told(lambda: store.add_stand_in("Falcon40B", "small"))


def test_a_model_on_which_another_name_stands_is_not_removed(store):
    store.add_stand_in("Falcon7B", "small")
    assert "gyropilot models stand-in --remove Falcon7B" in told(lambda: store.remove("small"))
    assert "is a stand-in" in told(lambda: store.remove("Falcon7B"), NotFound)
    store.remove_stand_in("Falcon7B")
    store.remove("small")
    assert "nothing stands in for 'Falcon7B'" in told(lambda: store.remove_stand_in("Falcon7B"), NotFound)


def test_weights_that_vanished_under_a_stand_in_are_told(store, root):
    store.add_stand_in("Falcon7B", "small")
    (root / "small").rename(root / ".elsewhere")
    assert "small stands in for this model, and its weights are not here any more" in told(
        lambda: store.check_available("Falcon7B", accept_eula=False)
    )
    assert store.find("Falcon7B") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "name": "Falcon40B"}'])
def test_a_damaged_stand_in_is_told_and_can_be_removed(store, root, text):
    store.add_stand_in("Falcon7B", "small")
    (root / stand_ins.FOLDER / "Falcon7B.json").write_text(text)
    assert "models stand-in --remove Falcon7B" in told(lambda: store.check_available("Falcon7B", accept_eula=False))
    assert store.find("Falcon7B") is None
    assert store.stand_ins() == []
    store.remove_stand_in("Falcon7B")
    assert not list((root / stand_ins.FOLDER).glob("*.json"))


def test_only_the_owner_can_read_a_stand_in(store, root):
    store.add_stand_in("Falcon7B", "small")
    assert (root / stand_ins.FOLDER).stat().st_mode & 0o777 == 0o700
    assert (root / stand_ins.FOLDER / "Falcon7B.json").stat().st_mode & 0o777 == 0o600
