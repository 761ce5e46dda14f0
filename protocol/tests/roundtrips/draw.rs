//! Values drawn from a seed.

use bytes::Bytes;
use jobraft_protocol::{
    After, Backoff, BackoffCurve, BatchId, ClientRole, Digest, FencingToken, Grant, JobId, JobState, JobTemplate,
    LeaseRef, LogTime, ModuleSignature, Namespace, NewJob, NodeAddress, NodeId, OnConflict, OnFailure, Progress, Rate,
    Schedule, SecretName, SignatureBytes, Signer, Start, Task, Unique, UniqueScope, WorkerId, WorkerInfo,
};
use std::fmt::Debug;
use std::str::FromStr;

pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64, of Steele, Lea and Flood.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// As often small, where encodings change their form, as of any size.
    pub(crate) fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        self.next().checked_shr(64 - bits.max(1)).unwrap_or_default()
    }

    pub(crate) fn small(&mut self) -> u32 {
        self.number() as u32
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| draw(self))
    }

    pub(crate) fn some<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| draw(self)).collect()
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        (0..self.below(300)).map(|_| self.byte()).collect::<Vec<u8>>().into()
    }

    pub(crate) fn text(&mut self) -> String {
        (0..self.below(40)).map(|_| self.pick(&['a', 'Z', '0', ' ', 'é', '\n', '\u{1F980}'])).collect()
    }

    /// A name of any kind.
    pub(crate) fn name<T: FromStr<Err: Debug>>(&mut self) -> T {
        let name: String = (0..=self.below(20)).map(|_| self.pick(&['a', 'Z', '0', '-', '_', '.'])).collect();
        format!("n{name}").parse().expect("a name")
    }

    pub(crate) fn time(&mut self) -> LogTime {
        LogTime::from_ms(self.number())
    }

    pub(crate) fn job(&mut self) -> JobId {
        JobId::new(LogTime::from_ms(self.next() >> 16), std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn batch(&mut self) -> BatchId {
        BatchId(self.job())
    }

    pub(crate) fn worker(&mut self) -> WorkerId {
        WorkerId(self.number())
    }

    pub(crate) fn node(&mut self) -> NodeId {
        NodeId(self.number())
    }

    pub(crate) fn address(&mut self) -> NodeAddress {
        format!("{}:{}", self.pick(&["127.0.0.1", "[::1]", "node.example"]), 1 + self.below(65_535))
            .parse()
            .expect("one")
    }

    pub(crate) fn grant(&mut self) -> Grant {
        let roles = self.some(|draw| draw.pick(&ClientRole::ALL));
        let grant = Grant::new(roles).with_payloads(self.yes());
        let queues = vec![self.name(), self.name()];
        let grant = if self.yes() { grant.in_namespace(self.namespace()) } else { grant };
        if self.yes() { grant } else { grant.for_queues(queues).expect("there are two") }
    }

    pub(crate) fn signature(&mut self) -> ModuleSignature {
        let bytes = SignatureBytes(std::array::from_fn(|_| self.byte()));
        ModuleSignature { signer: Signer(self.digest().0), signature: bytes }
    }

    pub(crate) fn digest(&mut self) -> Digest {
        Digest(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn lease(&mut self) -> LeaseRef {
        LeaseRef { job: self.job(), token: FencingToken(self.number()) }
    }

    pub(crate) fn state(&mut self) -> JobState {
        self.pick(&JobState::ALL)
    }

    pub(crate) fn progress(&mut self) -> Progress {
        Progress { percent: self.byte(), message: self.text() }
    }

    pub(crate) fn rate(&mut self) -> Rate {
        Rate { count: self.number(), per_ms: self.number(), burst: self.maybe(Self::number) }
    }

    pub(crate) fn task(&mut self) -> Task {
        if self.yes() { Task::Handler(self.name()) } else { Task::Module(self.digest()) }
    }

    pub(crate) fn info(&mut self) -> WorkerInfo {
        WorkerInfo {
            name: self.text(),
            agent: self.text(),
            queues: self.some(Self::name),
            concurrency: self.small(),
            owner: self.text(),
            namespace: self.namespace(),
        }
    }

    pub(crate) fn variable(&mut self) -> SecretName {
        format!("V{}", self.number()).parse().expect("a name")
    }

    pub(crate) fn namespace(&mut self) -> Namespace {
        if self.yes() { Namespace::default() } else { self.name() }
    }

    pub(crate) fn backoff(&mut self) -> Backoff {
        let curve = match self.below(5) {
            0 => BackoffCurve::Standard,
            1 => BackoffCurve::Exponential { first_ms: self.number(), factor: self.small() },
            2 => BackoffCurve::Linear { step_ms: self.number() },
            3 => BackoffCurve::Fixed { delay_ms: self.number() },
            _ => BackoffCurve::List { delays_ms: self.some(Self::number) },
        };
        Backoff { max_ms: self.number(), jitter_percent: self.byte(), ..Backoff::new(curve) }
    }

    pub(crate) fn unique(&mut self) -> Unique {
        let scopes = [UniqueScope::Waiting, UniqueScope::UntilStarted, UniqueScope::UntilDone];
        let scope = if self.yes() { self.pick(&scopes) } else { UniqueScope::ForMs(self.number()) };
        let on_conflict = match self.below(3) {
            0 => OnConflict::Reject,
            1 => OnConflict::ReturnExisting,
            _ => OnConflict::Replace { payload: self.yes(), start: self.yes() },
        };
        Unique { key: self.name(), scope, on_conflict }
    }

    pub(crate) fn new_job(&mut self) -> NewJob {
        let start = match self.below(3) {
            0 => Start::Now,
            1 => Start::AfterMs(self.number()),
            _ => Start::At(self.time()),
        };
        NewJob {
            priority: self.maybe(Self::byte),
            start,
            max_attempts: self.maybe(Self::small),
            run_timeout_ms: self.maybe(Self::number),
            ttl_ms: self.maybe(Self::number),
            start_deadline_ms: self.maybe(Self::number),
            backoff: self.maybe(Self::backoff),
            max_crashes: self.maybe(Self::small),
            unique: self.maybe(Self::unique),
            group: self.maybe(Self::name),
            after: self.maybe(|draw| After { jobs: draw.some(Self::job), on_failure: draw.pick(&OnFailure::ALL) }),
            batch: self.maybe(Self::batch),
            label: self.maybe(Self::name),
            ..NewJob::new(self.job(), self.name(), self.task(), self.bytes())
        }
    }

    pub(crate) fn schedule(&mut self) -> Schedule {
        let job = JobTemplate::of(self.new_job());
        Schedule::new(self.name(), self.text(), job).time_zone(self.text())
    }

    /// Changes, adds or drops some bytes.
    pub(crate) fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len().max(1));
            match self.below(5) {
                0 => bytes.insert(place, self.byte()),
                1 if !bytes.is_empty() => {
                    bytes.remove(place);
                }
                2 => bytes.truncate(place),
                // The length of a list, a map, a text.
                3 if !bytes.is_empty() => bytes[place] = self.pick(&[0x9b, 0xbb, 0x5b, 0x7b, 0x9f, 0xbf, 0x1b]),
                _ if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                _ => {}
            }
        }
    }
}
