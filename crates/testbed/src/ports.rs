//! Free ports on the loopback interface.
//!
//! Not from "bind 0": the system draws those from the range that it also uses for *outgoing* connections. While a
//! killed server is down, its port could be assigned to any client, and a client that keeps reconnecting to the closed
//! port can even be connected to itself; the server could not start again. So ports are drawn below that range (Linux:
//! 32768 and up, macOS: 49152 and up) and tried by binding; the caller draws again on a conflict.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 15_000;
const LAST: u16 = 32_000;
/// Random ports tried before [`free`] gives up.
const DRAWS: usize = 200;

/// A port of 127.0.0.1 without a listener, never the same twice in this process. `None` after [`DRAWS`] misses.
pub(crate) fn free() -> Option<SocketAddr> {
    static USED: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    let used = used.get_or_insert_default();
    (0..DRAWS).find_map(|_| {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(FIRST..LAST)));
        (TcpListener::bind(addr).is_ok() && used.insert(addr.port())).then_some(addr)
    })
}
