import json

import pytest

import services

STORE = ("--s3-endpoint", "http://127.0.0.1:9", "--s3-access-key", "AKIDEXAMPLE")


def test_a_role_is_added_listed_shown_replaced_and_removed(service):
    added = service.gyropilot("roles", "add", "team", "--read", "s3://data/team", "--write", "s3://out")
    assert added.stdout.strip() == "arn:aws:iam::000000000000:role/team", added.stderr
    shown = json.loads(service.gyropilot("roles", "show", "team", "--json").stdout)
    assert (shown["ReadPrefixes"], shown["WritePrefixes"]) == (["s3://data/team"], ["s3://out"])
    assert shown["PassableBy"] == ["*"]
    taken = service.gyropilot("roles", "add", "team", "--read", "s3://data")
    assert taken.returncode == 1
    assert "already; `gyropilot roles add --replace`" in taken.stderr
    key = service.variables["AWS_ACCESS_KEY_ID"]
    replaced = service.gyropilot("roles", "add", "team", "--read", "s3://data", "--pass", key, "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert f"passed by  {key}" in service.gyropilot("roles", "show", "team").stdout
    assert "s3://data" in service.gyropilot("roles", "list").stdout
    assert service.gyropilot("roles", "remove", "team").returncode == 0
    gone = service.gyropilot("roles", "show", "team")
    assert gone.returncode == 1
    assert "roles list" in gone.stderr


def test_every_fault_of_a_role_is_told_at_once(service):
    prefixes = ("--read", "s3://", "--read", "s3://b/../c", "--write", "s3://b/*")
    refused = service.gyropilot("roles", "add", "bad", *prefixes, "--pass", "GYRONOBODY")
    assert refused.returncode == 1
    for part in ("is not an s3 URI", "segment . or ..", "wildcard", "no valid key"):
        assert part in refused.stderr


def test_a_role_with_a_store_of_its_own_keeps_its_secret(service, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary-of-the-file\n")
    add = ("roles", "add", "outside", "--read", "s3://theirs", *STORE)
    added = service.gyropilot(*add, "--s3-secret-file", secret)
    assert added.returncode == 0, added.stderr
    piped = service.gyropilot(*add, "--replace", input="canary-of-the-pipe\n")
    assert piped.returncode == 0, piped.stderr
    told = service.gyropilot("roles", "show", "outside").stdout + service.gyropilot("roles", "list", "--json").stdout
    assert "http://127.0.0.1:9" in told
    assert "canary" not in told
    assert service.gyropilot("roles", "remove", "outside").returncode == 0


def test_a_store_needs_endpoint_key_and_secret(service):
    assert (
        service.gyropilot("roles", "add", "x", "--read=s3://a", "--s3-access-key", "A", input="secret").returncode == 2
    )
    assert (
        service.gyropilot("roles", "add", "x", "--read=s3://a", "--s3-endpoint", "http://a", input="secret").returncode
        == 2
    )
    nothing = service.gyropilot("roles", "add", "x", "--read", "s3://a", *STORE, input="")
    assert nothing.returncode == 2
    assert "No secret" in nothing.stderr


def test_no_option_takes_a_secret(service):
    for command in ("add", "list", "show", "remove"):
        assert "--s3-secret " not in service.gyropilot("roles", command, "--help").stdout
    assert service.gyropilot("roles", "add", "x", "--s3-secret", "y").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --read and --write"),
        (("--read", "data/team"), "prefixes begin with s3://"),
        (("--write", "/data/team"), "prefixes begin with s3://"),
        (("--read", "s3://a", "--s3-endpoint", "notaurl", "--s3-access-key", "A"), "begins with https:// or http://"),
    ],
)
def test_what_makes_no_role_is_told_in_one_line_without_asking_the_service(tmp_path, arguments, said):
    ran = services.run(
        [services.SCRIPTS / "gyropilot", "roles", "add", "x", *arguments, "--home", tmp_path],
        env=services.clean_environment(),
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert said in line


def test_the_default_role_is_narrowed_not_removed(service):
    refused = service.gyropilot("roles", "remove", "gyropilot")
    assert refused.returncode == 1
    assert "--replace" in refused.stderr


@pytest.mark.parametrize("name", ["../x", "a b", "a\nb", "", "x" * 65])
def test_a_name_that_is_none_is_refused(service, name):
    assert service.gyropilot("roles", "add", name, "--read", "s3://a").returncode == 1


def test_help_says_what_a_prefix_covers():
    ran = services.run([services.SCRIPTS / "gyropilot", "roles", "add", "--help"], env=services.clean_environment())
    assert "whole segments" in ran.stdout
