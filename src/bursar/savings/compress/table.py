"""Write objects with much the same keys as a table: a header that says rows and columns, then one row a line."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from bursar.savings.compress.columns import MISSING, Cell, Column, Form, Missing, Row, plan
from bursar.savings.compress.json_text import Number, Value, is_number, quote, write

KEY: Final = "key"
"""Name of the first column where the rows are an object's members."""

DELIMITERS: Final = {",": " ", "\t": "\t", "|": "|"}
"""What stands between cells, and the character behind the header's bracket that says so."""

INNER: Final = ","
WORDS: Final = frozenset(["null", "true", "false"])
_OPENING: Final = frozenset('"[{(@')
_STRUCTURE: Final = frozenset('[](){},;|:=@*"\t')
_SAMPLE_ROWS: Final = 24

_Writer: TypeAlias = Callable[[Cell], str]
_Getter: TypeAlias = Callable[[Row], Cell]


def table(rows: Sequence[Row], count: Callable[[str], int], unit: str = "rows") -> str | None:
    """Write rows as a table with the delimiter that takes the fewest tokens of a sample; None where they are none."""
    columns = plan(rows)
    if columns is None:
        return None
    sample = rows[:_SAMPLE_ROWS]
    delimiter = min(DELIMITERS, key=lambda each: count("\n".join(lines(sample, columns, each))))
    return "\n".join([header(len(rows), columns, delimiter, unit), *lines(rows, columns, delimiter)])


def members(value: Value) -> list[Row] | None:
    """Turn an object whose members are objects into rows that begin with the member's key; None for any other."""
    if not isinstance(value, dict):
        return None
    rows: list[Row] = []
    for key, each in value.items():
        if not isinstance(each, dict) or KEY in each:
            return None
        rows.append({KEY: key, **each})
    return rows


def header(size: int, columns: Sequence[Column], delimiter: str, unit: str) -> str:
    """Write the line above the rows."""
    return f"[{size} {unit}]{DELIMITERS[delimiter]}{delimiter.join([_head(column) for column in columns])}"


def lines(rows: Sequence[Row], columns: Sequence[Column], delimiter: str) -> list[str]:
    """Write one line a row, and one before each row where a value changes that holds for many."""
    leaves = [(get, _writer(column, delimiter)) for get, column in _leaves(columns)]
    runs = [(column.name, _writer(Column(column.name), INNER)) for column in columns if column.form is Form.run]
    said: dict[str, Value] = {}
    found: list[str] = []
    for row in rows:
        changed = [(name, give) for name, give in runs if name not in said or said[name] != row[name]]
        if changed:
            found.append("@" + INNER.join([f"{_name(name)}={give(row[name])}" for name, give in changed]))
            said.update({name: row[name] for name, _ in changed})
        found.append(delimiter.join([give(get(row)) for get, give in leaves]))
    return found


def _leaves(columns: Sequence[Column], *path: str) -> list[tuple[_Getter, Column]]:
    found: list[tuple[_Getter, Column]] = []
    for column in columns:
        if column.form is Form.group:
            found += _leaves(column.columns, *path, column.name)
        elif column.form not in (Form.constant, Form.run):
            found.append((_getter(column.name, path), column))
    return found


def _getter(name: str, path: Sequence[str]) -> _Getter:
    if not path:
        return lambda row: row.get(name, MISSING)

    def get(row: Row) -> Cell:
        for step in path:
            within = row.get(step)
            if not isinstance(within, dict):
                return MISSING
            row = within
        return row.get(name, MISSING)

    return get


def _head(column: Column) -> str:
    name = _name(column.name)
    match column.form:
        case Form.constant:
            return f"{name}={_constant(column.value)}"
        case Form.run:
            return f"{name}@"
        case Form.group:
            return f"{name}{{{_heads(column)}}}"
        case Form.optional:
            return f"{name}({_heads(column)})"
        case Form.items:
            return f"{name}[{_heads(column)}]"
        case Form.plain:
            if column.prefix or column.suffix:
                return f"{name}={_affix(column.prefix)}*{_affix(column.suffix)}"
            return f"{name}:text" if column.is_text else name


def _heads(column: Column) -> str:
    return INNER.join([_head(each) for each in column.columns])


def _name(name: str) -> str:
    return name if _is_bare(name, _STRUCTURE) else quote(name)


def _affix(text: str) -> str:
    return text if not text or _is_bare(text, _STRUCTURE - {":", "="}) else quote(text)


def _constant(value: Value) -> str:
    if isinstance(value, str):
        plain = _is_bare(value, _STRUCTURE - {":", "="}) and value not in WORDS and not is_number(value)
        return value if plain else quote(value)
    return write(value)


def _is_bare(text: str, special: frozenset[str]) -> bool:
    return bool(text) and text.isprintable() and text[0] != " " != text[-1] and special.isdisjoint(text)


def _writer(column: Column, delimiter: str, *, inner: bool = False) -> _Writer:
    """Return what writes a column's cells; `inner` ones stand in brackets, where more characters have a meaning."""
    special = frozenset("[](){},;") if inner else frozenset(delimiter)
    start, end = len(column.prefix), -len(column.suffix) or None
    packed = _packed(column)

    def text_cell(text: str) -> str:
        text = text[start:end]
        if text and text.isprintable() and text[0] != " " != text[-1] and text[0] not in _OPENING:
            plain = special.isdisjoint(text) and text not in WORDS and (column.is_text or not is_number(text))
            return text if plain else quote(text)
        return quote(text)

    def cell(value: Cell) -> str:
        if isinstance(value, str):
            return text_cell(value)
        if isinstance(value, Number):
            return value.text
        if isinstance(value, Missing):
            return ""
        return packed(value) if isinstance(value, (dict, list)) else write(value)

    return cell


def _packed(column: Column) -> Callable[[dict[str, Value] | list[Value]], str]:
    """Return what writes an object or array into one cell."""
    if column.form not in (Form.optional, Form.items):
        return write
    if not column.columns:
        give = _writer(Column(""), INNER, inner=True)
        return lambda value: f"[{INNER.join([give(item) for item in value])}]"
    leaves = [(get, _writer(each, INNER, inner=True)) for get, each in _leaves(column.columns)]

    def row(value: Value) -> str:
        return INNER.join([give(get(value)) for get, give in leaves]) if isinstance(value, dict) else ""

    if column.form is Form.optional:
        return lambda value: f"({row(value)})"  # pyright: ignore[reportArgumentType]
    return lambda value: f"[{';'.join([row(item) for item in value])}]"
