//! Looking who has a lock: a quorum of nodes must agree on it.

use redis::Value;

use super::{NodeSet, Redlock, Reply, Round, quorum, scripts};
use crate::{Holder, LockError, Resource, Token, metrics};

impl Redlock {
    /// `None` where nobody has it, or nobody has it on a quorum of the nodes.
    pub(crate) async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        let (of, needed) = (self.nodes.len(), quorum(self.nodes.len()));
        let mut round = Round::send(&self.nodes, NodeSet::ALL, &scripts::read_holder(resource));
        let alarm = tokio::time::sleep(self.node_timeout);
        tokio::pin!(alarm);
        let (mut seen, mut nodes) = (Vec::new(), Vec::new());
        while agreed(&seen, needed).may_still_change() {
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
        metrics::node_errors(&nodes);
        if seen.len() < needed {
            return Err(LockError::QuorumUnavailable { needed, answered: seen.len(), of, nodes });
        }
        match agreed(&seen, needed) {
            Agreement::Split | Agreement::Nobody => Ok(None),
            Agreement::Held(holder) => Ok(Some(holder)),
        }
    }
}

/// What one node has: owner and token.
type Seen = Option<(String, Option<Token>)>;

/// What a quorum says.
enum Agreement {
    /// No one thing, as far as they have answered.
    Split,
    Nobody,
    Held(Holder),
}

impl Agreement {
    /// Where a quorum agrees on the owner but not on the token, one more answer may decide.
    fn may_still_change(&self) -> bool {
        match self {
            Self::Split => true,
            Self::Nobody => false,
            Self::Held(holder) => holder.token().is_none(),
        }
    }
}

/// Nodes that were late may have counted further than the token that was agreed upon.
fn agreed(seen: &[Seen], quorum: usize) -> Agreement {
    let owner = |one: &Seen| one.as_ref().map(|(name, _)| name.clone());
    let by_quorum = |count: usize| count >= quorum;
    let agreed = seen.iter().find(|one| by_quorum(seen.iter().filter(|other| owner(other) == owner(one)).count()));
    let Some(one) = agreed else {
        return Agreement::Split;
    };
    let Some((name, _)) = one else {
        return Agreement::Nobody;
    };
    let whole = seen.iter().find(|one| by_quorum(seen.iter().filter(|other| other == one).count()));
    let token = whole.and_then(|one| one.as_ref()).and_then(|(_, token)| *token);
    Agreement::Held(Holder::new(name.clone(), token))
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
