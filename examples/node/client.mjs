// Lists profiles, creates one with a mistake in it, decodes what the gateway says of that, and creates
// and deletes a sound one.
//
//     npm install --no-package-lock --prefix examples/node
//     node examples/node/client.mjs 127.0.0.1:50051
//
// With a path in CA_FILE it speaks TLS with servers of that authority, and with CERT_FILE and KEY_FILE it
// shows a certificate of its own. With a path in TOKEN_FILE it sends the token in that file with each call.
//
// Ends with 1 when a call failed that should not have.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Metadata, credentials, loadPackageDefinition, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import protobuf from "protobufjs";

const [address = "127.0.0.1:50051"] = process.argv.slice(2);
const file = (path) => fileURLToPath(new URL(path, import.meta.url));

// The contract, as it is in this repository: nothing has to be generated.
const { profilegateway } = loadPackageDefinition(
  loadSync("profilegateway/v1/profile_service.proto", {
    includeDirs: [file("../../proto")],
    enums: String,
    longs: String,
  }),
);

// The file that a variable of the environment names, if it is set.
const read = (variable) => (process.env[variable] ? readFileSync(process.env[variable]) : null);

function channelCredentials() {
  const ca = read("CA_FILE");
  if (!ca) return credentials.createInsecure();
  const secured = credentials.createSsl(ca, read("KEY_FILE"), read("CERT_FILE"));
  const token = read("TOKEN_FILE")?.toString().trim();
  if (!token) return secured;
  // Only over TLS: the library does not send a token in the clear.
  const withToken = credentials.createFromMetadataGenerator((_, callback) => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    callback(null, metadata);
  });
  return credentials.combineChannelCredentials(secured, withToken);
}

// The service config has reads sent again when they meet UNAVAILABLE, and never a write.
const client = new profilegateway.v1.ProfileService(address, channelCredentials(), {
  "grpc.service_config": readFileSync(file("../service_config.json"), "utf8"),
});

// What comes with an error, of google/rpc/status.proto and google/rpc/error_details.proto.
const rpc = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message BadRequest {
    message FieldViolation { string field = 1; string description = 2; }
    repeated FieldViolation field_violations = 1;
  }
`).root;

function details(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!bytes) return [];
  const { details } = rpc.lookupType("google.rpc.Status").decode(bytes);
  const known = ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"];
  return details.flatMap(({ type_url, typeUrl = type_url, value }) => {
    const name = typeUrl.split("/").pop();
    return known.includes(name) ? [{ name, ...rpc.lookupType(name).decode(value) }] : [];
  });
}

function explain(method, error) {
  console.log(`${method}: ${status[error.code]}: ${error.details}`);
  for (const detail of details(error)) {
    if (detail.name === "google.rpc.ErrorInfo") console.log(`  reason ${detail.reason}`);
    if (detail.name === "google.rpc.RetryInfo") console.log("  may be tried again");
    for (const { field, description } of detail.fieldViolations ?? []) {
      console.log(`  field ${field}: ${description}`);
    }
  }
}

function call(method, request) {
  // A deadline of the caller's own; the service config has one for those who give none.
  const deadline = Date.now() + 30_000;
  return new Promise((resolve, reject) => {
    const answered = (error, answer) => (error ? reject(error) : resolve(answer));
    client[method](request, new Metadata(), { deadline }, answered);
  });
}

async function attempt(method, request) {
  try {
    return await call(method, request);
  } catch (error) {
    explain(method, error);
    process.exitCode = 1;
    return undefined;
  }
}

const list = await attempt("ListProfiles", { parent: "backends/sft", pageSize: 3 });
for (const { name, displayName } of list?.profiles ?? []) console.log(`${name}: ${displayName}`);

const profile = {
  displayName: `Made with Node ${Date.now()}`,
  state: "STATE_ACTIVE",
  category: "CATEGORY_BASE",
  radioAccess: ["RADIO_ACCESS_4G"],
  services: [{ type: "SERVICE_TYPE_DATA" }],
};
try {
  await call("CreateProfile", { parent: "backends/sft", profile });
} catch (error) {
  explain("CreateProfile", error);
}

// SFT has 4G only together with what came before it. With a request id, a client that does not
// know whether the create arrived may repeat it.
profile.radioAccess = ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G", "RADIO_ACCESS_4G"];
const order = { parent: "backends/sft", profile, requestId: randomUUID() };
const created = await attempt("CreateProfile", order);
if (created) {
  console.log(`created ${created.name}`);
  if (await attempt("DeleteProfile", { name: created.name })) console.log(`deleted ${created.name}`);
}
client.close();
