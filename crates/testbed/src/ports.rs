//! Free ports on the loopback interface.
//!
//! Not from "bind 0": the system takes those from the range it also gives to *outgoing* connections. While a
//! killed server is down, a client of anything could be given its port, and a client that keeps reconnecting to
//! the dead port can even be connected to itself; the server could not come back. So ports are drawn below that
//! range (Linux 32768 and up, macOS 49152 and up), tried by binding, and the caller draws again on a conflict.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 15_000;
const LAST: u16 = 32_000;
const DRAWS: usize = 200;

/// A port that nobody on 127.0.0.1 listens on and that was not handed out before in this process.
pub(crate) fn free() -> Option<SocketAddr> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    (0..DRAWS).find_map(|_| {
        let offset = u16::try_from(random() % u64::from(LAST - FIRST)).ok()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
        (TcpListener::bind(addr).is_ok() && given.insert(addr.port())).then_some(addr)
    })
}

/// A number that differs from process to process and from call to call.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
