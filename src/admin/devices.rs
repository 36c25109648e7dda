//! The socket's part about devices: lists, histories and orders. Who orders is the user at the other end of the socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Query, State as Given};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::model::MemberId;
use crate::sync::{DeviceView, Done, Event, Order};

use super::peer::{Peer, claimed_ssh};
use super::state::{Problem, State, snapshot};

/// Room for the list of a large network: 10,000 devices at 300 bytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How often, and how many times, it is looked whether what was ordered is in force.
const SWAP_STEP: Duration = Duration::from_millis(2);
const SWAP_STEPS: u32 = 500;

pub(super) fn most() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MOST_BYTES)
}

pub(super) async fn list(Given(state): Given<State>) -> Result<Json<Arc<[Arc<DeviceView>]>>, Problem> {
    let devices = state.devices.borrow().clone();
    if devices.is_empty() {
        // Nobody, or nobody known yet?
        snapshot(&state)?;
    }
    Ok(Json(devices))
}

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    /// Without one, of all.
    member: Option<MemberId>,
}

pub(super) async fn history(
    Given(state): Given<State>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Vec<Event>>, Problem> {
    let events = state.orders.history(query.member).await;
    events.map(Json).map_err(|error| Problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

pub(super) async fn order(
    Given(state): Given<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Done>, Problem> {
    let body = body.map_err(|error| Problem(error.status(), format!("the order: {}", error.body_text())))?;
    let order: Order = serde_json::from_slice(&body).map_err(|error| {
        let text = format!("no order of this version ({error}); restart the gateway after an upgrade");
        Problem(StatusCode::BAD_REQUEST, text)
    })?;
    let unknown = || {
        let text = "the kernel does not say who is at the socket, and orders are recorded with a name";
        Problem(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
    };
    let by = peer.actor(claimed_ssh(&headers)).await.ok_or_else(unknown)?;
    let done = state.orders.carry_out(order, by).await;
    // What is told as done is in force, on every thread. A swap takes less than one of these steps.
    for _ in 0..SWAP_STEPS {
        if (state.in_force)() {
            break;
        }
        tokio::time::sleep(SWAP_STEP).await;
    }
    done.map(Json).map_err(|error| {
        let status = if error.is_too_early { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
        Problem(status, error.text)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::admin::canned::Canned;
    use crate::admin::{AdminError, get, order};
    use crate::linux::{limits, users};
    use crate::sync::{ChangeOrigin, OrderError};

    fn declines(order: &Order) -> Result<Done, OrderError> {
        match order {
            Order::Sync { .. } => Ok(Done::default()),
            _ => Err(OrderError::declined("no device tv here; did you mean new-tv?".to_owned())),
        }
    }

    #[tokio::test]
    async fn orders_are_recorded_with_the_user_at_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Canned::start(folder.path(), Vec::new(), Vec::new(), declines);
        let sync = Order::Sync { dry_run: true };
        let phone = "192.168.1.20".parse().ok();
        for claimed_ssh in [None, phone] {
            let done = order::<Done>(&gateway.socket, "/devices/order", &sync, claimed_ssh).await.unwrap();
            assert_eq!(done, Done::default());
        }
        let us = users::name(limits::user()).unwrap_or_else(|| limits::user().to_string());
        let ordered = gateway.ordered.lock().unwrap();
        for ((_, by), claimed) in std::iter::zip(&*ordered, [None, phone]) {
            assert_eq!(by.who, us);
            let Some(ChangeOrigin::Socket(caller)) = &by.origin else { panic!("{by:?}") };
            assert_eq!(caller.claimed_ssh, claimed);
        }
        assert_eq!(ordered.len(), 2);
    }

    #[tokio::test]
    async fn a_no_is_told_from_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Canned::start(folder.path(), Vec::new(), Vec::new(), declines);
        let revoke = Order::Revoke { who: "tv".to_owned(), why: None };
        let no = order::<Done>(&gateway.socket, "/devices/order", &revoke, None).await.unwrap_err();
        assert!(matches!(&no, AdminError::Declined(words) if words.ends_with("new-tv?")), "{no}");
        let waits = get::<Vec<DeviceView>>(&gateway.socket, "/devices").await.unwrap_err();
        assert!(matches!(&waits, AdminError::Refused(words) if words.contains("no roster yet")), "{waits}");
        let socket = gateway.socket.clone();
        drop(gateway);
        let gone = order::<Done>(&socket, "/devices/order", &revoke, None).await.unwrap_err();
        assert!(matches!(gone, AdminError::NotRunning(_)), "{gone}");
    }

    #[test]
    fn what_is_no_order_is_refused_before_anybody_acts_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Canned::start(folder.path(), Vec::new(), Vec::new(), declines);
        let said = |length: usize, body: &[u8]| {
            let mut stream = UnixStream::connect(&gateway.socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let head =
                format!("POST /devices/order HTTP/1.1\r\nhost: admin\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            String::from_utf8_lossy(&status).into_owned()
        };
        assert_eq!(said(19, br#"{"verb":"admit-al"}"#), "HTTP/1.1 400");
        assert_eq!(said(0, b""), "HTTP/1.1 400");
        assert_eq!(said(2 * MOST_BYTES, &vec![b' '; MOST_BYTES + 1]), "HTTP/1.1 413");
        assert_eq!(gateway.ordered.lock().unwrap().len(), 0);
    }
}
