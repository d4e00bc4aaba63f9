import hashlib
import hmac

import pytest

from gyropilot.errors import NotAuthentic
from gyropilot.log import redacted
from gyropilot.sdk import bearer as made
from gyropilot.wire import bearer

KEY, SECRET = "GYROABCDEFGHIJKLMNOP", "a" * 40
TOKEN = made.token(KEY, SECRET)


def verify(*values):
    return bearer.verify([("authorization", value) for value in values], {KEY: SECRET}.get)


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f" Bearer  {TOKEN} "])
def test_a_token_of_the_sdk_proves_its_key(value):
    assert verify(value) == KEY


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "missing"),
        ([f"Basic {TOKEN}"], "incomplete"),
        (["Bearer"], "incomplete"),
        ([TOKEN], "incomplete"),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], "incomplete"),
        (["Bearer sk-proj-abcdef"], "wrong"),
        ([f"Bearer {TOKEN[:-1]}"], "wrong"),
        ([f"Bearer {TOKEN}0"], "wrong"),
        ([f"Bearer {TOKEN.upper()}"], "wrong"),
        ([f"Bearer {made.token(KEY, 'b' * 40)}"], "wrong"),
        ([f"Bearer {made.token('GYROOTHEROTHEROTHER1', SECRET)}"], "wrong"),
        ([f"Bearer sk-gyro-{KEY}-{SECRET}"], "wrong"),
        ([f"AWS4-HMAC-SHA256 Credential={KEY}/20250101/us-east-1/sagemaker/aws4_request"], "incomplete"),
    ],
)
def test_anything_else_is_refused_and_says_where_a_token_comes_from(values, reason):
    with pytest.raises(NotAuthentic) as caught:
        verify(*values)
    assert caught.value.reason == reason
    assert "gyropilot keys token" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", [TOKEN[:-1], f"{TOKEN}0", TOKEN.upper(), f"sk-gyro-{KEY}", "sk-gyro-"])
def test_a_token_that_was_one_of_ours_is_told_to_be_damaged_and_no_other(token):
    with pytest.raises(NotAuthentic, match="damaged or cut off"):
        verify(f"Bearer {token}")
    with pytest.raises(NotAuthentic, match="is none of this service, which begin with sk-gyro-"):
        verify("Bearer sk-proj-abcdef")


def test_an_unknown_key_reads_like_a_wrong_token():
    said = []
    for token in (made.token(KEY, "b" * 40), made.token("GYROOTHEROTHEROTHER1", SECRET)):
        with pytest.raises(NotAuthentic) as caught:
            verify(f"Bearer {token}")
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_the_secret_of_a_known_key_compares_even_if_the_stand_in_for_unknown_ones_is_known():
    stand_in = "an unknown key costs the same time as a known one"
    with pytest.raises(NotAuthentic):
        verify(f"Bearer {made.token('GYROOTHEROTHEROTHER1', stand_in)}")


def test_the_token_is_no_signing_key_of_signature_v4():
    of_date = hmac.new(f"AWS4{SECRET}".encode(), bearer.PURPOSE, hashlib.sha256).hexdigest()
    assert TOKEN.rpartition("-")[2] not in {of_date, SECRET}
    assert made._PURPOSE == bearer.PURPOSE


@pytest.mark.parametrize("text", ["said {}", "header authorization: Bearer {}", "{} {}"])
def test_a_log_never_shows_a_token(text):
    assert TOKEN.rpartition("-")[2] not in redacted(text.format(TOKEN, TOKEN))
