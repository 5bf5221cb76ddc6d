"""Tokens, the caller, and the caller's organization."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import documents, queries, tokens
from accounts.actors import Actor
from accounts.authentication import owning_org
from accounts.throttling import AddressThrottle
from common.openapi import PAGE, request_header
from common.paging import pagination_document, parse_page
from common.schemas import OBJECT_ID
from common.validation import parse

_NO_STORE = {"Cache-Control": "no-store"}
_ORGANIZATION = request_header(
    "X-Org-Id", {"type": "string", "pattern": OBJECT_ID}, "For operators: another organization than their own."
)


class TokenView(ViewSet):
    """Log-in and its tokens. The answers are never to be stored."""

    # None: a client that sends its expired access token along must still be able to get a new one.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)

    @extend_schema(
        operation_id="logIn",
        summary="Log in",
        tags=["Accounts"],
        request=documents.Credentials,
        responses={200: documents.PairDocument},
        auth=[],
    )
    def create(self, request: Request) -> Response:
        body = parse(documents.Credentials, request.data)
        user = queries.user_by_password(request._request, body.username, body.password)
        return Response(documents.pair_document(tokens.issue(user)), headers=_NO_STORE)

    @extend_schema(
        operation_id="rotateRefreshToken",
        summary="Rotate a refresh token",
        tags=["Accounts"],
        request=documents.RefreshBody,
        responses={200: documents.PairDocument},
        auth=[],
    )
    def refresh(self, request: Request) -> Response:
        body = parse(documents.RefreshBody, request.data)
        return Response(documents.pair_document(tokens.refresh(body.refresh)), headers=_NO_STORE)

    @extend_schema(
        operation_id="revokeRefreshToken",
        summary="Revoke a refresh token",
        tags=["Accounts"],
        request=documents.RefreshBody,
        responses={204: None},
        auth=[],
    )
    def revoke(self, request: Request) -> Response:
        body = parse(documents.RefreshBody, request.data)
        tokens.revoke(body.refresh)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_NO_STORE)


class MeView(ViewSet):
    @extend_schema(operation_id="getMe", summary="Who I am", tags=["Accounts"], responses={200: documents.MeDocument})
    def retrieve(self, request: Request) -> Response:
        return Response(documents.me_document(queries.me(_actor(request))))


class OrganizationView(ViewSet):
    @extend_schema(
        operation_id="getOrganization",
        summary="My organization",
        tags=["Accounts"],
        parameters=[_ORGANIZATION],
        responses={200: documents.OrganizationDocument},
    )
    def retrieve(self, request: Request) -> Response:
        return Response(documents.organization_document(queries.organization(_org_id(request))))

    @extend_schema(
        operation_id="listUsers",
        summary="Its users",
        description="For admins of the organization and operators.",
        tags=["Accounts"],
        parameters=[_ORGANIZATION, *PAGE],
        responses={200: documents.OrganizationUsersDocument},
    )
    def users(self, request: Request) -> Response:
        page = parse_page(request.query_params)
        total, users = queries.members(_actor(request), _org_id(request), page)
        data: list[dict[str, Any]] = [documents.member_document(user) for user in users]
        return Response({"data": data, "pagination": pagination_document(total, page)})


def _actor(request: Request) -> Actor:
    return cast(Actor, request.user)


def _org_id(request: Request) -> str:
    return owning_org(_actor(request), request.headers.get("X-Org-Id"))
