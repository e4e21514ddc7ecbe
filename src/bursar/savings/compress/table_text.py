"""Read a table that `table` wrote: the objects come back with every key in its place and every number as it was."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bursar.savings.compress.columns import DEPTH_MAX, MISSING, Cell, Column, Form, Missing, Row, spread
from bursar.savings.compress.json_text import Number, Value, is_number, read
from bursar.savings.compress.table import DELIMITERS, INNER, KEY

_HEADER: Final = re.compile(r"\[(?:table [0-9]{1,9}: )?([0-9]{1,9}) (rows|lines|keys)\]([ \t|])")
_BARE_END: Final = re.compile(r"[\[\](){},;|:=@*\"\t\n]")
_SPREAD: Final = frozenset('"[{(')
_WORDS: Final[dict[str, Cell]] = {"": MISSING, "null": None, "true": True, "false": False}


class NoTable(ValueError):
    """Report a text that is no table, with the place where it stops being one."""

    def __init__(self, expected: str, at: int) -> None:
        super().__init__(f"expected {expected} at character {at}")
        self.at = at


class Table(msgspec.Struct, frozen=True):
    """Hold what a table says: its rows, whether they are lines of JSON or an object's members, and where it ends."""

    rows: list[Row]
    unit: str
    end: int

    def value(self) -> Value:
        """Return the array or object it stands for."""
        if self.unit != "keys":
            return list(self.rows)
        if not all(KEY in row for row in self.rows):
            raise NoTable(f"a column {KEY}", self.end)
        return {str(row[KEY]): {name: each for name, each in row.items() if name != KEY} for row in self.rows}


def read_table(text: str, start: int = 0) -> Table:
    """Read the table whose header begins at `start`. Raises `NoTable`."""
    match = _HEADER.match(text, start)
    if match is None:
        raise NoTable("[N rows], [N lines] or [N keys]", start)
    delimiter = next(each for each, mark in DELIMITERS.items() if mark == match[3])
    reader = _Reader(text, match.end())
    columns = reader.columns(delimiter)
    runs = {column.name for column in columns if column.form is Form.run}
    leaves = list(spread(columns))
    said: Row = {}
    rows: list[Row] = []
    while len(rows) < int(match[1]):
        reader.take("\n")
        if reader.peek() == "@":
            said.update(reader.run(runs))
            reader.take("\n")
        if not said.keys() >= runs:
            raise NoTable("a line that begins with @", reader.at)
        cells = iter(reader.cells(leaves, delimiter))
        rows.append(_row(columns, cells.__next__, said))
    return Table(rows, match[2], reader.at)


def _row(columns: Sequence[Column], take: Callable[[], Cell], said: Row) -> Row:
    """Put a row's cells where its columns say; `take` gives the next cell."""
    row: Row = {}
    for column in columns:
        if column.form is Form.constant:
            row[column.name] = column.value
        elif column.form is Form.run:
            row[column.name] = said[column.name]
        elif column.form is Form.group:
            within = _row(column.columns, take, said)
            if within:
                row[column.name] = within
        elif not isinstance(cell := take(), Missing):
            row[column.name] = cell
    return row


class _Reader:
    """Walk through a table's text."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.depth = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, mark: str) -> None:
        if self.peek() != mark:
            raise NoTable(repr(mark), self.at)
        self.at += 1

    def skip(self, mark: str) -> bool:
        found = self.peek() == mark
        self.at += found
        return found

    def columns(self, delimiter: str) -> tuple[Column, ...]:
        found = [self.column()]
        while self.skip(delimiter):
            found.append(self.column())
        return tuple(found)

    def column(self) -> Column:
        name = self.bare()
        match self.peek():
            case "=":
                self.at += 1
                return self.said(name)
            case "@":
                self.at += 1
                return Column(name, Form.run)
            case "{":
                return Column(name, Form.group, columns=self.within("}"))
            case "(":
                return Column(name, Form.optional, columns=self.within(")"))
            case "[":
                return Column(name, Form.items, columns=self.within("]"))
            case ":":
                if not self.text.startswith(":text", self.at):
                    raise NoTable(":text", self.at)
                self.at += len(":text")
                return Column(name, is_text=True)
            case _:
                return Column(name)

    def within(self, closing: str) -> tuple[Column, ...]:
        if self.depth > DEPTH_MAX:
            raise NoTable(f"no more than {DEPTH_MAX} levels", self.at)
        self.at += 1
        self.depth += 1
        found = () if self.peek() == closing else self.columns(INNER)
        self.depth -= 1
        self.take(closing)
        return found

    def said(self, name: str) -> Column:
        """Read what is behind a column's equals sign: a value, or how its texts begin and end."""
        value: Value = ""
        if self.peek() in _SPREAD:
            value = self.json()
        elif self.peek() != "*":
            text = self.bare(also=":=")
            if self.peek() != "*":
                return Column(name, Form.constant, _constant(text))
            value = text
        if not isinstance(value, str) or not self.skip("*"):
            return Column(name, Form.constant, value)
        suffix = "" if self.peek() in ("", "\n", "}", ")", "]", ",", "\t", "|") else self.bare(also=":=")
        return Column(name, is_text=True, prefix=value, suffix=suffix)

    def bare(self, also: str = "") -> str:
        """Read a name or text, in quotes or up to the next character that has a meaning."""
        if self.peek() == '"':
            value = self.json()
            assert isinstance(value, str)
            return value
        start = self.at
        while (match := _BARE_END.search(self.text, self.at)) and match[0] in also:
            self.at = match.end()
        self.at = match.start() if match else len(self.text)
        if self.at == start:
            raise NoTable("a name", start)
        return self.text[start : self.at]

    def json(self) -> Value:
        try:
            value, self.at = read(self.text, self.at)
        except ValueError as error:
            raise NoTable("JSON", self.at) from error
        return value

    def run(self, names: set[str]) -> Row:
        """Read the line that says what holds from here on."""
        self.at += 1
        found: Row = {}
        while True:
            name = self.bare()
            if name not in names:
                raise NoTable("a column marked with @", self.at)
            self.take("=")
            value = self.cell(Column(name), INNER)
            found[name] = None if isinstance(value, Missing) else value
            if not self.skip(INNER):
                return found

    def cells(self, leaves: Sequence[Column], delimiter: str) -> list[Cell]:
        """Read one row's cells."""
        end = self.text.find("\n", self.at)
        line = self.text[self.at : end if end >= 0 else len(self.text)]
        if _SPREAD.isdisjoint(line):
            found = line.split(delimiter)
            if len(found) != len(leaves):
                raise NoTable(f"{len(leaves)} cells", self.at)
            self.at += len(line)
            return [_bare_cell(text, column) for text, column in zip(found, leaves, strict=True)]
        cells: list[Cell] = []
        for number, column in enumerate(leaves):
            if number:
                self.take(delimiter)
            cells.append(self.cell(column, delimiter))
        return cells

    def cell(self, column: Column, ends: str) -> Cell:
        """Read one cell; `ends` are the characters behind it, besides the line's end."""
        match self.peek():
            case '"':
                text = self.json()
                return f"{column.prefix}{text}{column.suffix}"
            case "[" if column.form is Form.items:
                return self.items(column)
            case "(" if column.form is Form.optional:
                self.at += 1
                row = self.inner_row(column.columns, ")")
                self.take(")")
                return row
            case "[" | "{":
                return self.json()
            case _:
                start = self.at
                while self.at < len(self.text) and self.text[self.at] not in ends + "\n":
                    self.at += 1
                return _bare_cell(self.text[start : self.at], column)

    def items(self, column: Column) -> Value:
        self.at += 1
        found: list[Value] = []
        if self.skip("]"):
            return found
        while True:
            if column.columns:
                found.append(self.inner_row(column.columns, ";]"))
            else:
                value = self.cell(Column(column.name), ",]")
                found.append(None if isinstance(value, Missing) else value)
            if self.skip("]"):
                return found
            self.take(";" if column.columns else INNER)

    def inner_row(self, columns: Sequence[Column], ends: str) -> Row:
        """Read the row of an object within a cell."""
        cells: list[Cell] = []
        for number, column in enumerate(spread(columns)):
            if number:
                self.take(INNER)
            cells.append(self.cell(column, INNER + ends))
        return _row(columns, iter(cells).__next__, {})


def _bare_cell(text: str, column: Column) -> Cell:
    if text in _WORDS:
        return _WORDS[text]
    if not column.is_text:
        return Number(text) if is_number(text) else text
    return f"{column.prefix}{text}{column.suffix}"


def _constant(text: str) -> Value:
    value = _bare_cell(text, Column(""))
    return None if isinstance(value, Missing) else value
