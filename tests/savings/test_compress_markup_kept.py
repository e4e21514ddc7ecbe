"""Light text keeps what a page shows: formulas, fields, loose text of tables, links within code; code is no page."""

# ruff: noqa: RUF001 - primes are what is written in formulas
import re
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.savings.compress.markup import light_text, unmark
from bursar.wires.parts import Kind, Part


def light(body: str) -> str | None:
    return light_text(f"<!doctype html><html><body>{body}</body></html>")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"),
        ("<mn>3</mn><mfrac><mn>1</mn><mn>2</mn></mfrac><mi>x</mi>", "3 1/2 x"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mn>2.5</mn></mfrac>", "(a+1)/2.5"),
        ("<mn>10</mn><mn>6</mn>", "10 6"),
        ("<mn>2</mn><mo>&#x2062;</mo><mn>3</mn><mi>x</mi>", "2 3x"),
        ("<msup><mi>x</mi><mn>12</mn></msup><msup><mi>y</mi><mo>-1</mo></msup>", "x^12 y^(-1)"),
        ("<msup><mrow><mn>2</mn><mi>x</mi></mrow><mn>2</mn></msup>", "(2x)^2"),
        ("<msup><mi>f</mi><mo>′</mo></msup>", "f′"),
        ("<msub><mi>a</mi><mn>1</mn></msub><mn>2</mn>", "a_1 2"),
        ("<msubsup><mi>a</mi><mn>1</mn><mn>2</mn></msubsup>", "a_1^2"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mn>9</mn></munderover>", "∑_(i=1)^9"),
        ("<msqrt><mn>1</mn><mn>6</mn></msqrt><mroot><mn>8</mn><mn>3</mn></mroot>", "√(1 6)root(8, 3)"),
        ('<mfrac linethickness="0"><mn>5</mn><mn>2</mn></mfrac>', "binom(5, 2)"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd>3</mtd></mtr></mtable>", "[1, 2; 3]"),
        ('<mfenced open="["><mn>1</mn><mn>2</mn></mfenced><mfenced separators=""><mn>1</mn><mn>2</mn></mfenced>',
         "[1, 2)(1 2)"),
        ('<mfenced separators="; ,,"><mn>1</mn><mn>2</mn><mn>3</mn></mfenced>', "(1; 2, 3)"),
        ("<mmultiscripts><mi>C</mi><mn>1</mn><none/><mprescripts/><mn>6</mn><mn>14</mn></mmultiscripts>", "_6^14 C_1"),
        ("<semantics><mn>1</mn><annotation>{{1}}</annotation></semantics>", "1"),
        ("<mn>1</mn><mphantom><mn>2</mn></mphantom><mn>000</mn>", "1 000"),
    ],
)  # fmt: skip
def test_a_formulas_numbers_stay_apart(formula: str, text: str) -> None:
    assert light(f"<p>so <math>{formula}</math> it is</p>") == f"so {text} it is"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("stray 1<tr><td>2<td>3", "stray 1\n| 2 | 3 |"),
        ("<tr>1<td>2<td>3</td>4</tr>stray <b>5</b>", "1 4\n| 2 | 3 |\nstray 5"),
        ("<tr><td rowspan=2>1<td>2</tr>stray<tr><td>3</tr>", "| 1 | 2 |\nstray\n| 1 | 3 |"),
        ("<tbody>stray<tr>more<td>1<td>2", "stray more\n| 1 | 2 |"),
        ("<td>1<td>2</td>\n<td>3", "| 1 | 2 | 3 |"),
        ("<form><tr><td>1<td>2</tr></form><tr><form><td>3<td>4</form></tr>", "| 1 | 2 |\n| 3 | 4 |"),
        ("stray<tr><td><p>1</p><td>2</tr>after", "stray\n1\n2\nafter"),
        ("<caption>toll</caption><tr><td><p>1</p>", "toll\n1"),
    ],
)
def test_what_stands_loose_in_a_table_is_kept(table: str, text: str) -> None:
    assert light(f"<table>{table}</table>") == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('Toll <input name="t" value="12.50"> d', "Toll [field: 12.50] d"),
        ('<input type="hidden" value="1"><input type="password" value="2">x', "x"),
        ('<input type="checkbox" checked>a <input type="radio">b', "[x]a [ ]b"),
        ('<input type="submit" value="Pay &amp; go"><input placeholder="me">', "[button: Pay & go][empty field: me]"),
        ("<textarea>4\n5</textarea> <textarea placeholder='say'></textarea>", "4\n5 [empty field: say]"),
        ("<select><option>1<option selected>2<option label='3'></select>", "1\n[x] 2\n3"),
        ("<select><optgroup label='Old'><option>1</optgroup></select>", "Old\n1"),
        ('<progress value="7" max="10"></progress> <meter value=".5"></meter>', "[bar: 7 of 10] [bar: .5]"),
        ('<pre>a <input value="1"></pre>', "```\na [field: 1]\n```"),
        ('<a href="#">1</a><a href="#">2</a><button>3</button>', "1 2 3"),
        ('<a href="#">1</a><a><svg></svg></a><a href="#">2</a>s', "1 2s"),
        ("H<sub>2</sub>O, x<sub>1</sub>2, 10<sup>6</sup>7", "H_2O, x_1 2, 10^6 7"),
        ("<ruby>12<rp>(</rp><rt>34</rt><rp>)</rp></ruby>", "12(34)"),
    ],
)  # fmt: skip
def test_fields_say_what_they_hold(body: str, text: str) -> None:
    assert light(f"<form><div>{body}</div></form>") == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('<code><a href="/v">Vec</a></code>', "[`Vec`](/v)"),
        ('<code>Vec&lt;<a href="/i">i8</a>, <a href="/a">A</a>&gt;</code>', "`Vec<i8, A>` [i8](/i) [A](/a)"),
        ('<pre>let <a href="/v">v</a>:\n <a href="/v">v</a> <a href="#">w</a></pre>',
         "```\nlet v:\n v w\n```\n[v](/v)"),
        ('<a href="/x"><div>one</div></a><a href="#"><div>two</div></a>', "one\n/x\ntwo"),
        ('<a href="/?a=1&region=us&copy=2&amp;b=&#51;">x</a>', "[x](/?a=1&region=us&copy=2&b=3)"),
    ],
)  # fmt: skip
def test_links_are_kept_where_they_are_code_and_as_they_are(body: str, text: str) -> None:
    assert light(f"<div>{body}</div>") == text


@pytest.mark.parametrize("between", ["", "\n", "\n<!-- by 7 -->\n"])
def test_what_follows_a_page_stays_line_by_line(between: str) -> None:
    page = "<!doctype html><html><body><p>A long   page</p></body></html>"
    note = f"{between}Note:\n  one <b>\n  two <unknown>"
    written = light_text(page + note)
    assert written is not None
    assert written.split("\n", 1) == ["A long page", note.removeprefix("\n")]
    assert light_text(f"{page}{between}<script>x = 1</script><p>more</p>") == "A long page\n\nmore"


CODE = [
    '<div><p *ngIf="shown">one</p><p>two</p></div>',
    '<div><p [title]="name">one</p><p>two</p></div>',
    '<div><p (click)="go()">one</p><p>two</p></div>',
    '<div><p #first>one</p><p>two</p></div>',
    '<div><p v-if="shown">one</p><p v-else>two</p></div>',
    "<div><p v-else>one</p><p>two</p></div>",
    '<div><p @click="go">one</p><p>two</p></div>',
    '<div><p :title="name">one</p><p>two</p></div>',
    '<div><p ng-repeat="x in y">one</p><p>two</p></div>',
    '<div x-data="{}"><p x-show="open">one</p><p>two</p></div>',
    '<ul><li th:each="x : y">one</li><li>two</li></ul>',
    "<div><p>one</p><code>{{ count }}</code></div>",
    '<div><p>one</p><a href="${url}">two</a></div>',
    "<div><p>one</p><p><%= name %></p></div>",
    "<div><p>@if (shown) one</p><p>two</p></div>",
]  # fmt: skip


@pytest.mark.parametrize("template", CODE)
@pytest.mark.parametrize("page", [False, True])
def test_templates_stay_byte_for_byte(template: str, page: bool) -> None:
    template = template.replace("<code>{{ count }}</code>", "<p>{{ count }}</p>") if page else template
    text = f"<!doctype html><html><body>{template}</body></html>" if page else template
    assert unmark([Part(text, Kind.retrieved)], len) == ()


def test_pages_that_frameworks_have_written_are_pages() -> None:
    body = '<div data-v-7ba5bd90 _ngcontent-c1 ng-version="17"><p xml:lang="en">one</p><pre>{{ shown }}</pre></div>'
    assert light(body) == "one\n\n```\n{{ shown }}\n```"


DIGITS = st.integers(0, 9999).map(str)


def _element(name: str, *parts: str) -> str:
    return f"<{name}>{''.join(parts)}</{name}>"


def _leaf(name: str) -> st.SearchStrategy[str]:
    return DIGITS.map(lambda digits: _element(name, digits))


def _of(content: st.SearchStrategy[list[str]], name: str) -> st.SearchStrategy[str]:
    return content.map(lambda parts: _element(name, *parts))


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two, several = st.lists(inner, min_size=2, max_size=2), st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        *(_of(two, name) for name in ("mfrac", "msup", "msub", "mroot", "munder", "mover")),
        *(_of(several, name) for name in ("mrow", "msqrt", "mfenced", "mstyle")),
    )


FORMULA = st.recursive(st.one_of(_leaf("mn"), _leaf("mi")), _grown, max_leaves=8).map(
    lambda inner: _element("p", _element("math", inner))
)
FIELD = DIGITS.map(lambda digits: f'<p><input value="{digits}"><button>{digits}</button><a>{digits}</a></p>')
TABLE = st.lists(DIGITS, min_size=4, max_size=4).map(
    lambda each: f"<table>{each[0]}<tr><td>{each[1]}<td>{each[2]}</tr>{each[3]}</table>"
)
LINK = DIGITS.map(
    lambda digits: f"<code>{escape('<')}<i>{digits}</i></code><br><a href='#'>{digits}</a><a>{digits}</a>"
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(FORMULA, FIELD, TABLE, LINK.map(lambda each: f"<div>{each}</div>")), min_size=1, max_size=5))
def test_every_number_that_is_seen_stays_by_itself_and_in_order(blocks: list[str]) -> None:
    body = "".join(blocks)
    written = light(body)
    assert written is not None
    seen = re.findall(r"\d+", body)
    assert re.findall(r"\d+", written) == seen
