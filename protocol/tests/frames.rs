//! Frames survive the wire, and nothing that is not a frame is taken for one.

use bytes::Bytes;
use jobraft_protocol::frame::{self, FrameError, HEADER_BYTES};
use jobraft_protocol::{
    After, BatchId, ClientFrame, Digest, Error, ErrorCode, FencingToken, JobId, JobState, JobTemplate, LeasedJob,
    LogTime, ModuleRef, NameError, NewBatch, NewJob, NodeAddress, OnFailure, Predecessor, Push, QueueName, Request,
    Schedule, ScheduleTick, ServerFrame, Setting, Start, Task, TaskName, WorkerId, limits,
};
use proptest::prelude::*;

fn job(id: JobId, payload: Vec<u8>) -> NewJob {
    let task = Task::Handler(TaskName::new("send_email").expect("a name"));
    NewJob::new(id, QueueName::new("emails").expect("a name"), task, payload)
}

fn any_job_id() -> impl Strategy<Value = JobId> {
    (0..1_u64 << 48, any::<[u8; 10]>()).prop_map(|(ms, random)| JobId::new(LogTime::from_ms(ms), random))
}

fn roundtrip(request: Request) -> ClientFrame {
    let mut buffer = Vec::new();
    frame::encode(&ClientFrame { id: 7, request }, &mut buffer, limits::CLIENT_FRAME_BYTES_MAX).expect("it fits");
    let header = buffer[..HEADER_BYTES].try_into().expect("a header");
    assert_eq!(frame::length(header, limits::CLIENT_FRAME_BYTES_MAX), Ok(buffer.len() - HEADER_BYTES));
    frame::decode(&buffer[HEADER_BYTES..]).expect("what was encoded can be decoded")
}

/// A leased job of which nothing could be larger but what `payload` and `after` say.
fn largest_leased(payload: usize, after: usize) -> LeasedJob {
    let name = "n".repeat(128);
    let id = JobId::new(LogTime::from_ms((1 << 48) - 1), [255; 10]);
    let (queue, task) = (name.parse().expect("a name"), Task::Handler(name.parse().expect("a name")));
    let end = LogTime::from_ms(u64::MAX);
    LeasedJob {
        attempt: u32::MAX,
        max_attempts: u32::MAX,
        token: FencingToken(u64::MAX),
        expires_at: end,
        run_timeout_ms: u64::MAX,
        enqueued_at: end,
        checkpoint: vec![7; payload / 4].into(),
        group: Some(name.parse().expect("a name")),
        after: vec![Predecessor { job: id, ended: Some(JobState::Completed) }; after],
        batch: Some(BatchId(id)),
        label: Some(name.parse().expect("a name")),
        tick: Some(ScheduleTick { schedule: name.parse().expect("a name"), tick: end }),
        ..LeasedJob::new(id, queue, task, vec![7; payload])
    }
}

fn pushed(jobs: Vec<LeasedJob>) -> Result<usize, FrameError> {
    let (mut buffer, worker) = (Vec::new(), WorkerId(u64::MAX));
    let frame = ServerFrame::Push(Push::Leased { worker, jobs });
    frame::encode(&frame, &mut buffer, limits::CLIENT_FRAME_BYTES_MAX).map(|()| buffer.len())
}

#[test]
fn a_lease_answer_fits_in_a_frame_whatever_its_jobs_are_like() {
    const ENVELOPE_BYTES: usize = 100;
    let module = Task::Module(Digest([255; 32]));
    for job in [
        largest_leased(1_000, 0),
        LeasedJob { task: module, ..largest_leased(0, 0) },
        largest_leased(limits::PAYLOAD_BYTES_MAX, limits::AFTER_JOBS_MAX),
    ] {
        let bytes = pushed(vec![job.clone()]).expect("it fits");
        assert!(bytes <= job.weight_bytes() + ENVELOPE_BYTES, "{bytes} bytes, said to be {}", job.weight_bytes());
        // Leasing goes on until the bound is exceeded: by how much, the last job says.
        let count = (limits::LEASE_BYTES_MAX / job.weight_bytes()).min(limits::LEASE_JOBS_MAX as usize);
        let last = largest_leased(limits::PAYLOAD_BYTES_MAX, limits::AFTER_JOBS_MAX);
        let mut jobs = vec![job; count];
        jobs.push(last);
        pushed(jobs).expect("it fits");
    }
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(
        id in any_job_id(),
        payload in proptest::collection::vec(any::<u8>(), 0..2_000),
        priority in proptest::option::of(0..=9_u8),
        delay in proptest::option::of(any::<u64>()),
    ) {
        let mut job = job(id, payload);
        job.priority = priority;
        job.start = delay.map_or(Start::Now, Start::AfterMs);
        let schedule = Schedule::new("s".parse().expect("a name"), "0 3 * * *", JobTemplate::of(job.clone()));
        let on_failure = OnFailure::ALL[id.as_bytes()[15] as usize % 3];
        let last = NewJob { after: Some(After { jobs: vec![id], on_failure }), ..job.clone() };
        let batch = NewBatch { on_complete: Some(Box::new(job.clone())), ..NewBatch::new(BatchId(id), vec![last]) };
        for request in [
            Request::Enqueue { jobs: vec![job], all_or_none: false },
            Request::CreateBatch { batch: Box::new(batch) },
            Request::Configure { settings: vec![Setting::PutSchedule(Box::new(schedule))] },
        ] {
            prop_assert_eq!(roundtrip(request.clone()).request, request);
        }
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(garbage in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = frame::decode::<ClientFrame>(&garbage);
        let _ = frame::decode::<ServerFrame>(&garbage);
    }

    #[test]
    fn a_bit_flip_never_panics(flip in 0..1_000_usize, bit in 0..8_u8) {
        let mut buffer = Vec::new();
        let jobs = vec![job(JobId::new(LogTime::from_ms(1), [3; 10]), vec![9; 40])];
        let request = Request::Enqueue { jobs, all_or_none: true };
        frame::encode(&ClientFrame { id: 1, request }, &mut buffer, limits::CLIENT_FRAME_BYTES_MAX).expect("it fits");
        let body = &mut buffer[HEADER_BYTES..];
        let index = flip % body.len();
        body[index] ^= 1 << bit;
        let _ = frame::decode::<ClientFrame>(body);
    }

    #[test]
    fn a_job_id_keeps_its_time_and_sorts_by_it(a in 0..1_u64 << 48, b in 0..1_u64 << 48, random in any::<[u8; 10]>()) {
        let (x, y) = (JobId::new(LogTime::from_ms(a), random), JobId::new(LogTime::from_ms(b), random));
        prop_assert_eq!(x.minted_at(), LogTime::from_ms(a));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert!(x.is_version_7());
        prop_assert_eq!(x.to_string().parse::<JobId>(), Ok(x));
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_and_leaves_no_trace() {
    let mut buffer = vec![1, 2, 3];
    let refused = frame::encode(&Bytes::from(vec![0; 100]), &mut buffer, 50);
    assert!(matches!(refused, Err(FrameError::TooLarge { bytes: 102, max: 50 })), "{refused:?}");
    assert_eq!(buffer, [1, 2, 3]);
    assert!(frame::length(51_u32.to_be_bytes(), 50).is_err());
    assert_eq!(frame::length(50_u32.to_be_bytes(), 50), Ok(50));
}

#[test]
fn bytes_after_the_value_are_refused() {
    let mut buffer = Vec::new();
    frame::encode(&7_u8, &mut buffer, 10).expect("it fits");
    buffer.push(0);
    assert_eq!(frame::decode::<u8>(&buffer[HEADER_BYTES..]), Err(FrameError::Trailing(1)));
}

#[test]
fn a_frame_that_claims_more_than_it_has_allocates_nothing_for_it() {
    // CBOR: a byte string of 2^40 bytes, of which three are there.
    let claim = [0x5b, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3];
    assert!(matches!(frame::decode::<Bytes>(&claim), Err(FrameError::Malformed(_))));
}

#[test]
fn an_error_code_of_a_newer_version_is_unknown_and_final() {
    let mut buffer = Vec::new();
    frame::encode(&"code_of_the_future", &mut buffer, 100).expect("it fits");
    let code: ErrorCode = frame::decode(&buffer[HEADER_BYTES..]).expect("it decodes");
    assert_eq!(code, ErrorCode::Unknown);
    assert_eq!(code.retry(), jobraft_protocol::Retry::Never);
}

#[test]
fn every_error_code_is_written_as_it_is_serialized() {
    let error = Error::new(ErrorCode::LeaseLost, "token 3 is stale");
    assert_eq!(error.to_string(), "token 3 is stale (lease_lost)");
    for code in [ErrorCode::NotLeader, ErrorCode::IdOutsideWindow, ErrorCode::OutcomeUnknown, ErrorCode::QueueFull] {
        let mut buffer = Vec::new();
        frame::encode(&code, &mut buffer, 100).expect("it fits");
        assert_eq!(frame::decode::<String>(&buffer[HEADER_BYTES..]).as_deref(), Ok(code.as_str()));
    }
}

#[test]
fn names_are_bounded_and_printable() {
    assert!(QueueName::new("tenant/42:resize-v1.0@eu_west").is_ok());
    assert!(matches!(QueueName::new(""), Err(NameError::Empty { .. })));
    assert!(matches!(QueueName::new(&"x".repeat(129)), Err(NameError::TooLong { bytes: 129, max: 128, .. })));
    assert!(matches!(QueueName::new("a b"), Err(NameError::Character { character: ' ', .. })));
    assert!(matches!(QueueName::new("a\u{1b}[31m"), Err(NameError::Character { .. })));
    // And a name that came from the wire is checked as well.
    let mut buffer = Vec::new();
    frame::encode(&"no spaces", &mut buffer, 100).expect("it fits");
    assert!(frame::decode::<QueueName>(&buffer[HEADER_BYTES..]).is_err());
}

#[test]
fn addresses_are_host_and_port() {
    for good in ["127.0.0.1:7400", "node1.example:1", "[::1]:7400"] {
        assert!(good.parse::<NodeAddress>().is_ok(), "{good}");
    }
    for bad in ["", "127.0.0.1", ":7400", "host:0", "host:65536", "::1:7400", "a b:1", "host:port"] {
        assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
    }
    assert_eq!("[::1]:7400".parse::<NodeAddress>().expect("an address").host(), "::1");
}

#[test]
fn a_module_is_named_or_pinned() {
    let digest = Digest([0xab; 32]);
    assert_eq!(format!("sha256:{digest}").parse(), Ok(ModuleRef::Digest(digest)));
    assert!(matches!("wordcount@1.2".parse(), Ok(ModuleRef::Name(_))));
    assert!("sha256:abc".parse::<ModuleRef>().is_err());
    assert!("sha256:é".parse::<ModuleRef>().is_err());
}
