"""Signatures against the examples that AWS publishes."""

from __future__ import annotations

from pipeline_step.gates.aws_signature import Credentials, signed

EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = 1440938160.0  # 2015-08-30 12:36:00 UTC


def signature(method: str, url: str, headers: dict[str, str], body: bytes = b"", service: str = "service") -> str:
    found = signed(method, url, headers, body, EXAMPLE, "us-east-1", service, AT)
    assert found["X-Amz-Date"] == "20150830T123600Z"
    return found["Authorization"].rpartition("Signature=")[2]


def test_the_example_of_the_documentation() -> None:
    """ListUsers of IAM, the worked example of signature version 4."""
    found = signature(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        service="iam",
    )
    assert found == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


def test_the_cases_of_the_published_suite() -> None:
    """get-vanilla, post-vanilla, get-vanilla-query-order-key-case and post-x-www-form-urlencoded."""
    url = "https://example.amazonaws.com/"
    assert signature("GET", url, {}) == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert signature("POST", url, {}) == "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    by_key = signature("GET", url + "?Param2=value2&Param1=value1", {})
    assert by_key == "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    form = signature("POST", url, {"Content-Type": "application/x-www-form-urlencoded"}, b"Param1=value1")
    assert form == "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"


def test_a_temporary_keys_token_is_signed_too() -> None:
    temporary = EXAMPLE._replace(session_token="token")
    found = signed("POST", "https://a/", {}, b"", temporary, "us-east-1", "monitoring", AT)
    assert found["X-Amz-Security-Token"] == "token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in found["Authorization"]
