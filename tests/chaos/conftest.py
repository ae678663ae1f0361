"""The echo team on real Ray and a real broker, one for the whole run."""

from harness.local_team import client, echo_team

__all__ = ["client", "echo_team"]
