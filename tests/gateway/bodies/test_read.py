"""Bytes and headers in: passages out, or an error that says what was wrong and what to do."""

import contextlib
import json
from typing import get_args
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.bodies.read import read_body, read_request

TEXT = "how are you today my friend"
JSON = {"content-type": "application/json"}


def _request(headers: dict[str, str], body: bytes, path: str = "/v1/chat") -> list[str]:
    return [passage.text for passage in read_request("POST", path, headers, body).passages]


def _multipart(*parts: tuple[str, bytes]) -> tuple[dict[str, str], bytes]:
    body = b"".join(
        b"--x\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    return {"content-type": "multipart/form-data; boundary=x"}, body + b"--x--\r\n"


@given(st.text(min_size=1).filter(str.strip))
@settings(deadline=None)
def test_a_form_is_read_decoded(text: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if "\\ud" in ascii(text):
        return
    assert text in _request(headers, f"prompt={quote_plus(text)}&n=1".encode())


@pytest.mark.parametrize(
    "body", [b"prompt=%ff%fe", b"prompt", b"a=b&c", "prompt=é".encode("latin-1")]
)
def test_a_form_that_does_not_decode_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="form"):
        _request({"content-type": "application/x-www-form-urlencoded"}, body)


def test_a_form_of_very_many_fields_is_refused() -> None:
    with pytest.raises(InputError, match="1,000"):
        _request({"content-type": "application/x-www-form-urlencoded"}, b"&".join([b"a=b"] * 2000))


def test_parts_of_text_and_json_are_read_names_of_files_too_and_others_are_unread() -> None:
    headers, body = _multipart(
        ('Content-Disposition: form-data; name="prompt"', TEXT.encode()),
        (
            'Content-Disposition: form-data; name="f"; filename="what a file.txt"\r\n'
            "Content-Type: text/plain",
            b"words of a file",
        ),
        (
            'Content-Disposition: form-data; name="j"\r\nContent-Type: application/json',
            json.dumps({"prompt": "words of a json"}).encode(),
        ),
        (
            'Content-Disposition: form-data; name="i"; filename="a.png"\r\nContent-Type: image/png',
            b"\x89PNG",
        ),
    )
    read = read_request("POST", "/", headers, body)
    assert {TEXT, "what a file.txt", "words of a file", "words of a json", "a.png"} <= {
        passage.text for passage in read.passages
    }
    assert [part.kind for part in read.unread] == ["image"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "multipart/form-data"}, b"--x\r\n\r\na\r\n--x--"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"no boundary at all"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\nnever ended"),
        _multipart(
            ('Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain', b"\xff\xfe")
        ),
        _multipart(("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", b"YQ==")),
        _multipart(("Content-Type: application/json", b"{")),
    ],
)
def test_a_multipart_body_that_does_not_decode_is_refused(
    headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(InputError):
        _request(headers, body)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(InputError, match="compressed"):
        _request({**JSON, "content-encoding": encoding}, json.dumps({"prompt": TEXT}).encode())


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-7", "shift_jis"])
def test_another_charset_is_refused(charset: str) -> None:
    headers = {"content-type": f"application/json; charset={charset}"}
    with pytest.raises(InputError, match="charset"):
        _request(headers, b'{"prompt": "a"}')


@pytest.mark.parametrize(
    "body", [b'{"prompt": "a"} x', b"[1, 2", b'\xef\xbb\xbf{"prompt": "a"}', b"{'a': 1}"]
)
@pytest.mark.parametrize("headers", [JSON, {}, {"content-type": "text/plain"}])
def test_a_body_that_looks_like_json_and_is_none_is_refused(
    headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(InputError):
        _request(headers, body)


def test_a_plain_text_is_one_passage() -> None:
    assert _request({"content-type": "text/plain; charset=utf-8"}, TEXT.encode()) == [TEXT]
    assert _request({}, TEXT.encode()) == [TEXT]


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"a\x00b", "text".encode("utf-16-le")])
def test_a_body_that_is_no_text_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        _request({"content-type": "text/plain"}, body)


def test_values_of_the_query_are_read_but_for_identifiers() -> None:
    path = "/v1/complete?key=AIza123&alt=sse&prompt=how+are+you+today"
    assert _request(JSON, b'{"prompt": "hello there"}', path) == [
        "how are you today",
        "hello there",
    ]
    assert [p.text for p in read_request("GET", path, {}, b"").passages] == ["how are you today"]


def test_a_request_without_a_body_passes_only_where_its_method_has_none() -> None:
    assert read_request("GET", "/v1/models", {}, b"").passages == ()
    for method in ("POST", "PUT", "PATCH"):
        with pytest.raises(InputError, match="with_request_body"):
            read_request(method, "/v1/models", {}, b" ")


def test_an_upgrade_is_refused() -> None:
    with pytest.raises(InputError, match="upgrade"):
        read_request("GET", "/v1/realtime", {"upgrade": "websocket"}, b"")


def test_an_empty_answer_is_no_text() -> None:
    assert read_body(JSON, b"", "response").passages == ()
    assert read_body(JSON, b"{}", "response").passages == ()


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            "",
            "application/json",
            "text/event-stream",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/x-ndjson",
            "application/json; charset=utf-8",
        ]
    ),
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(body: bytes, kind: str) -> None:
    for side in get_args(Side):
        with contextlib.suppress(InputError):
            read_body({"content-type": kind}, body, side)
