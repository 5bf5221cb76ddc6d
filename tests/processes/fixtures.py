"""Sites for tests with real processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.databases import Database, new_database
from tests.processes.sites import Site, wait_for


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with all tables and no rows, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    database = new_database(folder)
    site = Site(folder, database)
    try:
        assert site.manage("migrate", "-v", "0").wait(60) == 0, site.output()
        yield database
    finally:
        site.close()
        database.drop()


@pytest.fixture
def site_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Makes sites, and ends their processes after the test."""
    with _sites(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """The same for sites that several tests of a module share."""
    with _sites(tmp_path_factory) as make:
        yield make


@contextmanager
def _sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(database: Database | None = None, **settings: object) -> Site:
        directory = tmp_path_factory.mktemp("site")
        site = Site(directory, database.copy(directory) if database else new_database(directory), **settings)
        made.append(site)
        return site

    try:
        yield make
    finally:
        for site in made:
            site.close()
            wait_for(lambda site=site: not site.processes(), 10, "the end of the site's processes")
            site.database.drop()
