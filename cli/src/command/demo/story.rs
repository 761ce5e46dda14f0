//! What the demo shows, act by act. Anything that is not as it should be ends it with an error.

use super::documents::Document;
use super::processes::{NODES, Processes};
use crate::command::cluster::{ask, status_table, survey};
use crate::command::wasm_worker::{WORDCOUNT, WORDCOUNT_NAME, concurrency_default};
use crate::connection::failed;
use crate::failure::Failure;
use crate::output::{Output, human, program};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt, stream};
use jobraft_protocol::{Consistency, EnqueueOutcome, JobId, JobState, JobView, NewJob, NodeId, QueueName, Task};
use jobraft_sdk::Client;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const DOCUMENTS_QUEUE: &str = "documents";
const FAILOVER_QUEUE: &str = "failover";
/// How long a cluster may take to have a leader.
const LEADER_WAIT: Duration = Duration::from_secs(15);
/// How long a job may take, an election included.
const JOB_WAIT: Duration = Duration::from_secs(30);
/// How often who leads is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The jobs of the second round come in so many parts, one each [`PART_EVERY`]: so that it lasts until the leader dies.
const PARTS: usize = 20;
const PART_EVERY: Duration = Duration::from_millis(60);
/// Jobs looked at at once.
const LOOKS_AT_ONCE: usize = 64;

/// Tells the whole story. If a process has ended that should not, that is the error.
pub(super) async fn tell(processes: &mut Processes, documents: &[Document], jobs: usize) -> Result<(), Failure> {
    let told = acts(processes, documents, jobs).await;
    if told.is_err() {
        processes.check()?;
    }
    told
}

async fn acts(processes: &mut Processes, documents: &[Document], jobs: usize) -> Result<(), Failure> {
    let output = Output::new();
    let began = Instant::now();
    let client = form_cluster(processes, &output).await?;
    let task = run_documents(processes, &client, documents, &output).await?;
    lose_leader(processes, &client, &task, documents, jobs, &output).await?;
    output.line("")?;
    output.line(format!("Done in {}; nothing of it is left behind.", human::duration(began.elapsed())))?;
    go_on(&output)
}

async fn form_cluster(processes: &mut Processes, output: &Output) -> Result<Client, Failure> {
    let paint = output.paint();
    output.line(paint.strong("1. Three nodes, each a process, under mutual TLS 1.3"))?;
    let began = Instant::now();
    processes.start_nodes()?;
    for id in NODES {
        output.line(format!("   node {id} at {}", processes.address(id)))?;
    }
    let client = processes.connection().connect().await?;
    let leader = await_leader(processes, &client, None).await?;
    let leads = paint.good(format!("node {leader} leads"));
    output.line(format!("   {leads}, {} after the start", human::duration(began.elapsed())))?;
    Ok(client)
}

async fn run_documents(
    processes: &mut Processes,
    client: &Client,
    documents: &[Document],
    output: &Output,
) -> Result<Task, Failure> {
    let paint = output.paint();
    output.line("")?;
    output.line(paint.strong("2. A WebAssembly job for each document, in a sandbox that grants nothing"))?;
    let name = WORDCOUNT_NAME.parse().map_err(|error| Failure::new("name the module", error))?;
    let manifest = client
        .upload_module(Bytes::from_static(WORDCOUNT), Some(name), |_, _| {})
        .await
        .map_err(|error| failed("push the module", &error))?;
    let digest = human::short_digest(manifest.digest);
    output.line(format!(
        "   module {WORDCOUNT_NAME}, {}, sha256:{digest}…, is on a majority",
        human::bytes(manifest.size)
    ))?;
    processes.start_worker(&[DOCUMENTS_QUEUE, FAILOVER_QUEUE], concurrency_default())?;
    let task = Task::Module(manifest.digest);
    let queue = queue(DOCUMENTS_QUEUE)?;
    let new = documents.iter().map(|document| job(client, &queue, &task, document)).collect::<Vec<_>>();
    let ids: Vec<JobId> = new.iter().map(|job| job.id).collect();
    enqueue(client, new).await?;
    let width = documents.iter().map(|document| document.name.chars().count()).max().unwrap_or(0).clamp(8, 40);
    let header =
        format!("   {:width$}  {:>9}  {:>6}  {:>7}  {:>8}  RESULT", "DOCUMENT", "SIZE", "TOOK", "LINES", "WORDS");
    output.line(paint.faint(header))?;
    let mut running: FuturesUnordered<_> = ids
        .iter()
        .zip(documents)
        .map(|(id, document)| async move { (document, client.wait_job(*id, JOB_WAIT).await) })
        .collect();
    while let Some((document, ended)) = running.next().await {
        let ended = ended.map_err(|error| failed(format!("wait for the job over {}", document.name), &error))?;
        output.line(row(output, width, document, &ended))?;
    }
    Ok(task)
}

/// A document's line: what the module said of it, or why it failed.
fn row(output: &Output, width: usize, document: &Document, job: &JobView) -> String {
    let paint = output.paint();
    let took = job.finished_at.map_or(0, |end| end.ms_since(job.enqueued_at));
    let counts: serde_json::Value = serde_json::from_slice(&job.result).unwrap_or_default();
    let count = |key: &str| counts[key].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
    let (size, took) = (human::bytes(document.content.len() as u64), human::duration(Duration::from_millis(took)));
    let result = match job.errors.last() {
        _ if job.state == JobState::Completed => {
            let longest = human::excerpt(counts["longest_word"].as_str().unwrap_or("-").as_bytes(), 30);
            format!("{} longest word: {longest}", paint.good(job.state))
        }
        Some(error) => format!("{} {}", paint.bad(job.state), human::excerpt(error.message.as_bytes(), 60)),
        None => paint.bad(job.state),
    };
    let name = shortened(&document.name, width);
    format!("   {name:width$}  {size:>9}  {took:>6}  {:>7}  {:>8}  {result}", count("lines"), count("words"))
}

async fn lose_leader(
    processes: &mut Processes,
    client: &Client,
    task: &Task,
    documents: &[Document],
    jobs: usize,
    output: &Output,
) -> Result<(), Failure> {
    let paint = output.paint();
    output.line("")?;
    output.line(paint.strong(format!("3. {jobs} more jobs, and in the middle of them the leader is killed")))?;
    let (acknowledged, seen) = watch::channel(0);
    let produced = produce(client, task, documents, jobs, acknowledged);
    let killed = kill_leader(processes, client, jobs / 2, seen, output);
    let (ids, ()) = tokio::try_join!(produced, killed)?;
    let ended: Vec<JobView> = stream::iter(&ids)
        .map(|id| client.wait_job(*id, JOB_WAIT))
        .buffer_unordered(LOOKS_AT_ONCE)
        .try_collect()
        .await
        .map_err(|error| failed("wait for the jobs", &error))?;
    verify(client, &ended, jobs, output).await?;
    let answers = survey(&processes.connection()).await?;
    output.line("")?;
    output.table(status_table(&answers), "no nodes")
}

/// Enqueues the jobs part by part, tells how many are acknowledged, and returns their ids.
async fn produce(
    client: &Client,
    task: &Task,
    documents: &[Document],
    jobs: usize,
    acknowledged: watch::Sender<usize>,
) -> Result<Vec<JobId>, Failure> {
    let queue = queue(FAILOVER_QUEUE)?;
    let mut every = tokio::time::interval(PART_EVERY);
    let mut ids = Vec::new();
    let mut documents = documents.iter().cycle();
    while ids.len() < jobs {
        every.tick().await;
        let count = jobs.div_ceil(PARTS).min(jobs - ids.len());
        let part: Vec<NewJob> =
            documents.by_ref().take(count).map(|document| job(client, &queue, task, document)).collect();
        ids.extend(part.iter().map(|job| job.id));
        enqueue(client, part).await?;
        acknowledged.send_replace(ids.len());
    }
    Ok(ids)
}

async fn kill_leader(
    processes: &mut Processes,
    client: &Client,
    after: usize,
    mut acknowledged: watch::Receiver<usize>,
    output: &Output,
) -> Result<(), Failure> {
    let paint = output.paint();
    if acknowledged.wait_for(|count| *count >= after).await.is_err() {
        return Err(Failure::new("enqueue the jobs", "the producer stopped early"));
    }
    let status = client.cluster_status(None).await.map_err(|error| failed("ask who leads", &error))?;
    let leader = match status.leader {
        Some(leader) => leader,
        None => await_leader(processes, client, None).await?,
    };
    let began = Instant::now();
    processes.kill_node(leader).await?;
    let count = *acknowledged.borrow();
    output.line(format!(
        "   {} with SIGKILL, {count} jobs in",
        paint.bad(format!("node {leader}, the leader, killed"))
    ))?;
    let next = await_leader(processes, client, Some(leader)).await?;
    let leads = paint.good(format!("node {next} leads"));
    output.line(format!("   {leads}, {} later; enqueueing and running go on", human::duration(began.elapsed())))
}

async fn verify(client: &Client, ended: &[JobView], jobs: usize, output: &Output) -> Result<(), Failure> {
    let paint = output.paint();
    let completed = ended.iter().filter(|job| job.state == JobState::Completed).count();
    let again = ended.iter().filter(|job| job.attempt > 1).count();
    let queues = client.queues(Consistency::Linearizable).await.map_err(|error| failed("count the jobs", &error))?;
    let counted = queues.iter().find(|stats| stats.queue.as_str() == FAILOVER_QUEUE);
    let (counted, dead) = counted.map_or((0, 0), |stats| (stats.completed, stats.dead));
    // A document that is no text is refused by the module; then its jobs are dead, each exactly once too.
    if completed as u64 != counted || completed as u64 + dead != jobs as u64 || ended.len() != jobs {
        let cause =
            format!("of {jobs} jobs {completed} are completed and {dead} dead, but {counted} completions were counted");
        return Err(Failure::new("find each job completed exactly once", cause));
    }
    let exactly = paint.good(format!("{completed} of {jobs} jobs completed, each exactly once"));
    output.line(format!("   {exactly} (the cluster counted {counted} completions)"))?;
    if dead > 0 {
        output.line(format!("   {dead} were refused by the module: not a text document"))?;
    }
    output.line(match again {
        0 => "   none had to run again: the worker kept its leases across the election".to_owned(),
        _ => format!(
            "   {} ran again because of it; late results of earlier attempts were refused",
            human::count(again, "job")
        ),
    })
}

fn go_on(output: &Output) -> Result<(), Failure> {
    let (paint, program) = (output.paint(), program());
    output.line("How to go on:")?;
    for (command, what) in [("dev", "a node and a worker for everyday development"), ("--help", "everything else")] {
        output.line(format!("   {}   {}", paint.command(format!("{program} {command:<6}")), paint.faint(what)))?;
    }
    Ok(())
}

/// Waits until one of the nodes, but not `gone`, says that it leads.
async fn await_leader(processes: &mut Processes, client: &Client, gone: Option<NodeId>) -> Result<NodeId, Failure> {
    let began = Instant::now();
    while began.elapsed() < LEADER_WAIT {
        processes.check()?;
        let left = NODES.into_iter().filter(|id| Some(*id) != gone);
        let answers = ask(client, left.map(|id| processes.address(id).clone()).collect()).await;
        if let Some(leader) = answers.iter().find(|answer| answer.leads()).and_then(|answer| answer.node) {
            return Ok(leader);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::new("see a leader elected", format!("there is none after {} s", LEADER_WAIT.as_secs())))
}

async fn enqueue(client: &Client, jobs: Vec<NewJob>) -> Result<(), Failure> {
    let outcomes = client.enqueue(jobs).await.map_err(|error| failed("enqueue", &error))?;
    let refused = outcomes.into_iter().find_map(|outcome| match outcome {
        EnqueueOutcome::Refused(error) => Some(error),
        _ => None,
    });
    refused.map_or(Ok(()), |error| Err(Failure::refused("enqueue", &error)))
}

fn job(client: &Client, queue: &QueueName, task: &Task, document: &Document) -> NewJob {
    NewJob::new(client.job_id(), queue.clone(), task.clone(), document.content.clone())
}

fn queue(name: &str) -> Result<QueueName, Failure> {
    QueueName::new(name).map_err(|error| Failure::new("name a queue", error))
}

fn shortened(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(count + 1 - width).collect::<String>())
    }
}
