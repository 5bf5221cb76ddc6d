"""Bodies of requests that are no VM's config."""

from common.validation import StrictModel


class ForceBody(StrictModel):
    """Of stop and restart: with `force` the power is cut at once, without asking the guest."""

    force: bool = False
