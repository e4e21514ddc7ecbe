"""HTML becomes light text that says all a reader of the page sees; what is not surely HTML stays as it is."""

import json
import re
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.records import Protocol
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.conversation import compress_body
from bursar.savings.compress.edits import replay
from bursar.savings.compress.html_tree import DEPTH_MAX
from bursar.savings.compress.markup import MARKUP, light_text, unmark
from bursar.savings.compress.prompt import Budget
from bursar.savings.compress.setting import Setting, read_setting
from bursar.wires.parts import Kind, Part
from tests.savings.steps import steps_of
from tests.savings.test_compress_conversation import STAGES

PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Bridges &amp; ferries</title>
<style>p { color: red }</style><script>if (1 < 2) { document.write("<p>no</p>") }</script></head>
<body class="wide"><!-- menu --><nav><ul><li><a href="/">Home</a><li><a href="/tolls?a=1&amp;b=2">Tolls</a></ul></nav>
<svg viewBox="0 0 1 1"><text>drawn</text></svg>
<h1 id="top">Tower   Bridge</h1>
<p>Opened in <b>1894</b>, it is <em>not</em> London Bridge.<br>It took 10<sup>6</sup> rivets &mdash; see
<a href="/tolls?a=1&amp;b=2">tolls</a> and <a href="https://example.org/plan">the plan</a>.</p>
<ol start="3"><li>Pay<li>Cross<ul><li>on foot</ul></ol>
<table><thead><tr><th>Year<th>Toll</tr></thead><tr><td rowspan="2">1894<td>1|2 d</tr><tr><td>none</table>
<pre class="language-python">
def toll(n):
    return n  &lt; 2
</pre><p>Run <code>toll( 1 )</code>. <del>Old</del> <img src="data:x" alt="a map"><img src="b.png"></p>
</body></html>
"""


def test_a_page_reads_as_its_reader_sees_it() -> None:
    assert light_text(PAGE) == snapshot("""\
Bridges & ferries
- [Home](/)
- [Tolls](/tolls?a=1&b=2)

# Tower Bridge

Opened in 1894, it is not London Bridge.
It took 10^6 rivets — see tolls and [the plan](https://example.org/plan).

3. Pay
4. Cross

  - on foot

| Year | Toll |
|---|---|
| 1894 | 1\\|2 d |
| 1894 | none |

```python
def toll(n):
    return n  < 2
```

Run `toll( 1 )`. ~~Old~~ [image: a map]\
""")


@pytest.mark.parametrize(
    "text",
    [
        "If a < b and c > d, stop.",
        "<instructions>\n<p>Keep <b>this</b></p></instructions>",
        "<summary>So <b>it</b> <p>was</p></summary>",
        "<p>one</p> and prose with <p>two</p> tags <b>in</b> it <br>",
        "Prose, then <div><p>one</p></div>",
        '<?xml version="1.0"?><rss><item><title>News</title><p>a</p></item></rss>',
        "<note><to>Ann</to><p>x</p><p>y</p></note>",
        "<div className={wide}><p>one</p><p>two</p></div>",
        "<div><p>{count}</p><p>two</p></div>",
        "<div><Card><p>one</p><p>two</p></Card></div>",
        "<!doctype html><html><p>{{ name }}</p><p>two</p></html>",
        "<ul>{% for x in y %}<li>one</li><li>two</li>{% endfor %}</ul>",
        "<div><p>one</p><p>two</p>",
        "<div><p>one</span></p><p>two</p></div>",
        "<div><b><p>one</b></p><p>two</p></div>",
        "```html\n<!doctype html>\n<p>one</p><p>two</p>\n```",
        "```html\n<!doctype html>\n<p>one</p><p>two</p></html>",
        "<!doctype html><p>one <script>never ended <p>",
        "<!doctype html><p>one <!-- never ended <p>",
        "<!doctype html><p>one <p class='never ended>",
        "<pre>one</pre>",
        "<table></table>",
        "",
        "<",
        "<>",
        "\ud800<div><p>one</p></div",
    ],
)
def test_what_is_not_surely_html_stays(text: str) -> None:
    assert unmark([Part(text, Kind.retrieved)], len) == ()


def test_text_that_shows_html_does_not_become_html() -> None:
    assert light_text("<div><p>&lt;div&gt;&lt;p&gt;one&lt;/p&gt;&lt;p&gt;two&lt;/p&gt;&lt;/div&gt;</p></div>") is None
    shown = light_text("<div><p>Write</p><p>&lt;p&gt;one&lt;/p&gt;</p></div>")
    assert shown == "Write\n\n<p>one</p>"
    assert light_text(shown) is None


@pytest.mark.parametrize("kind", [Kind.system, Kind.user, Kind.history, Kind.tools])
def test_only_what_was_retrieved_loses_its_markup(kind: Kind) -> None:
    assert unmark([Part(PAGE, kind)], len) == ()


def test_what_is_protected_keeps_its_markup() -> None:
    parts = [Part(PAGE, Kind.retrieved, protected=True), Part(PAGE, Kind.retrieved, for_program=True)]
    assert unmark(parts, len) == ()


def test_lines_above_a_page_stay() -> None:
    head = "HTTP/1.1 200 OK\ncontent-type: text/html\n\n"
    (removal,) = unmark([Part(head + PAGE, Kind.retrieved)], len)
    assert (removal.start, removal.end, removal.why) == (len(head), len(head + PAGE), MARKUP)
    assert removal.text == light_text(PAGE)


def test_it_is_done_before_the_rest_and_told() -> None:
    part = Part(PAGE, Kind.retrieved)
    plain = compress([part], "", Budget())
    assert plain.texts == (PAGE,)
    short = compress([part], "", Budget(markup=True))
    assert short.texts == (light_text(PAGE),)
    assert [each.why for each in short.removals] == [MARKUP]
    asked = compress([part], "When was Tower Bridge opened?", Budget(ratio=4, markup=True))
    assert "1894" in asked.texts[0]
    assert asked.tokens_after < short.tokens_after < short.tokens_before / 2
    assert replay([PAGE], asked.removals) == asked.texts


@pytest.mark.parametrize("value", [{"markup": "light"}, "markup=light", {"ratio": 3, "markup": "light"}])
def test_a_call_is_sent_without_markup(value: object) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "fetch", "arguments": "{}"}}
    asked = {"role": "user", "content": "When was <b>Tower Bridge</b> opened?"}
    turns = [
        {"role": "system", "content": PAGE},
        asked,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": PAGE},
    ]
    sent: list[bytes] = []
    for more in ([], [{"role": "assistant", "content": "1894."}, {"role": "user", "content": PAGE}]):
        body = json.dumps({"model": "m", "messages": turns + more}).encode()
        squeezed = compress_body(Protocol.openai_chat, body, read_setting(value), STAGES)
        sent.append(squeezed.body)
        found = json.loads(squeezed.body)["messages"]
        assert found[0] == turns[0]
        assert found[1] == asked
        assert found[4:] == more
        assert "1894" in found[3]["content"]
        assert "<p" not in found[3]["content"]
        assert {each.part for each in squeezed.removals} == {3}
    assert sent[1].startswith(sent[0].rstrip(b"]}"))


def test_a_setting_without_it_sends_html() -> None:
    assert read_setting({"markup": "off"}) == read_setting("lossless")
    assert read_setting({"markup": "light", "ratio": 4}).markup
    assert not Setting().markup
    with pytest.raises(ValueError, match=r"Invalid enum value 'on' - at `\$.markup`"):
        read_setting("4, markup=on")


WORD = st.text(st.sampled_from("abcXYZ019é中-.<&>|`*#_"), min_size=1, max_size=6)
TEXT = st.lists(WORD, min_size=1, max_size=5).map(lambda words: escape(" ".join(words)))
INLINE = ["b", "span", "em", "code", "a", "sup", "del", "q", "small"]
HOLDS = ["div", "p", "h2", "li", "td", "th", "pre", "blockquote", "section"]


def _row(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td rowspan=2 colspan=2>{each}</td>' for each in cells)}</tr>"


def _shapes(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=4)
    within = st.builds(lambda tag, text: f"<{tag}>{text}</{tag}>", st.sampled_from(INLINE), TEXT)
    lines = st.lists(st.one_of(TEXT, within), min_size=1, max_size=4).map(" ".join)
    return st.one_of(
        st.builds(lambda tag, text: f"<{tag} class='x'>{text}</{tag}>", st.sampled_from(["p", "h2", "pre"]), lines),
        several.map(lambda each: f"<div>{''.join(each)}</div>"),
        several.map(lambda each: f"<ul>{''.join(f'<li>{one}' for one in each)}</ul>"),
        st.lists(lines, min_size=1, max_size=3).map(lambda each: f"<table>{_row(each)}{_row(each)}</table>"),
        several.map(lambda each: f"<table><tr><td>{'<td>'.join(each)}</table>"),
        several.map(lambda each: f"<blockquote>{''.join(each)}<script>no < {{}}</script></blockquote>"),
        several.map(lambda each: f"<a href='/{len(each)}'>{''.join(each)}</a>"),
    )


BODY = st.recursive(TEXT.map(lambda text: f"<p>{text}</p>"), _shapes, max_leaves=12)


class _Seen(HTMLParser):
    """Collect the words outside of scripts, as the standard library reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False if tag in ("script", "style") else self.hidden

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words += re.findall(r"[^\W_]+", data)


@settings(max_examples=150, deadline=None)
@given(BODY, st.booleans())
def test_every_word_that_is_seen_is_kept_in_order(body: str, page: bool) -> None:
    text = f"<!doctype html><html><body>{body}</body></html>" if page else f"<div><div>{body}</div></div>"
    light = light_text(text)
    if light is None:
        return
    assert light == light_text(text)
    assert light_text(light) is None
    assert len(light) < len(text)
    seen = _Seen()
    seen.feed(text)
    at = 0
    for word in seen.words:
        found = light.find(word, at)
        assert found >= 0, (word, light)
        at = found + len(word)


SCRAPS = [*"<>/!-='\" \nab", "<p>", "</p>", "<div>", "<td ", "<!--", "<script>"]


@given(st.lists(st.sampled_from(SCRAPS), max_size=60).map("".join))
def test_any_text_is_read_or_left(text: str) -> None:
    for given_text in (text, f"<!doctype html>{text}>", f"<div><p>{text}</p><p></p></div>"):
        parts = [Part(given_text, Kind.retrieved)]
        after = replay([given_text], unmark(parts, estimate))
        assert estimate(after[0]) <= estimate(given_text)
        assert unmark([Part(after[0], Kind.retrieved)], estimate) == ()


@pytest.mark.parametrize(
    "unit",
    [
        *("<", "<td colspan=999>", "<!--", "<p ", "<p a", "<p>", "<b>", "</b>", "<a href='", "&", "<!doctype ", "</"),
        *("<script>", "<p a = ", "<ul><li>", "<td rowspan=999 colspan=999>", "<tr><td rowspan=999>x</td></tr>"),
    ],
)
def test_hostile_text_takes_steps_by_its_length(unit: str) -> None:
    def steps(chars: int) -> int:
        text = "<!doctype html><table>" + unit * (chars // len(unit)) + ">"
        return steps_of(lambda: light_text(text))

    assert steps(5_000) < 2.2 * steps(2_500) + 1_000


@pytest.mark.parametrize("inner", ["<i>x</i>", "x<br>", "<a href='/y'>x</a>", "</u>", "x{", "<math><mi>x</mi></math>"])
@pytest.mark.parametrize("last", ["", "<p>y</p>", "<table><td>y</table>"])
def test_a_text_takes_no_more_steps_for_being_deep(inner: str, last: str) -> None:
    def steps(deep: int) -> int:
        around = "<b>" * deep, "</b>" * deep
        text = f"<!doctype html>{around[0]}{inner * 150}{last}{around[1]}<p>{'<wbr>' * 150}</p>"
        return steps_of(lambda: light_text(text))

    assert steps(180) < 1.3 * steps(20) + 180 * 500


@pytest.mark.parametrize("name", ["mrow", "mfrac", "msup", "mmultiscripts", "mfenced", "mtable", "semantics", "mtext"])
def test_a_formula_in_a_formula_is_read_once(name: str) -> None:
    def steps(deep: int) -> int:
        text = f"<!doctype html><math>{f'<{name}>' * deep}<mn>1</mn>{f'</{name}>' * deep}</math>"
        return steps_of(lambda: light_text(text))

    assert steps(16) < 2.2 * steps(8) + 1_000


def test_what_is_nested_too_deep_stays() -> None:
    deep = "<div>" * DEPTH_MAX + "<p>one</p>" + "</div>" * DEPTH_MAX
    assert light_text(deep) is None
    assert light_text(deep.replace("<div>", "", 10).replace("</div>", "", 10)) == "one"
