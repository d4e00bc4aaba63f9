import errno
import json
import signal
import subprocess
import sys
import threading

import pytest

import model_folders as folders
from gyropilot.base_models.records import RECORD
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import AlreadyExists, InvalidData, InvalidRequest, LimitExceeded, NotFound
from gyropilot.store.objects import FolderObjects


@pytest.fixture
def source(tmp_path):
    return folders.make(tmp_path / "source")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "home" / "base_models"


@pytest.fixture
def store(root):
    return BaseModelStore(root, allow_downloads=False)


def told(call, kind=InvalidRequest):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def visible(root):
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_an_added_model_is_found_listed_verified_and_removed(store, source, root):
    assert store.installed() == []
    assert store.find("mine") is None
    added = store.add("mine", source, licence="apache-2.0")
    assert store.find("mine") == added
    assert store.installed() == [added]
    assert store.verify("mine") == added
    store.check_available("mine", accept_eula=False)
    assert added.path == root / "mine"
    assert (added.architecture, added.kind, added.licence, added.is_instruct) == (
        "LlamaForCausalLM",
        "causal",
        "apache-2.0",
        False,
    )
    assert (added.context_tokens, added.max_rows) == (64, 10_000)
    assert added.size_bytes == sum(p.stat().st_size for p in added.path.iterdir() if p.name != RECORD)
    assert added.registered_at.tzinfo is not None
    store.remove("mine")
    assert visible(root) == []
    assert told(lambda: store.remove("mine"), NotFound) == "base model 'mine' is not installed"


def test_a_chat_template_makes_a_model_of_ones_own_an_instruct_model(store, source):
    assert not store.add("plain", source).has_chat_template
    (source / "chat_template.jinja").write_text("{{ messages }}")
    chat = store.add("chat", source)
    assert chat.has_chat_template
    assert chat.is_instruct


def test_limits_are_as_the_operator_says(store, source):
    added = store.add("mine", source, context_tokens=32, max_rows=5)
    assert (added.context_tokens, added.max_rows) == (32, 5)


def test_only_the_owner_can_read_an_installed_model(store, source):
    added = store.add("mine", source)
    assert added.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in added.path.iterdir()} == {0o600}


def test_the_digest_depends_on_the_files_alone(store, source, tmp_path):
    again = folders.make(tmp_path / "again")
    changed = folders.make(tmp_path / "changed", config={"rms_norm_eps": 1e-6})
    digests = [store.add(name, path).digest for name, path in (("a", source), ("b", again), ("c", changed))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a.b", "../x", "a/b", ".hidden", "a" * 64, "ä", "a\n"])
def test_names_that_the_api_could_not_carry_are_refused(store, source, name):
    assert "does not fit" in told(lambda: store.add(name, source))
    assert store.find(name) is None
    assert "no known base model" in told(lambda: store.check_available(name, accept_eula=False))


def test_names_may_not_differ_in_letter_case_alone(store, source):
    store.add("Mine", source)
    assert "differs from 'Mine' only in letter case" in told(lambda: store.add("mine", source))
    assert "differs from 'Falcon7B' only" in told(lambda: store.add("falcon7b", source))


def test_a_taken_name_is_not_overwritten(store, source, tmp_path):
    first = store.add("mine", source)
    other = folders.make(tmp_path / "other", config={"rms_norm_eps": 1e-6})
    assert "remove it first" in told(lambda: store.add("mine", other), AlreadyExists)
    assert store.verify("mine") == first


def test_a_name_of_the_catalog_takes_only_that_model(store, source):
    message = told(lambda: store.add("Llama2-7B", source), InvalidData)
    assert "is not meta-llama/Llama-2-7b-hf" in message
    assert "name of its own" in message
    assert store.find("Llama2-7B") is None


def test_a_refused_folder_leaves_nothing_behind(store, source, root):
    (source / "model.safetensors").write_bytes(b"x" * 100)
    told(lambda: store.add("mine", source), InvalidData)
    assert visible(root) == []
    assert told(lambda: store.add("mine", source / "absent"), InvalidData).endswith("model folder")


@pytest.mark.parametrize(
    ("name", "accept_eula", "expected"),
    [
        ("falcon7binstruct", False, ["BaseModelName", "no known", "did you mean Falcon7BInstruct?"]),
        ("Lama2-7B", True, ["BaseModelName", "no known", "did you mean Llama2-7B or Llama2-7BChat?"]),
        ("xyz", False, ["BaseModelName", "no known", "models list", "models add"]),
        ("Falcon7BInstruct", False, ["BaseModelName", "not here", "models add Falcon7BInstruct FOLDER"]),
        ("SmolLM2-135M-Instruct", False, ["BaseModelName", "not here", "models pull SmolLM2-135M-Instruct"]),
        ("Llama2-7B", True, ["BaseModelName", "not here"]),
        ("Llama2-7B", False, ["ModelAccessConfig.AcceptEula", "llama2", " | ", "BaseModelName", "not here"]),
    ],
)
def test_a_model_that_a_job_may_not_use_says_why_and_how(store, name, accept_eula, expected):
    message = told(lambda: store.check_available(name, accept_eula=accept_eula))
    assert [part for part in expected if part not in message] == [], message
    assert message.startswith("AutoMLProblemTypeConfig.TextGenerationJobConfig.")


def test_an_accepted_licence_is_no_fault(store):
    assert "AcceptEula" not in told(lambda: store.check_available("Llama2-7B", accept_eula=True))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: is missing"),
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json: has another size"),
        (lambda folder: (folder / "modeling.py").write_text("x"), "modeling.py: stands in the folder and not"),
        (lambda folder: (folder / RECORD).unlink(), "record gyropilot-model.json cannot be read"),
        (lambda folder: (folder / RECORD).write_text("[]"), "record gyropilot-model.json cannot be read"),
        (lambda folder: (folder / RECORD).write_text('{"format": 9}'), "record gyropilot-model.json cannot be read"),
    ],
)
def test_a_damaged_model_is_refused_when_a_job_names_it(store, source, damage, expected):
    damage(store.add("mine", source).path)
    message = told(lambda: store.check_available("mine", accept_eula=False))
    assert expected in message
    assert "gyropilot models remove mine" in message
    assert expected in told(lambda: store.verify("mine"), InvalidData)
    store.remove("mine")
    store.add("mine", source)
    store.check_available("mine", accept_eula=False)


def test_a_flipped_bit_is_found_by_verify(store, source):
    weights = store.add("mine", source).path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    store.check_available("mine", accept_eula=False)
    assert "model.safetensors: has another content" in told(lambda: store.verify("mine"), InvalidData)


def test_a_file_swapped_for_a_link_is_found(store, source, tmp_path):
    config = store.add("mine", source).path / "config.json"
    config.rename(tmp_path / "elsewhere")
    config.symlink_to(tmp_path / "elsewhere")
    assert "config.json: is missing" in told(lambda: store.check_available("mine", accept_eula=False))


def test_of_adds_at_once_one_wins(store, source, root):
    outcomes = []

    def add():
        try:
            outcomes.append(BaseModelStore(root, allow_downloads=False).add("mine", source).digest)
        except AlreadyExists:
            outcomes.append("taken")

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("taken") == 5
    assert store.verify("mine").digest in outcomes
    assert visible(root) == ["mine"]


@pytest.mark.parametrize("phase", ["copying", "recording digests"])
def test_a_kill_in_the_middle_leaves_no_model_and_no_rubbish_for_long(store, source, root, phase):
    program = f"""
import os, signal, sys
from pathlib import Path
from gyropilot.base_models.store import BaseModelStore
def die(phase, done, total):
    if phase == {phase!r}:
        os.kill(os.getpid(), signal.SIGKILL)
BaseModelStore(Path(sys.argv[1]), False).add("mine", Path(sys.argv[2]), on_progress=die)
"""
    done = subprocess.run([sys.executable, "-c", program, root, source], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.find("mine") is None
    assert store.installed() == []
    assert "no known base model" in told(lambda: store.check_available("mine", accept_eula=False))
    assert any(name.startswith(".incoming-mine-") for name in visible(root))
    store.add("mine", source)
    assert visible(root) == ["mine"]
    store.verify("mine")


def test_a_full_disk_is_told_and_leaves_nothing(store, source, root):
    def fill(phase, done, total):
        if phase == "copying":
            raise OSError(errno.ENOSPC, "No space left on device")

    assert "is full; make room" in told(lambda: store.add("mine", source, on_progress=fill), LimitExceeded)
    assert visible(root) == []


def test_a_bucket_is_a_source_too(store, source, tmp_path):
    objects = FolderObjects(tmp_path / "s3")
    objects.create_bucket("models")
    for path in source.iterdir():
        objects.put_file("models", f"tiny/{path.name}", path)
    objects.put_bytes("models", "tiny/sub/config.json", b"{}")
    objects.put_bytes("models", "tiny/modeling.py", b"import os")
    objects.put_bytes("models", "tinyother/config.json", b"{}")
    phases = []
    added = store.add_from_bucket(
        "mine", objects, "s3://models/tiny", on_progress=lambda phase, done, total: phases.append((phase, done, total))
    )
    assert added.source == "s3://models/tiny"
    assert set(added.files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert added.digest == store.add("same", source).digest
    assert phases[0][0] == "fetching config.json"
    assert phases[-1] == ("installed", added.size_bytes, added.size_bytes)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://absent/x", "bucket does not exist"),
        ("s3://models/x", "no model file"),
        ("file:///etc", "no s3:// URI"),
        ("http://127.0.0.1/x", "no s3:// URI"),
    ],
)
def test_a_wrong_bucket_source_says_so(store, tmp_path, uri, expected):
    objects = FolderObjects(tmp_path / "s3")
    objects.create_bucket("models")
    assert expected in told(lambda: store.add_from_bucket("mine", objects, uri), InvalidData)


def test_the_hub_is_closed_unless_opened(store):
    message = told(lambda: store.pull("Falcon7BInstruct"))
    assert "ALLOW_DOWNLOADS=true" in message
    assert "gyropilot models add Falcon7BInstruct FOLDER" in message
    assert "tiiuae/falcon-7b-instruct" in message


def test_an_unknown_name_cannot_be_pulled(store):
    assert "did you mean Mistral7B?" in told(lambda: store.pull("mistral7b"))


def test_the_record_says_where_a_model_came_from(store, source):
    (source / "modeling.py").write_text("x")
    added = store.add("mine", source)
    values = json.loads((added.path / RECORD).read_text())
    assert values["source"] == f"folder {source}"
    assert values["left_out"] == ["modeling.py: a model brings no code here"]
    assert set(values["files"]) == set(added.files)
