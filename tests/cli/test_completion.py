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
