//! Benchmarks of the egress path.
