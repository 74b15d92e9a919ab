"""Turns the functions that make calls into methods that send them, with the same parameters and documentation."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args, get_type_hints

from pgface.client.calls import Call
from pgface.client.models import Page

P = ParamSpec("P")
T = TypeVar("T")


class Sender(Protocol):
    """A client that waits for responses."""

    def send(self, call: Call[T], /) -> T:
        """Send a call and return what was read from its response."""


class AsyncSender(Protocol):
    """A client for asynchronous programs."""

    async def send(self, call: Call[T], /) -> T:
        """Send a call and return what was read from its response."""


def blocking(build: Callable[P, Call[T]]) -> Callable[Concatenate[Sender, P], T]:
    """Make the method that sends a call and waits for its response."""

    def method(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    _describe(method, build, lambda result: result)
    return method


def awaitable(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncSender, P], Awaitable[T]]:
    """Make the coroutine method that sends a call."""

    async def method(self: AsyncSender, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    _describe(method, build, lambda result: result)
    return method


def iterating(build: Callable[P, Call[Page[T]]]) -> Callable[Concatenate[Sender, P], Iterator[T]]:
    """Make the method that iterates over the items of all pages. It asks for the next page when it needs it."""

    def method(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        call = build(*args, **kwargs)
        while True:
            page = self.send(call)
            yield from page.items
            if page.next_cursor is None:
                return
            call = call.from_cursor(page.next_cursor)

    _describe(method, build, lambda page: Iterator[get_args(page)[0]])  # type: ignore[misc]
    return method


def async_iterating(build: Callable[P, Call[Page[T]]]) -> Callable[Concatenate[AsyncSender, P], AsyncIterator[T]]:
    """Make the method that iterates asynchronously over the items of all pages."""

    async def method(self: AsyncSender, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        call = build(*args, **kwargs)
        while True:
            page = await self.send(call)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            call = call.from_cursor(page.next_cursor)

    _describe(method, build, lambda page: AsyncIterator[get_args(page)[0]])  # type: ignore[misc]
    return method


def _describe(method: Any, build: Callable[..., Any], returned: Callable[[Any], Any]) -> None:
    """Give a method the name, the documentation and the signature of the function that makes its call."""
    hints = get_type_hints(build)
    result = returned(get_args(hints["return"])[0])
    signature = inspect.signature(build)
    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [one.replace(annotation=hints[one.name]) for one in signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=[receiver, *parameters], return_annotation=result)
    method.__annotations__ = hints | {"return": result}
    method.__name__ = build.__name__
    method.__doc__ = build.__doc__
