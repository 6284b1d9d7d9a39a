"""One turn after the other in a Label Studio on SQLite: a middleware in its own process."""

import re
import threading
from collections.abc import Callable
from typing import Any

BY_API = re.compile(r"/api/projects/\d+/next/?")
BY_PAGE = re.compile(r"/api/dm/actions/?")


class OneAtATime:
    """Hands out images to one person at a time; all other requests pass.

    Django's form of a middleware: made once, called with every request. Label Studio's server on
    SQLite is one process with many threads, so a lock is enough.
    """

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._turn = threading.Lock()

    def __call__(self, request: Any) -> Any:
        """The answer to a request, once it is its turn."""
        if hands_out(request.path, request.GET.get("id", "")):
            with self._turn:
                return self._get_response(request)
        return self._get_response(request)


def hands_out(path: str, action: str) -> bool:
    """Whether a request is for the next image: programs and the page ask for it in different ways.

    >>> hands_out("/api/projects/3/next", ""), hands_out("/api/dm/actions", "next_task")
    (True, True)
    """
    by_page = action == "next_task" and BY_PAGE.fullmatch(path)
    return bool(by_page or BY_API.fullmatch(path))
