"""The demo's data."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from nodes.models import Node
from resources.models import VirtualMachine
from vmbackends import get_backend
from vmbackends.base import Capabilities

pytestmark = pytest.mark.django_db


def seed():
    said = StringIO()
    call_command("seed_demo", force=True, stdout=said)
    return said.getvalue()


def test_it_is_refused_where_strangers_could_log_in():
    with pytest.raises(CommandError, match="everybody knows"):
        call_command("seed_demo")


def test_what_is_there_is_kept():
    assert "15 VMs written" in seed()
    assert "0 VMs written, 15 were there" in seed()


def test_real_nodes_get_no_vms_of_the_demo():
    get_backend().capabilities = Capabilities()
    assert "Demo accounts are there" in seed()
    assert User.objects.filter(username="demo").exists()
    assert not Node.objects.exists()
    assert not VirtualMachine.objects.exists()
