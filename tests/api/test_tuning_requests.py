"""Parameters of tuning through the API, as an unmodified client sends them: map of strings, tag, JSON object."""

import ast
import json
import re

import pytest
from botocore.exceptions import ClientError

import doc_blocks
import houses
import mean_problem
import services
import source_vectors
from api_servers import serving
from gyropilot.problems.text_generation.problem import TEXT_GENERATION
from gyropilot.problems.text_generation.source_prompts.record import config_digest
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.store import jobs, roles
from gyropilot.store.roles import Role

MAP = "AutoMLProblemTypeConfig.TextGenerationJobConfig.TextGenerationHyperParameters"
TAG = "gyropilot:TuningConfig"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (TEXT_GENERATION, mean_problem.MEAN))
    house.base_models.add(
        services.TINY, services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny"), licence="mit"
    )
    house.objects.put_bytes("data", "rows.csv", b"input,output,topic\na,b,c\n", "text/csv")
    with serving(house) as running:
        yield running
    house.db.close()


@pytest.fixture
def create(server):
    """Creates a job with the strings, and the JSON object behind the tag; gives its specification."""

    def called(name, strings=None, values=None, *, data=None, tag=None, **changed):
        if values is not None or data is not None:
            server.house.objects.put_bytes(
                "data", f"{name}.json", data or json.dumps(values).encode(), "application/json"
            )
            tag = f"s3://data/{name}.json"
        config = {"BaseModelName": services.TINY, "TextGenerationHyperParameters": strings or {}}
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/rows.csv"}}
        request = houses.mean_request(
            name,
            tags={TAG: tag} if tag else None,
            AutoMLProblemTypeConfig={"TextGenerationJobConfig": config},
            AutoMLJobInputDataConfig=[{"DataSource": source}],
            **changed,
        )
        server.client().create_auto_ml_job_v2(**request)
        return jobs.find(server.house.db, houses.admin(server.house).account_id, houses.REGION, name).spec

    return called


def message_of(call, *arguments, **named):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return caught.value.response["Error"]["Message"]


def test_strings_alone_ask_for_prompt_tuning(create):
    spec = create("strings", {"tuningType": "PROMPT_TUNING", "numVirtualTokens": "16", "initMethod": "SAMPLE_VOCAB"})
    assert spec["method"]["tuning_type"] == "PROMPT_TUNING"
    assert spec["method"]["num_virtual_tokens"] == 16
    assert (spec["epochs"], spec["learning_rate"]) == (10, None)


def test_the_object_behind_the_tag_is_kept_in_the_job(create, server):
    values = {
        "num_epochs": 30,
        "verbalizer": "Complaint: {{input}} Label:",
        "tuning_config": {"prompt_tuning_init_method": "TEXT", "prompt_tuning_init_text": "Größe 東京?"},
    }
    spec = create("tagged", {"tuningType": "PROMPT_TUNING", "numVirtualTokens": "16"}, values)
    assert (spec["epochs"], spec["method"]["verbalizer"]) == (30, "Complaint: {{input}} Label:")
    assert spec["method"]["prompt_tuning_init_text"] == "Größe 東京?"
    described = server.client().describe_auto_ml_job_v2(AutoMLJobName="tagged")
    assert described["AutoMLJobStatus"] == "InProgress"


def test_the_column_of_tasks_is_sought_in_the_rows(create):
    given = {"tuning_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 4}
    assert create("tasks", values={**given, "task_column": "topic"})["method"]["task_column"] == "topic"
    message = message_of(create, "no-tasks", values={**given, "task_column": "subject"})
    assert f"Tags[{TAG}].task_column: is no column of the training data" in message
    assert "input, output, topic" in message


def test_all_faults_of_both_are_told_at_once(create):
    strings = {"tuningType": "LORA", "loraRank": "0", "numVirtualTokens": "4", "loraRnk": "3"}
    message = message_of(create, "faulty", strings, {"verbalizer": "{{output}}", "seed": True, "lora_dropout": 1})
    for where in (
        f"{MAP}.loraRank",
        f"{MAP}.numVirtualTokens",
        f"{MAP}.loraRnk",
        *_tagged("verbalizer", "seed", "lora_dropout"),
    ):
        assert f"{where}: " in message
    assert "did you mean loraRank?" in message


def test_what_the_map_has_no_key_for_is_told_with_the_way_to_give_it(create):
    way = f"give it by its name in a JSON object in a bucket, whose s3 URI is the value of the tag {TAG}"
    given = {"tuningType": "PROMPT_TUNING", "numVirtualTokens": "4"}
    for key in ("verbalizer", "promptTuningInitText"):
        message = message_of(create, "no-key", {**given, key: "x"})
        assert f"{MAP}.{key}: is a parameter of tuning without a key here (found 'x'); {way}" in message
        assert "did you mean" not in message
    message = message_of(create, "no-text", {**given, "initMethod": "TEXT"})
    assert f"Tags[{TAG}].prompt_tuning_init_text: is missing" in message
    assert way in message
    assert way not in message_of(create, "no-rows", {"tuningType": "PROMPT_TUNING"})


def test_a_parameter_must_not_be_given_twice_with_two_values(create):
    message = message_of(create, "twice", {"epochCount": "3"}, {"num_epochs": 4})
    assert f"Tags[{TAG}].num_epochs: is given as '3' by {MAP}.epochCount too (found 4)" in message


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        ("s3://data/nowhere.json", "there is no such object"),
        ("s3://nowhere/tuning.json", "there is no bucket"),
        ("s3://data/a/../b.json", "has a segment . or .."),
        ("tuning.json", "is not an s3 URI"),
        ("s3://data/", "there is no such object"),
    ],
)
def test_an_object_that_cannot_be_read_is_a_fault_of_the_tag(create, tag, problem):
    message = message_of(create, "unreadable", tag=tag)
    assert f"Tags[{TAG}]: {problem}" in message


def test_what_the_role_may_not_read_is_not_read(create, server):
    narrow = houses.ROLE.replace("gyropilot", "narrow")
    places = {"read_prefixes": ("s3://data/rows.csv",), "write_prefixes": ("s3://data/out",)}
    roles.add(server.house.db, Role(arn=narrow, passable_by=("*",), **places))
    message = message_of(create, "narrow", data=b"a secret that is no JSON", RoleArn=narrow)
    assert f"Tags[{TAG}]: lies outside what the role may read: s3://data/rows.csv" in message
    assert "secret" not in message


def test_a_source_prompt_is_sought_and_held_against_the_request(create, server, tmp_path):
    base = server.house.base_models.find(services.TINY)
    prompts = SourcePrompts(server.house.settings.source_prompts)
    source_vectors.write(tmp_path / "vectors.safetensors", source_vectors.shapes(width=32))
    made = {"tasks": source_vectors.TASKS, "base_model": services.TINY, "made_by": "test", "submodules": 1}
    made |= {"tensors": tmp_path / "vectors.safetensors"}
    prompts.add("topics", base_config_digest=config_digest(base.path), **made)
    prompts.add("others", base_config_digest="0" * 64, **made)
    given = {"tuningType": "MULTITASK_PROMPT", "initMethod": "AVERAGE_SOURCE"}

    method = create("sourced", {**given, "initSourceModel": "topics"})["method"]
    assert (method["num_virtual_tokens"], method["prompt_ranks"]) == (source_vectors.ROWS, source_vectors.RANKS)
    where = f"{MAP}.initSourceModel"
    assert f"{where}: there is no source prompt" in message_of(create, "none", {**given, "initSourceModel": "none"})
    assert f"{where}: was made on" in message_of(create, "others", {**given, "initSourceModel": "others"})
    rows = {**given, "initSourceModel": "topics", "numVirtualTokens": "99"}
    assert f"{MAP}.numVirtualTokens: source prompt topics has" in message_of(create, "rows", rows)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{" + b" " * 65_536 + b"}", "has 65538 bytes, more than the 65536 that are read"),
        (b"[1]", "is not a JSON object"),
        (b'{"lr": NaN}', "NaN is no number of JSON"),
        (b'{"\xff": 1}', "is not UTF-8"),
    ],
)
def test_an_object_that_is_none_is_a_fault_of_the_tag(create, data, problem):
    assert f"Tags[{TAG}]: " in (message := message_of(create, "no-object", data=data))
    assert problem in message


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (rb'{"\ud800\u0000": 1}', r"].\ud800\x00: is no parameter"),
        (b'{"' + b"x" * 60_000 + b'": 1}', "].xxx"),
        (b'{"verbalizer": "\\ud800{{input}}"}', "].verbalizer: is no Unicode text"),
        (rb'{"\ud800": 1, "\ud800": 2}', r"].\ud800: stands more than once"),
        (b'{"seed": ' + b"[" * 500 + b"]" * 500 + b"}", "].seed: is not an integer"),
    ],
)
def test_hostile_names_and_values_are_told_legibly(create, data, told):
    message = message_of(create, "hostile", data=data)
    assert told in message
    assert len(message) < 3000


def test_the_tag_is_refused_on_another_problem_type(server):
    request = houses.mean_request("means", tags={TAG: "s3://data/tuning.json"})
    message = message_of(server.client().create_auto_ml_job_v2, **request)
    assert f"Tags[{TAG}]: means something for TextGeneration alone" in message


def test_a_misspelled_tag_of_ours_is_refused_with_the_right_one(create, server):
    request = houses.mean_request("misspelled", tags={"gyropilot:tuningconfig": "s3://data/tuning.json"})
    assert f"did you mean {TAG}?" in message_of(server.client().create_auto_ml_job_v2, **request)


def test_what_the_page_asks_for_is_taken(create):
    page = (doc_blocks.TOP / "docs" / "problems" / "tuning.md").read_text()
    section = page.partition("## In the AWS call")[2].partition("\n## ")[0]
    programs = [ast.parse(one) for one in re.findall(r"```python\n(.*?)```", section, re.DOTALL)]
    given = {
        node.targets[0].id: ast.literal_eval(node.value)
        for program in programs
        for node in program.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    strings = given["config"]["TextGenerationHyperParameters"]
    assert create("page-strings", strings)["method"]["num_virtual_tokens"] == int(strings["numVirtualTokens"])
    spec = create("page-object", values=given["tuning"])
    assert (spec["epochs"], spec["method"]["verbalizer"]) == (20, given["tuning"]["verbalizer"])


def _tagged(*names):
    return [f"Tags[{TAG}].{name}" for name in names]
