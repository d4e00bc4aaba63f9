import json
import shutil

import pytest

import services


def _gyropilot(*arguments, **variables):
    return services.run([services.SCRIPTS / "gyropilot", *arguments], env=services.clean_environment() | variables)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_with_the_line_that_installs_it(shell):
    ran = _gyropilot("completion", shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"_GYROPILOT_COMPLETE={shell}_complete" in ran.stdout
    assert f"gyropilot completion {shell} >" in ran.stdout.splitlines()[-1]
    if shutil.which(shell):
        read = services.run([shell, "-n"], input=ran.stdout)
        assert read.returncode == 0, read.stderr


def test_an_unknown_shell_is_a_usage_error():
    ran = _gyropilot("completion", "cmd")
    assert ran.returncode == 2
    assert "'bash', 'zsh', 'fish'" in ran.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("gyropilot jobs wa", "watch"), ("gyropilot mod", "models"), ("gyropilot jobs create --epo", "--epochs")],
)
def test_commands_and_options_are_completed(words, wanted):
    place = len(words.split()) - 1
    ran = _gyropilot(_GYROPILOT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(place))
    assert f"plain,{wanted}" in ran.stdout.split(), ran.stdout + ran.stderr


def test_names_are_completed_from_what_there_is(service, tmp_path):
    service.sdk().create_job(services.request(service, "completed-by-tab"))
    service.sdk().stop("completed-by-tab")
    for words, wanted, home in (
        ("gyropilot jobs show completed-by", "completed-by-tab", service.home),
        ("gyropilot models show Tin", "Tiny", service.home),
        ("gyropilot roles show gyro", "gyropilot", service.home),
        ("gyropilot roles remove gyro", "gyropilot", service.home),
        ("gyropilot jobs create --set tuningT", "tuningType=", tmp_path / "none"),
        ("gyropilot models stand-in Falcon7BI", "Falcon7BInstruct", tmp_path / "none"),
        ("gyropilot jobs create --base-model Smol", "SmolLM2-135M-Instruct", tmp_path / "none"),
    ):
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "GYROPILOT_HOME": str(home)}
        ran = _gyropilot(_GYROPILOT_COMPLETE="bash_complete", **variables)
        assert ran.stdout.split() == [f"plain,{wanted}"], ran.stdout + ran.stderr


def test_the_shell_completes_files_and_folders(tmp_path):
    for words, wanted in (
        ("gyropilot jobs create --data ro", "file,ro"),
        ("gyropilot jobs create --validation ro", "file,ro"),
        ("gyropilot jobs create --request ro", "file,ro"),
        ("gyropilot models add Mine wei", "dir,wei"),
    ):
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "GYROPILOT_HOME": str(tmp_path)}
        ran = _gyropilot(_GYROPILOT_COMPLETE="bash_complete", **variables)
        assert ran.stdout.split() == [wanted], ran.stdout + ran.stderr


def test_access_keys_are_completed_until_they_are_revoked(service):
    made = json.loads(service.gyropilot("keys", "create", "--kind", "operator", "--name", "tab", "--json").stdout)
    key = made["AccessKeyId"]
    words = {"COMP_WORDS": f"gyropilot keys revoke {key[:-1]}", "COMP_CWORD": "3", "GYROPILOT_HOME": str(service.home)}
    assert _gyropilot(_GYROPILOT_COMPLETE="bash_complete", **words).stdout.split() == [f"plain,{key}"]
    assert service.gyropilot("keys", "revoke", key).returncode == 0
    assert _gyropilot(_GYROPILOT_COMPLETE="bash_complete", **words).stdout.split() == []


def test_where_no_service_runs_nothing_is_completed_and_nothing_said(tmp_path):
    words = {"COMP_WORDS": "gyropilot jobs show a", "COMP_CWORD": "3", "GYROPILOT_HOME": str(tmp_path)}
    ran = _gyropilot(_GYROPILOT_COMPLETE="bash_complete", **words)
    assert (ran.stdout.strip(), ran.stderr) == ("", "")
