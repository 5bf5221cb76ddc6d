"""The page with a VM's screen."""

import pytest
from django.contrib.staticfiles import finders
from django.http import Http404

from resources.console_views import content_security_policy, viewer

VM = "vm-675b2c3d4e5f6a7b8c9d0e0f"


def page(rf, public_id=VM, **kwargs):
    return viewer(rf.get(f"/console/view/{public_id}"), public_id)


def test_it_says_plainly_that_the_mock_has_no_screen(rf):
    answer = page(rf)
    text = answer.content.decode()

    assert answer.status_code == 200
    assert VM in text
    assert "There is no screen to show" in text
    assert "On a node with KVM this page shows the VM's display" in " ".join(text.split())
    assert 'name="viewport"' in text


def test_it_has_no_script_or_style_of_its_own(rf):
    text = page(rf).content.decode()

    assert text.count("<script") == 1
    assert "static/console/viewer.js" in text
    assert "<style" not in text
    assert finders.find("console/viewer.js")
    assert finders.find("console/viewer.css")


def test_nothing_keeps_it_or_tells_of_it(rf):
    answer = page(rf)

    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"


def test_only_aiwm_and_its_frontends_may_frame_it(rf, settings):
    settings.CORS_ALLOW_ALL_ORIGINS = False
    settings.CORS_ALLOWED_ORIGINS = ["https://front.example.com"]
    settings.PUBLIC_URL = "https://aiwm.example.com"

    answer = page(rf)

    assert answer["Content-Security-Policy"] == content_security_policy()
    assert "frame-ancestors 'self' https://front.example.com" in content_security_policy()
    assert "connect-src 'self' wss://aiwm.example.com;" in content_security_policy()
    assert "script-src 'self';" in content_security_policy()
    assert answer.xframe_options_exempt


def test_anyone_may_frame_it_where_development_allows_every_origin(settings):
    settings.CORS_ALLOW_ALL_ORIGINS = True

    assert content_security_policy().endswith("frame-ancestors *")


@pytest.mark.parametrize("public_id", ["675b2c3d4e5f6a7b8c9d0e0f", "vm-x", "vm-", "task-675b2c3d4e5f6a7b8c9d0e0f"])
def test_what_is_no_vms_id_has_no_page(rf, public_id):
    with pytest.raises(Http404):
        page(rf, public_id)


def test_it_is_read_only(rf):
    assert viewer(rf.post("/console/view/x"), VM).status_code == 405
