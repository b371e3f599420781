//! Looking who has a lock: a quorum of nodes must agree on it.

use redis::Value;

use super::{NodeSet, Redlock, Reply, Round, quorum, scripts};
use crate::{Holder, LockError, Resource, Token, observe};

impl Redlock {
    /// `None` where nobody has it, or nobody has it on a quorum of the nodes.
    pub(crate) async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        let (of, needed) = (self.nodes.len(), quorum(self.nodes.len()));
        let mut round = Round::send(&self.nodes, NodeSet::ALL, &scripts::look(resource));
        let alarm = tokio::time::sleep(self.node_timeout);
        tokio::pin!(alarm);
        let (mut seen, mut nodes) = (Vec::new(), Vec::new());
        while most_seen(&seen).0 < needed {
            match round.next(alarm.as_mut()).await {
                Some((index, Ok(reply))) => match read(&reply) {
                    Ok(holder) => seen.push(holder),
                    Err(()) => nodes.push(self.unexpected(index, &reply)),
                },
                Some((_, Err(error))) => nodes.push(error),
                None => break,
            }
        }
        nodes.extend(round.silent().filter(|_| seen.len() < needed));
        observe::node_errors(&nodes);
        if seen.len() < needed {
            return Err(LockError::QuorumUnavailable { needed, answered: seen.len(), of, nodes });
        }
        let (nodes, name) = most_seen(&seen);
        let Some(name) = name.filter(|_| nodes >= needed) else {
            return Ok(None);
        };
        // Nodes that were late may have counted further than the token that was agreed upon.
        let tokens = seen.iter().flatten().filter(|(owner, _)| *owner == name).map(|(_, token)| *token);
        let agreed = |token: &Token| tokens.clone().filter(|other| other == &Some(*token)).count() >= needed;
        let token = tokens.clone().flatten().find(agreed);
        Ok(Some(Holder::new(name, token)))
    }
}

type Seen = Option<(String, Option<Token>)>;

/// What most of the nodes say, and how many they are.
fn most_seen(seen: &[Seen]) -> (usize, Option<String>) {
    let names = || seen.iter().map(|holder| holder.as_ref().map(|(name, _)| name));
    let counted = names().map(|name| (names().filter(|other| *other == name).count(), name.cloned()));
    counted.max_by_key(|(count, _)| *count).unwrap_or_default()
}

/// `owner:O:token:N:expiry:T`, or nothing.
fn read(reply: &Reply) -> Result<Seen, ()> {
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
