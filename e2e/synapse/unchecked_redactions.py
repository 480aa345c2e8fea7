"""A homeserver whose users redact what they like: it lets them send it, and leaves it to the other servers to look
closely, as they have to. No more than the check is taken out."""

from typing import Any

from synapse import event_auth


class UncheckedRedactions:
    def __init__(self, config: dict, api: Any) -> None:
        event_auth.check_redaction = lambda *arguments, **named: False
