#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Cli, Command};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn refusal(line: &str) -> ErrorKind {
    parse(line).expect_err(line).kind()
}

#[test]
fn tree_is_sound() {
    Cli::command().debug_assert();
}

/// Every line of every `after_help` that starts with `jobraft` and uses no shell syntax must be a command that parses.
#[test]
fn every_example_in_the_help_parses() {
    fn examples(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.extend(help.lines().map(str::trim).filter(|line| line.starts_with("jobraft ")).map(str::to_owned));
        command.get_subcommands().for_each(|sub| examples(sub, found));
    }
    let mut found = Vec::new();
    examples(&Cli::command(), &mut found);
    assert!(found.len() > 80, "only {} examples", found.len());
    for line in found {
        // A description follows after several spaces.
        let line = line.split("    ").next().unwrap();
        if line.contains(['|', '>', '$', '{']) {
            continue;
        }
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}: {error}");
        }
    }
}

/// As a shell would take them: what is quoted is one.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    parts.collect()
}

#[test]
fn every_command_has_help() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no description", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{}: {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn connection_flags_are_taken_after_any_client_command() {
    let line = "jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --endpoint a:1,b:2 --ca c --cert d --key e";
    assert!(matches!(parse(line).unwrap().command, Command::Job(_)));
    assert_eq!(refusal("jobraft queue list --endpoint nowhere"), ErrorKind::ValueValidation);
}

#[test]
fn enqueue_needs_exactly_one_thing_to_run() {
    assert!(parse("jobraft job enqueue --module m").is_ok());
    assert_eq!(refusal("jobraft job enqueue"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft job enqueue --module m --task t"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft job enqueue --module m text --file f"), ErrorKind::ArgumentConflict);
}

#[test]
fn values_out_of_range_are_refused() {
    for line in [
        "jobraft job enqueue --module m --priority 10",
        "jobraft job enqueue --module m --delay soon",
        "jobraft job enqueue --module sha256:12",
        "jobraft job enqueue --module m --id 1234",
        "jobraft job enqueue --module m --max-attempts 0",
        "jobraft job enqueue --module m --queue a*b",
        "jobraft cluster add 0 a:1",
        "jobraft cluster add 1 nowhere",
        "jobraft certs issue node 0 --host h",
        "jobraft job enqueue --task t --ttl 0s",
        "jobraft job enqueue --task t --start-deadline 2years",
        "jobraft job enqueue --task t --backoff often",
        "jobraft job enqueue --task t --max-crashes 101",
        "jobraft job enqueue --task t --unique k --unique-scope never",
        "jobraft job enqueue --task t --at tomorrow",
        "jobraft job list --older-than old",
        "jobraft job list --after 17",
        "jobraft job list --limit some",
        "jobraft job list --watch 0",
        "jobraft job cancel --all --grace 2h",
        "jobraft job move --all --to a*b",
        "jobraft job prioritize --all --priority 10",
        "jobraft queue set q --max-jobs many",
        "jobraft queue set q --max-bytes many",
        "jobraft queue set q --keep-dead always",
        "jobraft queue drain q --wait long",
        "jobraft worker --queue q=0",
        "jobraft worker --queue q --concurrency 0",
        "jobraft worker --queue q --memory lots",
        "jobraft worker --queue q --lease 10ms",
        "jobraft dev --listen somewhere",
        "jobraft job enqueue --task t --after 17",
        "jobraft job enqueue --task t --batch 17",
        "jobraft job enqueue --task t --label a*b",
        "jobraft job enqueue --task t --group=",
        "jobraft job list --batch 17",
        "jobraft queue limit set q --concurrency many",
        "jobraft queue limit set q --rate 100",
        "jobraft queue limit set q --rate 0/1m",
        "jobraft queue limit set q --group g --weight heavy",
        "jobraft batch create --module m --label a*b",
        "jobraft batch create --open --id 17",
        "jobraft batch show 17",
        "jobraft batch wait 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --timeout long",
        "jobraft batch cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --grace 2h",
        "jobraft schedule put a*b --cron @hourly --task t",
        "jobraft schedule next s -n 0",
        "jobraft schedule next s -n 1001",
    ] {
        assert_eq!(refusal(line), ErrorKind::ValueValidation, "{line}");
    }
}

#[test]
fn states_are_named_as_they_are_shown() {
    for line in ["jobraft job list --state asleep", "jobraft queue purge q --state gone"] {
        assert_eq!(refusal(line), ErrorKind::InvalidValue, "{line}");
    }
    for line in [
        "jobraft job enqueue --task t --after 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --on-failure maybe",
        "jobraft schedule put s --cron @hourly --task t --catch-up some",
        "jobraft schedule put s --cron @hourly --task t --overlap never",
    ] {
        assert_eq!(refusal(line), ErrorKind::InvalidValue, "{line}");
    }
    for state in jobraft_protocol::JobState::ALL {
        assert!(parse(&format!("jobraft job list --state {state} -s {state},dead")).is_ok());
    }
}

/// A flag of a command that is called like one of all commands would take its value, or panic.
#[test]
fn no_flag_hides_one_of_the_connection() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
            let name = argument.get_id().as_str();
            assert!(!["endpoints", "ca", "cert", "key", "context"].contains(&name), "{}: {name}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn jobs_are_named_or_filtered_and_never_both() {
    const ID: &str = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    for action in ["retry", "delete", "cancel", "move --to q", "prioritize --priority 0"] {
        let line = |rest: &str| format!("jobraft job {action} {rest}");
        assert!(parse(&line(ID)).is_ok() && parse(&line("--all --yes")).is_ok(), "{action}");
        assert!(parse(&line("--queue a --queue b,c --state dead --error x --older-than 1h")).is_ok(), "{action}");
        for both in ["--queue a", "--state dead", "--task t", "--unique k", "--error x", "--newer-than 1h", "--all"] {
            assert_eq!(refusal(&line(&format!("{ID} {both}"))), ErrorKind::ArgumentConflict, "{action} {both}");
        }
        assert_eq!(refusal(&line("--all --queue a")), ErrorKind::ArgumentConflict, "{action}");
        assert!(parse(&line(&format!("--batch {ID}"))).is_ok(), "{action}");
        assert_eq!(refusal(&line(&format!("{ID} --batch {ID}"))), ErrorKind::ArgumentConflict, "{action}");
    }
    assert_eq!(refusal("jobraft job move --all"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft job prioritize --all"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft job cancel --all --now --grace 1s"), ErrorKind::ArgumentConflict);
}

#[test]
fn options_that_belong_together_are_given_together() {
    assert_eq!(refusal("jobraft job enqueue --task t --unique-scope done"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft job enqueue --task t --on-conflict reject"), ErrorKind::MissingRequiredArgument);
    assert_eq!(
        refusal("jobraft job enqueue --task t --delay 1s --at 2026-01-31T12:00:00Z"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(refusal("jobraft queue set q"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft queue limit set q"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft queue limit set q --weight 3"), ErrorKind::MissingRequiredArgument);
    for all in ["--group-concurrency 3", "--group-rate 1/1s"] {
        assert!(parse(&format!("jobraft queue limit set q {all}")).is_ok());
        assert_eq!(
            refusal(&format!("jobraft queue limit set q --group g {all}")),
            ErrorKind::ArgumentConflict,
            "{all}"
        );
    }
    assert_eq!(refusal("jobraft job enqueue --task t --on-failure run"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft job enqueue --task t --all-or-none --wait-when-full 1m"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft apply -f f --yes --dry-run"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft apply"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft fleet stop"), ErrorKind::MissingRequiredArgument);
}

#[test]
fn a_batch_is_of_a_file_or_of_flags() {
    for line in [
        "-f w.toml",
        "-f w.toml --wait",
        "--task t",
        "--open",
        "--module m text --on-complete-task done",
        "--task t --file a",
    ] {
        assert!(parse(&format!("jobraft batch create {line}")).is_ok(), "{line}");
    }
    for flag in [
        "--task t",
        "--module m",
        "--queue q",
        "--label l",
        "--priority 1",
        "--group g",
        "--unique k",
        "--on-complete-task t",
        "--on-failure-module m",
        "--callback-queue q",
        "--file a",
    ] {
        assert_eq!(refusal(&format!("jobraft batch create -f w.toml {flag}")), ErrorKind::ArgumentConflict, "{flag}");
    }
    assert_eq!(refusal("jobraft batch create --open --wait"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft batch create --task t --module m"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft batch create text"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft batch create --open --file a"), ErrorKind::MissingRequiredArgument);
    let both = "jobraft batch create --task t --on-complete-task t --on-complete-module m";
    assert_eq!(refusal(both), ErrorKind::ArgumentConflict);
}

#[test]
fn a_schedule_says_when_and_what() {
    assert!(parse("jobraft schedule put s --cron @hourly --task t").is_ok());
    assert_eq!(refusal("jobraft schedule put s --task t"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft schedule put s --cron @hourly"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft schedule put s --cron @hourly --task t --module m"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft schedule put s --cron @hourly --task t p --file f"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft schedule next"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("jobraft schedule next s --cron @hourly"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("jobraft schedule next s --tz UTC"), ErrorKind::ArgumentConflict);
}

#[test]
fn waiting_and_watching_take_a_time_or_none() {
    for line in [
        "jobraft job list --watch",
        "jobraft job list --watch 5 --json",
        "jobraft queue drain q --wait",
        "jobraft queue drain q --wait 5m --json",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    assert_eq!(parse("jobraft nonsense").unwrap_err().exit_code(), 2);
    assert_eq!(parse("jobraft job --help").unwrap_err().exit_code(), 0);
    assert_eq!(parse("jobraft").unwrap_err().exit_code(), 2);
}

#[test]
fn worker_may_take_everything_from_its_context() {
    assert!(matches!(parse("jobraft worker --context config/worker.toml").unwrap().command, Command::Worker(_)));
}

#[test]
fn completions_know_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(parse(&format!("jobraft completions {shell}")).is_ok());
    }
}
