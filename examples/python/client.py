"""Lists profiles, creates one with a mistake in it, decodes what the gateway says of that, and creates
and deletes a sound one.

    python3 -m venv target/venv
    target/venv/bin/pip install -r examples/python/requirements.txt
    target/venv/bin/python examples/python/client.py 127.0.0.1:50051

With a path in CA_FILE it speaks TLS with servers of that authority, and with CERT_FILE and KEY_FILE it
shows a certificate of its own. With a path in TOKEN_FILE it sends the token in that file with each call.

Ends with 1 when a call failed that should not have.
"""

import os
import sys
import tempfile
import time
import uuid
from importlib import import_module, resources
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]


def stubs():
    """Generates the stubs from the contract of this repository and imports them."""
    proto = ROOT / "proto"
    files = [str(path.relative_to(proto)) for path in sorted(proto.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as out:
        include = str(resources.files("grpc_tools") / "_proto")
        command = ["protoc", f"-I{proto}", f"-I{include}", f"--python_out={out}"]
        if protoc.main([*command, f"--grpc_python_out={out}", *files]) != 0:
            sys.exit("the stubs cannot be generated")
        sys.path.insert(0, out)
        package = "profilegateway.v1"
        names = ["profile_pb2", "profile_service_pb2", "profile_service_pb2_grpc"]
        return [import_module(f"{package}.{name}") for name in names]


def read(variable):
    """The file that a variable of the environment names, if it is set."""
    path = os.environ.get(variable)
    return Path(path).read_bytes() if path else None


def connect(address, options):
    ca = read("CA_FILE")
    if not ca:
        return grpc.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(ca, read("KEY_FILE"), read("CERT_FILE"))
    token = read("TOKEN_FILE")
    if token:
        # Only over TLS: the library does not send a token in the clear.
        of_calls = grpc.access_token_call_credentials(token.decode().strip())
        credentials = grpc.composite_channel_credentials(credentials, of_calls)
    return grpc.secure_channel(address, credentials, options=options)


def explain(method, error):
    print(f"{method}: {error.code().name}: {error.details()}")
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            print(f"  reason {info.reason}")
        elif detail.Unpack(bad):
            for violation in bad.field_violations:
                print(f"  field {violation.field}: {violation.description}")


def main(address):
    profile_pb, service_pb, service_grpc = stubs()
    # The service config has reads sent again when they meet UNAVAILABLE, and never a write.
    config = (ROOT / "examples" / "service_config.json").read_text()
    options = [("grpc.service_config", config), ("grpc.enable_retries", 1)]
    with connect(address, options) as channel:
        client = service_grpc.ProfileServiceStub(channel)
        failed = False

        def attempt(method, request):
            nonlocal failed
            try:
                return getattr(client, method)(request, timeout=30)
            except grpc.RpcError as error:
                explain(method, error)
                failed = True

        request = service_pb.ListProfilesRequest(parent="backends/sft", page_size=3)
        page = attempt("ListProfiles", request)
        for profile in page.profiles if page else []:
            print(f"{profile.name}: {profile.display_name}")

        profile = profile_pb.Profile(
            display_name=f"Made with Python {time.time_ns()}",
            state="STATE_ACTIVE",
            category="CATEGORY_BASE",
            radio_access=["RADIO_ACCESS_4G"],
            services=[{"type": "SERVICE_TYPE_DATA"}],
        )
        order = service_pb.CreateProfileRequest(parent="backends/sft", profile=profile)
        try:
            client.CreateProfile(order, timeout=30)
        except grpc.RpcError as error:
            explain("CreateProfile", error)

        # SFT has 4G only together with what came before it. With a request id, a client
        # that does not know whether the create arrived may repeat it.
        radio_access = ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G", "RADIO_ACCESS_4G"]
        order.profile.radio_access[:] = map(profile_pb.RadioAccess.Value, radio_access)
        order.request_id = str(uuid.uuid4())
        created = attempt("CreateProfile", order)
        if created:
            print(f"created {created.name}")
            delete = service_pb.DeleteProfileRequest(name=created.name)
            if attempt("DeleteProfile", delete) is not None:
                print(f"deleted {created.name}")
        return failed


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:2] or ["127.0.0.1:50051"])))
