//! Whole clusters of Jobraft under faults.
