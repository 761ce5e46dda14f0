//! A workflow: counts what is in a corpus of texts. One WASM job for each part of it, a job that adds up what they
//! found, and a callback for each way in which it can go.
//!
//! ```text
//! part-0 ──┐
//! part-1 ──┼──► total            all completed: done            one failed: alarm
//! part-N ──┘
//! ```
//!
//! Each line in a terminal of its own; connection stands for `127.0.0.1:7400 certs/ca.crt certs/app.crt certs/app.key`:
//!
//! ```text
//! jobraft module push examples/wasm/wordcount/wordcount.wasm --name wordcount@1
//! jobraft worker --queue corpus-parts
//! cargo run -p jobraft-sdk --example corpus -- CONNECTION worker
//! cargo run -p jobraft-sdk --example corpus -- CONNECTION count README.md docs/src/*.md
//! ```
//!
//! Kill a worker, or the leader, in the middle: the counts are the same.
#![expect(clippy::print_stdout, reason = "prints what it counted")]

use jobraft_sdk::protocol::{BatchState, ModuleRef, Task};
use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Producer, Worker, Workflow};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// Parts are cut at ends of lines and have about as many bytes at most.
const PART_BYTES: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(600);

/// What the module writes for a part, and `total` for all of them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    longest_word: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, ca, cert, key, mode, files @ ..] = &arguments[..] else {
        return Err("usage: corpus HOST:PORT CA CERT KEY worker|count [FILE...]".into());
    };
    let client = Client::connect(ClientConfig::new([endpoint.parse()?], ca, cert, key).agent("corpus")).await?;
    match mode.as_str() {
        "worker" => work(client.clone()).await?,
        "count" => count(&client, files).await?,
        _ => return Err("the mode is worker or count".into()),
    }
    client.close().await;
    Ok(())
}

async fn count(client: &Client, files: &[String]) -> Result<(), Box<dyn Error>> {
    let module = client.resolve_module(ModuleRef::Name("wordcount@1".parse()?)).await?;
    let part = Producer::of_bytes(client.clone(), "corpus-parts".parse()?, Task::Module(module.digest));
    let total = Producer::<()>::new(client.clone(), "corpus", "total")?.label("total")?;
    let done = Producer::<[String]>::new(client.clone(), "corpus", "done")?;
    let alarm = Producer::<[String]>::new(client.clone(), "corpus", "alarm")?;

    let mut flow = Workflow::new(client).label("corpus")?;
    let mut steps = Vec::new();
    for file in files {
        for text in parts(&std::fs::read_to_string(file)?) {
            let step = flow.add(&part, text.as_str())?;
            flow.step(step)?.label(&format!("part-{}", steps.len()))?;
            steps.push(step);
        }
    }
    let total = flow.add_after(&total, &(), steps)?;
    flow.on_complete(&done, files)?;
    flow.on_failure(&alarm, files)?;

    let batch = flow.submit().await?;
    println!("batch {}: {} jobs", batch.id(), flow.len());
    let view =
        batch.wait_watching(PATIENCE, |view| println!("{} of {} jobs completed", view.completed, view.jobs())).await?;
    if view.state != BatchState::Completed {
        return Err(format!("the batch is {}: {} of its jobs are dead", view.state, view.dead).into());
    }
    let Counts { lines, words, bytes, longest_word } = batch.result(total).await?;
    println!("{lines} lines, {words} words, {bytes} bytes; the longest word is {longest_word}");
    Ok(())
}

fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if part.len() + line.len() <= PART_BYTES => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    parts
}

/// Runs what is not WASM, until it is told to stop.
async fn work(client: Client) -> Result<(), Box<dyn Error>> {
    let worker = Worker::builder(client)
        .name("corpus")
        .queues(["corpus"])
        .handler("total", add_up)
        .handler("done", |context, files| report(context, files, "counted"))
        .handler("alarm", |context, files| report(context, files, "not counted yet, since a job failed"))
        .build()?;
    worker.run_until_signal().await?;
    Ok(())
}

/// Runs after all parts: their results are here.
async fn add_up(context: JobContext, (): ()) -> Result<Counts, JobError> {
    let mut total = Counts::default();
    for part in context.results::<Counts>().await? {
        total.lines += part.lines;
        total.words += part.words;
        total.bytes += part.bytes;
        if part.longest_word.chars().count() > total.longest_word.chars().count() {
            total.longest_word = part.longest_word;
        }
    }
    Ok(total)
}

async fn report(context: JobContext, files: Vec<String>, what: &str) -> Result<(), JobError> {
    let batch = context.batch().ok_or_else(|| JobError::fatal("this is the callback of no batch"))?;
    println!("batch {batch}: {} files {what}", files.len());
    Ok(())
}
