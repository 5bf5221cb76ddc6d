"""GET /schema, GET /docs and GET /."""

import re

import pytest
import yaml
from django.contrib.staticfiles import finders
from drf_spectacular.validation import validate_schema

from aiwm_site.errors import KINDS

PUBLIC = {("post", "/auth/token"), ("post", "/auth/token/refresh"), ("post", "/auth/token/revoke")}


@pytest.fixture
def schema(client) -> dict:
    response = client.get("/schema")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    return response.json()


def operations(schema):
    return [(method, path, operation) for path, item in schema["paths"].items() for method, operation in item.items()]


def test_it_is_valid_openapi_3_1(schema):
    assert schema["openapi"].startswith("3.1")
    assert schema["info"]["title"] == "AIWM API"
    assert schema["servers"] == [{"url": "http://localhost:3305"}]
    validate_schema(schema)


def test_it_names_only_components_that_it_has(schema):
    for reference in set(re.findall(r"#/components/(\w+)/([\w.-]+)", str(schema))):
        assert reference[1] in schema["components"][reference[0]], reference


def test_it_gives_each_operation_a_name_of_its_own(schema):
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(names) == len(set(names))


def test_it_describes_the_errors_of_each_operation(schema):
    assert schema["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(KINDS)
    assert operations(schema)
    for method, path, operation in operations(schema):
        assert "500" in operation["responses"], (method, path)
        if "{" in path:
            assert "404" in operation["responses"], (method, path)


def test_it_wants_a_token_for_all_but_logging_in(schema):
    assert schema["components"]["securitySchemes"]["accessToken"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    open_to_all = {
        (method, path) for method, path, operation in operations(schema) if not any(operation.get("security", ()))
    }
    assert open_to_all <= PUBLIC


def test_it_speaks_camel_case_alone(schema):
    for path in schema["paths"]:
        for name in re.findall(r"{(.*?)}", path):
            assert re.fullmatch("[a-z][A-Za-z]*", name), path


def test_it_is_yaml_where_that_is_asked_for(client, schema):
    response = client.get("/schema", headers={"Accept": "application/yaml"})
    assert yaml.safe_load(response.content) == schema


def test_it_is_open_to_a_token_that_has_expired(client):
    assert client.get("/schema", headers={"Authorization": "Bearer expired"}).status_code == 200


def test_the_page_loads_nothing_from_another_host(client):
    response = client.get("/docs")
    page = response.content.decode()
    assert response.status_code == 200
    assert not re.search(r"https?://|(?:src|href)=\"//", page)
    assert '"validatorUrl": null' in page
    assert 'url: "/schema"' in page.replace("\\u002D", "-").replace("\\u002F", "/")
    loaded = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert len(loaded) == 4
    for path in loaded:
        assert finders.find(path), path


def test_the_root_leads_to_the_page(client):
    response = client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/docs")
