//! Counting the nodes' answers: whether they decide, and what they decide.
//! Pure: no clock, no node, so that properties can be tested.

use std::time::Duration;

/// The quorum of `configured` nodes. Of the configured ones, never of those that happen to answer.
pub(super) fn quorum(configured: usize) -> usize {
    configured / 2 + 1
}

/// When a quorum can be free at the earliest. `remaining` is the rest of the lease on each node that reported a
/// holder; `free` is the number of nodes that were free or did not answer, which can be free at any time.
pub(super) fn earliest_free(remaining: &mut [Duration], free: usize, configured: usize) -> Duration {
    remaining.sort_unstable();
    let missing = quorum(configured).saturating_sub(free).max(1);
    remaining.get(missing - 1).or(remaining.last()).copied().unwrap_or_default()
}

/// The votes of the nodes on one command: yes, no, or failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    configured: usize,
    yes: usize,
    no: usize,
    failed: usize,
}

/// What the votes so far decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Too few nodes have answered.
    Undecided,
    /// A quorum voted yes.
    Yes,
    /// No quorum can vote yes any more, and a quorum has answered.
    No,
    /// Every node has answered or failed, and too many have failed. Not decided earlier, so that the report
    /// has the failure of each node.
    Unavailable,
}

impl Tally {
    pub(super) fn new(configured: usize) -> Self {
        Self { configured, yes: 0, no: 0, failed: 0 }
    }

    pub(super) fn yes(&mut self) {
        self.yes += 1;
    }

    pub(super) fn no(&mut self) {
        self.no += 1;
    }

    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(super) fn answered(&self) -> usize {
        self.yes + self.no
    }

    pub(super) fn decision(&self) -> Decision {
        let needed = quorum(self.configured);
        let outstanding = self.configured - self.answered() - self.failed;
        if self.yes >= needed {
            Decision::Yes
        } else if self.yes + outstanding < needed && self.answered() >= needed {
            Decision::No
        } else if outstanding > 0 {
            Decision::Undecided
        } else if self.answered() >= needed {
            Decision::No
        } else {
            Decision::Unavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answers of some nodes, in the order in which they came.
    fn answers() -> impl Strategy<Value = (usize, Vec<u8>)> {
        (0..8usize).prop_flat_map(|half| {
            let of = 2 * half + 1;
            (Just(of), proptest::collection::vec(0..3u8, 0..=of))
        })
    }

    fn tally(of: usize, answers: &[u8]) -> Tally {
        let mut tally = Tally::new(of);
        for answer in answers {
            match answer {
                0 => tally.yes(),
                1 => tally.no(),
                _ => tally.failed(),
            }
        }
        tally
    }

    #[test]
    fn a_quorum_is_free_when_enough_of_the_earliest_leases_have_ended() {
        let after = |millis: &[u64], free| {
            let mut remaining: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
            earliest_free(&mut remaining, free, 5).as_millis()
        };
        assert_eq!(after(&[600, 5, 601, 7, 6], 0), 7, "three of five");
        assert_eq!(after(&[600, 5, 601], 2), 5, "two that did not answer may be free already");
        assert_eq!(after(&[600, 5, 601], 0), 601, "two that failed are not");
        assert_eq!(after(&[600, 601], 3), 600, "never before one lease has ended");
        assert_eq!(after(&[], 5), 0);
    }

    proptest! {
        #[test]
        fn any_two_quorums_share_a_node(of in 1..100usize) {
            prop_assert!(2 * quorum(of) > of);
            prop_assert!(quorum(of) <= of);
        }

        #[test]
        fn yes_needs_a_quorum_of_the_configured((of, answers) in answers()) {
            let yes = answers.iter().filter(|answer| **answer == 0).count();
            prop_assert_eq!(tally(of, &answers).decision() == Decision::Yes, 2 * yes > of);
        }

        #[test]
        fn a_decision_is_never_reversed((of, answers) in answers()) {
            let mut decided = Decision::Undecided;
            for count in 0..=answers.len() {
                let decision = tally(of, &answers[..count]).decision();
                prop_assert!(decided == Decision::Undecided || decision == decided || decided == Decision::No);
                // A late yes does not reverse a no either.
                prop_assert!(decided != Decision::No || decision != Decision::Yes);
                decided = decision;
            }
        }

        #[test]
        fn every_node_answered_or_failed_means_a_decision((of, answers) in answers()) {
            if answers.len() == of {
                let answered = answers.iter().filter(|answer| **answer < 2).count();
                let decision = tally(of, &answers).decision();
                prop_assert_ne!(decision, Decision::Undecided);
                prop_assert_eq!(decision == Decision::Unavailable, 2 * answered < of);
            }
        }
    }
}
