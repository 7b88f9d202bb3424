//! Which cores run what. A proxy has the last core to itself, with its inspector where it has one; load and origin share
//! the others. So the proxy never waits for a core that the load has, and what its core is busy with is the proxy's work.

use std::sync::LazyLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where a process runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Load and origin: every core but the last.
    Load,
    /// A proxy: the last core.
    Proxy,
    /// Wherever the kernel puts it.
    Anywhere,
}

/// Does `work` in that place; what it starts stays there.
pub fn at<T>(place: Place, work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let before = sched_getaffinity(None)?;
    stay(place)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    Ok(done)
}

/// Moves the calling thread, and what it starts from now on.
pub fn stay(place: Place) -> anyhow::Result<()> {
    let cores = match (place, CORES.as_slice()) {
        (Place::Load, [rest @ .., _]) if !rest.is_empty() => rest,
        (Place::Proxy, [.., last]) => std::slice::from_ref(last),
        (_, all) => all,
    };
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// The cores that the benchmark was given.
static CORES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let given = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| given.is_set(*core)).collect()
});

/// How many there are.
pub fn cores() -> usize {
    CORES.len()
}
