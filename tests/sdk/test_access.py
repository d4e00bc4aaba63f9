import pytest

from gyropilot.sdk.errors import Refused


@pytest.fixture
def access(service):
    return service.access()


def test_keys_are_made_listed_and_revoked(service, access):
    made = access.create_key(kind="admin", name="by-sdk")
    assert made["AccessKeyId"] in [one["AccessKeyId"] for one in service.access(made).list_keys()]
    access.revoke_key(made["AccessKeyId"])
    with pytest.raises(Refused) as caught:
        service.access(made).list_keys()
    assert caught.value.code == "InvalidSignatureException"


def test_roles_are_made_shown_and_removed(access):
    arn = access.add_role("by-sdk", read=["s3://data"], write=[])
    assert arn in [one["RoleArn"] for one in access.list_roles()]
    with pytest.raises(Refused) as taken:
        access.add_role("by-sdk", read=[], write=[])
    assert taken.value.code == "ResourceInUse"
    access.add_role("by-sdk", read=[], write=[], if_taken="replace")
    assert access.role("by-sdk")["ReadPrefixes"] == []
    access.remove_role("by-sdk")
    with pytest.raises(Refused) as gone:
        access.role("by-sdk")
    assert gone.value.code == "ResourceNotFound"


def test_an_operator_may_do_none_of_this(service, access):
    operator = service.access(access.create_key(kind="operator", name="op"))
    for call in (
        operator.list_keys,
        operator.list_roles,
        lambda: operator.create_key(kind="invoker", name="x"),
        lambda: operator.revoke_key("GYROAAAA"),
        lambda: operator.add_role("x", read=[], write=[]),
        lambda: operator.role("gyropilot"),
        lambda: operator.remove_role("x"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "AccessDeniedException"
