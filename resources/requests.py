"""Bodies of requests that are no VM's config."""

from common.validation import StrictModel


class EmptyBody(StrictModel):
    """Of requests that take nothing: what is sent all the same is an error, and not dropped in silence."""


class ForceBody(StrictModel):
    """Of stop and restart: with `force` the power is cut at once, without asking the guest."""

    force: bool = False
