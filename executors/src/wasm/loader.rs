//! From machine code to a module that can be started.

use super::guest::{self, Guest};
use super::machine_code::MachineCode;
use wasmtime::{Engine, InstancePre, Linker, Module, Store};

/// How many unknown imports a message names.
const UNKNOWN_NAMED_MAX: usize = 8;

/// What is known of a module: how to start it, or why it can never run. The second is worth keeping too: it may have
/// taken the compiler a minute to find out.
pub(super) type Known = Result<InstancePre<Guest>, String>;

/// Loads and links modules for one engine.
pub(super) struct Loader {
    engine: Engine,
    linker: Linker<Guest>,
}

impl Loader {
    /// A loader for `engine`.
    pub(super) fn new(engine: Engine) -> wasmtime::Result<Self> {
        let linker = guest::linker(&engine)?;
        Ok(Self { engine, linker })
    }

    /// The module, ready to run; or why it cannot: it is not a command, or asks for more than there is.
    pub(super) fn load(&self, code: &MachineCode) -> Known {
        // It was compiled for this engine, so it is the module that asks for more than the engine has.
        let module = code.load(&self.engine).map_err(|error| format!("{error:#}"))?;
        self.link(&module)
    }

    /// Checks that the module is a command that asks for nothing but WASI.
    fn link(&self, module: &Module) -> Known {
        let mut store = Store::new(&self.engine, Guest::empty());
        let unknown: Vec<String> = module
            .imports()
            .filter(|import| self.linker.get_by_import(&mut store, import).is_none())
            .map(|import| format!("{}.{}", import.module(), import.name()).chars().take(100).collect())
            .collect();
        if !unknown.is_empty() {
            let more = if unknown.len() > UNKNOWN_NAMED_MAX { ", …" } else { "" };
            let named = unknown[..unknown.len().min(UNKNOWN_NAMED_MAX)].join(", ");
            return Err(format!("it imports what no worker provides: {named}{more}"));
        }
        let start = module.get_export("_start");
        let is_command =
            start.is_some_and(|ty| ty.func().is_some_and(|func| func.params().len() == 0 && func.results().len() == 0));
        if !is_command {
            return Err("it is not a WASI command: it exports no function _start".to_owned());
        }
        self.linker.instantiate_pre(module).map_err(|error| format!("{error:#}"))
    }
}
