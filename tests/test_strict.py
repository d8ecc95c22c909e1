"""JSON and YAML to the letter: one meaning, or one line."""

import json
import math
from typing import Any

import pytest

from fgs_jax.strict import DEEPEST, MOST_VALUES, read_json, read_yaml

NESTED = "[" * DEEPEST + "]" * DEEPEST


def test_json_is_read_as_it_is():
    value = {"a": [1, -2.5, 1e-4, True, None, 'ä\n"[{'], "b": {"a": {}}, "c": 2**63 - 1}
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read_json(json.dumps(value, ensure_ascii=False).encode(encoding)) == value
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"
    read_json(NESTED.encode())
    read_json(b'["' + b"[" * 1000 + b'", "\\"[[", "\\\\"]')  # brackets within texts


BAD_JSON = {
    '{"side": "right", "b": 1, "side": "left"}': "the key 'side' is there twice",
    '{"a": [{"b": 1, "b": 1}]}': "the key 'b' is there twice",
    '{"a": 1, "\\u0061": 2}': "the key 'a' is there twice",
    '{"' + "k" * 500 + '": 1, "' + "k" * 500 + '": 2}': "the key 'k{40}' is there twice",
    "[NaN]": "NaN is not a number",
    "[-Infinity]": "-Infinity is not a number",
    "[1e999]": "1e999 is too large a number",
    "9" * 5000: "9{40} is too large a whole number",
    str(2**63): "9223372036854775808 is too large a whole number",
    f"[{NESTED}]": "values nested deeper than 64",
    "[" * 100_000: "values nested deeper than 64",
    '{"a":' * 100_000: "values nested deeper than 64",
    '"\\ud800"': "half of a character",
    '{"\\udfff": 1}': "half of a character",
    '{"a": 1} {"b": 2}': "Extra data: line 1",
    "": "Expecting value",
    '"' + "\\" * 9: "Unterminated string|Invalid",
}


@pytest.mark.parametrize(("text", "message"), BAD_JSON.items(), ids=range(len(BAD_JSON)))
def test_json_that_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_json(text.encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_bytes_that_are_no_text():
    for read in (read_json, read_yaml):
        with pytest.raises(ValueError, match="bytes that are no utf-8"):
            read('{"a": "größer"}'.encode("latin1"))


TEXTS = (
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "tRue",
    "1:30",
    "190:20:30.15",
    "2024-01-01",
    "1_000",
    "0b1",
    "0o8",
    "1e",
    "+.nan",
)
YAML_VALUES: dict[str, Any] = {
    **{text: text for text in (*TEXTS, "=", "<<", "a b")},
    **{'"1"': "1", "'true'": "true"},
    **{"010": 10, "-7": -7, "+5": 5, "0o10": 8, "0x1F": 31, "1e-4": 1e-4, "1.": 1.0, ".5": 0.5, "-1.5E+3": -1500.0},
    **{"true": True, "FALSE": False, "null": None, "~": None, "": None, ".inf": math.inf, "-.INF": -math.inf},
}


@pytest.mark.parametrize("text", YAML_VALUES)
def test_plain_yaml_values_are_those_of_the_core_schema(text):
    for source in (f"a: {text}", f"[{text or '~'}]"):
        [found] = read_yaml(source.encode()).values() if source[0] == "a" else read_yaml(source.encode())
        assert found == YAML_VALUES[text]
        assert type(found) is type(YAML_VALUES[text])


def test_yaml_is_read_as_it_is():
    assert math.isnan(read_yaml(b".nan"))
    assert read_yaml(b"") is None
    assert read_yaml(b"# words\n") is None
    assert read_yaml(b"a: |\n  b\n  c\nd: {e: [1, 'f'], 2: g}\n") == {"a": "b\nc\n", "d": {"e": [1, "f"], 2: "g"}}
    assert read_yaml(b"a: &x {b: 1}\nc: *x\nd: [*x, *x]") == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}
    assert read_yaml("ä: 1".encode("utf-16")) == read_yaml(b"\xef\xbb\xbf\xc3\xa4: 1") == {"ä": 1}
    read_yaml(NESTED.encode())


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 100))
BAD_YAML = {
    "a: 1\nb: 2\na: 3": "the key 'a' is there twice, again in line 3",
    "a: {b: 1, b: 2}": "the key 'b' is there twice",
    '"a": 1\na: 2': "the key 'a' is there twice",
    "1: a\n01: b": "the key 1 is there twice",
    "? [1, 2]\n: 3": "a list or mapping as a key in line 1",
    "[" * 5000: "values nested deeper than 64 in line 1",
    "{a: " * 5000: "values nested deeper than 64",
    "- " * 5000: "values nested deeper than 64",
    "? " * 5000: "values nested deeper than 64",
    LAUGHS: f"more than {MOST_VALUES} values.* by aliases in line 6",
    CHAIN: "nested deeper than 64, by aliases",
    "a: &a [*a]": "a value that holds itself in line 1",
    "a: *b": "found undefined alias",
    "a: !!python/object/apply:os.getpid []": "could not determine a constructor for the tag",
    "a: !!str 5": "could not determine a constructor for the tag tag:yaml.org,2002:str in line 1",
    "a: ! 5": "could not determine a constructor for the tag !",
    "a: !mine 5": "could not determine a constructor for the tag !mine",
    "a: 1\n---\nb: 2": "expected a single document",
    "a: 1e999": "1e999 is too large a number",
    "a: " + "9" * 5000: "9{40} is too large a whole number",
    "a: [1, 2": "expected ',' or ']'",
    'a: "\0"': "special characters are not allowed",
    'a: "\\ud800"': "half of a character",
}


@pytest.mark.parametrize(("text", "message"), BAD_YAML.items(), ids=range(len(BAD_YAML)))
def test_yaml_that_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_yaml(text.encode())
    assert "\n" not in str(caught.value)
