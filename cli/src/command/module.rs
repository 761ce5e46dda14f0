//! `jobraft module`: uploaded modules.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Progress, Table, human};
use bytes::Bytes;
use clap::{Args, Subcommand};
use jobraft_protocol::limits::MODULE_BYTES_MAX;
use jobraft_protocol::{Consistency, ModuleManifest, ModuleName, ModuleRef};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Upload, list and download WebAssembly modules
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft module push wordcount.wasm --name wordcount
  jobraft module list
  jobraft module get wordcount -o wordcount.wasm")]
pub(super) struct ModuleArgs {
    #[command(subcommand)]
    command: ModuleCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum ModuleCommand {
    /// Upload a module; jobs can run it once a majority of the nodes holds it
    #[command(after_help = "\
Examples:
  jobraft module push wordcount.wasm --name wordcount
  jobraft module push wordcount.wasm --name wordcount@1.2.0 --json")]
    Push {
        /// A .wasm file: a WASI command
        file: PathBuf,
        /// A name that shall point to it from now on, such as wordcount or wordcount@1.2.0
        #[arg(long)]
        name: Option<ModuleName>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List what was uploaded
    #[command(after_help = "Examples:\n  jobraft module list\n  jobraft module list --json | jq '.[].names'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a module, or with --json describe it
    #[command(after_help = "\
Examples:
  jobraft module get wordcount -o wordcount.wasm
  jobraft module get wordcount --json | jq .imports")]
    Get {
        /// Its name, or sha256: and its digest
        module: ModuleRef,
        /// Where to write it
        #[arg(long, short, value_name = "FILE", required_unless_present = "json")]
        output: Option<PathBuf>,
        /// Print its description as JSON
        #[arg(long)]
        json: bool,
    },
}

impl ModuleArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            ModuleCommand::Push { file, name, json } => push(&connection, &file, name, json).await,
            ModuleCommand::List { json } => list(&connection, json).await,
            ModuleCommand::Get { module, output, json } => get(&connection, module, output, json).await,
        }
    }
}

async fn push(connection: &ConnectionArgs, file: &Path, name: Option<ModuleName>, json: bool) -> Result<(), Failure> {
    let bytes = read(file)?;
    let client = connection.client().await?;
    let progress = Progress::bytes("push", bytes.len() as u64);
    let pushed = client.upload_module(bytes, name, |sent, _| progress.reach(sent)).await;
    drop(progress);
    let manifest = pushed.map_err(|error| failed(format!("push {}", file.display()), &error))?;
    let output = Output::new();
    if json {
        return output.json(&manifest);
    }
    let names: Vec<&str> = manifest.names.iter().map(ModuleName::as_str).collect();
    let named = if names.is_empty() { String::new() } else { format!(" as {}", names.join(", ")) };
    output.line(format!(
        "{} {}{named}: sha256:{}",
        output.paint().good("pushed"),
        human::bytes(manifest.size),
        manifest.digest
    ))
}

fn read(file: &Path) -> Result<Bytes, Failure> {
    let doing = || format!("read {}", file.display());
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| Failure::usage(doing(), error))?;
    opened.take(MODULE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| Failure::usage(doing(), error))?;
    if bytes.len() as u64 > MODULE_BYTES_MAX {
        let cause = format!("a module may have at most {}", human::bytes(MODULE_BYTES_MAX));
        return Err(
            Failure::usage(doing(), cause).hint("strip its debugging information: `wasm-strip`, or build for release")
        );
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(
            Failure::usage(doing(), "it is not a WebAssembly module").hint("build a .wasm file for wasm32-wasip1")
        );
    }
    Ok(bytes.into())
}

async fn list(connection: &ConnectionArgs, json: bool) -> Result<(), Failure> {
    let client = connection.client().await?;
    let modules = client.modules(Consistency::Linearizable).await.map_err(|error| failed("list modules", &error))?;
    let output = Output::new();
    if json {
        return output.json(&modules);
    }
    output.table(table(&modules), "no modules yet: upload one with `jobraft module push FILE --name NAME`")
}

fn table(modules: &[ModuleManifest]) -> Table {
    let mut table = Table::new(&["NAME", "SHA256", ">SIZE", "OWNER"]);
    for module in modules {
        let names: Vec<&str> = module.names.iter().map(ModuleName::as_str).collect();
        table.row([
            (if names.is_empty() { "-".to_owned() } else { names.join(", ") }, Mood::Plain),
            (human::short_digest(module.digest), Mood::Plain),
            (human::bytes(module.size), Mood::Plain),
            (module.owner.clone(), Mood::Plain),
        ]);
    }
    table
}

async fn get(connection: &ConnectionArgs, module: ModuleRef, file: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let client = connection.client().await?;
    let output = Output::new();
    let doing = format!("get module {module}");
    if let Some(file) = file {
        let (_, bytes) = client.download_module(module.clone()).await.map_err(|error| failed(&doing, &error))?;
        tokio::fs::write(&file, &bytes)
            .await
            .map_err(|error| Failure::usage(format!("write {}", file.display()), error))?;
        if !json {
            let paint = output.paint();
            return output.line(format!(
                "{} {} ({})",
                paint.good("wrote"),
                file.display(),
                human::bytes(bytes.len() as u64)
            ));
        }
    }
    let manifest = client.resolve_module(module).await.map_err(|error| failed(&doing, &error))?;
    output.json(&manifest)
}
