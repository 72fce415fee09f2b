//! Killed at any moment, under load, on both stores: what was acknowledged is still there, and the chain is whole (S40, S41).
//!
//! The suite kills a few times. The two hundred of the acceptance list, on each store:
//! `cargo nextest run --locked --run-ignored only -E 'test(crash::long)' --no-capture`

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::admin_api::{secret, tokens};
use crate::revocation::share;
use crate::support::gateway::run;
use crate::support::postgres::Postgres;
use crate::support::{Gateway, Setup, World, soon};

/// Records gather for 5 ms before they are written (`docs/audit.md`); so much more for a machine that is busy.
const GATHERED: Duration = Duration::from_millis(300);
/// Between two calls of one caller, so that the log of two hundred rounds can be read after each of them.
const BETWEEN: Duration = Duration::from_millis(4);
/// After each so many kills PostgreSQL crashes too.
const CRASH: usize = 4;
/// After each so many kills somebody moves the audit file away before the next start.
const ROTATE: usize = 3;

/// What the gateway said yes to.
#[derive(Default)]
struct Acknowledged {
    /// Subjects.
    revoked: HashSet<String>,
    /// Client ids.
    approved: HashSet<String>,
    /// Ids of calls that were answered, and when.
    answered: Vec<(String, Instant)>,
    /// Answers that nobody expected.
    strange: Vec<String>,
}

struct Proof {
    world: World,
    postgres: Option<Postgres>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    /// Files that the audit log stood in before.
    rotated: Vec<PathBuf>,
    /// Bytes of the audit log that were looked at.
    seen: usize,
    /// The number of the last revocation that was looked at.
    seq: i64,
    /// Revocations, approvals and calls so far.
    counts: [usize; 3],
}

impl Proof {
    async fn on_sqlite() -> Self {
        let mut setup = Setup::new().await;
        setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
        Self::new(setup, None).await
    }

    async fn on_postgresql() -> Self {
        let (mut setup, postgres) = (Setup::new().await, Postgres::start().await);
        share(&mut setup, &postgres.url());
        Self::new(setup, Some(postgres)).await
    }

    async fn new(mut setup: Setup, postgres: Option<Postgres>) -> Self {
        setup.config["admin"]["tokens"] = tokens(&setup);
        let world = setup.start().await;
        Self { world, postgres, acknowledged: Arc::default(), rotated: Vec::new(), seen: 0, seq: 0, counts: [0; 3] }
    }

    /// So many kills, each followed by a start and by a look at everything.
    async fn survives(mut self, kills: usize) {
        let begun = Instant::now();
        for round in 0..kills {
            let load = self.load(round);
            tokio::time::sleep(moment()).await;
            self.world.gateway.signal("KILL");
            let killed = Instant::now();
            self.world.gateway.exit().await;
            for task in load {
                soon("the end of the load", task).await.unwrap();
            }
            self.start_again(round).await;
            self.look(round, killed).await;
        }
        self.world.gateway.signal("TERM");
        self.world.gateway.exit().await;
        self.verified(&["--complete"]).await;
        let [revoked, approved, answered] = self.counts;
        assert!(revoked > 0 && approved > 0 && answered > 0, "no load");
        eprintln!(
            "{kills} kills in {:.0} s: {revoked} revocations, {approved} approvals and {answered} calls acknowledged, none lost",
            begun.elapsed().as_secs_f64()
        );
    }

    /// Revokes, approves and calls until the gateway is gone.
    fn load(&self, round: usize) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        for worker in 0..2 {
            let revoke = move |n: usize| {
                let subject = format!("subject-{round}-{worker}-{n}");
                (subject.clone(), json!({"subject": subject, "issuer": "corp", "reason": "laptop stolen"}))
            };
            tasks.push(self.acts("revocations/new", revoke, |known| &mut known.revoked));
            let approve = move |n: usize| {
                let client = format!("client-{round}-{worker}-{n}");
                (client.clone(), json!({"client": client, "issuer": "corp", "reason": "asked for", "owner": "Team A", "purpose": "desk"}))
            };
            tasks.push(self.acts("client/approve", approve, |known| &mut known.approved));
            let (call, acknowledged) = (self.world.tool("read_file").token(&self.world.ta()), self.acknowledged.clone());
            tasks.push(tokio::spawn(async move {
                while let Ok(reply) = call.try_send().await {
                    match reply.status {
                        200 => acknowledged.lock().unwrap().answered.push((reply.header("doorward-request-id"), Instant::now())),
                        _ => acknowledged.lock().unwrap().strange.push(format!("{reply:?}")),
                    }
                    tokio::time::sleep(BETWEEN).await;
                }
            }));
        }
        tasks
    }

    fn acts(
        &self,
        path: &'static str,
        act: impl Fn(usize) -> (String, Value) + Send + 'static,
        known: fn(&mut Acknowledged) -> &mut HashSet<String>,
    ) -> JoinHandle<()> {
        let (http, url) = (self.world.http.clone(), format!("{}/admin/v1/{path}", self.world.gateway.admin));
        let acknowledged = self.acknowledged.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let (name, body) = act(n);
                let ask = http.post(&url).bearer_auth(secret("operator")).header("content-type", "application/json");
                let Ok(answer) = ask.body(body.to_string()).send().await else { return };
                let status = answer.status().as_u16();
                // A yes that was cut off is none.
                let Ok(text) = answer.text().await else { return };
                let mut all = acknowledged.lock().unwrap();
                match status {
                    200 => drop(known(&mut all).insert(name)),
                    _ => all.strange.push(format!("{status}: {text}")),
                }
            }
        })
    }

    /// The chain is whole, and what stood in the file still does.
    async fn start_again(&mut self, round: usize) {
        let before = self.log();
        let whole = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if let Some(postgres) = &mut self.postgres
            && round % CRASH == CRASH - 1
        {
            postgres.crash();
            postgres.resume().await;
        }
        if round % ROTATE == ROTATE - 1 {
            let to = self.world.folder.path().join(format!("audit.jsonl.{round}"));
            std::fs::rename(&self.world.gateway.audit_file, &to).unwrap();
            self.rotated.push(to);
        }
        self.world.gateway = Gateway::start(self.world.folder.path(), &self.world.config, &self.world.http).await;
        assert!(self.log().starts_with(&before[..whole]), "round {round}: lines that were written are gone");
        self.verified(&[]).await;
    }

    /// The whole log, in the order of its files.
    fn log(&self) -> Vec<u8> {
        let files = self.rotated.iter().chain([&self.world.gateway.audit_file]);
        files.flat_map(|file| std::fs::read(file).unwrap()).collect()
    }

    async fn verified(&self, more: &[&str]) {
        let files = self.rotated.iter().chain([&self.world.gateway.audit_file]).map(|file| file.to_str().unwrap());
        let arguments: Vec<&str> = ["audit", "verify"].into_iter().chain(files).chain(more.iter().copied()).collect();
        let output = run(&arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Everything that was acknowledged in this round is there, with its record.
    async fn look(&mut self, round: usize, killed: Instant) {
        let known = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        let (acts, ids) = self.records();
        let revoked = self.revocations().await;
        assert!(known.strange.is_empty(), "round {round}: {:?}", known.strange);
        let recorded = |operation: &str, name: &String| {
            assert!(acts.contains(&(operation.to_owned(), name.clone())), "round {round}: the record of {name} is lost");
        };
        for subject in &known.revoked {
            assert!(revoked.contains(subject), "round {round}: the revocation of {subject} is lost");
            recorded("admin/revoke", subject);
        }
        for client in &known.approved {
            let told = self.read(&format!("client?issuer=corp&client={client}")).await;
            assert_eq!(told["client"]["state"], "approved", "round {round}: the approval of {client} is lost: {told}");
            recorded("admin/client_approve", client);
        }
        for (id, when) in &known.answered {
            let is_late = killed.saturating_duration_since(*when) < GATHERED;
            assert!(is_late || ids.contains(id), "round {round}: the record of a call is lost, {:?} before the kill", killed - *when);
        }
        if let Some(subject) = known.revoked.iter().next() {
            let token = self.world.token(|token| token.claims["sub"] = json!(subject));
            self.world.tool("read_file").token(&token).send().await.is(401);
        }
        self.world.tool("read_file").token(&self.world.tb()).send().await.is(200);
        self.counts[0] += known.revoked.len();
        self.counts[1] += known.approved.len();
        self.counts[2] += known.answered.len();
    }

    /// Operations with each word of their names, and the ids of requests, since the last look.
    fn records(&mut self) -> (HashSet<(String, String)>, HashSet<String>) {
        let text = String::from_utf8(self.log()).unwrap();
        let (mut acts, mut ids) = (HashSet::new(), HashSet::new());
        for line in text[self.seen..].lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let operation = line["operation"].as_str().unwrap();
            let words = line["name"].as_str().unwrap_or_default().split(' ');
            acts.extend(words.map(|word| (operation.to_owned(), word.to_owned())));
            ids.extend(line["id"].as_str().map(str::to_owned));
        }
        self.seen = text.len();
        (acts, ids)
    }

    /// Words of what was revoked since the last look.
    async fn revocations(&mut self) -> HashSet<String> {
        let mut words = HashSet::new();
        loop {
            let page = self.read(&format!("revocations?after={}", self.seq)).await;
            for one in page["revocations"].as_array().unwrap() {
                words.extend(one["what"].as_str().unwrap().split(' ').map(str::to_owned));
                self.seq = one["seq"].as_i64().unwrap();
            }
            if page["next"].is_null() {
                return words;
            }
        }
    }

    async fn read(&self, path: &str) -> Value {
        let ask = self.world.http.get(format!("{}/admin/v1/{path}", self.world.gateway.admin)).bearer_auth(secret("operator"));
        serde_json::from_str(&ask.send().await.unwrap().text().await.unwrap()).unwrap()
    }
}

/// When the next kill comes: soon enough that most of it is load.
fn moment() -> Duration {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    Duration::from_millis(20 + u64::from(u16::from_le_bytes(bytes)) % 600)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_5_no_acknowledged_change_or_record_is_lost_in_kills_under_load_on_sqlite() {
    Proof::on_sqlite().await.survives(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_5_no_acknowledged_change_or_record_is_lost_in_kills_under_load_on_postgresql() {
    Proof::on_postgresql().await.survives(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; see above"]
async fn long_200_kills_on_sqlite() {
    Proof::on_sqlite().await.survives(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; see above"]
async fn long_200_kills_on_postgresql() {
    Proof::on_postgresql().await.survives(200).await;
}
