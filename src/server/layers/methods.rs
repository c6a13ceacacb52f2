//! The gRPC methods, read from the descriptors that reflection serves.
//!
//! They limit the labels of metrics, and tell streams from unary calls and probes' calls from
//! callers'. Nothing is routed here.

use std::{collections::HashMap, sync::Arc};

use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodOptions, method_options::IdempotencyLevel,
};

use crate::{
    auth::{RIGHT_TO_VALIDATE, Right, right_of},
    model::method::Method as Rpc,
};

/// Largest message to health and reflection, also when it is decompressed: names are shorter by
/// far.
pub(in crate::server) const MAX_PROBE_BYTES: usize = 4 * 1024;

/// A method as the layers see it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// `package.Service/Method`, or `unknown`.
    pub label: String,
    /// `Method`, or empty.
    pub name: String,
    /// Its response is a stream.
    pub streaming: bool,
    /// Its request is a stream.
    pub client_streaming: bool,
    /// Health or reflection: called by probes and tools, not by callers.
    pub probe: bool,
    /// It changes nothing: its `idempotency_level` is `NO_SIDE_EFFECTS`.
    pub reads: bool,
    /// What its caller needs, where callers have to prove who they are.
    pub needed: Needed,
}

/// What a caller of a method needs, where callers have to prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Nothing: it is for probes, which have no credentials.
    Nothing,
    /// To prove who it is.
    Proof,
    /// The same, unless the configuration opens it for everyone.
    ProofUnlessOpened,
    /// One of these rights in some backend.
    Rights(&'static [Right]),
}

impl Needed {
    fn by(package: &str, service: &str, name: &str) -> Self {
        const HEALTH: &str = "grpc.health.v1";
        match (package, service) {
            (HEALTH, _) => Self::Nothing,
            (_, "ServerReflection") => Self::ProofUnlessOpened,
            _ => Rpc::of_name(name).map_or(Self::Proof, |method| Self::Rights(enough(method))),
        }
    }
}

/// The rights of which one is enough to have a request of this method looked at. Who may only check
/// a write may send one that is only checked.
fn enough(method: Rpc) -> &'static [Right] {
    match right_of(method) {
        Right::Read => &[Right::Read],
        Right::Fresh => &[Right::Fresh],
        Right::Preview => &[Right::Preview],
        Right::Write => &[Right::Write, RIGHT_TO_VALIDATE],
        Right::Delete => &[Right::Delete, RIGHT_TO_VALIDATE],
        Right::Admin => &[Right::Admin],
    }
}

impl Method {
    /// Whether its calls are for backends.
    pub(crate) fn is_of_backends(&self) -> bool {
        matches!(self.needed, Needed::Rights(_)) && self.name != Rpc::ListBackends.name()
    }

    /// Stands for every method that is not described.
    fn unknown() -> Self {
        Self {
            label: "unknown".to_owned(),
            name: String::new(),
            streaming: false,
            client_streaming: true,
            probe: false,
            reads: false,
            needed: Needed::Proof,
        }
    }
}

/// All methods, by `:path`.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    unknown: Arc<Method>,
}

impl Methods {
    /// The methods of the given descriptor sets.
    pub(crate) fn new(sets: &[Vec<u8>]) -> Result<Self, prost::DecodeError> {
        let mut by_path = HashMap::new();
        for set in sets {
            let set = FileDescriptorSet::decode(set.as_slice())?;
            by_path.extend(set.file.iter().flat_map(methods_of));
        }
        Ok(Self { by_path, unknown: Arc::new(Method::unknown()) })
    }

    /// Each method with its path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Method>)> {
        self.by_path.iter().map(|(path, method)| (path.as_str(), method))
    }

    /// Stands for every method that is not described.
    pub(crate) fn unknown(&self) -> &Arc<Method> {
        &self.unknown
    }
}

fn methods_of(file: &FileDescriptorProto) -> Vec<(String, Arc<Method>)> {
    let package = file.package();
    let probe = package.starts_with("grpc.");
    let mut methods = Vec::new();
    for service in &file.service {
        for method in &service.method {
            let label = format!("{package}.{}/{}", service.name(), method.name());
            let path = format!("/{label}");
            let name = method.name().to_owned();
            let streaming = method.server_streaming();
            let client_streaming = method.client_streaming();
            let level = method.options.as_ref().map(MethodOptions::idempotency_level);
            let reads = probe || level == Some(IdempotencyLevel::NoSideEffects);
            let needed = Needed::by(package, service.name(), method.name());
            let method = Method { label, name, streaming, client_streaming, probe, reads, needed };
            methods.push((path, Arc::new(method)));
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_described_methods_have_a_name() {
        let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
        let find = |path: &str| methods.by_path.get(path);
        let get = find("/profilegateway.v1.ProfileService/GetProfile").unwrap();
        assert_eq!(get.label, "profilegateway.v1.ProfileService/GetProfile");
        assert_eq!((get.name.as_str(), get.streaming, get.probe), ("GetProfile", false, false));
        assert!(get.reads);
        assert!(!find("/profilegateway.v1.ProfileService/CreateProfile").unwrap().reads);
        assert!(find("/profilegateway.v1.ProfileService/WatchProfiles").unwrap().streaming);
        assert_eq!(find("/profilegateway.v1.ProfileService/Nope"), None);
        assert_eq!(methods.unknown().label, "unknown");
    }

    // What is new in the proto needs a right before it is served.
    #[test]
    fn every_method_of_the_services_needs_a_right() {
        let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
        let ours = methods.iter().filter(|(path, _)| path.starts_with("/profilegateway."));
        let mut count = 0;
        for (path, method) in ours {
            assert!(matches!(method.needed, Needed::Rights(_)), "{path}: {:?}", method.needed);
            count += 1;
        }
        assert_eq!(count, Rpc::ALL.len());
    }
}
