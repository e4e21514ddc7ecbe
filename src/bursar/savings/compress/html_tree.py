"""Read a text that is HTML, and nothing else, into a tree; whatever is in doubt is none.

A whole page is told by its doctype or root. A fragment must be balanced, of known tags alone, without text outside of
them. What is left alone: XML of other kinds, templates, JSX, and the tags of prompts such as `<instructions>`. The
text is read once from its beginning to its end, and what is nested deeper than `DEPTH_MAX` is none.
"""

import re
from collections import Counter
from html import unescape
from html.entities import html5
from typing import Final, NamedTuple, TypeAlias, Union

import msgspec

DEPTH_MAX: Final = 200

_WORD: Final = re.compile(r"\w+")


def names(text: str) -> frozenset[str]:
    """Return the names of elements that a text has, with blanks between them."""
    return frozenset(_WORD.findall(text))


BLOCKS: Final = names(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer "
    "form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav ol optgroup option p pre "
    "search section summary table tbody td tfoot th thead title tr ul caption colgroup col"
)
"""Elements that begin on a line of their own."""

_INLINE: Final = names(
    "a abbr acronym area audio b base basefont bdi bdo big br button canvas cite code data datalist del dfn em embed "
    "font i iframe img input ins kbd label link map mark math meta meter noscript object output param picture progress "
    "q rp rt ruby s samp script select slot small source span strike strong style sub sup svg template textarea time "
    "track tt u var video wbr"
)
_VOID: Final = names("area base basefont br col embed hr img input link meta param source track wbr")
_RAW: Final = {
    name: re.compile(rf"</{name}[\s/]*+>", re.IGNORECASE) for name in ("script", "style", "svg", "template", "textarea")
}
"""Elements that are skipped, or read, up to their end tag whatever is in them."""

_ENDS_BY_ITSELF: Final = names(
    "html head body p li dt dd tr td th thead tbody tfoot colgroup caption option optgroup rt rp"
)
_ROOTS: Final = names(
    "article aside blockquote div dl fieldset figure footer form h1 h2 h3 h4 h5 h6 header main nav ol p pre "
    "section table ul"
)
"""What a fragment may begin with: not what prompts have for tags of their own, such as `<output>` or `<summary>`."""

_SURE: Final = names("a br div h1 h2 h3 h4 h5 h6 li ol p span strong td th tr ul")
"""What no prompt and no other XML is made of: a fragment has two of them or more."""

_ENDED_BY: Final = {
    **dict.fromkeys(BLOCKS - {"option", "optgroup"}, frozenset(("p",))),
    "li": frozenset(("li", "p")),
    **dict.fromkeys(("dt", "dd"), frozenset(("dt", "dd", "p"))),
    **dict.fromkeys(("td", "th"), frozenset(("td", "th", "p", "colgroup", "caption"))),
    "tr": frozenset(("tr", "td", "th", "p", "colgroup", "caption")),
    **dict.fromkeys(
        ("thead", "tbody", "tfoot"),
        frozenset(("tr", "td", "th", "p", "thead", "tbody", "tfoot", "colgroup", "caption")),
    ),
    "option": frozenset(("option",)),
    "optgroup": frozenset(("option", "optgroup")),
    "body": frozenset(("head",)),
    "a": frozenset(("a",)),
}
"""Elements that end, if they are the innermost, where another begins."""

_START: Final = re.compile(r"""<([a-zA-Z][a-zA-Z0-9:-]*+)((?:[^<>"']++|"[^"]*+"|'[^']*+')*+)>""")
_END: Final = re.compile(r"</([a-zA-Z][a-zA-Z0-9:-]*+)\s*+>")
_DECLARED: Final = re.compile(r"<!doctype\s[^<>]*+>", re.IGNORECASE)
_PAGE: Final = re.compile(r"(?:<\?xml [^<>]*+>\s*+)?(?:<!doctype\s++html\b|<html\b)", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"""([^\s=/"'<>]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"'<>]++))?+""")
_TEMPLATE: Final = re.compile(r"\{\{|\{%|[$#]\{|@(?:if|for|foreach|switch|unless|defer)\s*+\(")
_COMPONENT: Final = re.compile(r"\{\{|\{%|[$#]\{|=\s*+\{|\sclassName=")
_DIRECTIVE: Final = re.compile(
    r"[*@:#(\[{]|v-|x-(?:data|show|if|for|bind|on|model|text|html|init)\b|ng-(?!version)|(?:th|wire|on|bind|class):"
)
"""How names of attributes begin that tell a framework what to do: `*ngIf`, `@click`, `:prop`, `(input)`, `v-if`."""

_REFERENCE: Final = re.compile(r"&(?:#[0-9]++|#[xX][0-9a-fA-F]++|[a-zA-Z][a-zA-Z0-9]*+)(;?)(?!=)")
_VERBATIM: Final = names("pre code math")
"""Elements within which braces say nothing about what the text is."""

Node: TypeAlias = Union["Element", str]


class Element(msgspec.Struct):
    """Hold an element: its name in lower case, its attributes as they are written, and what is in it, in order."""

    name: str
    written: str = ""
    children: list[Node] = msgspec.field(default_factory=list)
    holds_block: bool = False  # at any depth

    @property
    def is_block(self) -> bool:
        """Tell whether it begins on a line of its own."""
        return self.name in BLOCKS

    def attributes(self) -> dict[str, str]:
        """Return the values of attributes by their names in lower case; of those given twice the first."""
        found: dict[str, str] = {}
        for match in _ATTRIBUTE.finditer(self.written):
            value = match[2] or ""
            value = value[1:-1] if value[:1] in ("'", '"') else value
            found.setdefault(match[1].lower(), _REFERENCE.sub(_unescaped, value))
        return found


def _unescaped(match: re.Match[str]) -> str:
    """Return the character of a reference in an attribute: without `;` only a whole name is one, as `&region` is not.

    After HTML, "named character reference state".
    """
    written = match[0]
    return unescape(written) if match[1] or written[1] == "#" or written[1:] in html5 else written


class NotHtml(ValueError):
    """Tell that a text is no HTML, or not surely."""


class Tree(NamedTuple):
    """Hold the elements of HTML under one without a name, and the text that follows a page and is none of it."""

    root: Element
    rest: str = ""


def parse(text: str) -> Tree:
    """Return the elements of HTML. Raises `NotHtml` for any other text.

    Where words stand loose behind `</html>`, they and all that follows are no HTML, however they go on.
    """
    bare = text.strip()
    page = _PAGE.match(bare) is not None
    if not bare.startswith("<") or not bare.endswith(">"):
        raise NotHtml("there is text outside of tags")
    reader = _Reader(bare, page=page)
    reader.read()
    return Tree(reader.root, bare[reader.at :])


class _Reader:
    """Read tags from the first to the last, with the elements that are open."""

    def __init__(self, text: str, *, page: bool) -> None:
        self.text = text
        self.page = page  # what browsers mend may be mended
        self.root = Element("")
        self.open = [self.root]
        self.inside: Counter[str] = Counter()  # how many elements of each name are open
        self.sure = 0
        self.at = 0
        self.closed: tuple[int, int] | None = None  # where the page has ended, and how many children the root had

    def read(self) -> None:
        """Read all. Raises `NotHtml`."""
        while self.at < len(self.text):
            tag = self.text.find("<", self.at)
            tag = len(self.text) if tag < 0 else tag
            if self.closed is not None and len(self.open) == 1 and self.text[self.at : tag].strip():
                self.at, count = self.closed
                del self.root.children[count:]
                return
            self._add(self.text[self.at : tag])
            self.at = tag
            if tag < len(self.text):
                self._tag()
        if self.page:
            return
        if any(each.name not in _ENDS_BY_ITSELF for each in self.open[1:]):
            raise NotHtml("an element is not ended")
        if self.sure < 2:
            raise NotHtml("too few tags are surely of HTML")

    def _add(self, text: str) -> None:
        if not text:
            return
        within = not self.inside.keys().isdisjoint(_VERBATIM)
        if within and (self.page or "math" in self.inside):
            pass  # a page may show a template's code
        elif _TEMPLATE.search(text) or (not within and not self.page and "{" in text):
            raise NotHtml("it is a template")
        if len(self.open) == 1 and not self.page and text.strip():
            raise NotHtml("there is text outside of tags")
        self.open[-1].children.append(text)

    def _tag(self) -> None:
        follows = self.text[self.at + 1 : self.at + 2]
        if follows == "!":
            self._declaration()
        elif follows == "/":
            self._end()
        elif follows.isalpha():
            self._start()
        elif follows == "?" and self.at == 0 and self.page:
            self.at = self.text.index(">") + 1
        elif self.page and follows not in ("?", "%"):
            self._add("<")
            self.at += 1
        else:
            raise NotHtml("a sign < begins no tag")

    def _declaration(self) -> None:
        if self.text.startswith("<!--", self.at):
            end = self.text.find("-->", self.at + 4)
            if end < 0:
                raise NotHtml("a comment is not ended")
            self.at = end + 3
            return
        match = _DECLARED.match(self.text, self.at)
        if match is None or not self.page:
            raise NotHtml("a declaration is none of HTML")
        self.at = match.end()

    def _start(self) -> None:
        match = _START.match(self.text, self.at)
        if match is None:
            raise NotHtml("a tag is not ended")
        name = self._known(match[1])
        if _COMPONENT.search(match[2]) or any(_DIRECTIVE.match(each[1]) for each in _ATTRIBUTE.finditer(match[2])):
            raise NotHtml("it is a template")
        if len(self.open) == 1 and not self.page and name not in _ROOTS:
            raise NotHtml(f"{name} begins no fragment")
        self.sure += name in _SURE
        self.at = match.end()
        ended = _ENDED_BY.get(name, frozenset())
        while self.open[-1].name in ended:
            self._close(len(self.open) - 1)
        element = Element(name, match[2])
        self.open[-1].children.append(element)
        if element.is_block:
            self._mark()
        if name in _RAW and not match[2].endswith("/"):
            self._raw(element)
        elif name not in _VOID and not (match[2].endswith("/") and self._in_math()):
            self.open.append(element)
            self.inside[name] += 1
            if len(self.open) > DEPTH_MAX:
                raise NotHtml("elements are nested too deep")

    def _mark(self) -> None:
        """Have all open elements know that there is a block in them; where one does, those around it do as well."""
        for each in reversed(self.open):
            if each.holds_block:
                break
            each.holds_block = True

    def _close(self, place: int) -> None:
        """Close the elements that are open from a place on."""
        for each in self.open[place:]:
            self.inside[each.name] -= 1
            if not self.inside[each.name]:
                del self.inside[each.name]
        del self.open[place:]

    def _raw(self, element: Element) -> None:
        end = _RAW[element.name].search(self.text, self.at)
        if end is None:
            raise NotHtml(f"{element.name} is not ended")
        if element.name == "textarea":
            element.children.append(self.text[self.at : end.start()])
        self.at = end.end()

    def _known(self, written: str) -> str:
        """Return a tag's name. Raises `NotHtml` for one that HTML does not have, or that is a component's."""
        name = written.lower()
        if written not in (name, written.upper()):
            raise NotHtml("a name is in letters of both cases")
        custom = self.page and "-" in name
        if name not in BLOCKS and name not in _INLINE and not custom and not self._in_math():
            raise NotHtml("a tag is none of HTML")
        return name

    def _in_math(self) -> bool:
        return "math" in self.inside

    def _end(self) -> None:
        match = _END.match(self.text, self.at)
        if match is None:
            raise NotHtml("a tag is not ended")
        name = match[1].lower()
        self.at = match.end()
        place = self._place(name)
        if self.page and name == "html" and (place == 1 or not place):
            self._end_page()
            return
        if self.page and not place:
            self._known(match[1])
            return
        over = self.open[place + 1 :]
        if not place or (not self.page and any(each.name not in _ENDS_BY_ITSELF for each in over)):
            raise NotHtml("elements do not end in the order they began in")
        if self.page and name in _INLINE and any(each.is_block for each in over):
            return
        self._close(place)

    def _end_page(self) -> None:
        self._close(1)
        if self.closed is None:
            self.closed = self.at, len(self.root.children)

    def _place(self, name: str) -> int:
        """Return where the innermost open element of a name is; 0 for nowhere."""
        if name not in self.inside:
            return 0
        return next(place for place in range(len(self.open) - 1, 0, -1) if self.open[place].name == name)
