"""YAML for settings: one meaning, one value per key, and no way to blow up.

PyYAML reads YAML 1.1, where ``5:00`` is 300, ``010`` is 8, ``no`` is false and ``1e-4`` is a word,
lets a second value of a key win, and follows any depth and any alias. Here numbers are those of
YAML 1.2; keys are words, each given once; what grows beyond need, by aliases too, is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

_MAX_DEPTH = 20
_MAX_NODES = 100_000
#: Longer numbers are none that anybody means.
_MAX_DIGITS = 40


_NUMBER = "tag:yaml.org,2002:number"
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._deepest = 0
        self._n_nodes = 0
        #: Anchor -> how many values it stands for, and how deep they go.
        self._extents: dict[str, tuple[int, int]] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose one node, counting the values and their depth as if aliases were written out."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._extents:
                raise _problem(f"*{event.anchor} stands for nothing, or for itself", event)
            size, height = self._extents[event.anchor]
            self._count(size, height, event)
            return super().compose_node(parent, index)  # type: ignore[no-any-return]
        before, above = self._n_nodes, self._deepest
        self._count(1, 1, event)
        self._deepest = self._depth = self._depth + 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._extents[event.anchor] = self._n_nodes - before, self._deepest - self._depth
        self._deepest = max(above, self._deepest)
        return node

    def _count(self, size: int, height: int, event: Any) -> None:
        self._n_nodes += size
        self._deepest = max(self._deepest, self._depth + height)
        if self._deepest > _MAX_DEPTH:
            raise _problem(f"more than {_MAX_DEPTH} levels deep", event)
        if self._n_nodes > _MAX_NODES:
            raise _problem(f"more than {_MAX_NODES} values", event)

    def construct_mapping(self, node: Node, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys are words, each given once."""
        if not isinstance(node, MappingNode):
            raise _problem("expected keys with values", node)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            word = self.construct_object(key) if isinstance(key, ScalarNode) else None
            if not isinstance(word, str):
                shown = key.value if isinstance(key, ScalarNode) else "a list or mapping"
                raise _problem(f"the key {shown!r} is no word; put it in quotes", key)
            if word in seen:
                raise _problem(f"the key {word!r} is given twice; remove one", key)
            seen.add(word)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: ScalarNode) -> int | float:
        """Return a whole number as int, any other as float."""
        text = node.value
        if len(text) > _MAX_DIGITS:
            raise _problem(f"a number of {len(text)} characters", node)
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _problem(text: str, at: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=at.start_mark)


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_NUMBER, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_MERGE, "<<", "<"),
    (_NUMBER, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.add_constructor(_NUMBER, _Loader.construct_number)


def load_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises
    ------
    ValueError
        It is not YAML, or more than settings need; one line that names the place and never quotes
        the text, which may hold a password.
    """
    try:
        # A subclass of the safe loader.
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"{error.reason} at character {error.position}") from None
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"a value doesn't fit its tag ({type(error).__name__})") from None
