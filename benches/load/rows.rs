//! The rows of the table: which load, measured how, against which bar.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Options;
use crate::generator::{Connection, Outcome, Rendered, Until, closed_loop, open_loop};
use crate::measure::{median, processor_time, resident, resident_at_rest};
use crate::report::{Bar, Row};
use crate::seat::{Gateway, PATH, PUBLIC_URL, Seat};
use crate::tokens::{Holder, Mint, forged};
use crate::{governed, streams, upstream, workload};

const CONNECTIONS: usize = 64;
const TOKENS: usize = 11_000;
const CACHED_TOKENS: usize = 50_000;
const IDLE_CONNECTIONS: usize = 1_000;
const OPEN_STREAMS: usize = 500;
const RATE: u32 = 2_000;
/// A token that the issuer is asked about.
const OPAQUE: &str = "opaque-2c9f6d0b7a1e4f53";
/// Ids differ as a client's do; a set is sent over and over.
const VARIANTS: usize = 500;
const HOLDERS: usize = 64;

/// How often a row's tokens are met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Everything was sent once before it is measured.
    Again,
    /// Each is sent once, to a gateway that was just started.
    First,
}

/// A row that measures processor time for each answer.
struct Cost {
    key: &'static str,
    name: &'static str,
    bar: f64,
    /// What a bare proxy pays to verify the proof of each request comes on top of the bar.
    proved: bool,
    status: u16,
    sight: Sight,
    requests: fn(&Load) -> Vec<Rendered>,
}

const COSTS: &[Cost] = &[
    Cost {
        key: "call",
        name: "tools/call 330 B, one token, seen before",
        bar: 1.20,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::call(Some(&load.token), id)),
    },
    Cost {
        key: "opaque",
        name: "the same, one opaque token, seen before",
        bar: 1.20,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::call(Some(OPAQUE), id)),
    },
    Cost {
        key: "tokens",
        name: "the same, 11,000 tokens in turn, seen before",
        bar: 1.20,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: Load::calls_of_many,
    },
    Cost {
        key: "first",
        name: "the same, each token for the first time, RS256 to ES256 10:1",
        bar: 2.4,
        proved: false,
        status: 200,
        sight: Sight::First,
        requests: Load::calls_of_many,
    },
    Cost {
        key: "dpop",
        name: "the same, 64 tokens bound to a key, each with a proof of its own",
        bar: 1.6,
        proved: true,
        status: 200,
        sight: Sight::First,
        requests: Load::calls_with_proof,
    },
    Cost {
        key: "list",
        name: "tools/list, 100 tools (60 KB) cut to 10",
        bar: 2.0,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::list(&load.token, id)),
    },
    Cost {
        key: "events",
        name: "tools/call answered by ten events",
        bar: 1.08,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::events(&load.token, id)),
    },
    Cost {
        key: "large",
        name: "tools/call with 50 KB of arguments",
        bar: 1.5,
        proved: false,
        status: 200,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::large_call(&load.token, id)),
    },
    Cost {
        key: "anonymous",
        name: "refused: no token (against a bare call)",
        bar: 0.45,
        proved: false,
        status: 401,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::call(None, id)),
    },
    Cost {
        key: "forbidden",
        name: "refused: a tool that no rule names (against a bare call)",
        bar: 0.55,
        proved: false,
        status: 403,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::forbidden_call(&load.token, id)),
    },
    Cost {
        key: "forged",
        name: "refused: wrong RS256 signature (against a bare call)",
        bar: 1.7,
        proved: false,
        status: 401,
        sight: Sight::Again,
        requests: |load| load.variants(|id| workload::call(Some(&forged(&load.mint.rs256(id))), id)),
    },
];

const LATENCY: &str = "latency";
const MEMORY: &str = "memory";
const START: &str = "start";
const GOVERNED: &str = "governed";
const STREAMS: &str = "streams";

pub fn names() -> Vec<&'static str> {
    COSTS.iter().map(|cost| cost.key).chain([LATENCY, MEMORY, STREAMS, GOVERNED, START]).collect()
}

/// Everything the rows share.
struct Load {
    options: Options,
    mint: Mint,
    holder: Holder,
    token: String,
    /// Rendered when first needed: signing them takes a while.
    many: std::cell::OnceCell<Vec<Rendered>>,
    upstream: String,
    tested: Gateway,
    probe: Rendered,
}

/// Measures the rows that were asked for, in order; those before a fault, and the fault.
pub async fn measure(options: Options) -> (Vec<Row>, io::Result<()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port for the upstream");
    let upstream = listener.local_addr().expect("the upstream's address").to_string();
    tokio::task::spawn_local(upstream::run(listener));
    let mint = Mint::new(&format!("{PUBLIC_URL}{PATH}"));
    let jwks: PathBuf = mint.write_jwks(folder.path());
    let tested = match &options.binary {
        Some(binary) => Gateway::Doorward { binary: binary.clone(), jwks, store: None },
        None => Gateway::Bare,
    };
    let token = mint.rs256(99_999_999);
    let probe = workload::call(Some(&token), 0);
    let holder = Holder::new(&format!("{PUBLIC_URL}{PATH}"));
    let load = Load { options, mint, holder, token, many: std::cell::OnceCell::new(), upstream, tested, probe };
    let mut rows = Vec::new();
    let done = load.fill(&mut rows).await;
    (rows, done)
}

impl Load {
    async fn fill(&self, rows: &mut Vec<Row>) -> io::Result<()> {
        for cost in COSTS.iter().filter(|cost| self.wants(cost.key)) {
            rows.push(self.cost(cost).await?);
        }
        if self.wants(LATENCY) {
            rows.push(self.latency().await?);
        }
        if self.wants(MEMORY) {
            rows.extend(self.memory().await?);
        }
        if self.wants(STREAMS) && !matches!(self.tested, Gateway::Bare) {
            rows.extend(self.streams().await?);
        }
        if self.wants(GOVERNED)
            && let Gateway::Doorward { binary, jwks, .. } = &self.tested
        {
            let folder = tempfile::tempdir()?;
            let files = ["empty.db", "full.db"].map(|name| folder.path().join(name));
            governed::fill(&files[0], 0, 1).await?;
            governed::fill(&files[1], governed::REVOCATIONS, governed::CLIENTS).await?;
            let known = files.map(|file| Gateway::Doorward { binary: binary.clone(), jwks: jwks.clone(), store: Some(file) });
            rows.extend(self.governed(&known).await?);
        }
        if self.wants(START) {
            rows.push(self.start().await?);
        }
        Ok(())
    }

    fn wants(&self, key: &str) -> bool {
        self.options.rows.is_empty() || self.options.rows.iter().any(|row| row == key)
    }

    fn variants(&self, render: impl Fn(usize) -> Rendered) -> Vec<Rendered> {
        (1..=VARIANTS).map(render).collect()
    }

    fn calls_of_many(&self) -> Vec<Rendered> {
        let render = || (0..TOKENS).map(|serial| workload::call(Some(&self.mint.mixed(serial)), serial)).collect();
        self.many.get_or_init(render).clone()
    }

    /// Proofs are good once, so each of them is sent once. They are dated ahead, so that they last the row.
    fn calls_with_proof(&self) -> Vec<Rendered> {
        let thumbprint = self.holder.thumbprint();
        let tokens: Vec<String> = (0..HOLDERS).map(|serial| self.mint.bound(serial, &thumbprint)).collect();
        let proved = |(serial, token): (usize, &String)| workload::call_with_proof(token, &self.holder.proof(token, serial), serial);
        (0..TOKENS).zip(tokens.iter().cycle()).map(proved).collect()
    }

    async fn seat(&self, gateway: &Gateway) -> io::Result<Seat> {
        Seat::start(gateway, &self.upstream, &self.probe).await
    }

    /// The status that is right: a bare proxy refuses nothing.
    fn expected(&self, status: u16) -> u16 {
        if matches!(self.tested, Gateway::Bare) { 200 } else { status }
    }

    /// Bare and tested in turn, the first of each round alternating.
    async fn cost(&self, cost: &Cost) -> io::Result<Row> {
        let requests = (cost.requests)(self);
        // A refused request costs a bare proxy nothing that could be compared: the plain call is the measure.
        let plain = self.variants(|id| workload::call(Some(&self.token), id));
        let comparable = if cost.status == 200 { &requests } else { &plain };
        let mut row = row(cost.name, "µs", Bar::Ratio(cost.bar));
        let bare = self.seat(&Gateway::Bare).await?;
        let verifying = if cost.proved { Some(self.seat(&Gateway::Verifying(self.holder.key())).await?) } else { None };
        let mut tested = self.seat(&self.tested).await?;
        for seat in [Some(&bare), verifying.as_ref()].into_iter().flatten() {
            closed_loop(&seat.address, comparable, CONNECTIONS, Until::Elapsed(self.options.cell / 4)).await;
        }
        // A bare proxy that does not answer would make the bar higher.
        let (mut verifications, mut faults) = (Vec::new(), Vec::new());
        if cost.sight == Sight::Again {
            let rounds = Until::Rounds(2_000usize.div_ceil(requests.len()));
            closed_loop(&tested.address, &requests, CONNECTIONS, rounds).await;
        }
        for round in 0..self.options.rounds {
            if cost.sight == Sight::First {
                tested = self.seat(&self.tested).await?;
                closed_loop(&tested.address, &plain, CONNECTIONS, Until::Rounds(4)).await;
            }
            let cell = match cost.sight {
                Sight::Again => Until::Elapsed(self.options.cell),
                Sight::First => Until::Rounds(1),
            };
            let status = self.expected(cost.status);
            let ours = cost_of(cost.key, "doorward", &tested, &requests, cell, status, &mut row.faults);
            if round % 2 == 0 {
                row.bare.push(self.bare_cell(cost, "bare", &bare, comparable, &mut faults).await);
                row.doorward.push(ours.await);
            } else {
                row.doorward.push(ours.await);
                row.bare.push(self.bare_cell(cost, "bare", &bare, comparable, &mut faults).await);
            }
            if let (Some(verifying), Some(bare)) = (&verifying, row.bare.last()) {
                verifications.push(self.bare_cell(cost, "verifying", verifying, comparable, &mut faults).await - bare);
                row.bar = Bar::RatioAnd(cost.bar, median(&verifications));
            }
        }
        row.faults.append(&mut faults);
        Ok(row)
    }

    async fn bare_cell(&self, cost: &Cost, who: &str, bare: &Seat, requests: &[Rendered], faults: &mut Vec<String>) -> f64 {
        let cell = Until::Elapsed(self.options.cell);
        cost_of(cost.key, who, bare, requests, cell, 200, faults).await
    }

    async fn latency(&self) -> io::Result<Row> {
        let requests = self.variants(|id| workload::call(Some(&self.token), id));
        let mut row = row("tools/call at 2,000/s, median latency", "µs", Bar::Ratio(1.10));
        let bare = self.seat(&Gateway::Bare).await?;
        let tested = self.seat(&self.tested).await?;
        for seat in [&bare, &tested] {
            closed_loop(&seat.address, &requests, CONNECTIONS, Until::Rounds(4)).await;
        }
        for _ in 0..self.options.rounds {
            for (seat, values) in [(&bare, &mut row.bare), (&tested, &mut row.doorward)] {
                let outcome = open_loop(&seat.address, &requests, CONNECTIONS, RATE, self.options.cell).await;
                let median = outcome.median_latency().unwrap_or_default();
                eprintln!("{LATENCY}: p50 {median:?}, {} answers", outcome.answers());
                values.push(median.as_secs_f64() * 1e6);
                row.faults.extend(fault(&outcome, 200));
            }
        }
        Ok(row)
    }

    /// Three rows, each of a gateway that was just started.
    async fn memory(&self) -> io::Result<[Row; 3]> {
        let mut idle = row("memory, idle", "MiB", Bar::AtMost(25.0));
        let mut open = row("memory, 1,000 idle connections and 500 open streams", "MiB", Bar::AtMost(110.0));
        for (gateway, bare) in [(&Gateway::Bare, true), (&self.tested, false)] {
            let seat = self.seat(gateway).await?;
            let at_rest = resident_at_rest(seat.pid).await;
            let (connections, refused) = self.idle_connections(&seat).await;
            let connected = resident_at_rest(seat.pid).await;
            let (streams, cut) = self.open_streams(&seat).await;
            let full = resident_at_rest(seat.pid).await;
            drop((connections, streams));
            let broken = refused + cut;
            eprintln!("{MEMORY}: idle {at_rest:.1} MiB, with connections {connected:.1} MiB, with streams too {full:.1} MiB");
            if bare {
                idle.bare.push(at_rest);
                open.bare.push(full);
            } else {
                idle.doorward.push(at_rest);
                open.doorward.push(full);
                open.faults.extend((broken > 0).then(|| format!("{broken} connections were not served")));
            }
        }
        Ok([idle, open, self.cached_tokens().await?])
    }

    /// Connections that have been used once and are kept; how many of them were not served.
    async fn idle_connections(&self, seat: &Seat) -> (Vec<Connection>, usize) {
        let (mut held, mut broken) = (Vec::new(), 0);
        for _ in 0..IDLE_CONNECTIONS {
            let mut connection = Connection::new(&seat.address);
            broken += usize::from(!matches!(connection.exchange(&self.probe).await, Ok(200)));
            held.push(connection);
        }
        (held, broken)
    }

    /// Streams that have begun and do not end; how many of them were not served.
    async fn open_streams(&self, seat: &Seat) -> (Vec<Connection>, usize) {
        let request = workload::wait(&self.token);
        let (mut held, mut broken) = (Vec::new(), 0);
        for _ in 0..OPEN_STREAMS {
            let mut connection = Connection::new(&seat.address);
            broken += usize::from(!matches!(connection.begin(&request).await, Ok(200)));
            held.push(connection);
        }
        (held, broken)
    }

    /// What 50,000 tokens add to a gateway that has already been busy with one.
    async fn cached_tokens(&self) -> io::Result<Row> {
        let mut row = row("memory, growth by 50,000 cached tokens", "MiB", Bar::AtMost(20.0));
        let seat = self.seat(&self.tested).await?;
        let plain = self.variants(|id| workload::call(Some(&self.token), id));
        closed_loop(&seat.address, &plain, CONNECTIONS, Until::Rounds(20)).await;
        let before = resident_at_rest(seat.pid).await;
        // ES256 throughout: what is remembered of a token does not depend on who signed it, and signing is faster.
        let requests: Vec<Rendered> = (0..CACHED_TOKENS).map(|serial| workload::call(Some(&self.mint.es256(serial)), serial)).collect();
        let outcome = closed_loop(&seat.address, &requests, CONNECTIONS, Until::Rounds(1)).await;
        row.faults.extend(fault(&outcome, 200));
        row.doorward.push(resident_at_rest(seat.pid).await - before);
        eprintln!("{MEMORY}: {before:.1} MiB before {CACHED_TOKENS} tokens, {:.1} MiB after", resident(seat.pid));
        Ok(row)
    }

    /// 5,000 open streams, 500 of them with an event each second.
    async fn streams(&self) -> io::Result<[Row; 3]> {
        let seat = self.seat(&self.tested).await?;
        let measured = streams::measure(&seat, &workload::wait(&self.token), &workload::tick(&self.token), self.options.cell).await?;
        let filled = |name, unit, bar, value| Row { doorward: vec![value], ..row(name, unit, Bar::AtMost(bar)) };
        let mut weight = filled("memory of one of 5,000 open streams", "KiB", 64.0, measured.weight);
        weight.faults = measured.faults;
        Ok([
            weight,
            filled("delay of an event, 500 a second among 5,000 streams, 99th percentile", "ms", 5.0, measured.delay),
            filled("one reload ends 5,000 streams", "ms", 1_000.0, measured.ended_in),
        ])
    }

    /// Calls, memory and start of a gateway whose store is full, beside a bare proxy and one whose store is empty.
    ///
    /// In each round every seat is measured twice, the second time in the order turned round: what drifts in the machine meets
    /// all of them alike.
    async fn governed(&self, [empty, full]: &[Gateway; 2]) -> io::Result<[Row; 5]> {
        let mut first = row("tools/call, with an empty store", "µs", Bar::Ratio(1.20));
        let mut call = row("tools/call, with a million revocations and 10,000 clients", "µs", Bar::Ratio(1.20));
        let mut beside = row("the same (against Doorward with an empty store)", "µs", Bar::Ratio(1.05));
        let mut memory = row("the same, memory (against an empty store)", "MiB", Bar::AtMost(100.0));
        let mut start = row("the same, start to the first answer with 200 (against an empty store)", "ms", Bar::AtMost(5_000.0));
        for _ in 0..self.options.rounds {
            start.bare.push(self.seat(empty).await?.started_in.as_secs_f64() * 1e3);
            start.doorward.push(self.seat(full).await?.started_in.as_secs_f64() * 1e3);
        }
        let requests = self.variants(|id| workload::call(Some(&self.token), id));
        let seats = [self.seat(&Gateway::Bare).await?, self.seat(empty).await?, self.seat(full).await?];
        memory.bare.push(resident_at_rest(seats[1].pid).await);
        memory.doorward.push(resident_at_rest(seats[2].pid).await);
        for seat in &seats {
            closed_loop(&seat.address, &requests, CONNECTIONS, Until::Elapsed(self.options.cell / 2)).await;
        }
        let cell = Until::Elapsed(self.options.cell / 2);
        for round in 0..self.options.rounds {
            let mut costs = [0.0; 3];
            let turns = (0..seats.len()).map(|turn| (round + turn) % seats.len());
            for at in turns.clone().chain(turns.rev()) {
                let who = ["bare", "empty store", "full store"][at];
                let faults = if at == 2 { &mut call.faults } else { &mut first.faults };
                costs[at] += cost_of(GOVERNED, who, &seats[at], &requests, cell, 200, faults).await / 2.0;
            }
            let [bare, empty, full] = costs;
            first.bare.push(bare);
            first.doorward.push(empty);
            call.bare.push(bare);
            call.doorward.push(full);
            beside.bare.push(empty);
            beside.doorward.push(full);
        }
        Ok([first, call, beside, memory, start])
    }

    async fn start(&self) -> io::Result<Row> {
        let mut row = row("start to the first answer with 200", "ms", Bar::AtMost(50.0));
        for _ in 0..self.options.rounds.max(5) {
            row.bare.push(self.seat(&Gateway::Bare).await?.started_in.as_secs_f64() * 1e3);
            row.doorward.push(self.seat(&self.tested).await?.started_in.as_secs_f64() * 1e3);
        }
        Ok(row)
    }
}

fn row(name: &'static str, unit: &'static str, bar: Bar) -> Row {
    Row { name, unit, bare: Vec::new(), doorward: Vec::new(), bar, faults: Vec::new() }
}

/// Processor time for each answer, in microseconds.
async fn cost_of(key: &str, who: &str, seat: &Seat, requests: &[Rendered], until: Until, status: u16, faults: &mut Vec<String>) -> f64 {
    let before = processor_time(seat.pid);
    let outcome = closed_loop(&seat.address, requests, CONNECTIONS, until).await;
    let spent = processor_time(seat.pid) - before;
    let cost = micros(spent, outcome.answers());
    let (rate, busy) = (outcome.answers() as f64 / outcome.took.as_secs_f64(), spent.as_secs_f64() / outcome.took.as_secs_f64());
    eprintln!("{key}: {who} {cost:.1} µs, {rate:.0}/s, core {:.0} % busy", busy * 100.0);
    faults.extend(fault(&outcome, status));
    cost
}

fn micros(spent: Duration, answers: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / answers as f64
}

fn fault(outcome: &Outcome, status: u16) -> Option<String> {
    let wrong = outcome.wrong(status);
    let Outcome { statuses, broken, .. } = outcome;
    (wrong > 0).then(|| format!("{wrong} answers other than {status}: {statuses:?}, {broken} connections broke"))
}
