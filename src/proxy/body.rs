//! The request body, bounded in size and time. The framework bounds neither as a whole.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::protocols::http::ServerSession;

use crate::denial::Fault;

/// Reads the whole body. Called after authentication, so `100 Continue` is given to known callers only.
pub async fn read(session: &mut ServerSession, limit: usize, deadline: Duration) -> Result<Bytes, Fault> {
    let length = declared(session);
    if length.is_some_and(|length| length > limit) {
        return Err(Fault::BodyTooLarge);
    }
    if !session.is_http2() && session.req_header().headers.contains_key(EXPECT) {
        session.set_close_on_response_before_downstream_finish(false);
        session.write_continue_response().await.map_err(|_| Fault::ClientGone)?;
    }
    match tokio::time::timeout(deadline, pin!(collect(session, limit, length))).await {
        Ok(body) => body,
        Err(_) => Err(Fault::BodyTimeout),
    }
}

fn declared(session: &ServerSession) -> Option<usize> {
    session.req_header().headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

async fn collect(session: &mut ServerSession, limit: usize, length: Option<usize>) -> Result<Bytes, Fault> {
    let Some(first) = next(session).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(Fault::BodyTooLarge);
    }
    if length == Some(first.len()) || session.is_body_done() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(length.unwrap_or(first.len() * 2));
    whole.extend_from_slice(&first);
    while let Some(part) = next(session).await? {
        if whole.len() + part.len() > limit {
            return Err(Fault::BodyTooLarge);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

async fn next(session: &mut ServerSession) -> Result<Option<Bytes>, Fault> {
    session.read_request_body().await.map_err(|_| Fault::BodyBroken)
}
