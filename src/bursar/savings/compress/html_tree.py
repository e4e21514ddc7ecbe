"""Read a text that is HTML, and nothing else, into a tree; whatever is in doubt is none.

A whole page is told by its doctype or root. A fragment must be balanced, of known tags alone, without text outside of
them. What is left alone: XML of other kinds, templates, JSX, and the tags of prompts such as `<instructions>`. The
text is read once from its beginning to its end, and what is nested deeper than `DEPTH_MAX` is none.
"""

import re
from typing import Final, TypeAlias, Union

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
_TEMPLATE: Final = re.compile(r"\{\{|\{%")
_COMPONENT: Final = re.compile(r"\{\{|\{%|=\s*+\{|\sclassName=|\sv-[a-z]++[=:]")

Node: TypeAlias = Union["Element", str]


class Element(msgspec.Struct):
    """Hold an element: its name in lower case, its attributes as they are written, and what is in it, in order."""

    name: str
    written: str = ""
    children: list[Node] = msgspec.field(default_factory=list)

    def attributes(self) -> dict[str, str]:
        """Return the attributes by their names in lower case; of those given twice the first."""
        found: dict[str, str] = {}
        for match in _ATTRIBUTE.finditer(self.written):
            value = match[2] or ""
            found.setdefault(match[1].lower(), value[1:-1] if value[:1] in ("'", '"') else value)
        return found


class NotHtml(ValueError):
    """Tell that a text is no HTML, or not surely."""


def parse(text: str) -> Element:
    """Return the elements of HTML under one without a name. Raises `NotHtml` for any other text."""
    bare = text.strip()
    page = _PAGE.match(bare) is not None
    if not bare.startswith("<") or not bare.endswith(">"):
        raise NotHtml("there is text outside of tags")
    reader = _Reader(bare, page=page)
    reader.read()
    return reader.root


class _Reader:
    """Read tags from the first to the last, with the elements that are open."""

    def __init__(self, text: str, *, page: bool) -> None:
        self.text = text
        self.page = page  # what browsers mend may be mended
        self.root = Element("")
        self.open = [self.root]
        self.sure = 0
        self.at = 0

    def read(self) -> None:
        """Read all. Raises `NotHtml`."""
        while self.at < len(self.text):
            tag = self.text.find("<", self.at)
            tag = len(self.text) if tag < 0 else tag
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
        within = any(each.name in ("pre", "code") for each in self.open)
        if not within and (_TEMPLATE.search(text) or (not self.page and "{" in text)):
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
        elif self.page and follows != "?":
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
        if _COMPONENT.search(match[2]):
            raise NotHtml("it is a template")
        if len(self.open) == 1 and not self.page and name not in _ROOTS:
            raise NotHtml(f"{name} begins no fragment")
        self.sure += name in _SURE
        self.at = match.end()
        ended = _ENDED_BY.get(name, frozenset())
        while self.open[-1].name in ended:
            self.open.pop()
        element = Element(name, match[2])
        self.open[-1].children.append(element)
        if name in _RAW and not match[2].endswith("/"):
            self._raw(element)
        elif name not in _VOID and not (match[2].endswith("/") and self._in_math()):
            self.open.append(element)
            if len(self.open) > DEPTH_MAX:
                raise NotHtml("elements are nested too deep")

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
        return any(each.name == "math" for each in self.open)

    def _end(self) -> None:
        match = _END.match(self.text, self.at)
        if match is None:
            raise NotHtml("a tag is not ended")
        name = match[1].lower()
        self.at = match.end()
        place = next((place for place in range(len(self.open) - 1, 0, -1) if self.open[place].name == name), 0)
        if self.page and not place:
            self._known(match[1])
            return
        over = self.open[place + 1 :]
        if not place or (not self.page and any(each.name not in _ENDS_BY_ITSELF for each in over)):
            raise NotHtml("elements do not end in the order they began in")
        if self.page and name in _INLINE and any(each.name in BLOCKS for each in over):
            return
        del self.open[place:]
