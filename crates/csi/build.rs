//! Compiles the .proto files and writes the `Debug` implementations that hide secrets.
//!
//! Output in `OUT_DIR`: `csi.v1.rs` and `pluginregistration.rs` (messages, clients, servers),
//! `redacted_debug.rs` (one `Debug` for each message that has a `csi_secret` field), `decoders.rs`
//! and `descriptor.bin` (for the test that looks for secrets in all of them).

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use protox::prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
};

const FILES: [&str; 8] = [
    "csi/v1/options.proto",
    "csi/v1/identity.proto",
    "csi/v1/volume.proto",
    "csi/v1/controller.proto",
    "csi/v1/group.proto",
    "csi/v1/snapshot_metadata.proto",
    "csi/v1/node.proto",
    "pluginregistration/v1.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let pool = compiler.descriptor_pool();
    std::fs::write(
        out.join("descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    let secret = pool
        .get_extension_by_name("csi.v1.csi_secret")
        .ok_or("csi.v1.csi_secret is not declared")?;
    let messages = own_messages(&pool);
    let secretive: Vec<&MessageDescriptor> = messages
        .iter()
        .filter(|message| message.fields().any(|field| is_secret(&field, &secret)))
        .collect();
    write_debug(&out, &secretive, &secret)?;
    write_decoders(&out, &messages)?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .skip_debug(
            secretive
                .iter()
                .map(|message| format!(".{}", message.full_name())),
        )
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// All messages of our package, nested ones included, map entries left out.
fn own_messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.package_name() == "csi.v1" && !message.is_map_entry())
        .collect()
}

fn is_secret(field: &FieldDescriptor, secret: &ExtensionDescriptor) -> bool {
    field.options().get_extension(secret).as_bool() == Some(true)
}

fn write_debug(
    out: &Path,
    messages: &[&MessageDescriptor],
    secret: &ExtensionDescriptor,
) -> Result<(), Box<dyn Error>> {
    let mut code = String::new();
    for message in messages {
        if message.oneofs().next().is_some() || message.parent_message().is_some() {
            return Err(format!(
                "{}: a message with secrets that is nested or has a oneof needs support here",
                message.full_name()
            )
            .into());
        }
        let name = message.name();
        writeln!(code, "impl ::core::fmt::Debug for {name} {{")?;
        writeln!(
            code,
            "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{"
        )?;
        writeln!(code, "        f.debug_struct(\"{name}\")")?;
        for field in message.fields() {
            let field_name = field.name();
            let value = if !is_secret(&field, secret) {
                format!("self.{field_name}")
            } else if field.is_map() || field.is_list() {
                format!("crate::redacted::Redacted::entries(self.{field_name}.len())")
            } else {
                "crate::redacted::Redacted::value()".to_owned()
            };
            writeln!(code, "            .field(\"{field_name}\", &{value})")?;
        }
        writeln!(code, "            .finish()\n    }}\n}}\n")?;
    }
    std::fs::write(out.join("redacted_debug.rs"), code)?;
    Ok(())
}

/// A function from a message's name and encoded form to its `Debug` output.
fn write_decoders(out: &Path, messages: &[MessageDescriptor]) -> Result<(), Box<dyn Error>> {
    let mut code = String::from(
        "fn debug_of(message: &str, wire: &[u8]) -> Option<Result<String, prost::DecodeError>> {\n    \
         use prost::Message;\n    match message {\n",
    );
    for message in messages {
        let path = rust_path(message);
        writeln!(
            code,
            "        {:?} => Some(crate::v1::{path}::decode(wire).map(|m| format!(\"{{m:?}} {{m:#?}}\"))),",
            message.full_name()
        )?;
    }
    code.push_str("        _ => None,\n    }\n}\n");
    std::fs::write(out.join("decoders.rs"), code)?;
    Ok(())
}

/// Path of the generated type inside the package's module: parents become modules in snake case.
fn rust_path(message: &MessageDescriptor) -> String {
    let mut path = camel(message.name());
    let mut parent = message.parent_message();
    while let Some(outer) = parent {
        path = format!("{}::{path}", snake(outer.name()));
        parent = outer.parent_message();
    }
    path
}

/// `RPC` becomes `Rpc`, as in the generated code; all other names are in camel case already.
fn camel(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_uppercase()) {
        let mut letters = name.chars();
        letters
            .next()
            .into_iter()
            .chain(letters.map(|c| c.to_ascii_lowercase()))
            .collect()
    } else {
        name.to_owned()
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
