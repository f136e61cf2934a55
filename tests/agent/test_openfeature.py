"""The stock OpenFeature SDK with its OFREP provider, against the real edge: what an app of today really gets."""

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from serving import READER, TOKEN, serving

CONTEXT = EvaluationContext("somebody", {"country": "NL", "age": 40, "scores": [1, 2.5], "nested": {"a": None}})


def client_of(served, token=None):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    provider = OFREPProvider(f"http://{served.address}", headers_factory=lambda: headers)
    api.set_provider(provider, served.address)
    return api.get_client(served.address)


@pytest.fixture(scope="module")
def served():
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def client(served):
    yield client_of(served)
    api.clear_providers()


@pytest.mark.parametrize(
    ("kind", "key", "default", "value"),
    [
        ("boolean", "autoplay", False, True),
        ("string", "rows", "editorial", "personal"),
        ("integer", "columns", 1, 3),
        ("float", "volume", 1.5, 10.0),
        ("object", "theme", {}, {"colour": "red", "sizes": [1, 2]}),
        ("object", "order", [], ["news", "drama"]),
    ],
)
def test_every_type_of_value_arrives(client, kind, key, default, value):
    details = getattr(client, f"get_{kind}_details")(key, default, CONTEXT)
    assert details.error_code is None
    assert details.value == value
    assert type(details.value) is type(value)
    assert details.variant


def test_the_apps_context_arrives(served, client):
    client.get_boolean_value("autoplay", False, CONTEXT)
    told = served.apps.contexts[-1]
    assert told == {"targetingKey": "somebody", "country": "NL", "age": 40, "scores": [1, 2.5], "nested": {"a": None}}


def test_an_app_needs_no_context(client):
    details = client.get_boolean_details("autoplay", False)
    assert (details.value, details.reason, details.variant) == (True, Reason.TARGETING_MATCH, "on")


def test_metadata_arrive(client):
    assert client.get_object_details("theme", {}).flag_metadata == {"team": "tv"}


@pytest.mark.parametrize(("key", "reason"), [("retired", Reason.DISABLED), ("undecided", Reason.UNKNOWN)])
def test_a_disabled_flag_gives_the_apps_own_default_without_an_error(client, key, reason):
    details = client.get_string_details(key, "mine", CONTEXT)
    assert (details.value, details.reason, details.error_code) == ("mine", reason, None)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("cows", ErrorCode.FLAG_NOT_FOUND),
        ("broken", ErrorCode.PARSE_ERROR),
        ("crooked", ErrorCode.GENERAL),
        ("keyed", ErrorCode.TARGETING_KEY_MISSING),
    ],
)
def test_an_error_arrives_as_what_it_is_with_the_apps_own_default(client, key, code):
    """None of them is the provider's own KeyError."""
    details = client.get_string_details(key, "mine", CONTEXT)
    assert (details.value, details.error_code) == ("mine", code)
    assert details.error_message not in (None, "'errorDetails'", "'variant'")


def test_a_wrong_type_is_the_providers_own_error(client):
    assert client.get_string_details("autoplay", "mine", CONTEXT).error_code is ErrorCode.TYPE_MISMATCH


def test_a_token_is_what_opens_the_scope():
    with serving({"player": READER}) as served:
        known = client_of(served, TOKEN)
        told = known.get_boolean_details("autoplay", False), known.get_string_details("rows", "mine")
        stranger = client_of(served).get_boolean_details("autoplay", False)
    assert told[0].value is True
    assert told[1].error_code is ErrorCode.FLAG_NOT_FOUND
    assert (stranger.value, stranger.error_code, stranger.error_message) == (False, ErrorCode.GENERAL, "unauthorized")


def test_a_store_that_cannot_be_read_gives_the_apps_own_default_and_it_goes_on_after(served, client):
    served.apps.is_out_of_order = True
    details = client.get_boolean_details("autoplay", False)
    served.apps.is_out_of_order = False
    assert (details.value, details.error_code) == (False, ErrorCode.GENERAL)
    assert client.get_boolean_value("autoplay", False) is True
