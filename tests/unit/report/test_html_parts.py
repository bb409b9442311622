import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pgpo_async.report.html_parts import as_script_json, data_block, data_uri, document, text

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> ]]> & \"'"


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_document_forbids_everything_that_is_not_in_it(parsed):
    page = parsed(document("a <b>", "<p>hello</p>", script="run()"))
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    ]
    assert "b" not in [tag for tag, _ in page.elements]
    assert page.scripts == ["run()"]


@pytest.mark.parametrize("script", ["'</script>'", "'</SCRIPT '", "'<!--'"])
def test_a_script_that_would_end_its_element_is_refused(script):
    with pytest.raises(ValueError, match="script must hold neither"):
        document("t", "", script=script)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_data_of_a_script_are_read_back_whatever_texts_they_hold(value):
    written = as_script_json([value, HOSTILE])
    assert not set("<>&") & set(written)
    assert json.loads(written)[1] == HOSTILE
    assert json.loads(written) == json.loads(as_script_json(json.loads(written)))


def test_numbers_that_json_has_none_for_are_null():
    assert (
        as_script_json({"a": [float("nan"), float("inf")], 3: -float("inf")}) == '{"a":[null,null],"3":null}'
    )


def test_hostile_data_stay_data(parsed):
    page = parsed(document("t", data_block("d", HOSTILE) + f'<p title="{text(HOSTILE)}">{text(HOSTILE)}</p>'))
    assert json.loads(page.scripts[0]) == HOSTILE
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "img" not in [tag for tag, _ in page.elements]
    assert HOSTILE in page.words


@given(st.text(st.characters(categories=("L", "Cc", "Cs", "P"))))
def test_text_can_always_be_written_and_holds_no_markup(value):
    written = text(value)
    assert not set("<>\"'") & set(written)
    assert not any(ord(letter) < 32 and letter not in "\t\n\r" for letter in written)
    written.encode()


@pytest.mark.parametrize(("size", "expected"), [((900, 300), (320, 107)), ((40, 30), (40, 30))])
def test_a_thumbnail_has_no_side_longer_than_asked_and_is_never_blown_up(size, expected):
    kind, _, content = data_uri(png(*size), 320).partition(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == expected


def test_a_photograph_is_written_as_jpeg_and_a_drawing_as_png():
    noise = Image.effect_noise((300, 300), 80).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    assert data_uri(buffer.getvalue(), 320).startswith("data:image/jpeg;")
    assert data_uri(png(300, 300), 320).startswith("data:image/png;")


def test_bytes_that_are_no_image_are_a_value_error():
    with pytest.raises(ValueError, match="must be decodable"):
        data_uri(b"junk", 320)
