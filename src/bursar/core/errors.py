"""Draw the one tree of errors.

    BursarError                      everything Bursar raises on purpose
    ├── OperatorError                a setting, file or environment the operator can mend; ends a command with exit 1
    │   ├── ConfigError              a setting is missing, of the wrong kind or unknown
    │   ├── NotThere                 there is no key, budget or other thing of this name
    │   └── NameTaken                there is one of this name already
    ├── PriceError                   the price book cannot answer
    │   ├── UnknownModel             no price under this name; carries near matches
    │   └── UnpricedUsage            the model's price has no rate for something the call would consume
    ├── BooksError                   the books refuse or cannot be reached; nothing was written
    └── Refusal                      a call is refused; carries HTTP status and `code`, nothing is held
        ├── BadRequest        400    the body or a header cannot be read
        ├── Unauthorized      401    no key, or one we do not know
        ├── NoMoney           402    the budget cannot hold what the call may cost
        ├── Forbidden         403    the key's scope excludes this
        ├── NotFound          404    no such route or model
        ├── Conflict          409    an Idempotency-Key was used with another body
        ├── TooLarge          413    body or header beyond its limit
        ├── Unmetered         422    no price or no meter for what is asked
        ├── TooMany           429    too many calls at once
        ├── UpstreamFailed    502    the provider did not give a usable answer
        ├── Unavailable       503    the books cannot take a call now
        └── UpstreamTimeout   504    the provider did not answer in time

Domain outcomes that are no error (a hold that does not fit, a transfer that exists) are enumerated statuses in
`ledger`, not exceptions.
"""

from typing import ClassVar


class BursarError(Exception):
    """Be the base of everything Bursar raises on purpose."""


class OperatorError(BursarError):
    """Report something the operator can mend. The message is one line and says the way out."""


class ConfigError(OperatorError):
    """Report a setting that is missing, of the wrong kind or unknown, naming it."""


class NotThere(OperatorError):
    """Report that there is nothing of a name."""


class NameTaken(OperatorError):
    """Report that a name is another's already."""


class PriceError(BursarError):
    """Report that the price book cannot answer."""


class UnknownModel(PriceError):
    """Report a model without a price, with the nearest names that have one."""

    def __init__(self, model: str, near: tuple[str, ...] = ()) -> None:
        hint = f"; near: {', '.join(near)}" if near else ""
        super().__init__(f"no price for model {model!r}{hint}")
        self.model = model
        self.near = near


class UnpricedUsage(PriceError):
    """Report a unit of usage that the model's price has no rate for."""

    def __init__(self, price_id: str, unit: str) -> None:
        super().__init__(f"price {price_id} has no rate for {unit}")
        self.price_id = price_id
        self.unit = unit


class BooksError(BursarError):
    """Report that the books refuse or cannot be reached; nothing was written."""


class Refusal(BursarError):
    """Refuse a call before anything is held. `details` go into the error body beside `code`."""

    status: ClassVar[int] = 500
    code: str = "refused"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.details = details or {}


class BadRequest(Refusal):
    """Refuse a body or header that cannot be read; `param` names the field."""

    status = 400
    code = "bad_request"


class Unauthorized(Refusal):
    """Refuse a call without a key, or with one we do not know."""

    status = 401
    code = "invalid_api_key"


class NoMoney(Refusal):
    """Refuse a call whose hold does not fit; details say spent, held and limit."""

    status = 402
    code = "budget_exhausted"
    headroom_nano: int = 0  # what is left


class Forbidden(Refusal):
    """Refuse what the key's scope excludes."""

    status = 403
    code = "out_of_scope"


class NotFound(Refusal):
    """Refuse a route or model that does not exist here."""

    status = 404
    code = "not_found"


class Conflict(Refusal):
    """Refuse an Idempotency-Key that was used before with another body, or whose answer is gone."""

    status = 409
    code = "idempotency_conflict"


class TooLarge(Refusal):
    """Refuse a body or header beyond its limit."""

    status = 413
    code = "too_large"


class Unmetered(Refusal):
    """Refuse what has no price or no meter: unknown is never $0."""

    status = 422
    code = "unpriced"


class TooMany(Refusal):
    """Refuse because too much is under way."""

    status = 429
    code = "too_many_requests"


class UpstreamFailed(Refusal):
    """Report that no provider gave a usable answer."""

    status = 502
    code = "upstream_failed"


class Unavailable(Refusal):
    """Refuse while the books cannot take a call."""

    status = 503
    code = "books_unavailable"


class UpstreamTimeout(Refusal):
    """Report that the provider did not answer in time."""

    status = 504
    code = "upstream_timeout"
