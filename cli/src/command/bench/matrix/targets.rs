//! What figures are to reach.

/// What the row of that name is to reach; `None` if it is only told.
pub(super) fn target(row: &str) -> Option<&'static str> {
    Some(match row {
        "3 nodes, 1024 in flight" => "≥ 40,000",
        "3 nodes, 1024 in flight: CPU per job" => "≤ 40",
        "3 nodes, 1 in flight: enqueue p50" => "≤ 2 × fdatasync p50 + 0.5 ms",
        "3 nodes, idle: dispatch p50" => "≤ enqueue p50 + 0.5 ms",
        "3 nodes, half of the highest rate: enqueue p99" => "≤ 10 × its p50",
        "1 node, 1024 in flight" => "≥ 1.5 × 3 nodes",
        "3 nodes under load: leader killed (kill -9) until writes go on" => "≤ 2",
        _ if row.starts_with("3 nodes, 100 jobs in a request") && row.ends_with("in flight") => "≥ 80,000",
        _ if row.starts_with("3 nodes, 1024 in flight,") && row.ends_with("waiting") => "≥ 80 % of the empty queue's",
        _ if row.ends_with("memory per waiting job, all nodes") => "≤ 600",
        _ if row.contains("waiting: restart") => "≤ 3",
        _ if row.ends_with("no jobs: CPU of all nodes") => "≤ 2",
        _ => return None,
    })
}
