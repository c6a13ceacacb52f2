//! What `grpc.reflection` serves: the descriptors of everything on this port.
//!
//! Besides the gateway's own, these are those of google.rpc, so that tools can show error details,
//! and those of the health service, with the `List` method that the library's copy lacks.

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use tonic::codec::CompressionEncoding;
use tonic_reflection::server::{Builder, Error};

use crate::server::routes::Routes;

/// The descriptor sets of everything on this port, encoded.
pub(crate) fn descriptors() -> Result<Vec<Vec<u8>>, prost::DecodeError> {
    Ok(vec![
        crate::pb::DESCRIPTOR_SET.to_vec(),
        tonic_types::pb::FILE_DESCRIPTOR_SET.to_vec(),
        health()?,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET.to_vec(),
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET.to_vec(),
    ])
}

/// Adds both versions of the reflection service.
pub(crate) fn add(routes: Routes, descriptors: &[Vec<u8>]) -> Result<Routes, Error> {
    let builder = || {
        let empty = Builder::configure().include_reflection_service(false);
        descriptors
            .iter()
            .fold(empty, |builder, set| builder.register_encoded_file_descriptor_set(set))
    };
    let (v1, v1alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
    // Clients that compress all their requests compress these too.
    let gzip = CompressionEncoding::Gzip;
    Ok(routes.with(v1.accept_compressed(gzip)).with(v1alpha.accept_compressed(gzip)))
}

fn health() -> Result<Vec<u8>, prost::DecodeError> {
    let mut set = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        for service in &mut file.service {
            let listed = service.method.iter().any(|method| method.name() == "List");
            if service.name() != "Health" || listed {
                continue;
            }
            service.method.push(MethodDescriptorProto {
                name: Some("List".to_owned()),
                input_type: Some(".grpc.health.v1.HealthListRequest".to_owned()),
                output_type: Some(".grpc.health.v1.HealthListResponse".to_owned()),
                ..Default::default()
            });
            file.message_type.push(message("HealthListRequest", Vec::new()));
            file.message_type.push(list_response());
        }
    }
    Ok(set.encode_to_vec())
}

// A map is a repeated field of a nested message that is marked as a map's entry.
fn list_response() -> DescriptorProto {
    const ENTRY: &str = ".grpc.health.v1.HealthListResponse.StatusesEntry";
    const VALUE: &str = ".grpc.health.v1.HealthCheckResponse";
    let mut entry = message(
        "StatusesEntry",
        vec![
            field("key", 1, Label::Optional, Type::String, None),
            field("value", 2, Label::Optional, Type::Message, Some(VALUE)),
        ],
    );
    entry.options = Some(MessageOptions { map_entry: Some(true), ..Default::default() });
    let statuses = field("statuses", 1, Label::Repeated, Type::Message, Some(ENTRY));
    let mut response = message("HealthListResponse", vec![statuses]);
    response.nested_type.push(entry);
    response
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..Default::default() }
}

fn field(
    name: &str,
    number: i32,
    label: Label,
    kind: Type,
    of: Option<&str>,
) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        json_name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    #[test]
    fn the_health_descriptors_with_list_are_valid() {
        let bytes = super::health().unwrap();
        let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
        let health = pool.get_service_by_name("grpc.health.v1.Health").unwrap();
        let list = health.methods().find(|method| method.name() == "List").unwrap();
        assert!(list.output().get_field_by_name("statuses").unwrap().is_map());
    }
}
