//! A stream is filtered alike however it is cut into chunks, and what was dropped is not in it.
#![no_main]

use doorward::mcp::sse::{SseFilter, Verdict};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = filtered(stream, stream.len().max(1));
    let pieces = filtered(stream, usize::from(*size).max(1));
    let single = filtered(stream, 1);
    assert_eq!(whole, pieces);
    assert_eq!(whole, single);
});

/// The whole output; nothing when the stream cannot be read.
fn filtered(stream: &[u8], chunk: usize) -> Option<Vec<u8>> {
    let mut filter = SseFilter::new(LIMIT);
    let mut out = Vec::new();
    for chunk in stream.chunks(chunk) {
        filter.push(chunk, &mut judge, &mut out).ok()?;
    }
    filter.finish().ok()?;
    Some(out)
}

fn judge(data: &[u8]) -> Verdict {
    match data.first() {
        Some(b'd') => Verdict::Drop,
        Some(b'r') => Verdict::Replace(b"{}".to_vec()),
        _ => Verdict::Pass,
    }
}
