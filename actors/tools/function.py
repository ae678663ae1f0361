"""Tools made of typed Python functions.

    def find_hotels(city: City, check_in: dt.date, nights: Nights = Nights(2), *, catalogue: Catalogue) -> Stays: ...

    FunctionTool(find_hotels, {"catalogue": catalogue})

Arguments before `*` are filled by the model with words of the request and understood by `values.py`; those behind it
are injected: `request`, or whatever the providers hold under that name.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from metier.topics.errors import InvalidTeam, InvalidValue, ToolFailed

from . import values
from .base import Missing, Offer, Outcome, Request, spans

#: Longer texts are offered as free strings: their runs of words would make a grammar of thousands of values.
SPAN_WORDS_LIMIT = 200
FREE_TEXT_LIMIT = 120


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument the model fills."""

    #: As the function calls it.
    parameter: str
    #: As the model and the asker see it: without the trailing underscore.
    name: str
    kind: Any
    optional: bool

    def schema(self, words: dict[str, Any]) -> dict[str, Any]:
        """Null, or a choice, or what `words_of` says of the request."""
        allowed = values.choices(self.kind)
        return words if allowed is None else {"enum": [None, *allowed]}


def words_of(request: Request) -> dict[str, Any]:
    """The schema of a value copied from a request: null, or a run of its words."""
    if len(request.text.split()) > SPAN_WORDS_LIMIT:
        return {"type": ["string", "null"], "maxLength": FREE_TEXT_LIMIT}
    return {"enum": [None, *spans(request.text)]}


def signature(name: str, arguments: Mapping[str, bool]) -> str:
    """A tool in one line, optional arguments marked: `find_hotels(city, check_in, nights?)`."""
    return f"{name}({', '.join(name + '?' * optional for name, optional in arguments.items())})"


class FunctionTool:
    """A typed function, sync (run in a thread) or async, as a tool.

    Raises InvalidTeam for a function whose signature does not say what the model must fill, or for what no provider
    supplies.
    """

    def __init__(self, function: Callable[..., Any], providers: Mapping[str, object] | None = None) -> None:
        self._function = function
        self._path = f"{function.__module__}:{function.__qualname__}"
        self._name = function.__name__
        self._arguments: list[Argument] = []
        self._injected: dict[str, object] = {}
        #: None for each parameter that may be None and has no default.
        self._nothing: dict[str, Any] = {}
        self._wants_request = False
        hints = self._hints()
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self._arguments.append(self._argument(parameter, hints))
            elif parameter.kind is parameter.KEYWORD_ONLY:
                self._inject(parameter, providers or {})
            else:
                raise self._invalid(f"parameter {parameter} must have a name a model can fill: no * or / parameters")
        self._brief = signature(self._name, {argument.name: argument.optional for argument in self._arguments})

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    def offer(self, request: Request) -> Offer:
        """The signature, and for each argument the words of the request it may be."""
        words = words_of(request)
        return Offer(
            name=self._name,
            brief=self._brief,
            schema={
                "type": "object",
                "properties": {argument.name: argument.schema(words) for argument in self._arguments},
                "required": [argument.name for argument in self._arguments],
                "additionalProperties": False,
            },
        )

    def understand(self, said: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Arguments as values, by shown name; what was not said and has a default is left out.

        Raises Missing or InvalidValue.
        """
        heard = {argument.name: said.get(argument.name) for argument in self._arguments}
        silent = {name for name, words in heard.items() if words is None or words == ""}
        if missing := [a.name for a in self._arguments if a.name in silent and not a.optional]:
            raise Missing(*missing)
        return {
            argument.name: values.understand(argument.kind, heard[argument.name], request)
            for argument in self._arguments
            if argument.name not in silent
        }

    def same(self, name: str, said: str, other: str, request: Request) -> bool:
        """Whether two ways of saying an argument are understood as one value."""
        kind = next((argument.kind for argument in self._arguments if argument.name == name), None)
        try:
            one, two = (values.understand(kind, words, request) for words in (said, other))
        except (InvalidValue, TypeError):
            return False
        return bool(one == two)

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        """Runs the function; what it raises goes through. Raises Missing, InvalidValue or ToolFailed."""
        understood = self.understand(said, request)
        given = self._nothing | {a.parameter: understood[a.name] for a in self._arguments if a.name in understood}
        given |= self._injected
        if self._wants_request:
            given["request"] = request
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(**given)
        else:
            result = await asyncio.to_thread(self._function, **given)
        try:
            data = builtins(result)
        except TypeError as error:
            raise ToolFailed(tool=self._name, reason=f"it returned what is not plain data: {error}") from error
        return Outcome(text=str(result), data=data, arguments=builtins(understood))

    async def close(self) -> None:
        """Nothing to free: who made the providers closes them."""

    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(self._function)
        except NameError as error:
            raise self._invalid(f"its annotations cannot be read: {error}") from error

    def _argument(self, parameter: inspect.Parameter, hints: dict[str, Any]) -> Argument:
        if parameter.name not in hints:
            raise self._invalid(f"parameter {parameter.name} has no annotation")
        kind, optional = hints[parameter.name], parameter.default is not parameter.empty
        if not optional and values.bare(kind) is not kind:
            self._nothing[parameter.name] = None
            optional = True
        if not values.known(kind):
            raise self._invalid(
                f"parameter {parameter.name}: {kind!r} is not a kind of value; "
                "give it a classmethod `understand(said, request)`"
            )
        return Argument(
            parameter=parameter.name,
            name=parameter.name.rstrip("_"),
            kind=values.bare(kind),
            optional=optional,
        )

    def _inject(self, parameter: inspect.Parameter, providers: Mapping[str, object]) -> None:
        if parameter.name == "request":
            self._wants_request = True
        elif parameter.name in providers:
            self._injected[parameter.name] = providers[parameter.name]
        elif parameter.default is parameter.empty:
            names = ", ".join(sorted(providers)) or "none"
            raise self._invalid(f"no provider {parameter.name!r} for it; there are: {names}")

    def _invalid(self, reason: str) -> InvalidTeam:
        return InvalidTeam(path=self._path, reason=reason)


def builtins(value: Any) -> Any:
    """Plain JSON values: dates ISO, times HH:MM, kinds as what they are made of."""
    if isinstance(value, dt.time):
        return value.isoformat("minutes")
    if isinstance(value, dict):
        return {str(key): builtins(item) for key, item in value.items()}
    return msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)


def _plain(value: Any) -> Any:
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__qualname__} is neither a msgspec struct nor a plain value")


def load_function(path: str) -> Callable[..., Any]:
    """The function at "package.module:name". Raises InvalidTeam."""
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise InvalidTeam(path=path, reason='write a tool as "package.module:function"')
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InvalidTeam(path=path, reason=f"there is no module {error.name}") from error
    function = getattr(module, name, None)
    if function is None:
        raise InvalidTeam(path=path, reason=f"module {module_name} has no {name}")
    if not inspect.isfunction(function):
        raise InvalidTeam(path=path, reason=f"{name} is not a function")
    return function
