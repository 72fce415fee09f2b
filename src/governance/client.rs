//! May this client call, and with which scopes? The life of a client, and an index of all of them in memory.
//!
//! Pending → approved → suspended → approved …, and retired for ever. Knows no database: see `store::clients`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::principal::Principal;

/// Clients at most, pending ones among them: strangers can make more and are refused all the same.
pub const MOST: usize = 20_000;
/// Clients seen for the first time that wait to be written.
const SEEN: usize = 1_024;
/// Bytes of an id that is written down.
pub const LONGEST: usize = 1_024;

/// A client id belongs to its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub issuer: String,
    pub id: String,
}

impl Key {
    /// Eight letters that a person can read out: the same everywhere and always. Two clients may share them, so
    /// whoever decides by a code must see that it means one client.
    pub fn code(&self) -> String {
        code(&self.issuer, &self.id)
    }
}

fn code(issuer: &str, id: &str) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(issuer.as_bytes());
    context.update(&[0]);
    context.update(id.as_bytes());
    let digest = context.finish();
    digest.as_ref().iter().take(8).map(|byte| char::from(b'A' + byte % 26)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Seen, and not decided on.
    Pending,
    Approved,
    /// Refused until it is approved again.
    Suspended,
    /// Refused for ever; the id never comes back.
    Retired,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Suspended, Self::Retired];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How it came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It stands in the configuration.
    Configured,
    /// A person entered it.
    Entered,
    /// A token named it.
    Observed,
    /// It registered itself here.
    Registered,
    /// A document that it publishes names it.
    Document,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Entered => "entered",
            Self::Observed => "observed",
            Self::Registered => "registered",
            Self::Document => "document",
        }
    }
}

/// What a client may be used for, by whose word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub owner: String,
    pub purpose: String,
    /// Where it may call; none is everywhere.
    pub upstreams: Option<Vec<String>>,
    /// The scopes that count of those that its tokens have; none is all.
    pub scopes: Option<Vec<String>>,
    /// In seconds since 1970; from then on it is refused.
    pub expires: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub key: Key,
    pub state: State,
    pub source: Source,
    pub terms: Terms,
    /// When a token first named it, in seconds since 1970.
    pub first_seen: Option<u64>,
}

/// Why a client cannot become what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// A retired id never comes back.
    Retired,
    /// It is not known, and only an approval enters one.
    Unknown,
    /// Only what is suspended can be resumed.
    NotSuspended,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Retired => "it is retired, and never comes back",
            Self::Unknown => "no such client is known",
            Self::NotSuspended => "it is not suspended, so there is nothing to resume",
        })
    }
}

impl Client {
    /// Seen in a token, and not decided on.
    pub fn seen(key: Key, now: u64) -> Self {
        Self { key, state: State::Pending, source: Source::Observed, terms: Terms::default(), first_seen: Some(now) }
    }

    /// Entered by a person before any token named it.
    pub fn entered(key: Key) -> Self {
        Self { key, state: State::Pending, source: Source::Entered, terms: Terms::default(), first_seen: None }
    }

    /// The same in another state. Who is approved already may be approved anew, on other terms.
    ///
    /// # Errors
    /// [`Stuck::Retired`]: nothing leads out of there.
    pub fn moved(self, state: State) -> Result<Self, Stuck> {
        if self.state == State::Retired {
            return Err(Stuck::Retired);
        }
        Ok(Self { state, ..self })
    }

    /// The same, approved again after a suspension, on the terms that it had.
    ///
    /// # Errors
    /// [`Stuck::NotSuspended`]; [`Stuck::Retired`] as of [`Self::moved`].
    pub fn resumed(self) -> Result<Self, Stuck> {
        match self.state {
            State::Suspended | State::Retired => self.moved(State::Approved),
            State::Pending | State::Approved => Err(Stuck::NotSuspended),
        }
    }
}

/// Why a client's caller is refused, whatever its token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// Nobody has decided on it yet. Holds its code.
    Pending(String),
    Suspended,
    Retired,
    Expired,
    /// Approved, for other upstreams.
    Elsewhere,
    /// The token names no client where each must be approved.
    Unnamed,
    /// Its scopes were cut since its stream was opened.
    Narrowed,
}

/// What is known of clients that are not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub upstream: &'a str,
    /// Who is not known is pending here.
    pub approves: bool,
}

/// One client, as the store and the configuration have it; at least one of them does.
#[derive(Default)]
struct Entry {
    stored: Option<Client>,
    configured: Option<Client>,
}

/// In which state a client is. What the configuration says rules, but for what somebody decided in an emergency: a
/// suspension, or that it is retired for ever.
fn state_of(configured: &Client, stored: Option<&Client>) -> State {
    let stricter = stored.map(|stored| stored.state).filter(|state| matches!(state, State::Suspended | State::Retired));
    configured.state.max(stricter.unwrap_or(State::Pending))
}

/// A client that stands in the configuration, as it is together with what the store has of it.
pub fn merged(configured: &Client, stored: Option<&Client>) -> Client {
    let first_seen = stored.and_then(|stored| stored.first_seen);
    Client { state: state_of(configured, stored), first_seen, ..configured.clone() }
}

/// Every known client.
#[derive(Default)]
pub struct Clients {
    by_issuer: RwLock<HashMap<String, HashMap<String, Entry>>>,
    len: AtomicUsize,
    /// Seen for the first time, and not written yet.
    seen: Mutex<HashMap<Key, u64>>,
    /// Those of the authorization server's own configuration: approved, unless somebody decided otherwise.
    vouched: RwLock<HashSet<Key>>,
}

impl Clients {
    /// Takes in what was read of the store.
    pub fn apply(&self, client: Client) {
        let mut all = self.by_issuer.write().unwrap_or_else(PoisonError::into_inner);
        let Key { issuer, id } = client.key.clone();
        let entry = all.entry(issuer).or_default().entry(id).or_default();
        if entry.stored.is_none() && entry.configured.is_none() {
            self.len.fetch_add(1, Ordering::Release);
        }
        entry.stored = Some(client);
    }

    /// Takes in what the configuration says, and nothing of what an earlier one said.
    pub fn configure(&self, clients: impl Iterator<Item = Client>) {
        let mut all = self.by_issuer.write().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().flat_map(HashMap::values_mut).for_each(|entry| entry.configured = None);
        for client in clients {
            let Key { issuer, id } = client.key.clone();
            all.entry(issuer).or_default().entry(id).or_default().configured = Some(client);
        }
        all.values_mut().for_each(|clients| clients.retain(|_, entry| entry.stored.is_some() || entry.configured.is_some()));
        self.len.store(all.values().map(HashMap::len).sum(), Ordering::Release);
    }

    /// The clients that the authorization server's configuration approves, in the place of those before.
    pub fn vouch(&self, keys: impl IntoIterator<Item = Key>) {
        *self.vouched.write().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().collect();
    }

    fn is_vouched(&self, key: &Key) -> bool {
        self.vouched.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Lets a caller pass. `Some` is the caller with the scopes that count, where the client's ceiling cuts any off.
    ///
    /// # Errors
    /// Why the client is refused. One that is seen for the first time is kept for [`Self::take_seen`].
    pub fn check(&self, who: &Principal, place: Place<'_>, now: SystemTime) -> Result<Option<Principal>, Barred> {
        if !place.approves && self.is_empty() {
            return Ok(None);
        }
        let Some(id) = who.client() else {
            return if place.approves { Err(Barred::Unnamed) } else { Ok(None) };
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let all = self.by_issuer.read().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(who.issuer()).and_then(|clients| clients.get(id));
        let is_undecided = found.is_none_or(|entry| entry.state() == Some(State::Pending));
        if place.approves && is_undecided && self.is_vouched(&Key { issuer: who.issuer().to_owned(), id: id.to_owned() }) {
            return Ok(None);
        }
        match found {
            Some(entry) => entry.judge(who, place, now),
            None if place.approves => {
                self.see(who.issuer(), id, now);
                Err(Barred::Pending(code(who.issuer(), id)))
            }
            None => Ok(None),
        }
    }

    /// When the approval of a caller's client ends.
    pub fn ends(&self, who: &Principal) -> Option<SystemTime> {
        if self.is_empty() {
            return None;
        }
        let all = self.by_issuer.read().unwrap_or_else(PoisonError::into_inner);
        let client = all.get(who.issuer())?.get(who.client()?)?.client()?;
        let ends = client.terms.expires.filter(|_| client.state == State::Approved)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(ends))
    }

    /// A client as the store and the configuration have it.
    pub fn find(&self, key: &Key) -> Option<Client> {
        let all = self.by_issuer.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&key.issuer)?.get(&key.id)?.client()
    }

    /// Drops clients that left the queue undecided. SECURITY: a decision is never dropped.
    pub fn forget(&self, keys: &[Key]) {
        let mut all = self.by_issuer.write().unwrap_or_else(PoisonError::into_inner);
        for Key { issuer, id } in keys {
            let Some(clients) = all.get_mut(issuer) else { continue };
            let Some(entry) = clients.get_mut(id) else { continue };
            if entry.stored.as_ref().is_some_and(|client| client.state == State::Pending) {
                entry.stored = None;
                if entry.configured.is_none() {
                    clients.remove(id);
                    self.len.fetch_sub(1, Ordering::Release);
                }
            }
        }
    }

    /// Bounded: whoever comes when it is full comes again.
    fn see(&self, issuer: &str, id: &str, now: u64) {
        if id.len() > LONGEST || self.len() >= MOST {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SEEN {
            seen.entry(Key { issuer: issuer.to_owned(), id: id.to_owned() }).or_insert(now);
        }
    }

    /// At most `limit` clients that are to be written as pending.
    pub fn take_seen(&self, limit: usize) -> Vec<Client> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Key> = seen.keys().take(limit).cloned().collect();
        keys.into_iter().filter_map(|key| seen.remove(&key).map(|now| Client::seen(key, now))).collect()
    }

    /// How many are in each state.
    pub fn counts(&self) -> [(State, usize); 4] {
        let all = self.by_issuer.read().unwrap_or_else(PoisonError::into_inner);
        let count = |state| all.values().flat_map(HashMap::values).filter(|entry| entry.state() == Some(state)).count();
        State::ALL.map(|state| (state, count(state)))
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    /// As the store and the configuration have it.
    fn client(&self) -> Option<Client> {
        match &self.configured {
            Some(client) => Some(merged(client, self.stored.as_ref())),
            None => self.stored.clone(),
        }
    }

    fn state(&self) -> Option<State> {
        match (&self.configured, &self.stored) {
            (Some(client), stored) => Some(state_of(client, stored.as_ref())),
            (None, stored) => stored.as_ref().map(|client| client.state),
        }
    }

    fn judge(&self, who: &Principal, place: Place<'_>, now: u64) -> Result<Option<Principal>, Barred> {
        match (&self.configured, &self.stored) {
            (Some(client), stored) => judge(client, state_of(client, stored.as_ref()), who, place, now),
            (None, Some(client)) => judge(client, client.state, who, place, now),
            (None, None) => Ok(None),
        }
    }
}

fn judge(client: &Client, state: State, who: &Principal, place: Place<'_>, now: u64) -> Result<Option<Principal>, Barred> {
    match state {
        State::Pending if place.approves => return Err(Barred::Pending(client.key.code())),
        State::Pending => return Ok(None),
        State::Suspended => return Err(Barred::Suspended),
        State::Retired => return Err(Barred::Retired),
        State::Approved => {}
    }
    let Terms { upstreams, scopes, expires, .. } = &client.terms;
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Barred::Expired);
    }
    if upstreams.as_ref().is_some_and(|names| !names.iter().any(|name| name == place.upstream)) {
        return Err(Barred::Elsewhere);
    }
    Ok(scopes.as_ref().and_then(|ceiling| who.under(ceiling)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Proof;

    const HERE: Place<'static> = Place { upstream: "files", approves: true };
    const OPEN: Place<'static> = Place { upstream: "files", approves: false };

    fn who(client: Option<&str>) -> Principal {
        let scopes = vec!["a".to_owned(), "b".to_owned()];
        Principal::new(Proof { issuer: "i".into(), subject: "s".into(), client: client.map(str::to_owned), scopes, ..Proof::default() })
    }

    fn client(state: State, terms: Terms) -> Clients {
        let clients = Clients::default();
        let key = Key { issuer: "i".into(), id: "c".into() };
        clients.apply(Client { state, terms, ..Client::seen(key, 1) });
        clients
    }

    fn check(clients: &Clients, place: Place<'_>) -> Result<Option<Vec<String>>, Barred> {
        let at = UNIX_EPOCH + Duration::from_secs(100);
        clients.check(&who(Some("c")), place, at).map(|cut| cut.map(|who| who.scopes().to_vec()))
    }

    #[test]
    fn s37_only_an_approved_client_passes() {
        let is = |state| check(&client(state, Terms::default()), HERE);
        assert!(matches!(is(State::Pending), Err(Barred::Pending(_))));
        assert_eq!(is(State::Approved), Ok(None));
        assert_eq!(is(State::Suspended), Err(Barred::Suspended));
        assert_eq!(is(State::Retired), Err(Barred::Retired));
    }

    #[test]
    fn where_unknown_clients_are_allowed_only_a_decision_refuses() {
        let is = |state| check(&client(state, Terms::default()), OPEN);
        assert_eq!((is(State::Pending), is(State::Approved)), (Ok(None), Ok(None)));
        assert_eq!((is(State::Suspended), is(State::Retired)), (Err(Barred::Suspended), Err(Barred::Retired)));
        assert_eq!(check(&Clients::default(), OPEN), Ok(None));
    }

    #[test]
    fn terms_are_held_to() {
        let on = |terms| check(&client(State::Approved, terms), HERE);
        assert_eq!(on(Terms { expires: Some(100), ..Terms::default() }), Err(Barred::Expired));
        assert_eq!(on(Terms { expires: Some(101), ..Terms::default() }), Ok(None));
        assert_eq!(on(Terms { upstreams: Some(vec!["crm".into()]), ..Terms::default() }), Err(Barred::Elsewhere));
        assert_eq!(on(Terms { upstreams: Some(vec!["files".into()]), ..Terms::default() }), Ok(None));
        assert_eq!(on(Terms { scopes: Some(vec!["a".into(), "z".into()]), ..Terms::default() }), Ok(Some(vec!["a".into()])));
        assert_eq!(on(Terms { scopes: Some(vec!["a".into(), "b".into()]), ..Terms::default() }), Ok(None));
        assert_eq!(on(Terms { scopes: Some(vec![]), ..Terms::default() }), Ok(Some(vec![])));
    }

    #[test]
    fn s37_only_an_approval_has_an_end() {
        let ends = |state, expires| client(state, Terms { expires, ..Terms::default() }).ends(&who(Some("c")));
        assert_eq!(ends(State::Approved, Some(100)), Some(UNIX_EPOCH + Duration::from_secs(100)));
        assert_eq!((ends(State::Approved, None), ends(State::Pending, Some(100))), (None, None));
        assert_eq!(ends(State::Approved, Some(u64::MAX)), None, "beyond all clocks");
        assert_eq!(client(State::Approved, Terms { expires: Some(1), ..Terms::default() }).ends(&who(None)), None);
    }

    #[test]
    fn what_the_configuration_says_rules_but_a_stricter_decision_wins() {
        let clients = client(State::Approved, Terms { upstreams: Some(vec!["crm".into()]), ..Terms::default() });
        let key = Key { issuer: "i".into(), id: "c".into() };
        let written = |state| Client { state, source: Source::Configured, ..Client::seen(key.clone(), 1) };
        assert_eq!(check(&clients, HERE), Err(Barred::Elsewhere));
        clients.configure([written(State::Approved)].into_iter());
        assert_eq!((check(&clients, HERE), clients.len()), (Ok(None), 1));
        for (stored, configured, expected) in [
            (State::Pending, State::Approved, Ok(None)),
            (State::Suspended, State::Approved, Err(Barred::Suspended)),
            (State::Retired, State::Suspended, Err(Barred::Retired)),
            (State::Approved, State::Suspended, Err(Barred::Suspended)),
            (State::Approved, State::Retired, Err(Barred::Retired)),
            (State::Approved, State::Pending, Err(Barred::Pending(key.code()))),
        ] {
            clients.apply(Client { state: stored, ..Client::seen(key.clone(), 1) });
            clients.configure([written(configured)].into_iter());
            assert_eq!(check(&clients, HERE), expected, "{stored:?} and {configured:?}");
        }
        clients.configure(std::iter::empty());
        assert_eq!(check(&clients, HERE), Ok(None), "the store alone again");
    }

    #[test]
    fn a_client_that_left_the_configuration_is_unknown() {
        let clients = Clients::default();
        let key = Key { issuer: "i".into(), id: "c".into() };
        clients.configure([Client { state: State::Approved, ..Client::entered(key) }].into_iter());
        assert_eq!((check(&clients, HERE), clients.len()), (Ok(None), 1));
        clients.configure(std::iter::empty());
        assert!(matches!(check(&clients, HERE), Err(Barred::Pending(_))));
        assert!(clients.is_empty());
    }

    #[test]
    fn a_retired_id_is_a_tombstone() {
        let key = Key { issuer: "i".into(), id: "c".into() };
        let retired = Client::seen(key, 1).moved(State::Retired).expect("any client can be retired");
        for state in State::ALL {
            assert_eq!(retired.clone().moved(state), Err(Stuck::Retired));
        }
    }

    #[test]
    fn a_client_of_the_authorization_server_passes_unless_somebody_decided_otherwise() {
        let key = Key { issuer: "i".into(), id: "c".into() };
        let clients = Clients::default();
        clients.vouch([key.clone()]);
        assert_eq!(check(&clients, HERE), Ok(None));
        assert_eq!(clients.take_seen(10), []);
        for (state, answer) in
            [(State::Pending, Ok(None)), (State::Suspended, Err(Barred::Suspended)), (State::Retired, Err(Barred::Retired))]
        {
            clients.apply(Client { state, ..Client::seen(key.clone(), 1) });
            assert_eq!(check(&clients, HERE), answer);
        }
        let clients = client(State::Pending, Terms::default());
        clients.vouch([]);
        assert!(matches!(check(&clients, HERE), Err(Barred::Pending(_))));
    }

    #[test]
    fn s39_only_who_waits_in_the_queue_is_forgotten() {
        let key = Key { issuer: "i".into(), id: "c".into() };
        for state in State::ALL {
            let clients = client(state, Terms::default());
            clients.forget(std::slice::from_ref(&key));
            assert_eq!((clients.find(&key).is_none(), clients.is_empty()), (state == State::Pending, state == State::Pending));
        }
    }

    #[test]
    fn only_what_is_suspended_is_resumed_and_keeps_its_terms() {
        let key = Key { issuer: "i".into(), id: "c".into() };
        let terms = Terms { scopes: Some(vec!["a".into()]), ..Terms::default() };
        let is = |state| Client { state, terms: terms.clone(), ..Client::seen(key.clone(), 1) };
        assert_eq!(is(State::Suspended).resumed(), Ok(is(State::Approved)));
        assert_eq!(is(State::Pending).resumed(), Err(Stuck::NotSuspended));
        assert_eq!(is(State::Approved).resumed(), Err(Stuck::NotSuspended));
        assert_eq!(is(State::Retired).resumed(), Err(Stuck::Retired));
    }

    #[test]
    fn a_stranger_that_comes_often_is_one_client_and_many_strangers_are_bounded() {
        let clients = Clients::default();
        for n in 0..3 * SEEN {
            let one = who(Some(&format!("c{}", n / 2)));
            assert!(matches!(clients.check(&one, HERE, UNIX_EPOCH), Err(Barred::Pending(_))));
        }
        assert_eq!(clients.take_seen(10).len(), 10);
        assert_eq!(clients.take_seen(2 * SEEN).len(), SEEN - 10);
        assert_eq!(clients.take_seen(1), []);
        assert_eq!(clients.check(&who(None), HERE, UNIX_EPOCH).err(), Some(Barred::Unnamed));
    }

    #[test]
    fn the_same_id_of_another_issuer_is_another_client() {
        let clients = client(State::Approved, Terms::default());
        let other = Principal::new(Proof { issuer: "j".into(), subject: "s".into(), client: Some("c".into()), ..Proof::default() });
        assert!(matches!(clients.check(&other, HERE, UNIX_EPOCH), Err(Barred::Pending(_))));
    }
}
