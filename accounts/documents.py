"""What the API of accounts takes and gives."""

from typing import Annotated, Any, Literal

from pydantic import Field

from accounts.models import Organization, User
from accounts.quotas import quota_document, usage_document
from accounts.tokens import Pair
from common.schemas import Count, Document, ObjectId, Pagination, Timestamp
from common.times import isoformat, isoformat_or_none
from common.validation import StrictModel

# Bodies


class Credentials(StrictModel):
    username: Annotated[str, Field(min_length=1, max_length=150)]
    password: Annotated[str, Field(min_length=1, max_length=4096)]


class RefreshBody(StrictModel):
    refresh: Annotated[str, Field(min_length=1, max_length=4096)]


# Answers, for the API's description


class PairDocument(Document):
    access: str
    refresh: str


class ResourcesDocument(Document):
    vms: Count
    vcpus: Count
    ram_mb: Count = Field(alias="ramMB")
    disk_gb: Count = Field(alias="diskGB")
    gpus: Count
    mig_instances: Count


class MeDocument(Document):
    user_id: ObjectId
    username: str
    email: str
    org_id: ObjectId
    org_name: str
    role: Literal["viewer", "member", "admin"]
    is_operator: bool
    quota: ResourcesDocument
    usage: ResourcesDocument


class OrganizationDocument(Document):
    id: ObjectId = Field(alias="_id")
    name: str
    quota: ResourcesDocument
    usage: ResourcesDocument
    created_at: Timestamp


class OrganizationUserDocument(Document):
    user_id: ObjectId
    username: str
    email: str
    role: Literal["viewer", "member", "admin"]
    is_operator: bool
    is_active: bool
    last_login: Timestamp | None
    created_at: Timestamp


class OrganizationUsersDocument(Document):
    data: list[OrganizationUserDocument]
    pagination: Pagination


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
