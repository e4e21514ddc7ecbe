import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import BadRequest
from bursar.wires.form import read_form

CONTENTS = st.binary(max_size=200).filter(lambda data: b"--frontier" not in data)


def form_of(fields: dict[str, str], files: dict[str, bytes]) -> bytes:
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [
        f'Content-Disposition: form-data; name="{name}"; filename="f"\r\nContent-Type: audio/wav\r\n\r\n'.encode()
        + data
        for name, data in files.items()
    ]
    return b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50), CONTENTS, CONTENTS)
def test_a_form_keeps_all_but_what_is_changed(prompt: str, first: bytes, second: bytes) -> None:
    body = form_of({"model": "a", "prompt": prompt}, {"file": first, "mask": second})
    changed = read_form(read_form(body).with_fields({"model": "b", "n": "2"}))
    assert (changed.field("model"), changed.field("prompt"), changed.field("n")) == ("b", prompt, "2")
    assert [part.data for part in changed.files("file", "mask")] == [first, second]
    assert [part.content_type for part in changed.files("file")] == ["audio/wav"]


def test_a_form_with_nothing_changed_is_the_same_bytes() -> None:
    body = form_of({"model": "a"}, {"file": b"\r\n--front\r\n"})
    assert read_form(body).with_fields({}) == body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected multipart"),
        (b"{}", "expected multipart"),
        (b"--\r\n\r\n", "expected multipart"),
        (form_of({"model": "a"}, {})[:-6], "cannot be read"),
        (b"--frontier\r\nNo-Disposition: x\r\n\r\n1\r\n--frontier--\r\n", "cannot be read"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_form(body)


def test_a_field_stands_once_and_is_text() -> None:
    twice = form_of({"model": "a"}, {})[: -len(b"--frontier--\r\n")] + form_of({"model": "b"}, {})
    with pytest.raises(BadRequest, match="2 times"):
        read_form(twice).field("model")
    with pytest.raises(BadRequest, match="expected a field `prompt`"):
        read_form(twice).field("prompt")
    with pytest.raises(BadRequest, match="an integer from 1 to 10 in `n`"):
        read_form(form_of({"n": "eleven"}, {})).number("n", 1, 1, 10)


@pytest.mark.parametrize("boundary", ['A"; x="', "A\rx-injected: 1", "A\0", "A\\", "a" * 71, "A ", "\xe9"])
def test_a_boundary_that_a_header_could_be_misread_by_is_refused(boundary: str) -> None:
    body = form_of({"model": "a"}, {}).replace(b"frontier", boundary.encode())
    with pytest.raises(BadRequest, match="expected multipart"):
        read_form(body)


def test_a_head_that_cannot_be_read_is_not_repeated() -> None:
    body = form_of({}, {"file": b""}).replace(b'filename="f"', b'filename="\xff secret"')
    with pytest.raises(BadRequest, match="cannot be read") as refused:
        read_form(body)
    assert "secret" not in str(refused.value)


def digest_of(body: bytes) -> bytes:
    return read_form(body).layout.digest(body)


def test_the_same_form_divided_otherwise_has_the_same_digest() -> None:
    body = form_of({"model": "a"}, {"file": b"sound"})
    assert digest_of(body) == digest_of(body.replace(b"frontier", b"another"))
    assert digest_of(body) != digest_of(form_of({"model": "a"}, {"file": b"silence"}))


@given(content=CONTENTS | st.sampled_from([b"\r\n\r\n", b"\r\n--frontie", b"\r\n--"]), empty=st.booleans())
def test_a_layout_finds_what_the_parts_hold_and_changes_one_field_alone(content: bytes, empty: bool) -> None:
    body = form_of({"prompt": "" if empty else "a", "model": "small"}, {"file": content})
    form = read_form(body)
    places = [(each.name, each.file_name, body[each.start : each.end]) for each in form.layout.places]
    assert places == [(part.name, part.file_name, part.data) for part in form.parts]
    changed = form.layout.with_field(body, "model", "provider/a larger one")
    assert changed == body.replace(b"small", b"provider/a larger one", 1)
    assert read_form(changed).field("model") == "provider/a larger one"
