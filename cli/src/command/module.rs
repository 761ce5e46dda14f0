//! `jobraft module`: uploaded modules.

use super::private::PrivateFile;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Progress, Table, human};
use bytes::Bytes;
use clap::{Args, Subcommand};
use jobraft_protocol::limits::MODULE_BYTES_MAX;
use jobraft_protocol::{Consistency, ModuleManifest, ModuleName, ModuleRef, ModuleSignature};
use jobraft_sdk::SigningKey;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Characters of a signer that fit into a row.
const SIGNER_CHARS: usize = "ed25519:".len() + 12;

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
  jobraft module push wordcount.wasm --name wordcount@1.2.0 --json
  jobraft module push wordcount.wasm --name wordcount --sign release.key")]
    Push {
        /// A .wasm file: a WASI command
        file: PathBuf,
        /// A name that shall point to it from now on, such as wordcount or wordcount@1.2.0
        #[arg(long)]
        name: Option<ModuleName>,
        /// Sign it with the key in this file; repeat it for several. Pushing the same file again adds signatures
        #[arg(long = "sign", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key that signs modules; nodes and workers can insist on its signature
    ///
    /// A key of `openssl genpkey -algorithm ed25519` is as good. Keep it where modules are built, and nowhere else.
    #[command(after_help = "\
Examples:
  jobraft module keygen --out release.key
  jobraft module push wordcount.wasm --name wordcount --sign release.key
  jobraft worker --queue default --signer ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")]
    Keygen {
        /// Where to write it; only you can read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
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
            ModuleCommand::Push { file, name, keys, json } => push(&connection, &file, name, &keys, json).await,
            ModuleCommand::Keygen { out } => keygen(&out),
            ModuleCommand::List { json } => list(&connection, json).await,
            ModuleCommand::Get { module, output, json } => get(&connection, module, output, json).await,
        }
    }
}

async fn push(
    connection: &ConnectionArgs,
    file: &Path,
    name: Option<ModuleName>,
    keys: &[PathBuf],
    json: bool,
) -> Result<(), Failure> {
    let bytes = read(file)?;
    let sign = |key: &PathBuf| {
        let loaded = SigningKey::load(key);
        let key = loaded.map_err(|error| failed(format!("read the key {}", key.display()), &error))?;
        Ok(key.sign(&bytes))
    };
    let signatures = keys.iter().map(sign).collect::<Result<Vec<ModuleSignature>, Failure>>()?;
    let client = connection.client().await?;
    let progress = Progress::bytes("push", bytes.len() as u64);
    let pushed = client.upload_signed_module(bytes, name, signatures, |sent, _| progress.reach(sent)).await;
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

fn keygen(out: &Path) -> Result<(), Failure> {
    let doing = || format!("write {}", out.display());
    let key = SigningKey::generate().map_err(|error| failed("make a key", &error))?;
    let text = key.to_pem().expect("a key that was made has a text");
    let written = PrivateFile::prepare(out.to_owned(), false).and_then(|file| file.fill(&text));
    written.map_err(|error| Failure::usage(doing(), error))?;
    let output = Output::new();
    output.line(format!("{} {} (keep it safe)", output.paint().good("wrote"), out.display()))?;
    output.line(format!("signer {}", key.signer()))
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
    let mut table = Table::new(&["NAME", "SHA256", ">SIZE", "OWNER", "SIGNED BY"]);
    for module in modules {
        let names: Vec<&str> = module.names.iter().map(ModuleName::as_str).collect();
        let short = |signature: &ModuleSignature| signature.signer.to_string().chars().take(SIGNER_CHARS).collect();
        let signers: Vec<String> = module.signatures.iter().map(short).collect();
        table.row([
            (if names.is_empty() { "-".to_owned() } else { names.join(", ") }, Mood::Plain),
            (human::short_digest(module.digest), Mood::Plain),
            (human::bytes(module.size), Mood::Plain),
            (module.owner.clone(), Mood::Plain),
            (if signers.is_empty() { "-".to_owned() } else { signers.join(", ") }, Mood::Plain),
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
