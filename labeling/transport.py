"""HTTP as Label Studio speaks it: log-in, tokens, and what each failure means to a user."""

import base64
import json
import logging
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NoReturn

import httpx

from curation.errors import (
    InputError,
    LabelStudioError,
    LabelStudioProjectGone,
    LabelStudioRefused,
    LabelStudioUnreachable,
)

logger = logging.getLogger(__name__)

# A stand-in is asked for anew this long before the old one ends.
EARLY_SECONDS = 30.0
READ_TRIES = 3
BUSY = (429, 500, 502, 503, 504)


def is_healthy(url: str) -> bool:
    """Whether some Label Studio answers at `url` now."""
    try:
        answer = httpx.get(f"{url}/health", timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def legacy_tokens_disabled(url: str, token: str) -> bool:
    """Whether the organisation refuses tokens of 40 digits, this one included."""
    try:
        answer = httpx.get(
            f"{url}/api/current-user/whoami",
            headers={"Authorization": f"Token {token}"},
            timeout=30.0,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise_transport(error, url)
    return answer.status_code == httpx.codes.UNAUTHORIZED and "legacy token" in answer.text


def enable_legacy_tokens(url: str, email: str, password: str) -> None:
    """Log in with a password and allow tokens of 40 digits in that person's organisation.

    Raises:
        LabelStudioRefused: the password is wrong, or the person may not change the setting.
    """
    wanted = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
    with Session(url) as session:
        try:
            session.submit("/user/login/", {"email": email, "password": password})
        except InputError as error:
            raise LabelStudioRefused(str(error)) from error
        session.post_json("/api/jwt/settings", wanted)


class TokenAuth(httpx.Auth):
    """Put a legacy token into every request, or the short-lived stand-in of a personal one.

    A personal access token is a JWT, so it has three parts; it buys a stand-in that is valid for
    five minutes.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._personal = token.count(".") == 2
        self._access = ""
        self._ends = 0.0

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Authorise one request, asking for a new stand-in first where the old one ends."""
        if not self._personal:
            request.headers["Authorization"] = f"Token {self._token}"
            yield request
            return
        if time.time() > self._ends - EARLY_SECONDS:
            answer = yield httpx.Request(
                "POST", f"{self._url}/api/token/refresh/", json={"refresh": self._token}
            )
            answer.read()
            if not answer.is_success:
                raise_status(answer.status_code, answer.text, "renew the token", url=self._url)
            self._access = str(answer.json()["access"])
            self._ends = _expiry(self._access)
        request.headers["Authorization"] = f"Bearer {self._access}"
        yield request


def _expiry(token: str) -> float:
    """When a JWT ends, in seconds since 1970, read without checking its signature."""
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return float(claims["exp"])


class Wire:
    """Requests to one server as one person, with failures turned into our errors.

    It never asks the environment for a proxy, and goes to no other host.
    """

    def __init__(self, url: str, token: str, *, timeout_seconds: float) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url,
            auth=TokenAuth(url, token),
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            trust_env=False,
            follow_redirects=False,
        )

    def get(self, path: str, *, params: Mapping[str, Any] | None = None) -> httpx.Response:
        """Read, again after a short wait when the server is busy or restarting."""
        for attempt in range(READ_TRIES):
            last = attempt == READ_TRIES - 1
            try:
                answer = self.http.get(path, params=params)
            except httpx.HTTPError as error:
                # A read that took the whole time-out would take it again.
                if last or isinstance(error, httpx.ReadTimeout):
                    raise_transport(error, self.url)
                logger.debug("Reading %s failed with %s", path, type(error).__name__)
            else:
                if last or answer.status_code not in BUSY:
                    return answer
            time.sleep(0.3 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def read(
        self,
        path: str,
        what: str,
        *,
        project: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """Read something that must be there."""
        answer = self.get(path, params=params)
        check(answer, f"read {what}", url=self.url, project=project)
        return answer

    def send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        content: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        project: int | None = None,
    ) -> httpx.Response:
        """Write once."""
        try:
            answer = self.http.request(method, path, json=content)
        except httpx.HTTPError as error:
            raise_transport(error, self.url)
        check(answer, doing, url=self.url, project=project)
        return answer

    def delete(self, path: str, doing: str) -> None:
        """Delete; what is gone already counts as done."""
        try:
            answer = self.http.delete(path)
        except httpx.HTTPError as error:
            raise_transport(error, self.url)
        if answer.status_code != httpx.codes.NOT_FOUND:
            check(answer, doing, url=self.url)

    def stream(self, url: str) -> Iterator[bytes]:
        """A file in pieces."""
        try:
            with self.http.stream("GET", url) as answer:
                if not answer.is_success:
                    answer.read()
                    check(answer, f"read {url}", url=self.url)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise_transport(error, self.url)


def as_json(answer: httpx.Response) -> Any:
    """What an answer says.

    Raises:
        LabelStudioError: it is a page, which other programs send.
    """
    try:
        return answer.json()
    except ValueError as error:
        raise LabelStudioError(
            f"{answer.url.host} answered with something that is not JSON. Is it a Label Studio?"
        ) from error


def check(answer: httpx.Response, doing: str, *, url: str, project: int | None = None) -> None:
    """Raise what `raise_status` says, unless the answer is a success."""
    if not answer.is_success:
        raise_status(answer.status_code, answer.text, doing, url=url, project=project)


class Session(AbstractContextManager["Session"]):
    """A visit as a browser makes it, with cookies, for the pages that have no API."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=url, timeout=60.0, trust_env=False, follow_redirects=False
        )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget the cookies and give the sockets back."""
        self._http.close()

    def submit(self, path: str, form: Mapping[str, str]) -> None:
        """Fill in a form; success is the redirect that follows.

        Raises:
            InputError: the page shows the form again, with its reasons.
        """
        self._request("GET", path)
        answer = self._request("POST", path, data=dict(form), headers=self._headers())
        if not answer.is_redirect:
            reasons = "; ".join(_complaints(answer.text)) or "it gave no reason"
            raise InputError(
                f"{self._url} did not accept {form.get('email', 'the form')}: {reasons}"
            )

    def get_json(self, path: str) -> Any:
        """Read as the person who logged in."""
        return self._request("GET", path).json()

    def post_json(self, path: str, content: Mapping[str, Any]) -> None:
        """Write as the person who logged in."""
        self._request("POST", path, json=dict(content), headers=self._headers())

    def _headers(self) -> dict[str, str]:
        token = self._http.cookies.get("csrftoken") or ""
        return {"X-CSRFToken": token, "Referer": self._url}

    def _request(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise_transport(error, self._url)
        if answer.is_error:
            raise_status(
                answer.status_code,
                answer.text,
                f"open {path.split('?', maxsplit=1)[0]}",
                url=self._url,
            )
        return answer


def _complaints(page: str) -> list[str]:
    """The reasons that a form's page shows."""
    marked = re.findall(r'class="[^"]*error[^"]*"[^>]*>(.*?)</(?:p|span|ul|div|li)>', page, re.S)
    texts = (re.sub(r"<[^>]+>|\s+", " ", one).strip() for one in marked)
    return list(dict.fromkeys(text for text in texts if text))


def raise_transport(error: httpx.HTTPError, url: str) -> NoReturn:
    """Say that nothing answered, or not in time.

    Raises:
        LabelStudioUnreachable: always.
    """
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        says = (
            f"Nothing answers at {url}. Start Label Studio with `labelloop up`, or check the "
            "address."
        )
    elif isinstance(error, httpx.TimeoutException):
        says = f"Label Studio at {url} did not answer in time. Try again; nothing is sent twice."
    else:
        says = (
            f"The connection to Label Studio at {url} broke ({type(error).__name__}). "
            "Check that it runs, and try again; nothing is sent twice."
        )
    raise LabelStudioUnreachable(says) from error


def raise_status(
    status: int, body: Any, doing: str, *, url: str, project: int | None = None
) -> NoReturn:
    """Say what an answer that is not a success means.

    Args:
        status: the HTTP status.
        body: what came with it: JSON, text, or a whole page.
        doing: what was tried, as a verb phrase.
        url: the server's address.
        project: the project that the request was about, where it was about one.

    Raises:
        LabelStudioRefused: 401 and 403.
        LabelStudioProjectGone: 404 in a request about a project.
        LabelStudioError: everything else.
    """
    reason = _reason(body)
    if status in (401, 403):
        raise LabelStudioRefused(
            f"Label Studio at {url} refused to {doing} ({status}{reason}). "
            "Check the token on the account page there."
        )
    if status == 404 and project is not None:
        raise LabelStudioProjectGone(
            f"Project {project} does not exist at {url} any more. It can be made again from the "
            "catalog: nothing that was pulled is lost."
        )
    raise LabelStudioError(f"Label Studio at {url} could not {doing} ({status}{reason}).")


def _reason(body: Any) -> str:
    """The server's own words, short, or nothing where it sent a page."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return "" if "<" in body or not body.strip() else f": {body.strip()[:300]}"
    if isinstance(body, Mapping):
        errors = body.get("validation_errors")
        body = errors or body.get("detail") or body
    return f": {json.dumps(body, ensure_ascii=False)[:300]}" if body else ""
