"""POST /resources"""

import pytest
from django.db import connection

from accounts.models import AuditEntry, Organization, Role
from nodes.models import Claim, Node
from resources import secrets
from resources.models import LogEntry, VirtualMachine, VmSecret
from tests.factories import (
    GpuFactory,
    NetworkFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
    static_network,
    vm_config,
)
from tests.guide import GUIDE_BODY

pytestmark = pytest.mark.django_db

GUIDE_CONFIG = GUIDE_BODY["config"]


def gpu_node(cards: int = 2, **fields) -> Node:
    node = NodeFactory(**fields)
    for number in range(cards):
        GpuFactory(node=node, device_id=f"GPU-{number}")
    return node


@pytest.mark.django_db(transaction=True)
def test_it_hashes_a_password_while_no_transaction_is_open(client_of, monkeypatch):
    protect, inside = secrets.protect, []

    def watched(config):
        inside.append(connection.in_atomic_block)
        return protect(config)

    monkeypatch.setattr(secrets, "protect", watched)
    body = create_body(NodeFactory(), config=vm_config(cloudInit={"password": "hunter22"}))
    client = client_of(UserFactory())
    for headers in ({}, {"HTTP_IDEMPOTENCY_KEY": "one"}):
        assert client.post("/resources", body, format="json", **headers).status_code == 201
    assert inside == [False, False]


def test_it_answers_the_guides_example_with_the_guides_document(client_of):
    user, node = UserFactory(), gpu_node()
    body = create_body(
        node, name="Dev VM Ubuntu 22.04", description="Development VM with GPU passthrough", config=GUIDE_CONFIG
    )

    answer = client_of(user).post("/resources", body, format="json")

    assert answer.status_code == 201
    document = answer.json()
    vm = VirtualMachine.objects.get()
    assert answer["Location"] == f"/resources/{vm.id}"
    created_at, updated_at = document.pop("createdAt"), document.pop("updatedAt")
    assert created_at == updated_at
    assert created_at.endswith("Z")
    assert len(created_at) == len("2025-12-03T10:00:00.000Z")
    assert document == {
        "_id": vm.id,
        "name": "Dev VM Ubuntu 22.04",
        "description": "Development VM with GPU passthrough",
        "resourceType": "virtual-machine",
        "nodeId": node.id,
        "status": "queued",
        "config": GUIDE_CONFIG,
        "owner": {"userId": user.id, "orgId": user.organization_id},
        "createdBy": user.id,
        "allowedActions": ["start", "edit", "delete"],
    }
    assert list(document["config"]) == list(GUIDE_CONFIG)


def test_it_reserves_what_the_vm_needs(client_of):
    user, node = UserFactory(), gpu_node()

    client_of(user).post("/resources", create_body(node, config=GUIDE_CONFIG), format="json")

    node.refresh_from_db()
    assert (node.used_vcpus, node.used_ram_mb, node.used_disk_gb) == (8, 32768, 100)
    organization = Organization.objects.get(pk=user.organization_id)
    assert (organization.used_vms, organization.used_vcpus, organization.used_gpus) == (1, 8, 2)
    keys = set(Claim.objects.values_list("key", flat=True))
    assert "ip:default:100:192.168.100.10" in keys
    assert len([key for key in keys if key.startswith("gpu:")]) == 16


def test_it_reads_twice_and_writes_each_row_once(client_of, django_assert_num_queries):
    body = create_body(NodeFactory(), config=vm_config(networkConfig=static_network("192.168.100.9")))
    client = client_of(UserFactory())

    # The node with its image, the network; quota, room, address, VM, log and audit trail between two of a savepoint.
    with django_assert_num_queries(2 + 6 + 2):
        assert client.post("/resources", body, format="json").status_code == 201


def test_it_writes_the_log_and_the_audit_trail(client_of):
    user = UserFactory()

    client_of(user).post("/resources", create_body(NodeFactory()), format="json")

    vm = VirtualMachine.objects.get()
    assert LogEntry.objects.filter(vm=vm).exists()
    entry = AuditEntry.objects.get(action="vm.create")
    assert (entry.actor_id, entry.object_id, entry.via) == (user.id, vm.id, "api")


def test_it_names_every_fault_at_once(client_of):
    body = create_body(NodeFactory(), config=vm_config(vcpus=0, ramMB=100, diskGB=5))
    del body["name"]
    body["config"]["networkConfig"] = {"mode": "bridge-vlan", "ipMode": "static"}
    body["config"]["gpuConfig"] = {"enabled": True, "mode": "passthrough"}
    body["surprise"] = 1

    answer = client_of(UserFactory()).post("/resources", body, format="json")

    assert answer.status_code == 400
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["code"] == "validation"
    messages = {fault["field"]: fault["message"] for fault in problem["errors"]}
    assert messages["name"] == "VM name is required"
    assert messages["config.vcpus"] == "Minimum 1 vCPU required"
    assert messages["config.ramMB"] == "Minimum 512 MB RAM required"
    assert messages["config.diskGB"] == "Minimum 10 GB disk required"
    assert messages["config.gpuConfig.deviceIds"] == "At least one GPU device required for passthrough mode"
    assert messages["config.networkConfig.ipAddress"] == "IP address required for static mode"
    assert "surprise" in messages
    assert not VirtualMachine.objects.exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.ADMIN])
def test_it_allows_those_who_may_write(client_of, role):
    answer = client_of(UserFactory(role=role)).post("/resources", create_body(NodeFactory()), format="json")

    assert answer.status_code == 201


def test_it_refuses_a_viewer(client_of):
    answer = client_of(UserFactory(role=Role.VIEWER)).post("/resources", create_body(NodeFactory()), format="json")

    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert not VirtualMachine.objects.exists()


def test_it_refuses_the_anonymous(client):
    answer = client.post("/resources", create_body(NodeFactory()), content_type="application/json")

    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"


def test_it_lets_an_operator_create_for_another_organization(client_of):
    organization = OrganizationFactory()

    answer = client_of(OperatorFactory()).post(
        "/resources", create_body(NodeFactory()), format="json", HTTP_X_ORG_ID=organization.id
    )

    assert answer.status_code == 201
    assert answer.json()["owner"]["orgId"] == organization.id


def test_it_does_not_let_a_member_create_for_another_organization(client_of):
    organization = OrganizationFactory()

    answer = client_of(UserFactory()).post(
        "/resources", create_body(NodeFactory()), format="json", HTTP_X_ORG_ID=organization.id
    )

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not VirtualMachine.objects.filter(organization=organization).exists()


def test_it_refuses_a_gpu_that_is_taken(client_of):
    node = gpu_node()
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-1"]}
    VirtualMachineFactory(node=node, config={"gpuConfig": gpu})
    user = UserFactory()

    answer = client_of(user).post("/resources", create_body(node, config=vm_config(gpuConfig=gpu)), format="json")

    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"
    assert "GPU-0" in answer.json()["detail"], "it says what is free"
    user.organization.refresh_from_db()
    assert user.organization.used_vms == 0, "nothing is left of the attempt"


def test_it_refuses_a_gpu_that_the_node_does_not_have(client_of):
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-9"]}

    answer = client_of(UserFactory()).post(
        "/resources", create_body(gpu_node(), config=vm_config(gpuConfig=gpu)), format="json"
    )

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].startswith("config.gpuConfig.deviceIds")


def test_it_names_the_faults_of_network_and_gpu_together_and_before_the_quota(client_of, settings):
    settings.OPEN_VLANS = False
    gpu = {"enabled": True, "mode": "mig", "migProfile": "7g.90gb"}
    network = {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 7}
    user = UserFactory(organization=OrganizationFactory(quota_vms=0))

    answer = client_of(user).post(
        "/resources",
        create_body(gpu_node(), config=vm_config(gpuConfig=gpu, networkConfig=network)),
        format="json",
    )

    assert answer.status_code == 400
    assert [(fault["field"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("config.networkConfig.vlanId", "not_found"),
        ("config.gpuConfig.migProfile", "not_found"),
    ]


@pytest.mark.parametrize(
    "gpu",
    [
        {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-9"]},
        {"enabled": True, "mode": "mig", "migProfile": "7g.141gb"},
    ],
)
def test_it_names_a_gpu_that_is_not_there_before_the_quota(client_of, gpu):
    user = UserFactory(organization=OrganizationFactory(quota_gpus=0, quota_mig_instances=0))
    body = create_body(gpu_node(), config=vm_config(gpuConfig=gpu))

    assert client_of(user).post("/resources", body, format="json").json()["code"] == "validation"


def test_it_places_mig_instances_until_the_card_is_full(client_of):
    node = gpu_node(cards=1)
    client = client_of(UserFactory())
    body = create_body(node, config=vm_config(gpuConfig={"enabled": True, "mode": "mig", "migProfile": "3g.20gb"}))

    codes = [client.post("/resources", body, format="json").status_code for _ in range(3)]

    assert codes == [201, 201, 409]
    placed = VirtualMachine.objects.values_list("allocated_gpu", flat=True)
    assert sorted(placed) == [["GPU-0:3g.20gb:0"], ["GPU-0:3g.20gb:4"]]


def test_it_refuses_an_address_that_is_taken(client_of):
    node = NodeFactory()
    VirtualMachineFactory(node=node, config={"networkConfig": static_network("192.168.100.10")})

    answer = client_of(UserFactory()).post(
        "/resources", create_body(node, config=vm_config(networkConfig=static_network("192.168.100.10"))), format="json"
    )

    assert answer.status_code == 409


def test_it_takes_the_same_address_in_another_segment(client_of):
    VirtualMachineFactory(config={"networkConfig": static_network("192.168.100.10")})
    elsewhere = NodeFactory(segment="elsewhere")

    answer = client_of(UserFactory()).post(
        "/resources",
        create_body(elsewhere, config=vm_config(networkConfig=static_network("192.168.100.10"))),
        format="json",
    )

    assert answer.status_code == 201


def test_it_hides_another_organizations_vlan(client_of):
    NetworkFactory(vlan_id=300, organizations=[OrganizationFactory()])
    config = vm_config(networkConfig={"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 300})

    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(), config=config), format="json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "config.networkConfig.vlanId"


def test_it_refuses_what_the_node_has_no_room_for(client_of):
    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(cap_vcpus=1)), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_it_refuses_a_node_in_maintenance(client_of):
    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(enabled=False)), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_it_refuses_what_the_quota_does_not_allow(client_of):
    user = UserFactory(organization=OrganizationFactory(quota_vcpus=1))

    answer = client_of(user).post("/resources", create_body(NodeFactory()), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
    assert answer.json()["quota"] == {"vcpus": {"limit": 1, "used": 0, "requested": 2}}


def test_it_refuses_an_image_that_the_node_does_not_have(client_of):
    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(images=("debian-12",))), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "unsupported")


def test_it_refuses_a_node_that_does_not_exist(client_of):
    body = {**create_body(NodeFactory()), "nodeId": "f" * 24}

    answer = client_of(UserFactory()).post("/resources", body, format="json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "nodeId"


def test_it_keeps_a_linux_password_as_a_hash_only(client_of):
    config = vm_config(cloudInit={"username": "ubuntu", "password": "correct horse battery"})

    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(), config=config), format="json")

    assert answer.status_code == 201
    assert "correct horse" not in answer.content.decode()
    assert "password" not in VirtualMachine.objects.get().config_json
    assert VmSecret.objects.get().value.startswith("$6$rounds=100000$")


def test_it_seals_a_windows_password(client_of):
    config = vm_config(osImage="windows-server-2022", cloudInit={"password": "correct horse battery"})

    client_of(UserFactory()).post("/resources", create_body(NodeFactory(), config=config), format="json")

    secret = VmSecret.objects.get()
    assert secret.kind == "sealed"
    assert "correct" not in secret.value


def test_it_does_not_store_the_rest_of_a_gpu_that_is_not_enabled(client_of):
    config = vm_config(gpuConfig={"enabled": False, "mode": "mig", "migProfile": "nonsense"})

    answer = client_of(UserFactory()).post("/resources", create_body(NodeFactory(), config=config), format="json")

    assert answer.json()["config"]["gpuConfig"] == {"enabled": False}


def test_it_replays_the_first_answer_for_one_idempotency_key(client_of):
    client, body = client_of(UserFactory()), create_body(NodeFactory())

    first = client.post("/resources", body, format="json", HTTP_IDEMPOTENCY_KEY="once")
    second = client.post("/resources", body, format="json", HTTP_IDEMPOTENCY_KEY="once")

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert VirtualMachine.objects.count() == 1
