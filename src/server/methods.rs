//! Which gRPC methods there are, read from the descriptors that reflection serves.
//!
//! Bounds the metrics' labels, and tells streams from unary calls and calls that probes make from
//! those that callers make. Routes nothing.

use std::{collections::HashMap, sync::Arc};

use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodOptions, method_options::IdempotencyLevel,
};

/// A method as the layers see it; travels in a request's extensions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// `package.Service/Method`, or `unknown`.
    pub label: String,
    /// `Method`, or nothing.
    pub name: String,
    /// Its answer is a stream.
    pub streaming: bool,
    /// Health or reflection: asked by probes and tools, not by callers.
    pub probe: bool,
    /// It surely changes nothing: its `idempotency_level` is `NO_SIDE_EFFECTS`.
    pub reads: bool,
}

impl Method {
    /// Stands for every method that is not described.
    fn unknown() -> Self {
        Self {
            label: "unknown".to_owned(),
            name: String::new(),
            streaming: false,
            probe: false,
            reads: false,
        }
    }

    /// The method of a request that came through the access layer.
    pub(super) fn of<B>(request: &http::Request<B>) -> Arc<Self> {
        request.extensions().get().cloned().unwrap_or_else(|| Arc::new(Self::unknown()))
    }
}

/// All methods, by `:path`.
#[derive(Debug, Clone)]
pub(super) struct Methods {
    by_path: Arc<HashMap<String, Arc<Method>>>,
    unknown: Arc<Method>,
}

impl Methods {
    /// The methods of the given descriptor sets.
    pub(super) fn new(sets: &[Vec<u8>]) -> Result<Self, prost::DecodeError> {
        let mut by_path = HashMap::new();
        for set in sets {
            let set = FileDescriptorSet::decode(set.as_slice())?;
            by_path.extend(set.file.iter().flat_map(methods_of));
        }
        Ok(Self { by_path: Arc::new(by_path), unknown: Arc::new(Method::unknown()) })
    }

    /// The method of a path; one that stands for all others when there is none.
    pub(super) fn find(&self, path: &str) -> Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.unknown).clone()
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
            let level = method.options.as_ref().map(MethodOptions::idempotency_level);
            let reads = probe || level == Some(IdempotencyLevel::NoSideEffects);
            methods.push((path, Arc::new(Method { label, name, streaming, probe, reads })));
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
        let get = methods.find("/profilegateway.v1.ProfileService/GetProfile");
        assert_eq!(get.label, "profilegateway.v1.ProfileService/GetProfile");
        assert_eq!((get.name.as_str(), get.streaming, get.probe), ("GetProfile", false, false));
        assert!(get.reads);
        assert!(!methods.find("/profilegateway.v1.ProfileService/CreateProfile").reads);
        assert!(methods.find("/profilegateway.v1.ProfileService/WatchProfiles").streaming);
        assert_eq!(methods.find("/profilegateway.v1.ProfileService/Nope").label, "unknown");
        assert_eq!(methods.find("").label, "unknown");
    }
}
