//! The descriptors of everything on this port, as reflection serves them.
//!
//! Besides the gateway's own, these are those of google.rpc, so that tools can show error details,
//! and those of the health service, with the `List` method that the library's copy lacks. Files
//! have their official names: a tool that has one of them already would otherwise see its symbols
//! twice, and refuse.

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// The names that libraries give to files, and the official ones.
const OFFICIAL: [(&str, &str); 5] = [
    ("error_details.proto", "google/rpc/error_details.proto"),
    ("status.proto", "google/rpc/status.proto"),
    ("health.proto", "grpc/health/v1/health.proto"),
    ("reflection_v1.proto", "grpc/reflection/v1/reflection.proto"),
    ("reflection_v1alpha.proto", "grpc/reflection/v1alpha/reflection.proto"),
];

/// The descriptor sets of everything on this port, encoded.
pub(crate) fn descriptors() -> Result<Vec<Vec<u8>>, prost::DecodeError> {
    Ok(vec![
        crate::pb::DESCRIPTOR_SET.to_vec(),
        official(tonic_types::pb::FILE_DESCRIPTOR_SET)?.encode_to_vec(),
        health()?,
        official(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)?.encode_to_vec(),
        official(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)?.encode_to_vec(),
    ])
}

/// A descriptor set with the official names of its files.
fn official(set: &[u8]) -> Result<FileDescriptorSet, prost::DecodeError> {
    let mut set = FileDescriptorSet::decode(set)?;
    for file in &mut set.file {
        for name in file.name.iter_mut().chain(&mut file.dependency) {
            if let Some((_, official)) = OFFICIAL.iter().find(|(own, _)| own == name) {
                (*official).clone_into(name);
            }
        }
    }
    Ok(set)
}

fn health() -> Result<Vec<u8>, prost::DecodeError> {
    let mut set = official(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
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
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_reflect::DescriptorPool;
    use prost_types::FileDescriptorSet;

    #[test]
    fn files_have_their_official_names_and_everything_that_they_import() {
        let sets = super::descriptors().unwrap();
        let sets = sets.iter().map(|set| FileDescriptorSet::decode(set.as_slice()).unwrap());
        let files: Vec<_> = sets.flat_map(|set| set.file).collect();
        let names: BTreeSet<&str> = files.iter().map(|file| file.name()).collect();
        for file in &files {
            let folder = file.package().replace('.', "/");
            let (found, _) = file.name().rsplit_once('/').unwrap();
            assert_eq!(found, folder, "{}", file.name());
            for import in &file.dependency {
                assert!(names.contains(import.as_str()), "{} imports {import}", file.name());
            }
        }
        for (_, name) in super::OFFICIAL {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn the_health_descriptors_with_list_are_valid() {
        let bytes = super::health().unwrap();
        let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
        let health = pool.get_service_by_name("grpc.health.v1.Health").unwrap();
        let list = health.methods().find(|method| method.name() == "List").unwrap();
        assert!(list.output().get_field_by_name("statuses").unwrap().is_map());
    }
}
