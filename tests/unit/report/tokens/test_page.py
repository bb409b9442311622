import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan
from pgpo_async.report.tokens.page import DATA_ID, token_page
from pgpo_async.report.tokens.values import group_values
from pgpo_async.report.tokens.view import GroupView, TokensView

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--",
    "<img src=x onerror=alert(1)>",
    "]]>",
    "&lt;b&gt;",
    '"><b>',
    "\u2028\u202e\x00",
    "__proto__",
)


class Elements(HTMLParser):
    """The names of all elements of a page, and the text of its data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.data, self._inside = "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self._inside = dict(attrs).get("id") == DATA_ID

    def handle_endtag(self, tag):  # noqa: ARG002
        self._inside = False

    def handle_data(self, data):
        self.data += data if self._inside else ""


class Words:
    """Stands for a tokenizer's texts: token n is word n."""

    def __init__(self, words):
        self._words = words

    def pieces(self, token_ids):
        return tuple(self._words[token % len(self._words)] for token in token_ids)

    def is_special(self, token_id):
        return token_id == 3


def png(side=20):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


def group_of(lengths, *, text="", name="g", images=(), seed=0):
    rng = np.random.default_rng(seed)

    def row(length):
        return rng.normal(-1, 0.7, length).astype(np.float32)

    group = RolloutGroup(
        group_id=name,
        prompt=Prompt(prompt_id="p", question=text, answer=text, images=images),
        prompt_token_ids=np.arange(2, dtype=np.int32),
        rollouts=tuple(
            Rollout(
                response_token_ids=np.arange(length, dtype=np.int32),
                behaviour_logprobs=row(length),
                version_spans=(VersionSpan(version=7, start=0, end=length),),
                finish_reason="length",
                text=text,
                reward=float(number % 2),
                reward_parts={"accuracy": float(number % 2), text or "format": 1.0},
            )
            for number, length in enumerate(lengths)
        ),
    )
    return ScoredGroup(
        group=group,
        proximal_logprobs=tuple(row(length) for length in lengths),
        dependency=tuple(abs(row(length)) for length in lengths),
        token_weights=tuple(abs(row(length)) for length in lengths),
        scorer_version=7,
    )


def view_of(*groups, words=("a", "b"), text="", algorithm=AlgorithmConfig(), entropy=True):  # noqa: B008
    views = []
    for step, scored in enumerate(groups, start=8):
        measured = scored.dependency if entropy else None
        values = group_values(scored, algorithm, version=step, entropy=measured)
        views.append(GroupView.of(scored, values, Words(words), step=step))
    return TokensView(title=text or "title", facts=[("model", text)], notes=[text], groups=views)


def data_of(page):
    return json.loads(Elements(page).data)


def test_the_values_in_the_page_are_those_of_the_group():
    scored = group_of((5, 3))
    view = view_of(scored)
    data = data_of(token_page(view))
    (group,) = data["groups"]
    for number, response in enumerate(group["responses"]):
        rollout = scored.group.rollouts[number]
        expected = {
            "dependency": scored.dependency[number],
            "weight": scored.token_weights[number],
            "advantage": (-1, 1)[number] * np.sqrt(0.5) * scored.token_weights[number],
            "entropy": scored.dependency[number],
            "importance": np.exp(scored.proximal_logprobs[number] - rollout.behaviour_logprobs),
            "lag": np.ones(len(rollout.response_token_ids)),
        }
        assert list(response["values"]) == list(expected)
        for key, row in expected.items():
            assert response["values"][key] == pytest.approx(row.tolist(), rel=1e-5), key
        assert response["capped"] == np.flatnonzero(expected["importance"] > 2).tolist()
        assert response["ids"] == rollout.response_token_ids.tolist()
        assert response["logprobs"] == pytest.approx(rollout.behaviour_logprobs.tolist(), rel=1e-5)
        assert response["right"] == bool(number)
        assert response["special"] == [3] * (number == 0)
    assert group["meanDependency"] == pytest.approx(np.concatenate(scored.dependency).mean(), rel=1e-5)
    assert group["meanReward"] == 0.5


def test_hostile_texts_and_tokens_stay_text():
    plain = Elements(token_page(view_of(group_of((9, 4)))))
    text = "".join(HOSTILE)
    page = token_page(view_of(group_of((9, 4), text=text, name=text), words=HOSTILE, text=text))
    found = Elements(page)
    assert found.names == plain.names
    assert page.count("</script") == plain.names.count("script")
    data = json.loads(found.data)
    assert data["groups"][0]["responses"][0]["pieces"] == [*HOSTILE, HOSTILE[0]]
    assert data["groups"][0]["question"] == text


def test_a_page_asks_nobody_for_anything():
    page = token_page(view_of(group_of((3,) * 2, images=(png(),))))
    assert "default-src 'none'" in page
    for word in ("http:", "https:", "fetch(", "XMLHttpRequest", "innerHTML", "import(", "url("):
        assert word not in page, word


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_draws_every_token_of_hostile_texts_and_says_nothing(tmp_path):
    page = tmp_path / "page.html"
    text = "".join(HOSTILE)
    page.write_text(token_page(view_of(group_of((9, 4), text=text), words=HOSTILE, text=text)))
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
    ]
    command += ["--enable-logging=stderr", "--dump-dom", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*command, f"{page.as_uri()}#1/weight"], capture_output=True, text=True, timeout=120
    )
    assert "CONSOLE" not in done.stderr
    found = Elements(done.stdout)
    coloured = re.findall(r'<span class="weight-\d+(?: special)?"', done.stdout)
    assert len(coloured) == 13
    assert found.names.count("article") == 2
    # Those of the page itself: data and program.
    assert found.names.count("script") == 2
    assert "img" not in found.names
    assert 'data-key="weight" aria-pressed="true"' in done.stdout


def test_an_image_is_in_the_page_once_and_one_that_cannot_be_shown_is_told():
    one = png()
    groups = [group_of((2, 2), name=str(number), images=(one, b"no image")) for number in range(3)]
    data = data_of(token_page(view_of(*groups)))
    shown = [uri for uri in data["images"].values() if uri]
    assert len(data["images"]) == 2
    assert len(shown) == 1
    assert shown[0].startswith("data:image/png;base64,")
    assert all(len(group["images"]) == 2 for group in data["groups"])


def test_a_quantity_that_is_not_known_cannot_be_chosen_and_says_why():
    page = token_page(view_of(group_of((3, 3)), entropy=False))
    button = next(line for line in page.splitlines() if 'data-key="entropy"' in line)
    assert 'aria-disabled="true"' in button
    assert "not measured now" in button
    assert page.count('aria-disabled="true" title') == 1


def test_the_newest_step_is_shown_first():
    data = data_of(token_page(view_of(*(group_of((2, 2), name=str(number)) for number in range(3)))))
    assert data["start"] == 2
    assert [group["step"] for group in data["groups"]] == [8, 9, 10]


def test_what_is_no_number_is_null():
    scored = group_of((2, 2))
    scored.dependency[0][0] = np.nan
    data = data_of(token_page(view_of(scored)))
    assert data["groups"][0]["responses"][0]["values"]["dependency"][0] is None


def test_eight_responses_of_two_thousand_tokens_are_below_5_mb():
    words = [f" word{number}" for number in range(2000)]
    page = token_page(view_of(group_of((2000,) * 8, images=(png(1000),)), words=words))
    assert len(page.encode()) < 5_000_000


def test_responses_without_tokens_are_shown_all_the_same():
    (group,) = data_of(token_page(view_of(group_of((0, 0)))))["groups"]
    assert [response["pieces"] for response in group["responses"]] == [[], []]
    (group,) = data_of(token_page(view_of(group_of(()))))["groups"]
    assert group["responses"] == []
