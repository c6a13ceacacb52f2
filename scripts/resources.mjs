// Checks the custom resources among those on standard input, a list as JSON. The folder of the tools and a name
// for messages are given.
//
// For Istio and the Prometheus Operator, the checks are those that npm packages were generated with from the
// projects' own CustomResourceDefinitions. They let unknown fields pass, as a cluster would. So each field is
// given a value of no type for a moment: a field that is known is refused then. For Linkerd, there is no such
// package, and the fields that are used here are listed below.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [tools, name] = process.argv.slice(2);
const models = new URL("node_modules/@kubernetes-models/", pathToFileURL(`${tools}/`));

const TEXT = "";
const SELECTOR = { matchLabels: {} };
const REFERENCE = { group: TEXT, kind: TEXT, name: TEXT };
const LINKERD = {
  "policy.linkerd.io/v1beta3/Server": { podSelector: SELECTOR, port: TEXT, proxyProtocol: TEXT },
  "policy.linkerd.io/v1alpha1/MeshTLSAuthentication": { identityRefs: [{ kind: TEXT, name: TEXT }] },
  "policy.linkerd.io/v1alpha1/AuthorizationPolicy": {
    targetRef: REFERENCE,
    requiredAuthenticationRefs: [REFERENCE],
  },
};

const PACKAGES = {
  "networking.istio.io": "istio",
  "security.istio.io": "istio",
  "monitoring.coreos.com": "prometheus-operator",
};

// Each field below a value, with what it belongs to and its path.
function* fields(value, path = []) {
  if (value === null || typeof value !== "object") return;
  for (const key of Object.keys(value)) {
    yield [value, key, [...path, key].join(".")];
    yield* fields(value[key], [...path, key]);
  }
}

// What is not of a form: another type, or a field that it does not have, or not all of them.
function unlike(form, value, path = "spec") {
  if (typeof form === "string") return typeof value === "string" ? [] : [`${path} is not a string`];
  if (Array.isArray(form)) {
    if (!Array.isArray(value)) return [`${path} is not a list`];
    return value.flatMap((each, place) => unlike(form[0], each, `${path}.${place}`));
  }
  if (value === null || typeof value !== "object") return [`${path} is not an object`];
  // Labels have any names.
  if (Object.keys(form).length === 0) return [];
  const unknown = Object.keys(value).filter((key) => !(key in form)).map((key) => `${path}.${key} is unknown`);
  const missing = Object.keys(form).filter((key) => !(key in value)).map((key) => `${path}.${key} is missing`);
  const known = Object.keys(value).filter((key) => key in form);
  return [...unknown, ...missing, ...known.flatMap((key) => unlike(form[key], value[key], `${path}.${key}`))];
}

async function mistakes(resource) {
  const { apiVersion, kind } = resource;
  const form = LINKERD[`${apiVersion}/${kind}`];
  if (form) return unlike(form, resource.spec);
  const [group, version] = apiVersion.split("/");
  if (!(group in PACKAGES)) return [`${apiVersion} is not known`];
  const Model = (await import(new URL(`${PACKAGES[group]}/${group}/${version}/index.js`, models)))[kind];
  if (!Model) return [`${kind} is not a kind of ${apiVersion}`];
  const wrong = () => {
    try {
      new Model(resource).validate();
    } catch (error) {
      return error.message;
    }
  };
  const found = wrong();
  if (found) return [found];
  const unknown = [];
  for (const [owner, key, path] of fields(resource)) {
    const value = owner[key];
    owner[key] = Symbol("of no type");
    if (!wrong()) unknown.push(`${path} is unknown`);
    owner[key] = value;
  }
  return unknown;
}

// Those of Kubernetes itself have no group, or one without a dot or below k8s.io.
const isCustom = ({ apiVersion }) => /^[^/]*\./.test(apiVersion) && !/^[^/]*\.k8s\.io\//.test(apiVersion);

const resources = JSON.parse(readFileSync(0, "utf8"));
let failed = false;
for (const resource of resources.filter(isCustom)) {
  for (const mistake of await mistakes(resource)) {
    console.error(`scripts/manifests: ${name}: ${resource.kind}/${resource.metadata.name}: ${mistake}`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
