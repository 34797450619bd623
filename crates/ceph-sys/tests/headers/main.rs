//! The declarations are those of the installed C headers.
//!
//! The sources are read, each declaration is written again in C next to the real headers, and the
//! C compiler is asked whether the two agree: every function's signature, every struct's size,
//! field offsets and field types, every alias, every constant. Nothing has to be listed here, so
//! nothing can be forgotten.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "the helpers of tests fail the test, and this one runs the C compiler"
)]

mod declarations;

use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::{offset_of, size_of};
use std::process::{Command, Stdio};

use ceph_sys::rbd;
use declarations::{Declarations, c_type};

const RADOS: &str = include_str!("../../src/rados.rs");
const RBD: &str = include_str!("../../src/rbd.rs");
const LATE: &str = include_str!("../../src/late.rs");
const CEPHFS: &str = include_str!("../../src/cephfs.rs");

/// The tags become names, as Rust has them.
const INCLUDES: &str = "#define _FILE_OFFSET_BITS 64\n\
    #include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\
    #include <time.h>\n#include <rados/librados.h>\n#include <rbd/librbd.h>\n\
    #include <cephfs/libcephfs.h>\n#include <dirent.h>\n\
    typedef struct ceph_mount_info ceph_mount_info;\n\
    typedef struct ceph_dir_result ceph_dir_result;\n\
    typedef struct dirent dirent;\n";

/// Runs the C compiler on a text; answers its output, or its complaints.
fn compile(mode: &str, text: &str) -> Result<String, String> {
    let mut compiler = Command::new("cc")
        .args(["-x", "c", "-std=gnu11", "-Wno-deprecated-declarations"])
        .args([
            "-Werror=incompatible-pointer-types",
            "-Werror=int-conversion",
        ])
        .args([
            "-Werror=implicit-function-declaration",
            mode,
            "-o",
            "-",
            "-",
        ])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no C compiler `cc`: {error}; run `make setup`"));
    compiler
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = compiler.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The headers as the compiler sees them.
fn headers() -> String {
    compile("-E", INCLUDES).unwrap_or_else(|complaint| {
        panic!("Ceph's C headers are missing: run `make setup`\n{complaint}")
    })
}

/// The C text that holds only if the declarations are right.
fn checks(declarations: &Declarations) -> String {
    let mut text = INCLUDES.to_owned();
    for (name, value) in &declarations.constants {
        writeln!(text, "_Static_assert({name} == ({value}), \"{name}\");").unwrap();
    }
    for (name, target) in &declarations.aliases {
        writeln!(
            text,
            "_Static_assert(_Generic(({name})0, {target}: 1, default: 0), \"{name}\");"
        )
        .unwrap();
    }
    for function in &declarations.function_aliases {
        writeln!(
            text,
            "{} = ({})0;",
            function.pointer("alias"),
            function.name
        )
        .unwrap();
    }
    for function in &declarations.functions {
        writeln!(text, "{} = {};", function.pointer("check"), function.name).unwrap();
    }
    text
}

/// Size, offsets and field types of one struct.
macro_rules! layout {
    ($text:ident, $declarations:ident, $name:ident { $($field:ident),* }) => {
        let (name, size) = (stringify!($name), size_of::<rbd::$name>());
        let fields = $declarations.structs.get(name).unwrap();
        assert_eq!(fields.len(), [$(stringify!($field)),*].len(), "{name}");
        writeln!($text, "_Static_assert(sizeof({name}) == {size}, \"{name}\");").unwrap();
        $(
            let (field, offset) = (stringify!($field), offset_of!(rbd::$name, $field));
            writeln!(
                $text,
                "_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");\n\
                 _Static_assert(__builtin_types_compatible_p(__typeof__((({name} *)0)->{field}), \
                 __typeof__({})), \"type of {name}.{field}\");",
                c_type(fields.get(field).unwrap())
            )
            .unwrap();
        )*
    };
}

fn layouts(declarations: &Declarations) -> String {
    let mut text = INCLUDES.to_owned();
    layout!(
        text,
        declarations,
        rbd_image_info_t {
            size,
            obj_size,
            num_objs,
            order,
            block_name_prefix,
            parent_pool,
            parent_name
        }
    );
    layout!(text, declarations, rbd_image_spec_t { id, name });
    layout!(
        text,
        declarations,
        rbd_trash_image_info_t {
            id,
            name,
            source,
            deletion_time,
            deferment_end_time
        }
    );
    layout!(text, declarations, rbd_image_watcher_t { addr, id, cookie });
    layout!(text, declarations, rbd_snap_info_t { id, size, name });
    text
}

fn both() -> [Declarations; 2] {
    [Declarations::read(RADOS), Declarations::read(RBD)]
}

#[test]
fn functions_aliases_and_constants_are_those_of_the_headers() {
    headers();
    for declarations in both() {
        if let Err(complaint) = compile("-S", &checks(&declarations)) {
            panic!("a declaration differs from the header:\n{complaint}");
        }
    }
}

#[test]
fn structs_are_those_of_the_headers() {
    headers();
    let declarations = Declarations::read(RBD);
    assert_eq!(
        declarations.structs.len(),
        5,
        "a struct is not checked below"
    );
    if let Err(complaint) = compile("-S", &layouts(&declarations)) {
        panic!("a struct differs from the header:\n{complaint}");
    }
}

#[test]
fn late_functions_are_those_of_headers_that_have_them() {
    let headers = headers();
    let late = Declarations::read(LATE);
    let mut text = INCLUDES.to_owned();
    for function in &late.function_aliases {
        let name = snake(&function.name);
        // The last argument of this one points to a struct that is not declared here.
        if name == "rbd_group_snap_get_info" || !headers.contains(&format!(" {name}(")) {
            continue;
        }
        writeln!(text, "{} = {name};", function.pointer("late")).unwrap();
    }
    if let Err(complaint) = compile("-S", &text) {
        panic!("a late function differs from the header:\n{complaint}");
    }
}

#[test]
fn loaded_functions_are_those_of_the_header() {
    headers();
    let check = |source: &str| {
        let loaded = Declarations::read(source);
        let mut text = INCLUDES.to_owned();
        for function in &loaded.function_aliases {
            let name = snake(&function.name);
            writeln!(text, "{} = {name};", function.pointer("loaded")).unwrap();
        }
        (loaded.function_aliases.len(), compile("-S", &text))
    };
    let (count, outcome) = check(CEPHFS);
    assert_eq!(count, CEPHFS.matches("pub type ").count());
    assert_eq!(count, CEPHFS.matches("= c\"ceph_").count());
    if let Err(complaint) = outcome {
        panic!("a loaded function differs from the header:\n{complaint}");
    }
    // Each is looked up by the name of its type.
    for line in CEPHFS.lines().filter(|line| line.contains("= c\"ceph_")) {
        let (typed, symbol) = line.split_once(" = c\"").unwrap();
        let (_field, of_type) = typed.split_once(": ").unwrap();
        assert_eq!(symbol, format!("{}\",", snake(of_type)));
    }
    for (right, wrong) in [
        ("mode: mode_t,", "mode: u64,"),
        ("uid: uid_t", "uid: *mut uid_t"),
        (") -> *mut UserPerm;", ") -> c_int;"),
        ("de: *mut libc::dirent", "de: *mut c_char"),
    ] {
        assert!(CEPHFS.contains(right), "{right}");
        assert!(check(&CEPHFS.replace(right, wrong)).1.is_err(), "{wrong}");
    }
}

#[test]
fn the_library_is_found() {
    assert!(ceph_sys::cephfs::library().is_some());
}

#[test]
fn all_declarations_are_read() {
    let [rados, rbd] = both();
    let count = |text: &str, word: &str| text.matches(word).count();
    for (source, read) in [(RADOS, rados), (RBD, rbd)] {
        assert_eq!(read.functions.len(), count(source, "pub fn "));
        assert_eq!(read.constants.len(), count(source, "pub const "));
        assert_eq!(read.structs.len(), count(source, "pub struct "));
        let aliases = read.aliases.len() + read.function_aliases.len();
        assert_eq!(aliases, count(source, "pub type "));
    }
    assert_eq!(Declarations::read(LATE).function_aliases.len(), 3);
}

/// Each kind of mistake in a declaration is noticed.
#[test]
fn wrong_declarations_are_refused() {
    headers();
    let mistakes = [
        (RADOS, "nspace: *const c_char);", "nspace: *mut c_char);"),
        (
            RADOS,
            "pool_name: *const c_char) -> i64;",
            "pool_name: *const c_char) -> c_int;",
        ),
        (
            RADOS,
            "OPERATION_FULL_TRY: c_int = 64;",
            "OPERATION_FULL_TRY: c_int = 65;",
        ),
        (
            RADOS,
            "pub fn rados_connect(cluster: rados_t)",
            "pub fn rados_connect()",
        ),
        (RADOS, "pub fn rados_connect(", "pub fn rados_connekt("),
        (
            RBD,
            "image_source_t = libc::c_uint;",
            "image_source_t = u64;",
        ),
        (
            RBD,
            "fn(offset: u64, total: u64, ptr",
            "fn(offset: u64, total: c_int, ptr",
        ),
        (
            RBD,
            "RBD_FEATURE_DATA_POOL: u64 = 1 << 7;",
            "RBD_FEATURE_DATA_POOL: u64 = 1 << 8;",
        ),
    ];
    for (source, right, wrong) in mistakes {
        assert!(source.contains(right), "{right}");
        let declarations = Declarations::read(&source.replace(right, wrong));
        assert!(compile("-S", &checks(&declarations)).is_err(), "{wrong}");
    }
    let declarations = Declarations::read(&RBD.replace("pub addr: *mut c_char", "pub addr: u64"));
    compile("-S", &layouts(&declarations)).unwrap_err();
}

/// `RbdClone4` as `rbd_clone4`.
fn snake(camel: &str) -> String {
    let mut name = String::new();
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
