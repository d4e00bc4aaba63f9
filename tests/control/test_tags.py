import pytest

import houses
from gyropilot.control import automl_jobs, tags
from gyropilot.errors import InvalidRequest, NotFound
from gyropilot.store.principals import Principal
from mean_problem import MEAN

STRANGER = Principal(access_key_id="GYROSTRANGER", account_id="111111111111", kind="admin", name="stranger")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (MEAN,))
    yield house
    house.db.close()


def create(house, name, **tags):
    request = houses.mean_request(name, tags=tags)
    return automl_jobs.create(house, houses.admin(house), request, invocation_id=None, region=houses.REGION)


def add(house, arn, given, principal=None):
    request = {"ResourceArn": arn, "Tags": [{"Key": key, "Value": value} for key, value in given.items()]}
    return tags.add(house, principal or houses.admin(house), houses.REGION, request)["Tags"]


def listed(house, arn, principal=None, **chosen):
    answer = tags.list_tags(house, principal or houses.admin(house), houses.REGION, {"ResourceArn": arn} | chosen)
    assert "NextToken" not in answer
    return {one["Key"]: one["Value"] for one in answer["Tags"]}


def delete(house, arn, *keys, principal=None):
    request = {"ResourceArn": arn, "TagKeys": list(keys)}
    return tags.delete(house, principal or houses.admin(house), houses.REGION, request)


def test_tags_are_added_replaced_listed_and_taken_away(house):
    arn = create(house, "Tagged", team="a", kept="")
    assert listed(house, arn) == {"kept": "", "team": "a"}
    assert add(house, arn, {"team": "b", "new": "東京"}) == [
        {"Key": "kept", "Value": ""},
        {"Key": "new", "Value": "東京"},
        {"Key": "team", "Value": "b"},
    ]
    assert delete(house, arn, "kept", "never there") == {}
    assert listed(house, arn, MaxResults=1000) == {"new": "東京", "team": "b"}
    assert listed(house, arn.replace("tagged", "TAGGED")) == {"new": "東京", "team": "b"}


def test_a_resource_bears_fifty_tags_and_no_more(house):
    arn = create(house, "full", **{f"k{number}": "" for number in range(49)})
    add(house, arn, {"k48": "again", "k49": "last"})
    with pytest.raises(InvalidRequest, match="at most 50 tags"):
        add(house, arn, {"k50": "too many"})
    assert len(listed(house, arn)) == 50
    add(house, arn, {"k0": "changed"})
    assert listed(house, arn)["k0"] == "changed"


def test_reserved_and_repeated_keys_are_told_together(house):
    arn = create(house, "rules")
    request = {"ResourceArn": arn, "Tags": [{"Key": key, "Value": ""} for key in ("aws:a", "AWS:b", "c", "c")]}
    with pytest.raises(InvalidRequest) as caught:
        tags.add(house, houses.admin(house), houses.REGION, request)
    assert {fault.found for fault in caught.value.faults} == {"aws:a", "AWS:b", "c"}
    assert listed(house, arn) == {}
    with pytest.raises(InvalidRequest, match="reserved"):
        create(house, "reserved", **{"aws:made-by": "me"})


def test_whatever_is_not_the_callers_is_missing_in_the_same_words(house):
    arn = create(house, "mine")
    absent = [
        arn.replace("mine", "other"),
        arn.replace("000000000000", "111111111111"),
        arn.replace("us-east-1", "eu-west-1"),
        arn.replace("arn:aws:", "arn:aws-cn:"),
        arn.replace("automl-job", "model"),
        arn.replace("automl-job", "no-such-kind"),
        f"{arn}/more",
        f"{arn}\0",
        arn.rpartition("/")[0],
        arn.rpartition("/")[0] + "/",
    ]
    told = set()
    for one in absent:
        for call in (
            lambda arn: add(house, arn, {"a": "b"}),
            lambda arn: listed(house, arn),
            lambda a: delete(house, a, "a"),
        ):
            with pytest.raises(NotFound) as caught:
                call(one)
            told.add(str(caught.value).replace(repr(one), "ARN"))
    with pytest.raises(NotFound) as caught:
        listed(house, arn, principal=STRANGER)
    told.add(str(caught.value).replace(repr(arn), "ARN"))
    assert told == {"There is no resource with the ARN ARN."}


def test_a_token_of_another_listing_is_refused(house):
    arn = create(house, "paged")
    with pytest.raises(InvalidRequest, match="NextToken: "):
        listed(house, arn, NextToken="bm9uZQ==")
