"""Sites for tests with real processes."""

from tests.processes.fixtures import migrated, site_of, sites

__all__ = ["migrated", "site_of", "sites"]
