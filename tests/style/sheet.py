"""Keep the style sheet over one file's text: each rule takes a file and returns what it finds, as `line: complaint`."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from typing import Final

MODULE_LINES_MAX: Final = 500
FUNCTION_LINES_MAX: Final = 70
PARAMETERS_MAX: Final = 6
NESTING_MAX: Final = 3
MONEY_WORDS: Final = frozenset(
    ["usd", "money", "price", "prices", "cost", "costs", "amount", "amounts", "nano", "balance", "balances"]
)

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS: Final = (*_FUNCTIONS, ast.ClassDef)
_BLOCKS: Final = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_CONTAINERS: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MAKES_CONTAINER: Final = frozenset(
    ("list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict")
)
_MUTATES: Final = frozenset(
    (
        *("append", "add", "update", "setdefault", "insert", "extend", "pop", "popitem"),
        *("remove", "discard", "clear", "sort", "reverse", "appendleft"),
    )
)
_UNFINISHED: Final = re.compile("|".join(("TODO", "FIXME", "XXX", "NotImplementedError", "placeholder")), re.IGNORECASE)
_BANNER: Final = re.compile(r"[-=#*~_─═]{4,}")
_STATEMENT: Final = re.compile(
    r"(select|insert into|update|delete from|create|alter|drop)\b.*"
    r"\b(from|set|table|values|to_regclass|database|schema)\b",
    re.IGNORECASE | re.DOTALL,
)
_NOT_IMPERATIVE: Final = frozenset(
    ["a", "an", "the", "this", "these", "that", "it", "its", "returns", "gives", "is", "are", "base"]
)
_ENDS_IN_S: Final = frozenset(
    ("pass", "press", "address", "discuss", "express", "process", "cross", "guess", "miss", "focus", "compress")
)


class File:
    """Hold one Python file: its path within the package, its text, its tree and its comments by line."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.tree = ast.parse(text)
        self.comments = {
            token.start[0]: token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        }


def module_size(file: File) -> Iterator[str]:
    """Find a module that is too long."""
    lines = len(file.text.splitlines())
    if lines > MODULE_LINES_MAX:
        yield f"1: module of {lines} lines"


def function_size(file: File) -> Iterator[str]:
    """Find functions that are too long."""
    for node in ast.walk(file.tree):
        if isinstance(node, _FUNCTIONS):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines"


def parameters(file: File) -> Iterator[str]:
    """Find functions of too many parameters. A command's parameters are its options."""
    commands = _commands(file) if file.path.startswith("cli/") else set()
    for node in ast.walk(file.tree):
        if isinstance(node, _FUNCTIONS) and node.name not in commands:
            names = [argument.arg for argument in _arguments(node) if argument.arg not in ("self", "cls")]
            if len(names) > PARAMETERS_MAX:
                yield f"{node.lineno}: {node.name} has {len(names)} parameters"


def nesting(file: File) -> Iterator[str]:
    """Find blocks that lie too deep within their function."""
    for node in ast.walk(file.tree):
        if isinstance(node, (*_FUNCTIONS, ast.Module)):
            deepest, line = _depth(node, 0)
            if deepest > NESTING_MAX:
                yield f"{line}: {deepest} blocks within each other"


def docstrings(file: File) -> Iterator[str]:
    """Find public things whose first docstring line is no imperative sentence."""
    for node, name in _public(file.tree):
        text = ast.get_docstring(node)
        first = (text or "").splitlines()[0] if text else ""
        where = f"{getattr(node, 'lineno', 1)}: {name}"
        if not first:
            yield f"{where} has no docstring"
        elif not re.search(r"[.:]$", first) or (first.endswith(":") and "\n" not in (text or "")):
            yield f"{where}: {first!r} does not end as a sentence does"
        elif not _imperative(first):
            yield f"{where}: {first!r} is not imperative"


def constants(file: File) -> Iterator[str]:
    """Find module-level names that could change: containers that are no constants, constants that are not Final."""
    for statement in file.tree.body:
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            for name in names:
                if name.strip("_").isupper() and name.strip("_") not in ("T", "P", "R"):
                    yield f"{statement.lineno}: {name} is not Final"
                elif _is_container(statement.value) and name != "__all__":
                    yield f"{statement.lineno}: {name} is mutable and no constant"
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            final = "Final" in ast.unparse(statement.annotation)
            if not final and statement.value is not None and _is_container(statement.value):
                yield f"{statement.lineno}: {statement.target.id} is mutable and not Final"


def state(file: File) -> Iterator[str]:
    """Find code that changes a module's variables or what they hold."""
    held = _module_names(file.tree)
    for function in (node for node in ast.walk(file.tree) if isinstance(node, _FUNCTIONS)):
        own = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {argument.arg for argument in _arguments(function)}
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield f"{node.lineno}: global {', '.join(node.names)}"
            elif (name := _mutated(node)) in held - own:
                yield f"{node.lineno}: {name} is changed"


def floats_near_money(file: File) -> Iterator[str]:
    """Find money that is annotated as a float, turned into one, or divided into one, without a word about it beside."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.AnnAssign):
            found = _names_money(node.target) and _says_float(node.annotation)
        elif isinstance(node, ast.arg):
            found = _is_money(node.arg) and _says_float(node.annotation)
        elif isinstance(node, _FUNCTIONS):
            found = _is_money(node.name) and _says_float(node.returns)
        elif isinstance(node, ast.Call):
            found = _says_float(node.func) and any(_names_money(each) for each in node.args)
        elif isinstance(node, ast.BinOp):
            found = isinstance(node.op, ast.Div) and (_names_money(node.left) or _names_money(node.right))
        else:
            continue
        if found and not _says_why(file, node):
            yield f"{node.lineno}: a float near money: {ast.unparse(node).splitlines()[0][:60]}"


def comments(file: File) -> Iterator[str]:
    """Find banners and commented-out code."""
    for line, comment in file.comments.items():
        text = comment.lstrip("#").strip()
        if comment.startswith("#!"):
            continue
        if _BANNER.search(comment):
            yield f"{line}: a banner"
        elif _is_code(text):
            yield f"{line}: commented-out code: {text}"


def broad_excepts(file: File) -> Iterator[str]:
    """Find handlers of everything without a reason beside them."""
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else {"BaseException"}
        )
        if caught & {"Exception", "BaseException"}:
            beside = " ".join(file.comments.get(line, "") for line in range(node.lineno, node.body[0].lineno + 1))
            reason = re.sub(r"noqa(: [A-Z0-9, ]+)?|[#-]", "", beside).strip()
            if len(reason.split()) < 3:
                yield f"{node.lineno}: a broad except without a reason beside it"


def statements(file: File) -> Iterator[str]:
    """Find SQL: it lives in the store."""
    if file.path.startswith("store/"):
        return
    docs = {id(node.value) for node in ast.walk(file.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            text = node.value.strip()
            if _STATEMENT.match(text) and text == text.lower():
                yield f"{node.lineno}: SQL outside the store: {text[:50]}"


def unfinished(text: str) -> Iterator[str]:
    """Find words of work that is not done; for files of any language."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _UNFINISHED.search(line):
            yield f"{number}: {match[0]}"


EXEMPT: Final = {
    # Importing typing would cost this launcher as much as its start does.
    ("constants", "store/launch.py"),
}

RULES: Final[dict[str, Callable[[File], Iterator[str]]]] = {
    rule.__name__: rule
    for rule in (
        module_size,
        function_size,
        parameters,
        nesting,
        docstrings,
        constants,
        state,
        floats_near_money,
        comments,
        broad_excepts,
        statements,
    )
}


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = node.args
    more = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *more]


def _commands(file: File) -> set[str]:
    """Name the functions that are commands: those a Parameter annotates or the application decorates."""
    return {
        node.name
        for node in file.tree.body
        if isinstance(node, _FUNCTIONS)
        and (
            any("app." in ast.unparse(decorator) for decorator in node.decorator_list)
            or any(each.annotation and "Parameter" in ast.unparse(each.annotation) for each in _arguments(node))
        )
    }


def _depth(node: ast.AST, depth: int) -> tuple[int, int]:
    """Return how deep the blocks below a node lie, and where; functions within it are judged by themselves."""
    deepest, line = depth, getattr(node, "lineno", 1)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DEFINITIONS):
            continue
        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        found = _depth(child, depth + (isinstance(child, _BLOCKS) and not is_elif))
        deepest, line = max((deepest, line), found, key=lambda pair: pair[0])
    return deepest, line


def _public(
    tree: ast.Module,
) -> Iterator[tuple[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    yield tree, "the module"
    for node in tree.body:
        if isinstance(node, _DEFINITIONS) and not node.name.startswith("_"):
            yield node, node.name
            members = node.body if isinstance(node, ast.ClassDef) else []
            for member in members:
                if isinstance(member, _FUNCTIONS) and not member.name.startswith("_"):
                    yield member, f"{node.name}.{member.name}"


def _imperative(sentence: str) -> bool:
    word = sentence.split()[0].strip(",.:;").lower()
    if word.startswith("`"):  # a command's module names the command first
        return bool(re.match(r"`[^`]+`(?: and `[^`]+`)*: \S", sentence))
    return word not in _NOT_IMPERATIVE and (not word.endswith("s") or word in _ENDS_IN_S)


def _is_container(node: ast.AST) -> bool:
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return isinstance(node, _CONTAINERS) or called in _MAKES_CONTAINER


def _module_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _mutated(node: ast.AST) -> str | None:
    """Name what a node changes in place: a subscript that is assigned or deleted, or a method that mutates."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        held: ast.AST = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATES:
        held = node.func.value
    else:
        return None
    return held.id if isinstance(held, ast.Name) else None


def _is_money(name: str) -> bool:
    return bool(MONEY_WORDS & set(name.lower().split("_")))


def _names_money(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return _is_money(name)


def _says_float(node: ast.AST | None) -> bool:
    return node is not None and any(isinstance(each, ast.Name) and each.id == "float" for each in ast.walk(node))


def _says_why(file: File, node: ast.AST) -> bool:
    lines = range(getattr(node, "lineno", 0), (getattr(node, "end_lineno", 0) or 0) + 1)
    return any("float" in file.comments.get(line, "") for line in lines)


def _is_code(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return bool(re.match(r"(def|class|if|for|while|elif|else|try|except|with)\b.*:$", text))
    if not body or isinstance(body[0], ast.AnnAssign):  # "price: what is asked" reads as one
        return False
    if isinstance(body[0], ast.Expr):
        return isinstance(body[0].value, ast.Call | ast.Await)
    return True
