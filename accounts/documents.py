"""What the API of accounts takes and gives."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from accounts.models import Organization, User
from accounts.quotas import quota_document, usage_document
from accounts.tokens import Pair
from common.times import isoformat, isoformat_or_none
from common.validation import StrictModel

# Bodies


class Credentials(StrictModel):
    username: Annotated[str, Field(min_length=1, max_length=150)]
    password: Annotated[str, Field(min_length=1, max_length=4096)]


class RefreshBody(StrictModel):
    refresh: Annotated[str, Field(min_length=1, max_length=4096)]


# Answers, for the API's description


class PairDocument(BaseModel):
    access: str
    refresh: str


class ResourcesDocument(BaseModel):
    vms: int
    vcpus: int
    ramMB: int  # noqa: N815 - the API's own name, as all below
    diskGB: int  # noqa: N815
    gpus: int
    migInstances: int  # noqa: N815


class MeDocument(BaseModel):
    userId: str  # noqa: N815
    username: str
    email: str
    orgId: str  # noqa: N815
    orgName: str  # noqa: N815
    role: Literal["viewer", "member", "admin"]
    isOperator: bool  # noqa: N815
    quota: ResourcesDocument
    usage: ResourcesDocument


class OrganizationDocument(BaseModel):
    id: str = Field(alias="_id")
    name: str
    quota: ResourcesDocument
    usage: ResourcesDocument
    createdAt: str  # noqa: N815


class OrganizationUserDocument(BaseModel):
    userId: str  # noqa: N815
    username: str
    email: str
    role: Literal["viewer", "member", "admin"]
    isOperator: bool  # noqa: N815
    isActive: bool  # noqa: N815
    lastLogin: str | None  # noqa: N815
    createdAt: str  # noqa: N815


class PaginationDocument(BaseModel):
    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815


class OrganizationUsersDocument(BaseModel):
    data: list[OrganizationUserDocument]
    pagination: PaginationDocument


# What they are made from


def pair_document(pair: Pair) -> dict[str, str]:
    return {"access": pair.access, "refresh": pair.refresh}


def me_document(user: User) -> dict[str, Any]:
    org = user.organization
    return {
        "userId": user.id,
        "username": user.get_username(),
        "email": user.email,
        "orgId": org.id,
        "orgName": org.name,
        "role": user.role,
        "isOperator": user.is_staff and user.is_active,
        "quota": quota_document(org),
        "usage": usage_document(org),
    }


def organization_document(org: Organization) -> dict[str, Any]:
    return {
        "_id": org.id,
        "name": org.name,
        "quota": quota_document(org),
        "usage": usage_document(org),
        "createdAt": isoformat(org.created_at),
    }


def member_document(user: User) -> dict[str, Any]:
    return {
        "userId": user.id,
        "username": user.get_username(),
        "email": user.email,
        "role": user.role,
        "isOperator": user.is_staff and user.is_active,
        "isActive": user.is_active,
        "lastLogin": isoformat_or_none(user.last_login),
        "createdAt": isoformat(user.date_joined),
    }
