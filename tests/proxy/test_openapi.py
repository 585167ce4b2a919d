"""The OpenAPI document knows every call of the admin port, and every reference in it leads somewhere."""

import json
import re
from typing import Any

import pytest

from proxy.admin.openapi import BODIES, WITHOUT_BODY, document
from proxy.app import admin_routes

ROUTES = admin_routes()
DOCUMENT = document(ROUTES, "1.2.3")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_call_is_described(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert operation["summary"].endswith((".", "?", ":")), "a docstring tells what a call does"
    assert [p["name"] for p in operation["parameters"]] == re.findall(r"{(\w+)}", route.path)
    if route.method in ("POST", "PUT", "PATCH"):
        name = route.handler.__name__
        assert (name in BODIES) != (name in WITHOUT_BODY), f"say in proxy.admin.openapi what {name} takes"
    else:
        assert "requestBody" not in operation


def test_bodies_are_of_calls_that_exist() -> None:
    assert {*BODIES, *WITHOUT_BODY} <= {route.handler.__name__ for route in ROUTES}  # type: ignore[attr-defined]


def test_references_lead_somewhere() -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references
    assert references <= set(DOCUMENT["components"]["schemas"])


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
