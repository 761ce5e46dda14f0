//! The bounds of everything, by name. What happens at a bound stands beside it.

/// A payload's size unless the queue says otherwise; a larger one is refused with `too_large`.
pub const PAYLOAD_BYTES_DEFAULT: usize = 256 * 1024;
/// The largest payload that a cluster can be configured to take.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// The largest result of a job; a larger one fails the attempt in the SDK and is refused with `too_large` here.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// The tail of a job's log that is kept with it; what is older is cut by the SDK, a longer one is refused.
pub const LOG_TAIL_BYTES_MAX: usize = 16 * 1024;
/// The longest failure message; cut, not refused.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// What is kept of a failure's message once another attempt has failed; cut.
pub const FORMER_ERROR_BYTES_MAX: usize = 512;
/// The longest reason of a cancellation; cut, not refused.
pub const REASON_BYTES_MAX: usize = 1024;
/// The most attempt errors kept with one job; the oldest go first.
pub const ATTEMPT_ERRORS_MAX: usize = 25;

/// The most jobs in one enqueue; more are refused with `too_large`, none of them enqueued.
pub const BULK_JOBS_MAX: usize = 1_000;
/// The most payload bytes in one enqueue; more are refused with `too_large`, none of them enqueued.
pub const BULK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The shortest lease; a shorter wish is raised to it.
pub const LEASE_MS_MIN: u64 = 1_000;
/// The lease that a worker gets unless it asks otherwise.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// The longest lease; a longer wish is refused with `invalid_argument`.
pub const LEASE_MS_MAX: u64 = 12 * 60 * 60 * 1_000;
/// How long a fetch waits for a job unless it asks otherwise.
pub const FETCH_WAIT_MS_DEFAULT: u64 = 20_000;
/// The longest wait of a fetch or of `job wait` in one request; the SDK asks again.
pub const WAIT_MS_MAX: u64 = 60_000;
/// The most jobs in one lease answer; more credits are served by further ones.
pub const LEASE_JOBS_MAX: u32 = 4_096;
/// The most bytes in one lease answer, by [`crate::LeasedJob::weight_bytes`]: leasing stops once they are exceeded, so at
/// least one job fits.
pub const LEASE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The most leases in one extend; more are refused with `too_large`.
pub const EXTEND_LEASES_MAX: usize = 4_096;
/// The most queues that one worker can name.
pub const WORKER_QUEUES_MAX: usize = 64;
/// The greatest weight of a queue.
pub const QUEUE_WEIGHT_MAX: u32 = 1_000;
/// The most credits that one subscription can hold; what exceeds them is dropped.
pub const CREDITS_MAX: u32 = 4_096;

/// Attempts of a job unless it says otherwise.
pub const ATTEMPTS_DEFAULT: u32 = 25;
/// The most attempts that a job may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// The longest time between two attempts.
pub const BACKOFF_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// The most delays that a backoff can list; more are refused with `invalid_argument`.
pub const BACKOFF_LIST_MAX: usize = 32;
/// Crashes within [`CRASH_WINDOW_MS`] that make a job dead unless it says otherwise.
pub const CRASHES_DEFAULT: u32 = 3;
/// The most crashes that a job may ask to survive.
pub const CRASHES_MAX: u32 = 100;
/// For how long a crash counts.
pub const CRASH_WINDOW_MS: u64 = 72 * 60 * 60 * 1_000;
/// The longest delay of a job.
pub const DELAY_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;
/// The least urgent priority; 0 is the most urgent.
pub const PRIORITY_MAX: u8 = 9;
/// The priority of a job that does not say.
pub const PRIORITY_DEFAULT: u8 = 5;
/// How long a job may run unless it says otherwise.
pub const RUN_TIMEOUT_MS_DEFAULT: u64 = 10 * 60 * 1_000;
/// The longest time that a job may ask to run.
pub const RUN_TIMEOUT_MS_MAX: u64 = LEASE_MS_MAX;
/// What a lease may exceed its job's run time-out by, for the worker to stop it and report: then it ends, extended or not.
pub const RUN_GRACE_MS: u64 = 30_000;
/// The largest checkpoint of a job; a larger one is refused with `too_large`.
pub const CHECKPOINT_BYTES_MAX: usize = 256 * 1024;
/// The longest message of a job's progress; cut, not refused.
pub const PROGRESS_MESSAGE_BYTES_MAX: usize = 256;
/// How long a running job has to follow a cancellation unless it is said otherwise.
pub const CANCEL_GRACE_MS_DEFAULT: u64 = 25_000;
/// The longest grace of a cancellation.
pub const CANCEL_GRACE_MS_MAX: u64 = 60 * 60 * 1_000;
/// The longest period for which a job can hold a unique key.
pub const UNIQUE_PERIOD_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most keys that are held for a period in the whole cluster; a job that would make one more is refused with
/// `too_many`.
pub const UNIQUE_PERIODS_MAX: usize = 1_000_000;
/// The most values that one completion writes.
pub const STATE_WRITES_MAX: usize = 64;
/// The largest value of the cluster's state.
pub const STATE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// The most values of the cluster's state; a write that would make one more is refused with `too_many`.
pub const STATE_KEYS_MAX: usize = 100_000;
/// The most bytes of all values of the cluster's state together; a write that would make them more is refused with
/// `too_large`.
pub const STATE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most values in one page of a list of them.
pub const STATE_LIST_MAX: u32 = 1_000;

/// The most waiting jobs in one queue unless it is set otherwise; more are refused with `queue_full`.
pub const QUEUE_DEPTH_DEFAULT: usize = 1_000_000;
/// The most that it can be set to.
pub const QUEUE_DEPTH_MAX: u64 = 100_000_000;
/// The most bytes that the waiting jobs of one queue hold, their payloads and what earlier attempts left, unless it is set
/// otherwise; a job that comes back may exceed it; more are refused with `queue_full`.
pub const QUEUE_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
/// The most that it can be set to.
pub const QUEUE_BYTES_MAX: u64 = 1024 * 1024 * 1024 * 1024;
/// The most changes in one configuration; more are refused with `too_many`, none of them made.
pub const SETTINGS_MAX: usize = 1_000;

/// How long completed jobs are kept unless their queue is set otherwise.
pub const RETENTION_COMPLETED_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// How long cancelled jobs are kept unless their queue is set otherwise.
pub const RETENTION_CANCELLED_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// How long expired jobs are kept unless their queue is set otherwise.
pub const RETENTION_EXPIRED_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// How long dead jobs are kept unless their queue is set otherwise.
pub const RETENTION_DEAD_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The longest retention.
pub const RETENTION_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

/// The most workers of a cluster; a registration beyond is refused with `too_many`.
pub const WORKERS_MAX: usize = 20_000;
/// The most workers in one page of a list of them.
pub const WORKER_LIST_MAX: u32 = 1_000;
/// How exactly the cluster knows when it last heard of a worker.
pub const WORKER_SEEN_MS: u64 = 20_000;
/// A worker that was not heard of for this long and holds nothing is forgotten.
pub const WORKER_FORGOTTEN_MS: u64 = 60 * 60 * 1_000;
/// The most jobs shown with a worker.
pub const WORKER_JOBS_SHOWN_MAX: usize = 100;

/// The most jobs in one page of a list; a wish for more is lowered to it.
pub const LIST_JOBS_MAX: u32 = 1_000;
/// Rows that are looked at for one page; a page that is not full by then says where to go on.
pub const LIST_ROWS_MAX: usize = 20_000;
/// Bytes of jobs, payloads and results among them, that are read for one page; one at least is, and a page that is not full
/// by then says where to go on.
pub const LIST_ROW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most queues in a filter.
pub const FILTER_VALUES_MAX: usize = 64;
/// The longest text in a filter.
pub const FILTER_TEXT_BYTES_MAX: usize = 512;
/// The longest error in a list of jobs; cut.
pub const SUMMARY_ERROR_BYTES_MAX: usize = 512;
/// The most jobs in one action; more are refused with `too_many`, nothing done.
pub const ACTION_JOBS_MAX: usize = 1_000;
/// The most queues of a cluster; a job that would make one more is refused with `too_many`.
pub const QUEUES_MAX: usize = 10_000;

/// The most jobs that one job waits for; more are refused with `too_many`.
pub const AFTER_JOBS_MAX: usize = 1_000;
/// The most jobs that the jobs of one enqueue wait for, each counted as often as it is named; more are refused with
/// `too_large`, none of them enqueued.
pub const BULK_AFTER_MAX: usize = 100_000;
/// What each predecessor that a waiting job names counts of the bytes of its queue: about what it takes in memory.
pub const PREDECESSOR_BYTES: usize = 64;
/// The most jobs that wait for one job; one more is refused with `too_many`.
pub const DEPENDENTS_MAX: usize = 10_000;
/// Predecessors that a list of jobs names with each of them.
pub const SUMMARY_AFTER_MAX: usize = 16;
/// The most jobs of one batch; more are refused with `too_many`.
pub const BATCH_JOBS_MAX: u64 = 1_000_000;
/// The most batches that the cluster knows; when there are as many, the one that ended longest ago is forgotten for a new one,
/// and if none has ended, the new one is refused with `too_many`.
pub const BATCHES_MAX: usize = 100_000;
/// The most bytes of payload that callbacks hold which are not enqueued yet, of all batches together; a batch that would
/// make them more is refused with `too_large`.
pub const CALLBACK_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a batch is known after its end.
pub const BATCH_KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most batches in one page of a list of them.
pub const BATCH_LIST_MAX: u32 = 1_000;

/// The most jobs at once that a limit of concurrency can allow.
pub const CONCURRENCY_MAX: u64 = 1_000_000;
/// The most attempts in a period, and the largest burst, of a rate.
pub const RATE_COUNT_MAX: u64 = 1_000_000;
/// The longest period of a rate.
pub const RATE_PERIOD_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// The greatest weight of a group.
pub const GROUP_WEIGHT_MAX: u32 = 1_000;
/// The most groups of all queues together that have jobs, had their turn lately, or are set to something of their own; a job
/// that would make one more is refused with `too_many`.
pub const GROUPS_MAX: usize = 100_000;
/// The most groups in one page of a list of them.
pub const GROUP_LIST_MAX: u32 = 1_000;

/// The most signatures of one module; those beyond are refused with `too_many`.
pub const MODULE_SIGNATURES_MAX: usize = 8;

/// The most queue patterns of one credential.
pub const GRANT_PATTERNS_MAX: usize = 32;

/// The most tokens of a cluster, those that have expired included; a further one is refused with `too_many`.
pub const TOKENS_MAX: usize = 10_000;
/// The most tokens in one page of a list of them.
pub const TOKEN_LIST_MAX: u32 = 500;
/// The least and the most time for which a token's secret counts, if that is bounded.
pub const TOKEN_TTL_MS_MIN: u64 = 1_000;
/// See [`TOKEN_TTL_MS_MIN`].
pub const TOKEN_TTL_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;
/// The longest time for which a secret counts beside the one that took its place.
pub const TOKEN_GRACE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How often it is noted that a token was used, at most.
pub const TOKEN_USED_STEP_MS: u64 = 60_000;

/// The most schedules of a cluster; one more is refused with `too_many`.
pub const SCHEDULES_MAX: usize = 10_000;
/// The most bytes of payload of all schedules together; one that would make them more is refused with `too_large`.
pub const SCHEDULE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most schedules in one page of a list of them.
pub const SCHEDULE_LIST_MAX: u32 = 1_000;
/// The longest cron expression, and the longest name of a time zone.
pub const CRON_BYTES_MAX: usize = 256;
/// Ticks of one schedule that one command deals with; what is left goes with the next.
pub const TICKS_MAX: usize = 100;
/// A tick that is so late is dealt with as its schedule's policy for late ones says.
pub const TICK_LATE_MS: u64 = 60_000;
/// The most next ticks that are shown of a schedule.
pub const NEXT_TICKS_MAX: u32 = 1_000;
/// The longest error kept with a batch or a schedule; cut.
pub const KEPT_ERROR_BYTES_MAX: usize = 512;

/// How long after it ended a job's id is remembered, and how old an id may be at enqueue.
pub const IDEMPOTENCY_WINDOW_MS_DEFAULT: u64 = 5 * 60 * 1_000;
/// How far ahead of log time a new job's id may be.
pub const ID_AHEAD_MS_MAX: u64 = 60_000;

/// The largest module.
pub const MODULE_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// The size of the pieces in which modules and snapshots travel.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The most modules of a cluster; an upload beyond is refused with `too_many`.
pub const MODULES_MAX: usize = 10_000;
/// The most jobs that one request completes, with [`BULK_BYTES_MAX`] of results and logs, and all together with as many jobs
/// as one enqueue may have; more are refused with `too_large`, none of them completed.
pub const COMPLETIONS_MAX: usize = 1_000;

/// The largest frame from or to a client: a full bulk enqueue and its envelope.
pub const CLIENT_FRAME_BYTES_MAX: usize = 6 * 1024 * 1024;
/// The largest frame between nodes: a full batch of commands and its envelope.
pub const PEER_FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most names in one list of them that are read at all; a frame with more is malformed. What each list may have, less by
/// far, is refused by name.
pub const TEXTS_READ_MAX: usize = 4_096;
/// Commands of one log entry after which no further request's are taken into it; the rest waits for the next.
pub const ENTRY_COMMANDS_MAX: usize = 4_096;
/// Payload bytes of one log entry after which no further command is taken into it.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Timers that one log entry fires; the rest falls to the entries that follow.
pub const TIMERS_PER_ENTRY_MAX: usize = 1_000;

/// Streams that a client may hold open at once on one connection.
pub const CLIENT_STREAMS_MAX: u32 = 16;
/// Requests of one connection under way at once, of all its sessions together; they are read no further until some are
/// answered.
pub const CONNECTION_REQUESTS_MAX: usize = 16_384;
/// Leases of one connection that wait for a job at once; a further one that would wait is refused with `too_many`.
pub const CONNECTION_FETCHES_MAX: usize = 1_024;
/// Client connections of one node; further ones are refused.
pub const CLIENT_CONNECTIONS_MAX: usize = 4_096;
/// Those of one name, a quarter of all, so that nobody locks out the others; further ones are refused.
pub const CLIENT_CONNECTIONS_PER_NAME_MAX: usize = 1_024;
/// Bytes of large frames that come in on one client's connection at once, or that came and were not dealt with: at least
/// two of the largest. The next one is read no further until one before is dealt with.
pub const CONNECTION_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Those of all clients of a node. The next one is read no further until another one is dealt with; small frames pass.
pub const CLIENT_FRAMES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Answers of one connection that are read or wait to be written, in bytes; requests beyond wait.
pub const CONNECTION_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Those of all clients of a node; requests that may be answered by much wait. Who reads nothing for long is given up, and
/// makes room.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Connections without a certificate that have not shown a good token yet; the oldest gives way to a further one.
pub const UNPROVED_MAX: usize = 256;
/// Those from one address, or one network of IPv6 (/64).
pub const UNPROVED_PER_ADDRESS_MAX: usize = 32;
/// The largest frame that is read of one of them, in bytes.
pub const UNPROVED_FRAME_BYTES_MAX: usize = 256;
/// Bad tokens from one address, or one network of IPv6 (/64), within a minute after which further ones are refused without a
/// look at what the other nodes know. Good ones are let in.
pub const BAD_TOKENS_PER_ADDRESS_MAX: u32 = 20;
/// Modules that a node receives from one name at once; further ones wait their turn. Half of all, so that nobody locks
/// out the others.
pub const UPLOADS_PER_NAME_MAX: usize = 2;
/// How long an upload of a module may take, its wait for the majority included; then it is refused with `unavailable`.
pub const UPLOAD_MS_MAX: u64 = 15 * 60 * 1_000;
/// Requests whose commands wait for a place in the log; beyond, requests are refused with `overloaded`.
pub const PROPOSALS_WAITING_MAX: usize = 65_536;

/// The longest name of a namespace, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 32;
/// The most namespaces of a cluster, those that were deleted included; a further one is refused with `too_many`.
pub const NAMESPACES_MAX: usize = 10_000;
/// The most namespaces in one page of a list of them.
pub const NAMESPACE_LIST_MAX: u32 = 1_000;
/// The largest quota of anything.
pub const NAMESPACE_QUOTA_MAX: u64 = 1 << 50;

/// The longest name of a secret, in bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 64;
/// The largest value of a secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// The most secrets of a cluster; a further one is refused with `too_many`.
pub const SECRETS_MAX: usize = 1_000;
/// The most modules to whose jobs one secret is given.
pub const SECRET_MODULES_MAX: usize = 32;
/// The most queues, or patterns of them, in which one secret is given to jobs.
pub const SECRET_QUEUES_MAX: usize = 8;
/// The most secrets that one job is given, and the most bytes of them all; a job with more gets none, and fails.
pub const JOB_SECRETS_MAX: usize = 64;
/// See [`JOB_SECRETS_MAX`].
pub const JOB_SECRETS_BYTES_MAX: usize = 256 * 1024;
/// What a module's name pointed to before is remembered so often, for the jobs that were enqueued by then.
pub const FORMER_MODULES_MAX: usize = 16;

/// The largest datagram that nodes and clients send where the way takes it: on the machine itself, and where frames are jumbo.
/// QUIC finds out. Ten of them, as many as go in one system call, are less than the 64 KiB that one may take.
pub const DATAGRAM_BYTES_MAX: u16 = 6_500;
