//! Free ports on the loopback interface.
//!
//! Not from "bind 0": the system draws those from the range that it also uses for *outgoing* connections. While a
//! killed server is down, its port could be assigned to any client, and a client that keeps reconnecting to the closed
//! port can even be connected to itself; the server could not start again. So ports are drawn below that range (Linux:
//! 32768 and up, macOS: 49152 and up) and tried by binding; the caller draws again on a conflict.
//!
//! Invariant: no two processes of this testbed draw the same port while both run, though the server at it is down or the
//! proxy at it is cut. Each draws from blocks that it owns: it holds the UDP socket at the first port of the block, which
//! the system releases when the process ends, however it ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 15_000;
const LAST: u16 = 32_000;
/// Ports of a block; the first one marks who owns it.
const BLOCK: u16 = 50;
const BLOCKS: u16 = (LAST - FIRST) / BLOCK;

/// The block that this process draws from, and those that it has used up.
#[derive(Debug, Default)]
struct Owned {
    left: Range<u16>,
    marks: Vec<UdpSocket>,
}

/// A port of 127.0.0.1 without a listener, never the same twice in this process. `None` if no block is free.
pub fn free() -> Option<SocketAddr> {
    static OWNED: Mutex<Option<Owned>> = Mutex::new(None);
    let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
    owned.get_or_insert_default().draw()
}

impl Owned {
    fn draw(&mut self) -> Option<SocketAddr> {
        loop {
            let free = self.left.by_ref().map(local).find(|addr| TcpListener::bind(addr).is_ok());
            if free.is_some() {
                return free;
            }
            self.take_block()?;
        }
    }

    /// Takes the next block that no process owns, from a random one on. `None` if every block is owned.
    fn take_block(&mut self) -> Option<()> {
        let from = rand::random_range(0..BLOCKS);
        let (first, mark) = (0..BLOCKS).find_map(|next| {
            let first = FIRST + (from + next) % BLOCKS * BLOCK;
            Some((first, UdpSocket::bind(local(first)).ok()?))
        })?;
        self.marks.push(mark);
        self.left = first + 1..first + BLOCK;
        Some(())
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn two_processes_never_draw_the_same_port() {
        let (mut one, mut other) = (Owned::default(), Owned::default());
        let count = 3 * usize::from(BLOCK);
        let mut drawn = || (0..count).flat_map(|_| [one.draw(), other.draw()]).collect::<Vec<_>>();
        let ports: HashSet<_> = drawn().into_iter().map(|addr| addr.expect("a port").port()).collect();
        assert_eq!(ports.len(), 2 * count, "no listener was ever opened at any of them");
    }
}
