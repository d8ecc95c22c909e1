"""A pickle read as what it says, with nothing made and nothing called: a stack machine that only writes down.

A pickle is a program of some sixty opcodes. Numbers, texts, lists and tuples become themselves; a dictionary becomes
pairs, so that no key is hashed; whatever the program would import, call or set becomes a record. Time and memory follow
the length of the file, whatever it says: `pickle` itself makes room for numbers that a file only names, and hashes
nested keys for hours.
"""

import codecs
import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_OPCODES = 2**20
"""A hand whose arrays are all lists of numbers takes half a million."""


@dataclass(eq=False, slots=True)
class Named:
    """Something to import, by its name: "module.name"."""

    name: str


@dataclass(eq=False, slots=True)
class Made:
    """An object to make: of what, by which arguments, with which state."""

    maker: Any
    arguments: Any
    state: Any = None


@dataclass(eq=False, slots=True)
class Pairs:
    """A dictionary, in the file's order."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def by_text(self) -> dict[str, Any]:
        """What stands under keys that are texts; the last of two wins, as in Python."""
        return {key: value for key, value in self.pairs if isinstance(key, str)}


@dataclass
class Pickled:
    """What a pickle says."""

    content: Any
    names: list[str]
    """All that it would import."""


def read_pickle(data: bytes) -> Pickled:
    """The content of a pickle of protocol 0 to 5. Raises almost anything for a damaged one."""
    machine = _Machine()
    file = io.BytesIO(data)
    for _ in range(MOST_OPCODES):
        opcode = _OPCODES[file.read(1).decode("latin1")]
        if opcode.name == "STOP":
            return Pickled(machine.stack[-1], machine.names)
        if opcode.name == "STRING":  # of Python 2, whose texts are bytes
            argument = codecs.escape_decode(file.readline().strip()[1:-1])[0].decode("latin1")
        else:
            argument = None if opcode.arg is None else opcode.arg.reader(file)
        machine.step(opcode.name, argument)
    raise ValueError(f"more than {MOST_OPCODES} opcodes")


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
        *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE"),
        *("BINUNICODE", "BINUNICODE8"),
    )
)
_MOVES = frozenset(
    (
        *("MARK", "POP", "POP_MARK", "DUP", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
        *("PROTO", "FRAME"),
    )
)
_COLLECTIONS = frozenset(
    (
        *("LIST", "APPEND", "APPENDS", "ADDITEMS", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "DICT", "SETITEM"),
        *("SETITEMS", "FROZENSET"),
    )
)
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict")
_SET = Named("builtins.set")
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": Pairs,
    "EMPTY_SET": lambda: Made(_SET, ()),
}


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """What lies under each mark."""
        self.memo: dict[int, Any] = {}
        self.names: list[str] = []

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _MOVES:
            self._move(name, argument)
        elif name in _COLLECTIONS:
            self._collect(name)
        else:
            self._record(name, argument)

    def _move(self, name: str, argument: Any) -> None:
        """Opcodes of the stack and of the memo."""
        match name:
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP":
                if self.stack:
                    self.stack.pop()
                else:
                    self._marked()
            case "POP_MARK":
                self._marked()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])

    def _collect(self, name: str) -> None:
        """Opcodes of lists, tuples, dictionaries and sets."""
        stack = self.stack
        match name:
            case "LIST":
                items = self._marked()
                self.stack.append(items)
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = self._marked()
                _extend(self.stack[-1], items)
            case "TUPLE":
                items = self._marked()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "DICT":
                items = self._marked()
                self.stack.append(Pairs(_paired(items)))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set(stack[-1], [(key, value)])
            case "SETITEMS":
                items = self._marked()
                _set(self.stack[-1], _paired(items))
            case "FROZENSET":
                items = self._marked()
                self.stack.append(Made(_SET, (items,)))

    def _record(self, name: str, argument: Any) -> None:
        """Opcodes that import, call or set: written down."""
        stack = self.stack
        match name:
            case "GLOBAL":
                stack.append(self._named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                last, first = stack.pop(), stack.pop()
                stack.append(self._named(first, last))
            case "REDUCE" | "NEWOBJ":
                arguments, maker = stack.pop(), stack.pop()
                stack.append(_made(maker, arguments))
            case "NEWOBJ_EX":
                _, arguments, maker = stack.pop(), stack.pop(), stack.pop()
                stack.append(_made(maker, arguments))
            case "INST":
                arguments = self._marked()
                self.stack.append(_made(self._named(*argument.split(" ", 1)), tuple(arguments)))
            case "OBJ":
                maker, *arguments = self._marked()
                self.stack.append(_made(maker, tuple(arguments)))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Made):
                    stack[-1].state = state
            case "PERSID":
                stack.append(Made(self._named("pickle", "persistent_id"), (argument,)))
            case "BINPERSID":
                stack.append(Made(self._named("pickle", "persistent_id"), (stack.pop(),)))
            case _:
                raise ValueError(f"the opcode {name}")

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which goes with it."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def _named(self, module: Any, name: Any) -> Named:
        self.names.append(f"{module}.{name}")
        return Named(self.names[-1])


def _made(maker: Any, arguments: Any) -> Made | Pairs:
    if isinstance(maker, Named) and maker.name in _MAPPINGS:
        given = arguments[0] if isinstance(arguments, tuple) and arguments else []
        pairs = given if isinstance(given, list) else []  # a defaultdict's first argument is what it fills gaps with
        return Pairs([(key, value) for key, value in pairs])
    return Made(maker, arguments)


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


def _extend(target: Any, items: list[Any]) -> None:
    """Items of what is no list belong to an object of another kind, of which nothing is made."""
    if isinstance(target, list):
        target.extend(items)


def _set(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    if isinstance(target, Pairs):
        target.pairs.extend(pairs)
