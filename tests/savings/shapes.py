"""Draw values of JSON and prompts that are hard to say shorter: what looks like structure, and rows much alike."""

from typing import Any

from hypothesis import strategies as st

TRICKY = (
    *(
        "",
        "null",
        "true",
        "1",
        "-0",
        "1e5",
        "a,b",
        "[x",
        "{",
        "(",
        "@a",
        "a;b",
        "]",
        ")",
        " a",
        "a ",
        "a\nb",
        "*",
        "a*b",
    ),
    *("a=b", "a:b", '"', "|", "\t", ":text", "\\", "\u2028", "\u00a0", "é", "😀", "[table 1]", "[2 rows] a", "a  b"),
    *("https://x.y/a/1", "https://x.y/a/2", "https://x.y/b", "2026-01-01T00:00", "2026-01-01T00:01"),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TRICKY)
    | st.text(max_size=8)
)
NAMES = st.sampled_from(["a", "b", "c", "d", "key", "a.b", "", " ", "a,b", "@", "x=", "*", "a[b", "a{", "(", "\t"])


def _within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    row = st.fixed_dictionaries({"a": inner}, optional={"b": inner, "c": inner, "d": st.just("same")})
    return (
        st.lists(inner, max_size=5)
        | st.dictionaries(NAMES, inner, max_size=5)
        | st.lists(row, max_size=8)
        | st.lists(st.fixed_dictionaries({"a": st.just(1), "b": inner, "key": SCALARS}), max_size=8)
        | st.dictionaries(NAMES, row, max_size=4)
    )


VALUES = st.recursive(SCALARS, _within, max_leaves=30)
"""Values of any shape; among them many arrays and objects of objects with much the same keys."""
