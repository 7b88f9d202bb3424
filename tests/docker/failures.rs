//! What happens when things end at the worst moment: `bottle` killed at each step of a launch, an engine that dies, restarts, or
//! has no room left. Slow, so `make launch-failures` runs them, in a network of their own with engines of their own.

mod engines;
mod killed;
mod relay;
