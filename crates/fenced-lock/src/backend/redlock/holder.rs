//! Reading the holder of a lock: a quorum of nodes must agree on it.

use redis::Value;

use super::client::RedlockClient;
use super::node::Reply;
use super::node_set::NodeSet;
use super::round::Round;
use super::scripts;
use crate::backend::node_errors;
use crate::{Holder, LockError, Resource, Token};

/// `None` where no owner has the lock on a quorum of the nodes.
pub(super) async fn read(client: &RedlockClient, resource: &Resource) -> Result<Option<Holder>, LockError> {
    let (of, needed) = (client.nodes.len(), client.quorum());
    let mut round = Round::send(&client.nodes, NodeSet::ALL, &scripts::read_holder(resource));
    let alarm = tokio::time::sleep(client.node_timeout);
    tokio::pin!(alarm);
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    while agreement(&records, needed).may_still_change() {
        match round.next(alarm.as_mut()).await {
            Some((index, Ok(reply))) => match parse(&reply) {
                Ok(record) => records.push(record),
                Err(()) => errors.push(client.unexpected(index, &reply)),
            },
            Some((_, Err(error))) => errors.push(error),
            None => break,
        }
    }
    errors.extend(round.timed_out().filter(|_| records.len() < needed));
    node_errors::record(&errors);
    if records.len() < needed {
        return Err(LockError::QuorumUnavailable { needed, answered: records.len(), of, nodes: errors });
    }
    match agreement(&records, needed) {
        Agreement::None | Agreement::Free => Ok(None),
        Agreement::HeldBy(holder) => Ok(Some(holder)),
    }
}

/// The lock as one node has it: owner and token, or `None` where it is free.
type LockRecord = Option<(String, Option<Token>)>;

/// What a quorum of the nodes agrees on.
enum Agreement {
    /// Nothing, as far as the nodes have answered.
    None,
    Free,
    HeldBy(Holder),
}

impl Agreement {
    /// Where a quorum agrees on the owner but not on the token, one more answer may decide.
    fn may_still_change(&self) -> bool {
        match self {
            Self::None => true,
            Self::Free => false,
            Self::HeldBy(holder) => holder.token().is_none(),
        }
    }
}

/// A node that answered late can have counted past the sealed token, so owner and token are agreed on apart.
fn agreement(records: &[LockRecord], quorum: usize) -> Agreement {
    let owner = |record: &LockRecord| record.as_ref().map(|(name, _)| name.clone());
    let same_owner = |record: &LockRecord| records.iter().filter(|other| owner(other) == owner(record)).count();
    let Some(record) = records.iter().find(|record| same_owner(record) >= quorum) else {
        return Agreement::None;
    };
    let Some((name, _)) = record else {
        return Agreement::Free;
    };
    let equal = |record: &LockRecord| records.iter().filter(|other| *other == record).count();
    let agreed = records.iter().find(|record| equal(record) >= quorum);
    let token = agreed.and_then(|record| record.as_ref()).and_then(|(_, token)| *token);
    Agreement::HeldBy(Holder { name: name.clone(), token })
}

/// Parses `owner:O:token:N:expiry:T`, or nil.
fn parse(reply: &Reply) -> Result<LockRecord, ()> {
    let text = match &reply.value {
        Value::Nil => return Ok(None),
        Value::BulkString(text) => std::str::from_utf8(text).map_err(|_| ())?,
        Value::SimpleString(text) => text,
        _ => return Err(()),
    };
    let parts: Vec<_> = text.split(':').collect();
    match parts.as_slice() {
        ["owner", owner, "token", token, ..] => {
            let token = token.parse().ok().and_then(|token| Token::new(token).ok());
            Ok(Some(((*owner).to_owned(), token)))
        }
        _ => Err(()),
    }
}
