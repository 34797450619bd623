//! Reads the declarations of `src/*.rs` and writes their types in C.
//!
//! Understands what rustfmt makes of those files and nothing more; what it does not understand
//! makes the test fail, not pass.

use std::collections::BTreeMap;

/// All that a source file declares.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    /// Name and value of each constant, as C reads them.
    pub(crate) constants: BTreeMap<String, String>,
    /// Name and C type of each alias of a plain type.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Aliases of function pointers.
    pub(crate) function_aliases: Vec<Function>,
    /// Functions.
    pub(crate) functions: Vec<Function>,
    /// Structs: their fields with their Rust types.
    pub(crate) structs: BTreeMap<String, BTreeMap<String, String>>,
}

/// A function's C signature.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    result: String,
    parameters: Vec<String>,
}

impl Function {
    /// The C declaration of a pointer to such a function.
    pub(crate) fn pointer(&self, prefix: &str) -> String {
        let parameters = match self.parameters.as_slice() {
            [] => "void".to_owned(),
            some => some.join(", "),
        };
        format!("{} (*{prefix}_{})({parameters})", self.result, self.name)
    }

    /// Reads `(a: T, b: U) -> R`.
    fn read(name: &str, signature: &str) -> Self {
        let (parameters, result) = match signature.rsplit_once("->") {
            Some((parameters, result)) if result.trim_start().find(')').is_none() => {
                (parameters, c_type(result))
            }
            _ => (signature, "void".to_owned()),
        };
        let parameters = parameters.trim().strip_prefix('(').unwrap();
        let parameters = parameters.strip_suffix(')').unwrap();
        Self {
            name: name.to_owned(),
            result,
            parameters: parameter_types(parameters),
        }
    }
}

/// The C types of `a: T, b: Option<unsafe extern "C" fn(..) -> R>`; names may be missing.
fn parameter_types(parameters: &str) -> Vec<String> {
    let (mut depth, mut before, mut parts) = (0_i32, ' ', vec![String::new()]);
    for letter in parameters.chars() {
        match letter {
            '(' | '<' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(letter);
        }
        before = letter;
    }
    let parts = parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty());
    parts.map(|part| c_type(type_of(part))).collect()
}

/// The type of `name: type`, or of `type` alone.
fn type_of(part: &str) -> &str {
    match part.split_once(": ") {
        Some((name, rest)) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => rest,
        _ => part,
    }
}

/// A Rust type in C.
pub(crate) fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("{} const *", c_type(target));
    }
    if let Some(target) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(target));
    }
    if let Some(array) = rust.strip_prefix('[') {
        let (element, length) = array.strip_suffix(']').unwrap().split_once("; ").unwrap();
        return format!("{}[{length}]", c_type(element));
    }
    if let Some(signature) = function_pointer(rust) {
        let function = Function::read("", &signature);
        return function.pointer("").replace("(*_)", "(*)");
    }
    match rust.strip_prefix("libc::").unwrap_or(rust) {
        "c_int" => "int",
        "c_uint" => "unsigned int",
        "c_char" => "char",
        "c_uchar" => "unsigned char",
        "c_void" => "void",
        "timespec" => "struct timespec",
        "i64" => "int64_t",
        "u64" => "uint64_t",
        "u32" => "uint32_t",
        "u8" => "uint8_t",
        // `size_t`, `ssize_t`, `time_t`, `bool`, and our aliases, which are C's names.
        same => same,
    }
    .to_owned()
}

/// The signature inside `Option<unsafe extern "C" fn(..) -> R>` or without `Option`.
fn function_pointer(rust: &str) -> Option<String> {
    let rust = match rust.strip_prefix("Option<") {
        Some(inner) => inner
            .trim()
            .strip_suffix('>')?
            .trim_end()
            .trim_end_matches(','),
        None => rust,
    };
    rust.strip_prefix("unsafe extern \"C\" fn")
        .map(str::to_owned)
}

impl Declarations {
    pub(crate) fn read(source: &str) -> Self {
        let code: Vec<&str> = source
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("//"))
            .collect();
        // One line again for what rustfmt has broken.
        let code = code.join(" ").replace("( ", "(").replace(", )", ")");
        let mut all = Self::default();
        let foreign = code
            .split_once("unsafe extern \"C\" {")
            .map_or("", |(_, rest)| rest);
        for item in foreign.split("pub fn ").skip(1) {
            let (item, _rest) = item.split_once(';').unwrap();
            let (name, _signature) = item.split_once('(').unwrap();
            all.functions
                .push(Function::read(name, item.strip_prefix(name).unwrap()));
        }
        for item in code.split("pub const ").skip(1) {
            let (item, _rest) = item.split_once(';').unwrap();
            let (name, typed) = item.split_once(": ").unwrap();
            let (_type, value) = typed.split_once(" = ").unwrap();
            all.constants.insert(name.to_owned(), value.to_owned());
        }
        for item in code.split("pub type ").skip(1) {
            let (item, _rest) = item.split_once(';').unwrap();
            let (name, target) = item.split_once('=').unwrap();
            let (name, target) = (name.trim(), target.trim());
            match function_pointer(target) {
                Some(signature) => all.function_aliases.push(Function::read(name, &signature)),
                None => drop(all.aliases.insert(name.to_owned(), c_type(target))),
            }
        }
        for item in code.split("pub struct ").skip(1) {
            let (name, body) = item.split_once(" {").unwrap();
            let (body, _rest) = body.split_once('}').unwrap();
            let fields = body.split("pub ").skip(1).map(|field| {
                let (name, rust) = field.trim().split_once(": ").unwrap();
                (name.to_owned(), rust.trim_end_matches(',').to_owned())
            });
            all.structs.insert(name.to_owned(), fields.collect());
        }
        all
    }
}
