//! The installation itself: which one it is after a restore, and which numbers it has given out.

use serde::{Deserialize, Serialize};

use crate::{BuildId, BuildsetId, ChangeId, DeliveryId, IncidentId, MessageId, RequestId, Timestamp};

/// The last number given out, per noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastIds {
    /// Changes.
    pub change: ChangeId,
    /// Deliveries.
    pub delivery: DeliveryId,
    /// Buildsets.
    pub buildset: BuildsetId,
    /// Requests.
    pub request: RequestId,
    /// Builds.
    pub build: BuildId,
    /// Incidents.
    pub incident: IncidentId,
    /// Messages.
    pub message: MessageId,
}

/// Which installation this is: 0 for one that was never restored from a backup, and higher with each restore.
///
/// A restore takes the time in seconds for it, so that two restores of one backup differ, too. What was leased by an
/// earlier one, or after the backup was taken, is told from what this one leases by the lease's epoch alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceEpoch(pub i64);

impl InstanceEpoch {
    /// The lease epochs that one installation may give to one request. Together with seconds since 1970 they stay below
    /// 2^53, which is as far as whole numbers in JSON are exact everywhere.
    const LEASES: i64 = 1 << 20;

    /// Gives the installation that a restore at `now` makes.
    #[must_use]
    pub fn restored(self, now: Timestamp) -> Self {
        Self(now.seconds().max(self.0 + 1))
    }

    /// Gives the first epoch that a lease of this installation can have, less one: every epoch that another
    /// installation gave is not above it.
    pub fn floor(self) -> i64 {
        self.0 * Self::LEASES
    }

    /// Gives the epoch of a request's next lease, which is higher than `last` and than all of earlier installations.
    pub fn lease_after(self, last: i64) -> i64 {
        last.max(self.floor()) + 1
    }

    /// Says whether a lease with this epoch was given by an earlier installation.
    pub fn is_before(self, lease: i64) -> bool {
        self.0 > 0 && lease <= self.floor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_of_an_installation_that_was_never_restored_count_from_one() {
        let instance = InstanceEpoch::default();
        assert_eq!([0, 1, 7].map(|last| instance.lease_after(last)), [1, 2, 8]);
        assert!(!instance.is_before(0) && !instance.is_before(1));
    }

    #[test]
    fn two_restores_of_one_backup_are_two_installations_and_none_goes_back() {
        let backup = InstanceEpoch::default();
        let (first, second) = (Timestamp::from_seconds(1_795_518_131), Timestamp::from_seconds(1_795_518_132));
        assert!(backup.restored(first) < backup.restored(second));
        assert!(backup.restored(second).restored(first) > backup.restored(second), "the clock was set back");
        assert!(backup.restored(second).lease_after(0) < 1 << 53);
    }

    #[test]
    fn a_restore_fences_every_lease_of_before_and_of_after_the_backup() {
        let (old, new) = (InstanceEpoch(1), InstanceEpoch(2));
        let lease = new.lease_after(old.lease_after(3));
        assert!(new.is_before(2) && new.is_before(old.lease_after(0)) && new.is_before(old.lease_after(900)));
        assert!(!new.is_before(lease) && !new.is_before(new.lease_after(lease)));
    }
}
