//! How many files may this process open? Each connection is one, and each call under way is one more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system lets it, which shells and some supervisors leave at 1,024. The answer is what it is
/// then; none is no limit.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        // A supervisor may forbid the asking itself.
        Err(_) => limit.current,
    }
}

/// Tells of a limit below the connections that are to be served.
pub fn tell_of_few(files: Option<u64>, connections: usize) {
    if let Some(files) = files.filter(|files| usize::try_from(*files).is_ok_and(|files| files < connections)) {
        tracing::warn!(
            files,
            connections,
            "this process may open fewer files than `limits.connections`, and further connections will wait: raise `LimitNOFILE` (or `ulimit -n`), or lower `limits.connections`"
        );
    }
}
