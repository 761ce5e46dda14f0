//! What a module is and what it asks for, read from its bytes before anybody runs them.

use jobraft_protocol::limits;
use std::collections::BTreeSet;
use wasmparser::types::EntityType;
use wasmparser::{Parser, Validator, WasmFeatures};

/// Modules whose functions a worker provides: WASI preview 1, and the name that it had before.
const HOSTS: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];
/// The functions of WASI preview 1. A list, so that what stands in a manifest is bounded by it.
const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];
/// Unknown imports that an error names; the rest is counted.
const NAMED_MAX: usize = 8;
/// Characters of an import's name that an error shows.
const NAME_CHARS_MAX: usize = 64;

/// Checks that the bytes are a WebAssembly module that a worker can run as a WASI command, and returns what it imports,
/// as `module.function`, sorted. Takes time in proportion to the size: not for a thread that others wait for.
///
/// # Errors
/// Why it is none, for people.
pub fn inspect(bytes: &[u8]) -> Result<Vec<String>, String> {
    if bytes.len() as u64 > limits::MODULE_BYTES_MAX {
        return Err(format!("it has {} bytes, the limit is {}", bytes.len(), limits::MODULE_BYTES_MAX));
    }
    if Parser::is_component(bytes) {
        let hint = "it is a component; only core modules run here: build for wasm32-wasip1, or without componentizing";
        return Err(hint.to_owned());
    }
    if !Parser::is_core_wasm(bytes) {
        return Err("it is not a WebAssembly module: build it for wasm32-wasip1, and push the .wasm file".to_owned());
    }
    // What the workers' engine takes; preview 1 is defined for one 32-bit memory.
    let features = WasmFeatures::default() - WasmFeatures::MEMORY64 - WasmFeatures::MULTI_MEMORY;
    let types = Validator::new_with_features(features)
        .validate_all(bytes)
        .map_err(|error| format!("it is not valid WebAssembly: {}", shorten(&error.to_string(), 256)))?;
    let types = types.as_ref();

    let mut imports = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for (module, name, kind) in types.core_imports().into_iter().flatten() {
        let known = HOSTS.contains(&module) && FUNCTIONS.contains(&name) && is_function(kind);
        if known {
            imports.insert(format!("{module}.{name}"));
        } else if unknown.len() <= NAMED_MAX {
            unknown.insert(format!("{}.{}", shorten(module, NAME_CHARS_MAX), shorten(name, NAME_CHARS_MAX)));
        }
    }
    if !unknown.is_empty() {
        let more = if unknown.len() > NAMED_MAX { ", …" } else { "" };
        let named: Vec<_> = unknown.into_iter().take(NAMED_MAX).collect();
        return Err(format!("it imports what no worker provides: {}{more}; only WASI preview 1 is", named.join(", ")));
    }

    let start = types.core_exports().into_iter().flatten().find(|(name, _)| *name == "_start");
    match start {
        Some((_, EntityType::Func(id) | EntityType::FuncExact(id))) => {
            let signature = types[id].unwrap_func();
            if signature.params().is_empty() && signature.results().is_empty() {
                return Ok(imports.into_iter().collect());
            }
            Err("its _start takes parameters or returns results; a WASI command's does not".to_owned())
        }
        _ => Err("it exports no function _start: build it as a program, not as a library".to_owned()),
    }
}

const fn is_function(kind: EntityType) -> bool {
    matches!(kind, EntityType::Func(_) | EntityType::FuncExact(_))
}

/// Text out of a module, made fit for an error.
fn shorten(text: &str, chars_max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\0asm\x01\0\0\0";

    /// A section: its number, its length (LEB128, always in two bytes), its body.
    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("test sections are short");
        let [high, low] = (length << 1).to_be_bytes();
        [&[id, low >> 1 | 0x80, high], body].concat()
    }

    fn name(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len()).expect("test names are short")], text.as_bytes()].concat()
    }

    /// A module with one function of type `() -> ()`, exported as `export`, that imports the given functions of that
    /// same type.
    fn module(imports: &[(&str, &str)], export: &str) -> Vec<u8> {
        let count = u8::try_from(imports.len()).expect("few");
        let imported: Vec<u8> = imports.iter().flat_map(|(m, n)| [name(m), name(n), vec![0, 0]].concat()).collect();
        [
            HEADER.to_vec(),
            section(1, &[1, 0x60, 0, 0]),
            section(2, &[vec![count], imported].concat()),
            section(3, &[1, 0]),
            section(7, &[vec![1], name(export), vec![0, count]].concat()),
            section(10, &[1, 2, 0, 0x0b]),
        ]
        .concat()
    }

    #[test]
    fn a_wasi_command_is_taken_and_its_imports_are_sorted() {
        let wasi = [("wasi_snapshot_preview1", "sched_yield"), ("wasi_snapshot_preview1", "fd_write")];
        let imports = inspect(&module(&wasi, "_start"));
        let expected = ["wasi_snapshot_preview1.fd_write", "wasi_snapshot_preview1.sched_yield"];
        assert_eq!(imports, Ok(expected.map(String::from).to_vec()));
        assert_eq!(
            inspect(&module(&[("wasi_unstable", "fd_write")], "_start")),
            Ok(vec!["wasi_unstable.fd_write".into()])
        );
        assert_eq!(inspect(&module(&[], "_start")), Ok(vec![]));
    }

    #[test]
    fn an_unknown_import_is_named() {
        for import in [("env", "fetch"), ("wasi_snapshot_preview1", "exec")] {
            let reason = inspect(&module(&[import], "_start")).expect_err("nobody provides it");
            assert!(reason.contains(&format!("{}.{}", import.0, import.1)), "{reason}");
        }
        let many: Vec<String> = (0..20).map(|n| format!("f{n:02}")).collect();
        let many: Vec<_> = many.iter().map(|name| ("e", name.as_str())).collect();
        let reason = inspect(&module(&many, "_start")).expect_err("nobody provides them");
        assert!(reason.contains("e.f07") && !reason.contains("e.f08") && reason.contains('…'), "{reason}");
    }

    #[test]
    fn what_cannot_be_a_command_is_refused_with_its_reason() {
        let truncated = {
            let mut whole = module(&[], "_start");
            whole.pop();
            whole
        };
        let with_parameter = {
            let mut bytes = module(&[], "_start");
            let types = section(1, &[1, 0x60, 0, 0]).len();
            bytes.splice(HEADER.len()..HEADER.len() + types, section(1, &[1, 0x60, 1, 0x7f, 0]));
            bytes
        };
        for (bytes, expected) in [
            (&b""[..], "not a WebAssembly module"),
            (b"#!/bin/sh", "not a WebAssembly module"),
            (b"\0asm\x0d\0\x01\0", "component"),
            (HEADER, "_start"),
            (&module(&[], "main"), "_start"),
            (&with_parameter, "parameters"),
            (&truncated, "not valid"),
        ] {
            let reason = inspect(bytes).expect_err("it is no command");
            assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
        }
    }
}
