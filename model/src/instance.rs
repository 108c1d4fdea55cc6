//! The installation itself: which one it is after a restore, and which numbers it has given out.

use serde::{Deserialize, Serialize};

use crate::{BuildId, BuildsetId, ChangeId, DeliveryId, IncidentId, MessageId, RequestId};

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

/// How often an installation was restored from a backup: 0 for one that never was.
///
/// Each restore makes another installation of it. What was leased by an earlier one, or after the backup was taken, is
/// told from what this one leases by the lease's epoch alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceEpoch(pub i64);

impl InstanceEpoch {
    /// The lease epochs that one installation may give to one request.
    const LEASES: i64 = 1 << 32;

    /// Gives the installation after the next restore.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
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
    fn a_restore_fences_every_lease_of_before_and_of_after_the_backup() {
        let (old, new) = (InstanceEpoch(1), InstanceEpoch(2));
        let lease = new.lease_after(old.lease_after(3));
        assert!(new.is_before(2) && new.is_before(old.lease_after(0)) && new.is_before(old.lease_after(900)));
        assert!(!new.is_before(lease) && !new.is_before(new.lease_after(lease)));
    }
}
