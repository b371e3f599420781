//! Counting answers: when has enough been heard, and what does it mean?
//! Pure: no clock, no node, so that properties can be tested.

/// The quorum of `configured` nodes. Of the configured ones, never of those that happen to answer.
pub(crate) fn quorum(configured: usize) -> usize {
    configured / 2 + 1
}

/// Answers to a question that every node can say yes or no to, or fail to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    configured: usize,
    yes: usize,
    no: usize,
    failed: usize,
}

/// What the answers so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough heard yet.
    Open,
    /// A quorum said yes.
    Yes,
    /// No quorum can say yes any more, and a quorum has answered.
    No,
    /// No quorum can say yes any more, and too many have failed to tell why.
    Unavailable,
}

impl Tally {
    pub(crate) fn new(configured: usize) -> Self {
        Self {
            configured,
            yes: 0,
            no: 0,
            failed: 0,
        }
    }

    pub(crate) fn yes(&mut self) {
        self.yes += 1;
    }

    pub(crate) fn no(&mut self) {
        self.no += 1;
    }

    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn answered(&self) -> usize {
        self.yes + self.no
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let needed = quorum(self.configured);
        let outstanding = self.configured - self.answered() - self.failed;
        if self.yes >= needed {
            Verdict::Yes
        } else if self.yes + outstanding >= needed {
            Verdict::Open
        } else if self.answered() >= needed {
            Verdict::No
        } else if self.answered() + outstanding >= needed {
            Verdict::Open
        } else {
            Verdict::Unavailable
        }
    }
}
