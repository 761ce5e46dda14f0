//! `jobraft bench`, small: what it counts adds up.

use crate::support::{Process, TestCluster, eventually, jobraft};
use rustix::process::Signal;
use serde_json::Value;

fn lines(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_of_a_count_is_enqueued_and_completed_once() {
    let cluster = TestCluster::start(1).await;
    let flags = ["bench", "--count", "200", "--batch", "10", "--in-flight", "1,4", "--warm-up", "0"];
    let more = ["--producers", "2", "--workers", "2", "--queues", "3", "--repeat", "2", "--json"];
    let lines = lines(&cluster.jobraft(&[&flags[..], &more].concat()).await.ok());
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(number(&line["jobs"]), 200, "{line:#}");
        assert_eq!(number(&line["enqueue"]["count"]), 2 * 20, "a latency for each request: {line:#}");
        assert_eq!(number(&line["dispatch"]["count"]), 2 * 200, "and for each job: {line:#}");
        assert_eq!(number(&line["complete"]["count"]), 2 * 200, "{line:#}");
        for run in line["runs"].as_array().unwrap() {
            assert_eq!((number(&run["jobs"]), number(&run["duplicates"])), (200, 0), "{run:#}");
            let last = run["series"].as_array().unwrap().last().unwrap();
            assert_eq!((number(&last["enqueued"]), number(&last["completed"])), (200, 200), "{run:#}");
            assert!(number(&run["nodes"][0]["log_syncs"]) > 0, "{run:#}");
            assert!(run["server_cpu_us_per_job"].is_null(), "whose process it is nobody said: {run:#}");
        }
    }
    let queues: Value = serde_json::from_str(&cluster.jobraft(&["queue", "list", "--json"]).await.ok()).unwrap();
    let done: u64 = queues.as_array().unwrap().iter().map(|queue| number(&queue["completed"])).sum();
    assert_eq!((queues.as_array().unwrap().len(), done), (4 * 3, 4 * 200), "{queues:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_a_rate_and_a_backlog_are_counted_for_what_they_are() {
    let cluster = TestCluster::start(1).await;
    let flags = ["bench", "--count", "60", "--in-flight", "8", "--warm-up", "0", "--json"];
    let run = async |more: &[&str]| {
        let lines = lines(&cluster.jobraft(&[&flags[..], more].concat()).await.ok());
        lines[0].clone()
    };
    let keyed = run(&["--keys", "2"]).await;
    let (jobs, duplicates) = (number(&keyed["jobs"]), number(&keyed["runs"][0]["duplicates"]));
    assert_eq!(jobs + duplicates, 60, "{keyed:#}");
    assert!(jobs >= 2, "{keyed:#}");
    let paced = run(&["--rate", "200"]).await;
    assert_eq!((number(&paced["jobs"]), number(&paced["enqueue"]["count"])), (60, 60), "{paced:#}");
    assert!(paced["runs"][0]["seconds"].as_f64().unwrap() > 0.29, "the last of 60 is due after 295 ms: {paced:#}");
    let waiting = run(&["--waiting", "30", "--groups", "2"]).await;
    assert_eq!(number(&waiting["jobs"]), 60, "{waiting:#}");
    assert!(waiting["dispatch"].is_null(), "{waiting:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_brings_a_cluster_of_its_own_and_takes_it_away() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["bench", "--nodes", "1", "--dir", ".", "--count", "50", "--in-flight", "4", "--warm-up", "0"];
    let json = lines(&jobraft(directory.path(), &[&flags[..], &["--json"]].concat()).await.ok());
    let run = &json[0]["runs"][0];
    assert_eq!((number(&run["jobs"]), run["nodes"].as_array().unwrap().len()), (50, 1), "{run:#}");
    assert!(number(&run["nodes"][0]["rss_peak_bytes"]) > 0, "{run:#}");
    assert!(run["log_syncs_per_job"].as_f64().unwrap() > 0.0, "{run:#}");
    let table = jobraft(directory.path(), &flags).await.ok();
    for word in ["JOBS/S", "LOG SYNCS/JOB", "dispatch", "P99.9", "1 node,"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    jobraft(directory.path(), &["bench", "--dir", "nowhere"]).await.fails(1, &["nowhere"]);
    jobraft(directory.path(), &["bench", "--queues", "129"]).await.fails(2, &["--workers 3"]);
    jobraft(directory.path(), &["bench", "--rate", "x"]).await.fails(2, &["not a rate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_says_so_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--nodes", "1", "--dir", "nodes", "--warm-up", "0"];
    let nodes = directory.path().join("nodes");
    std::fs::create_dir(&nodes).unwrap();
    // Its end nobody lives to see.
    let more = ["bench", "--count", "1000000", "--rate", "0.001", "--in-flight", "1"];
    let bench = Process::start("bench", directory.path(), &[&more[..], &flags].concat());
    let has_data = |entry: std::fs::DirEntry| entry.path().join("node-1/identity").exists();
    eventually("its node runs", async || std::fs::read_dir(&nodes).unwrap().flatten().any(has_data).then_some(()))
        .await;
    let log = directory.path().join("bench.log");
    assert_eq!(bench.signal_and_wait(Signal::INT).code(), Some(1));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("stopped by SIGINT"), "{log}");
    assert_eq!(std::fs::read_dir(&nodes).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_kills_nodes_and_sees_them_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["bench", "--matrix=1000", "--only", "restart,failover", "--repeat", "1", "--dir", "."];
    let json = jobraft(directory.path(), &[&flags[..], &["--json"]].concat()).await.ok();
    let rows = lines(&json);
    let expected = [
        ("1000 waiting: restart", "seconds", "≤ 3"),
        ("1000 waiting: memory per waiting job", "bytes", "≤ 200"),
        ("leader killed", "seconds", "≤ 2"),
    ];
    assert_eq!(rows.len(), expected.len(), "{json}");
    for (row, (what, unit, target)) in rows.iter().zip(expected) {
        assert!(row["what"].as_str().unwrap().contains(what), "{row:#}");
        assert_eq!((&row["unit"], &row["target"]), (&unit.into(), &target.into()), "{row:#}");
        // So few jobs can be lost in what a process takes.
        assert!(row["median"]["value"].as_f64().unwrap() > 0.0 || unit == "bytes", "{row:#}");
        assert_eq!(row["fdatasync_p50_us"].as_array().unwrap().len(), 1, "{row:#}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    jobraft(directory.path(), &["bench", "--matrix", "--batch", "5"]).await.fails(2, &["--matrix", "--batch"]);
    jobraft(directory.path(), &["bench", "--matrix", "--only", "all"]).await.fails(2, &["half-rate"]);
}
