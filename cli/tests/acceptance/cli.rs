//! The command line as people and scripts use it.

use crate::support::{Process, Run, eventually, free_address, jobraft};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

/// Every command that people are shown, by its path.
const COMMANDS: [&str; 88] = [
    "",
    "demo",
    "dev",
    "bench",
    "node",
    "worker",
    "job",
    "job enqueue",
    "job list",
    "job get",
    "job wait",
    "job cancel",
    "job retry",
    "job delete",
    "job move",
    "job prioritize",
    "batch",
    "batch create",
    "batch list",
    "batch show",
    "batch wait",
    "batch seal",
    "batch cancel",
    "batch retry",
    "queue",
    "queue list",
    "queue set",
    "queue limit",
    "queue limit set",
    "queue limit show",
    "queue pause",
    "queue resume",
    "queue drain",
    "queue purge",
    "schedule",
    "schedule put",
    "schedule list",
    "schedule show",
    "schedule next",
    "schedule pause",
    "schedule resume",
    "schedule run",
    "schedule rm",
    "fleet",
    "fleet list",
    "fleet quiet",
    "fleet stop",
    "fleet resume",
    "state",
    "state get",
    "state list",
    "apply",
    "namespace",
    "namespace create",
    "namespace list",
    "namespace set",
    "namespace delete",
    "secret",
    "secret put",
    "secret list",
    "secret grant",
    "secret delete",
    "secret reseal",
    "token",
    "token create",
    "token list",
    "token rotate",
    "token revoke",
    "module",
    "module push",
    "module keygen",
    "module list",
    "module get",
    "cluster",
    "cluster status",
    "cluster add",
    "cluster remove",
    "cluster transfer-leader",
    "certs",
    "storage",
    "storage keygen",
    "storage reseal",
    "certs init",
    "certs renew",
    "certs revoke",
    "certs show",
    "certs passphrase",
    "completions",
];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json(run: Run) -> Value {
    let text = run.ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_every_command_shows_an_example() {
    for command in COMMANDS {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = jobraft(here(), &words).await.ok();
        let has_commands = help.contains("\nCommands:\n");
        let example = format!("  jobraft {command}");
        assert!(
            help.contains("Example") && help.contains(example.trim_end()) || has_commands && !command.is_empty(),
            "no example in {help}"
        );
        // The tree is complete: whatever the help lists is in the list above.
        for listed in help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty()) {
            let Some(name) = listed.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else { continue };
            let name = name.split_whitespace().next().unwrap();
            let path = format!("{command} {name}").trim().to_owned();
            assert!(name == "help" || path == "certs issue" || COMMANDS.contains(&&*path), "{path:?} is not tested");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = jobraft(here(), &["completions", shell]).await.ok();
        for word in [
            "enqueue",
            "transfer-leader",
            "max-attempts",
            "older-than",
            "keep-completed",
            "purge",
            "quiet",
            "apply",
            "limit",
            "on-failure-task",
            "catch-up",
            "prune",
        ] {
            assert!(script.contains(word), "{word} is not in the completions for {shell}");
        }
    }
    jobraft(here(), &["completions", "tcl"]).await.fails(2, &["tcl", "bash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_words_are_refused_with_a_suggestion() {
    jobraft(here(), &["job", "enqeue"]).await.fails(2, &["enqeue", "enqueue"]);
    jobraft(here(), &["job", "enqueue", "payload"]).await.fails(2, &["--module", "--task"]);
    jobraft(here(), &["job", "get", "17"]).await.fails(2, &["17"]);
}

/// The commands that `jobraft dev` tells to type, without the program.
fn told(printed: &str) -> Vec<String> {
    let commands = printed.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("jobraft "));
    commands.map(|(_, command)| command.to_owned()).collect()
}

/// Runs a command line as it was told, in the directory.
async fn typed(directory: &Path, command: &str) -> Run {
    let (mut words, mut rest) = (Vec::new(), command.trim());
    while !rest.is_empty() {
        let (word, next) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word);
        rest = next.trim_start();
    }
    jobraft(directory, &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_serves_what_it_tells_to_type_and_keeps_jobs_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let address = free_address().to_string();
    let arguments = ["dev", "--listen", &address, "--exit-with-stdin"];
    let dev = Process::start("dev", here, &arguments);
    eventually("it tells what to type", async || dev.printed().contains("Ctrl-C").then_some(())).await;
    let commands = told(&dev.printed());
    let enqueue = commands.iter().find(|command| command.starts_with("job enqueue")).unwrap();
    let result = typed(here, enqueue).await.ok();
    assert!(result.contains('4'), "four words: {result}");
    let queues = commands.iter().find(|command| command.starts_with("queue list")).unwrap();
    assert!(typed(here, queues).await.ok().contains("default"));

    // What scripts read.
    let enqueued = json(jobraft(here, &["job", "enqueue", "--module", "wordcount", "one two", "--json"]).await);
    let id = enqueued[0]["id"].as_str().unwrap();
    assert_eq!(enqueued[0]["created"], true);
    let waited = json(jobraft(here, &["job", "wait", id, "--timeout", "2m", "--json"]).await);
    assert_eq!(waited[0]["state"], "completed");
    let got = json(jobraft(here, &["job", "get", id, "--json"]).await);
    assert_eq!((&got["id"], &got["payload"]), (&Value::from(id), &Value::from("one two")));
    let queues = json(jobraft(here, &["queue", "list", "--json"]).await);
    assert_eq!((&queues[0]["queue"], &queues[0]["completed"]), (&Value::from("default"), &Value::from(2)));
    let modules = json(jobraft(here, &["module", "list", "--json"]).await);
    assert_eq!(modules[0]["names"][0], "wordcount");
    json(jobraft(here, &["module", "get", "wordcount", "--json"]).await);
    let nodes = json(jobraft(here, &["cluster", "status", "--json"]).await);
    assert_eq!(nodes[0]["status"]["role"], "leader");
    json(jobraft(here, &["certs", "show", "--dir", "jobraft-data/certs", "--json"]).await);
    let absent = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    jobraft(here, &["job", "get", absent]).await.fails(3, &[absent]);

    // A job for which nobody is there waits; Ctrl-C stops in order; it is there again at the next start.
    let waiting = jobraft(here, &["job", "enqueue", "--queue", "later", "--task", "t", "kept"]).await.ok();
    let again = Process::start("again", here, &["job", "wait", waiting.trim()]);
    assert!(dev.signal_and_wait(Signal::INT).success());
    drop(again);
    let dev = Process::start("dev", here, &arguments);
    eventually("it is ready once more", async || (dev.printed().matches("is ready").count() == 2).then_some(())).await;
    let kept = json(jobraft(here, &["job", "get", waiting.trim(), "--json"]).await);
    assert_eq!((&kept["state"], &kept["payload"]), (&Value::from("ready"), &Value::from("kept")));
    jobraft(here, &["job", "cancel", waiting.trim()]).await.ok();
    // The end of its parent ends it too, and without a trace of fear.
    assert!(dev.signal_and_wait(Signal::TERM).success());
    for log in ["dev.log", "again.log"] {
        assert!(!std::fs::read_to_string(here.join(log)).unwrap().contains("panicked"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_ends_well_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::fs::write(directory.path().join("hello.txt"), "one two three\n").unwrap();
    let demo = Process::start_with("demo", directory.path(), &["demo", "hello.txt"], &[("TMPDIR", &temporary)]);
    let (status, printed) = demo.wait_and_read();
    assert!(status.success(), "{status}: {printed}");
    for words in ["hello.txt", "killed with SIGKILL", "leads", "each exactly once", "How to go on"] {
        assert!(printed.contains(words), "{words:?} is not in {printed}");
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}
