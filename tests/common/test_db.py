"""How databases are reached."""

import pytest
from django.db import connection


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could be gone")
def test_a_server_that_is_gone_is_found_out_in_time():
    connection.ensure_connection()
    said = connection.connection.info.get_parameters()
    assert 5 <= int(said["connect_timeout"]) <= 15
    silent_s = int(said["keepalives_idle"]) + int(said["keepalives_interval"]) * int(said["keepalives_count"])
    assert 10 <= silent_s <= 30
    assert 10_000 <= int(said["tcp_user_timeout"]) <= 30_000
