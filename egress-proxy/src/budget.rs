//! Memory that exchanges share: reserved before it is filled, first come first served, and refused where there is none
//! for long. What one client sends can then never take more than was set aside for all.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long an exchange waits for its share.
pub const WAIT: Duration = Duration::from_secs(30);
/// What is counted, in bytes.
pub const UNIT: usize = 1024;

/// A fixed amount of memory for many.
pub struct Budget(Arc<Semaphore>);

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// A share of the budget, until it is dropped.
    ///
    /// # Errors
    /// There was none for [`WAIT`].
    pub async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Exhausted> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| Exhausted)?;
        let wait = timeout(WAIT, self.0.clone().acquire_many_owned(units)).await;
        wait.map_err(|_| Exhausted)?.map_err(|_| Exhausted)
    }
}

/// The memory set aside is all in use.
#[derive(Clone, Copy, Debug, Error)]
#[error("the memory set aside for content is all in use")]
pub struct Exhausted;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_is_free_again_and_what_is_not_there_is_waited_for() {
        let budget = Budget::new(4 * UNIT);
        let all = budget.reserve(4 * UNIT - 1).await.unwrap();
        assert!(timeout(Duration::ZERO, budget.reserve(1)).await.is_err());
        drop(all);
        assert!(budget.reserve(1).await.is_ok());
    }
}
