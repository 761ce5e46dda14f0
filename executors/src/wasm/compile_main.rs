//! What the compiler's process does: limits itself, compiles one module, exits.

use super::compiler::COMPATIBILITY_VARIABLE;
use super::engine;
use rustix::process::{Resource, Rlimit, setrlimit};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wasmtime::CodeBuilder;

/// Memory of the compiler's process.
pub(super) const MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// CPU time of the compiler's process, over all its threads.
pub(super) const CPU_SECONDS_MAX: u64 = 60;
/// Size of what it writes.
pub(super) const OUTPUT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// It exits so when the module is to blame (`EX_DATAERR`); any other failure is the machine's.
pub(super) const EXIT_INVALID: u8 = 65;
/// It exits so when the machine is to blame.
const EXIT_MACHINE: u8 = 74;

/// Compiles a module: the whole work of the process that [`ChildCommand`](super::ChildCommand) names.
///
/// The process' last two arguments are the path of the module and the path to write to. Before it reads the module it
/// limits its own memory to 2 GiB and its CPU time to 60 s, for the rest of its life: call this from a process that does
/// nothing else, and return what it returns from `main`. Why it failed, it says on stderr.
#[must_use]
pub fn compile_main() -> ExitCode {
    let mut arguments = std::env::args_os().rev();
    let (Some(output), Some(input), Some(_)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return fail(EXIT_MACHINE, "expected two arguments: the module's path and the path to write to");
    };
    match compile(&PathBuf::from(input), &PathBuf::from(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Module(reason)) => fail(EXIT_INVALID, &reason),
        Err(Error::Machine(reason)) => fail(EXIT_MACHINE, &reason),
    }
}

/// Whose fault it is that there is no compiled module.
enum Error {
    Module(String),
    Machine(String),
}

fn compile(input: &Path, output: &Path) -> Result<(), Error> {
    let machine = |what: &str, error: &dyn std::fmt::Display| Error::Machine(format!("{what}: {error}"));
    limit(Resource::As, MEMORY_BYTES_MAX)?;
    limit(Resource::Cpu, CPU_SECONDS_MAX)?;
    limit(Resource::Fsize, OUTPUT_BYTES_MAX)?;
    limit(Resource::Core, 0)?;
    let engine = engine::compiling().map_err(|e| machine("set up the compiler", &e))?;
    if std::env::var(COMPATIBILITY_VARIABLE).is_ok_and(|wanted| wanted != engine::compatibility(&engine)) {
        return Err(Error::Machine("the compiler is of another version than the worker that asks it".to_owned()));
    }
    let wasm = std::fs::read(input).map_err(|e| machine("read the module", &e))?;
    // Binary only: the text format's parser is not needed, so it is not offered to strangers.
    let code = CodeBuilder::new(&engine)
        .wasm_binary(&wasm, None)
        .and_then(|builder| builder.compile_module_serialized())
        .map_err(|error| Error::Module(format!("{error:#}")))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(output)
        .map_err(|e| machine("open the output", &e))?;
    // The checksum comes last, so that a file cut short by a crash is never taken for whole.
    file.write_all(&code)
        .and_then(|()| file.write_all(&Sha256::digest(&code)))
        .and_then(|()| file.sync_all())
        .map_err(|e| machine("write the output", &e))
}

fn limit(resource: Resource, max: u64) -> Result<(), Error> {
    // A limit that whoever started us has set lower stays.
    let now = rustix::process::getrlimit(resource);
    let max = now.maximum.map_or(max, |hard| hard.min(max));
    let current = now.current.map_or(max, |soft| soft.min(max));
    // The soft limit on CPU time raises SIGXCPU, which tells the reason; a second later the hard one would kill.
    let hard = if resource == Resource::Cpu { now.maximum.map_or(max + 1, |hard| hard.min(max + 1)) } else { max };
    setrlimit(resource, Rlimit { current: Some(current), maximum: Some(hard) })
        .map_err(|error| Error::Machine(format!("limit the compiler's {resource:?}: {error}")))
}

fn fail(code: u8, reason: &str) -> ExitCode {
    // Nobody may listen any more; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{reason}");
    ExitCode::from(code)
}
